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

from boostgrad.data.matrix import row_array

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
    """The sampled rows, when rows come batch by batch and nobody knows how many.

    Parameters
    ----------
    directory : str or None
        Where files lie that hold them; None: they are in memory.
    """

    def __init__(self, directory: str | None = None) -> None:
        self.n_rows = 0  # that came
        self._directory = directory
        self._level = 0
        self._n_picked = 0  # of the rows that came last
        self._rows = np.empty(0, dtype=np.int64)
        self._columns: dict[Any, np.ndarray] = {}

    def next(self, n_rows: int) -> np.ndarray:
        """Which of the next n_rows rows are in the sample: their positions among them; :meth:`add` them."""
        first = self.n_rows
        self.n_rows += n_rows
        if level_of(self.n_rows) > self._level:
            self._level = level_of(self.n_rows)
            kept = _drawn(self._rows >> self._level, self._level) == self._rows
            for column in self._columns.values():
                column[: kept.sum()] = column[: len(kept)][kept]
            self._rows = self._rows[kept]
        rows = _drawn_between(first, self.n_rows, self._level)
        self._n_picked = len(rows)
        self._rows = np.append(self._rows, rows)
        return rows - first

    def add(self, values: dict[Any, np.ndarray]) -> None:
        """Keep what the rows that :meth:`next` picked hold, by names of the columns; a column that is not among them is
        missing in all of these rows."""
        new = [name for name in values if name not in self._columns]
        if new:
            room = row_array((len(new), SAMPLE_ROWS), np.float64, self._directory)
            self._columns |= dict(zip(new, room, strict=True))
        first = len(self._rows) - self._n_picked
        for name, column in self._columns.items():
            if name in new:
                column[:first] = np.nan
            column[first : len(self._rows)] = values.get(name, np.nan)

    def column(self, name: Any) -> np.ndarray | None:
        """The column of all sampled rows in float64; None where there was none of that name."""
        return self._columns[name][: len(self._rows)] if name in self._columns else None


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
