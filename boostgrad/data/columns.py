"""Any table as typed columns.

A column is taken in the container's own dtype, wherever possible as a view of it, and one by one: nothing here ever
converts a table as a whole. What must be converted is converted when it is read, a block of rows at a time, and not
kept.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from typing import Any

import numpy as np

from boostgrad.data.containers import REAL_KINDS, from_array, is_frame, is_sparse, native, read_frame
from boostgrad.data.levels import CodedColumn, TimeColumn, is_missing

# Rows of what is made at a time.
BLOCK_ROWS = 65_536


class Columns:
    """A table of columns.

    ``as_columns`` makes one of what a person has; it may hold any of the kinds of ``boostgrad.data.levels``. What
    ``TableSchema.apply`` makes of that is what binning and predictors read: real numbers, and level numbers of
    categories.

    Parameters
    ----------
    arrays : sequence of columns, or ndarray of shape (n_rows, n_columns)
        One-dimensional real arrays, or functions that make them, of a slice of the rows or without an argument of all;
        or one two-dimensional array whose columns they are.
    n_rows : int
    names : tuple of str or None
    n_levels : tuple of int or None, default=None
        For each column the number of its levels, 0 where it is a column of numbers; None: all are. A column of levels
        is a contiguous int32 array of 0, ..., n_levels - 1, and -1 where missing; -2 where it is a level that was not
        learned, which is missing, too, to all but target statistics.

    Attributes
    ----------
    matrix : ndarray or None
        The two-dimensional array where the table is one.
    """

    def __init__(
        self, arrays: Any, n_rows: int, names: tuple[str, ...] | None, n_levels: tuple[int, ...] | None = None
    ):
        self.matrix = arrays if isinstance(arrays, np.ndarray) else None
        self._arrays = arrays
        self.n_rows = n_rows
        self.n_columns = arrays.shape[1] if self.matrix is not None else len(arrays)
        self.names = names
        self.n_levels = n_levels

    def entry(self, column: int) -> Any:
        """The column as it is kept: not yet converted where it has to be."""
        return self._arrays[:, column] if self.matrix is not None else self._arrays[column]

    def is_made(self, column: int) -> bool:
        """Whether the column does not lie there, but is made whenever it is read."""
        return self.matrix is None and callable(self._arrays[column])

    def __getitem__(self, column: int) -> Any:
        entry = self.entry(column)
        return entry() if callable(entry) else entry

    def at(self, column: int, rows: np.ndarray | None) -> np.ndarray:
        """The values of a column at these rows; None: at all. It is not made as a whole for rows that ascend."""
        if rows is None or not self.is_made(column) or not ascends(rows):
            return self[column] if rows is None else self[column][rows]
        entry, pieces = self.entry(column), []
        for begin, first, end in self.blocks(rows):
            if end > first:
                pieces.append(entry(slice(begin, begin + BLOCK_ROWS))[rows[first:end] - begin])
        return np.concatenate(pieces) if pieces else entry(slice(0, 0))

    def blocks(self, rows: np.ndarray | None = None) -> Iterator[tuple[int, int, int]]:
        """Where each block of rows begins, and which of the given rows, which ascend (None: all), are in it."""
        for begin in range(0, self.n_rows, BLOCK_ROWS):
            end = min(begin + BLOCK_ROWS, self.n_rows)
            yield (begin, begin, end) if rows is None else (begin, *np.searchsorted(rows, (begin, end)).tolist())

    def block(self, begin: int) -> Columns:
        """The rows of one block as a table of their own."""
        rows = slice(begin, min(begin + BLOCK_ROWS, self.n_rows))
        if self.matrix is not None:
            made: Any = self.matrix[rows]
        else:
            made = [partial(entry, rows) if callable(entry) else entry[rows] for entry in self._arrays]
        return Columns(made, rows.stop - rows.start, self.names, self.n_levels)

    def in_order_of(self, names: tuple[str, ...] | None) -> Columns:
        """The same columns in the order of these names; as they are where either side has none."""
        if names is None or self.names is None or names == self.names:
            return self
        position = {name: j for j, name in enumerate(self.names)}
        order = [position[name] for name in names]
        n_levels = None if self.n_levels is None else tuple(self.n_levels[j] for j in order)
        return Columns([self.entry(j) for j in order], self.n_rows, names, n_levels)

    def label(self, column: int) -> str:
        """How a message names the column."""
        return repr(self.names[column]) if self.names is not None else str(column)


def ascends(rows: np.ndarray | None) -> bool:
    """Whether these row numbers ascend, as all rows (None) do."""
    return rows is None or bool(np.all(rows[1:] > rows[:-1]))


class SparseColumns:
    """A table of numbers of which only some are stored; the others are 0.

    Parameters
    ----------
    X : sparse matrix or array of scipy, of shape (n_rows, n_columns)

    Attributes
    ----------
    n_rows, n_columns : int
    names, n_levels, matrix : None
        As of ``Columns``: there are no names, all columns are numbers, and there is no dense array.
    """

    names = n_levels = matrix = None

    def __init__(self, X: Any):
        self._given = X
        self._by_column: tuple | None = None
        self._by_row: tuple | None = None
        self.n_rows, self.n_columns = (int(n) for n in X.shape)

    def by_column(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """(values, rows, where each column begins): no row twice in a column."""
        if self._by_column is None:
            self._by_column = _parts(self._given, self._given.tocsc())
        return self._by_column

    def by_row(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """(values, columns, where each row begins): no column twice in a row."""
        if self._by_row is None:
            self._by_row = _parts(self._given, self._given.tocsr())
        return self._by_row

    def in_order_of(self, names: tuple[str, ...] | None) -> SparseColumns:
        return self

    def label(self, column: int) -> str:
        return str(column)


def _parts(given: Any, made: Any) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The arrays of a CSR or CSC matrix, entries of one place summed up; the given one is left as it is."""
    if made is given:
        made.check_format(full_check=True)  # the loops rely on it
    if not made.has_canonical_format:
        made = made.copy() if made is given else made
        made.sum_duplicates()
    values, indices = native(made.data), made.indices
    if indices.dtype not in (np.int32, np.int64) or not indices.dtype.isnative:
        indices = indices.astype(np.int64)
    return np.ascontiguousarray(values), np.ascontiguousarray(indices), np.asarray(made.indptr, dtype=np.int64)


def as_columns(X: Any, *, min_rows: int = 1) -> Columns | SparseColumns:
    """Take a table as columns.

    Parameters
    ----------
    X : array-like or data frame of shape (n_rows, n_columns)
        An array of real numbers in any memory order, of text, dates or objects; lists of rows; a data frame of pandas,
        polars or pyarrow, or any that narwhals or the Arrow PyCapsule interface can read; a sparse matrix or array of
        scipy. NaN, None, what is masked and the missing values of the container are missing; infinities are numbers;
        what a sparse matrix does not store is 0.
    min_rows : int, default=1

    Returns
    -------
    Columns, or SparseColumns of a sparse X

    Raises
    ------
    ValueError
        If X is not two-dimensional, has no columns or fewer than ``min_rows`` rows, is complex, or has a column name
        twice.
    TypeError
        If X is structured, lazy or sparse in another library's way, has names of which only some are strings,
        or holds values that are neither numbers, text, bools, dates nor hashable (the message names the column, and the
        row where it is one value).
    """
    if type(X) is np.ndarray:  # first, since one row is predicted in microseconds
        columns = _from_array(X)
    elif is_sparse(X):
        columns = _from_sparse(X)
    elif hasattr(X, "toarray") and hasattr(X, "nnz"):
        raise TypeError(
            f"Sparse data of an unknown kind was passed ({type(X).__module__}.{type(X).__name__}): pass a sparse "
            "matrix or array of scipy, or dense data."
        )
    elif is_frame(X):
        entries, n_rows, names = read_frame(X)
        columns = Columns(entries, n_rows, _text_names(names))
    else:
        columns = _from_array(X)
    if columns.n_columns == 0:
        raise ValueError(
            f"Found array with 0 feature(s) (shape=({columns.n_rows}, 0)) while a minimum of 1 is required."
        )
    if columns.n_rows < min_rows:
        raise ValueError(
            f"Found array with {columns.n_rows} sample(s) (shape=({columns.n_rows}, {columns.n_columns})) while a "
            f"minimum of {min_rows} is required."
        )
    return columns


def as_values(column: Any) -> np.ndarray:
    """A column, as it is kept, as one array: numbers or dates as they are, levels as objects."""
    if isinstance(column, TimeColumn):
        return column.values
    if isinstance(column, CodedColumn):
        return column.values()
    return column() if callable(column) else column


def is_bool(column: Any) -> bool:
    """Whether all that a column, as it is kept, holds are bools or missing."""
    levels = column.levels if isinstance(column, CodedColumn) else ()
    return len(levels) > 0 and all(isinstance(level, bool | np.bool_) or is_missing(level) for level in levels)


def _from_array(X: Any) -> Columns:
    if not isinstance(X, np.ndarray):
        if isinstance(X, str | bytes) or X is None or np.isscalar(X):
            raise ValueError(f"Expected 2D array, got {type(X).__name__} instead: X must be a table of numbers.")
        given = X
        X = np.asarray(given)
        if X.dtype.kind in "SU":  # numpy makes text of the numbers beside it
            X = np.asarray(given, dtype=object)
    if isinstance(X, np.ma.MaskedArray):
        X = _unmasked(X)
    X = X.view(np.ndarray) if type(X) is not np.ndarray else X
    if X.dtype.kind == "V":
        raise TypeError("Structured arrays are not accepted. Use a data frame, such as pandas.DataFrame(X).")
    if X.ndim != 2:
        raise ValueError(
            f"Expected 2D array, got {X.ndim}D array instead: X has shape {X.shape}. Reshape your data either using "
            "array.reshape(-1, 1) if it has a single feature or array.reshape(1, -1) if it contains a single sample."
        )
    if X.dtype.kind == "c":
        raise ValueError("Complex data not supported: X must hold real numbers.")
    if X.dtype.kind not in REAL_KINDS:
        return Columns([from_array(X[:, j], str(j)) for j in range(X.shape[1])], X.shape[0], None)
    return Columns(native(X), X.shape[0], None)


def _unmasked(X: np.ma.MaskedArray) -> np.ndarray:
    """What is masked is missing: NaN among numbers, NaT among dates, None among objects."""
    if not np.ma.is_masked(X):
        return X.data
    if X.dtype.kind in "mM":
        return X.filled(np.array("NaT", dtype=X.dtype))
    if X.dtype.kind in "biu":
        X = X.astype(np.float64)
    if X.dtype.kind == "f":
        return X.filled(np.nan)
    objects = X.data.astype(object)
    objects[np.ma.getmaskarray(X)] = None  # to fill with None is to fill with numpy's default, "?"
    return objects


def _from_sparse(X: Any) -> SparseColumns:
    if len(X.shape) != 2:
        raise ValueError(f"Expected 2D array, got {len(X.shape)}D array instead: X is sparse and has shape {X.shape}.")
    if X.dtype.kind == "c":
        raise ValueError("Complex data not supported: X must hold real numbers.")
    if X.dtype.kind not in REAL_KINDS:
        raise TypeError(f"X is sparse and has the dtype {X.dtype}: a sparse table must hold real numbers.")
    return SparseColumns(X)


def _text_names(names: list) -> tuple[str, ...] | None:
    """The names where all are strings, None where none is."""
    n_text = sum(isinstance(name, str) for name in names)
    if n_text == 0:
        return None
    if n_text < len(names):
        kinds = sorted({type(name).__name__ for name in names})
        raise TypeError(
            f"Feature names are only supported if all input features have string names, but they are of the types "
            f"{kinds}. Use X.columns = X.columns.astype(str) to make them strings."
        )
    if len(set(names)) < len(names):
        twice = next(name for name in names if names.count(name) > 1)
        raise ValueError(f"Feature names must be unique, as columns are matched by name: {twice!r} is there twice.")
    return tuple(names)
