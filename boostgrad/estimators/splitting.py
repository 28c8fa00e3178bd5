"""Which rows are set aside for early stopping."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from boostgrad.estimators.samples import Samples


def split(
    samples: Samples,
    fraction: Any,
    target: np.ndarray,
    strata: Callable[[np.ndarray], np.ndarray | None],
    seed: int,
) -> tuple[Samples, Samples]:
    """Those to train on and those to validate with; a group is never torn apart.

    Parameters
    ----------
    samples : Samples
    fraction : float or scikit-learn splitter
        ``validation_fraction``: so much is set aside, or what the splitter's first split says.
    target : ndarray
        What a splitter gets as y.
    strata : callable
        Of the samples' target, what a random split keeps the shares of; None where there is nothing.
    seed : int

    Returns
    -------
    Samples, Samples

    Raises
    ------
    ValueError
        If there is no such split; the message names ``validation_fraction``.
    """
    everything = np.arange(len(samples))
    try:
        if hasattr(fraction, "split"):
            kept, held_out = _first(fraction, everything, target, samples.groups)
        else:
            kept, held_out = _random(fraction, everything, strata(samples.y), samples.groups, seed)
    except (ValueError, TypeError) as error:
        raise ValueError(
            f"early_stopping: {len(samples)} rows cannot be split with validation_fraction={fraction!r}: {error}"
        ) from error
    if len(kept) == 0 or len(held_out) == 0:
        raise ValueError(f"validation_fraction={fraction!r} leaves a part of the split empty.")
    if max(np.max(kept), np.max(held_out)) >= len(samples):
        raise ValueError(
            f"validation_fraction={fraction!r} splits more than the {len(samples)} rows that there are (rows of weight "
            "0 are left out before the split)."
        )
    if samples.groups is not None and np.isin(samples.groups[kept], samples.groups[held_out]).any():
        raise ValueError(
            f"validation_fraction={fraction!r} tears groups apart: use a splitter that keeps them whole, such as "
            "sklearn.model_selection.GroupShuffleSplit, or a fraction."
        )
    return samples.take(np.sort(kept)), samples.take(np.sort(held_out))


def _first(
    splitter: Any, everything: np.ndarray, target: np.ndarray, groups: np.ndarray | None
) -> tuple[np.ndarray, np.ndarray]:
    """The splitter's first split."""
    given = () if groups is None else (groups,)
    first = next(iter(splitter.split(everything[:, None], target, *given)), None)
    if first is None:
        raise ValueError("it has no split")
    return first


def _random(
    fraction: float, everything: np.ndarray, strata: np.ndarray | None, groups: np.ndarray | None, seed: int
) -> tuple[np.ndarray, np.ndarray]:
    from sklearn.model_selection import GroupShuffleSplit, train_test_split

    if groups is None:
        return train_test_split(everything, test_size=fraction, random_state=seed, stratify=strata)
    splitter = GroupShuffleSplit(1, test_size=fraction, random_state=seed)
    return next(splitter.split(everything[:, None], groups=groups))
