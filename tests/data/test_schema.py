"""What is learned of a table, and what it makes of later ones."""

import warnings

import numpy as np
import pytest

from boostgrad.data.columns import Columns, as_columns
from boostgrad.data.levels import CodedColumn
from boostgrad.data.schema import MANY_LEVELS, TableSchema
from boostgrad.features import FeatureInfo


def objects(*columns):
    """A numpy table of these columns of objects."""
    table = np.empty((len(columns[0]), len(columns)), dtype=object)
    for j, column in enumerate(columns):
        table[:, j] = column
    return table


def named(*columns, names="abcdef"):
    """The same with names."""
    table = as_columns(objects(*columns))
    return Columns([table.entry(j) for j in range(table.n_columns)], table.n_rows, tuple(names[: table.n_columns]))


def learned(X, **options):
    return TableSchema.learn(X if isinstance(X, Columns) else as_columns(X), **options)


def applied(schema, X, column=0, **options):
    """One model column of the table; missing is None."""
    columns = schema.apply(X if isinstance(X, Columns) else as_columns(X), **options)
    return [None if v != v or (columns.n_levels and columns.n_levels[column] and v < 0) else v for v in columns[column]]


# ---- kinds -----------------------------------------------------------------------------------------------------------


def test_kinds_from_dtypes():
    dates = [np.datetime64("2020-01-01"), None]
    X = objects([1.5, None], ["x", None], [True, None], dates, [np.timedelta64(1, "s"), None], [None, None])
    schema = learned(X)
    kinds = [info.kind for info in schema.features]
    assert kinds == ["number", "category", "category", "date", "duration", "number"]
    assert schema.n_levels == (0, 1, 1, 0, 0, 0) and schema.n_inputs == 6
    assert schema.features[1] == FeatureInfo("category", 1, None, ("x",))


def test_arrays_of_bools_are_numbers():
    X = np.array([[True], [False]])
    assert learned(X).features[0].kind == "number"
    assert learned(X, categorical_features=[0]).features[0].levels == (False, True)


def test_numbers_are_passed_on_as_they_are():
    X = np.zeros((3, 2), dtype=np.float32)
    columns = as_columns(X)
    schema = learned(columns)
    assert schema.apply(columns) is columns and schema.n_levels is None and schema.feature_names is None


@pytest.mark.parametrize(
    "choice, kinds",
    [
        (None, "nn"),
        ([], "nn"),
        ([1], "nc"),
        ([True, False], "cn"),
        (np.array([False, True]), "nc"),
        (["b"], "nc"),
        (("a", "b"), "cc"),
        (np.array(["a"]), "cn"),
        ("from_dtype", "nc"),
    ],
)
def test_declared_categories(choice, kinds):
    schema = learned(named([1, 2], ["1", "2"]), categorical_features=choice)
    assert "".join(info.kind[0] for info in schema.features) == kinds


@pytest.mark.parametrize(
    "choice, words",
    [
        ([True], "categorical_features is a mask of 1 columns, but X has 2 columns"),
        ([2], "categorical_features must hold column numbers from 0 to 1. Got 2."),
        ([-1], "column numbers from 0 to 1. Got -1"),
        (["z"], "categorical_features names the column 'z', which X does not have"),
    ],
)
def test_declared_categories_that_are_refused(choice, words):
    with pytest.raises(ValueError, match=words):
        learned(named([1, 2], [3, 4]), categorical_features=choice)
    with pytest.raises(ValueError, match="names the column 'a', but the columns of X have no names"):
        learned(np.zeros((2, 2)), categorical_features=["a"])


def test_text_that_is_numbers():
    schema = learned(objects(["1", None, " 2.5"]), categorical_features=None)
    assert schema.features == (FeatureInfo("number", 0),)
    assert applied(schema, objects(["3", None, 4])) == [3, None, 4]
    words = "column 'a', row 1: 'abc' is not a number; declare the column categorical"
    with pytest.raises(ValueError, match=words):
        learned(named(["1", "abc"]), categorical_features=None)


def test_mixed_columns():
    X = named([None, 1, 2.5, "abc", 1.0, True])
    with pytest.raises(
        ValueError, match="column 'a', row 3: 'abc' is text, but row 1 holds 1, which is a number; decl"
    ):
        learned(X)
    schema = learned(X, categorical_features=["a"])
    assert schema.features[0].levels == (True, 1, 2.5, "abc")
    assert applied(schema, X) == [None, 1, 2, 3, 1, 0]
    with pytest.raises(TypeError, match=r"row 0: could not convert \(1, 2\) to float"):
        learned(objects([(1, 2), (3, 4)]))
    assert learned(objects([(3, 4), (1, 2)]), categorical_features=[0]).features[0].levels == ((1, 2), (3, 4))
    for value in ({}, [], 1j):
        with pytest.raises(TypeError, match="argument must be a string or a number"):
            learned(objects([value, value]))


# ---- levels ----------------------------------------------------------------------------------------------------------


def test_levels_are_in_canonical_order():
    assert learned(objects(["b", "c", "a", "b"])).features[0].levels == ("a", "b", "c")
    numbers = learned(np.array([[2.5], [np.nan], [-1], [2.0]]), categorical_features=[0])
    assert numbers.features[0].levels == (-1, 2, 2.5)
    assert [type(level) for level in numbers.features[0].levels] == [int, int, float]
    assert applied(numbers, np.array([[2], [-1], [5]])) == [1, 0, None]


def test_only_levels_of_training_rows_are_kept():
    columns = Columns([CodedColumn(np.array([3, 1, -1, 0], np.int8), ["d", "c", "unused", "a"])], 4, ("a",))
    assert learned(columns).features[0].levels == ("a", "c", "d")
    schema = learned(columns, rows=np.array([0, 2]))
    assert schema.features[0].levels == ("a",)
    assert applied(schema, columns) == [0, None, None, None]


def test_one_level_in_several_types():
    columns = Columns([CodedColumn(np.array([0, 1, 2, 3], np.int8), [1, 1.0, np.float32(1), None])], 4, None)
    assert learned(columns).features[0].levels == (1,)
    assert applied(learned(columns), columns) == [0, 0, 0, None]


def test_no_level_at_all():
    columns = Columns([CodedColumn(np.array([-1, -1], np.int8), ["a"])], 2, None)
    schema = learned(columns)
    assert schema.n_levels == (1,) and applied(schema, columns) == [None, None]
    assert applied(schema, objects([3, "b"])) == [None, None]


def test_rare_levels_are_pooled():
    often = [f"often {i:03}" for i in range(MANY_LEVELS)]
    X = objects([*often, *often, "once", "one time"])
    schema = learned(X)
    assert schema.features[0].levels == tuple(often) and schema.features[0].rare_levels == ("once", "one time")
    assert schema.n_levels == (MANY_LEVELS + 1,)
    new = objects(["once", "often 003", "new", None])
    assert applied(schema, new) == [MANY_LEVELS, 3, None, None]
    assert applied(schema, new, unknown_category="rare") == [MANY_LEVELS, 3, MANY_LEVELS, None]
    with pytest.raises(ValueError, match="column 0, row 2: the category 'new' was not there when the model was fitted"):
        applied(schema, new, unknown_category="error")
    few = learned(objects([*often[1:], "once"]))  # not more levels than stand alone anyway
    assert few.features[0].rare_levels == () and applied(few, new, unknown_category="rare")[2] is None


def test_unknown_levels_that_no_row_has_are_no_error():
    schema = learned(objects(["a", "b"]))
    columns = Columns([CodedColumn(np.array([1, -1], np.int8), ["new", "a"])], 2, None)
    assert applied(schema, columns, unknown_category="error") == [0, None]


def test_categories_that_come_as_something_else():
    truth = learned(objects([True, False]))
    assert applied(truth, np.array([[1.0], [0.0], [np.nan], [7.0]])) == [1, 0, None, None]
    assert applied(truth, np.array([[True], [False]])) == [1, 0]
    numbers = learned(np.array([[0], [1], [2]]), categorical_features=[0])
    assert applied(numbers, objects([True, 2, 1.0])) == [1, 2, 1]
    assert applied(learned(objects(["a", "b"])), np.full((2, 1), np.nan)) == [None, None]
    with pytest.raises(ValueError, match="column 0, row 1: 3.5 is a number, but the levels of this category are text"):
        applied(learned(objects(["a", "b"])), np.array([[np.nan], [3.5]]))
    with pytest.raises(ValueError, match="column 0, row 0: '1' is text, but the levels of this category are bools and"):
        applied(numbers, objects(["1", "2"]))


def test_dates_as_categories():
    X = np.array([["2020-01-02"], ["2020-01-01"], ["NaT"]], dtype="M8[D]")
    schema = learned(X, categorical_features=[0])
    assert schema.features[0].levels == (1577836800, 1577923200)
    assert applied(schema, X.astype("M8[ns]")) == [1, 0, None]


# ---- dates -----------------------------------------------------------------------------------------------------------


def test_dates_and_their_parts():
    X = np.array([["2024-02-29T06", "1970-01-01T00"], ["NaT", "1970-01-02T00"]], dtype="M8[h]")
    columns = as_columns(X)
    columns.names = ("sold", "born")
    schema = learned(columns, date_parts=("weekday", "hour"))
    assert schema.feature_names == ("sold", "sold__weekday", "sold__hour", "born", "born__weekday", "born__hour")
    assert [info.source for info in schema.features] == [0, 0, 0, 1, 1, 1] and schema.n_inputs == 2
    made = [applied(schema, columns, j) for j in range(6)]
    assert made == [[1709186400, None], [3, None], [6, None], [0, 86400], [3, 4], [0, 0]]


def test_dates_that_come_as_something_else():
    dates = learned(np.array([["2020-01-01"]], dtype="M8[D]"))
    assert applied(dates, np.array([[np.nan]])) == [None] and applied(dates, objects([None])) == [None]
    for value, words in ((3.5, "3.5"), ("2020", "'2020'"), (np.timedelta64(1, "s"), "'1000000 microseconds'")):
        with pytest.raises(ValueError, match=f"column 0, row 0: {words} is not a date, but this was a column of dates"):
            applied(dates, objects([value]))


# ---- numbers ---------------------------------------------------------------------------------------------------------


def test_numbers_that_come_as_something_else():
    schema = learned(named([1, 2], [3, 4]))
    with pytest.raises(ValueError, match="column 'b', row 1: 'abc' is not a number; declare the column categorical"):
        schema.apply(named([1, 2], ["3", "abc"]))
    with pytest.raises(ValueError, match="column 'a', row 0: 2020-01-01.* is a date, but this is a column of numbers"):
        schema.apply(named([np.datetime64("2020-01-01"), None], [1, 2]))
    assert applied(schema, named([True, None], [1, 2])) == [1, None]
    assert applied(schema, named([None, None], [1, 2])) == [None, None]


# ---- names -----------------------------------------------------------------------------------------------------------


def test_columns_are_matched_by_name():
    schema = learned(named(["x", "y"], [1, 2]))
    turned = named([3, 4], ["y", "z"], names="ba")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert applied(schema, turned, 0) == [1, None] and applied(schema, turned, 1) == [3, 4]
    with pytest.raises(ValueError, match=r"(?s)names of X_val should.*unseen at fit time:\n- c\n.*missing:\n- b\n"):
        schema.apply(named(["x", "y"], [1, 2], names="ac"), what="X_val")
    with pytest.raises(ValueError, match="X has 1 features, but Trees is expecting 2 features as input"):
        schema.apply(as_columns(np.zeros((1, 1))), owner="Trees")
    with pytest.warns(
        UserWarning, match="X does not have valid feature names, but Trees was fitted with feature names"
    ):
        schema.apply(as_columns(objects(["x"], [1])), owner="Trees")
    with pytest.warns(UserWarning, match="X has feature names, but Trees was fitted without feature names"):
        learned(np.zeros((1, 2))).apply(named([1], [2]), owner="Trees")
