"""Targets and weights: taken out of whatever they came in, and checked."""

from __future__ import annotations

from typing import Any

import numpy as np
from sklearn.utils.validation import column_or_1d

from boostgrad.data.columns import as_values, is_bool
from boostgrad.data.containers import has_nullable, is_frame, is_series, is_sparse, module_of, read_frame, read_series

# Targets and weights are no larger, so that squares of sums of their products, which gains are, stay finite.
LARGEST_INPUT = 1e60

# Names of the columns of a target of times, in lower case.
EVENT_NAMES, TIME_NAMES = ("event", "status", "observed"), ("time", "duration")


def plain_array(values: Any, name: str) -> Any:
    """What one of polars, pyarrow or narwhals holds, or pandas in dtypes of its own, as numpy's; all else as it is."""
    if is_series(values):
        return as_values(read_series(values, name))
    if has_nullable(values) or (module_of(values) != "pandas" and is_frame(values)):
        return np.column_stack([as_values(column) for column in read_frame(values)[0]])
    return values


def target_column(y, n_rows: int, name: str, owner: str) -> np.ndarray:
    """A target as one column of the right length."""
    if y is None:
        raise ValueError(f"{owner} requires y to be passed, but the target {name} is None.")
    y = plain_array(y, name)
    # a plain column needs no check, which looks through all installed packages the first time
    if not (type(y) is np.ndarray and y.ndim == 1 and y.dtype.kind in "biufU"):
        y = column_or_1d(y, warn=True)
    if len(y) != n_rows:
        raise ValueError(
            f"Found input variables with inconsistent numbers of samples: X has {n_rows} rows, {name} has {len(y)}."
        )
    return y


def joined(pieces: list[Any], name: str) -> np.ndarray:
    """Targets or weights, piece after piece, as one array.

    Raises
    ------
    ValueError
        If the pieces have different shapes.
    """
    arrays = [
        np.array(piece, dtype=object)
        if isinstance(piece, list | tuple) and any(isinstance(value, str) for value in piece)
        else np.asarray(plain_array(piece, name))
        for piece in pieces
    ]
    kinds = {array.dtype.kind for array in arrays}
    if len(kinds) > 1 and kinds & set("OUST"):  # numpy would make text of numbers
        arrays = [array.astype(object) for array in arrays]
    try:
        return np.concatenate(arrays)
    except (ValueError, TypeError) as error:
        raise ValueError(f"{name} differs from batch to batch: {error}") from None


def several_columns(y: Any, name: str) -> np.ndarray | None:
    """The target as an array, if it has two columns or more."""
    try:
        table = np.asarray(plain_array(y, name))
    except ValueError:  # rows of different lengths, which are refused as one column
        return None
    return table if table.ndim == 2 and table.shape[1] > 1 else None


def target_table(y: Any, n_rows: int, name: str) -> np.ndarray:
    """Several targets a row, in float64, NaN where one is missing; shape (n_rows, n_targets)."""
    y = np.asarray(y)
    if y.dtype.kind == "O":  # NA of pandas's nullable columns has no float
        y = np.where(np.frompyfunc(lambda value: type(value).__name__ == "NAType", 1, 1)(y).astype(bool), np.nan, y)
    if y.dtype.kind == "c":
        raise ValueError(f"Complex data not supported: {name} must hold real numbers.")
    if y.dtype.kind in "mM":
        raise ValueError(f"{name} must hold numbers, not dates or times ({y.dtype}).")
    try:
        y = np.ascontiguousarray(y, dtype=np.float64)
    except (TypeError, ValueError):
        raise ValueError(f"{name} must hold numbers{_first_other(y)}.") from None
    if len(y) != n_rows:
        raise ValueError(
            f"Found input variables with inconsistent numbers of samples: X has {n_rows} rows, {name} has {len(y)}."
        )
    bad = np.argwhere(np.abs(y) > LARGEST_INPUT)  # infinity is one of them, a missing target is not
    if len(bad):
        row, column = bad[0]
        what = "infinity" if np.isinf(y[row, column]) else f"a number above {LARGEST_INPUT:g}"
        raise ValueError(f"Input {name} contains {what}: row {row}, column {column} is {y[row, column]}.")
    return y


def target_numbers(y: Any, n_rows: int, name: str, owner: str) -> np.ndarray:
    """A target of one finite number a row, in float64."""
    y = target_column(y, n_rows, name, owner)
    if y.dtype.kind == "c":
        raise ValueError(f"Complex data not supported: {name} must hold real numbers.")
    if y.dtype.kind in "mM":
        raise ValueError(f"{name} must hold numbers, not dates or times ({y.dtype}).")
    try:
        y = np.ascontiguousarray(y, dtype=np.float64)
    except (TypeError, ValueError):
        raise ValueError(f"{name} must hold numbers{_first_other(y)}.") from None
    check_finite(y, name)
    check_size(y, name)
    return y


def survival_bounds(y: Any, n_rows: int, name: str, owner: str, may_be_bounds: bool) -> np.ndarray:
    """Times as lower and upper bounds, shape (n_rows, 2); see ``BoostGradSurvival.fit`` for what is accepted."""
    if y is None:
        raise ValueError(f"{owner} requires y to be passed, but the target {name} is None.")
    roles, columns, by_order = _survival_columns(y, name, owner)
    columns = {role: _survival_numbers(values, n_rows, name, role) for role, values in zip(roles, columns, strict=True)}
    if "event" in columns:
        time, event = columns["time"], columns["event"]
        unclear = np.flatnonzero((event != 0) & (event != 1))
        if len(unclear) == 0:
            check_finite(time, f"{name} (time)")
            return np.column_stack([time, np.where(event == 1, time, np.inf)])
        if not (by_order and may_be_bounds):
            hint = " (columns of bounds are named 'lower' and 'upper')" if may_be_bounds else ""
            raise ValueError(
                f"{name}: whether the event was observed must be a bool, or 0 or 1: row {unclear[0]} is "
                f"{event[unclear[0]]:g}{hint}."
            )
        columns = {"lower": time, "upper": event}
    lower, upper = columns["lower"], columns["upper"]
    lower = np.where(lower == -np.inf, 0.0, lower)
    check_finite(lower, f"{name} (lower bound)")
    bad = np.flatnonzero(lower > upper)
    if len(bad):
        raise ValueError(
            f"{name}: the lower bound {lower[bad[0]]:g} of row {bad[0]} is above the upper one, {upper[bad[0]]:g}."
        )
    return np.column_stack([lower, upper])


def _survival_numbers(values: np.ndarray, n_rows: int, name: str, role: str) -> np.ndarray:
    if values.shape != (n_rows,):
        raise ValueError(
            f"Found input variables with inconsistent numbers of samples: X has {n_rows} rows, {name} has "
            f"{len(values)}."
        )
    try:
        values = values.astype(np.float64)
    except (TypeError, ValueError):
        raise ValueError(f"{name} must hold numbers, which its column {role!r} does not.") from None
    bad = np.flatnonzero(np.isnan(values))
    if len(bad):
        raise ValueError(f"Input {name} contains NaN: {role!r} of row {bad[0]} is missing.")
    return values


def _survival_columns(y: Any, name: str, owner: str) -> tuple[tuple[str, str], list[np.ndarray], bool]:
    """What the two columns are, "time" and "event" or "lower" and "upper"; the columns; and whether nothing but their
    order says so: then they may be bounds, too."""
    if is_frame(y):
        frame, _, names = read_frame(y)
        columns = [as_values(column) for column in frame]
        are_bools = [is_bool(column) for column in frame]
    else:
        y = np.asarray(y)
        if y.dtype.names is None:
            if y.ndim != 2 or y.shape[1] != 2:
                raise ValueError(
                    f"{name} of a {owner} must have two columns (time and event, or lower and upper bound) or be a "
                    f"structured array of them; it has shape {y.shape}."
                )
            return ("time", "event"), [y[:, 0], y[:, 1]], True
        names = y.dtype.names
        columns = [y[column] for column in names]
        are_bools = [column.dtype.kind == "b" for column in columns]
    if len(columns) != 2:
        raise ValueError(f"{name} of a {owner} must have two columns; it has {list(names)}.")
    if all(are_bools):
        raise ValueError(f"{name} of a {owner} must have a column of times; {list(names)} are both of bools.")
    roles = _survival_roles([str(column).lower() for column in names], are_bools)
    if roles is None and not is_frame(y):
        raise ValueError(
            f"{name} of a {owner} must have a bool field (event) and a time, or fields named 'time' and 'event' or "
            f"'lower' and 'upper'; it has {list(names)}."
        )
    return roles or ("time", "event"), columns, roles is None


def _survival_roles(names: list[str], are_bools: list[bool]) -> tuple[str, str] | None:
    """What two columns are, by their names or because one of them is of bools; None: neither says it."""
    if sorted(names) == ["lower", "upper"]:
        return names[0], names[1]
    for first_is_event in (
        [name in EVENT_NAMES for name in names],
        [name not in TIME_NAMES for name in names],
        are_bools,
    ):
        if first_is_event[0] != first_is_event[1]:
            return ("event", "time") if first_is_event[0] else ("time", "event")
    return None


def label_indicators(y: Any, n_rows: int, name: str) -> np.ndarray:
    """Several labels a row, as columns of 0 and 1; they may be a sparse matrix."""
    if is_sparse(y):
        y = y.tocsr(copy=True)
        y.sum_duplicates()
        rows, columns = (y.multiply(y) != y).nonzero()
    else:
        y = np.asarray(y)
        rows, columns = ((y != 0) & (y != 1)).nonzero()
    if y.shape[0] != n_rows:
        raise ValueError(
            f"Found input variables with inconsistent numbers of samples: X has {n_rows} rows, {name} has {y.shape[0]}."
        )
    if len(rows):
        raise ValueError(
            f"{name} has two dimensions, so it must hold 0 and 1, a column a label: row {rows[0]}, column {columns[0]} "
            f"is {y[rows[0], columns[0]]!r}."
        )
    y = y.astype(np.uint8)
    return y.toarray() if is_sparse(y) else y


def label_family(labels: np.ndarray) -> str:
    return {"O": "strings", "U": "strings", "m": "times", "M": "dates"}.get(labels.dtype.kind, "numbers")


def plain_labels(y: np.ndarray, name: str) -> np.ndarray:
    """Labels that came as objects: strings as they are, all others as an array of their own dtype."""
    labels = y.tolist()
    for row, label in enumerate(labels):
        if label is None or type(label).__name__ in ("NAType", "NaTType") or label != label:
            raise ValueError(f"Input {name} contains NaN: a label is missing at row {row}.")
    n_text = sum(isinstance(label, str) for label in labels)
    if n_text == len(labels):
        return y
    if n_text > 0:
        kinds = sorted({type(label).__name__ for label in labels})
        raise ValueError(f"Labels in {name} must all be strings, or none of them. Got {', '.join(kinds)}.")
    plain = np.array(labels)
    return plain if plain.ndim == 1 else y


def check_finite(values: np.ndarray, name: str) -> None:
    bad = np.flatnonzero(~np.isfinite(values))
    if len(bad):
        what = "NaN" if np.isnan(values[bad[0]]) else f"infinity or a value too large for {values.dtype!r}"
        raise ValueError(f"Input {name} contains {what}: row {bad[0]} is {values[bad[0]]}.")


def check_size(values: np.ndarray, name: str) -> None:
    large = np.flatnonzero(np.abs(values) > LARGEST_INPUT)
    if len(large):
        raise ValueError(
            f"{name} must not be larger than {LARGEST_INPUT:g} in absolute terms: row {large[0]} is {values[large[0]]}."
        )


def checked_weight(weight, n_rows: int, name: str) -> np.ndarray | None:
    """Weights in float64, or None where all are 1."""
    if weight is None:
        return None
    weight = weight_numbers(weight, n_rows, name)
    if not weight.any():
        raise ValueError(f"{name} is zero for all rows: Sample weights must contain at least one non-zero number.")
    return None if np.all(weight == 1) else weight


def weight_numbers(weight, n_rows: int, name: str) -> np.ndarray:
    """Weights in float64, checked row by row."""
    if np.isscalar(weight) and not isinstance(weight, str):
        weight = np.full(n_rows, weight)
    frame = is_frame(weight)
    try:
        weight = np.asarray(plain_array(weight, name))
        if weight.dtype.kind == "c":
            raise TypeError
        weight = np.ascontiguousarray(weight, dtype=np.float64)
    except (TypeError, ValueError):
        raise ValueError(f"{name} must hold numbers.") from None
    if frame and weight.ndim == 2 and weight.shape[1] == 1:
        weight = weight[:, 0].copy()
    if weight.ndim != 1:
        raise ValueError(f"{name} must be 1D: it has shape {weight.shape}, Sample weights must be 1D array or scalar")
    if len(weight) != n_rows:
        raise ValueError(f"{name} has {len(weight)} values for {n_rows} rows.")
    check_finite(weight, name)
    check_size(weight, name)
    negative = np.flatnonzero(weight < 0)
    if len(negative):
        raise ValueError(f"Negative values in data passed to `{name}`: row {negative[0]} is {weight[negative[0]]}.")
    return weight


def weights_of(weight: np.ndarray | None, rows: np.ndarray | None) -> np.ndarray | None:
    if weight is None or rows is None:
        return weight
    weight = weight[rows]
    return None if np.all(weight == 1) else weight


def smallest(y: np.ndarray) -> np.ndarray:
    """The same numbers in uint8 or float32 where that holds them exactly."""
    for dtype in (np.uint8, np.float32):
        with np.errstate(invalid="ignore", over="ignore"):
            smaller = y.astype(dtype)
        if (smaller == y).all():
            return smaller
    return y


def _first_other(values: Any) -> str:
    """Where the first value is that is no number, in words; "" where that cannot be told."""
    for place, value in np.ndenumerate(np.atleast_1d(np.asarray(values))):
        try:
            float(value)
        except (TypeError, ValueError):
            column = f", column {place[1]}," if len(place) == 2 else ""
            return f": row {place[0]}{column} is {value.item() if isinstance(value, np.generic) else value!r}"
    return ""


def checked_numbers(values: Any, n_rows: int, name: str) -> np.ndarray:
    """Finite numbers in float64, shape (n_rows,) or (n_rows, k)."""
    if np.isscalar(values) and not isinstance(values, str):
        values = np.full(n_rows, values)
    try:
        values = np.asarray(plain_array(values, name))
        if values.dtype.kind == "c":
            raise TypeError
        values = values.astype(np.float64, copy=False)
    except (TypeError, ValueError):
        raise ValueError(f"{name} must hold numbers{_first_other(values)}.") from None
    if values.ndim not in (1, 2) or len(values) != n_rows:
        raise ValueError(
            f"{name} must have one number, or one row of numbers, for each of {n_rows} rows: it has shape "
            f"{values.shape}."
        )
    for column in np.atleast_2d(values.T):
        check_finite(column, name)
        check_size(column, name)
    return values


def checked_offset(offset: Any, n_rows: int, name: str) -> np.ndarray:
    """Raw predictions to start from, shape (n_outputs, n_rows)."""
    return np.ascontiguousarray(np.atleast_2d(checked_numbers(offset, n_rows, name).T))


def checked_exposure(exposure: Any, n_rows: int, name: str) -> np.ndarray:
    """Positive numbers, shape (n_rows,)."""
    exposure = checked_numbers(exposure, n_rows, name)
    if exposure.ndim == 2 and exposure.shape[1] == 1:
        exposure = exposure[:, 0]
    if exposure.ndim != 1:
        raise ValueError(f"{name} must have one number a row: it has shape {exposure.shape}.")
    bad = np.flatnonzero(exposure <= 0)
    if len(bad):
        raise ValueError(f"{name} must be positive: row {bad[0]} is {exposure[bad[0]]}.")
    return exposure


def checked_groups(groups: Any, n_rows: int, name: str) -> np.ndarray | None:
    """Groups of any labels, in any order, as numbers from 0."""
    if groups is None:
        return None
    if isinstance(groups, list | tuple):
        groups = np.array(groups, dtype=object)  # numpy would make text of numbers beside some
    groups = np.asarray(plain_array(groups, name))
    if groups.ndim == 2 and groups.shape[1] == 1:
        groups = groups[:, 0]
    if groups.shape != (n_rows,):
        raise ValueError(f"{name} must have one value for each of {n_rows} rows: it has shape {groups.shape}.")
    if groups.dtype.kind == "O":
        groups = plain_labels(groups, name)
    if groups.dtype.kind in "fmM":
        check_finite(groups, name)
    return np.unique(groups, return_inverse=True)[1].reshape(n_rows).astype(np.int64)
