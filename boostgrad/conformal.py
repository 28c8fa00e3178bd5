"""Conformal prediction: intervals and sets that hold the target of a new row with a probability that was asked for.

Intervals and sets grow with a threshold t, and the conformity score of a row with a known target is the least t for
which its target is inside (nested sets; Gupta, Kuchibhotla and Ramdas 2022). Where calibration rows and the new row are
exchangeable, the rank of the new row's score among all of them is uniform, whatever the model is. So the threshold is
the ceil((n + 1) coverage)-th smallest of n scores (Vovk, Gammerman and Shafer 2005; Lei et al. 2018)::

    scores, ascending      s1    s2    s3    ...   sn    (inf: the new row's)
    share of n + 1 rows   1/(n+1) 2/(n+1)          n/(n+1)

This room knows numbers only: neither models nor losses.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

# Where there are many scores, the share of rows above two that are kept side by side differs by no more than this
# factor: coverage 0.9 is 0.9008 at most, 0.99 is 0.99008.
_STEP = 1.0 + 2.0**-7
_STEPS = -np.cumprod(np.full(4096, 1.0 / _STEP))  # ascending, down to shares of 1e-14

# So few scores are kept as they are.
_ALL_KEPT = 128

# Shares and coverages that differ by no more than rounding are equal.
_ROUNDING = 1e-12

# Thresholds of tail probabilities are moved out by this, as quantile functions and distribution functions are inverse
# to each other up to rounding only, and a count that is just inside must not fall out.
_OUTWARDS = 1e-9

# Tails of which less is left of 1 - tail than thresholds are moved out by.
_FAR_OUT = 1e-7


@dataclass(frozen=True, eq=False)
class ConformityScores:
    """Conformity scores of calibration rows, those that thresholds are made of.

    Attributes
    ----------
    score : ndarray of float64, shape (n_kept,)
        Ascending.
    share : ndarray of float64, shape (n_kept,)
        Share of the rows, the new one counted, whose score is no larger; below 1.
    n_rows : int
        Calibration rows.
    """

    score: np.ndarray
    share: np.ndarray
    n_rows: int

    @classmethod
    def of(cls, score: np.ndarray, weight: np.ndarray | None = None) -> ConformityScores:
        """Those of some rows.

        Where rows have weights w, the new row is given the mean weight of a row that is drawn with probability w,
        sum(w^2) / sum(w), so that its share is 1 / (m + 1) with m = sum(w)^2 / sum(w^2), Kish's effective number of
        rows; see Tibshirani et al. (2019) for weights as likelihood ratios. Multiplying all weights changes nothing.

        Of many scores not all are kept: thresholds are then those of a coverage that is larger by less than a hundredth
        of 1 - coverage.

        Parameters
        ----------
        score : ndarray of float64, shape (n_rows,)
            In any order. Infinite where no threshold is large enough.
        weight : ndarray of float64, shape (n_rows,), or None
            None: 1 for all. Rows of weight 0 do not count.
        """
        if weight is not None:
            score, weight = score[weight > 0], weight[weight > 0]
        if len(score) == 0:
            return cls(np.empty(0), np.empty(0), 0)
        n_rows = len(score)
        if weight is None:
            score = np.sort(score)
            share = np.arange(1, n_rows + 1) / (n_rows + 1.0)
        else:
            order = np.argsort(score, kind="stable")
            score, weight = score[order], weight[order] / weight.max()
            total = np.cumsum(weight)
            share = total / (total[-1] + np.sum(weight**2) / total[-1])
        last = np.append(score[1:] != score[:-1], True)  # of equal ones
        score, share = score[last], share[last]
        if len(score) > _ALL_KEPT:
            kept = _kept(1.0 - share)
            score, share = score[kept], share[kept]
        return cls(score, share, n_rows)

    def threshold(self, coverage: float) -> float:
        """The least score that enough rows do not exceed; infinity where there is none."""
        at = np.searchsorted(self.share, coverage * (1.0 - _ROUNDING))
        return float(self.score[at]) if at < len(self.score) else np.inf

    @property
    def largest_coverage(self) -> float:
        """The largest coverage that has a finite threshold; 0 where there is none."""
        finite = np.isfinite(self.score)
        return float(self.share[finite][-1]) if finite.any() else 0.0


def _kept(above: np.ndarray) -> np.ndarray:
    """One row, the last, of those whose shares of rows above lie between two powers of _STEP."""
    step = np.searchsorted(_STEPS, -above)
    return np.append(step[1:] != step[:-1], True)


# ---- to store them ---------------------------------------------------------------------------------------------------

PACKED = ("conformity_score", "conformity_share", "conformity_rows", "conformity_kept")


def packed(several: Sequence[ConformityScores]) -> dict[str, np.ndarray]:
    """The scores end to end, and how many each has."""
    return {
        "conformity_score": np.concatenate([one.score for one in several]),
        "conformity_share": np.concatenate([one.share for one in several]),
        "conformity_rows": np.array([one.n_rows for one in several], dtype=np.int64),
        "conformity_kept": np.array([len(one.score) for one in several], dtype=np.int64),
    }


def unpacked(arrays: dict[str, np.ndarray]) -> tuple[ConformityScores, ...]:
    """What :func:`packed` was given.

    Raises
    ------
    ValueError
        If the arrays do not fit together.
    """
    score, share, rows, kept = (arrays[name] for name in PACKED)
    if len(score) != len(share) or len(rows) != len(kept) or kept.min(initial=0) < 0 or kept.sum() != len(score):
        raise ValueError("the conformity scores do not fit together")
    ends = np.cumsum(kept)
    return tuple(
        ConformityScores(score[end - n : end], share[end - n : end], int(of_rows))
        for end, n, of_rows in zip(ends.tolist(), kept.tolist(), rows.tolist(), strict=True)
    )


# ---- intervals -------------------------------------------------------------------------------------------------------


def residual_scores(y: np.ndarray, prediction: np.ndarray, spread: np.ndarray | float = 1.0) -> np.ndarray:
    """Absolute residuals in units of the spread (Lei et al. 2018, section 5.2)."""
    return np.abs(y - prediction) / spread


def residual_interval(
    prediction: np.ndarray, spread: np.ndarray | float, threshold: float
) -> tuple[np.ndarray, np.ndarray]:
    """Targets whose residuals are no larger than the threshold: lower and upper ends."""
    return prediction - threshold * spread, prediction + threshold * spread


def quantile_scores(y: np.ndarray, lower: np.ndarray, upper: np.ndarray) -> np.ndarray:
    """How far a target is outside of two quantiles, negative inside (Romano, Patterson and Candes 2019, eq. 6)."""
    return np.maximum(lower - y, y - upper)


def quantile_interval(lower: np.ndarray, upper: np.ndarray, threshold: float) -> tuple[np.ndarray, np.ndarray]:
    """The quantiles, moved out by the threshold or, where it is negative, in; to their middle at most."""
    middle = 0.5 * (lower + upper)
    return np.minimum(lower - threshold, middle), np.maximum(upper + threshold, middle)


def tail_scores(at_most: np.ndarray, at_least: np.ndarray) -> np.ndarray:
    """-log of the probability of both tails that begin at the target, max(0, -log(2 min(P(Y <= y), P(Y >= y)))).

    It grows with the distance of the probability integral transform from 1/2 (distributional conformal prediction;
    Chernozhukov, Wuethrich and Zhu 2021), and tells large distances apart where that is 1 in floating point.
    """
    with np.errstate(divide="ignore"):
        return np.maximum(-np.log(2.0 * np.minimum(at_most, at_least)), 0.0)


def tail_interval(distribution: Any, threshold: float) -> tuple[np.ndarray, np.ndarray]:
    """Targets whose tails are as probable as the threshold says, or more so: quantiles of the frozen distributions of
    scipy.stats."""
    tail = 0.5 * np.exp(-threshold) * (1.0 - _OUTWARDS)
    if hasattr(distribution, "pmf") and tail < _FAR_OUT:
        return np.asarray(distribution.ppf(tail)), _upper_count(distribution, tail)
    return np.asarray(distribution.ppf(tail)), np.asarray(distribution.isf(tail))


def _upper_count(distribution: Any, tail: float) -> np.ndarray:
    """The least counts above which no more than the tail is. scipy's way goes by 1 - tail for some distributions, which
    loses the tail's digits, or all of it."""
    low, high = np.full(np.shape(distribution.mean()), -1.0), np.floor(distribution.mean()) + 1.0
    while (open_ended := distribution.sf(high) > tail).any():
        low, high = np.where(open_ended, high, low), np.where(open_ended, 2.0 * high, high)
    while (high - low > 1.0).any():
        middle = np.floor(0.5 * (low + high))
        above = distribution.sf(middle) > tail
        low, high = np.where(above, middle, low), np.where(above, high, middle)
    return high


# ---- sets ------------------------------------------------------------------------------------------------------------


def class_scores(probability: np.ndarray, codes: np.ndarray) -> np.ndarray:
    """1 - the probability of the true class (least ambiguous sets; Sadinle, Lei and Wasserman 2019).

    Parameters
    ----------
    probability : ndarray of float64, shape (n_rows, n_classes)
    codes : ndarray of intp, shape (n_rows,)
        Numbers of the true classes.
    """
    return 1.0 - probability[np.arange(len(codes)), codes]


def class_set(probability: np.ndarray, thresholds: np.ndarray | float) -> np.ndarray:
    """Classes whose scores are no larger than their threshold: bool, shape (n_rows, n_classes)."""
    return 1.0 - probability <= thresholds


def by_class(
    score: np.ndarray, codes: np.ndarray, weight: np.ndarray | None, n_classes: int
) -> tuple[ConformityScores, ...]:
    """The scores of all rows, and those of the rows of each class: n_classes + 1 of them."""
    several = [ConformityScores.of(score, weight)]
    order = np.argsort(codes, kind="stable")
    ends = np.searchsorted(codes[order], np.arange(1, n_classes))
    for rows in np.split(order, ends):
        several.append(ConformityScores.of(score[rows], None if weight is None else weight[rows]))
    return tuple(several)


# ---- what may be asked for -------------------------------------------------------------------------------------------


def check_coverage(coverage: Any) -> float:
    """A coverage as a float.

    Raises
    ------
    ValueError
        If it is no number in (0, 1).
    """
    is_number = isinstance(coverage, float | int | np.floating | np.integer) and not isinstance(coverage, bool)
    if not is_number or not 0 < coverage < 1:
        raise ValueError(f"coverage must be a number in (0, 1). Got {coverage!r} instead.")
    return float(coverage)


def check_finite_thresholds(several: Iterable[ConformityScores], coverage: float) -> None:
    """Raise where there are too few calibration rows for the coverage: only intervals without ends, or sets of all
    classes, would have it.

    Raises
    ------
    ValueError
    """
    for scores in several:
        if scores.threshold(coverage) == np.inf:
            largest, ruled_out = scores.largest_coverage, np.isinf(scores.score[-1:]).any()
            if ruled_out and coverage <= scores.share[-1]:
                raise ValueError(
                    f"coverage={coverage!r} cannot be had, {largest:.6g} at most: the targets of more than 1 in "
                    f"{1.0 / (scores.share[-1] - largest):.3g} of the {scores.n_rows} calibration rows are ruled out "
                    "by what the model predicts for them (the probability of anything so far out is 0 in double "
                    "precision). A loss that allows for more spread would have intervals, such as several quantiles."
                )
            least = int(np.ceil(coverage / (1.0 - coverage) * (1.0 - _ROUNDING)))
            raise ValueError(
                f"coverage={coverage!r} needs {least} calibration rows or more (of equal weight); the model has "
                f"{scores.n_rows}, which allow {largest:.6g} at most. Calibrate it with more rows: see "
                "the method calibrate."
            )
