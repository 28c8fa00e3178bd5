"""What a model must know of a table: learned from the training columns, applied to every later one.

``TableSchema.learn`` decides what each input column is, ``TableSchema.apply`` makes the columns that bins and trees
see::

    input columns      age (number)   colour (category)       sold (date)
                          |               |                    |        \\
    model columns      [31.0 nan 8.0] [2 0 -1] (levels)   seconds     sold__weekday

The schema is data: its features are stored in the ensemble, and level numbers depend on the levels alone, not on the
container that they came in.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import Any

import numpy as np

from boostgrad.data.columns import BLOCK_ROWS, Columns, SparseColumns
from boostgrad.data.levels import (
    ALL,
    MAX_LEVELS,
    CodedColumn,
    TimeColumn,
    family,
    in_words,
    is_missing,
    level_key,
    narrow,
    ordered,
)
from boostgrad.features import FeatureInfo, numbers

# Levels of fewer training rows than this share one level number, where a column has more than so many levels.
RARE_COUNT = 2
MANY_LEVELS = 50


class TableSchema:
    """Names and kinds of the columns of a table, and the levels of its categories.

    Parameters
    ----------
    features : tuple of FeatureInfo
        One for each model column, in the order of the input columns.
    names : tuple of str or None
        Of the input columns.

    Attributes
    ----------
    n_inputs : int
        Number of input columns.
    n_levels : tuple of int or None
        For each model column; None where none is a category.
    """

    def __init__(self, features: tuple[FeatureInfo, ...], names: tuple[str, ...] | None):
        self.features = features
        self.names = names
        self.n_inputs = 1 + max((info.source for info in features), default=-1)
        self.n_levels = tuple(f.n_levels for f in features) if any(f.kind == "category" for f in features) else None
        self._plain = features == numbers(self.n_inputs)
        self._tables = {
            info.source: (info, _LevelTable(info))
            for info in features
            if info.part is None and info.kind in ("category", "statistic")
        }

    @classmethod
    def learn(
        cls,
        columns: Columns,
        *,
        categorical_features: Any = "from_dtype",
        date_parts: tuple[str, ...] | None = None,
        rows: np.ndarray | None = None,
        most_levels: int | None = MAX_LEVELS,
    ) -> TableSchema:
        """Learn what the columns are.

        Parameters
        ----------
        columns : Columns
            As ``as_columns`` gives them.
        categorical_features : "from_dtype", None, or array-like of bool, int or str
            Which columns are categories: those whose type says so (text, categories, and bools but for numpy's), none,
            or those of a mask, of these numbers or of these names.
        date_parts : tuple of str, optional
            Calendar parts to add for each column of dates.
        rows : ndarray of int64, optional
            The rows to learn levels from; None: all.
        most_levels : int or None
            Levels of a category at most: of more, the least frequent ones are pooled. None: no limit.

        Raises
        ------
        ValueError
            If ``categorical_features`` does not fit the table, or a column that is no category holds something that is
            not a number.
        """
        learner = SchemaLearner(categorical_features, date_parts)
        learner.add(columns, rows)
        return learner.schema(most_levels)

    @property
    def feature_names(self) -> tuple[str, ...] | None:
        """Names of the model columns."""
        if self.names is None:
            return None
        return tuple(
            self.names[f.source] if f.part is None else f"{self.names[f.source]}__{f.part}" for f in self.features
        )

    def apply(
        self, columns: Columns, *, unknown_category: str = "missing", owner: str = "The model", what: str = "X"
    ) -> Columns:
        """The model columns of a table.

        Parameters
        ----------
        columns : Columns
            As ``as_columns`` gives them; with names, in any order.
        unknown_category : {"missing", "rare", "error"}
            What becomes of levels that were not learned; "rare" is "missing" where no rare levels were pooled.
        owner, what : str
            How messages name the model and the table.

        Returns
        -------
        Columns
            Columns that are converted are converted when they are read.

        Raises
        ------
        ValueError
            If the columns are not those of the schema, a value cannot be what its column is, or a level is unknown
            under "error". The message names column, row and value.
        """
        if columns.names is not None or self.names is not None or columns.n_columns != self.n_inputs:
            columns = self._matched(columns, owner, what)
        if self._plain and (columns.matrix is not None or isinstance(columns, SparseColumns)):
            return columns
        if isinstance(columns, SparseColumns):
            info = next(info for info in self.features if info.kind != "number")
            raise ValueError(
                f"{what} is sparse, but {owner} was fitted with a {info.kind} in column {info.source}, and columns of "
                "a sparse table are numbers"
            )
        made, numbered = [], {}
        for info in self.features:
            entry, label = columns.entry(info.source), columns.label(info.source)
            if info.source in self._tables and info.source not in numbered:
                numbered[info.source] = _numbered(entry, *self._tables[info.source], unknown_category, label)
            if info.kind == "category":
                made.append(_level_numbers(*numbered[info.source]))
            elif info.kind == "statistic":
                made.append(_statistics(*numbered[info.source], info.values))
            else:
                made.append(feature_values(entry, info, label))
        return Columns(made, columns.n_rows, self.feature_names, self.n_levels)

    def _matched(self, columns: Columns, owner: str, what: str) -> Columns:
        """The columns in the order of the schema, if they are those of the schema."""
        names = self.names
        if names is not None and columns.names is not None and set(names) != set(columns.names):
            lines = [f"The feature names of {what} should match those that were passed during fit."]
            for title, group in (
                ("Feature names unseen at fit time:", sorted(set(columns.names) - set(names))),
                ("Feature names seen at fit time, yet now missing:", sorted(set(names) - set(columns.names))),
            ):
                if group:
                    lines += [title, *(f"- {name}" for name in group[:10]), *(["- ..."] if len(group) > 10 else [])]
            raise ValueError("\n".join(lines) + "\n")
        if columns.n_columns != self.n_inputs:
            raise ValueError(
                f"{what} has {columns.n_columns} features, but {owner} is expecting {self.n_inputs} features as input."
            )
        if names is not None and columns.names is None:
            words = f"{what} does not have valid feature names, but {owner} was fitted with feature names"
            warnings.warn(words, UserWarning, stacklevel=5)
        elif names is None and columns.names is not None:
            words = f"{what} has feature names, but {owner} was fitted without feature names"
            warnings.warn(words, UserWarning, stacklevel=5)
        return columns.in_order_of(names)


# ---- learning --------------------------------------------------------------------------------------------------------


class SchemaLearner:
    """Learns what the columns of a table are from the table, or from one batch of its rows after the other.

    Parameters
    ----------
    categorical_features, date_parts
        As of :meth:`TableSchema.learn`.
    in_batches : bool, default=False
        Whether there is more than one table: a column of which all is missing so far may then become anything.

    Attributes
    ----------
    names : tuple of str or None
        Of the input columns, once there was a table.
    kinds : list of str or None
        For each input column what it was found to be; None: nothing yet, as all of its values were missing.
    """

    def __init__(
        self,
        categorical_features: Any = "from_dtype",
        date_parts: tuple[str, ...] | None = None,
        in_batches: bool = False,
    ):
        self._categorical_features = categorical_features
        self._in_batches = in_batches
        self._date_parts = tuple(date_parts or ())
        self._counts: list[dict[tuple, int]] = []
        self.names: tuple[str, ...] | None = None
        self.kinds: list[str | None] | None = None

    def add(self, columns: Columns | SparseColumns, rows: np.ndarray | None = None) -> None:
        """Learn from these rows (None: all) of a table, whose columns are those of the tables before, in their order.

        Raises
        ------
        ValueError, TypeError
            As :meth:`TableSchema.learn`; or if a column is of another kind than before.
        """
        declared = _declared(self._categorical_features, columns)
        if isinstance(columns, SparseColumns):
            _refuse_sparse_categories(declared)
            self.kinds = ["number"] * columns.n_columns
            self._counts = [{} for _ in self.kinds]
            return
        if self.kinds is None:
            self.names = columns.names
            self.kinds = [None] * columns.n_columns
            self._counts = [{} for _ in self.kinds]
        for j in range(columns.n_columns):
            entry, label = columns.entry(j), columns.label(j)
            kind = _kind(entry, None if declared is None else declared[j], label)
            if kind != self.kinds[j]:
                kind = self._agreed(j, kind, entry, label)
            if kind == "category":
                _count_levels(as_levels(entry), rows, label, self._counts[j])

    def _agreed(self, j: int, kind: str, entry: Any, label: str) -> str | None:
        """What column j is, now that it seems to be something else than before; a column of missing values fits all."""
        known = self.kinds[j]
        if self._in_batches and kind == "number" and _all_missing(entry, label):
            return None
        if known is not None:
            raise ValueError(f"column {label} is a {kind} here, but was a {known} before")
        self.kinds[j] = kind
        return kind

    def features_of(self, j: int) -> list[FeatureInfo]:
        """The features of input column j that are not levels, as far as it is known what it is."""
        kind = self.kinds[j] or "number"
        parts = [None, *self._date_parts] if kind == "date" else [None]
        return [] if kind == "category" else [FeatureInfo(kind, j, part) for part in parts]

    def schema(self, most_levels: int | None = MAX_LEVELS) -> TableSchema:
        """What was learned; ``most_levels`` as of :meth:`TableSchema.learn`."""
        features = []
        for j, kind in enumerate(self.kinds):
            if kind == "category":
                features.append(FeatureInfo(kind, j, None, *_in_order(self._counts[j], most_levels)))
            else:
                features += self.features_of(j)
        return TableSchema(tuple(features), self.names)


def _refuse_sparse_categories(declared: np.ndarray | None) -> None:
    if declared is not None and declared.any():
        raise ValueError(
            f"categorical_features declares column {np.flatnonzero(declared)[0]} a category, but X is sparse, "
            "and columns of a sparse table are numbers; pass a data frame or a dense array."
        )


def _all_missing(entry: Any, label: str) -> bool:
    values = as_numbers(entry, label)
    values = values() if callable(values) else values
    return values.dtype.kind == "f" and bool(np.isnan(values).all())


# ---- what a column is ------------------------------------------------------------------------------------------------


def _declared(categorical_features: Any, columns: Columns) -> np.ndarray | None:
    """Whether each column was declared a category; None: its type says so."""
    if isinstance(categorical_features, str) and categorical_features == "from_dtype":
        return None
    declared = np.zeros(columns.n_columns, dtype=bool)
    if categorical_features is None or len(categorical_features) == 0:
        return declared
    which = list(categorical_features)
    if isinstance(which[0], bool | np.bool_):
        if len(which) != columns.n_columns:
            raise ValueError(
                f"categorical_features is a mask of {len(which)} columns, but X has {columns.n_columns} columns."
            )
        return np.array(which, dtype=bool)
    for column in which:
        if isinstance(column, str):
            if columns.names is None:
                raise ValueError(
                    f"categorical_features names the column {column!r}, but the columns of X have no names."
                )
            if column not in columns.names:
                raise ValueError(f"categorical_features names the column {column!r}, which X does not have.")
            declared[columns.names.index(column)] = True
        elif 0 <= column < columns.n_columns:
            declared[column] = True
        else:
            raise ValueError(
                f"categorical_features must hold column numbers from 0 to {columns.n_columns - 1}. Got {column!r}."
            )
    return declared


def _kind(entry: Any, declared: bool | None, label: str) -> str:
    if declared:
        return "category"
    if isinstance(entry, TimeColumn):
        return entry.kind
    if isinstance(entry, CodedColumn) and declared is None:
        if entry.mixed:
            _refuse_mixed(entry, label)
        return "category"
    as_numbers(entry, label)  # raises where they are none
    return "number"


def _refuse_mixed(coded: CodedColumn, label: str) -> None:
    """Raise for a column of objects of several types, naming the first row that differs from those before."""
    kinds = np.array([family(type(level)) if not is_missing(level) else "" for level in coded.levels])
    row0, value0 = coded.first(kinds != "")
    row, value = coded.first((kinds != "") & (kinds != family(type(value0)))) or (row0, value0)
    if family(type(value)) == "other":
        raise TypeError(
            f"column {label}, row {row}: could not convert {value!r} to float (argument must be a string or a number, "
            f"not {type(value).__name__!r}); declare the column categorical (categorical_features) if its values are "
            "levels"
        )
    raise ValueError(
        f"column {label}, row {row}: {value!r} is {in_words(value)}, but row {row0} holds {value0!r}, which is "
        f"{in_words(value0)}; declare the column categorical (categorical_features) or make all of its values one type"
    )


# ---- levels ----------------------------------------------------------------------------------------------------------


def as_levels(entry: Any) -> CodedColumn:
    """A column of whatever kind as levels; of dates and durations these are their seconds."""
    if isinstance(entry, CodedColumn):
        return entry
    values = entry.seconds() if isinstance(entry, TimeColumn) else entry() if callable(entry) else entry
    distinct, codes = np.unique(values, return_inverse=True)
    return CodedColumn(narrow(codes, len(distinct)), distinct.tolist())  # NaN is a level, which is missing


def _count_levels(coded: CodedColumn, rows: np.ndarray | None, label: str, out: dict[tuple, int]) -> None:
    """Add how often each level occurs in these rows to OUT out, by level key."""
    codes = coded.codes if rows is None else coded.codes[rows]
    counts = np.zeros(len(coded.levels) + 1, dtype=np.int64)
    for begin in range(0, len(codes), BLOCK_ROWS):
        piece = codes[begin : begin + BLOCK_ROWS].astype(np.intp)
        counts += np.bincount(piece + 1, minlength=len(counts))
    counts = counts[1:]
    for code in np.flatnonzero(counts).tolist():
        key = level_key(coded.levels[code])
        try:
            if key is not None:
                out[key] = out.get(key, 0) + int(counts[code])
        except TypeError:
            raise TypeError(
                f"column {label}: {coded.levels[code]!r} cannot be a level, as it is of the type "
                f"{type(coded.levels[code]).__name__}; levels are text, numbers or bools"
            ) from None


def _in_order(count_of: dict[tuple, int], most_levels: int | None) -> tuple[tuple, tuple]:
    """Levels in canonical order, and apart from them the rare ones."""
    keys = ordered(list(count_of))
    pooled = len(keys) > MANY_LEVELS
    kept = [key for key in keys if not pooled or count_of[key] >= RARE_COUNT]
    if most_levels is not None and len(kept) > most_levels - 1:
        frequent = np.argsort([-count_of[key] for key in kept], kind="stable")[: most_levels - 1]
        kept = [kept[k] for k in np.sort(frequent)]
    known = set(kept)
    rare = [key for key in keys if key not in known]
    return tuple(value for _, value in kept), tuple(value for _, value in rare)


class _LevelTable:
    """Level keys to level numbers. A bool is found as 0 or 1 too, and these as bools, as containers differ there."""

    def __init__(self, info: FeatureInfo):
        numbers = {level_key(level): number for number, level in enumerate(info.levels)}
        numbers |= {level_key(level): len(info.levels) for level in info.rare_levels}
        for truth in (False, True):
            as_bool, as_number = ("bool", truth), ("number", int(truth))
            if as_bool in numbers:
                numbers.setdefault(as_number, numbers[as_bool])
            elif as_number in numbers:
                numbers[as_bool] = numbers[as_number]
        self.get = numbers.get
        self.types = {name for name, _ in numbers}


# In place of a level number.
MISSING, UNKNOWN = -1, -2


def _numbered(
    entry: Any, info: FeatureInfo, table: _LevelTable, unknown_category: str, label: str
) -> tuple[CodedColumn, np.ndarray]:
    """A column, and the number of each of its levels; the last number is for the code -1."""
    coded = as_levels(entry)
    number_of = np.full(len(coded.levels) + 1, MISSING, dtype=np.int32)
    unknown = np.zeros(len(coded.levels), dtype=bool)
    foreign = np.zeros(len(coded.levels), dtype=bool)
    for code in _used(coded):
        key = level_key(coded.levels[code])
        if key is None:
            continue
        number = table.get(key)
        if number is None:
            unknown[code] = True
            foreign[code] = bool(table.types) and key[0] not in table.types
        else:
            number_of[code] = number
    found = coded.first(foreign) if foreign.any() else None
    if found is not None:
        row, value = found
        raise ValueError(
            f"column {label}, row {row}: {value!r} is {in_words(value)}, but the levels of this category are "
            f"{' and '.join(_TYPES.get(name, name) for name in sorted(table.types))}"
        )
    if unknown_category == "error" and unknown.any():
        found = coded.first(unknown)
        if found is not None:
            row, value = found
            raise ValueError(
                f"column {label}, row {row}: the category {value!r} was not there when the model was fitted "
                "(unknown_category='error')"
            )
    if unknown_category == "rare" and info.rare_levels:
        number_of[:-1][unknown] = len(info.levels)
    else:
        number_of[:-1][unknown] = UNKNOWN
    return coded, number_of


def _level_numbers(coded: CodedColumn, number_of: np.ndarray) -> Callable:
    """Makes the level numbers of a column; levels were looked up at once, and rows are by their codes."""
    return lambda rows=ALL: number_of[coded.codes[rows]]


def _statistics(coded: CodedColumn, number_of: np.ndarray, values: tuple[float, ...]) -> Callable:
    """Makes a statistic of a column: NaN where missing, 0 where the level is unknown."""
    value_of = statistic_of_number(values)[number_of]
    return lambda rows=ALL: value_of[coded.codes[rows]]


def statistic_of_number(values: tuple[float, ...]) -> np.ndarray:
    """A statistic by level number, where ``MISSING`` and ``UNKNOWN`` count from the end."""
    return np.array([*values, 0.0, np.nan])


_TYPES = {"str": "text", "number": "numbers", "bool": "bools"}


def _used(coded: CodedColumn) -> list[int]:
    """The codes to look up: those that occur, where that is quickly said."""
    if len(coded.codes) >= len(coded.levels):
        return list(range(len(coded.levels)))
    codes = np.unique(coded.codes)
    return codes[codes >= 0].tolist()


# ---- numbers and times -----------------------------------------------------------------------------------------------


def as_numbers(entry: Any, label: str) -> Any:
    """A column as numbers: an array, or a function that makes one. Text and levels are read as numbers if they are."""
    if isinstance(entry, TimeColumn):
        there = np.flatnonzero(~np.isnat(entry.values))
        if len(there):
            raise ValueError(
                f"column {label}, row {there[0]}: {entry.values[there[0]]} is a {entry.kind}, but this is a column of "
                "numbers"
            )
        return lambda rows=ALL: np.full(len(entry.values[rows]), np.nan)
    if not isinstance(entry, CodedColumn):
        return entry
    number_of = np.full(len(entry.levels) + 1, np.nan)
    bad = np.zeros(len(entry.levels), dtype=bool)
    for code in _used(entry):
        level = entry.levels[code]
        if is_missing(level):
            continue
        try:
            number_of[code] = float(level)
        except (TypeError, ValueError, OverflowError):
            bad[code] = True
    found = entry.first(bad) if bad.any() else None
    if found is None:
        return lambda rows=ALL: number_of[entry.codes[rows]]
    row, value = found
    if isinstance(value, str | bytes):
        raise ValueError(
            f"column {label}, row {row}: {value!r} is not a number; declare the column categorical "
            "(categorical_features) or make all of its values numbers"
        )
    raise TypeError(
        f"column {label}, row {row}: could not convert {value!r} to float (argument must be a string or a number, not "
        f"{type(value).__name__!r})"
    )


def feature_values(entry: Any, info: FeatureInfo, label: str) -> Any:
    """A feature that is no category, from its input column: an array, or a function that makes one."""
    return as_numbers(entry, label) if info.kind == "number" else _as_time(entry, info, label)


def _as_time(entry: Any, info: FeatureInfo, label: str) -> Callable:
    """Makes the numbers of a column of dates or durations, or one of its calendar parts."""
    if isinstance(entry, TimeColumn) and entry.kind == info.kind:
        return entry.seconds if info.part is None else lambda rows=ALL: entry.part(info.part, rows)
    if isinstance(entry, TimeColumn):
        row = np.flatnonzero(~np.isnat(entry.values))
        found = (int(row[0]), str(entry.values[row[0]])) if len(row) else None
        n_rows = len(entry.values)
    elif isinstance(entry, CodedColumn):
        found = entry.first(np.array([not is_missing(level) for level in entry.levels], dtype=bool))
        n_rows = len(entry.codes)
    else:
        values = entry() if callable(entry) else entry
        row = np.flatnonzero(~np.isnan(values))
        found = (int(row[0]), values[row[0]].item()) if len(row) else None
        n_rows = len(values)
    if found is not None:
        raise ValueError(
            f"column {label}, row {found[0]}: {found[1]!r} is not a {info.kind}, but this was a column of {info.kind}s "
            "when the model was fitted"
        )
    return lambda rows=ALL: np.full(len(range(n_rows)[rows]), np.nan)
