"""The binned table: codes, and nothing else."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

PADDING = 64


@dataclass(frozen=True, eq=False)
class BinnedMatrix:
    """Bin codes of a table, one column after the other.

    A code is 0 where the value is missing and 1 + its bin, or its level, otherwise::

                 row 0  row 1  row 2 ...
        f0  [      1      3      2  ]      by_column   C order, (n_features, n_rows)
        f1  [      4      1      0  ]
           ...

    Attributes
    ----------
    by_column : ndarray of uint8 or uint16, shape (n_features, n_rows)
        Readable for ``PADDING`` codes past its end: make it with :meth:`room`.
    n_codes : ndarray of uint32, shape (n_features,)
        Codes of a feature are below this number; at least 2.
    categorical : ndarray of bool, shape (n_features,)
        Which features are categorical: their codes have no order. Default: none.
    """

    by_column: np.ndarray
    n_codes: np.ndarray
    categorical: np.ndarray | None = None

    def __post_init__(self):
        if self.categorical is None:
            object.__setattr__(self, "categorical", np.zeros(self.n_features, dtype=bool))

    @staticmethod
    def room(n_features: int, n_rows: int, dtype) -> np.ndarray:
        """An array for ``by_column``: kernels read whole vectors, past the last code too."""
        return np.empty(n_features * n_rows + PADDING, dtype=dtype)[: n_features * n_rows].reshape(n_features, n_rows)

    @property
    def by_row(self) -> np.ndarray:
        """The same codes, shape (n_rows, n_features); a view."""
        return self.by_column.T

    @property
    def nbytes(self) -> int:
        return self.by_column.nbytes

    @property
    def n_rows(self) -> int:
        return self.by_column.shape[1]

    @property
    def n_features(self) -> int:
        return self.by_column.shape[0]


@dataclass(frozen=True, eq=False)
class SparseBinnedMatrix:
    """Bin codes of a table that is mostly zeros: those that differ from the code of zero, by column and by row.

    ::

        table    row 0  1  2  3       default_code 1      by column   column_begin 0     2  3
            f0  [    1  4  1  2 ]                         rows                     1  3  0
            f1  [    7  1  1  1 ]                         codes                    4  2  7

    Attributes
    ----------
    n_rows : int
    n_codes : ndarray of uint32, shape (n_features,)
        Codes of a feature are below this number; at least 2.
    default_code : ndarray of uint16, shape (n_features,)
        The code of 0, which is not stored.
    column_begin : ndarray of int64, shape (n_features + 1,)
        Where the entries of each feature begin in ``rows`` and ``codes``.
    rows : ndarray of uint32, shape (n_stored,)
    codes : ndarray of uint16, shape (n_stored,)
    row_begin : ndarray of int64, shape (n_rows + 1,)
        Where the entries of each row begin in ``row_features`` and ``row_codes``.
    row_features : ndarray of uint32, shape (n_stored,)
    row_codes : ndarray of uint16, shape (n_stored,)
    """

    n_rows: int
    n_codes: np.ndarray
    default_code: np.ndarray
    column_begin: np.ndarray
    rows: np.ndarray
    codes: np.ndarray
    row_begin: np.ndarray
    row_features: np.ndarray
    row_codes: np.ndarray

    @property
    def categorical(self) -> np.ndarray:
        """As of ``BinnedMatrix``: all columns are numbers."""
        return np.zeros(self.n_features, dtype=bool)

    @property
    def n_features(self) -> int:
        return len(self.n_codes)

    @property
    def nbytes(self) -> int:
        return self.rows.nbytes + self.codes.nbytes + self.row_features.nbytes + self.row_codes.nbytes
