"""Losses of queries: what counts is the order of the rows of a query."""

from __future__ import annotations

from dataclasses import dataclass
from numbers import Real
from typing import Any, ClassVar

import numpy as np

from boostgrad._queries import Ranking
from boostgrad.losses.base import Loss, in_interval, refuse, register
from boostgrad.queries import Queries, best_dcg

# An exponential gain of a larger relevance would drown all others.
LARGEST_RELEVANCE = 31


@dataclass(frozen=True, eq=False)
class RankingTarget:
    """Relevance and queries of some rows.

    Attributes
    ----------
    relevance : ndarray of float64, shape (n_rows,)
    queries : Queries
        Rows of a query in ascending relevance, so that among equal scores the worst order counts.
    query_weight : ndarray of float64, shape (n_queries,), or None
        Mean of the weights of its rows.
    ranking : Ranking
    """

    relevance: np.ndarray
    queries: Queries
    query_weight: np.ndarray | None
    ranking: Ranking

    def __len__(self) -> int:
        return len(self.relevance)


class RankingLoss(Loss):
    """What losses of queries share. Only differences of scores within a query count, so the constant is 0.

    A row's gradient and hessian are multiplied by its weight. :meth:`values` has one number a query, not one a row, and
    :meth:`mean` weights it by the mean weight of its rows. Without groups all rows are one query.
    """

    target = "queries"
    metric = "ndcg"
    kind: ClassVar[str] = ""

    def check_target(self, y):
        refuse(y < 0, y, f"loss {self.name!r} needs a relevance of at least 0")

    def gains(self, relevance: np.ndarray) -> np.ndarray:
        return relevance

    def query_factor(self, queries: Queries, gain: np.ndarray) -> np.ndarray:
        """How much the pairs of a query count; 0 where all rows have the same gain."""
        raise NotImplementedError

    def options(self) -> dict[str, Any]:
        """Arguments of :class:`boostgrad.queries.Ranking`."""
        return {}

    def prepare(self, y, weight, groups=None):
        queries = Queries.of(np.zeros(len(y), np.int64) if groups is None else groups, within=y)
        gain = np.ascontiguousarray(self.gains(y[queries.row]), dtype=np.float64)
        # rows of a query are sorted by relevance
        varies = gain[queries.begin[:-1]] != gain[queries.begin[1:] - 1]
        factor = np.where(varies, self.query_factor(queries, gain), 0.0)
        query_weight = None if weight is None else queries.sums(weight[queries.row]) / queries.sizes
        return RankingTarget(y, queries, query_weight, Ranking(queries, gain, factor, self.kind, **self.options()))

    def init_raw(self, y, weight, offset=None):
        return np.zeros(1)

    def gradients(self, y, raw, weight, out, n_threads=1):
        y.ranking.gradients(raw[0], weight, out, n_threads)

    def values(self, y, raw):
        return y.ranking.values(raw[0])

    def mean(self, y, raw, weight):
        return float(np.average(self.values(y, raw), weights=y.query_weight))


def _checked_truncation(truncation: int | None) -> int | None:
    if truncation is None:
        return None
    is_number = isinstance(truncation, Real) and not isinstance(truncation, bool)
    if not (is_number and 1 <= truncation < np.inf and truncation == int(truncation)):
        raise ValueError(f"truncation must be an integer >= 1, or None. Got {truncation!r} instead.")
    return int(truncation)


def _checked_gains(label_gain: Any) -> str | list[float]:
    if isinstance(label_gain, str) and label_gain in ("exponential", "linear"):
        return label_gain
    try:
        gains = None if isinstance(label_gain, str) else np.asarray(label_gain, dtype=np.float64)
    except (TypeError, ValueError):
        gains = None
    if gains is None or gains.ndim != 1 or len(gains) == 0:
        raise ValueError(
            f"label_gain must be 'exponential', 'linear' or a list of numbers. Got {label_gain!r} instead."
        )
    if not (np.isfinite(gains).all() and gains[0] >= 0 and (np.diff(gains) >= 0).all()):
        raise ValueError(f"label_gain must be a list of ascending numbers >= 0. Got {label_gain!r} instead.")
    return gains.tolist()


def _check_exponential(relevance: np.ndarray, name: str) -> None:
    refuse(
        relevance > LARGEST_RELEVANCE,
        relevance,
        f"loss {name!r} with exponential gains takes a relevance of at most {LARGEST_RELEVANCE}",
    )


@register
class LambdaRank(RankingLoss):
    """LambdaRank: the logistic loss of pairs, each times what swapping its rows changes NDCG.

    For a pair whose first row is the more relevant one, the gradient of the first is
    ``-s |dNDCG| / (1 + exp(s (raw_1 - raw_2)))`` and that of the second the opposite; the hessians are their
    derivatives with |dNDCG| held fast (Burges 2010, "From RankNet to LambdaRank to LambdaMART", section 4; Wang et al.
    2018, "The LambdaLoss framework", shows the loss that this bounds). The loss that is reported, and that early
    stopping goes by, is 1 - NDCG.

    Parameters
    ----------
    truncation : int or None, default=30
        NDCG counts so many first rows; pairs of rows that are both below are left out. None: all.
    label_gain : {"exponential", "linear"} or sequence of float, default="exponential"
        What a row of a relevance is worth: ``2^relevance - 1``, the relevance, or the entry of that number.
    steepness : float, default=1.0
        s above.
    normalise : bool, default=True
        Divide a pair by 0.01 + the difference of its scores, and a query's gradients by x / log2(1 + x) with x the sum
        of their sizes, so that neither long queries nor pairs that are settled rule the trees.
    """

    name = "lambdarank"
    kind = "ndcg"

    def __init__(
        self,
        truncation: int | None = 30,
        label_gain: Any = "exponential",
        steepness: float = 1.0,
        normalise: bool = True,
    ):
        self.truncation = _checked_truncation(truncation)
        self.label_gain = _checked_gains(label_gain)
        self.steepness = in_interval("LambdaRank", "steepness", steepness, 0, np.inf)
        self.normalise = bool(normalise)

    def parameters(self):
        return {
            "truncation": self.truncation,
            "label_gain": self.label_gain,
            "steepness": self.steepness,
            "normalise": self.normalise,
        }

    def check_target(self, y):
        super().check_target(y)
        if self.label_gain == "exponential":
            _check_exponential(y, self.name)
        elif self.label_gain != "linear":
            n = len(self.label_gain)
            accepted = f"loss {self.name!r}: label_gain has {n} entries, so a relevance is one of 0 .. {n - 1}"
            refuse((y != np.floor(y)) | (y >= n), y, accepted)

    def gains(self, relevance):
        if self.label_gain == "exponential":
            return np.exp2(relevance) - 1
        return relevance if self.label_gain == "linear" else np.array(self.label_gain)[relevance.astype(np.intp)]

    def query_factor(self, queries, gain):
        best = best_dcg(queries, gain, len(gain) if self.truncation is None else self.truncation)
        return np.divide(1.0, best, out=np.zeros_like(best), where=best > 0)

    def options(self):
        return {
            "top": self.truncation,
            "steepness": self.steepness,
            "by_gap": self.normalise,
            "normalise": self.normalise,
        }


@register
class RankMAP(RankingLoss):
    """LambdaRank for the mean average precision; a row is relevant or it is not.

    Parameters
    ----------
    truncation : int or None, default=30
        Pairs of rows that are both below so many first ones are left out. None: all pairs.
    normalise : bool, default=True
        As in :class:`LambdaRank`.

    Notes
    -----
    :loss: reported is 1 - average precision of a query, in the order of the scores; of equal scores the worst order
        counts, and a query without a relevant row has the loss 0. What is minimised is the sum over pairs of
        ``|dAP| log(1 + exp(raw_worse - raw_better))`` with ``|dAP|`` held fast, what swapping the pair changes the
        average precision
    :gradient: ``-|dAP| / (1 + exp(raw_better - raw_worse))`` for the better row of a pair, the opposite for the other
        one
    :hessian: ``|dAP| e / (1 + e)^2`` with ``e = exp(raw_worse - raw_better)`` for both, the second derivative of that
        sum; ``normalise`` divides gradient and hessian alike
    :link: identity
    :initial score: 0, since only differences count
    :metric: map

    References
    ----------
    Burges (2010), "From RankNet to LambdaRank to LambdaMART: an overview", section 4. Donmez, Svore and Burges (2009),
    "On the local optimality of LambdaRank".
    """

    name = "rank_map"
    metric = "map"
    kind = "map"

    def __init__(self, truncation: int | None = 30, normalise: bool = True):
        self.truncation = _checked_truncation(truncation)
        self.normalise = bool(normalise)

    def parameters(self):
        return {"truncation": self.truncation, "normalise": self.normalise}

    def gains(self, relevance):
        return (relevance > 0).astype(np.float64)

    def query_factor(self, queries, gain):
        return 1.0 / np.maximum(queries.sums(gain), 1.0)

    def options(self):
        return {"top": self.truncation, "by_gap": self.normalise, "normalise": self.normalise}


@register
class Pairwise(RankingLoss):
    """RankNet: the logistic loss of every pair of rows of a query whose relevance differs.

    Notes
    -----
    :loss: ``log(1 + exp(raw_worse - raw_better))``, summed over the pairs of a query and divided by its number of rows
    :gradient: ``-1 / (1 + exp(raw_better - raw_worse))`` for the better row of a pair, the opposite for the other one,
        divided likewise
    :hessian: ``e / (1 + e)^2`` with ``e = exp(raw_worse - raw_better)`` for both, divided likewise: the diagonal of the
        second derivatives
    :link: identity
    :initial score: 0, since only differences count
    :metric: ndcg

    References
    ----------
    Burges et al. (2005), "Learning to rank using gradient descent". Burges (2010), "From RankNet to LambdaRank to
    LambdaMART: an overview", section 2.
    """

    name = "pairwise"
    kind = "pairs"

    def query_factor(self, queries, gain):
        return 1.0 / queries.sizes


@register
class CrossEntropyNDCG(RankingLoss):
    """Cross entropy of the softmax of a query's scores to its gains: XE-NDCG with each of its random numbers at their
    mean.

    Notes
    -----
    :loss: ``-sum_i q_i log p_i`` with ``p = softmax(raw)`` within a query, and q proportional to ``2^relevance - 1/2``
    :gradient: ``p_i - q_i``
    :hessian: ``p_i (1 - p_i)``, the diagonal of the second derivatives
    :link: identity
    :initial score: 0, since only differences count
    :metric: ndcg

    References
    ----------
    Bruch (2020), "An alternative cross entropy loss for learning-to-rank", eq. 4.
    """

    name = "xendcg"
    kind = "softmax"

    def check_target(self, y):
        super().check_target(y)
        _check_exponential(y, self.name)

    def gains(self, relevance):
        return np.exp2(relevance) - 0.5

    def query_factor(self, queries, gain):
        return np.ones(len(queries))
