"""Metrics of one number a row, by the names of scikit-learn's scorers.

Each is a function ``f(y, prediction, weight)`` of arrays of shape (n_rows,), or None for weights that are all 1, and
gives a float: an error here, what is better the higher in :data:`NUMBER_METRICS`.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from boostgrad._order import descending

Metric = Callable[[np.ndarray, np.ndarray, np.ndarray | None], float]


def mean(values: np.ndarray, weight: np.ndarray | None) -> float:
    """Weighted mean, summed in an order that does not depend on threads."""
    return float(values.mean() if weight is None else np.sum(values * weight) / np.sum(weight))


def median(values: np.ndarray, weight: np.ndarray | None) -> float:
    """Weighted median; between two values where just half of the weight is at most the lower one."""
    if weight is None:
        return float(np.median(values))
    values, weight = values[weight > 0], weight[weight > 0]
    order = descending(values)[::-1]
    below = np.cumsum(weight[order])
    half = 0.5 * below[-1]
    at = min(int(np.searchsorted(below, half)), len(order) - 1)
    upper = at if below[at] - half > np.finfo(np.float64).eps * below[-1] else min(at + 1, len(order) - 1)
    return float(0.5 * (values[order[at]] + values[order[upper]]))


def mean_squared_error(y, prediction, weight=None) -> float:
    return mean((y - prediction) ** 2, weight)


def root_mean_squared_error(y, prediction, weight=None) -> float:
    return float(np.sqrt(mean_squared_error(y, prediction, weight)))


def mean_absolute_error(y, prediction, weight=None) -> float:
    return mean(np.abs(y - prediction), weight)


def median_absolute_error(y, prediction, weight=None) -> float:
    return median(np.abs(y - prediction), weight)


def max_error(y, prediction, weight=None) -> float:
    """Of the rows that have a weight."""
    error = np.abs(y - prediction)
    return float(np.max(error if weight is None else error[weight > 0]))


def mean_absolute_percentage_error(y, prediction, weight=None) -> float:
    least = np.finfo(np.float64).eps
    return mean(np.abs(y - prediction) / np.maximum(np.abs(y.astype(np.float64, copy=False)), least), weight)


def mean_squared_log_error(y, prediction, weight=None) -> float:
    _require(y > -1, prediction > -1, "the squared logarithmic error", "above -1")
    return mean_squared_error(np.log1p(y, dtype=np.float64), np.log1p(prediction), weight)


def root_mean_squared_log_error(y, prediction, weight=None) -> float:
    return float(np.sqrt(mean_squared_log_error(y, prediction, weight)))


def mean_poisson_deviance(y, prediction, weight=None) -> float:
    _require(y >= 0, prediction > 0, "the Poisson deviance", "positive (the target may be 0)")
    y = y.astype(np.float64, copy=False)
    with np.errstate(divide="ignore", invalid="ignore"):
        of_ratio = np.where(y > 0, y * np.log(y / prediction), 0.0)
    return mean(2 * (of_ratio - y + prediction), weight)


def mean_gamma_deviance(y, prediction, weight=None) -> float:
    _require(y > 0, prediction > 0, "the gamma deviance", "positive")
    return mean(2 * (np.log(prediction / y) + y / prediction - 1), weight)


def r2(y, prediction, weight=None) -> float:
    """1 - squared error / that of the mean; NaN of a single row."""
    if len(y) < 2:
        return float("nan")
    y = y.astype(np.float64, copy=False)
    return _explained(mean_squared_error(y, prediction, weight), mean((y - mean(y, weight)) ** 2, weight))


def explained_variance(y, prediction, weight=None) -> float:
    """1 - variance of the errors / that of the target."""
    y = y.astype(np.float64, copy=False)
    error = y - prediction
    error = mean((error - mean(error, weight)) ** 2, weight)
    return _explained(error, mean((y - mean(y, weight)) ** 2, weight))


def d2_absolute_error(y, prediction, weight=None) -> float:
    """1 - absolute error / that of the median; NaN of a single row."""
    if len(y) < 2:
        return float("nan")
    y = y.astype(np.float64, copy=False)
    return _explained(mean_absolute_error(y, prediction, weight), mean(np.abs(y - median(y, weight)), weight))


def _explained(error: float, of_constant: float) -> float:
    """Finite where the target is constant: 1 for a perfect prediction and 0 for another, as scikit-learn has it."""
    if of_constant == 0:
        return float(error == 0)
    return 1.0 - error / of_constant


def _require(good_y: np.ndarray, good_prediction: np.ndarray, owner: str, accepted: str) -> None:
    for what, good in (("the target", good_y), ("the prediction", good_prediction)):
        if not good.all():
            raise ValueError(f"{owner} needs targets and predictions that are {accepted}, which {what} is not")


def _negative(error: Metric) -> Metric:
    def score(y, prediction, weight=None) -> float:
        return -error(y, prediction, weight)

    return score


#: The metrics by the names of scikit-learn's scorers: the higher, the better.
NUMBER_METRICS: dict[str, Metric] = {
    "r2": r2,
    "explained_variance": explained_variance,
    "d2_absolute_error_score": d2_absolute_error,
} | {
    f"neg_{error.__name__}": _negative(error)
    for error in (
        max_error,
        mean_absolute_error,
        mean_absolute_percentage_error,
        mean_gamma_deviance,
        mean_poisson_deviance,
        mean_squared_error,
        mean_squared_log_error,
        median_absolute_error,
        root_mean_squared_error,
        root_mean_squared_log_error,
    )
}
