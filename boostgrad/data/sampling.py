"""Which rows quantiles are learned from: a function of the row numbers alone, so that it can be asked row by row.

Rows are cut into stretches of 2^level rows, and each stretch sends one row that was drawn from it. The row of a stretch
is the row of one of its halves, so a sample of longer stretches is a part of the sample of shorter ones, and a reader
that does not know yet how many rows will come drops every second of its rows whenever they are too many::

    rows        0 1 2 3 4 5 6 7        level 0: all
                 1   3   4   7         level 1
                   3       4           level 2
"""

from __future__ import annotations

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
    level = level_of(n)
    rows = _drawn(np.arange(-(-n >> level)), level)
    return rows[rows < n]


def is_sampled(rows: np.ndarray, level: int) -> np.ndarray:
    """Whether each of these row numbers is the one that its stretch sends."""
    return _drawn(rows >> level, level) == rows


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
