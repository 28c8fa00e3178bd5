"""Survival losses: by their definitions, finite differences, and other libraries where they are installed."""

import numpy as np
import pytest
import reference
from scipy import stats

from boostgrad import native
from boostgrad.losses import AFT, Cox, get_loss, losses_of


def problem(n=60, seed=0, ties=True):
    """Bounds of times, some observed and some censored on the right; raw predictions; weights."""
    rng = np.random.default_rng(seed)
    time = rng.exponential(1.0, n) + 0.01
    if ties:
        time = np.ceil(time * 4) / 4
    event = rng.random(n) < 0.6
    event[0] = True
    return np.column_stack([time, np.where(event, time, np.inf)]), rng.standard_normal((1, n)), rng.random(n) + 0.1


def intervals(n=80, seed=0):
    """All kinds of censoring, in turns."""
    rng = np.random.default_rng(seed)
    lower = rng.exponential(1.0, n) + 0.05
    upper = lower * (1 + rng.random(n) * 3)
    kind = np.arange(n) % 4
    upper = np.where(kind == 0, lower, np.where(kind == 1, np.inf, upper))
    return np.column_stack([np.where(kind == 2, 0.0, lower), upper]), rng.standard_normal((1, n)), rng.random(n) + 0.1


def derivatives(loss, y, raw, weight=None, n_threads=1):
    pairs = loss.pairs(len(y), weighted=weight is not None)
    pairs.largest[:] = 0
    loss.gradients(loss.prepare(y, weight), raw, weight, pairs, n_threads)
    return pairs


AFTS = [AFT(d, s) for d in ("normal", "logistic", "extreme") for s in (0.7, 1.5)]
each_aft = pytest.mark.parametrize("loss", AFTS, ids=lambda loss: f"{loss.distribution}-{loss.scale}")


def test_all_are_here():
    assert set(losses_of("times")) == {"cox", "aft"}


# ---- Cox -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("ties", [False, True])
@pytest.mark.parametrize("weighted", [False, True])
def test_cox_is_efrons_partial_likelihood(ties, weighted):
    y, raw, weight = problem(ties=ties)
    weight = weight if weighted else None
    w = np.ones(len(y)) if weight is None else weight
    time, event = y[:, 0], np.isfinite(y[:, 1])
    loss, target = Cox(), Cox().prepare(y, weight)
    assert loss.mean(target, raw, weight) * w.sum() == pytest.approx(reference.efron(time, event, raw[0], w))
    pairs = derivatives(loss, y, raw, weight).pairs[0]
    for row in range(len(y)):
        steps = []
        for step in (-1e-3, 0, 1e-3):
            moved = raw[0].copy()
            moved[row] += step
            steps.append(reference.efron(time, event, moved, w))
        assert pairs[row, 0] == pytest.approx((steps[2] - steps[0]) / 2e-3, abs=1e-6)
        assert pairs[row, 1] == pytest.approx((steps[2] - 2 * steps[1] + steps[0]) / 1e-6, abs=1e-5)


def test_cox_does_not_depend_on_the_order_or_on_a_shift():
    y, raw, weight = problem(300)
    pairs = derivatives(Cox(), y, raw, weight).pairs[0]
    order = np.random.default_rng(1).permutation(len(y))
    moved = derivatives(Cox(), y[order], np.ascontiguousarray(raw[:, order]), weight[order]).pairs[0]
    np.testing.assert_allclose(moved, pairs[order], rtol=1e-10, atol=1e-13)
    np.testing.assert_allclose(derivatives(Cox(), y, raw + 1000, weight).pairs[0], pairs, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("size", [50.0, 700.0, 1e6])
def test_cox_extreme_predictions(size):
    y, raw, weight = problem(300)
    raw = np.where(raw > 0, size, -size)
    pairs = derivatives(Cox(), y, raw, weight)
    assert np.isfinite(pairs.pairs).all() and (pairs.pairs[0, :, 1] >= 0).all()


def test_cox_edge_cases():
    one = np.array([[2.0, 2.0]])
    assert not derivatives(Cox(), one, np.zeros((1, 1))).pairs.any()
    same = np.repeat([[2.0, 2.0]], 5, axis=0)  # all at one time
    np.testing.assert_allclose(derivatives(Cox(), same, np.zeros((1, 5))).pairs[0, :, 0], 0, atol=1e-15)
    censored = np.array([[1.0, np.inf], [2.0, 2.0]])  # censored before the only event: it says nothing
    assert not derivatives(Cox(), censored, np.zeros((1, 2))).pairs[0, 0].any()
    with pytest.raises(ValueError, match="at least one event"):
        Cox().check_target(np.array([[1.0, np.inf]]))
    with pytest.raises(ValueError, match=r"no intervals; row 1 has \[1.0, 2.0\]"):
        Cox().check_target(np.array([[1.0, 1.0], [1.0, 2.0]]))
    with pytest.raises(ValueError, match=r"row 0 has \[-1.0, -1.0\]"):
        Cox().check_target(np.array([[-1.0, -1.0]]))


def test_steps_of_cox_are_those_of_fixed_risk_sets():
    """A few rows have their event early, all others late: the first step of their leaf is about the logarithm of
    observed over expected events, where Newton's is that ratio."""
    rng = np.random.default_rng(0)
    early = np.arange(400) < 20
    time = np.where(early, rng.random(400), 1 + rng.random(400))
    y = np.column_stack([time, time])
    loss = Cox()
    target = loss.prepare(y, None)
    pairs = loss.pairs(400, weighted=False)
    loss.gradients(target, np.zeros((1, 400)), None, pairs)
    g, h = pairs.pairs[0, early].sum(axis=0)
    expected = early.sum() + g
    assert -g / h > 20
    assert loss.damp(np.array([-g / h]))[0] == pytest.approx(np.log(early.sum() / expected), rel=0.05)
    steps = np.array([-50.0, -1.5, -1.0, -0.3, 0.0, 1e-9])
    np.testing.assert_allclose(loss.damp(steps), [-1 - np.log(50), -1 - np.log(1.5), -1, -0.3, 0, 1e-9], rtol=1e-8)
    before = loss.mean(target, np.zeros((1, 400)), None)
    step = loss.damp(np.array([-g / h])) * early[None, :]
    assert loss.mean(target, step, None) < before


def test_breslows_baseline():
    y, raw, weight = problem()
    time, event = y[:, 0], np.isfinite(y[:, 1])
    loops = Cox().prepare(y, weight).loops
    power = weight * np.exp(raw[0])
    jumps = [weight[event & (time == t)].sum() / power[time >= t].sum() for t in loops.event_time]
    np.testing.assert_allclose(loops.baseline(raw[0]), np.cumsum(jumps), rtol=1e-12)


# ---- accelerated failure time ----------------------------------------------------------------------------------------


@each_aft
def test_aft_is_scipys_likelihood(loss):
    y, raw, _ = intervals()
    law = {"normal": stats.norm, "logistic": stats.logistic, "extreme": stats.gumbel_l}[loss.distribution]
    with np.errstate(divide="ignore"):
        low, high = ((np.log(y[:, k]) - raw[0]) / loss.scale for k in (0, 1))
    with np.errstate(divide="ignore", invalid="ignore"):
        density = law.logpdf(low) - np.log(loss.scale) - np.log(y[:, 0])
        expected = -np.where(y[:, 0] == y[:, 1], density, np.log(law.cdf(high) - law.cdf(low)))
    values, usable = loss.values(loss.prepare(y, None), raw), np.isfinite(expected)  # scipy's tails end earlier
    np.testing.assert_allclose(values[usable], expected[usable], rtol=1e-8)
    assert np.isfinite(values).all()
    with np.errstate(divide="ignore"):
        np.testing.assert_allclose(
            loss.survival(raw, np.array([0.0, 0.5, 2.0])),
            law.sf((np.log([0.0, 0.5, 2.0]) - raw[0][:, None]) / loss.scale),
            rtol=1e-9,
            atol=1e-300,
        )


@each_aft
@pytest.mark.parametrize("spread", [1.0, 3.0])
def test_aft_gradients_are_slopes(loss, spread):
    y, raw, weight = intervals(200)
    raw = raw * spread
    target = loss.prepare(y, None)
    pairs = derivatives(loss, y, raw, weight).pairs[0]
    values = [loss.values(target, raw + step) for step in (-1e-4, 0, 1e-4)]
    usable = np.abs(values[1]) < 1e3  # differences of larger numbers have no digits left
    np.testing.assert_allclose(
        (pairs[:, 0] / weight)[usable], ((values[2] - values[0]) / 2e-4)[usable], rtol=1e-5, atol=1e-6
    )
    np.testing.assert_allclose(
        (pairs[:, 1] / weight)[usable], ((values[2] - 2 * values[1] + values[0]) / 1e-8)[usable], rtol=1e-3, atol=3e-4
    )
    assert (pairs[:, 1] >= 0).all()


@each_aft
@pytest.mark.parametrize("size", [40.0, 800.0, 1e5])
def test_aft_extreme_predictions(loss, size):
    y, raw, _ = intervals()
    raw = np.where(raw > 0, size, -size)
    pairs = derivatives(loss, y, raw)
    assert np.isfinite(pairs.pairs).all() and (pairs.pairs[0, :, 1] >= 0).all()


@each_aft
def test_a_narrow_interval_is_an_observed_time(loss):
    raw = np.linspace(-2, 2, 41)[None, :]
    exact = derivatives(loss, np.ones((41, 2)), raw).pairs
    for width in (1e-9, 1e-5, 2e-4, 1e-3):
        narrow = np.column_stack([np.full(41, np.exp(-width / 2)), np.full(41, np.exp(width / 2))])
        np.testing.assert_allclose(derivatives(loss, narrow, raw).pairs, exact, rtol=1e-3, atol=1e-6)


@each_aft
def test_aft_constant_and_scale_are_the_best(loss):
    y, _, weight = intervals(400)
    target = loss.prepare(y, weight)
    best = loss.init_raw(target, weight)
    least = loss.mean(target, np.repeat(best[:, None], len(y), axis=1), weight)
    for step in (-0.05, 0.05):
        assert loss.mean(target, np.repeat(best[:, None] + step, len(y), axis=1), weight) > least
    raw = np.repeat(best[:, None], len(y), axis=1)
    better = loss.with_best_scale(target, raw, weight)
    assert better.mean(target, raw, weight) <= least
    for factor in (0.95, 1.05):
        other = AFT(loss.distribution, better.scale * factor)
        assert other.mean(target, raw, weight) > better.mean(target, raw, weight)


def test_bad_aft():
    with pytest.raises(ValueError, match="distribution must be one of"):
        AFT("cauchy")
    for scale in (0, "a", np.nan, np.inf):
        with pytest.raises(ValueError, match="scale of AFT must be a number in"):
            AFT(scale=scale)
    with pytest.raises(ValueError, match="times above 0.*row 1 has 0"):
        AFT().check_target(np.array([[1.0, 1.0], [0.0, 0.0]]))
    with pytest.raises(ValueError, match="from 0 to infinity nothing is known; row 0"):
        AFT().check_target(np.array([[0.0, np.inf]]))
    with pytest.raises(ValueError, match=r"row 0 has \[2.0, 1.0\]"):
        AFT().check_target(np.array([[2.0, 1.0]]))
    with pytest.raises(ValueError, match="a lower and an upper bound"):
        AFT().check_target(np.ones(3))


# ---- both ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "loss", [Cox(), *AFTS[::2]], ids=lambda loss: "-".join(map(str, [loss.name, *loss.parameters().values()]))
)
@pytest.mark.parametrize("weighted", [False, True])
def test_threads_and_instruction_sets_change_no_byte(loss, weighted):
    y, raw, weight = problem(10_001)
    weight = weight if weighted else None
    one = derivatives(loss, y, raw, weight)
    for n_threads in (2, 3, 5):
        many = derivatives(loss, y, raw, weight, n_threads)
        assert many.pairs.tobytes() == one.pairs.tobytes() and many.largest.tobytes() == one.largest.tobytes()
    used = native.isa()
    try:
        for isa in native.available_isas():
            native.use_isa(isa)
            assert derivatives(loss, y, raw, weight).pairs.tobytes() == one.pairs.tobytes()
    finally:
        native.use_isa(used)
    np.testing.assert_array_equal(one.largest[0], np.abs(one.pairs[0]).max(axis=0))
    raw[0, 5] = np.nan
    assert not np.isfinite(derivatives(loss, y, raw, weight).largest).all()
    assert get_loss(loss.name, **loss.parameters()).parameters() == loss.parameters()


def test_cox_is_lifelines():
    lifelines = pytest.importorskip("lifelines")
    pandas = pytest.importorskip("pandas")
    y, _, weight = problem(200)
    x = np.random.default_rng(5).standard_normal(200)
    frame = pandas.DataFrame({"x": x, "time": y[:, 0], "event": np.isfinite(y[:, 1])})
    fitted = lifelines.CoxPHFitter().fit(frame, "time", "event")
    raw = np.ascontiguousarray(fitted.params_["x"] * x)[None, :]
    assert Cox().values(Cox().prepare(y, None), raw).sum() == pytest.approx(-fitted.log_likelihood_, rel=1e-8)
    gradient = derivatives(Cox(), y, raw).pairs[0, :, 0]
    assert gradient @ x == pytest.approx(0, abs=1e-5)
    baseline = Cox().prepare(y, None).loops
    table = fitted.baseline_cumulative_hazard_.iloc[:, 0]
    centred = np.ascontiguousarray(raw[0] - fitted.params_["x"] * x.mean())  # lifelines centres
    np.testing.assert_allclose(baseline.baseline(centred), table[baseline.event_time], rtol=1e-6)
