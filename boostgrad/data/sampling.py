"""Which rows quantiles are learned from: a function of the row numbers alone, so that it can be asked row by row.

Rows are cut into stretches of 2^level rows, and each stretch sends one row that was drawn from it. The row of a stretch
is the row of one of its halves, so a sample of longer stretches is a part of the sample of shorter ones, and a reader
that does not know yet how many rows will come drops every second of its rows whenever they are too many::

    rows        0 1 2 3 4 5 6 7        level 0: all
                 1   3   4   7         level 1
                   3       4           level 2
"""

from __future__ import annotations

from typing import Any

import numpy as np

# Quantiles come from at most so many rows, and from more than half as many where there are more.
SAMPLE_ROWS = 200_000


def level_of(n: int) -> int:
    """The smallest level of which n rows make no more than ``SAMPLE_ROWS`` stretches."""
    level = 0
    while -(-n >> level) > SAMPLE_ROWS:
        level += 1
    return level


def sample_rows(n: int) -> np.ndarray:
    """The numbers of the rows that represent n rows, ascending, int64."""
    return _drawn_between(0, n, level_of(n))


class RowSample:
    """Numbers of the sampled rows, when rows come batch by batch and nobody knows how many."""

    def __init__(self) -> None:
        self.n_rows = 0  # that came
        self._level = 0
        self._pieces: list[tuple[np.ndarray, np.ndarray | None, dict[Any, np.ndarray]]] = []

    def next(self, n_rows: int) -> np.ndarray:
        """Which of the next n_rows rows are in the sample: their positions among them; :meth:`add` them."""
        first = self.n_rows
        self.n_rows += n_rows
        if level_of(self.n_rows) > self._level:
            self._level = level_of(self.n_rows)
            self._pieces = [self._thinned(*piece) for piece in self._pieces]
        return _drawn_between(first, self.n_rows, self._level) - first

    def add(self, positions: np.ndarray, weight: np.ndarray | None, values: dict[Any, np.ndarray], n_rows: int) -> None:
        """Keep what these rows of the last n_rows rows hold.

        Parameters
        ----------
        positions : ndarray of int64
            As :meth:`next` gave them.
        weight : ndarray of float64 or None
            Of these rows; None: 1.
        values : dict of ndarray
            By a name of the column; a column that is not there is missing in all of these rows.
        n_rows : int
        """
        self._pieces.append((positions + (self.n_rows - n_rows), weight, values))

    def _thinned(self, rows: np.ndarray, weight: np.ndarray | None, values: dict) -> tuple:
        kept = _drawn(rows >> self._level, self._level) == rows
        return rows[kept], None if weight is None else weight[kept], {name: v[kept] for name, v in values.items()}

    def weight(self) -> np.ndarray | None:
        """Weights of all sampled rows; None where all are 1."""
        if all(weight is None for _, weight, _ in self._pieces):
            return None
        return np.concatenate([np.ones(len(rows)) if weight is None else weight for rows, weight, _ in self._pieces])

    def column(self, name: Any) -> np.ndarray:
        """The column of all sampled rows."""
        pieces = [values.get(name) for _, _, values in self._pieces]
        return np.concatenate(
            [np.full(len(p[0]), np.nan) if v is None else v for p, v in zip(self._pieces, pieces, strict=True)]
        )


def _drawn_between(first: int, last: int, level: int) -> np.ndarray:
    """The sampled ones of the rows first, ..., last - 1."""
    rows = _drawn(np.arange(first >> level, -(-last >> level)), level)
    return rows[(rows >= first) & (rows < last)]


def _drawn(stretches: np.ndarray, level: int) -> np.ndarray:
    """The row of each stretch: half by half, each drawn by a hash of what it is a half of (splitmix64's, Steele et al.
    2014)."""
    rows = stretches.astype(np.uint64)
    for below in range(level, 0, -1):
        x = (rows + np.uint64(below << 48)) * np.uint64(0x9E3779B97F4A7C15)
        x = (x ^ (x >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        x = (x ^ (x >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
        rows = 2 * rows + (x >> np.uint64(63))
    return rows.astype(np.int64)
