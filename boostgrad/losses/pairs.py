"""What a loss tells the grower: gradients and hessians; and what the grower tells it: the rows of its leaves."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np

from boostgrad.losses import _loops

# Rows that losses in numpy compute with at a time: arrays of so many stay in the second-level cache.
BLOCK = 16_384


@dataclass(eq=False)
class GradientPairs:
    """Gradient and hessian of every row, for every output; allocated once a fit and filled by the loss.

    ::

        output 0   [ g h | g h | g h | ... ]      pairs, float64, (n_outputs, n_rows, 2)
        output 1   [ g h | g h | ... ]
        or, where the hessian is the same number for all rows:
        output 0   [ g | g | g | ... ]            pairs, float64, (n_outputs, n_rows, 1)

    Attributes
    ----------
    pairs : ndarray of float64, C order
    constant_hessian : float or None
        The hessian of every row where it is one number and therefore not stored.
    largest : ndarray of float64, shape (n_outputs, 2)
        Upper bounds of \\|gradient\\| and of the hessian over all rows, for each output: histograms round by them.
    unit : ndarray of float64, shape (n_outputs,), or None
        What a score of each output is divided by where one tree is grown for all of them; None: 1.
    hessian_unit : ndarray of float64, shape (n_outputs,)
        What counts as a hessian of 1 for penalties and least sums of hessians. 1 but where a loss says
        otherwise, because hessians are as large as the unit of the target makes them. See :meth:`settle_unit`.
    by_row : ndarray of bool, shape (n_outputs,)
        Where rows weigh by the square root of their hessian instead. See :meth:`settle_unit`.
    settled : ndarray of bool, shape (1,)
        Whether there are any such units; one array for all parts of the pairs.
    room : ndarray of float64, shape (n_outputs, n_rows, 2), or None
        For a loss that may find its hessians to be one number after all, iteration by iteration: room for whole pairs,
        of which ``pairs`` is the front part then. See :meth:`fill_all`.
    """

    pairs: np.ndarray
    constant_hessian: float | None
    largest: np.ndarray
    unit: np.ndarray | None = None
    hessian_unit: np.ndarray = None  # type: ignore[assignment]
    by_row: np.ndarray = None  # type: ignore[assignment]
    settled: np.ndarray = None  # type: ignore[assignment]
    room: np.ndarray | None = None

    def __post_init__(self):
        if self.hessian_unit is None:
            self.hessian_unit, self.by_row = np.ones(len(self.pairs)), np.zeros(len(self.pairs), dtype=bool)
            self.settled = np.zeros(1, dtype=bool)

    @classmethod
    def empty(cls, n_outputs: int, n_rows: int, constant_hessian: float | None) -> GradientPairs:
        width = 2 if constant_hessian is None else 1
        return cls(np.empty((n_outputs, n_rows, width)), constant_hessian, np.zeros((n_outputs, 2)))

    def fill(self, output: int, gradient: np.ndarray, hessian: np.ndarray | None, n_threads: int = 1) -> None:
        """Store whole arrays (or numbers) of one output; for losses written in numpy. ``hessian`` is not read where
        constant."""
        gradient = real_numbers(gradient, "the gradient of a loss")
        hessian = None if self.constant_hessian is not None else real_numbers(hessian, "the hessian of a loss")
        _loops.fill_pairs(self.pairs[output], gradient, hessian, self.largest[output], n_threads)

    def fill_all(self, gradient: np.ndarray, hessian: np.ndarray | float, n_threads: int = 1) -> None:
        """Store the arrays of all outputs, shape (n_outputs, n_rows); the hessian may be a number. Where there is
        ``room`` and all hessians are the same positive number, they are not stored, and the tree is cheaper."""
        if self.room is not None:
            self._lay_out(_loops.only_value(hessian))
        self._fill(gradient, hessian, n_threads)

    def fill_rows(self, rows: slice, gradient: np.ndarray, hessian: np.ndarray | float) -> np.ndarray | float | None:
        """The same for a block of rows, while it is in the cache. Threads may fill blocks at once, in any order; what
        this returns of each then goes to :meth:`settle_rows`."""
        self.of_rows(rows)._fill(gradient, hessian)
        is_number = np.ndim(hessian) == 0
        return float(hessian) if is_number else None if self.constant_hessian is None else hessian

    def settle_rows(self, blocks: list[tuple[slice, np.ndarray | float | None]]) -> None:
        """Once all blocks are filled: whether all hessians are one number.

        Parameters
        ----------
        blocks : list of (slice, ndarray, float or None)
            Hessians of the rows of each: a number, an array that is not stored, because all hessians were one number
            in the iteration before, or None.
        """
        if self.room is None:
            return
        numbers = {hessian if isinstance(hessian, float) else None for _, hessian in blocks}
        number = numbers.pop() if len(numbers) == 1 else None
        constant = None if number is None else _loops.only_value(number)
        if constant is not None and self.constant_hessian is not None:
            self.constant_hessian = constant
        elif constant is not None or self.constant_hessian is not None:
            gradient = self.pairs[:, :, 0].copy()
            self._lay_out(constant)
            for rows, hessian in blocks:
                self.of_rows(rows)._fill(gradient[:, rows], hessian)

    def _fill(self, gradient: np.ndarray, hessian: np.ndarray | float, n_threads: int = 1) -> None:
        hessian = np.broadcast_to(hessian, gradient.shape)
        for output in range(len(gradient)):
            self.fill(output, gradient[output], hessian[output], n_threads)

    def of_outputs(self, which: slice) -> GradientPairs:
        """The part of some outputs, for a loss of so many; filling it fills this."""
        units = {"hessian_unit": self.hessian_unit[which], "by_row": self.by_row[which], "settled": self.settled}
        return GradientPairs(self.pairs[which], self.constant_hessian, self.largest[which], **units)

    def of_rows(self, rows: slice) -> GradientPairs:
        """The part of some rows, for a loss that goes block by block; filling it fills this."""
        units = {"hessian_unit": self.hessian_unit, "by_row": self.by_row, "settled": self.settled}
        return GradientPairs(self.pairs[:, rows], self.constant_hessian, self.largest, **units)

    def settle_unit(
        self,
        output: int,
        weight: np.ndarray | None,
        by_row: bool = False,
        typical: bool = False,
        n_threads: int = 1,
    ) -> None:
        """The mean hessian of a row is the unit from now on, so that it does not matter what the target is measured in.
        For losses to call that have filled an output whose hessians are not numbers of their own, but 1 / variance or
        the like.

        With ``by_row`` trees weigh rows by the square root of their hessian, for hessians that are as uncertain as the
        prediction they come of: where a few rows are taken to be nearly without noise, trees would be about them alone.
        Each row's own step stays what it is.

        ``typical`` is for hessians that are 1 where a row is met and 1 / distance far from it. Rows that are met would
        make their mean, and a single outlier the harmonic mean: the unit is 1 / mean(sqrt(1 / hessian))^2.
        """
        if typical:
            unit = _loops.mean_inverse_root(self.pairs[output], weight, n_threads) ** -2
        else:
            unit = self._mean_hessian(output, weight)
        known = 0 < unit < np.inf
        self.hessian_unit[output] = unit if known else 1.0
        self.by_row[output] = by_row and known
        self.settled[0] = True

    def _mean_hessian(self, output: int, weight: np.ndarray | None) -> float:
        total = float(self.pairs[output, :, 1].sum())
        return total / (self.n_rows if weight is None else float(weight.sum()))

    @property
    def score_unit(self) -> np.ndarray:
        """What a score, gradient^2 / hessian, of each output is divided by once pairs are in units."""
        return (1.0 if self.unit is None else self.unit) / self.hessian_unit

    @property
    def gain_unit(self) -> np.ndarray:
        """What a gain of 1 is once pairs are in units; gains of rows that weigh by the root of a hessian were nats."""
        return np.where(self.by_row, 1.0 / self.hessian_unit, 1.0)

    def to_units(self, weight: np.ndarray | None, n_threads: int = 1) -> None:
        """Divide the pairs of each output by its unit, or the pair of each row by the geometric mean of the unit and of
        the row's hessian, which changes no Newton step of a row."""
        if not self.settled[0]:
            return
        for k in np.flatnonzero((self.hessian_unit != 1.0) & ~self.by_row):
            self.pairs[k] /= self.hessian_unit[k]
            self.largest[k] /= self.hessian_unit[k]
        for k in np.flatnonzero(self.by_row):
            _loops.weigh_by_root(self.pairs[k], weight, self.hessian_unit[k], self.largest[k], n_threads)

    def unsettle(self) -> None:
        """Where there is ``room``: whole pairs again, which are filled output by output."""
        if self.room is not None:
            self._lay_out(None)

    def settle(self) -> None:
        """Where there is ``room``, whole pairs are filled, and all hessians are the same positive number: keep the
        gradients alone."""
        if self.room is not None and self.constant_hessian is None:
            constant = _loops.only_value(self.room[0, :2, 1])  # which is not so for most, so two rows are asked first
            constant = constant and _loops.only_value(self.room[:, :, 1])
            if constant is not None:
                gradients = self.room[:, :, :1].copy()
                self._lay_out(constant)
                self.pairs[:] = gradients

    def _lay_out(self, constant: float | None) -> None:
        n_outputs, n_rows = self.room.shape[:2]
        alone = self.room.reshape(-1)[: n_outputs * n_rows].reshape(n_outputs, n_rows, 1)
        self.constant_hessian = constant
        self.pairs = self.room if constant is None else alone

    @property
    def n_rows(self) -> int:
        return self.pairs.shape[1]


def real_numbers(values: Any, what: str) -> np.ndarray:
    """The values in float64.

    Raises
    ------
    TypeError
        If they are not real numbers.
    """
    array = np.asarray(values)
    if array.dtype.kind == "O":
        try:
            return array.astype(np.float64)
        except (TypeError, ValueError):
            pass
    if array.dtype.kind not in "biuf":
        raise TypeError(f"{what} must hold real numbers. Got {array.dtype} instead.")
    return array.astype(np.float64, copy=False)


@dataclass(frozen=True, eq=False)
class RowsByLeaf:
    """The training rows of each leaf of a tree::

        rows    [ 2 5 | 0 1 4 | 3 ]      ascending within a leaf
        begin   [ 0     2       5   6 ]

    Attributes
    ----------
    rows : ndarray of uint32, shape (n_rows,)
    begin : ndarray of int64, shape (n_leaves + 1,)
        Leaf l has ``rows[begin[l] : begin[l + 1]]``.
    """

    rows: np.ndarray
    begin: np.ndarray

    @property
    def n_leaves(self) -> int:
        return len(self.begin) - 1

    def __iter__(self) -> Iterator[np.ndarray]:
        """The row numbers of one leaf after the other."""
        for begin, end in pairwise(self.begin.tolist()):
            yield self.rows[begin:end]


def not_finite(pairs: GradientPairs, loss: Any) -> str:
    """Which gradient or hessian is the first one that is not finite, in words."""
    output, row, lane = (int(index[0]) for index in np.nonzero(~np.isfinite(pairs.pairs)))
    what, value = ("gradient", "hessian")[lane], pairs.pairs[output, row, lane]
    return f"the {what} of loss {loss.name or type(loss).__name__!r} is {value} at training row {row}"


def check_curved(pairs: GradientPairs, loss: Any) -> None:
    """Look for an output that has gradients, but no hessian above 0 by which leaves could have values.

    Raises
    ------
    ValueError
        If there is one.
    """
    if pairs.constant_hessian is not None:
        return
    for output, of_rows in enumerate(pairs.pairs):
        if (of_rows[:BLOCK, 1] > 0).any():  # as in all fits that make sense, so the rest need not be read
            continue
        if of_rows[:, 0].any() and not (of_rows[:, 1] > 0).any():
            raise ValueError(
                f"the hessians of loss {loss.name or type(loss).__name__!r} are 0 or negative for all rows (output "
                f"{output}): give second derivatives, or a bound of them, such as 1."
            )


def check_written(pairs: GradientPairs, loss: Any) -> None:
    """Look for what a loss of the user's left out when it first filled pairs that :meth:`Loss.pairs` made.

    Raises
    ------
    ValueError
        If there is such a row.
    """
    if loss.ours or not np.isfinite(pairs.largest).all():  # a NaN that was written
        return
    left_out = np.argwhere(np.isnan(pairs.pairs))
    if len(left_out):
        output, row, lane = left_out[0].tolist()
        raise ValueError(
            f"{type(loss).__name__}.gradients must fill `out` for all rows and {loss.n_outputs} output(s): it left out "
            f"the {('gradient', 'hessian')[lane]} of output {output} at training row {row}."
        )
