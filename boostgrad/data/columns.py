"""Any table as typed columns: the one place that knows what containers people have.

A column is a one-dimensional numpy array in the container's own dtype, wherever possible a view of it; missing values
are NaN. Nothing here ever makes a float64 copy of a table.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

# Kinds of numpy dtypes that are numbers: bool, signed, unsigned, float.
REAL_KINDS = "biuf"


class Columns:
    """A table of real columns.

    Parameters
    ----------
    arrays : sequence of ndarray, or ndarray of shape (n_rows, n_columns)
        One-dimensional real arrays, or one two-dimensional array whose columns they are.
    n_rows : int
    names : tuple of str or None
    n_levels : tuple of int or None
        For each column the number of its levels, 0 where it is numeric; None where all are. A categorical column is
        of int32: levels from 0, and -1 where it is missing.

    Attributes
    ----------
    matrix : ndarray or None
        The two-dimensional array where the table is one.
    """

    def __init__(self, arrays, n_rows: int, names: tuple[str, ...] | None, n_levels=None):
        self.matrix = arrays if isinstance(arrays, np.ndarray) else None
        self._arrays = arrays
        self.n_rows = n_rows
        self.n_columns = arrays.shape[1] if self.matrix is not None else len(arrays)
        self.names = names
        self.n_levels: tuple[int, ...] | None = n_levels

    def __getitem__(self, column: int) -> np.ndarray:
        return self._arrays[:, column] if self.matrix is not None else self._arrays[column]

    def views(self) -> Sequence[np.ndarray]:
        """All columns, each a one-dimensional array of a native-endian real dtype."""
        return [self[j] for j in range(self.n_columns)]

    def in_order_of(self, names: tuple[str, ...] | None) -> Columns:
        """The same columns in the order of these names; as they are where either side has none."""
        if names is None or self.names is None or names == self.names:
            return self
        position = {name: j for j, name in enumerate(self.names)}
        order = [position[name] for name in names]
        n_levels = None if self.n_levels is None else tuple(self.n_levels[j] for j in order)
        return Columns([self[j] for j in order], self.n_rows, names, n_levels)

    def label(self, column: int) -> str:
        """How a message names the column."""
        return repr(self.names[column]) if self.names is not None else str(column)


def as_columns(X, *, min_rows: int = 1) -> Columns:
    """Take a table as columns.

    Parameters
    ----------
    X : array-like of shape (n_rows, n_columns), or pandas DataFrame
        Real numbers: bool, integers or floats of any width, in any memory order. NaN is missing, infinities are
        allowed.
    min_rows : int, default=1

    Returns
    -------
    Columns

    Raises
    ------
    ValueError
        If X is not two-dimensional, has no columns or fewer than ``min_rows`` rows, is complex, holds text that is
        not a number (the message names the column, row and value), or has a column name twice.
    TypeError
        If X is sparse or masked, holds objects that are not numbers, or has names of which only some are strings.
    """
    if hasattr(X, "toarray") and hasattr(X, "nnz"):
        raise TypeError(
            f"Sparse data was passed ({type(X).__name__}), but dense data is required. Use '.toarray()' to convert it."
        )
    columns = _from_pandas(X) if _is_pandas_frame(X) else _from_array(X)
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


def _is_pandas_frame(X) -> bool:
    """Whether X is a frame of pandas or of a subclass, found out without importing pandas."""
    return any(c.__name__ == "DataFrame" and c.__module__.partition(".")[0] == "pandas" for c in type(X).__mro__)


def _from_array(X) -> Columns:
    if not isinstance(X, np.ndarray):
        if isinstance(X, str | bytes) or X is None or np.isscalar(X):
            raise ValueError(f"Expected 2D array, got {type(X).__name__} instead: X must be a table of numbers.")
        X = np.asarray(X)
    if isinstance(X, np.ma.MaskedArray):
        raise TypeError("Masked arrays are not accepted. Use '.filled(numpy.nan)' to mark missing values.")
    X = X.view(np.ndarray) if type(X) is not np.ndarray else X
    if X.ndim != 2:
        raise ValueError(
            f"Expected 2D array, got {X.ndim}D array instead: X has shape {X.shape}. Reshape your data either using "
            "array.reshape(-1, 1) if it has a single feature or array.reshape(1, -1) if it contains a single sample."
        )
    if X.dtype.kind == "c":
        raise ValueError("Complex data not supported: X must hold real numbers.")
    if X.dtype.kind not in REAL_KINDS:
        return Columns([_real_column(X[:, j], str(j)) for j in range(X.shape[1])], X.shape[0], None)
    return Columns(_native(X), X.shape[0], None)


def _from_pandas(X) -> Columns:
    arrays = []
    for j in range(X.shape[1]):
        series = X.iloc[:, j]
        label = repr(X.columns[j])
        dtype = series.dtype
        if isinstance(dtype, np.dtype):
            values = series.to_numpy()
        elif getattr(dtype, "_is_numeric", False) or getattr(dtype, "_is_boolean", False):
            values = series.to_numpy(dtype=_plain_float(dtype), na_value=np.nan)  # nullable and Arrow numbers
        else:
            values = series.to_numpy(dtype=object)
        arrays.append(_native(values) if values.dtype.kind in REAL_KINDS else _real_column(values, label))
    return Columns(arrays, X.shape[0], _text_names(list(X.columns)))


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


def _plain_float(dtype) -> np.dtype:
    """The narrowest float that holds the numbers of a nullable dtype exactly (64-bit integers: float64)."""
    width = getattr(dtype, "itemsize", 8) or 8
    is_float = getattr(dtype, "kind", "f") == "f"
    return np.dtype(np.float32 if width < 4 or (is_float and width == 4) else np.float64)


def _native(array: np.ndarray) -> np.ndarray:
    """The array with a dtype that the kernels read: longdouble and foreign byte order are converted."""
    if array.dtype.kind == "f" and array.dtype.itemsize > 8:
        array = array.astype(np.float64)
    if not array.dtype.isnative:
        array = array.astype(array.dtype.newbyteorder("="))
    return array


def _real_column(values: np.ndarray, label: str) -> np.ndarray:
    """A column of objects or strings as float64, if all of them are numbers."""
    if values.dtype.kind in "OSU":
        try:
            return values.astype(np.float64)
        except (TypeError, ValueError):
            pass
    for row, value in enumerate(values.tolist()):
        try:
            float(value)
        except (TypeError, ValueError):
            kind = "argument must be a string or a number" if not isinstance(value, str | bytes) else "not a number"
            raise (TypeError if not isinstance(value, str | bytes) else ValueError)(
                f"column {label}, row {row}: could not convert {value!r} to float ({kind}); X must hold real numbers"
            ) from None
    raise ValueError(f"column {label}: dtype {values.dtype} is not supported; X must hold real numbers")
