"""A table that was binned once, to be trained on any number of times: at once, or batch by batch from wherever it lies.

::

    first pass     batch 0, batch 1, ...  ->  names, kinds, levels   targets, weights   a sample of rows  ->  bins
    second pass    batch 0, batch 1, ...  ->  codes  [ batch 0 | batch 1 | ... ]   column by column

A value takes one byte then, or two where a feature has more than 255 bins, and of the batches no more than one is
there at a time. The codes are in memory, or with ``cache_dir`` in a file: one table, into which the batches are written
side by side, rather than a file for each of them, so that growers read it as any other and give the same trees.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from numbers import Integral
from typing import Any, Self

import numpy as np

from boostgrad import params
from boostgrad.data.batches import Table, as_table, tables_of
from boostgrad.data.binning import BinMapper
from boostgrad.data.columns import Columns, SparseColumns
from boostgrad.data.levels import ALL, MAX_LEVELS
from boostgrad.data.matrix import BinnedMatrix, SparseBinnedMatrix, row_array
from boostgrad.data.sampling import RowSample
from boostgrad.data.schema import UNKNOWN, SchemaLearner, TableSchema, feature_values
from boostgrad.inputs import checked_weight, joined, weight_numbers, weights_of
from boostgrad.runtime import effective_threads

# Parameters of the estimators that the bins were made with.
FIXED = ("max_bins", "categorical_features", "date_parts")


class BoostGradDataset:
    """A table with its target, binned once for any number of fits.

    ``estimator.fit(dataset)`` gives the model that ``fit(X, y, sample_weight)`` gives, byte for byte, without looking
    at the table again: but for rows that early stopping sets aside. A fit of a frame learns bins and levels without
    those, a dataset knows them already, so with early stopping the two are equal where X_val is given.

    Parameters
    ----------
    X : array-like or data frame of shape (n_samples, n_features)
        As ``fit`` takes it, sparse matrices included.
    y : array-like of shape (n_samples,) or str, default=None
        Target, or the name of the column of X that holds it; that column is then no feature. What is accepted depends
        on the estimator, and is checked by its fit.
    sample_weight : array-like of shape (n_samples,) or str, default=None
        Weights, or the name of their column. Rows of weight 0 are left out.
    max_bins, categorical_features, date_parts
        As of the estimators. An estimator that is fitted must have the same values, or its defaults.
    unknown_category : {"missing", "rare", "error"}, default="missing"
        What becomes of categories that the ``reference`` does not know.
    cache_dir : str or path-like, default=None
        A directory for files that hold the codes, and what else each row needs while a model is fitted, so that data
        larger than memory can be trained on. It should be on a disk; many systems have ``/tmp`` in memory. The files
        have no names and are gone with the dataset, however the process ends. None: all is kept in memory.
    reference : BoostGradDataset, default=None
        For validation data: the training data, whose columns and bins are used. The parameters above but for
        ``unknown_category`` are its parameters, then.
    n_jobs : int, default=None
        Threads, as of the estimators.

    Attributes
    ----------
    n_rows : int
        Rows that were given.
    n_features_in_ : int
        Columns, without those of target and weight.
    feature_names_in_ : ndarray of str, shape (n_features_in_,)
        Their names, only where there are names.
    nbytes : int
        Bytes of the codes.

    Raises
    ------
    ValueError, TypeError
        If a parameter, or something in the data, is not what is accepted; the message says what and where, with the
        number of the batch, from 0.

    Examples
    --------
    >>> from sklearn.datasets import load_diabetes
    >>> from boostgrad import BoostGradDataset, BoostGradRegressor
    >>> data = BoostGradDataset(*load_diabetes(return_X_y=True))
    >>> models = [BoostGradRegressor(learning_rate=rate, random_state=0).fit(data) for rate in (0.05, 0.1)]
    """

    def __init__(
        self,
        X: Any,
        y: Any = None,
        sample_weight: Any = None,
        *,
        max_bins: int = 255,
        categorical_features: Any = "from_dtype",
        unknown_category: str = "missing",
        date_parts: Any = None,
        cache_dir: str | os.PathLike[str] | None = None,
        reference: BoostGradDataset | None = None,
        n_jobs: int | None = None,
    ):
        given = {"max_bins": max_bins, "categorical_features": categorical_features, "date_parts": date_parts}
        self._prepare(given, unknown_category, cache_dir, reference, n_jobs)
        self._bin_table(as_table(X, y, sample_weight))

    @classmethod
    def from_batches(
        cls,
        source: Any,
        *,
        y: str | None = None,
        sample_weight: str | None = None,
        batch_size: int | None = None,
        max_bins: int = 255,
        categorical_features: Any = "from_dtype",
        unknown_category: str = "missing",
        date_parts: Any = None,
        cache_dir: str | os.PathLike[str] | None = None,
        reference: BoostGradDataset | None = None,
        n_jobs: int | None = None,
    ) -> Self:
        """Bin a table that comes in batches, which is never there as a whole. How it is cut does not matter.

        Parameters
        ----------
        source : iterable, callable, pyarrow Dataset, path, or list of paths
            Batches, each anything that fit takes as X but sparse matrices, or a tuple (X, y) or (X, y, sample_weight).
            They are gone through twice: pass a list, an object that can be iterated over again, or a function without
            arguments that returns an iterator, such as a generator function. Or a pyarrow Dataset, or the path of a
            Parquet file or of a folder of them, or a list of these (needs pyarrow). Batches may have their columns in
            another order; a column of which all is missing in a batch fits whatever it is in others.
        y, sample_weight : str, default=None
            Names of the columns that hold target and weights, where they do not come beside each batch.
        batch_size : int, default=None
            Rows that are read from files at a time. None: 65536.
        max_bins, categorical_features, unknown_category, date_parts, cache_dir, reference, n_jobs
            As of :class:`BoostGradDataset`.

        Returns
        -------
        BoostGradDataset

        Raises
        ------
        ValueError, TypeError
            As :class:`BoostGradDataset`; if the source cannot be gone through twice, has no rows, or holds another
            table the second time.
        OSError
            If a file cannot be read, or there is no room for one in ``cache_dir``.
        """
        for name, value in (("y", y), ("sample_weight", sample_weight)):
            if value is not None and not isinstance(value, str):
                raise TypeError(
                    f"{name} must be the name of a column, or come beside each batch, as in (X, y, sample_weight). Got "
                    f"{type(value).__name__}."
                )
        if batch_size is not None and not params.Number(Integral, 1).accepts(batch_size):
            raise ValueError(f"batch_size must be an integer >= 1, or None. Got {batch_size!r}.")
        batches = tables_of(source, batch_size)
        self = cls.__new__(cls)
        given = {"max_bins": max_bins, "categorical_features": categorical_features, "date_parts": date_parts}
        self._prepare(given, unknown_category, cache_dir, reference, n_jobs)
        self._bin_batches(lambda: _tables(batches, y, sample_weight))
        return self

    # -- making one ---------------------------------------------------------------------------------------------------

    def _prepare(self, given, unknown_category, cache_dir, reference, n_jobs) -> None:
        owner = type(self).__name__
        for name, value in {**given, "unknown_category": unknown_category, "n_jobs": n_jobs}.items():
            params.check(owner, name, value)
        if reference is not None:
            if not isinstance(reference, BoostGradDataset):
                raise TypeError(f"reference must be a BoostGradDataset. Got {type(reference).__name__}.")
            for name, value in given.items():
                if not _same(value, params.ALL[name].default) and not _same(value, reference._fixed[name]):
                    raise ValueError(f"{name}={value!r} is not that of the reference, {reference._fixed[name]!r}.")
            given = reference._fixed
        if cache_dir is not None:
            cache_dir = os.fspath(cache_dir)
            if not os.path.isdir(cache_dir):
                raise ValueError(f"cache_dir={cache_dir!r} is not a directory.")
        self._fixed = given
        self._unknown_category = unknown_category
        self._directory = cache_dir
        self._reference = reference
        if reference is not None:
            self._schema, self._whole_schema = reference._schema, reference._whole_schema
            self._mapper = reference._mapper
        self._n_threads = effective_threads(n_jobs)

    def _bin_table(self, table: Table) -> None:
        self._keep_target(table.y, checked_weight(table.weight, table.columns.n_rows, "sample_weight"))
        self.n_rows = table.columns.n_rows
        columns, rows = table.columns, self._rows
        if self._reference is None:
            learner = SchemaLearner(**self._schema_options())
            learner.add(columns, rows)
            self._take_schemas(learner)
        columns = self._applied(columns)
        if self._reference is None:
            self._mapper = BinMapper.fit(
                columns,
                rows=rows,
                weight=weights_of(self._weight, rows),
                max_bins=self._fixed["max_bins"],
                n_threads=self._n_threads,
            )
        if isinstance(columns, SparseColumns):
            self._matrix = self._mapper.transform(columns, rows=rows, n_threads=self._n_threads)
            return
        codes = self._mapper.room(self.n_rows if rows is None else len(rows), self._directory)
        self._mapper.transform(columns, rows=rows, n_threads=self._n_threads, out=codes)
        self._levels = _Levels(self, codes.shape[1])
        self._levels.add(table.columns, columns, rows)
        self._matrix = self._mapper.matrix(codes, self._directory)

    def _bin_batches(self, tables: Callable[[], Iterator[tuple[int, Table]]]) -> None:
        sample = self._learn(tables())
        if self._reference is None:
            self._mapper = BinMapper.fit(
                _sampled_columns(sample, self._schema),
                weight=sample.column("weight"),
                max_bins=self._fixed["max_bins"],
                n_threads=self._n_threads,
            )
        del sample
        n_kept = self.n_rows if self._rows is None else len(self._rows)
        codes = self._mapper.room(n_kept, self._directory)
        self._levels = _Levels(self, n_kept)
        begin = at = 0
        for number, table in tables():
            end = begin + table.columns.n_rows
            if end > self.n_rows:
                break
            weight = None if self._rows is None else self._weight[begin:end]
            rows = _with_weight(weight)
            n = table.columns.n_rows if rows is None else len(rows)
            with _in_batch(number):
                columns = self._applied(table.columns)
                self._mapper.transform(columns, rows=rows, n_threads=self._n_threads, out=codes[:, at : at + n])
                self._levels.add(table.columns, columns, rows)
            begin, at = end, at + n
        if begin != self.n_rows or end != self.n_rows:
            raise ValueError(f"source held {self.n_rows} rows the first time, and another number the second time.")
        self._matrix = self._mapper.matrix(codes, self._directory)

    def _learn(self, tables: Iterator[tuple[int, Table]]) -> RowSample:
        """The first pass: what there is but for the codes, and the rows that bins are learned from."""
        learner = SchemaLearner(in_batches=True, **self._schema_options())
        sample = RowSample(self._directory)
        targets, weights = [], []
        self.n_rows = 0
        for number, (columns, y, weight) in tables:
            with _in_batch(number):
                if isinstance(columns, SparseColumns):
                    raise TypeError("batches must not be sparse; pass the whole sparse matrix to BoostGradDataset")
                if weights and (y is None, weight is None) != (targets[0] is None, weights[0] is None):
                    raise ValueError("either every batch must have a target, or none, and likewise weights")
                if weight is not None:
                    weight = weight_numbers(weight, columns.n_rows, "sample_weight")
                if y is not None:
                    y = joined([y], "y")  # a copy, which does not hold on to the batch
                    if len(y) != columns.n_rows:
                        raise ValueError(f"X has {columns.n_rows} rows, y has {len(y)}")
                if self._reference is None:
                    columns = _matched(columns, learner)
                    rows = _with_weight(weight)
                    learner.add(columns, rows)
                    self._sample_batch(sample, learner, columns, rows, weight)
            self.n_rows += columns.n_rows
            targets.append(y)
            weights.append(weight)
        if self.n_rows == 0:
            raise ValueError("source has no rows.")
        if self._reference is None:
            self._take_schemas(learner)
        weight = None if weights[0] is None else joined(weights, "sample_weight")
        weight = checked_weight(weight, self.n_rows, "sample_weight")
        self._keep_target(None if targets[0] is None else joined(targets, "y"), weight)
        return sample

    @staticmethod
    def _sample_batch(sample, learner, columns, rows, weight) -> None:
        n_kept = columns.n_rows if rows is None else len(rows)
        positions = sample.next(n_kept)
        picked = positions if rows is None else rows[positions]
        values = {} if weight is None else {"weight": weight[picked]}
        for j in range(columns.n_columns):
            for info in learner.features_of(j):
                column = feature_values(columns.entry(j), info, columns.label(j))
                values[j, info.part] = (column() if callable(column) else column)[picked]
        sample.add(values)

    def _keep_target(self, y: Any, weight: np.ndarray | None) -> None:
        """Target and weights, where the table is; and which rows have a weight."""
        self._y = y
        self._weight = weight
        if self._directory is not None and isinstance(y, np.ndarray) and y.dtype.kind in "biuf":
            self._y = row_array(y.shape, y.dtype, self._directory)
            self._y[:] = y
        if self._directory is not None and weight is not None:
            self._weight = row_array(weight.shape, np.float64, self._directory)
            self._weight[:] = weight
        self._rows = _with_weight(weight)

    def _schema_options(self) -> dict[str, Any]:
        return {name: self._fixed[name] for name in ("categorical_features", "date_parts")}

    def _take_schemas(self, learner: SchemaLearner) -> None:
        self._schema, self._whole_schema = learner.schema(), learner.schema(most_levels=None)

    def _applied(self, columns: Columns | SparseColumns) -> Columns | SparseColumns:
        if self._reference is None:  # what is unknown then is in rows of weight 0 only
            return self._schema.apply(columns, owner="the dataset")
        return self._schema.apply(columns, unknown_category=self._unknown_category, owner="the reference")

    # -- what is known of it ------------------------------------------------------------------------------------------

    @property
    def n_features_in_(self) -> int:
        return self._schema.n_inputs

    @property
    def feature_names_in_(self) -> np.ndarray:
        if self._schema.names is None:
            raise AttributeError("feature_names_in_: the columns have no names")
        return np.array(self._schema.names, dtype=object)

    @property
    def nbytes(self) -> int:
        return self._matrix.nbytes

    def __repr__(self) -> str:
        where = "memory" if self._directory is None else self._directory
        table = f"{self.n_rows} rows and {self.n_features_in_} columns"
        return f"<BoostGradDataset of {table}, {self.nbytes} bytes in {where}>"

    # -- what fit asks ------------------------------------------------------------------------------------------------

    @property
    def y(self) -> Any:
        """The target as it was given, of all rows; None where there is none."""
        return self._y

    @property
    def sample_weight(self) -> np.ndarray | None:
        """Weights of all rows in float64; None where all are 1."""
        return self._weight

    @property
    def schema(self) -> TableSchema:
        return self._schema

    @property
    def mapper(self) -> BinMapper:
        return self._mapper

    @property
    def max_bins(self) -> int:
        return self._fixed["max_bins"]

    @property
    def directory(self) -> str | None:
        """Where the files of the codes lie; None: they are in memory."""
        return self._directory

    def redraws(self, matrix: BinnedMatrix) -> None:
        """Nothing: the columns were binned before there was a loss to make target statistics by."""

    @property
    def whole_schema(self) -> TableSchema:
        """The schema without a limit of levels."""
        return self._whole_schema

    def levels(self) -> Columns:
        """Level numbers, by the whole schema, of the rows that have a weight; columns of numbers cannot be read."""
        features = self._whole_schema.features
        made = [
            partial(self._levels.read, j, self._matrix) if f.kind == "category" else None
            for j, f in enumerate(features)
        ]
        return Columns(made, self._matrix.n_rows, self._whole_schema.feature_names, self._whole_schema.n_levels)

    def check_fits(self, estimator: Any) -> None:
        """Raise unless a parameter of the estimator that the bins were made with has its default, or the value here.

        Raises
        ------
        ValueError
        """
        for name, value in self._fixed.items():
            theirs = getattr(estimator, name)
            if not _same(theirs, params.ALL[name].default) and not _same(theirs, value):
                raise ValueError(
                    f"{name}={theirs!r} of {type(estimator).__name__} contradicts {name}={value!r}, with which the "
                    "dataset was binned; give it to BoostGradDataset."
                )

    def check_bins(self, other: Any, estimator: Any) -> None:
        """Raise unless this can validate what is trained on the other table: it has its bins.

        Raises
        ------
        ValueError
        """
        if self._mapper is not other.mapper:
            raise ValueError(
                "X_val has bins of its own; make it with BoostGradDataset(X_val, y_val, reference=...) of the training "
                "dataset."
            )
        if self._schema.n_levels is not None and estimator.unknown_category != self._unknown_category:
            raise ValueError(
                f"unknown_category={estimator.unknown_category!r} of {type(estimator).__name__} contradicts "
                f"unknown_category={self._unknown_category!r}, with which X_val was binned."
            )

    def positions(self, rows: np.ndarray | None) -> np.ndarray | None:
        """Where these rows, which ascend and are not of weight 0, are among all such rows; None: they are all."""
        if rows is None or len(rows) == self._matrix.n_rows:
            return None
        return rows if self._rows is None else np.searchsorted(self._rows, rows)

    def binned(self, rows: np.ndarray | None = None) -> BinnedMatrix | SparseBinnedMatrix:
        """The codes of these rows, which ascend and are not of weight 0; None: of all those."""
        positions = self.positions(rows)
        return self._matrix if positions is None else self._matrix.take(positions)


class _Levels:
    """What codes do not say of the levels of a row: of more levels than there can be codes, which it is, and where a
    level is one that the reference does not know.

    Parameters
    ----------
    dataset : BoostGradDataset
    n_rows : int
        That have a weight.
    """

    def __init__(self, dataset: BoostGradDataset, n_rows: int):
        self._schema, self._whole_schema = dataset._schema, dataset._whole_schema
        self._unknown_category = dataset._unknown_category
        self._n_rows = 0  # so far
        self._unknown: dict[int, list[np.ndarray]] = {}
        self._wide = {
            j: row_array(n_rows, np.int32, dataset._directory)
            for j, n_levels in enumerate(self._whole_schema.n_levels or ())
            if n_levels > MAX_LEVELS
        }
        self._has_reference = dataset._reference is not None

    def add(self, given: Columns, columns: Columns, rows: np.ndarray | None) -> None:
        """These rows (None: all) of a table, as it came and as model columns, are the next ones."""
        n = columns.n_rows if rows is None else len(rows)
        if self._wide:
            options = {"unknown_category": self._unknown_category} if self._has_reference else {}
            whole = self._whole_schema.apply(given, **options)
            for j, levels in self._wide.items():
                levels[self._n_rows : self._n_rows + n] = whole[j] if rows is None else whole[j][rows]
        for j, n_levels in enumerate(self._schema.n_levels or () if self._has_reference else ()):
            if n_levels and j not in self._wide:
                levels = columns[j] if rows is None else columns[j][rows]
                unknown = np.flatnonzero(levels == UNKNOWN)
                if len(unknown):
                    self._unknown.setdefault(j, []).append(self._n_rows + unknown)
        self._n_rows += n

    def read(self, feature: int, matrix: BinnedMatrix, rows: slice = ALL) -> np.ndarray:
        """The level numbers of a feature by the whole schema."""
        if feature in self._wide:
            return self._wide[feature][rows]
        levels = matrix.by_column[feature, rows].astype(np.int32)
        levels -= 1
        begin = rows.start or 0
        for unknown in self._unknown.get(feature, ()):
            here = unknown - begin
            levels[here[(here >= 0) & (here < len(levels))]] = UNKNOWN
        return levels


def _tables(batches: Callable[[], Iterator[Any]], y: str | None, weight: str | None) -> Iterator[tuple[int, Table]]:
    """The batches by their numbers, without the empty ones."""
    for number, batch in enumerate(batches()):
        with _in_batch(number):
            table = as_table(batch, y, weight, min_rows=0)
        if table.columns.n_rows:
            yield number, table


@contextmanager
def _in_batch(number: int) -> Iterator[None]:
    """What is wrong with a batch is said with its number."""
    try:
        yield
    except (ValueError, TypeError) as error:
        kind = TypeError if isinstance(error, TypeError) else ValueError
        raise kind(f"batch {number}: {error}") from error


def _matched(columns: Columns, learner: SchemaLearner) -> Columns:
    """The columns of a batch in the order of those before."""
    if learner.kinds is None:
        return columns
    if learner.names is not None and columns.names is not None and set(learner.names) != set(columns.names):
        new = [name for name in columns.names if name not in learner.names]
        lacking = [name for name in learner.names if name not in columns.names]
        words = [f"{what} {names[:10]}" for what, names in (("it has", new), ("it lacks", lacking)) if names]
        raise ValueError(f"the columns are not those of the batches before: {' and '.join(words)}")
    if columns.n_columns != len(learner.kinds):
        raise ValueError(f"there are {columns.n_columns} columns, but {len(learner.kinds)} in the batches before")
    if (columns.names is None) != (learner.names is None):
        raise ValueError("either the columns of every batch must have names, or of none")
    return columns.in_order_of(learner.names)


def _sampled_columns(sample: RowSample, schema: TableSchema) -> Columns:
    """The model columns of the sampled rows; of categories bins need no values."""
    made = [
        (lambda: np.empty(0, np.int32)) if info.kind == "category" else sample.column((info.source, info.part))
        for info in schema.features
    ]
    n_rows = max((len(column) for column in made if not callable(column)), default=0)
    return Columns(made, n_rows, schema.feature_names, schema.n_levels)


def _with_weight(weight: np.ndarray | None) -> np.ndarray | None:
    """The rows whose weight is not 0; None: all."""
    return None if weight is None or weight.all() else np.flatnonzero(weight)


def _same(one: Any, other: Any) -> bool:
    """Whether two values of a parameter, which may be arrays or lists, are the same."""
    if one is None or other is None or isinstance(one, str) or isinstance(other, str):
        return one is other or (isinstance(one, str) and isinstance(other, str) and one == other)
    return np.array_equal(np.asarray(one), np.asarray(other))
