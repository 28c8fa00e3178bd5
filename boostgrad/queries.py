"""Rows that belong to queries: where they are, and loops over the queries.

::

    groups    [ 5 5 2 5 2 ]             a query's id for each row
    row       [ 2 4 | 0 1 3 ]           places: rows in the order of their queries
    begin     [ 0     2       5 ]       first place of each query
    tasks     [ 0             2 ]       queries that one thread takes at a time
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

# Rows a task has at least.
TASK_ROWS = 2048


@dataclass(frozen=True, eq=False)
class Queries:
    """Where the rows of each query are.

    Attributes
    ----------
    row : ndarray of uint32, shape (n_rows,)
    begin : ndarray of int64, shape (n_queries + 1,)
    tasks : ndarray of int64
    """

    row: np.ndarray
    begin: np.ndarray
    tasks: np.ndarray

    @classmethod
    def of(cls, groups: np.ndarray, within: np.ndarray | None = None) -> Queries:
        """Rows sorted by group, and by ``within`` or else by their number among those of a group."""
        groups = np.asarray(groups)
        if within is not None:
            row = np.lexsort((within, groups))
        elif np.all(groups[1:] >= groups[:-1]):
            row = np.arange(len(groups))
        else:
            row = np.argsort(groups, kind="stable")
        ordered = groups[row]
        starts = np.flatnonzero(ordered[1:] != ordered[:-1]) + 1
        begin = np.concatenate([[0], starts, [len(groups)]]).astype(np.int64)
        tasks = [0]
        while tasks[-1] < len(begin) - 1:
            end = int(np.searchsorted(begin, begin[tasks[-1]] + TASK_ROWS))
            tasks.append(min(end, len(begin) - 1))
        return cls(row.astype(np.uint32), begin, np.array(tasks, dtype=np.int64))

    def __len__(self) -> int:
        return len(self.begin) - 1

    @property
    def sizes(self) -> np.ndarray:
        """Rows of each query."""
        return np.diff(self.begin)

    def sums(self, values: np.ndarray) -> np.ndarray:
        """Sums over the places of each query."""
        return np.add.reduceat(values, self.begin[:-1])


def discounts(n: int) -> np.ndarray:
    """1 / log2(1 + rank) for the ranks 1 .. n."""
    return 1.0 / np.log2(np.arange(2.0, n + 2.0))


def best_dcg(queries: Queries, gain: np.ndarray, top: int) -> np.ndarray:
    """DCG of the best order of each query, cut off after ``top`` documents; gain is that of each place."""
    number = np.repeat(np.arange(len(queries)), queries.sizes)
    best = np.lexsort((-gain, number))
    rank = np.arange(len(gain)) - queries.begin[number]
    return queries.sums(np.where(rank < top, gain[best] * discounts(int(queries.sizes.max()))[rank], 0.0))
