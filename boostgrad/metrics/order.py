"""The order of rows within queries, and that of survival times: what scikit-learn has no fast metric of."""

from __future__ import annotations

import numpy as np

from boostgrad._concordance import orders_of, pairs_in_order
from boostgrad._order import descending
from boostgrad._queries import Ranking
from boostgrad.metrics.checks import column, first_rows, groups_of, not_negative, weights
from boostgrad.queries import Queries, best_dcg


class NDCG:
    """:func:`ndcg` of some rows, ready for any number of scores.

    Parameters
    ----------
    relevance, groups, k, gain, sample_weight
        As of :func:`ndcg`.

    Attributes
    ----------
    queries : Queries

    Raises
    ------
    ValueError
        If an exponential gain is too large for a number.
    """

    def __init__(
        self,
        relevance: np.ndarray,
        groups: np.ndarray | None = None,
        *,
        k: int | None = None,
        gain: str = "exponential",
        sample_weight: np.ndarray | None = None,
    ):
        relevance = not_negative(relevance, "relevance")
        if gain not in ("exponential", "linear"):
            raise ValueError(f"gain must be 'exponential' or 'linear'. Got {gain!r} instead.")
        k = first_rows(k, len(relevance))
        self.queries = Queries.of(groups_of(groups, len(relevance)))
        with np.errstate(over="ignore"):
            gains = np.exp2(relevance) - 1 if gain == "exponential" else relevance
        gains = np.ascontiguousarray(gains[self.queries.row])
        if not np.isfinite(gains).all():
            row = int(relevance.argmax())
            raise ValueError(
                f"NDCG takes no relevance as large as {relevance[row]:g}, that of row {row}, with gains 2^relevance - 1"
            )
        best = best_dcg(self.queries, gains, k)
        factor = np.divide(1.0, best, out=np.zeros_like(best), where=best > 0)
        self._ranking = Ranking(self.queries, gains, factor, "ndcg", k)
        self._weight = _weight_of_queries(self.queries, sample_weight)

    def of_queries(self, score: np.ndarray, n_threads: int = 1) -> np.ndarray:
        """The value of each query, shape (n_queries,)."""
        return 1.0 - self._ranking.values(column(score, "score", len(self.queries.row)), n_threads)

    def __call__(self, score: np.ndarray, n_threads: int = 1) -> float:
        return float(np.average(self.of_queries(score, n_threads), weights=self._weight))


def ndcg(
    relevance: np.ndarray,
    score: np.ndarray,
    groups: np.ndarray | None = None,
    *,
    k: int | None = None,
    gain: str = "exponential",
    sample_weight: np.ndarray | None = None,
    n_threads: int = 1,
) -> float:
    """Mean over the queries of the normalised discounted cumulative gain (Järvelin and Kekäläinen 2002).

    Rows of equal score share their discounts. A query without a relevant row counts 1, as in LightGBM and XGBoost:
    every order of it is the best one.

    Parameters
    ----------
    relevance : ndarray of shape (n_rows,)
        Not negative.
    score : ndarray of shape (n_rows,)
    groups : ndarray of int, shape (n_rows,), default=None
        The query of each row, in any order. None: one query.
    k : int, default=None
        Only so many first rows count. None: all.
    gain : {"exponential", "linear"}, default="exponential"
        ``2^relevance - 1``, or the relevance (as in :func:`sklearn.metrics.ndcg_score`).
    sample_weight : ndarray of shape (n_rows,), default=None
        A query's weight is the mean of those of its rows.
    n_threads : int, default=1
    """
    return NDCG(relevance, groups, k=k, gain=gain, sample_weight=sample_weight)(score, n_threads)


class MeanAveragePrecision:
    """:func:`mean_average_precision` of some rows, ready for any number of scores.

    ::

        place       [ 0 1 2 3 | 4 5 6 ]     rows by query, and within it by ascending relevance
        by score    [ 2 0 3 1 | 6 4 5 ]     places by descending score; of equal scores, the irrelevant ones first
        found       [ 1 1 2 2 | 1 1 1 ]     relevant ones so far, of a query

    Parameters
    ----------
    relevance, groups, k, sample_weight
        As of :func:`mean_average_precision`.

    Attributes
    ----------
    queries : Queries
    """

    def __init__(
        self,
        relevance: np.ndarray,
        groups: np.ndarray | None = None,
        *,
        k: int | None = None,
        sample_weight: np.ndarray | None = None,
    ):
        relevant = column(relevance, "relevance") > 0
        k = first_rows(k, len(relevant))
        self.queries = Queries.of(groups_of(groups, len(relevant)), within=relevant)
        self._relevant = relevant[self.queries.row]
        sizes = self.queries.sizes
        number = np.repeat(np.arange(len(sizes)), sizes)
        self._number = number.astype(np.min_scalar_type(len(sizes)))  # numpy sorts small integers by their digits
        self._rank = np.arange(1, len(number) + 1) - self.queries.begin[number]
        self._counts = self._rank <= k
        self._n_relevant = self.queries.sums(self._relevant.astype(np.int64))
        self._before = np.repeat(np.cumsum(self._n_relevant) - self._n_relevant, sizes)
        self._most = np.minimum(self._n_relevant, k)
        self._weight = _weight_of_queries(self.queries, sample_weight)

    def of_queries(self, score: np.ndarray) -> np.ndarray:
        """The value of each query, shape (n_queries,)."""
        by_score = descending(column(score, "score", len(self.queries.row))[self.queries.row])
        by_score = by_score[np.argsort(self._number[by_score], kind="stable")]
        hit = self._relevant[by_score]
        found = np.cumsum(hit) - self._before
        precisions = self.queries.sums(np.where(hit & self._counts, found / self._rank, 0.0))
        return np.divide(precisions, self._most, out=np.ones_like(precisions), where=self._most > 0)

    def __call__(self, score: np.ndarray) -> float:
        return float(np.average(self.of_queries(score), weights=self._weight))


def mean_average_precision(
    relevance: np.ndarray,
    score: np.ndarray,
    groups: np.ndarray | None = None,
    *,
    k: int | None = None,
    sample_weight: np.ndarray | None = None,
) -> float:
    """Mean over the queries of the average precision: the mean, over the relevant rows of a query, of the share of
    relevant rows among those down to it.

    Of equal scores the worst order counts, as in ``loss="rank_map"``. A query without a relevant row counts 1, as in
    LightGBM and XGBoost: every order of it is the best one.

    Parameters
    ----------
    relevance : ndarray of shape (n_rows,)
        A row is relevant where it is above 0.
    score : ndarray of shape (n_rows,)
    groups : ndarray of int, shape (n_rows,), default=None
        The query of each row, in any order. None: one query.
    k : int, default=None
        Only so many first rows count, and the mean is over at most so many relevant ones. None: all.
    sample_weight : ndarray of shape (n_rows,), default=None
        A query's weight is the mean of those of its rows.
    """
    return MeanAveragePrecision(relevance, groups, k=k, sample_weight=sample_weight)(score)


def _weight_of_queries(queries: Queries, sample_weight: np.ndarray | None) -> np.ndarray | None:
    weight = weights(sample_weight, len(queries.row))
    return None if weight is None else queries.sums(weight[queries.row]) / queries.sizes


class Concordance:
    """:func:`concordance_index` of some rows, ready for any number of risks.

    Parameters
    ----------
    bounds, sample_weight
        As of :func:`concordance_index`.
    """

    def __init__(self, bounds: np.ndarray, sample_weight: np.ndarray | None = None):
        bounds = np.asarray(bounds, dtype=np.float64)
        if bounds.ndim != 2 or bounds.shape[1] != 2:
            raise ValueError(f"bounds must have the shape (n_rows, 2). Got {bounds.shape} instead.")
        for k in range(2):
            column(bounds[:, k], f"column {k} of bounds")
        self._lower, self._upper = np.ascontiguousarray(bounds[:, 0]), np.ascontiguousarray(bounds[:, 1])
        self._orders = orders_of(self._lower, self._upper)
        self._weight = weights(sample_weight, len(bounds))

    def __call__(self, risk: np.ndarray) -> float:
        """NaN if of no pair it is certain who was first."""
        risk = column(risk, "risk", len(self._lower))
        order = descending(risk)[::-1]
        ordered = risk[order]
        rank = np.empty(len(order), dtype=np.int64)
        rank[order] = np.cumsum(np.append(0, ordered[1:] != ordered[:-1]))
        n_ranks = int(rank[order[-1]]) + 1
        pairs = pairs_in_order(self._lower, self._upper, rank, n_ranks, self._weight, self._orders)
        concordant, tied, discordant = pairs
        total = concordant + tied + discordant
        return (concordant + 0.5 * tied) / total if total > 0 else float("nan")


def concordance_index(bounds: np.ndarray, risk: np.ndarray, sample_weight: np.ndarray | None = None) -> float:
    """Harrell's concordance index: the share of pairs whose row with the earlier event has the higher risk.

    Pairs count where it is certain who was first; pairs of equal risk count half. It takes O(n log n).

    Parameters
    ----------
    bounds : ndarray of float64, shape (n_rows, 2)
        Lower and upper bound of each time: equal for an event, the upper one infinite where the row was censored.
    risk : ndarray of shape (n_rows,)
    sample_weight : ndarray of shape (n_rows,), default=None
        A pair counts the product of its weights.

    Raises
    ------
    ValueError
        If of no pair it is certain who was first.
    """
    found = Concordance(bounds, sample_weight)(risk)
    if np.isnan(found):
        raise ValueError("the concordance index is not defined: of no two rows it is certain whose event was first")
    return found
