"""The same model from every container of one table, byte for byte; and the frames that other libraries refuse."""

import datetime as dt
import pickle
import warnings
from dataclasses import replace

import numpy as np
import pytest
from sklearn.base import clone

from boostgrad import BoostGradClassifier, BoostGradRegressor
from boostgrad.io import native

pd = pytest.importorskip("pandas")
pl = pytest.importorskip("polars")
pa = pytest.importorskip("pyarrow")

N = 400
NAMES = ["size", "count", "colour", "sold", "wait", "open"]
PARTS = ("month", "weekday", "hour")


def mixed_table():
    """Columns of Python objects, None where missing, and a target that depends on all of them."""
    rng = np.random.default_rng(0)
    colours = ["red", "green", "blue", "größe", "", "n/a"]
    columns = {
        "size": rng.normal(size=N).tolist(),
        "count": rng.integers(-5, 100, N).tolist(),
        "colour": [colours[i] for i in rng.integers(0, len(colours), N)],
        "sold": [dt.datetime(2020, 1, 1) + dt.timedelta(hours=int(h)) for h in rng.integers(0, 9000, N)],
        "wait": [dt.timedelta(seconds=int(s)) for s in rng.integers(0, 9000, N)],
        "open": (rng.random(N) < 0.5).tolist(),
    }
    y = np.array(columns["size"]) + np.array(columns["count"]) / 50
    y += np.array([colours.index(c) % 3 for c in columns["colour"]])
    y += np.array([d.hour / 24 + d.timestamp() / 1e8 for d in columns["sold"]]) + np.array(columns["open"])
    y += np.array([w.total_seconds() / 9000 for w in columns["wait"]])
    for j, name in enumerate(NAMES):
        columns[name][j::13] = [None] * len(columns[name][j::13])
    return columns, y


def arrow_table(columns):
    return pa.table({name: pa.array(values) for name, values in columns.items()})


def containers():
    columns, _ = mixed_table()
    array = np.empty((N, len(NAMES)), dtype=object)
    for j, name in enumerate(NAMES):
        array[:, j] = columns[name]
    arrow = arrow_table(columns)
    polars = pl.DataFrame(columns)
    frame = pd.DataFrame(columns)
    nullable = frame.astype({"count": "Int64", "size": "Float64", "open": "boolean", "colour": "string"})
    rows = pa.concat_tables([arrow.slice(0, 50), arrow.slice(50)])
    coded = arrow.set_column(2, "colour", arrow["colour"].combine_chunks().dictionary_encode())
    levels = sorted(set(columns["colour"]) - {None})
    return {
        "numpy objects": array,
        "lists": [list(row) for row in array],
        "pandas": frame,
        "pandas objects": pd.DataFrame(array, columns=NAMES, dtype=object),
        "pandas nullable": nullable,
        "pandas nanoseconds": frame.assign(sold=frame["sold"].astype("M8[ns]"), wait=frame["wait"].astype("m8[ns]")),
        "pandas categorical": frame.astype({"colour": "category", "open": "category"}),
        "pandas arrow": nullable.convert_dtypes(dtype_backend="pyarrow"),
        "polars": polars,
        "polars categorical": polars.with_columns(pl.col("colour").cast(pl.Categorical)),
        "polars enum": polars.with_columns(pl.col("colour").cast(pl.Enum(["unused", *levels[::-1]]))),
        "polars milliseconds": polars.with_columns(pl.col("sold").cast(pl.Datetime("ms"))),
        "arrow": arrow,
        "arrow chunks": rows,
        "arrow dictionary": coded,
        "arrow batch": arrow.combine_chunks().to_batches()[0],
    }


CONTAINERS = containers()
OPTIONS = {"n_estimators": 15, "min_samples_leaf": 5, "random_state": 0, "date_parts": PARTS}


def bytes_of(model):
    """The model without the names, which arrays do not have."""
    return native.dump_bytes(replace(model.ensemble_, feature_names=None))


@pytest.fixture(scope="module")
def reference():
    return BoostGradRegressor(**OPTIONS).fit(CONTAINERS["pandas"], mixed_table()[1])


@pytest.mark.filterwarnings("ignore:X does not have valid feature names")
@pytest.mark.parametrize("kind", CONTAINERS)
def test_same_model_from_every_container(kind, reference):
    X, y = CONTAINERS[kind], mixed_table()[1]
    model = BoostGradRegressor(**OPTIONS).fit(X, y)
    assert bytes_of(model) == bytes_of(reference)
    expected = reference.predict(CONTAINERS["pandas"])
    np.testing.assert_array_equal(model.predict(X), expected)
    np.testing.assert_array_equal(reference.predict(X), expected)
    assert model.n_features_in_ == len(NAMES) and len(model.feature_importances_) == len(NAMES)
    assert np.all(model.feature_importances_ > 0)
    if kind not in ("numpy objects", "lists"):
        assert model.feature_names_in_.tolist() == NAMES
        assert native.dump_bytes(model.ensemble_) == native.dump_bytes(reference.ensemble_)


@pytest.fixture(scope="module")
def with_statistics():
    model = BoostGradRegressor(**OPTIONS, target_statistics="always").fit(CONTAINERS["pandas"], mixed_table()[1])
    assert "statistic" in {info.kind for info in model.ensemble_.features}
    return model


@pytest.mark.filterwarnings("ignore:X does not have valid feature names")
@pytest.mark.parametrize("kind", CONTAINERS)
def test_same_target_statistics_from_every_container(kind, with_statistics):
    X, y = CONTAINERS[kind], mixed_table()[1]
    model = BoostGradRegressor(**OPTIONS, target_statistics="always").fit(X, y)
    assert bytes_of(model) == bytes_of(with_statistics)
    np.testing.assert_array_equal(with_statistics.predict(X), with_statistics.predict(CONTAINERS["pandas"]))


def test_the_schema_is_in_the_file(reference, tmp_path):
    X = CONTAINERS["polars"]
    reference.save(tmp_path / "model.bg")
    for other in (BoostGradRegressor.load(tmp_path / "model.bg"), pickle.loads(pickle.dumps(reference))):
        assert other.ensemble_.features == reference.ensemble_.features
        np.testing.assert_array_equal(other.predict(X), reference.predict(X))
        assert other.feature_names_in_.tolist() == NAMES
    names = reference.ensemble_.feature_names
    assert names[3:7] == ("sold", "sold__month", "sold__weekday", "sold__hour") and len(names) == 9
    assert BoostGradRegressor.load(tmp_path / "model.bg").date_parts == list(PARTS)


def test_columns_in_another_order(reference):
    X = CONTAINERS["polars"]
    expected = reference.predict(X)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        np.testing.assert_array_equal(reference.predict(X.select(NAMES[::-1])), expected)
        np.testing.assert_array_equal(reference.predict(CONTAINERS["arrow"].select(NAMES[::-1])), expected)
        np.testing.assert_array_equal(reference.apply(X.select(NAMES[::-1])), reference.apply(X))
    with pytest.raises(ValueError, match=r"(?s)unseen at fit time:\n- other\n.*missing:\n- open\n- wait\n"):
        reference.predict(X.drop("open", "wait").with_columns(other=1))


def test_dates_on_the_clocks_of_their_zone():
    moments = pd.Series(pd.date_range("2024-01-01", periods=200, freq="37min", tz="America/New_York"))
    y = (moments.dt.hour >= 12).astype(float)
    models = []
    for X in (
        pd.DataFrame({"t": moments}),
        pl.DataFrame({"t": pl.Series(moments.tolist()).dt.convert_time_zone("America/New_York")}),
        pa.table({"t": pa.array(moments)}),
        pd.DataFrame({"t": moments.astype(object)}),
    ):
        model = BoostGradRegressor(n_estimators=3, date_parts=("hour",)).fit(X, y)
        models.append(native.dump_bytes(model.ensemble_))
        assert model.ensemble_.trees[0].feature[0] == 1 and 11 < model.ensemble_.trees[0].threshold[0] < 12
    assert len(set(models)) == 1


# ---- frames that others refuse ---------------------------------------------------------------------------------------


def fits_and_predicts(X, X_new, **options):
    rng = np.random.default_rng(1)
    y = rng.integers(0, 2, len(X))
    for face in (BoostGradRegressor, BoostGradClassifier):
        prediction = face(n_estimators=3, min_samples_leaf=2, **options).fit(X, y).predict(X_new)
        assert prediction.shape == (len(X_new),) and np.isfinite(prediction).all()


LEVELS = [f"level {i}" for i in range(60)]


@pytest.mark.parametrize("dtype", ["str", "string", "object", "category"])
def test_plain_strings(dtype):
    frame = pd.DataFrame({"a": pd.Series(LEVELS * 2).astype(dtype), "b": range(120)})
    fits_and_predicts(frame, frame)


def test_polars_categorical_and_reordered_columns():
    frame = pl.DataFrame({"a": pl.Series(LEVELS * 2, dtype=pl.Categorical), "b": range(120)})
    fits_and_predicts(frame, frame.select("b", "a"))


def test_unseen_categories():
    X, X_new = pd.DataFrame({"a": LEVELS * 2}), pd.DataFrame({"a": ["new", "newer", None]})
    fits_and_predicts(X, X_new)
    fits_and_predicts(X, X_new, unknown_category="rare")
    model = BoostGradRegressor(n_estimators=3, unknown_category="error").fit(X, np.arange(120.0))
    with pytest.raises(ValueError, match="column 'a', row 0: the category 'new' was not there when the model was fitt"):
        model.predict(X_new)
    missing = model.set_params(unknown_category="missing").predict(X_new)
    assert missing[0] == missing[1] == missing[2]


def test_missing_categories():
    for missing in (None, np.nan, pd.NA):
        frame = pd.DataFrame({"a": pd.Series([*LEVELS, missing] * 3, dtype=object).astype("category")})
        fits_and_predicts(frame, frame)
        fits_and_predicts(frame.astype(object), frame)


def test_more_than_255_categories():
    levels = [f"level {i}" for i in range(1000)]
    frame = pd.DataFrame({"a": levels * 3})
    fits_and_predicts(frame, frame)
    fits_and_predicts(pl.from_pandas(frame), pl.from_pandas(frame))
    assert BoostGradRegressor(n_estimators=1).fit(frame, range(3000)).ensemble_.features[0].n_numbers == 1000


def test_categories_of_arrays():
    X = np.column_stack([np.repeat([3.0, 7.0, np.nan], 40), np.arange(120)])
    fits_and_predicts(X, X[::2], categorical_features=[0])
    fits_and_predicts(X, X[::2], categorical_features=[True, False])
    fits_and_predicts(np.array(LEVELS * 2)[:, None], np.array(LEVELS)[:, None])
    model = BoostGradRegressor(n_estimators=1, categorical_features=[0]).fit(X.astype(np.float32), X[:, 1])
    assert model.ensemble_.features[0].levels == (3, 7)


def test_unknown_levels_among_rows_set_aside_are_no_error():
    X = pd.DataFrame({"a": [f"only {i}" for i in range(40)]})
    BoostGradRegressor(n_estimators=2, early_stopping=True, unknown_category="error").fit(X, np.arange(40.0))
    model = BoostGradRegressor(n_estimators=2, unknown_category="error")
    with pytest.raises(ValueError, match="column 'a', row 1: the category 'other' was not there"):
        model.fit(X, np.arange(40.0), X_val=pd.DataFrame({"a": ["only 3", "other"]}), y_val=[1.0, 2.0])


def test_rows_of_weight_zero_teach_no_levels():
    X = pd.DataFrame({"a": ["x", "y"] * 30 + ["never"] * 5})
    model = BoostGradRegressor(n_estimators=2).fit(X, np.arange(65.0), np.r_[np.ones(60), np.zeros(5)])
    assert model.ensemble_.features[0].levels == ("x", "y")


def test_levels_that_only_pickle_can_hold(tmp_path):
    X = np.empty((40, 1), dtype=object)
    X[:, 0] = [(i % 3, "x") for i in range(40)]
    model = BoostGradRegressor(n_estimators=2, categorical_features=[0]).fit(X, np.arange(40.0))
    np.testing.assert_array_equal(pickle.loads(pickle.dumps(model)).predict(X), model.predict(X))
    with pytest.raises(TypeError, match=r"feature 0 has the level \(0, 'x'\) of the type tuple; a model file holds"):
        model.save(tmp_path / "model.bg")
    assert not list(tmp_path.iterdir())


def test_errors_name_column_row_and_value():
    y = np.arange(20.0)
    frame = pd.DataFrame({"age": pd.Series([*range(17), "abc", 18, 19], dtype=object)})
    with pytest.raises(ValueError, match="column 'age', row 17: 'abc' is text, but row 0 holds 0, which is a number"):
        BoostGradRegressor().fit(frame, y)
    with pytest.raises(ValueError, match="column 'age', row 17: 'abc' is not a number; declare the column categorical"):
        BoostGradRegressor(categorical_features=None).fit(frame, y)
    model = BoostGradRegressor(n_estimators=1).fit(pd.DataFrame({"age": y}), y)
    with pytest.raises(ValueError, match="column 'age', row 17: 'abc' is not a number"):
        model.predict(frame)
    assert clone(model).set_params(categorical_features=["age"]).fit(frame, y).predict(frame).shape == (20,)


# ---- targets and weights ---------------------------------------------------------------------------------------------


def series(values):
    """The same values in every container of one column."""
    yield pd.Series(values)
    yield pd.Series(values).convert_dtypes()
    yield pd.Series(values).convert_dtypes(dtype_backend="pyarrow")
    yield pl.Series(values)
    yield pa.array(values)
    yield pa.chunked_array([values[:30], values[30:]])
    yield pa.array(values).dictionary_encode()


@pytest.mark.parametrize("labels", [["no", "yes"], [True, False], [3, 7]])
def test_labels_in_every_container(labels):
    X = np.arange(60.0)[:, None]
    y = [labels[i >= 30] for i in range(60)]
    model = BoostGradClassifier(n_estimators=5, random_state=0).fit(X, np.array(y))
    for values in series(y):
        other = clone(model).fit(X, values)
        assert other.classes_.tolist() == model.classes_.tolist() and other.score(X, y) == 1
        assert bytes_of(other) == bytes_of(model)
    for dtype in (pl.Categorical, pl.Enum(["yes", "no"])) if labels[0] == "no" else ():
        assert clone(model).fit(X, pl.Series(y, dtype=dtype)).classes_.tolist() == ["no", "yes"]


@pytest.mark.filterwarnings("ignore:A column-vector y was passed")
def test_targets_and_weights_in_every_container():
    X, y = np.arange(60.0)[:, None], np.arange(60.0).tolist()
    weight = [1.0, 2.0] * 30
    model = BoostGradRegressor(n_estimators=5, random_state=0).fit(X, np.array(y), np.array(weight))
    frames = [pd.DataFrame({"y": y}), pl.DataFrame({"y": y}), pa.table({"y": y})]
    weights = [pd.DataFrame({"w": weight}), pl.DataFrame({"w": weight}), pa.table({"w": weight})]
    for target, heavy in zip([*series(y), *frames], [*series(weight), *weights], strict=True):
        assert bytes_of(clone(model).fit(X, target, heavy)) == bytes_of(model)
        other = clone(model).fit(X, y, X_val=X, y_val=target, sample_weight_val=heavy)
        assert len(other.validation_score_) == other.n_iter_ + 1


def test_targets_with_gaps():
    X = np.arange(4.0)[:, None]
    for values in (
        pl.Series(["a", None, "b", "a"]),
        pa.array(["a", None, "b", "a"]),
        pa.array([True, None, False, True]),
    ):
        with pytest.raises(ValueError, match="label is missing at row 1"):
            BoostGradClassifier().fit(X, values)
    chunks = pa.chunked_array([pa.array(["a", None]).dictionary_encode(), pa.array(["b", "a"]).dictionary_encode()])
    with pytest.raises(ValueError, match="label is missing at row 1"):
        BoostGradClassifier().fit(X, chunks)
    for values in (pl.Series([1, None, 2, 3]), pa.array([1.0, None, 2, 3])):
        with pytest.raises(ValueError, match="Input y contains NaN: row 1 is nan"):
            BoostGradRegressor().fit(X, values)
        with pytest.raises(ValueError, match="sample_weight contains NaN: row 1"):
            BoostGradRegressor().fit(X, [1, 2, 3, 4], values)
    with pytest.raises(TypeError, match="y is a LazyFrame"):
        BoostGradRegressor().fit(X, pl.DataFrame({"y": [1, 2, 3, 4]}).lazy())
