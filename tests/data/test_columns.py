"""Any table as typed columns."""

import numpy as np
import pytest

from boostgrad.data.columns import Columns, as_columns, as_values

REAL = ["?", "i1", "u1", "i2", "u2", "i4", "u4", "i8", "u8", "f2", "f4", "f8"]


def table(dtype, shape=(7, 3)):
    return (
        np.arange(np.prod(shape)).reshape(shape) % 2 if dtype == "?" else np.arange(np.prod(shape)).reshape(shape)
    ).astype(dtype)


@pytest.mark.parametrize("dtype", REAL)
def test_real_arrays_are_taken_as_they_are(dtype):
    X = table(dtype)
    columns = as_columns(X)
    assert (columns.n_rows, columns.n_columns, columns.names) == (7, 3, None)
    assert np.shares_memory(columns.matrix, X)
    for j in range(3):
        assert columns[j].dtype == X.dtype and np.shares_memory(columns[j], X)
        np.testing.assert_array_equal(columns[j], X[:, j])
    assert columns.n_columns == 3


@pytest.mark.parametrize(
    "view",
    [
        lambda X: np.asfortranarray(X),
        lambda X: X[::2, ::2],
        lambda X: X[::-1, ::-1],
        lambda X: np.broadcast_to(X[:1], (5, X.shape[1])),
        lambda X: X.view(np.matrix),
    ],
    ids=["fortran", "strided", "negative", "broadcast", "matrix"],
)
def test_any_memory_order_is_a_view(view):
    X = view(table("f8"))
    columns = as_columns(X)
    assert np.shares_memory(columns.matrix, X)
    for j in range(columns.n_columns):
        assert columns[j].ndim == 1
        np.testing.assert_array_equal(columns[j], np.asarray(X)[:, j])


def test_read_only_and_memory_mapped(tmp_path):
    X = table("f4")
    X.flags.writeable = False
    assert np.shares_memory(as_columns(X).matrix, X)
    path = tmp_path / "table"
    X.tofile(path)
    mapped = np.memmap(path, dtype="f4", mode="r", shape=X.shape)
    columns = as_columns(mapped)
    assert np.shares_memory(columns.matrix, mapped)
    np.testing.assert_array_equal(columns.matrix, X)


@pytest.mark.parametrize("dtype", [">f8", ">f4", ">f2", ">i4", ">u2", ">i8", "g"])
def test_foreign_byte_order_and_longdouble_are_converted(dtype):
    X = table(dtype)
    columns = as_columns(X)
    assert columns[0].dtype.isnative and columns[0].dtype.itemsize <= 8
    np.testing.assert_array_equal(columns.matrix, X)


def test_lists_objects_and_numeric_strings():
    np.testing.assert_array_equal(as_columns([[1, 2], [3, 4]]).matrix, [[1, 2], [3, 4]])
    columns = as_columns(np.array([[1, None], [2.5, 4]], dtype=object))
    np.testing.assert_array_equal(columns[1], [np.nan, 4])
    for X in (np.array([["1", "2e3"]]), [["1", "2e3"]], np.array([[b"1", b"2e3"]])):
        column = as_columns(X)[1]  # whether text is numbers is for the schema to say
        assert column.codes.tolist() == [0] and column.levels == ["2e3"]
    column = as_columns([[1, "a"], [2, None]])  # not made text by the text beside it
    assert column[0].tolist() == [1, 2] and column[1].values().tolist() == ["a", None]


@pytest.mark.parametrize(
    ("X", "error", "words"),
    [
        (np.zeros(3), ValueError, "Expected 2D array, got 1D"),
        (np.zeros((2, 2, 2)), ValueError, "Expected 2D array, got 3D"),
        (np.zeros((3, 0)), ValueError, r"0 feature\(s\)"),
        (np.zeros((0, 3)), ValueError, r"0 sample\(s\)"),
        (np.zeros((2, 2), dtype=complex), ValueError, "Complex"),
        (np.array([[1, {}]], dtype=object), TypeError, "column 1, row 0"),
        (np.zeros((2, 2), dtype="f8,f8"), TypeError, "Structured arrays are not accepted. Use a data frame"),
        (np.zeros((2, 2), dtype="V3"), TypeError, "Structured"),
        ("table", ValueError, "table of numbers"),
        (None, ValueError, "table of numbers"),
        (3.0, ValueError, "table of numbers"),
    ],
)
def test_what_is_not_a_table_is_named(X, error, words):
    # scikit-learn asks for either class in several of these; the message is what people see
    with pytest.raises((ValueError, TypeError), match=words) as raised:
        as_columns(X)
    assert isinstance(raised.value, error)


def test_min_rows():
    assert as_columns(np.zeros((0, 2)), min_rows=0).n_rows == 0
    with pytest.raises(ValueError, match="minimum of 2"):
        as_columns(np.zeros((1, 2)), min_rows=2)


def test_in_order_of_names():
    columns = Columns([np.array([1.0]), np.array([2])], 1, ("a", "b"))
    turned = columns.in_order_of(("b", "a"))
    assert turned.names == ("b", "a") and turned[0][0] == 2 and turned[1][0] == 1.0
    assert columns.in_order_of(None) is columns and columns.in_order_of(("a", "b")) is columns
    assert columns.label(1) == "'b'" and as_columns(np.zeros((1, 2))).label(1) == "1"


def test_pandas_columns():
    pandas = pytest.importorskip("pandas")
    frame = pandas.DataFrame(
        {
            "a": np.arange(3, dtype=np.int8),
            "b": np.array([1.5, np.nan, 3], dtype=np.float32),
            "c": pandas.array([1, None, 3], dtype="Int64"),
            "d": pandas.array([1, 2, 3], dtype="Int8"),
            "e": pandas.array([1.5, None, 3], dtype="Float32"),
        }
    )
    columns = as_columns(frame)
    assert columns.names == ("a", "b", "c", "d", "e") and columns.matrix is None
    assert columns[0].dtype == np.int8 and columns[1].dtype == np.float32
    np.testing.assert_array_equal(columns[2], [1, np.nan, 3])
    assert columns[3].dtype == np.int8 and columns[4].dtype == np.float32
    np.testing.assert_array_equal(columns[4], [1.5, np.nan, 3])
    assert callable(columns.entry(2)) and np.shares_memory(columns[0], frame["a"].to_numpy())
    assert as_columns(pandas.DataFrame(np.zeros((2, 2)))).names is None


def test_levels_follow_their_columns():
    columns = Columns([np.zeros(2, np.int32), np.zeros(2)], 2, ("a", "b"), (5, 0))
    assert columns.in_order_of(("b", "a")).n_levels == (0, 5)
    assert Columns([np.zeros(2), np.zeros(2)], 2, ("a", "b")).in_order_of(("b", "a")).n_levels is None


@pytest.mark.parametrize(
    ("dtype", "missing"),
    [("f4", np.nan), ("f8", np.nan), ("i4", np.nan), ("?", np.nan), ("M8[D]", "NaT"), ("O", None)],
)
def test_what_is_masked_is_missing(dtype, missing):
    plain = np.arange(6).reshape(3, 2).astype("i8" if dtype == "M8[D]" else dtype).astype(dtype)
    masked = np.ma.masked_array(plain, mask=[[0, 1], [0, 0], [1, 0]])
    by_hand = plain.astype("f8" if dtype in ("i4", "?") else dtype)
    by_hand[0, 1] = by_hand[2, 0] = missing
    got, expected = as_columns(masked), as_columns(by_hand)
    for j in range(2):
        np.testing.assert_array_equal(as_values(got.entry(j)), as_values(expected.entry(j)))
    assert masked.mask.sum() == 2 and np.array_equal(masked.data, plain)  # untouched
    whole = as_columns(np.ma.masked_array(plain, mask=False))
    np.testing.assert_array_equal(as_values(whole.entry(0)), as_values(as_columns(plain).entry(0)))
