"""The binned table: codes, and nothing else."""

from __future__ import annotations

import mmap
import os
import tempfile
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

PADDING = 64


def row_array(shape: Any, dtype: Any, directory: str | None) -> np.ndarray:
    """An uninitialised array of something that every row has: in memory, or in a file of its own in a directory.

    The file has no name, so nothing is left of it when the array is gone, however the process ends. Its pages are the
    system's to write back and to drop: such an array takes no memory that the process has to keep.

    Raises
    ------
    OSError
        If the file cannot be made, or there is no room for it.
    """
    dtype = np.dtype(dtype)
    n_bytes = int(np.prod(shape, dtype=np.int64)) * dtype.itemsize
    if directory is None or n_bytes == 0:
        return np.empty(shape, dtype=dtype)
    with tempfile.TemporaryFile(prefix="boostgrad-", dir=directory) as file:
        if hasattr(os, "posix_fallocate"):
            os.posix_fallocate(file.fileno(), 0, n_bytes)  # a full disk is an error now, not a signal later
        else:
            file.truncate(n_bytes)
        return np.frombuffer(mmap.mmap(file.fileno(), n_bytes), dtype=dtype).reshape(shape)


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
    directory : str or None
        Where the files lie that hold the table, and what else there is for each row while a model is fitted; None: all
        of it is in memory.
    guided : ndarray of bool, shape (n_features,)
        Which categorical features have target statistics beside them. Default: none.
    """

    by_column: np.ndarray
    n_codes: np.ndarray
    categorical: np.ndarray | None = None
    directory: str | None = None
    guided: np.ndarray | None = None

    def __post_init__(self):
        for name in ("categorical", "guided"):
            if getattr(self, name) is None:
                object.__setattr__(self, name, np.zeros(self.n_features, dtype=bool))

    @staticmethod
    def room(n_features: int, n_rows: int, dtype, directory: str | None = None) -> np.ndarray:
        """An array for ``by_column``: kernels read whole vectors, past the last code too."""
        codes = row_array(n_features * n_rows + PADDING, dtype, directory)
        return codes[: n_features * n_rows].reshape(n_features, n_rows)

    def take(self, rows: np.ndarray) -> BinnedMatrix:
        """The table of these rows, in this order."""
        by_column = self.room(self.n_features, len(rows), self.by_column.dtype, self.directory)
        for feature in range(self.n_features):
            np.take(self.by_column[feature], rows, out=by_column[feature], mode="clip")  # which needs no buffer
        return replace(self, by_column=by_column)

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

    directory = None

    def take(self, rows: np.ndarray) -> SparseBinnedMatrix:
        """The table of these rows, which ascend."""
        new_number = np.full(self.n_rows, -1, dtype=np.int64)
        new_number[rows] = np.arange(len(rows))
        kept = np.flatnonzero(new_number[self.rows] >= 0)
        feature = np.repeat(np.arange(self.n_features), np.diff(self.column_begin))[kept]
        column_rows, codes = new_number[self.rows[kept]], self.codes[kept]
        by_row = np.argsort(column_rows, kind="stable")
        return replace(
            self,
            n_rows=len(rows),
            column_begin=_begins(feature, self.n_features),
            rows=column_rows.astype(np.uint32),
            codes=codes,
            row_begin=_begins(column_rows, len(rows)),
            row_features=feature[by_row].astype(np.uint32),
            row_codes=codes[by_row],
        )

    @property
    def categorical(self) -> np.ndarray:
        """As of ``BinnedMatrix``: all columns are numbers."""
        return np.zeros(self.n_features, dtype=bool)

    guided = categorical

    @property
    def n_features(self) -> int:
        return len(self.n_codes)

    @property
    def nbytes(self) -> int:
        return self.rows.nbytes + self.codes.nbytes + self.row_features.nbytes + self.row_codes.nbytes


def _begins(numbers: np.ndarray, n: int) -> np.ndarray:
    """Where the pieces 0, ..., n - 1 begin, each as long as its number occurs; int64, shape (n + 1,)."""
    return np.concatenate([[0], np.cumsum(np.bincount(numbers, minlength=n))]).astype(np.int64)
