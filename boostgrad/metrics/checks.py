"""What metrics are given, checked: loops in C go by lengths, and an order of NaN is none."""

from __future__ import annotations

from numbers import Real
from typing import Any

import numpy as np


def column(values: Any, name: str, n_rows: int | None = None) -> np.ndarray:
    """Numbers of so many rows (at least one), none of them NaN, in float64.

    Raises
    ------
    ValueError
        If they are not.
    """
    values = np.asarray(values)
    try:
        if values.dtype.kind not in "biufO":
            raise TypeError
        values = values.astype(np.float64, copy=False)
    except (TypeError, ValueError):
        raise ValueError(f"{name} must hold numbers.") from None
    if values.ndim != 1 or len(values) == 0 or n_rows not in (None, len(values)):
        rows = "(n_rows,), n_rows >= 1" if n_rows is None else f"({n_rows},)"
        raise ValueError(f"{name} must have the shape {rows}. Got {values.shape} instead.")
    if np.isnan(values.min()):
        raise ValueError(f"{name} must not be NaN, which it is in row {np.flatnonzero(np.isnan(values))[0]}.")
    return np.ascontiguousarray(values)


def not_negative(values: Any, name: str, n_rows: int | None = None) -> np.ndarray:
    """The same, of finite numbers that are not negative."""
    values = column(values, name, n_rows)
    bad = np.flatnonzero(~((values >= 0) & np.isfinite(values)))
    if len(bad):
        raise ValueError(f"{name} must be finite and not negative. Got {values[bad[0]]} in row {bad[0]}.")
    return values


def weights(values: Any, n_rows: int) -> np.ndarray | None:
    return None if values is None else not_negative(values, "sample_weight", n_rows)


def groups_of(values: Any, n_rows: int) -> np.ndarray:
    """One group of all rows where there are none."""
    if values is None:
        return np.zeros(n_rows, dtype=np.int64)
    values = np.asarray(values)
    if values.shape != (n_rows,):
        raise ValueError(f"groups must have the shape ({n_rows},). Got {values.shape} instead.")
    return values


def first_rows(k: Any, n_rows: int) -> int:
    """How many first rows count."""
    if k is None:
        return n_rows
    if not isinstance(k, Real) or isinstance(k, bool) or not (k >= 1 and k % 1 == 0):
        raise ValueError(f"k must be an integer >= 1, or None. Got {k!r} instead.")
    return min(int(k), n_rows)
