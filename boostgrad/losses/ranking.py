"""Losses of queries: what counts is the order of the rows of a query."""

from __future__ import annotations

from dataclasses import dataclass
from numbers import Real
from typing import Any, ClassVar

import numpy as np

from boostgrad._queries import NOISE_LEVELS, Ranking
from boostgrad.losses.base import Loss, in_interval, refuse, register
from boostgrad.params import shown
from boostgrad.queries import Queries, best_dcg

# Neighbours that count less than this share of the first ones are left out.
LEAST_SHARE = 1e-3

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
        Of which gradients are.
    measured : Ranking
        Of which losses are.
    """

    relevance: np.ndarray
    queries: Queries
    query_weight: np.ndarray | None
    ranking: Ranking
    measured: Ranking

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
        query_weight = None if weight is None else queries.sums(weight[queries.row]) / queries.sizes
        ranking = self.ranking(y, queries)
        return RankingTarget(y, queries, query_weight, ranking, self.measured(y, queries, ranking))

    def ranking(self, relevance: np.ndarray, queries: Queries) -> Ranking:
        """What the gradients are of."""
        gain = np.ascontiguousarray(self.gains(relevance[queries.row]), dtype=np.float64)
        # rows of a query are sorted by relevance
        varies = gain[queries.begin[:-1]] != gain[queries.begin[1:] - 1]
        factor = np.where(varies, self.query_factor(queries, gain), 0.0)
        return Ranking(queries, gain, factor, self.kind, **self.options())

    def measured(self, relevance: np.ndarray, queries: Queries, ranking: Ranking) -> Ranking:
        """What the loss that is reported is of."""
        return ranking

    def init_raw(self, y, weight, offset=None):
        return np.zeros(1)

    def gradients(self, y, raw, weight, out, n_threads=1):
        y.ranking.gradients(raw[0], weight, out, n_threads)

    def values(self, y, raw):
        return y.measured.values(raw[0])

    def mean(self, y, raw, weight, n_threads=1):
        return float(np.average(self.values(y, raw), weights=y.query_weight))


def _checked_truncation(truncation: int | None) -> int | None:
    if truncation is None:
        return None
    is_number = isinstance(truncation, Real) and not isinstance(truncation, bool)
    if not (is_number and 1 <= truncation < 2**63 and truncation == int(truncation)):
        raise ValueError(f"truncation must be an integer >= 1, or None. Got {shown(truncation)} instead.")
    return int(truncation)


# Sums of gains over a query, and their products with discounts, stay finite.
LARGEST_GAIN = 1e100


def _checked_gains(label_gain: Any) -> str | list[float]:
    if isinstance(label_gain, str) and label_gain in ("exponential", "linear"):
        return label_gain
    try:
        gains = None if isinstance(label_gain, str) else np.asarray(label_gain, dtype=np.float64)
    except (TypeError, ValueError):
        gains = None
    if gains is None or gains.ndim != 1 or len(gains) == 0:
        raise ValueError(
            f"label_gain must be 'exponential', 'linear' or a list of numbers. Got {shown(label_gain)} instead."
        )
    if not (gains[0] >= 0 and gains[-1] <= LARGEST_GAIN and (np.diff(gains) >= 0).all()):
        raise ValueError(
            f"label_gain must be a list of ascending numbers from 0 to {LARGEST_GAIN:g}. Got {shown(label_gain)} "
            "instead."
        )
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

    Parameters
    ----------
    truncation : int or None, default=30
        Pairs of rows that are both below so many first ones are left out, and NDCG is relative to that many rows in
        their best order. A row further down has the discount of its place all the same, so that it is worth more to
        bring it up from a near place than from a far one, as in LightGBM. None: all count.
    label_gain : {"exponential", "linear"} or sequence of float, default="exponential"
        What a row of a relevance is worth: ``2^relevance - 1``, the relevance, or the entry of that number.
    steepness : float, default=1.0
        s above.
    normalise : bool, default=True
        Divide a pair by 0.01 + the difference of its scores, and a query's gradients by x / log2(1 + x) with x the sum
        of their sizes, so that neither long queries nor pairs that are settled rule the trees.

    Notes
    -----
    :loss: reported is 1 - NDCG of a query, where rows of equal score share their discounts. What is minimised is the
        sum over pairs of ``|dNDCG| log(1 + exp(s (raw_worse - raw_better)))`` with ``|dNDCG|`` held fast, what swapping
        the pair changes NDCG, and s the steepness
    :gradient: ``-s |dNDCG| / (1 + exp(s (raw_better - raw_worse)))`` for the better row of a pair, the opposite for the
        other one
    :hessian: ``s^2 |dNDCG| e / (1 + e)^2`` with ``e = exp(s (raw_worse - raw_better))`` for both, the second derivative
        of that sum; ``normalise`` divides gradient and hessian alike
    :link: identity
    :initial score: 0, since only differences count
    :metric: ndcg

    References
    ----------
    Burges (2010), "From RankNet to LambdaRank to LambdaMART: an overview", section 4. Wang, Li, Golbandi, Bendersky and
    Najork (2018), "The LambdaLoss framework for ranking metric optimization", shows the loss that this bounds.
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
class YetiRank(RankingLoss):
    """YetiRank: the logistic loss of neighbours in orders at random, near the one of the scores.

    Noise is added to the scores of a query, and each row is compared with the next one in that order, several times,
    and anew for each tree. Pairs that are settled are rarely neighbours, and the first ones count most. With tens or
    hundreds of queries this fits less noise than :class:`LambdaRank`, whose pairs and weights follow from one order;
    with thousands it takes more trees than that does.

    Parameters
    ----------
    draws : int, default=5
        Orders of a query for each tree. The time that gradients take grows with it.
    decay : float, default=0.9
        A pair counts so much of the one a place above it, times the difference of their relevances. In (0, 1).
    noise : float, default=0.5
        Scale of the logistic distribution that noise has.

    Notes
    -----
    :loss: reported is 1 - NDCG of a query, as of :class:`LambdaRank`. What is minimised is the mean over orders of the
        sum over neighbours of ``w log(1 + exp(raw_worse - raw_better))`` with ``w = decay^i (y_better - y_worse)``, i
        the place of the first of them; without those where decay^i is below 0.001
    :gradient: ``-w / (1 + exp(raw_better - raw_worse))`` for the better row of a pair, the opposite for the other one
    :hessian: ``w / 2`` for both, a bound: no second derivative is above w / 4, and with pairs at random, which are
        others for the next tree, steps of half that size ranked better on tables of tens and of hundreds of queries
    :link: identity
    :initial score: 0, since only differences count
    :metric: ndcg

    Noise follows from the numbers of query, draw and tree and from the rank of the row, so a fit does not depend on
    ``random_state`` or the number of threads.

    References
    ----------
    Gulin, Kuralenok and Pavlov (2011), "Winning the transfer learning track of Yahoo!'s learning to rank challenge with
    YetiRank", section 3.
    """

    name = "yetirank"
    kind = "neighbours"

    def __init__(self, draws: int = 5, decay: float = 0.9, noise: float = 0.5):
        if isinstance(draws, bool) or not isinstance(draws, int | np.integer) or not 1 <= draws <= 1000:
            raise ValueError(f"draws of YetiRank must be an integer in [1, 1000]. Got {draws!r} instead.")
        self.draws = int(draws)
        self.decay = in_interval("YetiRank", "decay", decay, 0, 1)
        self.noise = in_interval("YetiRank", "noise", noise, 0, np.inf)

    def parameters(self):
        return {"draws": self.draws, "decay": self.decay, "noise": self.noise}

    def check_target(self, y):
        super().check_target(y)
        _check_exponential(y, self.name)

    def query_factor(self, queries, gain):
        return np.full(len(queries), 1.0 / self.draws)

    def options(self):
        share = (np.arange(NOISE_LEVELS) + 0.5) / NOISE_LEVELS
        return {
            "top": int(np.ceil(np.log(LEAST_SHARE) / np.log(self.decay))),
            "decay": self.decay,
            "noise": self.noise * np.log(share / (1.0 - share)),
            "draws": self.draws,
        }

    def measured(self, relevance, queries, ranking):
        return LambdaRank(truncation=None).ranking(relevance, queries)


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
