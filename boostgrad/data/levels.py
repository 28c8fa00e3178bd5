"""Columns that are not numbers: level codes, points in time, and the values of object columns.

What a container holds is taken apart into one of these::

    ndarray                 bool, integers or floats; NaN is missing
    function(rows=ALL)      makes such an array where it must be converted: of a slice of the rows, when these are read
    CodedColumn             codes [0 2 1 -1 0] and levels ["red", "blue", "green"], in whatever order they came
    TimeColumn              datetime64 or timedelta64; NaT is missing
"""

from __future__ import annotations

import datetime
from collections import defaultdict
from collections.abc import Callable, Hashable, Sequence
from decimal import Decimal
from numbers import Real
from typing import Any

import numpy as np

# How many of a unit of numpy's dates are a second, and how many seconds are one.
_PER_SECOND = {"s": 1, "ms": 10**3, "us": 10**6, "ns": 10**9, "ps": 10**12, "fs": 10**15, "as": 10**18}
_SECONDS = {"m": 60, "h": 3600, "D": 86400, "W": 604800}

# Level numbers of a column whose sets of levels are split: codes are 16 bits wide at most, and there is one for missing
# and one for levels beyond.
MAX_LEVELS = 65534

# A slice of all rows.
ALL = slice(None)


class CodedColumn:
    """A column of categories.

    Parameters
    ----------
    codes : ndarray of a signed integer dtype, shape (n_rows,)
        Positions in ``levels``, -1 where missing.
    levels : sequence
        Values, in any order; some may be missing values, or the same value in two types.
    mixed : bool, default=False
        Objects of several types in a column that was not declared a category by its container.
    """

    __slots__ = ("codes", "levels", "mixed")

    def __init__(self, codes: np.ndarray, levels: Sequence, mixed: bool = False):
        self.codes = codes
        self.levels = levels
        self.mixed = mixed

    def first(self, which: np.ndarray) -> tuple[int, Any] | None:
        """Row and value of the first row whose level is among these (a mask of the levels); None: no such row."""
        row = np.flatnonzero(np.append(which, False)[self.codes])
        return (int(row[0]), self.levels[int(self.codes[row[0]])]) if len(row) else None

    def values(self) -> np.ndarray:
        """The column as objects, None where missing."""
        return _objects([*(None if is_missing(level) else level for level in self.levels), None])[self.codes]


class Encoder:
    """Makes a CodedColumn of a column that comes in blocks of rows, each with levels of its own.

    Parameters
    ----------
    n_rows : int
        Of all blocks.
    """

    def __init__(self, n_rows: int):
        self._number_of: dict[Any, int] = {}
        self._codes = np.empty(n_rows, dtype=np.int8)
        self._n_rows = 0  # so far

    def add(self, codes: np.ndarray, levels: Sequence[str]) -> None:
        """The next rows: positions in these levels, -1 where missing."""
        number_of = self._number_of
        numbers = [number_of.setdefault(level, len(number_of)) for level in levels]
        self._codes = narrow(self._codes, max(len(number_of), 2 ** (8 * self._codes.itemsize - 1) - 1))
        rows = slice(self._n_rows, self._n_rows + len(codes))
        self._codes[rows] = np.array([*numbers, -1], dtype=self._codes.dtype)[codes]
        self._n_rows = rows.stop

    def column(self) -> CodedColumn:
        return CodedColumn(self._codes, list(self._number_of))


class TimeColumn:
    """A column of dates or durations.

    Parameters
    ----------
    values : ndarray of datetime64 or timedelta64, shape (n_rows,)
        Dates are in UTC.
    local : callable or None
        Makes the dates of a slice of the rows on the clocks of their time zone; None: they have no time zone.
    """

    __slots__ = ("values", "_local")

    def __init__(self, values: np.ndarray, local: Callable[[slice], np.ndarray] | None = None):
        self.values = values
        self._local = local

    @property
    def kind(self) -> str:
        return "date" if self.values.dtype.kind == "M" else "duration"

    def local(self, rows: slice = ALL) -> np.ndarray:
        return self.values[rows] if self._local is None else self._local(rows)

    def seconds(self, rows: slice = ALL) -> np.ndarray:
        """Seconds (since 1970) in float64; the same for every unit that the container may have used."""
        values = self.values[rows]
        unit, step = np.datetime_data(values.dtype)
        if step != 1 or unit not in _PER_SECOND | _SECONDS:
            unit = unit if unit in _PER_SECOND | _SECONDS else "s"  # of months and years only numpy knows the length
            values = values.astype(f"{values.dtype.kind}8[{unit}]")
        seconds = np.ascontiguousarray(values).view(np.int64) / _PER_SECOND.get(unit, 1) * _SECONDS.get(unit, 1)
        seconds[np.isnat(values)] = np.nan
        return seconds

    def part(self, name: str, rows: slice = ALL) -> np.ndarray:
        """A calendar part in float64: months, days and days of the year count from 1, weekdays from Monday = 0."""
        local = self.local(rows)
        days = local.astype("M8[D]")
        if name == "year":
            part = local.astype("M8[Y]").astype(np.int64) + 1970
        elif name == "month":
            part = local.astype("M8[M]").astype(np.int64) % 12 + 1
        elif name == "day":
            part = (days - local.astype("M8[M]").astype("M8[D]")).astype(np.int64) + 1
        elif name == "weekday":
            part = (days.astype(np.int64) + 3) % 7
        elif name == "hour":
            part = (local.astype("M8[h]") - days.astype("M8[h]")).astype(np.int64)
        elif name == "dayofyear":
            part = (days - local.astype("M8[Y]").astype("M8[D]")).astype(np.int64) + 1
        else:
            raise ValueError(f"{name!r} is not a part of a date")
        return np.where(np.isnat(local), np.nan, part)


# ---- single values ---------------------------------------------------------------------------------------------------


def family(kind: type) -> str:
    """What values of a type are: "missing", "text", "bool", "number", "date", "duration", "time", or "other"."""
    if kind.__name__ in ("NoneType", "NAType", "NaTType"):  # pandas' are known by name: it is not imported for this
        return "missing"
    if issubclass(kind, str | bytes):
        return "text"
    if issubclass(kind, bool | np.bool_):
        return "bool"
    if issubclass(kind, np.timedelta64 | datetime.timedelta):
        return "duration"
    if issubclass(kind, np.datetime64 | datetime.date):
        return "date"
    if issubclass(kind, datetime.time):
        return "time"
    return "number" if issubclass(kind, Real | Decimal) else "other"


WORDS = {"text": "text", "bool": "a bool", "date": "a date", "duration": "a duration", "time": "a time of day"}


def in_words(value: Any) -> str:
    """What a message calls a value's kind."""
    if isinstance(value, Real | Decimal) and family(type(value)) == "number":
        return "a number"
    return WORDS.get(family(type(value)), f"of the type {type(value).__name__}")


def is_missing(value: Any) -> bool:
    kind = family(type(value))
    return kind == "missing" or (kind in ("number", "date", "duration") and bool(value != value))


def level_key(value: Any) -> tuple[str, Hashable] | None:
    """The level that a value is, as (type name, value); None where it is missing.

    It is the same for every container: 1, 1.0 and numpy's 1 are one level, True is another, "1" a third.
    """
    if type(value) is str:
        return "str", value
    kind = family(type(value))
    if kind == "missing" or is_missing(value):
        return None
    if kind == "text":
        return "str", str(value) if isinstance(value, str) else value.decode("utf-8", "surrogateescape")
    if kind == "bool":
        return "bool", bool(value)
    if kind == "number":
        number = int(value) if value == value // 1 else float(value)
        return "number", number
    if kind in ("date", "time"):
        return "str", str(value) if isinstance(value, np.datetime64) else value.isoformat()
    if type(value).__name__ == "Interval":  # pandas.cut makes categories of these
        return "str", str(value)
    return type(value).__name__, value


def ordered(keys: list[tuple[str, Hashable]]) -> list[tuple[str, Hashable]]:
    """Level keys in their canonical order: by type name, then by value."""
    try:
        return sorted(keys)
    except TypeError:  # values that cannot be compared
        return sorted(keys, key=lambda key: (key[0], repr(key[1])))


# ---- columns of objects ----------------------------------------------------------------------------------------------


def from_objects(values: list, label: str) -> np.ndarray | CodedColumn | TimeColumn:
    """A column of Python objects as what all of them are.

    Parameters
    ----------
    values : list
    label : str
        How messages name the column.

    Returns
    -------
    ndarray of float64, CodedColumn or TimeColumn
        Numbers (bools among them count as 0 and 1), dates or durations; otherwise codes, marked as mixed unless all
        values are text or all are bools.

    Raises
    ------
    TypeError
        If a value is none of these and cannot be a level either.
    """
    families = {kind: family(kind) for kind in set(map(type, values))}
    present = set(families.values()) - {"missing"}
    if len(present) > 1 and "number" in present and all(v != v for v in values if families[type(v)] == "number"):
        present.discard("number")  # NaN is how text, bools and dates are missing
    if not present:
        return np.full(len(values), np.nan)
    if present <= {"number", "bool"} and "number" in present:
        return _floats(values, families, label)
    if present == {"date"}:
        return _dates(values)
    if present == {"duration"}:
        gaps = [None if is_missing(v) else v for v in values]
        return TimeColumn(np.array(gaps, dtype="m8[us]"))
    if present == {"time"}:
        return np.array([np.nan if is_missing(v) else _seconds_of_day(v) for v in values])
    return _factorised(values, families, label, mixed=present not in ({"text"}, {"bool"}))


def _factorised(values: list, families: dict[type, str], label: str, mixed: bool) -> CodedColumn:
    numbers: defaultdict = defaultdict()
    numbers.default_factory = numbers.__len__
    if not mixed:  # equal objects are then one level; what is missing may be several
        codes = np.fromiter(map(numbers.__getitem__, values), np.int32, len(values))
        return CodedColumn(narrow(codes, len(numbers)), list(numbers), mixed)
    codes = np.empty(len(values), dtype=np.int32)
    for row, value in enumerate(values):
        try:
            codes[row] = numbers[level_key(value)]
        except TypeError:
            raise TypeError(
                f"column {label}, row {row}: could not convert {value!r} to float (argument must be a string or a "
                f"number, not {type(value).__name__!r})"
            ) from None
    return CodedColumn(narrow(codes, len(numbers)), [None if key is None else key[1] for key in numbers], mixed)


def _floats(values: list, families: dict[type, str], label: str) -> np.ndarray:
    try:
        return np.array(values, dtype=np.float64)
    except (TypeError, ValueError, OverflowError):
        pass
    numbers = np.empty(len(values))
    for row, value in enumerate(values):
        try:
            numbers[row] = np.nan if families[type(value)] == "missing" else float(value)
        except (TypeError, ValueError, OverflowError) as error:
            raise ValueError(f"column {label}, row {row}: could not convert {value!r} to float ({error})") from None
    return numbers


def _dates(values: list) -> TimeColumn:
    zoned = any(getattr(value, "tzinfo", None) is not None for value in values)
    if not zoned:
        return TimeColumn(np.array([None if is_missing(v) else _plain_date(v) for v in values], dtype="M8[us]"))

    def clocks(turned, rows=ALL) -> np.ndarray:
        naive = [None if is_missing(v) else _plain_date(turned(v)).replace(tzinfo=None) for v in values[rows]]
        return np.array(naive, dtype="M8[us]")

    def to_utc(value):
        value = _plain_date(value)
        return value if value.tzinfo is None else value.astimezone(datetime.UTC)

    return TimeColumn(clocks(to_utc), lambda rows: clocks(lambda value: value, rows))


def _plain_date(value: Any) -> Any:
    """Dates as Python's datetime, which numpy reads without a warning."""
    if isinstance(value, np.datetime64):
        return value.astype("M8[us]").item()
    if hasattr(value, "to_pydatetime"):
        return value.to_pydatetime(warn=False)
    return value if isinstance(value, datetime.datetime) else datetime.datetime(value.year, value.month, value.day)


def _seconds_of_day(value: datetime.time) -> float:
    return value.hour * 3600 + value.minute * 60 + value.second + value.microsecond / 1e6


def narrow(codes: np.ndarray, n_levels: int) -> np.ndarray:
    """The codes in the smallest signed dtype that holds them, as they are kept while a model is fitted."""
    dtype = np.int8 if n_levels <= 127 else np.int16 if n_levels <= 32767 else np.int32
    return codes.astype(dtype, copy=False)


def _objects(values: list) -> np.ndarray:
    """A one-dimensional array of these objects, whatever they are."""
    array = np.empty(len(values), dtype=object)
    array[:] = values
    return array
