"""The order of rows within queries, and that of survival times: what scikit-learn has no fast metric of."""

from __future__ import annotations

import numpy as np

from boostgrad._concordance import orders_of, pairs_in_order
from boostgrad._order import descending
from boostgrad._queries import Ranking
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
        relevance = np.asarray(relevance, dtype=np.float64)
        self.queries = Queries.of(np.zeros(len(relevance), np.int64) if groups is None else np.asarray(groups))
        with np.errstate(over="ignore"):
            gains = np.exp2(relevance) - 1 if gain == "exponential" else relevance
        gains = np.ascontiguousarray(gains[self.queries.row])
        if not np.isfinite(gains).all():
            raise ValueError(f"NDCG takes no relevance as large as {relevance.max():g} with gains 2^relevance - 1")
        best = best_dcg(self.queries, gains, len(gains) if k is None else k)
        factor = np.divide(1.0, best, out=np.zeros_like(best), where=best > 0)
        self._ranking = Ranking(self.queries, gains, factor, "ndcg", k)
        self._weight = None
        if sample_weight is not None:
            weight = np.asarray(sample_weight, dtype=np.float64)[self.queries.row]
            self._weight = self.queries.sums(weight) / self.queries.sizes

    def of_queries(self, score: np.ndarray, n_threads: int = 1) -> np.ndarray:
        """The value of each query, shape (n_queries,)."""
        return 1.0 - self._ranking.values(np.ascontiguousarray(score, dtype=np.float64), n_threads)

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


class Concordance:
    """:func:`concordance_index` of some rows, ready for any number of risks.

    Parameters
    ----------
    bounds, sample_weight
        As of :func:`concordance_index`.
    """

    def __init__(self, bounds: np.ndarray, sample_weight: np.ndarray | None = None):
        bounds = np.asarray(bounds, dtype=np.float64)
        self._lower, self._upper = np.ascontiguousarray(bounds[:, 0]), np.ascontiguousarray(bounds[:, 1])
        self._orders = orders_of(self._lower, self._upper)
        self._weight = None if sample_weight is None else np.ascontiguousarray(sample_weight, dtype=np.float64)

    def __call__(self, risk: np.ndarray) -> float:
        """NaN if of no pair it is certain who was first."""
        risk = np.asarray(risk, dtype=np.float64)
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
