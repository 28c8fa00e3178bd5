"""The losses for regression and for probabilities: what others compute, and models trained with them."""

import pickle

import numpy as np
import pytest
from scipy import optimize
from sklearn._loss import loss as sklearn_losses
from sklearn.ensemble import HistGradientBoostingRegressor

from boostgrad import BoostGradClassifier, BoostGradRegressor, native
from boostgrad.losses import (
    CrossEntropy,
    Expectile,
    Fair,
    Focal,
    Gamma,
    Huber,
    Poisson,
    Quantile,
    RelativeError,
    RowsByLeaf,
    SquaredError,
    Tweedie,
    get_loss,
)
from boostgrad.losses._quantiles import quantiles_of_leaves
from boostgrad.losses.constant import best_constant
from tests.losses.test_losses import CASES, derivatives, target

REGRESSION = {
    name: cases[-1][0]
    for name, cases in CASES.items()
    if not get_loss(name, **cases[-1][0]).for_classes and get_loss(name, **cases[-1][0]).n_outputs == 1
}
KINDS = {name: cases[-1][1] for name, cases in CASES.items()}


def table(name, n=1500, seed=0):
    """A table whose first columns tell the size of a target that suits the loss."""
    rng = np.random.default_rng(seed)
    X = rng.random((n, 4))
    size = np.exp(np.sin(6 * X[:, 0]) + X[:, 1] - 1)
    kind = KINDS[name]
    if kind == "count":
        return X, rng.poisson(size).astype(float)
    if kind == "positive":
        return X, rng.gamma(2.0, size / 2) + 1e-3
    if kind == "share":
        return X, np.clip(0.3 * size * rng.random(n), 0, 1)
    if kind == "binary":
        return X, (rng.random(n) < size / 4).astype(float)
    return X, size + 0.3 * rng.standard_t(3, n)


def model_of(name, **more):
    face = BoostGradClassifier if KINDS[name] == "binary" else BoostGradRegressor
    return face(loss=get_loss(name, **REGRESSION.get(name, CASES[name][0][0])), random_state=0, **more)


ONE_OUTPUT = sorted(set(REGRESSION) | {"focal"})


# ---- what others compute ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("ours", "theirs", "kind"),
    [
        (get_loss("absolute_error"), sklearn_losses.AbsoluteError(), "real"),
        (Quantile(0.2), sklearn_losses.PinballLoss(quantile=0.2), "real"),
        (Huber(1.5), sklearn_losses.HuberLoss(delta=1.5), "real"),
        (Poisson(), sklearn_losses.HalfPoissonLoss(), "count"),
        (Gamma(), sklearn_losses.HalfGammaLoss(), "positive"),
        (Tweedie(1.3), sklearn_losses.HalfTweedieLoss(power=1.3), "count"),
        (CrossEntropy(), sklearn_losses.HalfBinomialLoss(), "share"),
    ],
    ids=lambda value: getattr(value, "name", None),
)
def test_values_and_gradients_are_sklearns(ours, theirs, kind):
    rng = np.random.default_rng(0)
    y, raw = target(kind, 500, 1, rng), rng.standard_normal((1, 500)) * 2
    gradient, hessian, _ = derivatives(ours, y, raw)
    value, slope = theirs.loss_gradient(y, raw[0])
    np.testing.assert_allclose(gradient[0], slope, rtol=1e-11, atol=1e-13)
    constant = ours.values(y, raw) - value  # what y alone decides
    again = ours.values(y, raw + 1) - theirs.loss(y, raw[0] + 1)
    np.testing.assert_allclose(constant, again, rtol=1e-9, atol=1e-9)
    if ours.name in {"poisson", "gamma", "cross_entropy"}:
        np.testing.assert_allclose(hessian[0], theirs.gradient_hessian(y, raw[0])[1], rtol=1e-11)
    np.testing.assert_allclose(ours.inverse_link(raw)[0], theirs.link.inverse(raw[0]), rtol=1e-12)


@pytest.mark.parametrize("power", [1.1, 1.5, 1.9])
def test_tweedies_hessian_is_the_expected_one(power):
    """Of a compound Poisson-gamma variable it is the mean of the true one, and in proportion to the gradient's variance
    (Jorgensen 1987)."""
    rng = np.random.default_rng(0)
    n, mean, dispersion = 400_000, 3.0, 0.7
    events = rng.poisson(mean ** (2 - power) / (dispersion * (2 - power)), n)
    shape, scale = (2 - power) / (power - 1), dispersion * (power - 1) * mean ** (power - 1)
    y = rng.gamma(np.maximum(events, 1) * shape, scale) * (events > 0)
    assert y.mean() == pytest.approx(mean, rel=0.02)
    gradient, hessian, _ = derivatives(Tweedie(power), y, np.full((1, n), np.log(mean)))
    true = sklearn_losses.HalfTweedieLoss(power=power).gradient_hessian(y, np.full(n, np.log(mean)))[1]
    assert hessian[0, 0] == pytest.approx(true.mean(), rel=0.02)
    assert hessian[0, 0] == pytest.approx(gradient.var() / dispersion, rel=0.05)


def test_leaves_without_claims_stay_short():
    """Rows of which few are not 0, and nothing to learn: the deviance hardly rises where trees follow noise."""
    rng = np.random.default_rng(0)
    X, y = rng.random((4000, 5)), rng.gamma(1.0, 100.0, 4000) * (rng.random(4000) < 0.05)
    model = BoostGradRegressor(Tweedie(1.8), n_estimators=50, early_stopping=False).fit(X, y)
    new = model.predict(rng.random((4000, 5)))
    assert 0.1 < np.median(new) < 20
    steps = np.concatenate([tree.leaf_value[:, 0] for tree in model.ensemble_.trees])
    assert steps.min() >= -0.1


def test_focal_of_0_is_the_log_loss():
    rng = np.random.default_rng(0)
    y, raw = target("binary", 500, 1, rng), rng.standard_normal((1, 500)) * 5
    one, other = derivatives(Focal(0.0), y, raw), derivatives(get_loss("binary_log_loss"), y, raw)
    for a, b in zip(one[:2], other[:2], strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-12)
    np.testing.assert_allclose(
        Focal(0).values(y, raw), get_loss("binary_log_loss").values(y, raw), rtol=1e-12, atol=1e-14
    )


@pytest.mark.parametrize("level", [0.05, 0.5, 0.8])
def test_expectiles_are_scipys(level):
    from scipy.stats import expectile

    rng = np.random.default_rng(0)
    y, weight = rng.gamma(2, size=300), rng.random(300)
    for w in (None, weight):
        assert Expectile(level).init_raw(y, w) == pytest.approx(expectile(y, level, weights=w), rel=1e-9)


@pytest.mark.parametrize("loss", [Huber(0.7), Fair(0.5), get_loss("log_cosh"), Tweedie(1.4)], ids=repr)
def test_constants_are_scipys(loss):
    rng = np.random.default_rng(0)
    y, weight, offset = rng.gamma(2, size=300), rng.random(300), rng.standard_normal((1, 300))
    for w, o in ((None, None), (weight, None), (weight, offset)):
        start = np.zeros((1, 300)) if o is None else o
        found = optimize.minimize_scalar(lambda c: loss.mean(y, start + c, w), bracket=(-3, 3), tol=1e-12)  # noqa: B023
        assert loss.init_raw(y, w, o)[0] == pytest.approx(found.x, abs=1e-6)


@pytest.mark.parametrize("of", [Huber, Fair, lambda _: Expectile(0.9), lambda _: SquaredError()], ids=range(4))
@pytest.mark.parametrize("unit", [2.0**-150, 2.0**-40, 2.0**60])
def test_constants_are_in_the_unit_of_the_target(of, unit, seed):
    rng = np.random.default_rng(seed)
    y, offset = rng.standard_normal(300) + rng.choice([0.0, 30.0]), rng.standard_normal((1, 300))
    known, found = best_constant(of(1.0), y, None, offset), best_constant(of(unit), unit * y, None, unit * offset)
    np.testing.assert_allclose(found / unit, known, rtol=1e-12, atol=1e-12)


# ---- quantiles of leaves ---------------------------------------------------------------------------------------------


def slow_quantile(x, weight, level):
    """Where the weights reach their share, and the middle where they reach it exactly."""
    goal = level * weight.sum()
    value = min(v for v in x if weight[x <= v].sum() >= goal)
    above = x[x > value]
    if weight[x <= value].sum() == goal and len(above):
        return value + 0.5 * (above.min() - value)
    return value


@pytest.mark.parametrize("level", [0.01, 0.1, 0.5, 0.75, 0.99])
@pytest.mark.parametrize("kind", ["plain", "ties", "sorted", "equal", "reversed"])
@pytest.mark.parametrize("weighted", [False, True])
def test_quantiles_of_leaves(level, kind, weighted, seed):
    rng = np.random.default_rng(seed)
    n = 1000
    y = {
        "plain": rng.standard_normal(n),
        "ties": rng.integers(0, 6, n).astype(float),
        "sorted": np.arange(n, dtype=float),
        "equal": np.ones(n),
        "reversed": -np.arange(n, dtype=float),
    }[kind]
    raw = np.round(rng.standard_normal(n)) if kind == "ties" else np.zeros(n)
    weight = rng.integers(1, 5, n).astype(float) if weighted else None
    rows = rng.permutation(n).astype(np.uint32)
    begin = np.array([0, 1, 3, 300, 300, n])
    found = quantiles_of_leaves(y, raw, weight, RowsByLeaf(rows, begin), level, 1)
    for n_threads in (2, 5):
        again = quantiles_of_leaves(y, raw, weight, RowsByLeaf(rows, begin), level, n_threads)
        assert again.tobytes() == found.tobytes()
    for leaf, mine in enumerate(RowsByLeaf(rows, begin)):
        if len(mine) == 0:
            assert found[leaf] == 0
            continue
        w = np.ones(len(mine)) if weight is None else weight[mine]
        assert found[leaf] == slow_quantile((y - raw)[mine], w, level)
    np.testing.assert_array_equal(y[:5], y[:5].copy())


@pytest.mark.parametrize("name", ["absolute_error", "quantile", "mape"])
@pytest.mark.parametrize("weighted", [False, True])
def test_leaves_are_the_quantiles_of_their_rows(name, weighted):
    X, y = table(name)
    weight = np.random.default_rng(1).random(len(y)) if weighted else None
    loss = get_loss(name, **REGRESSION[name])
    model = BoostGradRegressor(loss=loss, n_estimators=4, learning_rate=0.3, early_stopping=False)
    model.fit(X, y, weight)
    raw = np.full(len(y), model.ensemble_.base_score[0])
    w = loss.quantile_weights(y, np.ones(len(y)) if weight is None else weight)
    assert raw[0] == pytest.approx(slow_quantile(y, w, loss.level), rel=1e-12)
    for leaf, tree in zip(model.apply(X).T, model.ensemble_.trees, strict=True):
        for number in range(tree.n_leaves):
            mine = leaf == number
            value = 0.3 * slow_quantile((y - raw)[mine], w[mine], loss.level)
            assert tree.leaf_value[number, 0] == pytest.approx(value, rel=1e-9, abs=1e-12)
        raw += tree.leaf_value[leaf, 0]
    np.testing.assert_allclose(model.predict(X), raw, rtol=1e-12)


# ---- models ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ONE_OUTPUT)
def test_training_lowers_the_loss(name):
    X, y = table(name)
    half = len(y) // 2
    model = model_of(name, n_estimators=40, min_samples_leaf=10, early_stopping=True)
    model.fit(X[:half], y[:half], X_val=X[half:], y_val=y[half:])
    scores = model.validation_score_
    assert scores[-1] > scores[0] and model.n_iter_ >= 3
    loss = model._loss
    held_out = loss.prepare(y[half:], None)
    assert -loss.mean(held_out, model._raw(X[half:]), None) == pytest.approx(scores[-1], rel=1e-10)


@pytest.mark.parametrize("name", ONE_OUTPUT)
def test_models_are_the_same_bytes(name, tmp_path, monkeypatch):
    X, y = table(name, 700)
    weight = np.random.default_rng(1).random(len(y))

    def bytes_of(model):
        model.fit(X, y, weight).save(tmp_path / "model")
        return (tmp_path / "model").read_bytes()

    before = native.isa()
    expected = bytes_of(model_of(name, n_estimators=5))
    again = type(model_of(name)).load(tmp_path / "model")
    assert repr(again._loss) == repr(get_loss(name, **REGRESSION.get(name, CASES[name][0][0])))
    copy = pickle.loads(pickle.dumps(again))
    prediction = again.predict(X)
    np.testing.assert_array_equal(copy.predict(X), prediction)
    try:
        for isa in native.available_isas():
            native.use_isa(isa)
            assert bytes_of(model_of(name, n_estimators=5)) == expected
    finally:
        native.use_isa(before)
    model = model_of(name, n_estimators=5, n_jobs=3).fit(X, y, weight)
    np.testing.assert_array_equal(model.predict(X), prediction)


@pytest.mark.parametrize("name", ONE_OUTPUT)
def test_weights_are_repetition(name):
    X, y = table(name, 400)
    times = np.random.default_rng(1).integers(0, 4, len(y))
    more = {"n_estimators": 10, "min_samples_leaf": 1, "min_child_weight": 5.0, "early_stopping": False}
    weighted = model_of(name, **more).fit(X, y, times)
    repeated = model_of(name, **more).fit(np.repeat(X, times, axis=0), np.repeat(y, times))
    np.testing.assert_allclose(weighted._raw(X), repeated._raw(X), rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("name", sorted(REGRESSION))
def test_offsets_shift_what_is_invariant(name):
    if get_loss(name, **REGRESSION[name]).link != "identity" or name == "mape":
        return
    X, y = table(name)
    offset = np.random.default_rng(1).integers(-20, 20, len(y)).astype(float)
    plain = model_of(name, n_estimators=10).fit(X, y)
    moved = model_of(name, n_estimators=10).fit(X, y + offset, offset=offset)
    np.testing.assert_allclose(moved.predict(X, offset=offset), plain.predict(X) + offset, rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("name", ["poisson", "gamma", "tweedie"])
def test_exposure_is_a_unit(name):
    X, y = table(name)
    exposure = np.random.default_rng(1).random(len(y)) + 0.1
    model = model_of(name, n_estimators=20).fit(X, y, exposure=exposure)
    twice = model_of(name, n_estimators=20).fit(X, y, exposure=2 * exposure)
    np.testing.assert_allclose(2 * twice.predict(X), model.predict(X), rtol=1e-9)
    by_row = model.predict(X, exposure=exposure)
    np.testing.assert_allclose(by_row, model.predict(X) * exposure, rtol=1e-12)
    if name == "poisson":
        assert by_row.sum() == pytest.approx(y.sum(), rel=0.02)


@pytest.mark.parametrize("name", ["poisson", "gamma", "tweedie"])
@pytest.mark.parametrize("factor", [1e-3, 1e6])
def test_steps_of_log_links_stay_short(name, factor):
    """Leaves far from where the model is: Newton's step alone would be far too long."""
    rng = np.random.default_rng(0)
    X = (rng.random((400, 1)) < 0.05).astype(float)
    y = np.where(X[:, 0] > 0, factor, 1.0) * (rng.random(400) + 0.5)
    model = model_of(name, n_estimators=300, min_samples_leaf=5, early_stopping=False).fit(X, y)
    prediction = model.predict(np.array([[0.0], [1.0]]))
    assert prediction[1] == pytest.approx(y[X[:, 0] > 0].mean(), rel=0.1)
    for stage in model.staged_predict(X):
        assert stage.max() < 3 * y.max()


@pytest.mark.parametrize(
    ("ours", "theirs", "name"),
    [
        pytest.param({"loss": "absolute_error"}, {"loss": "absolute_error"}, "absolute_error", marks=pytest.mark.slow),
        pytest.param(
            {"loss": "quantile", "quantile": 0.8},
            {"loss": "quantile", "quantile": 0.8},
            "quantile",
            marks=pytest.mark.slow,
        ),
        ({"loss": "poisson"}, {"loss": "poisson"}, "poisson"),
        ({"loss": "gamma"}, {"loss": "gamma"}, "gamma"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_as_good_as_hist_gradient_boosting(ours, theirs, name):
    X, y = table(name, 3000)
    half = len(y) // 2
    models = [
        BoostGradRegressor(**ours, early_stopping=False, random_state=0, n_estimators=50),
        HistGradientBoostingRegressor(**theirs, early_stopping=False, random_state=0, max_iter=50),
    ]
    loss = get_loss(ours["loss"], **{k: v for k, v in ours.items() if k != "loss"})
    losses = []
    for model in models:
        prediction = model.fit(X[:half], y[:half]).predict(X[half:])
        losses.append(loss.mean(y[half:], (np.log(prediction) if loss.link == "log" else prediction)[None], None))
    start = loss.mean(y[half:], np.repeat(loss.init_raw(y[:half], None)[:, None], half, axis=1), None)
    assert start - losses[0] > 0.9 * (start - losses[1])


# ---- parameters ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("make", "bad"),
    [(Quantile, (0, 1, "x", True)), (Expectile, (0, 1)), (Huber, (0, -1, np.inf)), (Fair, (0,)), (Tweedie, (1, 2, 0))]
    + [(RelativeError, (0, "x")), (Focal, (-1, "x", True))],
)
def test_bad_parameters(make, bad):
    for value in bad:
        with pytest.raises(ValueError, match=rf"of {make.__name__} must be a number in \(.*Got {value!r} instead"):
            make(value)


@pytest.mark.parametrize(
    ("name", "y", "words"),
    [
        ("poisson", -1.0, "not negative"),
        ("tweedie", -1e-9, "not negative"),
        ("gamma", 0.0, "positive"),
        ("squared_log_error", -1.0, "above -1"),
        ("cross_entropy", 1.5, r"in \[0, 1\]"),
    ],
)
def test_bad_targets(name, y, words):
    X, given = table(name, 100)
    given[7] = y
    with pytest.raises(ValueError, match=f"loss '{name}' needs a target that is {words}; row 7 has {y}"):
        BoostGradRegressor(loss=name).fit(X, given)


def test_quantile_is_a_parameter():
    X, y = table("quantile")
    named = BoostGradRegressor(loss="quantile", quantile=0.9, n_estimators=20, random_state=0).fit(X, y)
    instance = BoostGradRegressor(loss=Quantile(0.9), n_estimators=20, random_state=0).fit(X, y)
    np.testing.assert_array_equal(named.predict(X), instance.predict(X))
    assert np.mean(y <= named.predict(X)) == pytest.approx(0.9, abs=0.04)
    with pytest.raises(ValueError, match="The 'quantile' parameter of BoostGradRegressor is needed by loss 'quantile'"):
        BoostGradRegressor(loss="quantile").fit(X, y)
    with pytest.raises(ValueError, match="'quantile' parameter .* must be None for loss 'squared_error'"):
        BoostGradRegressor(quantile=0.5).fit(X, y)
    with pytest.raises(ValueError, match="'quantile' parameter .* must be None for loss Quantile"):
        BoostGradRegressor(loss=Quantile(0.9), quantile=0.5).fit(X, y)
