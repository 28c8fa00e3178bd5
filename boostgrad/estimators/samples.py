"""The samples of a fit: what belongs to a row, side by side, and how some of them are taken."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from boostgrad.data.binning import BinMapper
from boostgrad.data.columns import Columns
from boostgrad.data.matrix import BinnedMatrix, SparseBinnedMatrix
from boostgrad.data.schema import TableSchema
from boostgrad.data.statistics import Redraws, TargetStatistics
from boostgrad.dataset import BoostGradDataset
from boostgrad.inputs import weights_of


@dataclass(frozen=True, eq=False)
class Given:
    """What fit was given for training or, with the suffix "_val" in the names of its arguments, for validation."""

    X: Any
    y: Any
    sample_weight: Any = None
    offset: Any = None
    exposure: Any = None
    groups: Any = None
    suffix: str = ""

    def unpacked(self) -> Given:
        """With the target and the weights of X, where it is a BoostGradDataset."""
        if not isinstance(self.X, BoostGradDataset):
            return self
        for name in ("y", "sample_weight"):
            if getattr(self, name) is not None:
                raise ValueError(f"{name}{self.suffix} must be given to the BoostGradDataset, not beside it.")
        return replace(self, y=self.X.y, sample_weight=self.X.sample_weight)

    def check_complete(self) -> None:
        """Validation data: X_val and y_val together, nothing else without them."""
        if (self.X is None) != (self.y is None):
            raise ValueError(f"X{self.suffix} and y{self.suffix} must be given together.")
        for name in ("sample_weight", "offset", "exposure", "groups"):
            if self.X is None and getattr(self, name) is not None:
                raise ValueError(f"{name}{self.suffix} needs X{self.suffix} and y{self.suffix}.")


@dataclass(frozen=True, eq=False)
class BinnedFrame:
    """A frame and its bins; what a BoostGradDataset is of a table that is not kept.

    Where categories have target statistics, training rows have those of the first drawing.
    """

    schema: TableSchema
    mapper: BinMapper
    columns: Columns
    n_threads: int
    statistics: TargetStatistics | None = None

    @property
    def n_rows(self) -> int:
        return self.columns.n_rows

    def binned(self, rows: np.ndarray | None) -> BinnedMatrix | SparseBinnedMatrix:
        """The codes of these rows; None: of all."""
        matrix = self.mapper.transform(self.columns, rows=rows, n_threads=self.n_threads)
        return matrix if self.statistics is None else self.statistics.guided(matrix)

    def redraws(self, matrix: BinnedMatrix) -> Redraws | None:
        """What draws target statistics afresh for the training rows, whose codes these are; None: nothing to draw."""
        return None if self.statistics is None else self.statistics.redraws(matrix, self.mapper, self.n_threads)


@dataclass(frozen=True, eq=False)
class Samples:
    """Some rows of a table, with what belongs to each.

    Attributes
    ----------
    columns : Columns, or BinnedFrame or BoostGradDataset
        Of the whole table; it is never copied.
    rows : ndarray of intp, shape (n,), or None
        Which rows of the table they are, ascending. None: all.
    y : ndarray of shape (n,) or (n, ...)
        As the face's ``_check_target``, and later its ``_encode_target``, returned it.
    weight : ndarray of float64, shape (n,), or None
        None: 1 for all.
    offset : ndarray of float64, shape (n_outputs, n), or None
    groups : ndarray of int64, shape (n,), or None
        Numbers of the groups, from 0.
    """

    columns: Columns | BinnedFrame | BoostGradDataset
    rows: np.ndarray | None
    y: np.ndarray
    weight: np.ndarray | None = None
    offset: np.ndarray | None = None
    groups: np.ndarray | None = None

    def __len__(self) -> int:
        return self.columns.n_rows if self.rows is None else len(self.rows)

    def take(self, positions: np.ndarray) -> Samples:
        """Those at these positions, which ascend."""
        return replace(
            self,
            rows=positions if self.rows is None else self.rows[positions],
            y=self.y[positions],
            weight=weights_of(self.weight, positions),
            offset=None if self.offset is None else np.ascontiguousarray(self.offset[:, positions]),
            groups=None if self.groups is None else self.groups[positions],
        )

    def with_weight(self) -> Samples:
        """Those whose weight is not 0."""
        if self.weight is None or self.weight.all():
            return self
        return self.take(np.flatnonzero(self.weight))

    def with_offset(self, of_table: np.ndarray) -> Samples:
        """Those with an offset more, which is given for all rows of the table."""
        offset = of_table if self.rows is None else of_table[:, self.rows]
        return replace(self, offset=np.ascontiguousarray(offset if self.offset is None else offset + self.offset))
