"""Where batches of rows come from: anything that can be gone through twice, or files of Parquet."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator
from typing import Any, NamedTuple

import numpy as np

from boostgrad.data.columns import Columns, SparseColumns, as_columns, as_values
from boostgrad.data.containers import is_frame, module_of

# Rows that are read from a file at a time.
FILE_ROWS = 65_536


class Table(NamedTuple):
    """Columns, and for each row what else is known of it: target and weight, None where they are not there."""

    columns: Columns | SparseColumns
    y: Any
    weight: Any


def tables_of(source: Any, batch_size: int | None) -> Callable[[], Iterator[Any]]:
    """A function that goes through the batches of a source from the beginning.

    Parameters
    ----------
    source : iterable or callable
        Frames or arrays, or tuples of such a table, targets and perhaps weights: a list, any object that can be
        iterated over twice, or a function that returns an iterator. Or a pyarrow Dataset, or the path of a Parquet
        file or of a folder of them, or a list of such paths.
    batch_size : int or None
        Rows that are read from a file at a time; None: ``FILE_ROWS``.

    Raises
    ------
    TypeError
        If the source is something else, or can be gone through but once.
    FileNotFoundError
        If a path leads nowhere.
    """
    if isinstance(source, str | os.PathLike) or _are_paths(source):
        files = _files(source)
        return lambda: _of_files(files, batch_size or FILE_ROWS)
    if module_of(source) == "pyarrow" and hasattr(source, "to_batches") and hasattr(source, "count_rows"):
        return lambda: _of_dataset(source, batch_size or FILE_ROWS)
    if callable(source):
        return lambda: iter(source())
    if is_frame(source) or isinstance(source, np.ndarray):
        raise TypeError(
            f"source is one table (a {type(source).__name__}), not batches of one: pass it to BoostGradDataset "
            "itself, or in a list"
        )
    if not isinstance(source, Iterable):
        raise TypeError(
            "source must be an iterable of tables, a function that returns an iterator of them, a pyarrow Dataset or "
            f"the path of Parquet files. Got {type(source).__name__}."
        )
    if isinstance(source, Iterator):
        raise TypeError(
            f"source is gone through twice, which a {type(source).__name__} does not allow: pass the function that "
            "makes it, or a list"
        )
    return lambda: iter(source)


def _are_paths(source: Any) -> bool:
    listed = isinstance(source, list | tuple) and len(source) > 0
    return listed and all(isinstance(path, str | os.PathLike) for path in source)


def _files(paths: Any) -> list[str]:
    """The Parquet files at these paths, those of a folder in the order of their names."""
    from pyarrow import dataset

    paths = paths if isinstance(paths, list | tuple) else [paths]
    return [file for path in paths for file in dataset.dataset(os.fspath(path), format="parquet").files]


def _of_files(files: list[str], batch_size: int) -> Iterator[Any]:
    """Record batches, read page by page and by this thread: what is read ahead, and who reads it, takes memory."""
    from pyarrow import parquet

    for file in files:
        with parquet.ParquetFile(file, buffer_size=2**16, pre_buffer=False) as opened:
            yield from opened.iter_batches(batch_size, use_threads=False)


def _of_dataset(source: Any, batch_size: int) -> Iterator[Any]:
    return iter(source.to_batches(batch_size=batch_size, batch_readahead=1, fragment_readahead=1, use_threads=False))


def as_table(given: Any, y: Any = None, weight: Any = None, min_rows: int = 1) -> Table:
    """A batch, or a whole table, as its columns, target and weight.

    Parameters
    ----------
    given : array-like, data frame, or tuple of one, targets and perhaps weights
    y, weight : str, array-like or None
        Names of columns of the frame, which are then not among the columns; or the values.
    min_rows : int, default=1

    Raises
    ------
    ValueError
        If there is no column of that name.
    TypeError
        If columns have no names, or a tuple has another length.
    """
    if isinstance(given, tuple):
        if not 2 <= len(given) <= 3:
            raise TypeError(f"a batch must be a table, (X, y) or (X, y, weight). Got a tuple of {len(given)}.")
        parts = (*given, None)[:3]
        given = parts[0]
        y = y if isinstance(y, str) else parts[1]
        weight = weight if isinstance(weight, str) else parts[2]
    columns = as_columns(given, min_rows=min_rows)
    names = [name for name in (y, weight) if isinstance(name, str)]
    if not names:
        return Table(columns, y, weight)
    if columns.names is None:
        raise TypeError(f"{names[0]!r} names a column, but the columns of the table have no names.")
    for name in names:
        if name not in columns.names:
            raise ValueError(f"there is no column {name!r}; the columns are {list(columns.names)}")
    y, weight = (
        as_values(columns.entry(columns.names.index(value))) if isinstance(value, str) else value
        for value in (y, weight)
    )
    kept = [j for j, name in enumerate(columns.names) if name not in names]
    if not kept:
        raise ValueError("there is no column beside the target and the weight")
    rest = Columns([columns.entry(j) for j in kept], columns.n_rows, tuple(columns.names[j] for j in kept))
    return Table(rest, y, weight)
