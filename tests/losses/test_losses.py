"""All registered losses, by the same mathematics."""

import inspect
import re
import sys

import numpy as np
import pytest
from scipy import special
from sklearn.metrics import log_loss, mean_squared_error

from boostgrad import BoostGradRegressor, native
from boostgrad.losses import (
    BinaryLogLoss,
    CallableLoss,
    DistributionLoss,
    GradientPairs,
    Loss,
    MultinomialLogLoss,
    RowsByLeaf,
    SquaredError,
    _loops,
    get_loss,
    register,
    registered_losses,
)
from boostgrad.losses import base as losses_base
from boostgrad.losses.constant import best_constant
from boostgrad.losses.pairs import BLOCK
from boostgrad.losses.quantiles import Quantiles

# How to make each registered loss, and a target for it. A new loss gets its line here, and all tests.
CASES = {
    "squared_error": [({}, "real")],
    "binary_log_loss": [({}, "binary"), ({"soft": True}, "share")],
    "multinomial_log_loss": [({"n_classes": n}, "classes") for n in (2, 3, 11)],
    "multilabel_log_loss": [({"n_labels": 3}, "labels"), ({"n_labels": 3, "soft": True}, "shares")],
    "absolute_error": [({}, "real")],
    "quantile": [({"quantile": q}, "real") for q in (0.1, 0.5)],
    "mape": [({"least": 0.5}, "real")],
    "huber": [({"delta": d}, "real") for d in (1.0, 3.0)],
    "fair": [({"c": c}, "real") for c in (1.0, 2.5)],
    "log_cosh": [({}, "real")],
    "expectile": [({"quantile": q}, "real") for q in (0.2, 0.5)],
    "squared_log_error": [({}, "count")],
    "poisson": [({}, "count")],
    "gamma": [({}, "positive")],
    "tweedie": [({"power": p}, "count") for p in (1.2, 1.9)],
    "cross_entropy": [({}, "share")],
    "focal": [({"gamma": g}, "binary") for g in (0.0, 2.0)],
}
ALL = [(name, parameters, kind) for name, cases in CASES.items() for parameters, kind in cases]
all_losses = pytest.mark.parametrize(
    ("name", "parameters", "kind"),
    ALL,
    ids=["-".join([name, *(f"{v:g}" for v in parameters.values())]) for name, parameters, _ in ALL],
)
# Their hessians are those of parabolas that lie above the loss.
BOUNDS = {"huber", "fair", "log_cosh", "focal", "absolute_error", "quantile", "mape"}
PROBABILITIES = {"binary", "classes", "labels", "share", "shares"}


def target(kind, n, n_outputs, rng):
    match kind:
        case "real":
            return rng.standard_normal(n) * 3
        case "binary":
            return rng.integers(0, 2, n).astype(float)
        case "classes":
            y = rng.integers(0, n_outputs, n).astype(float)
            y[:n_outputs] = np.arange(n_outputs)
            return y
        case "labels":
            return rng.integers(0, 2, (n, n_outputs)).astype(np.uint8)
        case "count":
            return rng.poisson(2.0, n).astype(float)
        case "positive":
            return rng.gamma(2.0, 2.0, n) + 1e-3
        case "share":
            return rng.random(n)
        case "shares":
            return rng.random((n, n_outputs))


def problem(name, parameters, kind, n=200, seed=0, scale=2.0):
    """A loss, a target as it prepares it, raw predictions and weights."""
    rng = np.random.default_rng(seed)
    loss = get_loss(name, **parameters)
    y = target(kind, n, loss.n_outputs, rng)
    loss.check_target(y)
    raw = np.ascontiguousarray(rng.standard_normal((loss.n_outputs, n)) * scale)
    return loss, loss.prepare(y, None), raw, rng.random(n) * 3 + 0.1


def some(y, rows):
    """Rows of a prepared target."""
    return np.ascontiguousarray(y[..., rows])


def derivatives(loss, y, raw, weight=None, n_threads=1):
    """Gradients and hessians, (n_outputs, n_rows) each."""
    pairs = loss.pairs(raw.shape[1], weighted=weight is not None)
    pairs.largest[:] = 0
    loss.gradients(y, raw, weight, pairs, n_threads)
    gradient = pairs.pairs[:, :, 0].astype(float)
    if pairs.constant_hessian is not None:
        return gradient, np.full_like(gradient, pairs.constant_hessian), pairs
    return gradient, pairs.pairs[:, :, 1].astype(float), pairs


def losses_of_boostgrad():
    """Names; tests register losses, too."""
    return {name for name, cls in registered_losses().items() if cls.__module__.startswith("boostgrad.")}


def test_every_registered_loss_is_tested():
    own = {name for name in losses_of_boostgrad() if registered_losses()[name].target == "numbers"}
    elsewhere = ("boostgrad.losses.distributions", "boostgrad.losses.multi", "boostgrad.losses.quantiles")
    own -= {name for name, cls in registered_losses().items() if cls.__module__ in elsewhere}
    assert own == set(CASES) | {"unnamed"}


# What a docstring says of a loss, in this order.
SAID = ("loss", "gradient", "hessian", "link", "initial score", "metric")
# multi_output repeats another loss, and unnamed cannot train.
WITHOUT_FORMULAS = {"multi_output", "unnamed"}


@pytest.mark.skipif(sys.flags.optimize > 1, reason="there are no docstrings")
@pytest.mark.parametrize("name", sorted(losses_of_boostgrad() - WITHOUT_FORMULAS))
def test_docstrings_say_what_the_loss_is(name):
    cls = registered_losses()[name]
    words = inspect.cleandoc(cls.__doc__)
    notes, _, references = words.partition("\nNotes\n-----\n")[2].partition("\n\nReferences\n----------\n")
    said = re.findall(r"^:([a-z ]+): (.+(?:\n    .+)*)", notes, flags=re.MULTILINE)
    assert tuple(field for field, _ in said) == SAID, words
    of = dict(said)
    assert all("``" in of[field] for field in ("loss", "gradient", "hessian"))
    assert re.split(r"\W", of["metric"])[0] == cls.metric or (not cls.metric and "the loss itself" in of["metric"])
    assert cls.link.replace("_", " ") in of["link"] or issubclass(cls, DistributionLoss)  # each parameter has its own
    assert re.search(r"\(\d{4}\)", references)
    other = re.search("bound|parabola|in place of", of["hessian"])  # than the second derivative
    assert bool(other) == (name in BOUNDS or name in {"quantiles", "yetirank"})


@all_losses
def test_gradients_are_the_slope_of_the_values(name, parameters, kind):
    loss, y, raw, _ = problem(name, parameters, kind)
    gradient, _, _ = derivatives(loss, y, raw)
    eps = 1e-5
    for k in range(loss.n_outputs):
        up, down = raw.copy(), raw.copy()
        up[k] += eps
        down[k] -= eps
        slope = (loss.values(y, up) - loss.values(y, down)) / (2 * eps)
        np.testing.assert_allclose(gradient[k], slope, rtol=1e-6, atol=2e-7)  # as far as differences go


@all_losses
def test_hessians_are_the_slope_of_the_gradients(name, parameters, kind):
    loss, y, raw, _ = problem(name, parameters, kind)
    _, hessian, _ = derivatives(loss, y, raw)
    if name == "tweedie":  # the expected one: that of a target which is what was expected
        y = loss.inverse_link(raw)[0]
    eps = 1e-3  # second differences of the values
    middle = loss.values(y, raw)
    for k in range(loss.n_outputs):
        up, down = raw.copy(), raw.copy()
        up[k] += eps
        down[k] -= eps
        curvature = (loss.values(y, up) - 2 * middle + loss.values(y, down)) / eps**2
        if name in BOUNDS:
            assert (hessian[k] >= curvature - 1e-5).all() or not loss.smooth
        elif name == "expectile":  # but for the corner
            far = np.abs(raw[0] - y) > 2 * eps
            np.testing.assert_allclose(hessian[k][far], curvature[far], rtol=1e-5, atol=1e-7)
        else:
            np.testing.assert_allclose(hessian[k], curvature, rtol=1e-5, atol=1e-7)
    assert (hessian >= 0).all()


@all_losses
def test_no_newton_step_of_a_bounded_loss_overshoots(name, parameters, kind):
    loss, y, raw, _ = problem(name, parameters, kind, scale=5.0)
    if name not in BOUNDS or not loss.smooth:
        return
    gradient, hessian, _ = derivatives(loss, y, raw)
    for step in (0.1, 0.5, 1.0):
        after = loss.values(y, raw - step * gradient / hessian)
        assert (after <= loss.values(y, raw) + 1e-12).all()


@all_losses
@pytest.mark.parametrize("weighted", [False, True])
def test_a_constant_is_optimal(name, parameters, kind, weighted):
    loss, y, _, weight_of_all = problem(name, parameters, kind)
    weight = weight_of_all if weighted else None
    best = loss.init_raw(y, weight)
    assert best.shape == (loss.n_outputs,)
    raw = np.repeat(best[:, None], len(weight_of_all), axis=1)
    gradient, _, _ = derivatives(loss, y, raw, weight)
    if loss.smooth:
        np.testing.assert_allclose(gradient.sum(axis=1), 0, atol=1e-5 * np.abs(gradient).sum())
    least = loss.mean(y, raw, weight)
    rng = np.random.default_rng(1)
    for step in (1e-3, 0.1, 1.0):
        other = raw + step * rng.standard_normal((loss.n_outputs, 1))
        assert loss.mean(y, other, weight) >= least - 1e-12


@all_losses
@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("moved", [False, True])
def test_the_numeric_default_finds_the_same_constant(name, parameters, kind, weighted, moved):
    loss, y, raw, weight = problem(name, parameters, kind)
    offset = raw if moved else None
    start = np.zeros_like(raw) if offset is None else raw
    found = best_constant(loss, y, weight if weighted else None, start)
    best = loss.init_raw(y, weight if weighted else None, offset)
    if loss.smooth:  # else any number between two residuals may be as good
        np.testing.assert_allclose(found - found.mean() * (kind == "classes"), best, rtol=1e-6, atol=1e-7)
    at_most = loss.mean(y, start + best[:, None], weight if weighted else None) + 1e-10
    assert loss.mean(y, start + found[:, None], weight if weighted else None) <= at_most
    least = loss.mean(y, start + best[:, None], weight if weighted else None)
    rng = np.random.default_rng(1)
    for step in (1e-3, 0.1, 1.0):
        other = start + best[:, None] + step * rng.standard_normal((loss.n_outputs, 1))
        assert loss.mean(y, other, weight if weighted else None) >= least - 1e-12


@all_losses
def test_the_numeric_default_stays_finite(name, parameters, kind):
    loss, y, raw, _ = problem(name, parameters, kind)
    for same in (np.zeros_like(y), np.ones_like(y)):
        if name == "gamma" and not same.any():
            continue
        found = best_constant(loss, same, None, np.zeros_like(raw))
        assert np.isfinite(found).all() and np.abs(found).max() < 1e3
        best = loss.init_raw(same, None)[:, None] + 0 * raw
        assert loss.mean(same, found[:, None] + 0 * raw, None) <= loss.mean(same, best, None) + 1e-9


@pytest.mark.parametrize("far", [0.0, 1e-9, 3.0, -1e6, 1e12])
def test_the_numeric_default_goes_far(far):
    y = np.random.default_rng(0).random(101) * max(1.0, abs(far) * 1e-3) + far
    assert best_constant(SquaredError(), y, None, None) == pytest.approx(y.mean(), rel=1e-12)
    assert best_constant(Absolute(), y, None, None) == pytest.approx(np.median(y), rel=1e-9)


class PoissonByHand(Loss):
    def gradients(self, y, raw, weight, out, n_threads=1):
        out.fill(0, np.exp(raw[0]) - y, np.exp(raw[0]))


class LogCoshByHand(Loss):
    def gradients(self, y, raw, weight, out, n_threads=1):
        tanh = np.tanh(raw[0] - y)
        out.fill(0, tanh, 1.0 - tanh**2)


@pytest.mark.parametrize("size", [1e-9, 1e-3, 1.0, 30.0, 700.0, 1e3, 1e5, 1e9])
def test_a_constant_far_from_the_start(size, seed):
    """Where the loss hardly curves on the way, or its gradients are beyond all numbers a step from the start."""
    rng = np.random.default_rng(seed)
    y = size * rng.exponential(size=400)
    assert best_constant(PoissonByHand(), y, None, None) == pytest.approx(np.log(y.mean()), rel=1e-9)
    near = size + 0.5 * rng.standard_normal(400)
    found = best_constant(LogCoshByHand(), near, None, None)
    assert abs(np.tanh(found - near).sum()) < 1e-6 * len(near) * max(1.0, size) and abs(found - size) < 0.3
    for distribution in ("normal", "logistic", "extreme"):
        for scale in (0.1, 0.5, 2.0):
            loss = get_loss("aft", distribution=distribution, scale=scale)
            target = np.column_stack([y, np.where(rng.random(400) < 0.7, y, np.inf)])
            of_unit = np.column_stack([y / size, target[:, 1] / size])
            expected = best_constant(loss, loss.prepare(of_unit, None), None, None) + np.log(size)
            assert best_constant(loss, loss.prepare(target, None), None, None) == pytest.approx(expected, abs=1e-8)


@all_losses
def test_one_class_or_value_has_a_finite_constant(name, parameters, kind):
    loss, y, raw, weight = problem(name, parameters, kind)
    for same in (np.zeros_like(y), np.ones_like(y)):
        for w in (None, weight):
            constant = loss.init_raw(same, w)
            assert np.isfinite(constant).all()
            value = loss.mean(same, constant[:, None] + 0 * raw, w)
            if kind in {"real", "binary", "classes", "labels"}:
                assert value < 1e-12


@all_losses
def test_weights_are_multipliers(name, parameters, kind):
    loss, y, raw, weight = problem(name, parameters, kind)
    gradient, hessian, _ = derivatives(loss, y, raw)
    weighted_gradient, weighted_hessian, pairs = derivatives(loss, y, raw, weight)
    assert pairs.constant_hessian is None
    np.testing.assert_allclose(weighted_gradient, gradient * weight, rtol=3e-7, atol=1e-30)
    np.testing.assert_allclose(weighted_hessian, hessian * weight, rtol=3e-7, atol=1e-30)
    assert loss.mean(y, raw, weight) == pytest.approx(np.average(loss.values(y, raw), weights=weight), rel=1e-12)
    repeats = np.random.default_rng(0).integers(1, 4, len(weight))
    np.testing.assert_allclose(
        loss.init_raw(y, repeats.astype(float)), loss.init_raw(np.repeat(y, repeats, axis=-1), None),
        rtol=1e-12, atol=1e-13,
    )  # fmt: skip


@all_losses
@pytest.mark.parametrize("weighted", [False, True])
def test_largest_bounds_the_pairs(name, parameters, kind, weighted):
    loss, y, raw, weight = problem(name, parameters, kind)
    _, _, pairs = derivatives(loss, y, raw, weight if weighted else None)
    tops = np.abs(pairs.pairs).max(axis=1)
    if name == "multinomial_log_loss":  # classes share the bounds of all of them
        tops = np.broadcast_to(tops.max(axis=0), tops.shape)
    np.testing.assert_array_equal(pairs.largest[:, : tops.shape[1]], tops)


@all_losses
@pytest.mark.parametrize("size", [30.0, 40.0, 800.0, 1e5])
def test_extreme_raw_predictions(name, parameters, kind, size):
    loss, y, raw, weight = problem(name, parameters, kind)
    raw = np.where(raw > 0, size, -size)
    raw[:, :10] = size
    raw[:, 10:20] = -size
    with np.errstate(all="raise", under="ignore"):
        values = loss.values(y, raw)
        prediction = loss.inverse_link(raw)
    assert np.isfinite(values).all()
    assert (values >= 0).all() or name in {"poisson", "gamma"}
    assert np.isfinite(prediction).all()
    for w in (None, weight):
        gradient, hessian, pairs = derivatives(loss, y, raw, w)
        assert np.isfinite(pairs.pairs).all() and np.isfinite(pairs.largest).all()
        assert (hessian >= 0).all()
        if kind in PROBABILITIES and name != "focal":
            # a confident right answer pulls no more, a confident wrong one pulls by its weight
            assert (np.abs(gradient) <= (1.0 if w is None else w * (1 + 1e-6))).all()


@all_losses
@pytest.mark.parametrize("weighted", [False, True])
def test_threads_change_no_byte(name, parameters, kind, weighted):
    loss, y, raw, weight = problem(name, parameters, kind, n=70_001)  # several blocks and a rest
    weight = weight if weighted else None
    one = derivatives(loss, y, raw, weight)[2]
    for n_threads in (2, 3, 5):
        many = derivatives(loss, y, raw, weight, n_threads)[2]
        assert many.pairs.tobytes() == one.pairs.tobytes()
        assert many.largest.tobytes() == one.largest.tobytes()
    # and neither does the place of a row in a block
    tail = np.ascontiguousarray(raw[:, 16_377:])
    shifted = derivatives(loss, some(y, slice(16_377, None)), tail, None if weight is None else weight[16_377:].copy())[
        2
    ]
    assert shifted.pairs.tobytes() == one.pairs[:, 16_377:].tobytes()


@all_losses
def test_parameters_make_the_same_loss(name, parameters, kind):
    loss = get_loss(name, **parameters)
    again = get_loss(name, **loss.parameters())
    assert type(again) is type(loss) and again.n_outputs == loss.n_outputs
    assert loss.parameters() == parameters and loss.name == name


# ---- oracles ---------------------------------------------------------------------------------------------------------


def test_squared_error_is_half_of_sklearns():
    loss, y, raw, weight = problem("squared_error", {}, "real")
    assert loss.mean(y, raw, weight) == pytest.approx(mean_squared_error(y, raw[0], sample_weight=weight) / 2)
    np.testing.assert_array_equal(loss.inverse_link(raw), raw)
    assert loss.init_raw(y, weight) == pytest.approx(np.average(y, weights=weight))


def test_binary_log_loss_is_sklearns():
    loss, y, raw, weight = problem("binary_log_loss", {}, "binary")
    p = loss.inverse_link(raw)
    assert p.shape == (2, len(y))
    np.testing.assert_allclose(p[1], special.expit(raw[0]), rtol=1e-14)
    np.testing.assert_allclose(p.sum(axis=0), 1, rtol=1e-15)
    assert loss.mean(y, raw, weight) == pytest.approx(log_loss(y, special.expit(raw[0]), sample_weight=weight))
    gradient, hessian, _ = derivatives(loss, y, raw)
    np.testing.assert_allclose(gradient[0], special.expit(raw[0]) - y, rtol=1e-6, atol=1e-8)
    np.testing.assert_allclose(hessian[0], special.expit(raw[0]) * special.expit(-raw[0]), rtol=1e-6)


def test_confident_binary_predictions_keep_their_digits():
    raw = np.linspace(-80, 80, 321)[None, :]
    for target in (0.0, 1.0):
        gradient, hessian, _ = derivatives(BinaryLogLoss(), np.full(321, target), raw)
        exact = special.expit(raw[0]) if target == 0 else -special.expit(-raw[0])
        np.testing.assert_allclose(gradient[0], exact, rtol=1e-6)
        np.testing.assert_allclose(hessian[0], special.expit(raw[0]) * special.expit(-raw[0]), rtol=1e-6)


@pytest.mark.parametrize("n_classes", [2, 3, 11])
def test_multinomial_log_loss_is_sklearns(n_classes):
    loss, y, raw, weight = problem("multinomial_log_loss", {"n_classes": n_classes}, "classes")
    p = special.softmax(raw, axis=0)
    np.testing.assert_allclose(loss.inverse_link(raw), p, rtol=1e-13)
    assert loss.mean(y, raw, weight) == pytest.approx(
        log_loss(y, p.T, sample_weight=weight, labels=np.arange(n_classes))
    )
    gradient, hessian, _ = derivatives(loss, y, raw)
    np.testing.assert_allclose(gradient, p - (y == np.arange(n_classes)[:, None]), rtol=1e-5, atol=1e-7)
    np.testing.assert_allclose(hessian, p * (1 - p), rtol=1e-5, atol=1e-9)
    assert loss.init_raw(y, weight).sum() == pytest.approx(0, abs=1e-12)


def test_two_classes_multinomial_is_binary_with_half_the_odds():
    y = np.random.default_rng(0).integers(0, 2, 50).astype(float)
    raw = np.random.default_rng(1).standard_normal((1, 50))
    halves = np.concatenate([-raw / 2, raw / 2])
    np.testing.assert_allclose(
        MultinomialLogLoss(2).values(y, halves), BinaryLogLoss().values(y, raw), rtol=1e-12, atol=1e-15
    )


def test_exponential():
    x = np.concatenate([np.linspace(-708, 709, 100_001), np.random.default_rng(0).standard_normal(10_000), [0.0, -0.0]])
    np.testing.assert_allclose(_loops.exponential(x), np.exp(x), rtol=4e-16)
    assert _loops.exponential(np.zeros(1))[0] == 1.0
    far = _loops.exponential(np.array([-1e308, -np.inf, 1e308, np.inf]))  # clamped to the normal numbers
    assert (far[:2] < 1e-307).all() and (far[2:] > 1e307).all() and np.isfinite(far).all()
    assert _loops.exponential(np.empty(0)).shape == (0,)
    grid = np.arange(12.0).reshape(3, 4)[:, ::2]
    np.testing.assert_allclose(_loops.exponential(grid), np.exp(grid), rtol=4e-16)
    assert grid[0, 1] == 2.0  # the argument is left alone


# ---- the registry, and losses of one's own ---------------------------------------------------------------------------


@pytest.fixture
def registry(monkeypatch):
    """A registry that a test may change."""
    monkeypatch.setattr(losses_base, "_REGISTRY", dict(losses_base._REGISTRY))


def test_registry_errors(registry):
    with pytest.raises(ValueError, match=r"'no_such_loss' is not registered; known are \[.*'squared_error'"):
        get_loss("no_such_loss")
    with pytest.raises(ValueError, match="Nameless needs a name"):

        @register
        class Nameless(Loss):
            pass

    with pytest.raises(ValueError, match="'squared_error' is registered already: SquaredError"):

        @register
        class Taken(Loss):
            name = "squared_error"

    assert get_loss("squared_error").__class__ is SquaredError
    assert register(SquaredError) is SquaredError  # the same class again is fine
    registered_losses().clear()
    assert get_loss("squared_error")  # a copy was cleared


def test_base_class_asks_for_its_parts():
    with pytest.raises(NotImplementedError):
        Loss().init_raw(np.zeros(1), None)
    with pytest.raises(NotImplementedError):
        Loss().renew_leaves(
            np.zeros(1), np.zeros((1, 1)), None, 0, RowsByLeaf(np.zeros(1, np.uint32), np.array([0, 1]))
        )
    with pytest.raises(NotImplementedError):
        Loss().values(np.zeros(1), np.zeros((1, 1)))
    with pytest.raises(NotImplementedError):
        Loss().gradients(np.zeros(1), np.zeros((1, 1)), None, GradientPairs.empty(1, 1, None))


class LogCosh(Loss):
    """log cosh(raw - y): what a user writes."""

    name = "log_cosh"

    def gradients(self, y, raw, weight, out, n_threads=1):
        t = np.tanh(raw[0] - y)
        w = 1.0 if weight is None else weight
        out.fill(0, w * t, w * (1 - t**2) + 1e-6)

    def values(self, y, raw):
        return np.logaddexp(raw[0] - y, y - raw[0]) - np.log(2)


def test_a_loss_of_ten_lines_trains():
    rng = np.random.default_rng(0)
    X = rng.random((2000, 4))
    y = np.sin(6 * X[:, 0]) + X[:, 1] + 0.1 * rng.standard_normal(2000)
    X[rng.random(X.shape) < 0.05] = np.nan
    loss = LogCosh()
    for weight in (None, rng.random(2000)):
        model = BoostGradRegressor(loss=loss, n_estimators=60, early_stopping=False, random_state=0)
        model.fit(X, y, sample_weight=weight)
        before = loss.mean(y, np.full((1, 2000), np.median(y)), weight)
        assert loss.mean(y, model.predict(X)[None, :], weight) < 0.2 * before


def test_a_constant_hessian_of_ones_own_gives_the_built_in_model(registry):
    class Half(Loss):
        name = "half_squared_error"
        constant_hessian = 1.0

        def init_raw(self, y, weight, offset=None):
            return np.array([np.average(y, weights=weight)])

        def gradients(self, y, raw, weight, out, n_threads=1):
            w = 1.0 if weight is None else weight
            out.fill(0, w * (raw[0] - y), None if weight is None else weight)

        def values(self, y, raw):
            return 0.5 * (raw[0] - y) ** 2

    rng = np.random.default_rng(0)
    X, y = rng.random((500, 3)), rng.standard_normal(500)
    for weight in (None, rng.random(500)):
        own = BoostGradRegressor(loss=Half(), n_estimators=10, random_state=0).fit(X, y, sample_weight=weight)
        built_in = BoostGradRegressor(n_estimators=10, random_state=0).fit(X, y, sample_weight=weight)
        np.testing.assert_array_equal(own.predict(X), built_in.predict(X))


class Absolute(Loss):
    """|raw - y|, whose leaves must be renewed."""

    smooth = False
    constant_hessian = 1.0

    def gradients(self, y, raw, weight, out, n_threads=1):
        w = 1.0 if weight is None else weight
        out.fill(0, w * np.sign(raw[0] - y), w * np.ones(len(y)))

    def values(self, y, raw):
        return np.abs(raw[0] - y)

    def renew_leaves(self, y, raw, weight, output, leaves, n_threads=1):
        return np.array([np.median(y[rows] - raw[output, rows]) for rows in leaves])


@pytest.mark.parametrize("bound", [0.0, 0.2])
@pytest.mark.parametrize("n_leaves", [31, None])
def test_renewed_leaves_are_those_of_the_model(bound, n_leaves):
    rng = np.random.default_rng(0)
    X = rng.random((3000, 4))
    y = np.sin(6 * X[:, 0]) + X[:, 1] + rng.standard_cauchy(3000) * 0.1
    model = BoostGradRegressor(
        loss=Absolute(), n_estimators=5, max_delta_step=bound, max_leaf_nodes=n_leaves, early_stopping=False
    ).fit(X, y)
    raw = np.full(len(y), model.ensemble_.base_score[0])
    assert raw[0] == pytest.approx(np.median(y), abs=1e-3)
    for leaf, tree in zip(model.apply(X).T, model.ensemble_.trees, strict=True):
        for number in range(tree.n_leaves):
            step = np.median((y - raw)[leaf == number])
            if bound:
                step = np.clip(step, -bound, bound)
            assert tree.leaf_value[number, 0] == 0.1 * step
        raw += tree.leaf_value[leaf, 0]
    np.testing.assert_array_equal(model.predict(X), raw)


def test_a_tree_of_one_leaf_is_renewed():
    y = np.array([0.0, 1, 5, 6, 1000])
    model = BoostGradRegressor(loss=Absolute(), n_estimators=2, learning_rate=1.0, early_stopping=False)
    np.testing.assert_allclose(model.fit(np.zeros((5, 1)), y).predict(np.zeros((1, 1))), 5, atol=1e-9)


def test_what_a_loss_prepares_is_its_target():
    class Prepared(LogCosh):
        def prepare(self, y, weight, groups=None):
            assert groups is None
            return [*zip(y.tolist(), [1.0] * len(y) if weight is None else weight.tolist(), strict=True)]

        def gradients(self, y, raw, weight, out, n_threads=1):
            super().gradients(np.array([row[0] for row in y]), raw, weight, out, n_threads)

        def values(self, y, raw):
            return super().values(np.array([row[0] for row in y]), raw)

    rng = np.random.default_rng(0)
    X, y = rng.random((300, 3)), rng.standard_normal(300)
    for stop in (False, True):
        models = [
            BoostGradRegressor(loss=loss, n_estimators=5, early_stopping=stop, random_state=0).fit(X, y)
            for loss in (LogCosh(), Prepared())
        ]
        np.testing.assert_array_equal(models[0].predict(X), models[1].predict(X))


@pytest.mark.parametrize("bad", [np.array([1.0, 2.0]), np.array([np.nan]), np.array(1.0)])
def test_an_impossible_constant_is_reported(bad):
    class Broken(LogCosh):
        def init_raw(self, y, weight, offset=None):
            return bad

    with pytest.raises(ValueError, match="init_raw of loss 'log_cosh' must give 1 finite number"):
        BoostGradRegressor(loss=Broken()).fit(np.arange(100.0)[:, None], np.arange(100.0))


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("where", ["gradient", "hessian"])
def test_a_loss_that_is_not_finite_is_reported(bad, where):
    class Broken(LogCosh):
        def gradients(self, y, raw, weight, out, n_threads=1):
            gradient, hessian = raw[0] - y, np.ones(len(y))
            (gradient if where == "gradient" else hessian)[7] = bad
            out.fill(0, gradient, hessian)

    X = np.arange(100.0)[:, None]
    with pytest.raises(ValueError, match=rf"{where} of loss .* row 7"), np.errstate(invalid="ignore"):
        BoostGradRegressor(loss=Broken(), n_estimators=2, early_stopping=False).fit(X, X[:, 0])


@pytest.mark.parametrize("output", [0, 1, 2])
def test_fill_stores_and_bounds(output):
    pairs = GradientPairs.empty(3, 4, None)
    pairs.fill(output, np.array([1.0, -5, 2, 0]), np.array([1.0, 2, 3, 0]))
    np.testing.assert_array_equal(pairs.pairs[output], [[1, 1], [-5, 2], [2, 3], [0, 0]])
    assert pairs.largest[output].tolist() == [5, 3] and pairs.largest.sum() == 8 and pairs.n_rows == 4
    constant = GradientPairs.empty(3, 4, 2.0)
    constant.fill(output, np.array([1.0, -5, 2, 0]), None)
    np.testing.assert_array_equal(constant.pairs[output, :, 0], [1, -5, 2, 0])
    assert constant.largest[output, 0] == 5


# Hessians of three blocks of rows, where None is an array of them.
HESSIANS_OF_BLOCKS = {
    "one number": (5.0, 5.0, 5.0),
    "another number": (0.5, 0.5, 0.5),
    "two numbers": (5.0, 0.5, 5.0),
    "arrays": (None, None, None),
    "a number and arrays": (5.0, None, None),
    "no good number": (0.0, 0.0, 0.0),
}


@pytest.mark.parametrize("n_outputs", [1, 2])
@pytest.mark.parametrize("before", HESSIANS_OF_BLOCKS)
@pytest.mark.parametrize("after", HESSIANS_OF_BLOCKS)
def test_blocks_of_rows_are_stored_as_all_rows_at_once(n_outputs, before, after, seed):
    """Whether the hessians are one number is known after the last block, whatever they were an iteration before."""
    rng = np.random.default_rng(seed)
    pairs = GradientPairs.empty(n_outputs, 100, None)
    pairs.room = pairs.pairs
    for kind in (before, after):
        gradient, of_all, filled = rng.standard_normal((n_outputs, 100)), rng.random((n_outputs, 100)), []
        pairs.largest[:] = 0
        for number, (begin, end) in zip(HESSIANS_OF_BLOCKS[kind], ((55, 100), (0, 30), (30, 55)), strict=True):
            rows = slice(begin, end)
            if number is not None:
                of_all[:, rows] = number
            hessian = of_all[:, rows] if number is None else number
            filled.append((rows, pairs.fill_rows(rows, gradient[:, rows], hessian)))
        pairs.settle_rows(filled)
        constant = {"one number": 5.0, "another number": 0.5}.get(kind)
        assert pairs.constant_hessian == constant and pairs.pairs.shape == (n_outputs, 100, 1 if constant else 2)
        np.testing.assert_array_equal(pairs.pairs[:, :, 0], gradient)
        np.testing.assert_array_equal(pairs.largest[:, 0], np.abs(gradient).max(axis=1))
        if constant is None:
            np.testing.assert_array_equal(pairs.pairs[:, :, 1], of_all)
            np.testing.assert_array_equal(pairs.largest[:, 1], of_all.max(axis=1))


@all_losses
@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("n", [1, 7, 64, 65, 300, BLOCK, BLOCK + 1])
def test_the_mean_is_that_of_the_values(name, parameters, kind, weighted, n):
    """Also where a loop adds them up: for any number of threads and on any instruction set the same bits."""
    loss, y, raw, weight = problem(name, parameters, kind, max(n, loss_outputs(parameters)), scale=4.0)
    weight = weight if weighted else None
    found = loss.mean(y, raw, weight)
    assert found == pytest.approx(np.average(loss.values(y, raw), weights=weight), rel=1e-12, abs=1e-15)
    assert loss.mean(y, raw, weight, n_threads=3) == found
    before = native.isa()
    try:
        for isa in native.available_isas():
            native.use_isa(isa)
            assert loss.mean(y, raw, weight) == found, isa
    finally:
        native.use_isa(before)


def loss_outputs(parameters):
    return parameters.get("n_classes", 1)


@pytest.mark.parametrize("n_levels", [1, 2, 3, 19, 32, 33])
def test_the_mean_of_quantiles_is_that_of_sorted_ones(n_levels, seed):
    rng = np.random.default_rng(seed)
    loss = Quantiles(np.linspace(0.05, 0.95, n_levels))
    y, raw, weight = rng.standard_normal(1000), rng.standard_normal((n_levels, 1000)), rng.random(1000)
    assert (loss.summed == "quantiles") == (n_levels <= 32)
    for w in (None, weight):
        assert loss.mean(y, raw, w) == pytest.approx(np.average(loss.values(y, raw), weights=w), rel=1e-13)


@pytest.mark.parametrize("raw", [0.0, 30.0, -30.0, 800.0, -800.0])
def test_the_mean_log_loss_is_right_far_out(raw):
    loss, expected = get_loss("binary_log_loss"), np.logaddexp(0.0, raw)
    for y in (0.0, 1.0):
        assert loss.mean(np.full(3, y), np.full((1, 3), raw), None) == pytest.approx(expected - y * raw, rel=1e-12)
    of_classes = get_loss("multinomial_log_loss", n_classes=2)
    found = of_classes.mean(np.zeros(3), np.array([[0.0] * 3, [raw] * 3]), None)
    assert found == pytest.approx(expected, rel=1e-12, abs=1e-15)


@pytest.mark.parametrize("dtype", [np.uint8, np.float32, np.float64])
def test_the_mean_of_small_targets(dtype, seed):
    rng = np.random.default_rng(seed)
    y, raw = rng.integers(0, 3, 20_000), rng.standard_normal((3, 20_000))
    for loss, of_loss in ((get_loss("squared_error"), raw[:1]), (get_loss("multinomial_log_loss", n_classes=3), raw)):
        expected = np.average(loss.values(y.astype(float), of_loss))
        assert loss.mean(y.astype(dtype), of_loss, None, n_threads=2) == pytest.approx(expected, rel=1e-12)


def test_values_that_are_overridden_are_those_that_are_averaged():
    class Doubled(type(get_loss("squared_error"))):
        def values(self, y, raw):
            return 2 * super().values(y, raw)

    y, raw = np.arange(5.0), np.zeros((1, 5))
    assert Doubled().mean(y, raw, None) == 2 * get_loss("squared_error").mean(y, raw, None) == 6.0


def test_pairs_in_units_of_their_mean_hessian():
    gradient, hessian, weight = np.array([[3.0, -1], [8, 2]]), np.array([[1e-9, 3e-9], [1, 1]]), np.array([1.0, 3])
    pairs = GradientPairs.empty(2, 2, None)
    pairs.fill_all(weight * gradient, weight * hessian)
    pairs.settle_unit(0, weight)  # 2.5e-9
    assert pairs.hessian_unit == pytest.approx([2.5e-9, 1], rel=1e-12)
    pairs.of_outputs(slice(1, 2)).to_units(weight)
    np.testing.assert_array_equal(pairs.pairs[1, :, 0], [8, 6])
    pairs.to_units(weight)
    np.testing.assert_allclose(pairs.pairs[0], np.array([[3, 1e-9], [-3, 9e-9]]) / 2.5e-9, rtol=1e-12)
    np.testing.assert_allclose(pairs.largest[0], np.array([3, 9e-9]) / 2.5e-9, rtol=1e-12)
    pairs.fill(1, np.zeros(2), np.zeros(2))
    pairs.settle_unit(1, None)
    assert pairs.hessian_unit[1] == 1  # of nothing


@pytest.mark.parametrize("weighted", [False, True])
def test_pairs_in_units_of_a_typical_hessian(weighted, seed):
    rng = np.random.default_rng(seed)
    n = 2 * BLOCK + 100
    hessian, w = 1e-6 * np.exp(rng.standard_normal(n)), rng.random(n) * rng.integers(0, 2, n)
    w, weight = (w, w) if weighted else (np.ones(n), None)

    def unit(hessian):
        pairs = GradientPairs.empty(1, n, None)
        pairs.fill(0, np.zeros(n), w * hessian)
        pairs.settle_unit(0, weight, typical=True)
        return pairs.hessian_unit[0]

    assert unit(hessian) == pytest.approx(np.average(hessian**-0.5, weights=w) ** -2)
    assert unit(np.ones(n)) == 1  # to the bit
    assert unit(np.zeros(n)) == unit(np.full(n, np.nan)) == 1
    some = w > 0
    assert unit(np.where(np.cumsum(some) <= 0.1 * some.sum(), 1.0, hessian)) < 3 * unit(hessian)  # rows on target
    assert unit(np.where(np.arange(n) == 7, 1e-12, hessian)) > 0.8 * unit(hessian)  # an outlier


@pytest.mark.parametrize("weighted", [False, True])
def test_pairs_of_rows_that_weigh_by_the_root_of_their_hessian(weighted, seed):
    rng = np.random.default_rng(seed)
    n = BLOCK + 100
    gradient, hessian, w = rng.standard_normal(n), np.exp(rng.standard_normal(n)) * 1e-6, rng.integers(0, 3, n) * 1.0
    w = w if weighted else np.ones(n)
    pairs = GradientPairs.empty(1, n, None)
    pairs.fill(0, w * gradient, w * hessian)
    pairs.settle_unit(0, w if weighted else None, by_row=True)
    unit = pairs.hessian_unit[0]
    assert np.average(hessian, weights=w) == pytest.approx(unit)
    pairs.to_units(w if weighted else None)
    expected = w[:, None] * np.column_stack([gradient, hessian]) / np.sqrt(unit * hessian)[:, None]
    np.testing.assert_allclose(pairs.pairs[0], expected, rtol=1e-12)
    np.testing.assert_array_equal(pairs.largest[0], np.abs(pairs.pairs[0]).max(axis=0))


@pytest.mark.parametrize(("name", "parameters", "kind"), ALL)
@pytest.mark.parametrize("dtype", [np.uint8, np.float32])
def test_small_targets_are_the_same_targets(name, parameters, kind, dtype):
    loss, y, raw, weight = problem(name, parameters, kind, n=40_000)
    if not loss.small_targets:
        return
    y = np.round(np.abs(y))
    np.testing.assert_array_equal(loss.init_raw(y.astype(dtype), weight), loss.init_raw(y, weight))
    np.testing.assert_array_equal(loss.values(y.astype(dtype), raw), loss.values(y, raw))
    for n_threads in (1, 3):
        small = derivatives(loss, y.astype(dtype), raw, weight, n_threads)
        for a, b in zip(small[:2], derivatives(loss, y, raw, weight)[:2], strict=True):
            np.testing.assert_array_equal(a, b)


@pytest.mark.parametrize("n_classes", [1, 7, 8, 9, 300])
@pytest.mark.parametrize("n_rows", [0, 1, 63, 64, 200])
def test_softmax_of_parts_of_a_table(n_classes, n_rows):
    """A slice of the rows, numbers that overflow without their largest, and any instruction set."""
    table = 900.0 * np.random.default_rng(n_rows).standard_normal((n_classes, n_rows + 5))
    before, found = native.isa(), []
    try:
        for isa in native.available_isas():
            native.use_isa(isa)
            raw = table[:, 3 : 3 + n_rows]
            p, (top, total) = _loops.softmax(raw), _loops.softmax_sums(raw)
            found.append(p.tobytes() + top.tobytes() + total.tobytes())
    finally:
        native.use_isa(before)
    assert len(set(found)) == 1 and p.shape == raw.shape
    if n_rows:
        np.testing.assert_allclose(p, special.softmax(raw, axis=0), rtol=1e-12, atol=1e-300)
        np.testing.assert_array_equal(top, raw.max(axis=0))
        np.testing.assert_allclose(top + np.log(total), special.logsumexp(raw, axis=0), rtol=1e-14)
    np.testing.assert_array_equal(_loops.softmax(np.asfortranarray(raw)), p)


# ---- the way back from predictions -----------------------------------------------------------------------------------

FURTHER = {
    "normal_nll": {},
    "lognormal_nll": {},
    "gamma_nll": {},
    "poisson_nll": {},
    "negative_binomial_nll": {},
    "multi_output": {"loss": "poisson", "n_outputs": 2},
    "quantiles": {"quantiles": [0.1, 0.5, 0.9]},
    "lambdarank": {},
    "rank_map": {},
    "pairwise": {},
    "xendcg": {},
    "yetirank": {},
    "cox": {},
    "aft": {},
}


@pytest.mark.parametrize(
    "loss",
    [get_loss(name, **parameters) for name, parameters, _ in ALL]
    + [get_loss(name, **parameters) for name, parameters in FURTHER.items()],
    ids=repr,
)
def test_raw_of_is_the_way_back_from_predictions(loss, seed):
    raw = np.random.default_rng(seed).uniform(-2, 2, (loss.n_outputs, 50))
    predictions = loss.inverse_link(raw)
    back = loss.raw_of(predictions)
    assert back.shape == raw.shape and back.dtype == np.float64
    expected = predictions * np.exp(0.5) if loss.name == "lognormal_nll" else predictions  # medians, of a variance of 1
    np.testing.assert_allclose(loss.inverse_link(back), expected, rtol=1e-9)
    if loss.name.endswith("_nll"):
        np.testing.assert_array_equal(back[1:], 0)
    extreme = loss.raw_of(np.array([0.0, 1.0, -5.0, 5.0] * len(predictions)).reshape(-1, 4))
    assert np.isfinite(extreme).all()


def test_all_losses_are_asked_for_the_way_back():
    ours = {name for name, cls in registered_losses().items() if cls.__module__.startswith("boostgrad.")}
    assert ours == set(CASES) | set(FURTHER) | {"unnamed"}


def test_a_link_that_nobody_knows_has_no_way_back():
    class Cloglog(SquaredError):
        link = "cloglog"

    with pytest.raises(ValueError, match=r"the link 'cloglog' of Cloglog\(\) is none of 'identity', .*; give.*offset"):
        Cloglog().raw_of(np.ones((1, 3)))
    with pytest.raises(ValueError, match=r"inverse_link of CallableLoss\(<lambda>\) is a function.*offset"):
        CallableLoss(lambda *_: None, inverse_link=np.exp).raw_of(np.ones((1, 3)))


# ---- losses that lack something ----------------------------------------------------------------------------------


class Lacking(Loss):
    """Half of the squared error, of which subclasses leave something out."""

    def gradients(self, y, raw, weight, out, n_threads=1):
        out.fill(0, raw[0] - y, np.ones(len(y)))

    def values(self, y, raw):
        return 0.5 * (raw[0] - y) ** 2


class Idle(Lacking):
    def gradients(self, y, raw, weight, out, n_threads=1):
        pass


class HalfDone(Lacking):
    n_outputs = 2


class IdleFromZero(Idle):
    def init_raw(self, y, weight, offset=None):
        return np.zeros(1)


class Flat(Lacking):
    smooth = False


class WithoutValues(Lacking):
    values = Loss.values


class TooFewValues(Lacking):
    def values(self, y, raw):
        return np.mean(super().values(y, raw))


class Complex(Lacking):
    def gradients(self, y, raw, weight, out, n_threads=1):
        out.fill(0, (raw[0] - y) * 1j, np.ones(len(y)))


@pytest.mark.parametrize(
    ("loss", "error", "words"),
    [
        (Loss(), NotImplementedError, r"Loss.gradients is missing: a loss must have this method\."),
        (
            Idle(),
            ValueError,
            r"Idle.gradients must fill `out` for all rows and 1 output\(s\): it left out the gradient",
        ),
        (IdleFromZero(), ValueError, "IdleFromZero.gradients must fill .* the gradient of output 0 at training row 0"),
        (HalfDone(), ValueError, "HalfDone.gradients must fill .* the gradient of output 1 at training row 0"),
        (Flat(), NotImplementedError, "Flat.renew_leaves is missing: .* where smooth is False"),
        (WithoutValues(), NotImplementedError, "WithoutValues.values is missing: .* where rows are held out"),
        (TooFewValues(), ValueError, r"values of TooFewValues\(\) must be the loss of each row.* Got the shape \(\)"),
        (Complex(), TypeError, "the gradient of a loss must hold real numbers. Got complex128"),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, Loss) else "",
)
@pytest.mark.parametrize("n_targets", [1, 2])
def test_what_a_loss_lacks_is_named(loss, error, words, n_targets):
    rng = np.random.default_rng(0)
    X, y = rng.random((100, 2)), rng.random((100, n_targets))
    if isinstance(loss, HalfDone):  # which is of one target
        y = y[:, :1]
    elif n_targets == 2:
        words = words.replace("IdleFromZero", "MultiOutput").replace("1 output", "[12] output")
    with pytest.raises(error, match=words):
        BoostGradRegressor(loss, early_stopping=True).fit(X, y if y.shape[1] == 2 else y[:, 0])
