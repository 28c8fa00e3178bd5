"""Metrics of numbers: scikit-learn's values, whatever the data, and what is refused."""

import numpy as np
import pytest
from sklearn.base import BaseEstimator, RegressorMixin
from sklearn.metrics import get_scorer

from boostgrad.metrics.numbers import NUMBER_METRICS, max_error, mean, median


class Answer(RegressorMixin, BaseEstimator):
    """Predicts what it was made with."""

    def __init__(self, prediction=None):
        self.prediction = prediction

    def fit(self, X, y):
        return self

    def predict(self, X):
        return self.prediction

    def __sklearn_is_fitted__(self):
        return True


def data(seed):
    """Targets and predictions that all metrics take, some of them equal, and weights, some of them 0."""
    rng = np.random.default_rng(seed)
    n = int(rng.integers(2, 60))
    y = rng.gamma(1.5, size=n) * 10.0 ** rng.integers(-2, 3) + 1e-3
    prediction = y * rng.gamma(2.0, 0.5, n) + 1e-3
    if seed % 2:
        y, prediction = np.ceil(y), np.ceil(prediction)
    weight = rng.integers(0, 4, n) * rng.choice([1.0, 0.37])
    weight[0] = 1.0
    return y, prediction, weight


@pytest.mark.parametrize("name", NUMBER_METRICS)
def test_values_are_scikit_learns(name):
    metric, scorer = NUMBER_METRICS[name], get_scorer(name)
    for seed in range(16):
        y, prediction, weight = data(seed)
        expected = scorer(Answer(prediction), y[:, None], y)
        assert metric(y, prediction, None) == pytest.approx(expected, rel=1e-10, abs=1e-12)
        assert metric(y.astype(np.float32).astype(float), prediction, None) == pytest.approx(
            expected, rel=1e-4, abs=1e-4
        )
        if name != "neg_max_error":  # to which scikit-learn gives no weights
            expected = scorer(Answer(prediction), y[:, None], y, sample_weight=weight)
            assert metric(y, prediction, weight) == pytest.approx(expected, rel=1e-10, abs=1e-12)


@pytest.mark.parametrize("name", NUMBER_METRICS)
def test_weights_are_repetition(name):
    for seed in range(1, 20, 2):
        y, prediction, _ = data(seed)
        times = np.random.default_rng(seed).integers(0, 4, len(y))
        times[0] = 2
        repeated = NUMBER_METRICS[name](y.repeat(times), prediction.repeat(times), None)
        assert NUMBER_METRICS[name](y, prediction, times.astype(float)) == pytest.approx(repeated, rel=1e-10)


def test_constant_targets_have_finite_scores():
    y, other = np.full(5, 2.0), np.arange(5.0)
    for name in ("r2", "explained_variance", "d2_absolute_error_score"):
        assert NUMBER_METRICS[name](y, y, None) == 1.0
        assert NUMBER_METRICS[name](y, other, None) == 0.0 == get_scorer(name)(Answer(other), y[:, None], y)


def test_a_single_row():
    y, prediction = np.array([2.0]), np.array([3.0])
    assert np.isnan([NUMBER_METRICS[name](y, prediction, None) for name in ("r2", "d2_absolute_error_score")]).all()
    assert NUMBER_METRICS["explained_variance"](y, prediction, None) == 1.0
    assert NUMBER_METRICS["neg_median_absolute_error"](y, prediction, np.array([2.0])) == -1.0


def test_targets_in_small_types_are_no_smaller_numbers():
    y, prediction = np.array([250, 3, 0, 250], dtype=np.uint8), np.array([1.0, 300.0, 2.0, 251.0])
    for name in sorted(set(NUMBER_METRICS) - {"neg_mean_gamma_deviance"}):
        assert NUMBER_METRICS[name](y, prediction, None) == NUMBER_METRICS[name](y.astype(float), prediction, None)


@pytest.mark.parametrize(
    "name, y, prediction, words",
    [
        ("neg_mean_poisson_deviance", [0.0, 1.0], [0.0, 1.0], "Poisson deviance .* which the prediction is not"),
        ("neg_mean_poisson_deviance", [-1.0, 1.0], [1.0, 1.0], "Poisson deviance .* which the target is not"),
        ("neg_mean_gamma_deviance", [0.0, 1.0], [1.0, 1.0], "gamma deviance .* positive, which the target is not"),
        ("neg_mean_squared_log_error", [0.0, 1.0], [-1.0, 1.0], "above -1, which the prediction is not"),
        ("neg_root_mean_squared_log_error", [-2.0, 1.0], [0.0, 1.0], "above -1, which the target is not"),
    ],
)
def test_what_has_no_value_is_refused(name, y, prediction, words):
    with pytest.raises(ValueError, match=words):
        NUMBER_METRICS[name](np.array(y), np.array(prediction), None)


def test_helpers():
    assert mean(np.array([1.0, 4.0]), np.array([2.0, 1.0])) == 2.0
    assert median(np.array([5.0, 1.0, 2.0]), None) == 2.0
    assert median(np.array([1.0, 2.0, 9.0]), np.array([1.0, 1.0, 0.0])) == 1.5
    assert median(np.array([1.0, 2.0, 9.0]), np.array([1.0, 1.0, 5.0])) == 9.0
    assert max_error(np.zeros(2), np.array([1.0, 7.0]), np.array([1.0, 0.0])) == 1.0
