"""Columns of every kind that pandas, polars and pyarrow have, and of what only their interfaces are known."""

import datetime as dt
from decimal import Decimal

import numpy as np
import pytest

from boostgrad.data.columns import as_columns, as_values
from boostgrad.data.levels import CodedColumn, TimeColumn

UTC = dt.UTC
NOON = dt.datetime(2020, 7, 1, 12)


def column_of(X):
    """The only column of a frame, read."""
    columns = as_columns(X)
    assert columns.names == ("a",) and columns.n_columns == 1
    return columns[0]


def values_of(column):
    """Numbers, seconds, or levels with None where missing, as a list; NaN as None."""
    if isinstance(column, TimeColumn):
        column = column.seconds()
    values = as_values(column)
    return [None if v is None or v != v else v for v in values.tolist()]


def seconds(moment):
    return (moment - dt.datetime(1970, 1, 1)).total_seconds()


# ---- pandas ----------------------------------------------------------------------------------------------------------


def pandas_cases():
    pd = pytest.importorskip("pandas")
    pa = pytest.importorskip("pyarrow")
    eastern = pd.Series(pd.to_datetime(["2020-07-01 12:00", None])).dt.tz_localize("America/New_York")
    return {
        "bool": (pd.Series([True, False]), [True, False]),
        "boolean": (pd.array([True, None], dtype="boolean"), [True, None]),
        "arrow bool": (pd.array([True, None], dtype="bool[pyarrow]"), [True, None]),
        "int8": (pd.Series([1, 2], dtype="int8"), [1, 2]),
        "Int64": (pd.array([1, None], dtype="Int64"), [1, None]),
        "Float32": (pd.array([1.5, None], dtype="Float32"), [1.5, None]),
        "arrow int": (pd.array([1, None], dtype="int32[pyarrow]"), [1, None]),
        "arrow decimal": (pd.array([Decimal("1.5"), None], dtype=pd.ArrowDtype(pa.decimal128(5, 2))), [1.5, None]),
        "object numbers": (pd.Series([1, None, Decimal("2.5")], dtype=object), [1, None, 2.5]),
        "object text": (pd.Series(["x", np.nan, None], dtype=object), ["x", None, None]),
        "str": (pd.Series(["x", None], dtype="str"), ["x", None]),
        "string": (pd.array(["x", None], dtype="string"), ["x", None]),
        "python string": (pd.array(["x", None], dtype="string[python]"), ["x", None]),
        "arrow string": (pd.array(["x", None], dtype=pd.ArrowDtype(pa.large_string())), ["x", None]),
        "categorical": (pd.Categorical(["x", None, "y"], categories=["z", "y", "x"]), ["x", None, "y"]),
        "categorical numbers": (pd.Categorical([2, None, 1]), [2, None, 1]),
        "arrow dictionary": (
            pd.array(["x", None], dtype=pd.ArrowDtype(pa.dictionary(pa.int8(), pa.string()))),
            ["x", None],
        ),
        "datetime": (pd.Series([NOON, None]), [seconds(NOON), None]),
        "datetime ns": (pd.Series([NOON, None]).astype("M8[ns]"), [seconds(NOON), None]),
        "datetime tz": (eastern, [seconds(NOON) + 4 * 3600, None]),
        "arrow datetime": (pd.array([NOON, None], dtype="timestamp[ms][pyarrow]"), [seconds(NOON), None]),
        "arrow date": (
            pd.array([NOON.date(), None], dtype=pd.ArrowDtype(pa.date32())),
            [seconds(dt.datetime(2020, 7, 1)), None],
        ),
        "object dates": (pd.Series([dt.date(1970, 1, 2), None], dtype=object), [86400, None]),
        "timedelta": (pd.Series([dt.timedelta(seconds=1.5), None]), [1.5, None]),
        "period": (pd.Series(pd.PeriodIndex(["1970-02", None], freq="M")), [31 * 86400, None]),
        "sparse": (pd.arrays.SparseArray([0, 2.5, 0]), [0, 2.5, 0]),
        "interval": (pd.cut([1, 5], [0, 3, 6]), [pd.Interval(0, 3), pd.Interval(3, 6)]),
        "all missing": (pd.Series([None, None], dtype=object), [None, None]),
    }


@pytest.mark.parametrize("kind", pandas_cases())
def test_pandas(kind):
    pd = pytest.importorskip("pandas")
    values, expected = pandas_cases()[kind]
    assert values_of(column_of(pd.DataFrame({"a": values}))) == expected


def test_pandas_columns_are_views_where_they_can_be():
    pd = pytest.importorskip("pandas")
    frame = pd.DataFrame({"f": np.arange(3.0), "i": np.arange(3, dtype="i2"), "b": [True, False, True]})
    frame["c"] = pd.Categorical(["x", "y", "x"])
    frame["d"] = pd.to_datetime(["2020", "2021", "2022"])
    columns = as_columns(frame)
    for name, array in (("f", columns[0]), ("i", columns[1]), ("b", columns[2].codes), ("d", columns[4].values)):
        assert np.shares_memory(array, frame[name].to_numpy()), name
    assert np.shares_memory(columns[3].codes, frame["c"].array.codes)


def test_names_of_frames():
    pd = pytest.importorskip("pandas")
    assert as_columns(pd.DataFrame([[1, 2]])).names is None
    with pytest.raises(ValueError, match="'a' is there twice"):
        as_columns(pd.DataFrame([[1, 2]], columns=["a", "a"]))
    with pytest.raises(TypeError, match="all input features have string names"):
        as_columns(pd.DataFrame([[1, 2]], columns=["a", 1]))


# ---- polars ----------------------------------------------------------------------------------------------------------


def polars_cases():
    pl = pytest.importorskip("polars")
    eastern = pl.Series([NOON, None]).dt.replace_time_zone("America/New_York")
    return {
        "int8": (pl.Series([1, 2], dtype=pl.Int8), [1, 2]),
        "int nulls": (pl.Series([1, None]), [1, None]),
        "float nulls": (pl.Series([1.5, None, float("nan")], dtype=pl.Float32), [1.5, None, None]),
        "int128": (pl.Series([1, None], dtype=pl.Int128), [1, None]),
        "chunks": (pl.concat([pl.Series([1, 2]), pl.Series([3])], rechunk=False), [1, 2, 3]),
        "decimal": (pl.Series([Decimal("1.5"), None]), [1.5, None]),
        "bool": (pl.Series([True, None, False]), [True, None, False]),
        "string": (pl.Series(["x", None, "y", "x"]), ["x", None, "y", "x"]),
        "no strings": (pl.Series([None, None], dtype=pl.String), [None, None]),
        "categorical": (pl.Series(["x", None, "y", "x"], dtype=pl.Categorical), ["x", None, "y", "x"]),
        "enum": (pl.Series(["x", None], dtype=pl.Enum(["z", "y", "x", "w"])), ["x", None]),
        "date": (pl.Series([dt.date(1970, 1, 2), None]), [86400, None]),
        "datetime": (pl.Series([NOON, None]), [seconds(NOON), None]),
        "datetime tz": (eastern, [seconds(NOON) + 4 * 3600, None]),
        "duration": (pl.Series([dt.timedelta(seconds=1.5), None]), [1.5, None]),
        "time": (pl.Series([dt.time(1), None]), [3600, None]),
        "null": (pl.Series([None, None]), [None, None]),
        "binary": (pl.Series([b"x", None]), ["x", None]),
        "object": (pl.Series(["x", None], dtype=pl.Object), ["x", None]),
    }


@pytest.mark.parametrize("kind", polars_cases())
def test_polars(kind):
    pl = pytest.importorskip("polars")
    values, expected = polars_cases()[kind]
    column = column_of(pl.DataFrame({"a": values}))
    if isinstance(column, CodedColumn) and kind == "binary":
        column = CodedColumn(column.codes, [v if v is None else v.decode() for v in column.levels])
    assert values_of(column) == expected


def test_polars_without_nulls_is_a_view():
    pl = pytest.importorskip("polars")
    frame = pl.DataFrame({"a": np.arange(5.0), "b": np.arange(5, dtype="u1")})
    columns = as_columns(frame)
    for j, name in enumerate("ab"):
        assert np.shares_memory(columns[j], frame[name].to_numpy())


def test_polars_categories_of_other_columns_do_not_matter():
    pl = pytest.importorskip("polars")
    pl.Series([f"other {i}" for i in range(1000)], dtype=pl.Categorical)
    column = column_of(pl.DataFrame({"a": pl.Series(["new", "newer", "new"], dtype=pl.Categorical)}))
    assert len(column.levels) == 2 and values_of(column) == ["new", "newer", "new"]


def test_polars_that_cannot_be_read():
    pl = pytest.importorskip("polars")
    with pytest.raises(TypeError, match=r"call collect\(\)"):
        as_columns(pl.DataFrame({"a": [1]}).lazy())
    with pytest.raises(TypeError, match=r"column 'a' has the dtype List\(Int64\)"):
        as_columns(pl.DataFrame({"a": [[1]]}))
    with pytest.raises(ValueError, match="Expected 2D array, got 1D"):
        as_columns(pl.Series([1.0, 2.0]))


# ---- Arrow -----------------------------------------------------------------------------------------------------------


def arrow_cases():
    pa = pytest.importorskip("pyarrow")
    text = ["x", None, "y", "x"]
    pieces = [pa.array(["x", None]).dictionary_encode(), pa.array(["y", "x"]).dictionary_encode()]
    unsigned = pa.DictionaryArray.from_arrays(pa.array([1, None, 0, 1], pa.uint8()), pa.array(["y", "x"]))
    cases = {
        "ints": (pa.array([1, 2], pa.int8()), [1, 2]),
        "int nulls": (pa.array([1, None]), [1, None]),
        "half": (pa.array(np.array([1.5, 2], np.float16)), [1.5, 2]),
        "chunks": (pa.chunked_array([[1, 2], [3]]), [1, 2, 3]),
        "decimal": (pa.array([Decimal("1.5"), None]), [1.5, None]),
        "bool": (pa.array([True, None, False]), [True, None, False]),
        "dictionary": (pa.array(text).dictionary_encode(), text),
        "dictionary of chunks": (pa.chunked_array(pieces), text),
        "dictionary with unsigned indices": (unsigned, text),
        "dictionary of numbers": (pa.array([2, None, 1]).dictionary_encode(), [2, None, 1]),
        "date32": (pa.array([1, None], pa.int32()).cast(pa.date32()), [86400, None]),
        "date64": (pa.array([dt.date(1970, 1, 2), None], pa.date64()), [86400, None]),
        "timestamp": (pa.array([NOON, None], pa.timestamp("s")), [seconds(NOON), None]),
        "timestamp ns": (pa.array([NOON, None], pa.timestamp("ns")), [seconds(NOON), None]),
        "timestamp tz": (pa.array([NOON, None], pa.timestamp("us", "Asia/Tokyo")), [seconds(NOON), None]),
        "duration": (pa.array([dt.timedelta(seconds=1.5), None]), [1.5, None]),
        "time32": (pa.array([dt.time(1), None], pa.time32("ms")), [3600, None]),
        "time64": (pa.array([dt.time(1), None], pa.time64("us")), [3600, None]),
        "null": (pa.nulls(2), [None, None]),
        "no chunks": (pa.chunked_array([], pa.string()), []),
    }
    for kind in ("string", "large_string", "string_view"):
        cases[kind] = (pa.array(text).cast(getattr(pa, kind)()), text)
    if hasattr(pa, "RunEndEncodedArray"):
        cases["run ends"] = (pa.RunEndEncodedArray.from_arrays([2, 3], pa.array([1.5, None])), [1.5, 1.5, None])
    return cases


@pytest.mark.parametrize("kind", arrow_cases())
def test_arrow(kind):
    pa = pytest.importorskip("pyarrow")
    values, expected = arrow_cases()[kind]
    columns = as_columns(pa.table({"a": values}), min_rows=0)
    assert values_of(columns[0]) == expected
    if isinstance(values, pa.Array):
        assert values_of(column_of(pa.record_batch({"a": values}))) == expected


def test_arrow_without_nulls_is_a_view():
    pa = pytest.importorskip("pyarrow")
    array = np.arange(5.0)
    assert np.shares_memory(column_of(pa.table({"a": array})), array)


def test_arrow_that_cannot_be_read():
    pa = pytest.importorskip("pyarrow")
    with pytest.raises(TypeError, match="column 'a' has the type struct"):
        as_columns(pa.table({"a": [{"b": 1}]}))


# ---- known only by their interfaces ----------------------------------------------------------------------------------


class Capsule:
    """A table that has the Arrow PyCapsule interface and nothing else."""

    def __init__(self, table):
        self.table = table

    def __arrow_c_stream__(self, requested_schema=None):
        return self.table.__arrow_c_stream__(requested_schema)


def test_arrow_capsules():
    pa = pytest.importorskip("pyarrow")
    assert values_of(column_of(Capsule(pa.table({"a": ["x", None, "y"]})))) == ["x", None, "y"]
    assert values_of(column_of(pa.table({"a": [1.5, 2]}).to_reader())) == [1.5, 2]


def test_narwhals_frames():
    nw = pytest.importorskip("narwhals")
    pl = pytest.importorskip("polars")
    frame = nw.from_native(pl.DataFrame({"a": ["x", None, "y"]}))
    assert values_of(column_of(frame)) == ["x", None, "y"]
    with pytest.raises(TypeError, match=r"collect\(\)"):
        as_columns(frame.lazy())


def test_frames_that_only_narwhals_knows():
    nw = pytest.importorskip("narwhals")
    pa = pytest.importorskip("pyarrow")
    frame = nw.from_native(pa.table({"a": ["x", None, "y"], "b": [1.0, 2.0, 3.0]}))

    from boostgrad.data import containers

    class Foreign:
        columns = ("a", "b")

    original = containers._by_narwhals
    containers._by_narwhals = lambda X: frame if isinstance(X, Foreign) else original(X)
    try:
        columns = as_columns(Foreign())
    finally:
        containers._by_narwhals = original
    assert (
        columns.names == ("a", "b") and values_of(columns[0]) == ["x", None, "y"] and columns[1].tolist() == [1, 2, 3]
    )


# ---- objects ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "values, expected",
    [
        ([1, None, 2.5, True], [1, None, 2.5, 1]),
        ([True, None, np.False_], [True, None, False]),
        ([True, np.nan], [True, None]),
        (["x", np.nan, np.str_("y"), None], ["x", None, "y", None]),
        ([np.datetime64("1970-01-02"), None, np.datetime64("NaT")], [86400, None, None]),
        ([dt.datetime(1970, 1, 1, 9, tzinfo=dt.timezone(dt.timedelta(hours=9))), None], [0, None]),
        ([dt.timedelta(days=1), np.timedelta64(2, "s"), None], [86400, 2, None]),
        ([dt.time(1, 0, 1), None], [3601, None]),
        ([float("nan"), None], [None, None]),
    ],
)
def test_objects(values, expected):
    array = np.empty((len(values), 1), dtype=object)
    array[:, 0] = values
    assert values_of(as_columns(array)[0]) == expected


def test_object_dates_keep_their_clocks():
    tokyo = dt.timezone(dt.timedelta(hours=9))
    column = as_columns(np.array([[dt.datetime(1970, 1, 2, 3, tzinfo=tokyo)]], dtype=object))[0]
    assert column.part("hour").tolist() == [3] and column.part("day").tolist() == [2]


@pytest.mark.parametrize("unit", ["D", "h", "m", "s", "ms", "us", "ns", "M", "Y", "W", "25s"])
def test_units_of_dates(unit):
    moments = np.array([["1970-01-01", "NaT"]], dtype="M8[D]").T.astype(f"M8[{unit}]")
    assert values_of(as_columns(moments)[0])[1] is None
    assert abs(values_of(as_columns(moments)[0])[0]) < 7 * 86400


def test_parts_of_dates():
    moments = np.array([["2024-02-29T23:59:59"], ["1969-12-31T00:00:00"], ["NaT"]], dtype="M8[s]")
    column = as_columns(moments)[0]
    expected = {
        "year": [2024, 1969],
        "month": [2, 12],
        "day": [29, 31],
        "weekday": [3, 2],
        "hour": [23, 0],
        "dayofyear": [60, 365],
    }
    for part, values in expected.items():
        np.testing.assert_array_equal(column.part(part), [*values, np.nan], err_msg=part)


def test_string_dtype_of_numpy():
    if not hasattr(np.dtypes, "StringDType"):
        pytest.skip("numpy 2 has it")
    array = np.array([["x"], ["y"], ["x"]], dtype=np.dtypes.StringDType())
    assert values_of(as_columns(array)[0]) == ["x", "y", "x"]


def test_import_of_nothing():
    """A numpy table is read without any frame library."""
    import subprocess
    import sys

    code = (
        "import sys, numpy as np; from boostgrad.data.columns import as_columns; before = set(sys.modules); "
        "as_columns(np.array([['x', 1]], dtype=object)); as_columns([[1, 'x']]); "
        "print(*{'pandas', 'polars', 'pyarrow', 'narwhals'} & (set(sys.modules) - before))"
    )
    done = subprocess.run([sys.executable, "-P", "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == ""
