"""Several targets a row."""

import pickle
import warnings

import numpy as np
import pytest
from sklearn.base import clone
from sklearn.exceptions import DataConversionWarning
from sklearn.metrics import r2_score

from boostgrad import BoostGradRegressor
from boostgrad.losses import CallableLoss, Huber, Loss, MultiOutput, Quantiles, SquaredError, get_loss

SMALL = {"n_estimators": 20, "max_leaf_nodes": 8, "random_state": 0}


def problem(n=500, seed=0):
    rng = np.random.default_rng(seed)
    X = rng.normal(size=(n, 4))
    return X, np.column_stack([X[:, 0] + X[:, 1] ** 2, X[:, 0] - X[:, 2], 100 * X[:, 3] + rng.normal(size=n)])


@pytest.mark.parametrize("weighted", [False, True])
def test_a_tree_an_output_gives_the_models_of_the_targets(weighted):
    X, Y = problem()
    weight = np.random.default_rng(1).random(len(X)) + 0.5 if weighted else None
    model = BoostGradRegressor(multi_strategy="one_output_per_tree", **SMALL).fit(X, Y, weight)
    for k in range(3):
        alone = BoostGradRegressor(**SMALL).fit(X, Y[:, k], weight)
        for number, tree in enumerate(alone.ensemble_.trees):  # seeds of ties differ, gains do not
            np.testing.assert_allclose(
                tree.statistics.split_gain, model.ensemble_.trees[3 * number + k].statistics.split_gain, rtol=1e-5
            )
        np.testing.assert_allclose(model.predict(X)[:, k], alone.predict(X), rtol=1e-6, atol=1e-9)


@pytest.mark.parametrize("strategy", ["one_output_per_tree", "multi_output_tree"])
def test_faces(strategy, tmp_path):
    X, Y = problem()
    model = BoostGradRegressor(multi_strategy=strategy, **SMALL).fit(X, Y, X_val=X[:50], y_val=Y[:50])
    prediction = model.predict(X)
    assert prediction.shape == Y.shape and model.score(X, Y) > 0.5
    *_, last = model.staged_predict(X)
    np.testing.assert_allclose(last, prediction, rtol=1e-12)
    np.testing.assert_array_equal(model.predictor()(X[0]), prediction[0])
    model.save(tmp_path / "model.bg")
    for again in (BoostGradRegressor.load(tmp_path / "model.bg"), pickle.loads(pickle.dumps(model))):
        np.testing.assert_array_equal(again.predict(X), prediction)
    threads = BoostGradRegressor(multi_strategy=strategy, n_jobs=3, **SMALL).fit(X, Y)
    one = BoostGradRegressor(multi_strategy=strategy, n_jobs=1, **SMALL).fit(X, Y)
    np.testing.assert_array_equal(threads.predict(X), one.predict(X))


@pytest.mark.parametrize("strategy", ["one_output_per_tree", "multi_output_tree"])
def test_missing_targets_count_for_nothing(strategy):
    X, Y = problem()
    missing = np.random.default_rng(2).random(len(X)) < 0.3
    Y[missing, 1] = np.nan
    model = BoostGradRegressor(multi_strategy=strategy, min_samples_leaf=1, **SMALL).fit(X, Y)
    assert np.isfinite(model.predict(X)).all()
    assert model.ensemble_.base_score[1] == pytest.approx(Y[~missing, 1].mean())
    if strategy == "one_output_per_tree":  # each output is fitted to the rows that have it
        for tree in model.ensemble_.trees[1::3]:
            assert tree.statistics.leaf_cover.sum() == pytest.approx((~missing).sum())
    other = Y.copy()
    other[missing, 1] = np.nan
    other[:, 0] = np.where(np.arange(len(X)) % 7 == 0, np.nan, Y[:, 0])
    loss = MultiOutput(SquaredError(), 3)
    y = loss.prepare(other, None)
    raw = np.random.default_rng(3).normal(size=(3, len(X)))
    pairs = loss.pairs(len(X), weighted=False)
    loss.gradients(y, raw, None, pairs)
    there = ~np.isnan(other.T)
    np.testing.assert_allclose(pairs.pairs[:, :, 0], np.where(there, raw - np.nan_to_num(other.T), 0), rtol=1e-12)
    np.testing.assert_array_equal(pairs.pairs[:, :, 1], there)
    np.testing.assert_allclose(loss.values(y, raw), np.nansum((raw.T - other) ** 2, axis=1) / 6)


@pytest.mark.parametrize("container", ["nullable", "pyarrow", "polars", "object"])
def test_targets_are_missing_in_any_container(container):
    X, Y = problem()
    Y = Y.round(2)
    Y[::3, 1] = np.nan
    expected = BoostGradRegressor(**SMALL).fit(X, Y).predict(X)
    if container == "object":
        table = np.where(np.isnan(Y), None, Y.astype(object))
    elif container == "polars":
        table = pytest.importorskip("polars").DataFrame(
            np.where(np.isnan(Y), None, Y.astype(object)).tolist(), orient="row"
        )
    elif container == "pyarrow":
        pa = pytest.importorskip("pyarrow")
        table = pa.table({str(k): pa.array(of, from_pandas=True) for k, of in enumerate(Y.T)})
    else:
        pd = pytest.importorskip("pandas")
        table = pd.DataFrame({k: pd.array(of, dtype="Float64") for k, of in enumerate(Y.T)})
        assert table.isna().sum().sum() == len(Y[::3])
    model = BoostGradRegressor(**SMALL).fit(X, table)
    np.testing.assert_array_equal(model.predict(X), expected)
    assert model.score(X, table) == model.score(X, Y)


@pytest.mark.parametrize("weighted", [False, True])
def test_the_score_is_the_mean_of_those_of_the_targets(weighted):
    X, Y = problem()
    weight = np.random.default_rng(1).random(len(X)) if weighted else None
    model = BoostGradRegressor(**SMALL).fit(X, Y, weight)
    assert model.score(X, Y, weight) == pytest.approx(r2_score(Y, model.predict(X), sample_weight=weight))
    Y[np.random.default_rng(2).random(Y.shape) < 0.3] = np.nan
    model = BoostGradRegressor(**SMALL).fit(X, Y, weight)
    each = []
    for k, there in enumerate(~np.isnan(Y.T)):
        of_target = None if weight is None else weight[there]
        each.append(r2_score(Y[there, k], model.predict(X)[there, k], sample_weight=of_target))
    assert model.score(X, Y, weight) == pytest.approx(np.mean(each))
    with pytest.raises(ValueError, match=r"y has shape \(500,\), and what the model predicts has shape \(500, 3\)"):
        model.score(X, np.zeros(len(X)))


def test_shapes_and_errors():
    X, Y = problem(100)
    with pytest.warns(DataConversionWarning):
        assert BoostGradRegressor(**SMALL).fit(X, Y[:, :1]).predict(X).shape == (100,)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert BoostGradRegressor(**SMALL).fit(X, Y[:, :2]).predict(X).shape == (100, 2)
    bad = Y.copy()
    bad[3, 1] = np.inf
    with pytest.raises(ValueError, match="Input y contains infinity: row 3, column 1"):
        BoostGradRegressor(**SMALL).fit(X, bad)
    bad[:, 1] = np.nan
    with pytest.raises(ValueError, match="no target in column 1"):
        BoostGradRegressor(**SMALL).fit(X, bad)
    with pytest.raises(ValueError, match="y must hold numbers"):
        BoostGradRegressor(**SMALL).fit(X, np.full((100, 2), "a", dtype=object))
    with pytest.raises(ValueError, match="inconsistent numbers of samples"):
        BoostGradRegressor(**SMALL).fit(X, Y[:50])
    with pytest.raises(ValueError, match="y_val must have as many columns"):
        BoostGradRegressor(**SMALL).fit(X, Y, X_val=X, y_val=Y[:, :2])
    with pytest.raises(ValueError, match="several quantiles are of one target"):
        BoostGradRegressor(Quantiles([0.1, 0.9]), **SMALL).fit(X, Y)
    with pytest.raises(ValueError, match="must predict one number a row.*which MultiOutput"):
        BoostGradRegressor(MultiOutput(SquaredError(), 3), **SMALL).fit(X, Y)


class Own(Loss):
    """Half of the squared error, under no registered name."""

    def gradients(self, y, raw, weight, out, n_threads=1):
        w = 1.0 if weight is None else weight
        out.fill(0, w * (raw[0] - y), w * np.ones(len(y)))

    def values(self, y, raw):
        return 0.5 * (raw[0] - y) ** 2


def test_any_loss_is_repeated(tmp_path):
    X, Y = problem()
    own = BoostGradRegressor(loss=Own(), **SMALL).fit(X, Y)
    np.testing.assert_allclose(own.predict(X), BoostGradRegressor(**SMALL).fit(X, Y).predict(X), rtol=1e-6, atol=1e-6)
    with pytest.warns(UserWarning, match="no registered name"):
        own.save(tmp_path / "model.bg")
    loss = get_loss("multi_output", **MultiOutput(SquaredError(), 3).parameters())
    assert loss.n_outputs == 3 and isinstance(loss.loss, SquaredError)


def half_square(y, raw, sample_weight):
    w = 1.0 if sample_weight is None else sample_weight
    return w * (raw - y), w * np.ones_like(raw)


def test_a_function_is_repeated_with_what_it_says_of_itself(tmp_path):
    """Without values "auto" does without early stopping; one hessian of all rows is noticed, so the trees are those of
    the loss that states it."""
    X, Y = problem()
    large = np.tile(X, (25, 1)), np.tile(Y, (25, 1))
    assert BoostGradRegressor(half_square, n_estimators=2).fit(*large).validation_score_.size == 0
    with pytest.raises(ValueError, match=r"values, which MultiOutput\(CallableLoss\(half_square\), 3\) has not"):
        BoostGradRegressor(half_square, early_stopping=True).fit(X, Y)
    for strategy in ("one_output_per_tree", "multi_output_tree"):
        own = BoostGradRegressor(half_square, multi_strategy=strategy, **SMALL).fit(X, Y)
        stated = CallableLoss(half_square, constant_hessian=1.0)
        stated = BoostGradRegressor(stated, multi_strategy=strategy, **SMALL).fit(X, Y)
        np.testing.assert_array_equal(own.predict(X), stated.predict(X))
    loss = MultiOutput.of(CallableLoss(half_square), 3, has_missing=False)
    pairs = loss.pairs(len(X), weighted=False)
    for raw in (np.zeros((3, len(X))), np.ones((3, len(X)))):
        loss.gradients(loss.prepare(Y, None), raw, None, pairs)
        assert pairs.constant_hessian == 1.0
        np.testing.assert_array_equal(pairs.pairs[:, :, 0], raw - Y.T)
    weight = np.arange(len(X)) + 1.0
    loss.gradients(loss.prepare(Y, weight), raw, weight, pairs)
    np.testing.assert_array_equal(pairs.pairs[2], np.column_stack([weight * (1 - Y[:, 2]), weight]))
    with pytest.warns(UserWarning, match="no registered name"):
        own.save(tmp_path / "model")
    again = BoostGradRegressor.load(tmp_path / "model")
    np.testing.assert_array_equal(again.predict(X), own.predict(X))


@pytest.mark.parametrize("loss", [Huber(2.0), get_loss("gamma_nll")], ids=repr)
def test_a_loaded_model_has_the_loss_that_was_given(loss, tmp_path):
    X, Y = problem()
    Y = np.exp(Y / (1 + np.abs(Y)))
    model = BoostGradRegressor(loss, **SMALL).fit(X, Y)
    model.save(tmp_path / "model")
    again = BoostGradRegressor.load(tmp_path / "model")
    np.testing.assert_array_equal(again.predict(X), model.predict(X))
    assert repr(again.loss) == repr(loss)
    np.testing.assert_array_equal(clone(again).fit(X, Y).predict(X), model.predict(X))
    assert clone(again).fit(X, Y[:, 0]).predict(X).shape == (len(X),)


@pytest.mark.parametrize("name", ["normal_nll", "lognormal_nll", "gamma_nll", "poisson_nll", "negative_binomial_nll"])
def test_a_distribution_of_each_target(name, tmp_path):
    """Trees for each parameter of each target are those of the target alone."""
    X, _ = problem()
    rng = np.random.default_rng(0)
    Y = np.column_stack([rng.poisson(3 + X[:, 0] ** 2) + 1.0, rng.poisson(np.exp(X[:, 1] + 2)) + 1.0])
    Y[rng.random(len(X)) < 0.2, 1] = np.nan
    shift = rng.random((len(X), 2 * get_loss(name).n_outputs)) / 10
    model = BoostGradRegressor(name, early_stopping=False, **SMALL).fit(X, Y)
    moved = BoostGradRegressor(name, early_stopping=False, **SMALL).fit(X, Y, offset=shift)
    frozen, of_moved = model.predict_distribution(X), moved.predict_distribution(X, offset=shift)
    assert model.predict(X).shape == frozen.std().shape == of_moved.mean().shape == Y.shape
    np.testing.assert_allclose(model.predict(X), frozen.mean(), rtol=1e-9)
    alone = BoostGradRegressor(name, early_stopping=False, **SMALL).fit(X, Y[:, 0])
    np.testing.assert_allclose(frozen.std()[:, 0], alone.predict_distribution(X).std(), rtol=1e-6)
    model.save(tmp_path / "model")
    again = BoostGradRegressor.load(tmp_path / "model")
    np.testing.assert_array_equal(again.predict_distribution(X).std(), frozen.std())
    stopped = BoostGradRegressor(name, early_stopping=True, multi_strategy="multi_output_tree", **SMALL).fit(X, Y)
    intervals = stopped.predict_interval(X, 0.8)
    assert intervals.shape == (len(X), 2, 2) and stopped.validation_score_[-1] > stopped.validation_score_[0]
    there = ~np.isnan(Y[:, 1])
    assert 0.65 < np.mean((intervals[there, 1, 0] <= Y[there, 1]) & (Y[there, 1] <= intervals[there, 1, 1])) < 0.97
    copy = pickle.loads(pickle.dumps(stopped))
    np.testing.assert_array_equal(copy.predict_interval(X, 0.8), intervals)


@pytest.mark.parametrize("n_targets", [2, 40])
def test_a_target_that_is_missing_in_every_other_row(n_targets):
    """As in tables of several sources that take turns: shares of targets are of all rows, not of a regular sample."""
    rng = np.random.default_rng(0)
    X = rng.standard_normal((9000, 4))
    Y = np.column_stack([np.sin((1 + k % 2) * X[:, k % 2]) for k in range(n_targets)])
    known = Y.copy()
    Y[::2, 1::2] = np.nan
    settings = {"multi_strategy": "multi_output_tree", "early_stopping": False, "n_estimators": 40, "random_state": 0}
    model = BoostGradRegressor(**settings).fit(X, Y)
    assert np.mean((model.predict(X) - known)[:, 1::2] ** 2) < 0.03 * known[:, 1].var()


JOINT = {
    "normal_nll": {"min_child_weight": 10.0},
    "gamma_nll": {"min_child_weight": 10.0},
    "negative_binomial_nll": {"min_child_weight": 10.0},
    "quantile": {"quantile": [0.1, 0.5, 0.9], "min_child_weight": 10.0},
}


@pytest.mark.parametrize("loss", JOINT)
def test_joint_outputs_of_weighted_and_of_moved_rows(loss, seed):
    """Weights are repetition, and the order of rows does not matter, for as many rows as a sample would begin with."""
    rng = np.random.default_rng(seed)
    n = 9000
    X = rng.standard_normal((n, 3))
    y = np.exp(np.sin(X[:, 0]) + np.exp(0.5 * X[:, 1] - 1) * rng.standard_normal(n))
    y = np.floor(y) if loss == "negative_binomial_nll" else y
    weight = rng.integers(0, 4, n)
    again, order = np.repeat(np.arange(n), weight), rng.permutation(n)
    model = BoostGradRegressor(
        loss, n_estimators=8, min_samples_leaf=1, max_bins=60, early_stopping=False, random_state=0, **JOINT[loss]
    )
    known = model.fit(X, y, sample_weight=weight).predict(X)
    for rows, w in ((again, None), (order, weight[order])):
        np.testing.assert_allclose(model.fit(X[rows], y[rows], sample_weight=w).predict(X), known, rtol=1e-6)


@pytest.mark.parametrize(
    "loss",
    [
        get_loss("squared_error"),
        Huber(2.0),
        get_loss("normal_nll"),
        CallableLoss(half_square, value=lambda y, r: (y - r) ** 2),
    ],
    ids=repr,
)
@pytest.mark.parametrize("missing", [False, True])
@pytest.mark.parametrize("weighted", [False, True])
def test_the_mean_is_that_of_the_values(loss, missing, weighted):
    rng = np.random.default_rng(0)
    Y, weight = problem()[1], rng.random(500) if weighted else None
    if missing:
        Y[rng.random(Y.shape) < 0.3] = np.nan
    several = MultiOutput.of(loss, 3, has_missing=missing)
    y = several.prepare(Y, weight)
    several.init_raw(y, weight)
    raw = rng.standard_normal((several.n_outputs, 500))
    found = several.mean(y, raw, weight, n_threads=2)
    assert found == pytest.approx(np.average(several.values(y, raw), weights=weight), rel=1e-12)
