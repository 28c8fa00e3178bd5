"""Metrics of the order of two classes: one sort of the scores each.

::

    score, descending       [ .9 .7 .3 .3 .1 ]
    ends of equal scores    [ 0  1     3  4  ]     rows of equal score count together, whatever their order
"""

from __future__ import annotations

import numpy as np

from boostgrad._order import descending
from boostgrad.metrics.checks import column, weights


def roc_auc(positive: np.ndarray, score: np.ndarray, sample_weight: np.ndarray | None = None) -> float:
    """Area under the ROC curve: the probability that a positive row has a higher score than a negative one, pairs of
    equal scores counting half.

    Parameters
    ----------
    positive : ndarray of bool, shape (n_rows,)
    score : ndarray of float64, shape (n_rows,)
    sample_weight : ndarray of float64, shape (n_rows,), default=None
        A pair counts the product of its weights.

    Returns
    -------
    float
        NaN where there are no positive or no negative rows.
    """
    of_positive, of_negative = _down_to_each_score(positive, score, sample_weight)
    total = float(of_positive[-1]) * float(of_negative[-1])
    if not total > 0:
        return float("nan")
    # twice the pairs that are in order; without weights these are integers, and exact
    above = of_positive.copy()
    above[1:] += of_positive[:-1]
    return float(np.sum(_steps(of_negative) * above)) / (2 * total)


def average_precision(positive: np.ndarray, score: np.ndarray, sample_weight: np.ndarray | None = None) -> float:
    """Sum over the distinct scores, from the highest down, of the gain in recall times the precision.

    Parameters
    ----------
    positive, score, sample_weight
        As of :func:`roc_auc`.

    Returns
    -------
    float
        0 where there are no positive rows.
    """
    of_positive, of_negative = _down_to_each_score(positive, score, sample_weight)
    if not of_positive[-1] > 0:
        return 0.0
    found = _steps(of_positive)
    with np.errstate(invalid="ignore"):  # rows of weight 0
        precision = np.where(of_positive > 0, of_positive / (of_positive + of_negative), 0.0)
    return float(np.sum(found * precision) / of_positive[-1])


def _steps(sums: np.ndarray) -> np.ndarray:
    """What was summed; numpy's diff with a prepended 0 takes many times longer."""
    steps = sums.copy()
    steps[1:] -= sums[:-1]
    return steps


def _down_to_each_score(positive, score, weight) -> tuple[np.ndarray, np.ndarray]:
    """Weight of the positive rows, and of the negative ones, with no less than each distinct score, descending."""
    score = column(score, "score")
    positive, weight = np.asarray(positive), weights(weight, len(score))
    if positive.shape != score.shape:
        raise ValueError(f"positive must have the shape {score.shape}, as score. Got {positive.shape} instead.")
    order = descending(score)
    score, positive = score[order], positive[order]
    ends = np.append(np.flatnonzero(score[1:] != score[:-1]), len(score) - 1)
    if weight is None:
        of_positive = np.cumsum(positive.astype(np.int64))[ends]
        return of_positive, ends + 1 - of_positive
    weight = weight[order]
    found = weight * positive
    return np.cumsum(found)[ends], np.cumsum(weight - found)[ends]  # apart, so that neither sum ever falls
