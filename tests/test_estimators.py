"""The scikit-learn faces: conformance, what may come in, what comes out, what is refused."""

import copy
import pickle
import warnings
from dataclasses import replace

import joblib
import numpy as np
import pytest
import sklearn
from scipy import sparse
from sklearn.base import clone
from sklearn.calibration import CalibratedClassifierCV
from sklearn.exceptions import NotFittedError
from sklearn.inspection import partial_dependence, permutation_importance
from sklearn.metrics import r2_score
from sklearn.model_selection import GridSearchCV, KFold, PredefinedSplit, TimeSeriesSplit, cross_val_score
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.utils import get_tags
from sklearn.utils.estimator_checks import parametrize_with_checks

from boostgrad import BoostGradClassifier, BoostGradRanker, BoostGradRegressor, BoostGradSurvival
from boostgrad.callbacks import Callback
from boostgrad.data.columns import as_columns
from boostgrad.estimators.base import AUTO_EARLY_STOPPING_ROWS
from boostgrad.estimators.samples import Samples
from boostgrad.io import native
from boostgrad.losses import BinaryLogLoss, MultinomialLogLoss, SquaredError, get_loss

FACES = [BoostGradRegressor, BoostGradClassifier]
N_ROWS = 300


def problem(face=BoostGradRegressor, n_classes=3, missing=True):
    """A small table whose last column is noise, and a target that depends on the others."""
    rng = np.random.default_rng(0)
    X = rng.normal(size=(N_ROWS, 4))
    score = 2 * X[:, 0] + np.sin(3 * X[:, 1]) + X[:, 0] * X[:, 2] + 0.1 * rng.normal(size=N_ROWS)
    if missing:
        X[rng.random(X.shape) < 0.05] = np.nan
    if face is BoostGradRegressor:
        return X, score
    return X, np.digitize(score, np.quantile(score, np.arange(1, n_classes) / n_classes))


def bytes_of(model):
    """The trees, without the names of the features."""
    return native.dump_bytes(replace(model.ensemble_, feature_names=None))


def state_of(model):
    return {name: value for name, value in vars(model).items() if name.endswith("_") or name.startswith("_")}


# ---- conformance -----------------------------------------------------------------------------------------------------


@parametrize_with_checks(
    [
        face(**setting)
        for face in FACES
        for setting in (
            {},
            {"grow_policy": "depthwise", "min_samples_leaf": 1},
            {"early_stopping": True},
            {"max_bins": 300, "n_jobs": 2, "l2_regularization": 1.0},
        )
    ]
)
def test_scikit_learn_checks(estimator, check):
    if estimator.early_stopping is True and check.func.__name__.startswith("check_sample_weight_equivalence"):
        pytest.skip("a random split of 30 rows is not that of 12 weighted ones")
    check(estimator)


def test_tags():
    every = [get_tags(face()) for face in (*FACES, BoostGradRanker, BoostGradSurvival)]
    assert all(tags.target_tags.required and tags.input_tags.allow_nan and tags.input_tags.sparse for tags in every)
    assert [tags.target_tags.multi_output for tags in every] == [True, False, False, False]
    assert every[1].classifier_tags.multi_label and every[1].classifier_tags.multi_class


# ---- what may come in ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", ["?", "i1", "u1", "i2", "u2", "i4", "u4", "i8", "u8", "f2", "f4", "f8", "g", ">f4"])
@pytest.mark.parametrize("face", FACES)
def test_dtypes(face, dtype):
    X, y = problem(face, missing=False)
    X = (X > 0).astype(dtype) if dtype == "?" else (np.abs(X) * 10).astype(dtype)
    model = face(n_estimators=5, random_state=0).fit(X, y)
    reference = face(n_estimators=5, random_state=0).fit(X.astype(np.float64), y)
    assert bytes_of(model) == bytes_of(reference)
    np.testing.assert_array_equal(model.predict(X), reference.predict(X.astype(np.float64)))


def test_memory_layouts_give_the_same_model(tmp_path):
    X, y = problem()
    wide = np.repeat(np.repeat(X, 2, axis=0), 3, axis=1)
    read_only = X.copy()
    read_only.flags.writeable = False
    mapped = np.memmap(tmp_path / "X", dtype=X.dtype, mode="w+", shape=X.shape)
    mapped[:] = X
    mapped.flush()
    layouts = [
        np.asfortranarray(X),
        wide[::2, ::3],
        X[::-1][::-1],
        read_only,
        X.tolist(),
        X.astype(object),
        np.memmap(tmp_path / "X", dtype=X.dtype, mode="r", shape=X.shape),
    ]
    model = BoostGradRegressor(n_estimators=5, random_state=0).fit(X, y)
    for layout in layouts:
        other = BoostGradRegressor(n_estimators=5, random_state=0).fit(layout, y)
        assert bytes_of(other) == bytes_of(model)
        np.testing.assert_array_equal(other.predict(layout), model.predict(X))


def test_infinities_are_values():
    X, y = problem()
    X[:10, 0], X[10:20, 0] = np.inf, -np.inf
    model = BoostGradRegressor(n_estimators=5, min_samples_leaf=1).fit(X, y)
    assert np.isfinite(model.predict(X)).all()


def frames():
    pd = pytest.importorskip("pandas")
    X, _ = problem()
    frame = pd.DataFrame(X, columns=list("abcd"))
    yield "float64", frame, X
    yield "float32", frame.astype("float32"), X.astype("float32")
    yield "nullable", frame.astype("Float64"), X
    small = np.nan_to_num(X * 10).astype("int16")
    ints = pd.DataFrame(small, columns=list("abcd"))
    yield "ints", ints, small
    yield "nullable ints", ints.astype("Int16"), small
    holes = ints.astype("Int64")
    holes.iloc[::7, 1] = pd.NA
    with_nan = small.astype(float)
    with_nan[::7, 1] = np.nan
    yield "nullable ints with NA", holes, with_nan
    mixed = pd.DataFrame({"a": X[:, 0].astype("f4"), "b": small[:, 1], "c": small[:, 2], "d": X[:, 3]})
    yield "mixed", mixed, np.column_stack([X[:, 0].astype("f4"), small[:, 1:3], X[:, 3]])
    try:
        import pyarrow  # noqa: F401
    except ImportError:
        return
    yield "arrow floats", frame.astype("float64[pyarrow]"), X
    yield "arrow ints", holes.astype("int64[pyarrow]"), with_nan


def test_pandas_frames_give_the_model_of_their_array():
    _, y = problem()
    for kind, frame, array in frames():
        of_frame = BoostGradRegressor(n_estimators=5, random_state=0).fit(frame, y)
        of_array = BoostGradRegressor(n_estimators=5, random_state=0).fit(array, y)
        assert bytes_of(of_frame) == bytes_of(of_array), kind
        np.testing.assert_array_equal(of_frame.predict(frame), of_array.predict(array), err_msg=kind)
        assert of_frame.feature_names_in_.tolist() == list("abcd") and of_frame.feature_names_in_.dtype == object
        assert not hasattr(of_array, "feature_names_in_")


def test_columns_are_matched_by_name():
    pd = pytest.importorskip("pandas")
    X, y = problem()
    frame = pd.DataFrame(X, columns=list("abcd"))
    model = BoostGradRegressor(n_estimators=5).fit(frame, y, X_val=frame[list("dcba")], y_val=y)
    expected = model.predict(frame)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        np.testing.assert_array_equal(model.predict(frame[list("cadb")]), expected)
        np.testing.assert_array_equal(model.apply(frame[list("cadb")]), model.apply(frame))
    with pytest.warns(UserWarning, match="does not have valid feature names"):
        np.testing.assert_array_equal(model.predict(X), expected)
    with pytest.raises(ValueError, match=r"(?s)unseen at fit time:\n- e\n.*now missing:\n- b\n"):
        model.predict(frame.rename(columns={"b": "e"}))
    with pytest.raises(ValueError, match=r"unseen at fit time:\n- extra\n$"):
        model.predict(frame.assign(extra=1.0))
    with pytest.raises(ValueError, match=r"now missing:\n- a\n- c\n$"):
        model.predict(frame[["b", "d"]])
    with pytest.raises(ValueError, match="'a' is there twice"):
        model.predict(frame[["a", "a", "c", "d"]])
    with pytest.raises(TypeError, match="only supported if all input features have string names"):
        model.predict(frame.rename(columns={"b": 3}))
    without_names = BoostGradRegressor(n_estimators=5).fit(X, y)
    with pytest.warns(UserWarning, match="fitted without feature names"):
        without_names.predict(frame)


def test_subclasses_of_frames_keep_their_names():
    pd = pytest.importorskip("pandas")

    class Frame(pd.DataFrame):
        pass

    X, y = problem()
    model = BoostGradRegressor(n_estimators=2).fit(Frame(X, columns=list("abcd")), y)
    assert model.feature_names_in_.tolist() == list("abcd")


LABELS = {
    "text": np.array(["red", "amber", "green"]),
    "objects": np.array(["red", "amber", "green"], dtype=object),
    "ints with gaps": np.array([-7, 40, 3]),
    "unsigned": np.array([200, 3, 255], dtype="u1"),
    "floats": np.array([2.0, -1.0, 7.0]),
    "bools": np.array([True, False]),
    "object bools": np.array([True, False], dtype=object),
    "object ints": np.array([5, 1, 3], dtype=object),
}


@pytest.mark.parametrize("kind", LABELS)
def test_labels_of_any_kind(kind, tmp_path):
    labels = LABELS[kind]
    X, codes = problem(BoostGradClassifier, len(labels))
    y = labels[codes]
    model = BoostGradClassifier(n_estimators=20, early_stopping=True).fit(X, y)
    assert model.classes_.tolist() == sorted(labels.tolist())
    prediction = model.predict(X)
    assert prediction.dtype == model.classes_.dtype
    assert np.mean(prediction == y) > 0.8
    if not kind.startswith("object "):  # for which scikit-learn has no metric
        assert model.score(X, y) == np.mean(prediction == y)
    model.save(tmp_path / "model.bg")
    for other in (pickle.loads(pickle.dumps(model)), BoostGradClassifier.load(tmp_path / "model.bg")):
        assert other.classes_.dtype == model.classes_.dtype
        np.testing.assert_array_equal(other.predict(X), prediction)


def test_labels_of_pandas():
    pd = pytest.importorskip("pandas")
    X, codes = problem(BoostGradClassifier, 2)
    for dtype in ("str", "string", "category", "object"):
        y = pd.Series(np.array(["no", "yes"])[codes]).astype(dtype)
        assert (
            BoostGradClassifier(n_estimators=10).fit(X, y).predict(X[:3]).tolist()
            == np.array(["no", "yes"])[codes[:3]].tolist()
        )
    with pytest.raises(ValueError, match="label is missing at row 0"):
        BoostGradClassifier().fit(X, y.astype("string").where(codes != codes[0]))


@pytest.mark.filterwarnings("ignore:A column-vector y")
@pytest.mark.parametrize("dtype", ["Int64", "UInt64", "int64[pyarrow]", "boolean", "bool[pyarrow]", "Float64"])
@pytest.mark.parametrize("form", ["series", "frame", "array", "index"])
def test_nullable_labels_keep_their_type(dtype, form):
    pd = pytest.importorskip("pandas")
    if "pyarrow" in dtype:
        pytest.importorskip("pyarrow")
    X, codes = problem(BoostGradClassifier, 2)
    plain = codes + 2**60 if "nt64" in dtype else codes == 1 if "bool" in dtype else codes + 1.0
    series = pd.Series(plain).astype(dtype)
    y = {"series": series, "frame": series.to_frame("y"), "array": series.array, "index": pd.Index(series)}[form]
    model = BoostGradClassifier(n_estimators=3, random_state=0).fit(X, y)
    assert model.classes_.dtype.kind == ("u" if dtype == "UInt64" else plain.dtype.kind)
    assert model.classes_.tolist() == np.unique(plain).tolist()
    assert np.mean(model.predict(X) == plain) == model.score(X, plain) > 0.8
    missing = series.copy()
    missing[5] = pd.NA
    with pytest.raises(ValueError, match=r"Input y contains NaN.*row 5"):
        BoostGradClassifier().fit(X, missing.to_frame("y") if form == "frame" else missing)
    regressors = [
        BoostGradRegressor(n_estimators=3, random_state=0).fit(X, of, weight) for of, weight in ((y, y), (plain, plain))
    ]
    np.testing.assert_array_equal(*[regressor.predict(X) for regressor in regressors])


def test_nullable_labels_in_several_columns():
    pd = pytest.importorskip("pandas")
    X, codes = problem(BoostGradClassifier, 2)
    labels = np.column_stack([codes, X[:, 0] > 0])
    frame = pd.DataFrame({"a": pd.array(labels[:, 0], "Int64"), "b": pd.array(labels[:, 1] == 1, "boolean")})
    for face in FACES:
        models = [face(n_estimators=3, random_state=0).fit(X, y) for y in (labels, frame)]
        np.testing.assert_array_equal(models[0].predict(X), models[1].predict(X))


def test_labels_that_only_pickle_can_hold(tmp_path):
    X, codes = problem(BoostGradClassifier, 2)
    y = np.array(["2020-01-01", "2021-01-01"], dtype="M8[D]")[codes]
    model = BoostGradClassifier(n_estimators=3).fit(X, y)
    np.testing.assert_array_equal(pickle.loads(pickle.dumps(model)).predict(X), model.predict(X))
    with pytest.raises(TypeError, match="classes_"):
        model.save(tmp_path / "model.bg")
    assert not list(tmp_path.iterdir())


# ---- scikit-learn's tools --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("face", FACES)
def test_copies(face, tmp_path):
    X, y = problem(face)
    model = face(n_estimators=7, learning_rate=0.3, early_stopping=True, random_state=1).fit(X, y)
    joblib.dump(model, tmp_path / "model.joblib")
    model.save(tmp_path / "model.bg")
    copies = [pickle.loads(pickle.dumps(model, protocol)) for protocol in range(2, pickle.HIGHEST_PROTOCOL + 1)]
    copies += [
        copy.copy(model),
        copy.deepcopy(model),
        joblib.load(tmp_path / "model.joblib"),
        face.load(tmp_path / "model.bg"),
    ]
    for other in copies:
        assert other.get_params() == model.get_params()
        assert bytes_of(other) == bytes_of(model)
        np.testing.assert_array_equal(other.predict(X), model.predict(X))
        np.testing.assert_array_equal(other.validation_score_, model.validation_score_)
        assert set(state_of(other)) == set(state_of(model))
        assert bytes_of(clone(other).fit(X, y)) == bytes_of(model)
    assert not hasattr(clone(model), "ensemble_")
    assert pickle.dumps(model) == pickle.dumps(pickle.loads(pickle.dumps(model)))


def test_loss_objects_travel(tmp_path):
    X, y = problem(BoostGradClassifier, 3)
    model = BoostGradClassifier(loss=MultinomialLogLoss(3), n_estimators=3, random_state=0).fit(X, y)
    model.save(tmp_path / "model.bg")
    for other in (pickle.loads(pickle.dumps(model)), BoostGradClassifier.load(tmp_path / "model.bg")):
        assert isinstance(other.loss, MultinomialLogLoss)
        np.testing.assert_array_equal(other.predict_proba(X), model.predict_proba(X))
        assert bytes_of(other.fit(X, y)) == bytes_of(model)


class Unregistered(SquaredError):
    name = "of my own"


def test_unregistered_loss_pickles_but_is_not_in_a_file(tmp_path):
    X, y = problem()
    model = BoostGradRegressor(loss=Unregistered(), n_estimators=3).fit(X, y)
    np.testing.assert_array_equal(copy.deepcopy(model).predict(X), model.predict(X))
    with pytest.warns(UserWarning, match="loss Unregistered has no registered name"):
        model.save(tmp_path / "model.bg")
    np.testing.assert_array_equal(BoostGradRegressor.load(tmp_path / "model.bg").predict(X), model.predict(X))


@pytest.mark.parametrize(
    "parameters",
    [
        {"class_weight": {0: 1, 1: 20.0}},
        {"class_weight": {"b": 3}},
        {"class_weight": {True: 2, None: 1}},
        {"scoring": {"a": "accuracy", "loss": "loss"}},
        {"scoring": ["roc_auc", "accuracy"]},
        {"class_weight": {}},
    ],
    ids=str,
)
def test_files_keep_parameters_that_hold_others(parameters, tmp_path):
    X, y = np.random.default_rng(0).random((200, 2)), np.arange(200) % 2
    y = np.array(["a", "b"])[y] if "b" in parameters.get("class_weight", ()) else y
    model = BoostGradClassifier(n_estimators=2).fit(X, y).set_params(**parameters)
    model.save(tmp_path / "model")
    loaded = BoostGradClassifier.load(tmp_path / "model").get_params()
    for name, value in parameters.items():
        assert loaded[name] == value and [*map(type, loaded[name])] == [*map(type, value)]


def test_load_refuses_the_other_class(tmp_path):
    X, y = problem()
    BoostGradRegressor(n_estimators=2).fit(X, y).save(tmp_path / "model.bg")
    with pytest.raises(ValueError, match="holds a BoostGradRegressor, not a BoostGradClassifier"):
        BoostGradClassifier.load(tmp_path / "model.bg")


def test_search_pipeline_and_cross_validation():
    X, y = problem()
    search = GridSearchCV(
        make_pipeline(StandardScaler(), BoostGradRegressor(n_estimators=10, random_state=0)),
        {"boostgradregressor__learning_rate": [0.001, 0.3], "boostgradregressor__grow_policy": ["depthwise"]},
        cv=3,
    ).fit(X, y)
    assert search.best_params_["boostgradregressor__learning_rate"] == 0.3
    assert cross_val_score(BoostGradRegressor(n_estimators=30), X, y, cv=3).mean() > 0.5


def test_search_in_worker_processes():
    X, y = problem(BoostGradClassifier)
    model = BoostGradClassifier(n_estimators=5, random_state=0)
    grid = {"max_leaf_nodes": [4, 8]}
    one, two = (GridSearchCV(model, grid, cv=2, n_jobs=n).fit(X, y) for n in (1, 2))
    np.testing.assert_array_equal(one.cv_results_["mean_test_score"], two.cv_results_["mean_test_score"])


def test_calibration():
    X, y = problem(BoostGradClassifier)
    proba = CalibratedClassifierCV(BoostGradClassifier(n_estimators=10), cv=2).fit(X, y).predict_proba(X)
    np.testing.assert_allclose(proba.sum(axis=1), 1)


def test_inspection():
    X, y = problem(missing=False)
    model = BoostGradRegressor(n_estimators=20).fit(X, y)
    importances = permutation_importance(model, X, y, n_repeats=3, random_state=0).importances_mean
    assert importances.argmax() == 0 and importances[3] < 0.1 * importances[0]
    average = partial_dependence(model, X, [0], method="brute", grid_resolution=10)["average"][0]
    assert average.shape == (10,) and average[-1] - average[0] > 2


@pytest.fixture
def routing():
    with sklearn.config_context(enable_metadata_routing=True):
        yield


def test_metadata_routing(routing):
    X, y = problem()
    weight = np.random.default_rng(1).integers(0, 3, N_ROWS).astype(float)
    model = BoostGradRegressor(n_estimators=5, random_state=0)
    for name in ("sample_weight", "X_val", "y_val", "sample_weight_val"):
        model.set_fit_request(**{name: True})
    model.set_score_request(sample_weight=True)
    pipeline = Pipeline(
        [("scale", StandardScaler().set_fit_request(sample_weight=False)), ("model", model)], transform_input=["X_val"]
    )
    pipeline.fit(X, y, sample_weight=weight, X_val=X[:50], y_val=y[:50], sample_weight_val=weight[:50])
    scaled = StandardScaler().fit_transform(X)
    by_hand = clone(model).fit(scaled, y, weight, X_val=scaled[:50], y_val=y[:50], sample_weight_val=weight[:50])
    assert bytes_of(pipeline[-1]) == bytes_of(by_hand)
    np.testing.assert_array_equal(pipeline[-1].validation_score_, by_hand.validation_score_)
    plain = BoostGradRegressor(n_estimators=5).set_fit_request(sample_weight=True).set_score_request(sample_weight=True)
    assert np.isfinite(cross_val_score(plain, X, y, cv=3, params={"sample_weight": weight})).all()
    GridSearchCV(plain, {"learning_rate": [0.1, 0.2]}, cv=2).fit(X, y, sample_weight=weight)


@pytest.mark.parametrize("face", [*FACES, BoostGradSurvival, BoostGradRanker])
def test_scores_take_what_predictions_take(face, routing):
    """An offset that undoes what the model says, routed by cross-validation as by hand."""
    X, y = problem(face if face in FACES else BoostGradRegressor)
    if face is BoostGradSurvival:
        y = np.column_stack([np.exp(y), np.ones(N_ROWS)])
    elif face is BoostGradRanker:
        y = np.digitize(y, np.quantile(y, [0.3, 0.6, 0.9]))
    offset = np.random.default_rng(1).standard_normal(N_ROWS) * 20
    if face is BoostGradClassifier and len(np.unique(y)) > 2:
        y = (y == y[0]).astype(int)
    model = face(n_estimators=20, random_state=0).fit(X, y)
    assert model.score(X, y) > model.score(X, y, offset=offset) + 0.01
    routed = face(n_estimators=20, random_state=0).set_fit_request(offset=True).set_score_request(offset=True)
    folds = KFold(2)
    found = cross_val_score(routed, X, y, cv=folds, params={"offset": offset})
    for score, (train, test) in zip(found, folds.split(X), strict=True):
        by_hand = clone(model).fit(X[train], y[train], offset=offset[train])
        assert score == by_hand.score(X[test], y[test], offset=offset[test])


def test_scores_with_exposure():
    X, y = problem()
    exposure = np.random.default_rng(1).random(N_ROWS) + 0.1
    counts = np.random.default_rng(2).poisson(np.exp(y / 2) * exposure)
    model = BoostGradRegressor("poisson", n_estimators=20, random_state=0).fit(X, counts, exposure=exposure)
    exposed = model.score(X, counts, exposure=exposure)
    assert exposed == pytest.approx(r2_score(counts, model.predict(X) * exposure)) and exposed > model.score(X, counts)


def test_html_and_text_representations():
    assert "BoostGradRegressor" in BoostGradRegressor(callbacks=[Callback()])._repr_html_()
    assert repr(BoostGradClassifier(learning_rate=0.2)) == "BoostGradClassifier(learning_rate=0.2)"


def test_predictions_from_many_threads():
    X, y = problem()
    model = BoostGradRegressor(n_estimators=20, n_jobs=2).fit(X, y)
    expected = model.predict(X)
    for result in joblib.Parallel(n_jobs=4, backend="threading")(joblib.delayed(model.predict)(X) for _ in range(40)):
        np.testing.assert_array_equal(result, expected)


# ---- early stopping --------------------------------------------------------------------------------------------------


def check_stopped(model, n_estimators):
    """Early stopping took place, and the best iteration was kept."""
    assert 1 <= model.n_iter_ < n_estimators
    assert len(model.train_score_) == len(model.validation_score_) == model.n_iter_ + 1
    assert model.validation_score_.argmax() == model.n_iter_
    assert model.ensemble_.n_iterations == model.n_iter_


@pytest.mark.parametrize("face", FACES)
def test_stops_by_a_part_of_the_data(face):
    X, y = problem(face)
    model = face(n_estimators=2000, early_stopping=True, learning_rate=0.5, tol=0, random_state=0).fit(X, y)
    check_stopped(model, 2000)
    again = clone(model).fit(X, y)
    assert bytes_of(again) == bytes_of(model)
    other = clone(model).set_params(random_state=1).fit(X, y)
    assert bytes_of(other) != bytes_of(model)


@pytest.mark.parametrize("face", FACES)
def test_stops_by_given_data(face):
    X, y = problem(face)
    weight = np.arange(100.0)
    model = face(n_estimators=2000, learning_rate=0.5, tol=0, random_state=0)
    model.fit(X[100:], y[100:], X_val=X[:100], y_val=y[:100], sample_weight_val=weight)
    check_stopped(model, 2000)
    raw = model.ensemble_.base_score[:, None] + np.zeros((1, 100))
    scores = [-model._loss.mean(y[:100].astype(float), raw, weight)]
    scores += [-model._loss.mean(y[:100].astype(float), raw, weight) for raw in model._staged_raw(X[:100])]
    np.testing.assert_allclose(model.validation_score_, scores, rtol=1e-12)
    np.testing.assert_allclose(
        model.train_score_[-1], -model._loss.mean(y[100:].astype(float), model._raw(X[100:]), None), rtol=1e-12
    )
    full = clone(model).set_params(early_stopping=False, n_estimators=model.n_iter_ + 5)
    full.fit(X[100:], y[100:], X_val=X[:100], y_val=y[:100], sample_weight_val=weight)
    assert full.n_iter_ == model.n_iter_ + 5 and len(full.validation_score_) == full.n_iter_ + 1
    assert bytes_of(model) == native.dump_bytes(full.ensemble_.first(model.n_iter_))


def test_no_validation_data_no_scores():
    X, y = problem()
    model = BoostGradRegressor(n_estimators=4).fit(X, y)
    assert model.n_iter_ == 4 and len(model.train_score_) == len(model.validation_score_) == 0


def test_auto_is_on_above_ten_thousand_rows():
    X, y = np.zeros((10_001, 1)), np.arange(10_001.0)
    assert len(BoostGradRegressor(n_estimators=1).fit(X, y).validation_score_)
    assert not len(BoostGradRegressor(n_estimators=1).fit(X[1:], y[1:]).validation_score_)


@pytest.mark.parametrize("splitter", [KFold(4), TimeSeriesSplit(3), PredefinedSplit(np.r_[[-1] * 200, [0] * 100])])
def test_split_by_a_splitter(splitter):
    X, y = problem()
    kept, held_out = next(splitter.split(X, y))
    model = BoostGradRegressor(n_estimators=20, early_stopping=True, validation_fraction=splitter, random_state=0)
    by_hand = clone(model).fit(X[kept], y[kept], X_val=X[held_out], y_val=y[held_out])
    model.fit(X, y)
    assert bytes_of(model) == bytes_of(by_hand)
    np.testing.assert_array_equal(model.validation_score_, by_hand.validation_score_)


def test_split_by_a_splitter_of_other_rows():
    X, y = problem()
    model = BoostGradRegressor(early_stopping=True, validation_fraction=PredefinedSplit(np.r_[[-1] * 200, [0] * 100]))
    with pytest.raises(ValueError, match="validation_fraction=.* splits more than the 290 rows"):
        model.fit(X, y, np.r_[np.zeros(10), np.ones(N_ROWS - 10)])


@pytest.mark.parametrize("face", [BoostGradRegressor, BoostGradClassifier, BoostGradRanker, BoostGradSurvival])
def test_one_group_is_not_split(face):
    rng = np.random.default_rng(0)
    n = AUTO_EARLY_STOPPING_ROWS + 2
    X, y = rng.random((n, 1)), rng.integers(0, 2, n)
    y = np.column_stack([1.0 + y, np.ones(n)]) if face is BoostGradSurvival else y
    one, two = np.full(n, "a"), np.where(np.arange(n) < n // 2, "a", "b")
    loss = {"loss": "rank_map"} if face is BoostGradRanker else {}
    model = face(n_estimators=2, max_leaf_nodes=4, n_jobs=1, **loss)
    assert len(model.fit(X, y, groups=one).validation_score_) == 0
    assert len(model.fit(X, y, groups=two, sample_weight=two == "a").validation_score_) == 0
    assert len(model.fit(X, y, groups=two).validation_score_) > 0
    assert (len(model.fit(X, y).validation_score_) > 0) == (face is not BoostGradRanker)
    validation = {"X_val": X[:9], "y_val": y[:9], **({"groups_val": one[:9]} if face is BoostGradRanker else {})}
    assert len(model.fit(X, y, groups=one, **validation).validation_score_) > 0
    for fraction in (0.1, KFold(4)):
        model.set_params(early_stopping=True, validation_fraction=fraction)
        with pytest.raises(ValueError, match="early_stopping sets whole groups aside, and there is only one: "):
            model.fit(X, y, groups=one)


def test_split_is_stratified_where_it_can_be():
    X, _ = problem()
    y = np.repeat([0, 1, 2], [20, 30, 250])
    model = BoostGradClassifier(n_estimators=1, early_stopping=True, validation_fraction=0.2)
    kept, held_out = model._split(Samples(as_columns(X), None, y.astype(float)), 0)
    assert np.bincount(y[held_out.rows]).tolist() == [4, 6, 50]
    np.testing.assert_array_equal(held_out.y, y[held_out.rows])
    assert sorted([*kept.rows, *held_out.rows]) == list(range(len(y)))
    y[0] = 3  # a class of one row cannot be in both parts
    assert model.fit(X, y).predict_proba(X).shape == (N_ROWS, 4)


@pytest.mark.parametrize("face", FACES)
def test_rows_of_weight_zero_are_absent(face):
    X, y = problem(face)
    weight = np.random.default_rng(2).integers(0, 2, N_ROWS)
    for setting in ({}, {"early_stopping": True}):
        model = face(n_estimators=5, random_state=0, **setting)
        assert bytes_of(clone(model).fit(X, y, weight)) == bytes_of(model.fit(X[weight == 1], y[weight == 1]))


@pytest.mark.parametrize("face", FACES)
@pytest.mark.parametrize("policy", ["leafwise", "symmetric"])
def test_weights_are_repetition(face, policy):
    X, y = problem(face)
    weight = np.random.default_rng(2).integers(0, 4, N_ROWS)
    model = face(n_estimators=10, min_samples_leaf=1, grow_policy=policy, random_state=0).fit(X, y, weight)
    repeated = clone(model).fit(X.repeat(weight, axis=0), y.repeat(weight))
    there = X[weight > 0]
    np.testing.assert_allclose(model._raw(there), repeated._raw(there), rtol=1e-9, atol=1e-9)


# ---- what comes out --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("n_classes", [2, 3])
def test_classifier_outputs(n_classes):
    X, y = problem(BoostGradClassifier, n_classes)
    model = BoostGradClassifier(n_estimators=10).fit(X, y)
    proba, decision = model.predict_proba(X), model.decision_function(X)
    assert proba.shape == (N_ROWS, n_classes) and decision.shape == ((N_ROWS,) if n_classes == 2 else proba.shape)
    np.testing.assert_allclose(proba.sum(axis=1), 1, rtol=1e-12)
    np.testing.assert_allclose(model.predict_log_proba(X), np.log(proba))
    scores = np.column_stack([np.zeros(N_ROWS), decision]) if n_classes == 2 else decision
    odds = np.exp(scores)
    np.testing.assert_allclose(proba, odds / odds.sum(axis=1, keepdims=True), rtol=1e-10)
    np.testing.assert_array_equal(model.predict(X), model.classes_[proba.argmax(axis=1)])


@pytest.mark.parametrize(
    "face, n_classes", [(BoostGradRegressor, 1), (BoostGradClassifier, 2), (BoostGradClassifier, 3)]
)
def test_stages_and_leaves(face, n_classes):
    X, y = problem(face, n_classes)
    model = face(n_estimators=6, random_state=0).fit(X, y)
    methods = ["predict"] + (["predict_proba", "decision_function"] if face is BoostGradClassifier else [])
    for method in methods:
        stages = list(getattr(model, f"staged_{method}")(X))
        assert len(stages) == model.n_iter_ == 6
        np.testing.assert_array_equal(stages[-1], getattr(model, method)(X))
        first = clone(model).set_params(n_estimators=1).fit(X, y)
        np.testing.assert_array_equal(stages[0], getattr(first, method)(X))
    leaves = model.apply(X)
    assert leaves.dtype == np.int32 and leaves.shape == ((N_ROWS, 6, 3) if n_classes == 3 else (N_ROWS, 6))
    raw = np.repeat(model.ensemble_.base_score[:, None], N_ROWS, axis=1)
    for tree, leaf in zip(model.ensemble_.trees, leaves.reshape(N_ROWS, -1).T, strict=True):
        raw[tree.output] += tree.leaf_value[leaf, 0]
        np.testing.assert_array_equal(np.bincount(leaf, minlength=tree.n_leaves), tree.statistics.leaf_count)
    np.testing.assert_array_equal(raw, model._raw(X))


@pytest.mark.parametrize(
    ("parameters", "n_targets", "n_trees"),
    [
        ({}, 1, 1),
        ({}, 2, 2),
        ({"multi_strategy": "multi_output_tree"}, 2, 1),
        ({}, 31, 1),
        ({"loss": "normal_nll"}, 1, 1),
        ({"loss": "normal_nll"}, 2, 2),
        ({"loss": "normal_nll", "multi_strategy": "one_output_per_tree"}, 2, 4),
        ({"loss": "quantile", "quantile": [0.1, 0.5, 0.9]}, 1, 1),
        ({"loss": "quantile", "quantile": [0.1, 0.5, 0.9], "multi_strategy": "one_output_per_tree"}, 1, 3),
    ],
)
def test_leaves_are_of_the_trees_of_an_iteration(parameters, n_targets, n_trees):
    X, y = problem(BoostGradRegressor, 1)
    y = y if n_targets == 1 else np.column_stack([y + k * X[:, 0] for k in range(n_targets)])
    model = BoostGradRegressor(n_estimators=2, random_state=0, **parameters).fit(X, y)
    leaves = model.apply(X)
    assert leaves.shape == ((N_ROWS, 2) if n_trees == 1 else (N_ROWS, 2, n_trees))
    raw = np.repeat(model.ensemble_.base_score[:, None], N_ROWS, axis=1)
    for tree, leaf in zip(model.ensemble_.trees, leaves.reshape(N_ROWS, -1).T, strict=True):
        raw[tree.output : tree.output + tree.leaf_value.shape[1]] += tree.leaf_value[leaf].T
    np.testing.assert_allclose(raw, model._raw(X), rtol=1e-12)


@pytest.mark.parametrize("face", FACES)
@pytest.mark.parametrize("grow_policy", ["leafwise", "depthwise", "symmetric"])
def test_limits_of_a_tree(face, grow_policy):
    X, y = problem(face)
    for least, depth, leaves in ((1, None, 7), (13, 3, None), (37, None, None)):
        model = face(
            n_estimators=10, min_samples_leaf=least, max_depth=depth, max_leaf_nodes=leaves, grow_policy=grow_policy
        ).fit(X, y, np.random.default_rng(0).random(N_ROWS))
        for tree in model.ensemble_.trees:
            assert tree.statistics.leaf_count.min() >= least
            assert tree.statistics.leaf_count.sum() == N_ROWS
            assert tree.n_leaves <= (leaves or 2**20) and tree.n_leaves <= 2 ** (depth or 20)


def test_feature_importances():
    X, y = problem()
    importances = BoostGradRegressor(n_estimators=10).fit(X, y).feature_importances_
    assert importances.shape == (4,) and importances.argmax() == 0
    np.testing.assert_allclose(importances.sum(), 1)
    nothing = BoostGradRegressor(n_estimators=2).fit(np.zeros((50, 2)), np.arange(50.0))
    assert nothing.feature_importances_.tolist() == [0, 0]


def test_tied_features_share_the_splits():
    X, y = problem()
    twins = np.repeat(X[:, :1], 2, axis=1)
    wins = np.zeros(2)
    for seed in range(5):
        model = BoostGradRegressor(n_estimators=20, random_state=seed).fit(twins, y)
        wins += np.bincount(np.concatenate([tree.feature for tree in model.ensemble_.trees]), minlength=2)
        root = {int(tree.feature[0]) for tree in model.ensemble_.trees}
        assert root == {0, 1}
    assert wins.min() > 0.35 * wins.sum()


@pytest.mark.parametrize("face", FACES)
def test_same_model_for_any_number_of_threads(face):
    X, y = problem(face)
    models = {bytes_of(face(n_estimators=5, n_jobs=n, random_state=0).fit(X, y)) for n in (1, 2, 5, 2**31 - 1)}
    assert len(models) == 1


def test_random_state_objects():
    X, y = problem()
    model = BoostGradRegressor(n_estimators=3, early_stopping=True)
    one, two = (clone(model).set_params(random_state=np.random.RandomState(3)).fit(X, y) for _ in range(2))
    assert bytes_of(one) == bytes_of(two)


# ---- what is refused -------------------------------------------------------------------------------------------------

TABLES = {
    "no rows": (np.empty((0, 3)), r"0 sample\(s\)"),
    "no columns": (np.empty((N_ROWS, 0)), r"0 feature\(s\)"),
    "one dimension": (np.zeros(N_ROWS), r"(?s)got 1D array.*Reshape"),
    "three dimensions": (np.zeros((N_ROWS, 2, 2)), "got 3D array"),
    "text": (np.array([["1", "2"]] * 7 + [["3", "red"]] * (N_ROWS - 7)), "column 1, row 7: 'red' is not a number"),
    "complex": (np.zeros((N_ROWS, 2), complex), "Complex data not supported"),
    "sparse and complex": (sparse.csr_matrix((N_ROWS, 2), dtype=complex), "Complex data not supported"),
    "sparse and long": (sparse.coo_array((N_ROWS,)), "got 1D array"),
    "objects": (np.array([[1, {}]] * N_ROWS, dtype=object), r"column 1, row 0: could not convert \{\}"),
    "None": (None, "must be a table"),
    "a word": ("table", "must be a table"),
    "other length": (np.zeros((N_ROWS - 1, 2)), "X has 299 rows, y has 300"),
}


@pytest.mark.parametrize("case", TABLES)
@pytest.mark.parametrize("face", FACES)
def test_tables_that_are_refused(face, case):
    X, words = TABLES[case]
    good, y = problem(face)
    with pytest.raises((ValueError, TypeError), match=words):
        face(categorical_features=None).fit(X, y)
    if case not in ("other length", "text"):
        model = face(n_estimators=1).fit(good, y)
        for method in ("predict", "apply"):
            with pytest.raises((ValueError, TypeError), match=words):
                getattr(model, method)(X)


def test_text_in_a_frame_names_column_row_and_value():
    pd = pytest.importorskip("pandas")
    frame = pd.DataFrame({"size": np.arange(20.0), "colour": ["1"] * 12 + ["red"] * 8})
    with pytest.raises(ValueError, match="column 'colour', row 12: 'red' is not a number; declare the column categor"):
        BoostGradRegressor(categorical_features=None).fit(frame, np.arange(20))


@pytest.mark.parametrize("face", FACES)
def test_wrong_number_of_features(face):
    X, y = problem(face)
    model = face(n_estimators=1).fit(X, y)
    with pytest.raises(ValueError, match=f"X has 3 features, but {face.__name__} is expecting 4 features as input"):
        model.predict(X[:, :3])
    with pytest.raises(ValueError, match="X_val has 3 features"):
        face().fit(X, y, X_val=X[:, :3], y_val=y)


def changed(y, row, value, dtype=float):
    y = np.array(y, dtype=dtype)
    y[row] = value
    return y


@pytest.mark.parametrize(
    "change, words",
    [
        (lambda y: changed(y, 5, np.nan), "y contains NaN: row 5 is nan"),
        (lambda y: changed(y, 6, -np.inf), "y contains infinity.*row 6 is -inf"),
        (lambda y: np.stack([[y, y]]), "1d array|dim"),
        (lambda y: changed(y, 3, "many", object), "y must hold numbers: row 3 is 'many'"),
        (lambda y: y.astype(complex), "Complex data not supported"),
        (lambda y: np.zeros(N_ROWS, "M8[s]"), "not dates"),
        (lambda y: None, "requires y to be passed"),
        (lambda y: changed(y, 9, -1e300), r"y must not be larger than 1e\+60 in absolute terms: row 9 is -1e\+300"),
    ],
)
def test_targets_that_a_regressor_refuses(change, words):
    X, y = problem()
    with pytest.raises(ValueError, match=words):
        BoostGradRegressor().fit(X, change(y))


@pytest.mark.parametrize(
    "change, words",
    [
        (lambda y: changed(y, 5, np.nan), "y contains NaN: row 5 is nan"),
        (lambda y: changed(y, 4, None, object), "label is missing at row 4"),
        (lambda y: np.column_stack([y, y]), "0 and 1, a column a label: row .*, column 0 is"),
        (lambda y: y + 0.5, "Unknown label type: continuous"),
        (lambda y: np.zeros(N_ROWS), r"at least two classes.*one class, 0\.0"),
        (lambda y: ["a"] * 10 + [1] * (N_ROWS - 10), "all be strings, or none of them. Got int, str"),
        (lambda y: changed(y, 0, "a", object), "all be strings, or none of them. Got int, str"),
        (lambda y: None, "requires y to be passed"),
    ],
)
def test_targets_that_a_classifier_refuses(change, words):
    X, y = problem(BoostGradClassifier)
    with pytest.raises(ValueError, match=words):
        BoostGradClassifier().fit(X, change(y))


def test_large_numbers_change_the_scale_and_nothing_else():
    X, y = problem()
    model = BoostGradRegressor(n_estimators=10, random_state=0)
    expected = clone(model).fit(X, y).predict(X)
    for scale in (2.0**-100, 2.0**190):
        prediction = clone(model).fit(X, y * scale).predict(X)
        np.testing.assert_allclose(prediction / scale, expected, rtol=1e-9)
        prediction = clone(model).set_params(min_child_weight=0).fit(X, y, np.full(N_ROWS, scale)).predict(X)
        np.testing.assert_allclose(prediction, expected, rtol=1e-9)


def test_one_class_once_rows_of_weight_zero_are_gone():
    X, y = problem(BoostGradClassifier, 2)
    with pytest.raises(ValueError, match="rows of weight 0 do not count.*one class, 1"):
        BoostGradClassifier().fit(X, y, y)


@pytest.mark.parametrize(
    "weight, words",
    [
        (changed(np.ones(N_ROWS), 3, -1), "Negative values.*sample_weight.*row 3 is -1"),
        (np.zeros(N_ROWS), "sample_weight is zero for all rows"),
        (changed(np.ones(N_ROWS), 4, np.nan), "sample_weight contains NaN: row 4"),
        (changed(np.ones(N_ROWS), 4, np.inf), "sample_weight contains infinity.*row 4"),
        (changed(np.ones(N_ROWS), 4, 1e300), "sample_weight must not be larger than.*row 4"),
        (np.ones(N_ROWS + 1), "sample_weight has 301 values for 300 rows"),
        (np.ones((N_ROWS, 1)), "1D"),
        (np.ones(N_ROWS, complex), "sample_weight must hold numbers"),
        (["heavy"] * N_ROWS, "sample_weight must hold numbers"),
    ],
)
@pytest.mark.parametrize("face", FACES)
def test_weights_that_are_refused(face, weight, words):
    X, y = problem(face)
    with pytest.raises(ValueError, match=words):
        face().fit(X, y, weight)
    with pytest.raises(ValueError, match=words.replace("sample_weight", "sample_weight_val")):
        face().fit(X, y, X_val=X, y_val=y, sample_weight_val=weight)


@pytest.mark.parametrize(
    "arguments, words",
    [
        ({"X_val": 1}, "X_val and y_val must be given together"),
        ({"y_val": 1}, "X_val and y_val must be given together"),
        ({"sample_weight_val": 1}, "sample_weight_val needs X_val and y_val"),
    ],
)
def test_validation_data_must_be_whole(arguments, words):
    X, y = problem()
    given = {"X_val": X, "y_val": y, "sample_weight_val": np.ones(N_ROWS)}
    with pytest.raises(ValueError, match=words):
        BoostGradRegressor().fit(X, y, **{name: given[name] for name in arguments})


def test_validation_labels_must_be_known():
    X, y = problem(BoostGradClassifier)
    with pytest.raises(ValueError, match="y_val, row 8: label 9 does not occur in y"):
        BoostGradClassifier().fit(X, y, X_val=X, y_val=changed(y, 8, 9, int))
    with pytest.raises(ValueError, match="y_val, row 0: label 'b' does not occur in y"):
        BoostGradClassifier().fit(X, np.array(["a", "c", "d"])[y], X_val=X[:1], y_val=["b"])
    with pytest.raises(ValueError, match="Labels in y_val are strings, those in y of fit are numbers"):
        BoostGradClassifier().fit(X, y, X_val=X[:1], y_val=["b"])


def test_too_few_rows_to_split():
    with pytest.raises(ValueError, match="early_stopping: 1 rows cannot be split with validation_fraction=0.1"):
        BoostGradRegressor(early_stopping=True).fit([[1.0]], [1.0])


@pytest.mark.parametrize(
    "model, words",
    [
        (BoostGradRegressor(loss="log_loss"), "'loss' parameter of BoostGradRegressor must be one of"),
        (BoostGradRegressor(loss=SquaredError), "'loss' parameter of BoostGradRegressor must be one of"),
        (BoostGradRegressor(loss=BinaryLogLoss()), "must predict one number a row"),
        (BoostGradRegressor(loss=MultinomialLogLoss(3)), "must predict one number a row"),
        (BoostGradClassifier(loss="squared_error"), "'loss' parameter of BoostGradClassifier must be 'log_loss'"),
        (BoostGradClassifier(loss=MultinomialLogLoss(4)), r"3 output\(s\) and predict 3 probabilities"),
        (BoostGradClassifier(loss=SquaredError()), r"3 output\(s\) and predict 3 probabilities"),
    ],
)
def test_losses_that_do_not_fit(model, words):
    X, y = problem(type(model))
    with pytest.raises(ValueError, match=words):
        model.fit(X, y)


@pytest.mark.parametrize("face", FACES)
def test_unfitted_use(face, tmp_path):
    X, _ = problem()
    methods = ["predict", "apply"]
    stages = ["staged_predict"]
    if face is BoostGradClassifier:
        methods += ["predict_proba", "predict_log_proba", "decision_function"]
        stages += ["staged_predict_proba", "staged_decision_function"]
    for method in methods:
        with pytest.raises(NotFittedError, match=f"This {face.__name__} instance is not fitted yet"):
            getattr(face(), method)(X)
    for method in stages:
        with pytest.raises(NotFittedError):
            next(getattr(face(), method)(X))
    with pytest.raises(NotFittedError):
        face().feature_importances_  # noqa: B018
    with pytest.raises(NotFittedError):
        face().save(tmp_path / "model.bg")
    with pytest.raises(NotFittedError):
        face().score(X, np.zeros(N_ROWS))
    assert not hasattr(face(), "feature_importances_") and not hasattr(face(), "classes_")


class Stop(Callback):
    """Raises after some iterations."""

    def __init__(self, error, after=2):
        self.error = error
        self.after = after

    def after_iteration(self, state):
        if state.iteration == self.after:
            raise self.error
        return False


@pytest.mark.parametrize("face", FACES)
@pytest.mark.parametrize("error", [KeyboardInterrupt(), RuntimeError("mine")])
def test_interrupted_fit_leaves_nothing_behind(face, error):
    X, y = problem(face)
    model = face(n_estimators=5, callbacks=[Stop(error)], verbose=1)
    with pytest.raises(type(error)):
        model.fit(X, y)
    assert vars(model).keys() == model.get_params().keys()
    with pytest.raises(NotFittedError):
        model.predict(X)
    model.set_params(callbacks=None, verbose=0).fit(X, y)
    assert bytes_of(model.set_params(random_state=0).fit(X, y)) == bytes_of(
        face(n_estimators=5, random_state=0).fit(X, y)
    )


@pytest.mark.parametrize("face", FACES)
def test_failed_fit_leaves_the_fitted_state_as_it_was(face):
    X, y = problem(face)
    model = face(n_estimators=5).fit(X, y)
    before, prediction = state_of(model), model.predict(X)
    failures = [
        lambda: model.fit(X[:, :2], np.full(N_ROWS, np.nan)),
        lambda: model.fit(X[:, :2], y, np.full(N_ROWS, 1e300)),
        lambda: model.fit(X[:, :2], y, X_val=X, y_val=y),
        lambda: clone(model).set_params(max_bins=1).fit(X, y),
        lambda: model.set_params(callbacks=[Stop(ValueError("stop"))]).fit(X[:, :2], y),
    ]
    for fail in failures:
        with pytest.raises(ValueError):
            fail()
        after = state_of(model)
        assert before.keys() == after.keys() and all(after[name] is before[name] for name in before)
    np.testing.assert_array_equal(model.predict(X), prediction)


def test_refit_forgets_the_names_and_classes_of_before():
    pd = pytest.importorskip("pandas")
    X, y = problem(BoostGradClassifier)
    model = BoostGradClassifier(n_estimators=2).fit(pd.DataFrame(X, columns=list("abcd")), y)
    model.fit(X[:, :2], y > 0)
    assert not hasattr(model, "feature_names_in_") and model.n_features_in_ == 2
    assert model.classes_.tolist() == [False, True]


# ---- one tree for all outputs ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("strategy", ["one_output_per_tree", "multi_output_tree"])
@pytest.mark.parametrize("own", [False, True])
def test_classes_that_are_nearly_ruled_out_do_not_diverge(strategy, own):
    """Newton's steps are far too long there, and were longer from tree to tree."""
    rng = np.random.default_rng(0)
    X = rng.integers(0, 8, (6000, 5))
    y = np.maximum(X[:, 0], X[:, 1]) + np.minimum(X[:, 2], X[:, 3])
    log_loss = get_loss("multinomial_log_loss", n_classes=15)

    def gradients(y, raw, sample_weight):
        p = log_loss.inverse_link(raw)
        return p - (y == np.arange(15)[:, None]), p * (1 - p)

    parameters = {"n_estimators": 40, "learning_rate": 0.2, "max_leaf_nodes": 63, "random_state": 0}
    loss = gradients if own else "log_loss"
    model = BoostGradClassifier(loss, multi_strategy=strategy, **parameters).fit(X[:4500], y[:4500])
    p = model.predict_proba(X[4500:])
    assert -np.log(p[np.arange(1500), y[4500:]]).mean() < 0.2


def test_multi_strategy(tmp_path):
    rng = np.random.default_rng(0)
    X = rng.normal(size=(1200, 5))
    y = np.digitize(X[:, 0] + X[:, 1] * X[:, 2], [-1.0, 0.0, 1.0])
    model = BoostGradClassifier(multi_strategy="multi_output_tree", n_estimators=40, random_state=0).fit(X, y)
    assert len(model.ensemble_.trees) == model.n_iter_ == 40 and model.ensemble_.trees[0].leaf_value.shape[1] == 4
    assert model.apply(X).shape == (1200, 40) and model.score(X, y) > 0.9
    *_, last = model.staged_predict_proba(X)
    np.testing.assert_allclose(last, model.predict_proba(X), rtol=1e-12)
    np.testing.assert_allclose(model.predict_proba(X).sum(axis=1), 1.0)
    np.testing.assert_array_equal(model.predictor()(X[3]), model.predict_proba(X[3:4])[0])
    model.save(tmp_path / "model.bg")
    for again in (BoostGradClassifier.load(tmp_path / "model.bg"), pickle.loads(pickle.dumps(model))):
        np.testing.assert_array_equal(again.predict_proba(X), model.predict_proba(X))
        assert again.n_iter_ == 40
    stopped = BoostGradClassifier(multi_strategy="multi_output_tree", early_stopping=True, random_state=0).fit(X, y)
    assert stopped.n_iter_ == len(stopped.ensemble_.trees) < 100
    auto = BoostGradClassifier(n_estimators=2).fit(X, y)
    assert len(auto.ensemble_.trees) == 8
    binary = BoostGradClassifier(multi_strategy="multi_output_tree", n_estimators=2, random_state=0).fit(X, y > 1)
    assert binary.ensemble_.trees[0].leaf_value.shape[1] == 1
    many = BoostGradClassifier(n_estimators=2).fit(X, np.arange(1200) % 40)
    assert len(many.ensemble_.trees) == 2


@pytest.mark.parametrize(
    ("parameters", "n_targets", "n_trees"),
    [
        ({"loss": "normal_nll"}, 1, 1),
        ({"loss": "negative_binomial_nll"}, 1, 1),
        ({"loss": "poisson_nll"}, 1, 1),
        ({"loss": "quantile", "quantile": [0.1, 0.5, 0.9]}, 1, 1),
        ({"loss": "squared_error"}, 3, 3),
        ({"loss": "normal_nll"}, 2, 2),
        ({"loss": "normal_nll"}, 16, 1),
        ({"loss": "normal_nll", "multi_strategy": "multi_output_tree"}, 2, 1),
        ({"loss": "normal_nll", "multi_strategy": "one_output_per_tree"}, 1, 2),
    ],
)
def test_which_outputs_share_a_tree(parameters, n_targets, n_trees):
    rng = np.random.default_rng(0)
    X, y = rng.normal(size=(100, 2)), rng.integers(0, 9, (100, n_targets)).astype(float)
    model = BoostGradRegressor(n_estimators=3, **parameters).fit(X, y if n_targets > 1 else y[:, 0])
    assert len(model.ensemble_.trees) == 3 * n_trees
