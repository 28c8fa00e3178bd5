"""The samples of a fit: what belongs to a row, side by side, and how some of them are taken."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from boostgrad.data.columns import Columns
from boostgrad.dataset import BoostGradDataset
from boostgrad.estimators.tables import BinnedFrame, GuidedDataset
from boostgrad.inputs import checked_exposure, checked_offset, weights_of
from boostgrad.losses import Loss


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

    def start(self, n_rows: int, loss: Loss) -> np.ndarray | None:
        """What is added to the raw predictions of the rows: offset and the logarithm of the exposure together, shape
        (n_outputs, n_rows); None where neither was given."""
        start = None
        if self.offset is not None:
            start = checked_offset(self.offset, n_rows, f"offset{self.suffix}")
            if len(start) != loss.n_outputs:
                raise ValueError(
                    f"offset{self.suffix} must have {loss.n_outputs} number(s) a row, one for each raw prediction of "
                    f"the loss {loss.name or repr(loss)!r}; it has {len(start)}."
                )
        if self.exposure is not None:
            name = f"exposure{self.suffix}"
            exposure = checked_exposure(self.exposure, n_rows, name)
            if loss.exposed is None:
                raise ValueError(
                    f"{name} needs a loss with a logarithmic link, which {loss.name or repr(loss)!r} is not; use "
                    f"offset{self.suffix}."
                )
            raised = loss.exposed[:, None] * np.log(exposure)
            start = raised if start is None else raised + start
        return start

    def check_complete(self, training: Given) -> None:
        """Validation data: X_val and y_val together, nothing else without them, and what predictions start from if the
        training data have it."""
        if (self.X is None) != (self.y is None):
            raise ValueError(f"X{self.suffix} and y{self.suffix} must be given together.")
        for name in ("sample_weight", "offset", "exposure", "groups"):
            if self.X is None and getattr(self, name) is not None:
                raise ValueError(f"{name}{self.suffix} needs X{self.suffix} and y{self.suffix}.")
        for name in ("offset", "exposure"):
            one, other = getattr(training, name) is None, getattr(self, name) is None
            if self.X is not None and one != other:
                there, missing = (name, name + self.suffix) if other else (name + self.suffix, name)
                raise ValueError(
                    f"{name} and {name}{self.suffix} must be given together where X{self.suffix} is: {there} is there, "
                    f"{missing} is not."
                )


@dataclass(frozen=True, eq=False)
class Samples:
    """Some rows of a table, with what belongs to each.

    Attributes
    ----------
    columns : Columns, or BinnedFrame, BoostGradDataset or GuidedDataset
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

    columns: Columns | BinnedFrame | BoostGradDataset | GuidedDataset
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

    def with_offset(self, of_table: np.ndarray | None) -> Samples:
        """Those with an offset more, which is given for all rows of the table; None: without one more."""
        if of_table is None:
            return self
        offset = of_table if self.rows is None else of_table[:, self.rows]
        return replace(self, offset=np.ascontiguousarray(offset if self.offset is None else offset + self.offset))
