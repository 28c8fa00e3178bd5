"""Losses of one's own: a function of whole arrays, or a scalar function that PyTorch or JAX differentiates.

Neither has a name, so a model file holds "unnamed" in its place, and a model that is loaded from one gives raw
predictions.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from boostgrad.losses.base import Loss, register

# What a model file says of a loss without a name.
UNNAMED = "unnamed"


@register
class UnnamedLoss(Loss):
    """What is left of a loss without a name in a model file: it gives raw predictions, and cannot train.

    Parameters
    ----------
    n_outputs : int, default=1
    was : str, default=""
        What the loss was, for the reader.
    """

    name = UNNAMED
    scored = False

    def __init__(self, n_outputs: int = 1, was: str = ""):
        self.n_outputs = n_outputs
        self.was = was

    def parameters(self):
        return {"n_outputs": self.n_outputs, "was": self.was}

    def gradients(self, y, raw, weight, out, n_threads=1):
        raise ValueError(
            f"this model was loaded from a file that could not hold its loss, {self.was or 'which has no name'}; it "
            "predicts raw values, and its loss must be given again to train"
        )

    def values(self, y, raw):
        self.gradients(y, raw, None, None)


def _name_of(function: Callable[..., Any]) -> str:
    return getattr(function, "__name__", type(function).__name__)


class OwnLoss(Loss):
    """What losses of functions share: one output has no axis of its own, and the link may be a function."""

    inverse: Callable[..., Any] | Loss | None = None

    def mean(self, y, raw, weight):
        """Of whole arrays, as the functions are promised."""
        return float(np.average(self.values(y, raw), weights=weight))

    def _shape(self, raw: np.ndarray) -> np.ndarray:
        return raw[0] if self.n_outputs == 1 else raw

    def pairs(self, n_rows, weighted):
        pairs = super().pairs(n_rows, weighted)
        if pairs.constant_hessian is None:
            pairs.room = pairs.pairs
        return pairs

    @property
    def exposed(self):
        """Of the loss whose predictions these are."""
        if isinstance(self.inverse, Loss):
            return self.inverse.exposed if self.inverse.n_outputs == self.n_outputs else None
        return super().exposed

    @property
    def damped(self) -> bool:
        return isinstance(self.inverse, Loss) and self.inverse.damped

    def damp(self, steps):
        """As the loss whose predictions these are does it."""
        return self.inverse.damp(steps)

    def inverse_link(self, raw):
        if self.inverse is None:
            return raw
        if isinstance(self.inverse, Loss):
            return self.inverse.inverse_link(raw)
        found = np.asarray(self.inverse(self._shape(raw)), dtype=np.float64)
        if found.ndim not in (1, 2) or found.shape[-1] != raw.shape[1]:
            raise ValueError(
                f"inverse_link of {self!r} must return a number, or a column of numbers, for each of {raw.shape[1]} "
                f"rows, shape (n_rows,) or (n_predictions, n_rows). Got the shape {found.shape} instead."
            )
        return np.atleast_2d(found)


class CallableLoss(OwnLoss):
    """A loss of a function of whole arrays.

    Parameters
    ----------
    function : callable
        ``function(y, raw, sample_weight) -> (gradient, hessian)``: derivatives by the raw predictions, times the
        weights. ``raw`` has shape (n_rows,), or (n_outputs, n_rows) where there are several; so have the results.
        ``y`` has shape (n_rows,); where there are several outputs, also (n_rows, n_columns), as fit got it, with NaN
        for a missing target. ``sample_weight`` is None where all weights are 1. The hessian may be a number; where it
        is one, or an array of one number, a tree takes about half the time.
    n_outputs : int, default=1
    value : callable, default=None
        ``value(y, raw) -> array of shape (n_rows,)``: the loss of each row, which early stopping needs.
    inverse_link : callable or Loss, default=None
        From raw predictions to predictions, of the same shape (of several raw predictions also another number of
        predictions, shape (n_predictions, n_rows) or (n_rows,)), or the loss whose predictions these are. None: they
        are the same.
    clip : float, default=None
        Bound of the gradients of a row, before weights. None: none.
    constant_hessian : float, default=None
        The hessian of an unweighted row, where it is known to be this number for all. That of the function is not read
        then, and half the memory is enough for gradients.

    Raises
    ------
    ValueError
        If the function returns what is not a gradient and a hessian for each row.
    """

    def __init__(
        self,
        function: Callable[..., Any],
        n_outputs: int = 1,
        *,
        value: Callable[..., Any] | None = None,
        inverse_link: Callable[..., Any] | Loss | None = None,
        clip: float | None = None,
        constant_hessian: float | None = None,
    ):
        self.function = function
        self.n_outputs = n_outputs
        self.value = value
        self.scored = value is not None
        self.inverse = inverse_link
        self.clip = clip
        self.constant_hessian = constant_hessian

    def __repr__(self) -> str:
        return f"CallableLoss({_name_of(self.function)})"

    def _derivatives(self, y, raw, weight) -> tuple[np.ndarray, np.ndarray]:
        found = self.function(y, self._shape(raw), weight)
        if not isinstance(found, tuple | list) or len(found) != 2:
            raise ValueError(f"{self!r} must return a gradient and a hessian. Got {type(found).__name__} instead.")
        gradient, hessian = (np.asarray(part, dtype=np.float64) for part in found)
        shape = self._shape(raw).shape
        if gradient.shape != shape or hessian.shape not in (shape, ()):
            raise ValueError(
                f"{self!r} must return a gradient and a hessian of shape {shape}. Got the shapes {gradient.shape} and "
                f"{hessian.shape} instead."
            )
        return gradient.reshape(raw.shape), hessian.reshape(raw.shape if hessian.shape else ())

    def gradients(self, y, raw, weight, out, n_threads=1):
        gradient, hessian = self._derivatives(y, raw, weight)
        out.fill_all(clipped(gradient, weight, self.clip), hessian, n_threads)

    def values(self, y, raw):
        if self.value is None:
            raise ValueError(f"{self!r} has no values: give CallableLoss a function `value` to have them")
        return np.asarray(self.value(y, self._shape(raw)), dtype=np.float64)


class AutodiffLoss(OwnLoss):
    """A loss of a scalar function that PyTorch or JAX differentiates.

    Parameters
    ----------
    function : callable
        ``function(y, raw)``: for PyTorch, tensors of float64 of shapes (n_rows,) and (n_rows,), or (n_outputs, n_rows),
        to the loss of each row, shape (n_rows,). For JAX the same with its arrays. A row's loss must not depend on
        other rows. Where there are several outputs, y may have shape (n_rows, n_columns).
    backend : {"torch", "jax"}
    n_outputs : int, default=1
    hessian : {"auto", "exact", "gauss_newton", "constant"}, default="auto"
        The diagonal of the hessian: "exact", by differentiating twice; "gauss_newton": the squared gradient;
        "constant": 1. "auto": the exact one where it is positive, the absolute value where the loss is not convex
        (saddle-free Newton, Dauphin et al. 2014), and never below 1e-6.
    inverse_link : callable or Loss, default=None
        As of :class:`CallableLoss`, in numpy.
    clip : float, default=None
        Bound of the gradients of a row, before weights. None: none.
    """

    def __init__(
        self,
        function: Callable[..., Any],
        backend: str = "torch",
        n_outputs: int = 1,
        *,
        hessian: str = "auto",
        inverse_link: Callable[..., Any] | Loss | None = None,
        clip: float | None = None,
    ):
        if backend not in ("torch", "jax"):
            raise ValueError(f"backend of AutodiffLoss must be 'torch' or 'jax'. Got {backend!r} instead.")
        if hessian not in ("auto", "exact", "gauss_newton", "constant"):
            raise ValueError(
                "hessian of AutodiffLoss must be 'auto', 'exact', 'gauss_newton' or 'constant'. "
                f"Got {hessian!r} instead."
            )
        self.function = function
        self.backend = backend
        self.n_outputs = n_outputs
        self.hessian = hessian
        self.inverse = inverse_link
        self.clip = clip

    def __repr__(self) -> str:
        return f"AutodiffLoss({_name_of(self.function)}, {self.backend!r})"

    def gradients(self, y, raw, weight, out, n_threads=1):
        y = np.asarray(y, dtype=np.float64)
        differentiate = _torch_derivatives if self.backend == "torch" else _jax_derivatives
        twice = self.hessian in ("auto", "exact")
        gradient, curvature = differentiate(self.function, y, self._shape(raw), twice)
        gradient = gradient.reshape(raw.shape)
        curvature = None if curvature is None else curvature.reshape(raw.shape)
        hessian = self._curvature(gradient, curvature)
        gradient = clipped(gradient, None, self.clip)
        if weight is not None:
            gradient, hessian = weight * gradient, weight * hessian
        out.fill_all(gradient, hessian, n_threads)

    def _curvature(self, gradient: np.ndarray, exact: np.ndarray | None) -> np.ndarray:
        if self.hessian == "constant":
            return np.float64(1.0)
        if self.hessian == "gauss_newton":
            return np.maximum(gradient**2, 1e-6)
        if self.hessian == "exact":
            return np.maximum(exact, 0.0)
        return np.maximum(np.abs(exact), 1e-6)

    def values(self, y, raw):
        y = np.asarray(y, dtype=np.float64)
        if self.backend == "torch":
            import torch

            with torch.no_grad():
                found = self.function(torch.from_numpy(y), torch.from_numpy(self._shape(raw).copy()))
            return found.numpy()
        import jax

        with jax.enable_x64():
            return np.asarray(self.function(jax.numpy.asarray(y), jax.numpy.asarray(self._shape(raw))))


def clipped(gradient: np.ndarray, weight: np.ndarray | None, clip: float | None) -> np.ndarray:
    """Gradients no larger than ``clip``, times the weights where they are in."""
    if clip is None:
        return gradient
    bound = clip if weight is None else clip * weight
    return np.clip(gradient, -bound, bound)


def _torch_derivatives(function, y: np.ndarray, raw: np.ndarray, twice: bool):
    """By backpropagation; the diagonal of the hessian output by output, since rows do not depend on each other."""
    import torch

    at = torch.tensor(raw, requires_grad=True)
    total = function(torch.from_numpy(y), at).sum()
    (gradient,) = torch.autograd.grad(total, at, create_graph=twice)
    if not twice:
        return gradient.detach().numpy(), None
    if not gradient.requires_grad:  # the loss is linear
        return gradient.numpy(), np.zeros_like(raw)
    rows = [gradient] if raw.ndim == 1 else list(gradient)
    second = []
    for k, row in enumerate(rows):
        (of_row,) = torch.autograd.grad(row.sum(), at, retain_graph=True)
        second.append(of_row if raw.ndim == 1 else of_row[k])
    return gradient.detach().numpy(), torch.stack(second).detach().numpy()


def _jax_derivatives(function, y: np.ndarray, raw: np.ndarray, twice: bool):
    import jax

    with jax.enable_x64():
        y, at = jax.numpy.asarray(y), jax.numpy.asarray(raw)
        slope = jax.grad(lambda r: function(y, r).sum())
        if not twice:
            return np.asarray(slope(at)), None
        if raw.ndim == 1:
            gradient, second = jax.jvp(slope, (at,), (jax.numpy.ones_like(at),))
            return np.asarray(gradient), np.asarray(second)
        second = []
        for k in range(len(raw)):
            direction = jax.numpy.zeros_like(at).at[k].set(1.0)
            gradient, along = jax.jvp(slope, (at,), (direction,))
            second.append(np.asarray(along[k]))
        return np.asarray(gradient), np.stack(second)
