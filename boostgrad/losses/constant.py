"""The constant that a loss without a formula for it starts from."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import cache
from typing import Any

import numpy as np

from boostgrad.losses.pairs import check_written, not_finite


def best_constant(loss: Any, y: Any, weight: np.ndarray | None, offset: np.ndarray | None) -> np.ndarray:
    """The constant that minimises a loss, from its gradients: Newton's method kept in a bracket for one output, with
    steps that are halved for several. It starts at 0, or, where the loss has no gradient there, at the median or mean
    of y, and stays there where no constant is better: where only differences of raw predictions count.

    Raises
    ------
    ValueError
        If it has none there either.
    """
    start = np.zeros((loss.n_outputs, len(y))) if offset is None else offset
    pairs = loss.pairs(start.shape[1], weighted=weight is not None)

    def derivatives(constant: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        pairs.largest[:] = 0
        with np.errstate(all="ignore"):
            loss.gradients(y, start + constant[:, None], weight, pairs)
            sums = pairs.pairs.sum(axis=1)
        hessian = sums[:, 1] if pairs.constant_hessian is None else pairs.constant_hessian * start.shape[1]
        return sums[:, 0], np.broadcast_to(hessian, loss.n_outputs)

    known = cache(lambda *constant: derivatives(np.array(constant)))
    where = np.zeros(loss.n_outputs)
    slope = known(*where)[0]
    check_written(pairs, loss)
    if np.isnan(slope).any():
        where = next((at for at in _locations(y, start) if np.isfinite(known(*at)[0]).all()), None)
    if where is None:
        derivatives(np.zeros(loss.n_outputs))
        raise ValueError(
            f"{not_finite(pairs, loss)} for a raw prediction of 0, and of the median and the mean of y, so there is no "
            "constant to start from: derive from Loss and override init_raw, or pass raw predictions to start from as "
            "offset"
        )
    if loss.n_outputs == 1:
        gradient = pairs.pairs[0, :, 0]  # of the last call
        size, curvature = np.abs(gradient).sum(), known(*where)[1][0]
        if abs(gradient.sum()) <= ROUNDING * size:
            return where
        total = start.shape[1] if weight is None else weight.sum()
        # what rows need, in the unit of y where raw predictions are; logarithms may seem to need far too much at first
        unit = size / curvature if 0 < size < curvature else 1.0
        return np.array([_bracketed_root(lambda c: [d[0] / total for d in known(c)], where[0], unit)])

    def mean(constant: np.ndarray) -> float:
        if not loss.scored:
            return float(np.sum(known(*constant)[0] ** 2))
        with np.errstate(all="ignore"):
            return loss.mean(y, start + constant[:, None], weight)

    def damp(steps: np.ndarray) -> np.ndarray:
        return np.concatenate([loss.damp(steps[k : k + 1], k) for k in range(len(steps))]) if loss.damped else steps

    return _damped_newton(lambda constant: known(*constant), mean, damp, where)


def _locations(y: Any, start: np.ndarray) -> Iterator[np.ndarray]:
    """Median and mean of y as raw predictions, less what these start from."""
    n_outputs = len(start)
    if not isinstance(y, np.ndarray) or y.shape[1:] not in ((), (n_outputs,)):
        return
    rest = (y[:, None] if y.ndim == 1 else y) - start.T
    yield np.nanmedian(rest, axis=0)
    yield np.nanmean(rest, axis=0)


# A sum of gradients is 0 where it is a smaller share of the sum of their sizes.
ROUNDING = 1e-12

# Constants are sought no further out.
_FARTHEST = 2.0**200


def _bracketed_root(derivatives: Callable[[float], tuple[float, float]], start: float, unit: float) -> float:
    """Where a slope that does not decrease changes its sign. Steps are Newton's, but at least double until the root is
    bracketed, and halve the bracket where Newton's leave it or do not shrink it. Where each of Newton's steps is a
    fraction of the one before, that fraction of the last one is about what is missing after it. Where a slope
    does not vanish, but keeps its sign as far as it is finite, the start is as good as any. Roots that are nearer to 0
    than ``unit`` are found to a 1e-14 of it, others to a 1e-14 of themselves."""
    low, high = -np.inf, np.inf
    ends = {}  # at each end of the bracket, by the sign of the slope: whether it is finite
    at, last_step, last_slope, width, steepest = start, 0.0, np.inf, np.inf, 0.0
    last_newton = 0.0  # where the last step was one of Newton's, and else 0
    for _ in range(200):
        slope, curvature = derivatives(at)
        if not np.isfinite(slope) and at != start:  # too far out
            slope = np.copysign(np.inf, at - start)
        steepest = max(steepest, abs(slope))
        # all of the target in one class: the loss falls for ever
        flat = not np.isfinite(high - low) and abs(slope) <= 1e-15 * min(1.0, steepest)
        if slope == 0 or flat:
            return at
        low, high = (low, at) if slope > 0 else (at, high)
        ends[slope > 0] = bool(np.isfinite(slope))
        least = 1e-14 * max(abs(at), unit)
        if high - low <= 4 * least:
            return at if all(ends.values()) else start
        with np.errstate(over="ignore"):
            newton = -slope / curvature if curvature > 0 and np.isfinite(curvature) and np.isfinite(slope) else 0.0
        # a slope that grew, or where nothing is curved, says nothing of how far it is
        converges = newton != 0 and abs(newton) < 0.1 * abs(last_newton) and abs(slope) < abs(last_slope)
        last_slope = slope
        if converges and newton**2 <= least * abs(last_newton):
            return at + newton
        if np.isfinite(high - low):
            # a tiny step goes a little further, so that the root is between it and here
            target = at + (newton if abs(newton) > least else np.copysign(2 * least, newton))
            if newton == 0 or not low < target < high or (high - low > 0.5 * width and not converges):
                target = _middle(low, high, start, unit)
            width = high - low
        else:
            if abs(at) >= _FARTHEST:
                return start
            size = max(abs(newton), 2 * abs(last_step), 2.0**-30 * unit)
            target = np.clip(at - np.copysign(size, slope), -_FARTHEST, _FARTHEST)
        step = target - at
        last_newton = newton if target == at + newton else 0.0
        at, last_step = target, step
    return at if np.isfinite(high - low) else start


def _middle(low: float, high: float, start: float, unit: float) -> float:
    """Of a bracket; by its order of magnitude, seen from the start, where that is what is not known: a step where
    hardly anything was curved may have gone beyond all numbers."""
    near, far = sorted((low - start, high - start), key=abs)
    near = max(abs(near), unit)
    if low <= start <= high and abs(far) > 2.0**10 * near:
        return start + np.copysign(np.sqrt(near * abs(far)), far)
    return low + 0.5 * (high - low)


def _damped_newton(
    derivatives, mean: Callable[[np.ndarray], float], damp: Callable[[np.ndarray], np.ndarray], at: np.ndarray
) -> np.ndarray:
    """A minimum in several variables by the diagonal of the hessian. Steps are damped as those of leaves are, so that
    none goes where losses are cut off, from which there is no way back."""
    least = mean(at)
    for _ in range(100):
        gradient, hessian = derivatives(at)
        step = np.where(hessian > 0, -gradient / np.where(hessian > 0, hessian, 1.0), 0.0)
        step = damp(np.where(np.isfinite(step), step, 0.0))
        while np.abs(step).max() > 1e-12 * max(1.0, np.abs(at).max()):
            value = mean(at + step)
            if value < least:
                break
            step = step / 2
        else:
            return at
        at, least = at + step, value
    return at
