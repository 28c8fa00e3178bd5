"""Data frames of other libraries as columns, one by one and where possible without a copy.

Every reader gives (columns, names), each column as one of the kinds of ``boostgrad.data.levels``. Libraries are known
by the name of the module that a container's class is from; none is imported to find out, and one that is imported here
is there already because the container is, with one exception: a frame known only by the Arrow PyCapsule interface is
read by pyarrow, or else polars.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any

import numpy as np

from boostgrad.data.levels import ALL, CodedColumn, Encoder, TimeColumn, from_objects, narrow

# Kinds of numpy dtypes that are numbers: bool, signed, unsigned, float.
REAL_KINDS = "biuf"

# Rows of text that are encoded at a time.
TEXT_ROWS = 2**18


def module_of(value: Any) -> str:
    """The library that a value's class is from."""
    return type(value).__module__.partition(".")[0]


def _is_a(value: Any, library: str, *names: str) -> bool:
    """Whether the value is of a class of that library, or of a subclass of one."""
    return any(c.__name__ in names and c.__module__.partition(".")[0] == library for c in type(value).__mro__)


def is_frame(X: Any) -> bool:
    """Whether X is a data frame or a table of one of the libraries that are known here."""
    if isinstance(X, np.ndarray | list | tuple):
        return False
    return (
        _is_a(X, "pandas", "DataFrame")
        or _is_a(X, "polars", "DataFrame", "LazyFrame")
        or _is_a(X, "pyarrow", "Table", "RecordBatch")
        or _is_a(X, "narwhals", "DataFrame", "LazyFrame")
        or _is_capsule_table(X)
        or (hasattr(X, "columns") and _by_narwhals(X) is not None)
    )


def is_sparse(X: Any) -> bool:
    """Whether X is a sparse matrix or array of scipy."""
    return any(c.__module__.startswith("scipy.sparse") for c in type(X).__mro__) and hasattr(X, "tocsr")


def is_series(y: Any) -> bool:
    """Whether y is one column of a library whose conversion to numpy is not to be relied on."""
    return (
        _is_a(y, "polars", "Series", "LazyFrame")
        or _is_a(y, "pyarrow", "Array", "ChunkedArray")
        or _is_a(y, "narwhals", "Series", "LazyFrame")
        or _is_nullable_column(y)
    )


def has_nullable(X: Any) -> bool:
    """Whether X is a frame of pandas with a column of which numpy would make floats, though it holds others."""
    return _is_a(X, "pandas", "DataFrame") and any(map(_is_nullable, X.dtypes))


def _is_nullable_column(y: Any) -> bool:
    return _is_a(y, "pandas", "Series", "Index", "ExtensionArray") and _is_nullable(y.dtype)


def _is_nullable(dtype: Any) -> bool:
    """Whether it is one of pandas' dtypes of numbers or bools that know missing values, or one of Arrow's."""
    if isinstance(dtype, np.dtype) or type(dtype).__name__ == "SparseDtype":
        return False
    return getattr(dtype, "_is_numeric", False) or getattr(dtype, "_is_boolean", False)


def read_frame(X: Any) -> tuple[list, int, list]:
    """The columns of a frame, its number of rows and the names as they are.

    Raises
    ------
    TypeError
        If the frame is lazy, nothing installed can read it, or a column is of a type that is neither numbers, text,
        bools, categories, dates nor durations.
    """
    if _is_a(X, "narwhals", "DataFrame", "LazyFrame"):
        X = X.to_native()
    if _is_a(X, "polars", "LazyFrame"):
        raise TypeError("A LazyFrame holds no data yet: call collect() on it and pass the DataFrame.")
    if _is_a(X, "pandas", "DataFrame"):
        names = list(X.columns)
        return [_pandas_column(X.iloc[:, j], repr(name)) for j, name in enumerate(names)], X.shape[0], names
    if _is_a(X, "polars", "DataFrame"):
        return [_polars_column(series, repr(series.name)) for series in X.iter_columns()], X.height, X.columns
    if _is_a(X, "pyarrow", "Table", "RecordBatch"):
        names = list(X.schema.names)
        return [arrow_column(X.column(j), repr(name)) for j, name in enumerate(names)], X.num_rows, names
    if _is_capsule_table(X):
        return read_frame(_by_capsule(X))
    frame = _by_narwhals(X)
    if not hasattr(frame, "iter_columns"):
        raise TypeError(f"A {type(X).__name__} holds no data yet: collect or compute it and pass the result.")
    columns = [arrow_column(series.to_arrow(), repr(series.name)) for series in frame.iter_columns()]
    return columns, len(frame), list(frame.columns)


def read_series(y: Any, label: str) -> Any:
    """One column of polars or pyarrow, in narwhals' wrapping, or of one of pandas' nullable dtypes."""
    if _is_a(y, "narwhals", "Series", "LazyFrame"):
        y = y.to_native()
    if _is_a(y, "polars", "LazyFrame"):
        raise TypeError(f"{label} is a LazyFrame, which holds no data yet: call collect() on it.")
    if _is_a(y, "polars", "Series"):
        return _polars_column(y, label)
    if _is_a(y, "pyarrow", "Array", "ChunkedArray"):
        return arrow_column(y, label)
    if _is_nullable_column(y):
        return _pandas_column(sys.modules["pandas"].Series(y), label)
    return from_array(np.asarray(y), label)


def taken(values: Any, rows: np.ndarray | None, name: str) -> Any:
    """Some rows of a table or a column, in a container of the same kind; None: all of them."""
    from sklearn.utils import _safe_indexing

    if rows is None:
        return values
    if hasattr(values, "tocsr"):  # of a sparse matrix in another format rows cannot be taken
        values = values.tocsr()
    if not hasattr(values, "__getitem__") and hasattr(values, "__array__"):
        return np.asarray(values)[rows]
    try:
        if module_of(values) == "narwhals":
            return values[rows]
        if module_of(values) == "pyarrow":  # which older scikit-learns do not know
            return values.take(rows)
        return _safe_indexing(values, rows)
    except (TypeError, ValueError, AttributeError, IndexError) as error:
        raise ValueError(f"of {name}, a {type(values).__name__}, rows cannot be taken: {error}") from error


def in_order(X: Any, names: tuple[str, ...] | None) -> Any:
    """A frame whose columns have these names with its columns in their order; all else as it is."""
    if names is None or not is_frame(X):
        return X
    arrow = _is_a(X, "pyarrow", "Table", "RecordBatch")
    if not arrow and not hasattr(X, "columns"):
        return in_order(_by_capsule(X), names)
    present = tuple(X.schema.names if arrow else X.columns)
    if present == names or set(present) != set(names):
        return X
    if _is_a(X, "pandas", "DataFrame"):
        return X[list(names)]
    if arrow or module_of(X) in ("polars", "narwhals"):
        return X.select(list(names))
    return _by_narwhals(X).select(list(names)).to_native()


def _is_capsule_table(X: Any) -> bool:
    if is_series(X) or _is_a(X, "pandas", "Series"):  # one column has the interface, too
        return False
    return hasattr(X, "__arrow_c_stream__") or (hasattr(X, "__arrow_c_array__") and hasattr(X, "schema"))


def _by_capsule(X: Any) -> Any:
    try:
        import pyarrow
    except ImportError:
        try:
            import polars
        except ImportError:
            raise TypeError(f"To read a {type(X).__name__}, install pyarrow or polars.") from None
        return polars.DataFrame(X)
    return pyarrow.table(X) if hasattr(X, "__arrow_c_stream__") else pyarrow.record_batch(X)


def _by_narwhals(X: Any) -> Any:
    """The frame in narwhals' wrapping; None where narwhals does not know it or is not there."""
    try:
        import narwhals
    except ImportError:
        return None
    wrapped = narwhals.from_native(X, pass_through=True)
    return None if wrapped is X else wrapped


# ---- numpy -----------------------------------------------------------------------------------------------------------


def from_array(values: np.ndarray, label: str) -> Any:
    """A one-dimensional array of any dtype as a column."""
    kind = values.dtype.kind
    if kind in REAL_KINDS:
        return native(values)
    if kind in "mM":
        return TimeColumn(values if values.dtype.isnative else values.astype(values.dtype.newbyteorder("=")))
    if kind == "S":
        values = np.char.decode(values, "utf-8", "surrogateescape")
    elif kind not in "OUT":
        raise TypeError(f"column {label} has the dtype {values.dtype}, which is neither numbers, text nor dates")
    return from_objects(values.tolist(), label)


def native(array: np.ndarray) -> np.ndarray:
    """The array with a dtype that the kernels read: longdouble and foreign byte order are converted."""
    if array.dtype.kind == "f" and array.dtype.itemsize > 8:
        array = array.astype(np.float64)
    if not array.dtype.isnative:
        array = array.astype(array.dtype.newbyteorder("="))
    return array


def _coded(codes: np.ndarray, n_levels: int, take: Callable[[np.ndarray | None], list]) -> CodedColumn:
    """Codes into ``n_levels`` levels, of which only those that occur are taken where rows are fewer."""
    if n_levels <= len(codes):
        return CodedColumn(codes, take(None))
    used = np.unique(codes[codes >= 0])
    return CodedColumn(np.where(codes < 0, -1, np.searchsorted(used, codes)), take(used))


def _in_blocks(column: Any, encode: Callable[[Any], tuple[np.ndarray, list]]) -> CodedColumn:
    """A column of text, encoded a block of rows at a time: what that takes beside the column is gone block by block."""
    encoder = Encoder(len(column))
    for begin in range(0, len(column), TEXT_ROWS):
        encoder.add(*encode(column[begin : begin + TEXT_ROWS]))
    return encoder.column()


def _bools(codes: np.ndarray) -> CodedColumn:
    """0, 1, and -1 where missing."""
    return CodedColumn(codes, [False, True])


# ---- pandas ----------------------------------------------------------------------------------------------------------


def _pandas_column(series: Any, label: str) -> Any:
    dtype = series.dtype
    if isinstance(dtype, np.dtype):
        values = series.to_numpy()
        return _bools(values.view(np.int8)) if dtype.kind == "b" else from_array(values, label)
    kind = type(dtype).__name__
    if kind == "CategoricalDtype":
        categories = series.array.categories
        return _coded(
            series.array.codes,
            len(categories),
            lambda used: (categories if used is None else categories.take(used)).tolist(),
        )
    if kind == "ArrowDtype" or (kind == "StringDtype" and dtype.storage == "pyarrow"):
        return arrow_column(series.array.__arrow_array__(), label)
    if kind == "StringDtype" and series.isna().all():  # text, though objects that are all missing would not say so
        return CodedColumn(np.full(len(series), -1, dtype=np.int8), [])
    if getattr(dtype, "_is_boolean", False) and kind != "SparseDtype":
        return _bools(series.to_numpy(dtype=np.int8, na_value=-1))
    if getattr(dtype, "_is_numeric", False) and kind != "SparseDtype":  # nullable integers and floats
        if not series.hasnans:
            return native(series.to_numpy(dtype=dtype.numpy_dtype))
        return lambda rows=ALL: series.array[rows].to_numpy(dtype=_plain_float(dtype), na_value=np.nan)
    if kind == "DatetimeTZDtype":
        return TimeColumn(
            series.dt.tz_convert(None).to_numpy(), lambda rows: series.iloc[rows].dt.tz_localize(None).to_numpy()
        )
    if kind == "PeriodDtype":
        return TimeColumn(series.dt.to_timestamp().to_numpy())
    if kind == "SparseDtype" and dtype.subtype.kind in REAL_KINDS:
        return lambda rows=ALL: native(np.asarray(series.array[rows]))
    return from_array(series.to_numpy(dtype=object), label)


def _plain_float(dtype: Any) -> np.dtype:
    """The narrowest float that holds the numbers of a nullable dtype exactly (64-bit integers: float64)."""
    width = getattr(dtype, "itemsize", 8) or 8
    is_float = getattr(dtype, "kind", "f") == "f"
    return np.dtype(np.float32 if width < 4 or (is_float and width == 4) else np.float64)


# ---- polars ----------------------------------------------------------------------------------------------------------


def _polars_column(series: Any, label: str) -> Any:
    polars = sys.modules["polars"]
    dtype = series.dtype
    if dtype.is_numeric():
        if dtype.is_decimal() or dtype.to_python() is int and str(dtype).endswith("128"):
            return lambda rows=ALL: series[rows].cast(polars.Float64).to_numpy()
        if series.n_chunks() == 1 and series.null_count() == 0:
            return series.to_numpy()
        return lambda rows=ALL: series[rows].to_numpy()
    if dtype == polars.Boolean:
        return _bools(series.cast(polars.Int8).fill_null(-1).to_numpy())
    if dtype == polars.String:
        # in categories of their own, not in those that the process would keep
        own = polars.Categorical(polars.Categories.random()) if hasattr(polars, "Categories") else polars.Categorical
        return _in_blocks(series, lambda block: _polars_categories(block.cast(own)))
    if dtype == polars.Enum:
        codes = series.to_physical().cast(polars.Int32).fill_null(-1).to_numpy()
        names = dtype.categories
        codes = narrow(codes, len(names))
        return _coded(codes, len(names), lambda used: (names if used is None else names.gather(used)).to_list())
    if dtype == polars.Categorical:
        return _in_blocks(series, _polars_categories)
    if dtype == polars.Datetime and dtype.time_zone is not None:
        return TimeColumn(series.to_numpy(), lambda rows: series[rows].dt.replace_time_zone(None).to_numpy())
    if dtype in (polars.Date, polars.Datetime, polars.Duration):
        return TimeColumn(series.to_numpy())
    if dtype == polars.Time:
        return lambda rows=ALL: series[rows].to_physical().cast(polars.Float64).to_numpy() / 1e9
    if dtype == polars.Null:
        return np.full(len(series), np.nan)
    if dtype in (polars.Object, polars.Binary):
        return from_objects(series.to_list(), label)
    raise TypeError(f"column {label} has the dtype {dtype}, which is neither numbers, text, categories nor dates")


def _polars_categories(series: Any) -> tuple[np.ndarray, list]:
    """Codes and levels of some rows. Physical codes may be numbers of a table that the whole process shares."""
    polars = sys.modules["polars"]
    seen = series.drop_nulls().unique()
    physical = seen.to_physical().to_numpy()
    order = np.argsort(physical)
    present = physical[order]
    codes = series.to_physical().cast(polars.Int64).fill_null(-1).to_numpy()
    if len(present) and present[-1] != len(present) - 1:
        codes = np.where(codes < 0, -1, np.searchsorted(present, codes))
    return codes, seen.cast(polars.String).gather(order).to_list()


# ---- Arrow -----------------------------------------------------------------------------------------------------------


def arrow_column(column: Any, label: str) -> Any:
    """A pyarrow Array or ChunkedArray."""
    import pyarrow
    from pyarrow import compute, types

    kind = column.type
    if isinstance(kind, pyarrow.BaseExtensionType):
        return arrow_column(column.cast(kind.storage_type), label)
    if types.is_run_end_encoded(kind):
        return arrow_column(compute.run_end_decode(column), label)
    if not isinstance(column, pyarrow.ChunkedArray):
        column = pyarrow.chunked_array([column])
    if types.is_integer(kind) or types.is_floating(kind):
        if column.num_chunks == 1 and column.null_count == 0:
            return column.chunk(0).to_numpy()
        return lambda rows=ALL: column[rows].to_numpy()
    if types.is_boolean(kind):
        return _bools(column.cast(pyarrow.int8()).fill_null(-1).to_numpy())
    if types.is_dictionary(kind):
        return _arrow_dictionary(column, label)
    if _is_text(types, kind):
        return _in_blocks(column, _arrow_text)
    if types.is_timestamp(kind) and kind.tz is not None:
        return TimeColumn(_arrow_times(column), lambda rows: compute.local_timestamp(column[rows]).to_numpy())
    if types.is_timestamp(kind) or types.is_date(kind) or types.is_duration(kind):
        return TimeColumn(_arrow_times(column))
    if types.is_time(kind):
        per_second = {"s": 1, "ms": 10**3, "us": 10**6, "ns": 10**9}[kind.unit]
        whole = pyarrow.int32() if kind.bit_width == 32 else pyarrow.int64()
        return lambda rows=ALL: column[rows].cast(whole).cast(pyarrow.float64()).to_numpy() / per_second
    if types.is_decimal(kind) or types.is_null(kind):
        return lambda rows=ALL: column[rows].cast(pyarrow.float64()).to_numpy()
    raise TypeError(f"column {label} has the type {kind}, which is neither numbers, text, categories nor dates")


def _arrow_times(column: Any) -> np.ndarray:
    """Dates or durations, where possible without a copy."""
    return column.chunk(0).to_numpy(zero_copy_only=False) if column.num_chunks == 1 else column.to_numpy()


def _is_text(types: Any, kind: Any) -> bool:
    tests = ("is_string", "is_large_string", "is_string_view", "is_binary", "is_large_binary", "is_binary_view")
    return any(getattr(types, test, lambda _: False)(kind) for test in tests)


def _arrow_text(column: Any) -> tuple[np.ndarray, list]:
    """Codes and levels of some rows; the encoded chunks share their levels."""
    chunks = column.dictionary_encode().chunks
    codes = np.concatenate([chunk.indices.fill_null(-1).to_numpy() for chunk in chunks])
    return codes, chunks[0].dictionary.to_pylist()


def _arrow_dictionary(column: Any, label: str) -> CodedColumn:
    import pyarrow

    if column.num_chunks == 0:
        return CodedColumn(np.empty(0, np.int8), [])
    try:
        column = column.unify_dictionaries()
    except pyarrow.ArrowNotImplementedError as error:
        raise TypeError(f"column {label} has the type {column.type}, which cannot be read: {error}") from None
    levels = column.chunk(0).dictionary
    column = _signed(column)
    if column.num_chunks == 1 and column.null_count == 0:
        codes = column.chunk(0).indices.to_numpy()
        codes = codes if codes.dtype.itemsize < 4 else narrow(codes, len(levels))
    else:
        codes = np.empty(len(column), dtype=narrow(np.empty(0, np.int64), len(levels)).dtype)
        begin = 0
        for chunk in column.chunks:
            codes[begin : begin + len(chunk)] = chunk.indices.fill_null(-1).to_numpy()
            begin += len(chunk)
    return _coded(codes, len(levels), lambda used: (levels if used is None else levels.take(used)).to_pylist())


def _signed(column: Any) -> Any:
    """The dictionary column with signed codes, so that -1 can stand for missing."""
    import pyarrow

    kind = column.type
    if pyarrow.types.is_signed_integer(kind.index_type):
        return column
    return column.cast(pyarrow.dictionary(pyarrow.int64(), kind.value_type, kind.ordered))
