"""Likelihoods: derivatives, information, and the distributions that come out."""

import pickle

import numpy as np
import pytest
from scipy.special import gammaln

from boostgrad import BoostGradRegressor, native
from boostgrad.losses import get_loss
from boostgrad.losses.distributions import GammaNLL, NormalNLL, _log_factorial
from boostgrad.losses.pairs import BLOCK
from tests import reference

# name, and raw predictions
CASES = [
    ("normal_nll", [1.0, 0.5]),
    ("lognormal_nll", [0.3, -0.4]),
    ("gamma_nll", [1.0, 0.7]),
    ("gamma_nll", [-2.0, -1.0]),
    ("poisson_nll", [1.0]),
    ("negative_binomial_nll", [1.0, 0.5]),
    ("negative_binomial_nll", [4.0, -1.0]),
    ("negative_binomial_nll", [5.0, 3.0]),
]
NAMES = sorted({name for name, _ in CASES})


def sample(name, raw, n, seed=0):
    loss = get_loss(name)
    raw = np.repeat(np.array(raw)[:, None], n, axis=1)
    y = loss.distribution(raw).rvs(random_state=seed, size=n).astype(float)
    return loss, raw, y, loss.prepare(y, None)


def derivatives(loss, y, raw):
    """Of a loss with a kernel, the twin's."""
    if isinstance(loss, NormalNLL):
        return reference.normal_derivatives(y, raw)
    return reference.gamma_derivatives(y, raw) if isinstance(loss, GammaNLL) else loss.derivatives(y, raw)


@pytest.mark.parametrize(("name", "raw"), CASES)
def test_values_are_those_of_scipy(name, raw):
    loss, raw, y, prepared = sample(name, raw, 300)
    frozen = loss.distribution(raw)
    density = frozen.logpmf if "poisson" in name or "binomial" in name else frozen.logpdf
    np.testing.assert_allclose(loss.values(prepared, raw), -density(y), rtol=1e-9, atol=1e-9)
    np.testing.assert_allclose(loss.inverse_link(raw)[0], frozen.mean(), rtol=1e-9)


@pytest.mark.parametrize(("name", "raw"), CASES)
def test_scores_are_derivatives(name, raw):
    loss, raw, _, y = sample(name, raw, 300)
    score = derivatives(loss, y, raw)[0]
    for k in range(loss.n_outputs):
        step = np.zeros_like(raw)
        step[k] = 1e-5
        difference = (loss.values(y, raw + step) - loss.values(y, raw - step)) / 2e-5
        np.testing.assert_allclose(score[k], difference, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize(("name", "raw"), CASES)
def test_information_is_the_variance_of_the_score(name, raw):
    loss, raw, _, y = sample(name, raw, 200_000)
    score, information = derivatives(loss, y, raw)
    score, expected = np.stack(score), np.array([np.broadcast_to(i, len(y))[0] for i in information])
    found = score @ score.T / score.shape[1]
    scale = np.sqrt(np.outer(expected, expected))
    np.testing.assert_allclose(found / scale, np.eye(len(expected)), atol=0.03)


@pytest.mark.parametrize("n", [500, BLOCK, BLOCK + 7])
@pytest.mark.parametrize(("name", "raw"), CASES)
def test_gradients_and_hessians(name, raw, n):
    """Of whole tables, though they are made block by block."""
    rng = np.random.default_rng(1)
    loss, raw, _, y = sample(name, raw, n)
    raw += 0.2 * rng.standard_normal(raw.shape)
    for weight in (None, rng.random(n)):
        pairs, w = loss.pairs(n, weighted=True), 1.0 if weight is None else weight
        loss.gradients(y, raw, weight, pairs)
        slopes, informations = derivatives(loss, y, raw)
        np.testing.assert_allclose(pairs.pairs[:, :, 0], w * np.stack(slopes), rtol=1e-12, atol=1e-13)
        for k in range(loss.n_outputs):
            hessian = np.maximum(informations[k], np.abs(slopes[k])) if k > 0 else informations[k]
            np.testing.assert_allclose(pairs.pairs[k, :, 1], w * hessian, rtol=1e-12)
        np.testing.assert_array_equal(pairs.largest, np.abs(pairs.pairs).max(axis=1))
        assert all((unit == 1) == is_log for unit, is_log in zip(pairs.hessian_unit, loss.log_outputs, strict=True))


def test_gamma_of_all_shapes_and_means():
    """Gradients are differences of numbers of the size of k, and of k log k where that is small."""
    log_k, log_mean = (x.ravel() for x in np.meshgrid(np.linspace(-15, 15, 301), np.linspace(-200, 200, 41)))
    for log_ratio in (-600.0, -30.0, -1.0, -1e-9, 0.0, 1e-9, 1.0, 8.0):
        raw, y = np.stack([log_mean, log_k]), np.exp(np.clip(log_mean + log_ratio, -700, 700))
        pairs = get_loss("gamma_nll").pairs(len(y), weighted=True)
        get_loss("gamma_nll").gradients(y, raw, None, pairs)
        slopes, informations = reference.gamma_derivatives(y, raw)
        for k, (slope, information) in enumerate(zip(slopes, informations, strict=True)):
            near = 1e-13 * np.exp(log_k) * (1 + np.abs(np.log(y) - log_mean) + np.abs(slope) / np.exp(log_k))
            assert (np.abs(pairs.pairs[k, :, 0] - slope) <= near + 1e-13 * np.abs(slope)).all()
            hessian = np.maximum(information, np.abs(pairs.pairs[k, :, 0])) if k else information
            np.testing.assert_allclose(pairs.pairs[k, :, 1], hessian, rtol=1e-9)


def test_log_factorials_are_those_of_scipy():
    for y in (np.arange(5.0), np.arange(1024.0), np.arange(1025.0), np.array([1e6, 0.0]), np.empty(0)):
        np.testing.assert_array_equal(_log_factorial(y), gammaln(y + 1))


@pytest.mark.parametrize(("name", "raw"), CASES)
def test_the_start_is_about_the_truth(name, raw):
    loss, raw, _, y = sample(name, raw, 100_000)
    np.testing.assert_allclose(loss.init_raw(y, None), raw[:, 0], atol=0.05)


@pytest.mark.parametrize("name", NAMES)
def test_training(name, tmp_path):
    rng = np.random.default_rng(2)
    X = rng.random((2000, 3))
    loss = get_loss(name)
    truth = np.stack([1 + X[:, 0], X[:, 1] - 0.5][: loss.n_outputs])
    y = loss.distribution(truth).rvs(random_state=3, size=2000).astype(float)
    small = {"loss": name, "n_estimators": 60, "max_leaf_nodes": 5, "random_state": 0}
    for strategy in ("one_output_per_tree", "multi_output_tree"):
        model = BoostGradRegressor(multi_strategy=strategy, **small).fit(X, y)
        frozen = model.predict_distribution(X)
        np.testing.assert_allclose(model.predict(X), frozen.mean(), rtol=1e-9)
        assert model.predict(X).shape == (2000,) and model.predictor()(X[0]) == pytest.approx(model.predict(X[:1])[0])
        prepared = loss.prepare(y, None)
        constant = np.repeat(model.ensemble_.base_score[:, None], 2000, axis=1)
        assert loss.mean(prepared, model._raw(X), None) < loss.mean(prepared, constant, None) - 0.02
        below = frozen.cdf(y) - (0.5 * frozen.pmf(y) if "poisson" in name or "binomial" in name else 0.0)
        assert abs(below.mean() - 0.5) < 0.03
        again = pickle.loads(pickle.dumps(model))
        np.testing.assert_array_equal(again.predict_distribution(X).std(), frozen.std())
        model.save(tmp_path / "model.bg")
        np.testing.assert_array_equal(BoostGradRegressor.load(tmp_path / "model.bg").predict(X), model.predict(X))


@pytest.mark.parametrize("name", ["poisson_nll", "negative_binomial_nll"])
@pytest.mark.parametrize("rate", [0.03, 0.3])
def test_means_of_rare_counts_add_up(name, rate):
    """As those of the "poisson" loss; steps that were bounded row by row lost 6%."""
    rng = np.random.default_rng(0)
    X = rng.standard_normal((20_000, 4))
    y = rng.poisson(rate * np.exp(0.4 * X[:, 0] - 0.08)).astype(float)
    settings = {"n_estimators": 30, "early_stopping": False, "random_state": 0}
    shares = [BoostGradRegressor(loss, **settings).fit(X, y).predict(X).sum() / y.sum() for loss in (name, "poisson")]
    assert abs(shares[0] - shares[1]) < 0.015 and abs(shares[0] - 1) < 0.03


@pytest.mark.parametrize("name", NAMES)
def test_hard_targets_stay_finite(name):
    rng = np.random.default_rng(4)
    X = rng.random((300, 2))
    counts = "poisson_nll" in name or "binomial" in name
    for y in (np.full(300, 3.0), np.where(X[:, 0] > 0.99, 1e6, 1.0), 1.0 + np.floor(rng.pareto(0.5, 300).clip(0, 1e7))):
        y = y if counts else y + (1e-9 if y.std() == 0 else 1e-3 * rng.random(300))
        model = BoostGradRegressor(loss=name, n_estimators=50, random_state=0).fit(X, y)
        assert np.isfinite(model._raw(X)).all() and np.isfinite(model.predict(X)).all()


def test_targets_outside_are_refused():
    X = np.zeros((40, 1))
    for name, bad in (("lognormal_nll", 0.0), ("gamma_nll", -1.0), ("poisson_nll", 0.5), ("negative_binomial_nll", -1)):
        y = np.ones(40)
        y[7] = bad
        with pytest.raises(ValueError, match=f"loss '{name}' needs a target that is .*; row 7 has {float(bad)}"):
            BoostGradRegressor(loss=name).fit(X, y)
    with pytest.raises(AttributeError, match="likelihood of a distribution"):
        BoostGradRegressor(n_estimators=1).fit(X, np.arange(40.0)).predict_distribution(X)


@pytest.mark.parametrize("name", NAMES)
def test_offsets(name):
    """A constant added to all raw predictions is taken off again."""
    rng = np.random.default_rng(5)
    X = rng.random((400, 2))
    loss = get_loss(name)
    y = loss.distribution(np.stack([X[:, 0], X[:, 1]][: loss.n_outputs])).rvs(random_state=6, size=400).astype(float)
    prepared = loss.prepare(y, None)
    shift = np.full((loss.n_outputs, 400), 0.3)
    np.testing.assert_allclose(
        loss.init_raw(prepared, None, shift) + 0.3, loss.init_raw(prepared, None, 0 * shift), atol=1e-3
    )


@pytest.mark.parametrize(("name", "raw"), [*CASES, ("gamma_nll", [3.0, -4.0]), ("gamma_nll", [3.0, 14.0])])
@pytest.mark.parametrize("weighted", [False, True])
def test_the_mean_is_that_of_the_values(name, raw, weighted):
    loss, raw, _, y = sample(name, raw, 1000)
    rng = np.random.default_rng(0)
    raw, weight = raw + 0.1 * rng.standard_normal(raw.shape), rng.random(1000) if weighted else None
    found = loss.mean(y, raw, weight)
    assert found == pytest.approx(np.average(loss.values(y, raw), weights=weight), rel=1e-12)
    assert loss.mean(y, raw, weight, n_threads=2) == found
    before = native.isa()
    try:
        for isa in native.available_isas():
            native.use_isa(isa)
            assert loss.mean(y, raw, weight) == found
    finally:
        native.use_isa(before)

    class Doubled(type(loss)):
        def values(self, y, raw):
            return 2 * super().values(y, raw)

    assert Doubled().mean(y, raw, weight) == pytest.approx(2 * found, rel=1e-12)
