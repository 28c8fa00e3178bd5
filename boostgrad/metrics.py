"""Metrics of what scikit-learn has no fast one for: the order within queries, and the order of survival times."""

from __future__ import annotations

import numpy as np

from boostgrad._concordance import pairs_in_order
from boostgrad._queries import Ranking
from boostgrad.queries import Queries, best_dcg


def ndcg_of_queries(
    relevance: np.ndarray,
    score: np.ndarray,
    groups: np.ndarray | None = None,
    *,
    k: int | None = None,
    gain: str = "exponential",
    n_threads: int = 1,
) -> tuple[np.ndarray, Queries]:
    """Normalised discounted cumulative gain of each query, and the queries; see :func:`ndcg`."""
    relevance = np.asarray(relevance, dtype=np.float64)
    queries = Queries.of(np.zeros(len(relevance), np.int64) if groups is None else np.asarray(groups))
    gains = np.exp2(relevance) - 1 if gain == "exponential" else relevance
    gains = np.ascontiguousarray(gains[queries.row])
    best = best_dcg(queries, gains, len(gains) if k is None else k)
    factor = np.divide(1.0, best, out=np.zeros_like(best), where=best > 0)
    score = np.ascontiguousarray(score, dtype=np.float64)
    return 1.0 - Ranking(queries, gains, factor, "ndcg", k).values(score, n_threads), queries


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
    values, queries = ndcg_of_queries(relevance, score, groups, k=k, gain=gain, n_threads=n_threads)
    if sample_weight is not None:
        sample_weight = queries.sums(np.asarray(sample_weight, dtype=np.float64)[queries.row]) / queries.sizes
    return float(np.average(values, weights=sample_weight))


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
    bounds = np.asarray(bounds, dtype=np.float64)
    levels, rank = np.unique(np.asarray(risk, dtype=np.float64), return_inverse=True)
    if sample_weight is not None:
        sample_weight = np.ascontiguousarray(sample_weight, dtype=np.float64)
    concordant, tied, discordant = pairs_in_order(
        np.ascontiguousarray(bounds[:, 0]),
        np.ascontiguousarray(bounds[:, 1]),
        rank.reshape(-1).astype(np.int64),
        len(levels),
        sample_weight,
    )
    total = concordant + tied + discordant
    if not total > 0:
        raise ValueError("the concordance index is not defined: of no two rows it is certain whose event was first")
    return (concordant + 0.5 * tied) / total
