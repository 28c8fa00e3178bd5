"""The binned table: codes, and nothing else."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True, eq=False)
class BinnedMatrix:
    """Bin codes of a table, in both orders: histograms read rows, partitions read one column.

    A code is 0 where the value is missing and 1 + its bin, or its level, otherwise::

                 f0  f1  f2
        row 0  [  1   4   0 ]      by_row     C order, (n_rows, n_features)
        row 1  [  3   1   2 ]      by_column  C order, (n_features, n_rows): the same codes
           ...

    Attributes
    ----------
    by_row : ndarray of uint8 or uint16, shape (n_rows, n_features)
    by_column : ndarray of the same dtype, shape (n_features, n_rows)
    n_codes : ndarray of uint32, shape (n_features,)
        Codes of a feature are below this number; at least 2.
    categorical : ndarray of bool, shape (n_features,)
        Which features are categorical: their codes have no order. Default: none.
    """

    by_row: np.ndarray
    by_column: np.ndarray
    n_codes: np.ndarray
    categorical: np.ndarray | None = None

    def __post_init__(self):
        if self.categorical is None:
            object.__setattr__(self, "categorical", np.zeros(self.n_features, dtype=bool))

    @property
    def n_rows(self) -> int:
        return self.by_row.shape[0]

    @property
    def n_features(self) -> int:
        return self.by_row.shape[1]
