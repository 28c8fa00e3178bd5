"""Losses of scalar functions that PyTorch or JAX differentiates.

Rows do not depend on each other, so they are differentiated in blocks, whose arrays stay in the cache between one
operation and the next: the derivatives of a million rows take less than half the time of those of whole arrays.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np

from boostgrad.losses.base import Loss
from boostgrad.losses.own import OwnLoss, clipped, name_of

# Numbers in a block, for each thread.
BLOCK = 65_536

# The hessian of "auto" is no smaller.
LEAST_HESSIAN = 1e-6


class AutodiffLoss(OwnLoss):
    """A loss of a scalar function that PyTorch or JAX differentiates.

    Parameters
    ----------
    function : callable
        ``function(y, raw)``: for PyTorch, tensors of float64 of shapes (n_rows,) and (n_rows,), or (n_outputs, n_rows),
        to the loss of each row, shape (n_rows,). For JAX the same with its arrays; it is compiled when it is first
        called with so many rows, so what it reads beside its arguments must not change. It is called with blocks of
        the rows: a row's loss must not depend on other rows. Where there are several outputs, and for survival
        analysis, y may have shape (n_rows, n_columns), as of :class:`CallableLoss`. y must not be written to.
    backend : {"torch", "jax"}
        PyTorch takes as many threads as ``n_jobs`` says, JAX as many as it likes.
    n_outputs : int, default=1
    hessian : {"auto", "exact", "gauss_newton", "constant"}, default="auto"
        The diagonal of the hessian: "exact", by differentiating twice; "gauss_newton": the squared gradient;
        "constant": 1. "auto": the exact one where it is positive, the absolute value where the loss is not convex
        (saddle-free Newton, Dauphin et al. 2014), and never below 1e-6; but 1 where it is 0 for all rows, as that of
        ``|raw - y|`` is.
    inverse_link : callable or Loss, default=None
        As of :class:`CallableLoss`, in numpy.
    clip : float, default=None
        Bound of the gradients of a row, before weights. None: none.

    Raises
    ------
    ValueError
        If the function returns anything but a loss for each row that depends on ``raw``.
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
        super().__init__(function, n_outputs, inverse_link, clip)
        self.backend = backend
        self.hessian = hessian

    def __repr__(self) -> str:
        return f"AutodiffLoss({name_of(self.function)}, {self.backend!r})"

    def __getstate__(self):
        return {name: value for name, value in vars(self).items() if name != "_library"}

    def _differentiates(self) -> _Torch | _Jax:
        """The library at work, which keeps what it compiled."""
        if "_library" not in vars(self):
            library = _Torch if self.backend == "torch" else _Jax
            self._library = library(self.function, repr(self))
        return self._library

    def gradients(self, y, raw, weight, out, n_threads=1):
        y = np.asarray(y, dtype=np.float64)
        library, twice = self._differentiates(), self.hessian in ("auto", "exact")
        gradient, hessian = np.empty(raw.shape), np.empty(raw.shape)
        curved = np.full(self.n_outputs, self.hessian != "auto")
        with library.at_work(n_threads):
            for rows in _blocks(raw, library.block(n_threads)):
                first, second = library.derivatives(y[rows], self._shape(raw[:, rows]), twice)
                gradient[:, rows] = clipped(first, None, self.clip)
                self._curvature(first, second, hessian[:, rows])
                if twice:
                    curved |= np.any(second.reshape(self.n_outputs, -1), axis=1)
                if weight is not None:
                    hessian[:, rows] *= weight[rows]
                    gradient[:, rows] *= weight[rows]
        hessian[~curved] = 1.0 if weight is None else weight
        out.fill_all(gradient, hessian, n_threads)

    def _curvature(self, gradient: np.ndarray, exact: np.ndarray | None, out: np.ndarray) -> None:
        """OUT out: the hessian of some rows, before weights."""
        if self.hessian == "constant":
            out[:] = 1.0
        elif self.hessian == "gauss_newton":
            np.maximum(gradient**2, LEAST_HESSIAN, out=out)
        elif self.hessian == "exact":
            np.maximum(exact, 0.0, out=out)
        else:
            np.maximum(np.abs(exact), LEAST_HESSIAN, out=out)

    def values(self, y, raw):
        y = np.asarray(y, dtype=np.float64)
        library, found = self._differentiates(), np.empty(raw.shape[1])
        with library.at_work(1):
            for rows in _blocks(raw, library.block(1)):
                found[rows] = library.values(y[rows], self._shape(raw[:, rows]))
        return found


def _blocks(raw: np.ndarray, size: int) -> Iterator[slice]:
    """Slices of the rows that hold so many numbers. All are of one length, so that nothing is compiled for the last
    one alone: it overlaps with the one before."""
    n_outputs, n_rows = raw.shape
    size = min(n_rows, max(1, size // n_outputs))
    for begin in range(0, n_rows, size or 1):
        begin = min(begin, n_rows - size)
        yield slice(begin, begin + size)


class _Torch:
    """Derivatives by backpropagation.

    Parameters
    ----------
    function : callable
    owner : str
        Whose it is, for what goes wrong.
    """

    def __init__(self, function: Callable[..., Any], owner: str):
        self.function, self.owner = function, owner

    @staticmethod
    def block(n_threads: int) -> int:
        return BLOCK * n_threads

    @staticmethod
    @contextmanager
    def at_work(n_threads: int) -> Iterator[None]:
        """So many threads, and derivatives, whatever is set outside."""
        import torch

        before = torch.get_num_threads()
        torch.set_num_threads(n_threads)
        try:
            with torch.inference_mode(False), torch.enable_grad():
                yield
        finally:
            torch.set_num_threads(before)

    def _losses(self, y: np.ndarray, at: Any) -> Any:
        import torch

        found = self.function(_shared(y), at)
        if not isinstance(found, torch.Tensor):
            raise _no_losses(self.owner, "a torch.Tensor", f"a {type(found).__name__}", at.shape[-1])
        if found.shape != at.shape[-1:] or found.is_complex():
            raise _no_losses(self.owner, "a torch.Tensor", f"{found.dtype} of shape {tuple(found.shape)}", at.shape[-1])
        return found

    def derivatives(self, y: np.ndarray, raw: np.ndarray, twice: bool) -> tuple[np.ndarray, np.ndarray | None]:
        """First and second ones of a block; of several outputs, the diagonal of the hessian, output by output."""
        import torch
        from torch.autograd import grad

        at = _shared(raw).requires_grad_()
        total = self._losses(y, at).sum()
        (slope,) = grad(total, at, create_graph=twice, allow_unused=True) if total.requires_grad else (None,)
        if slope is None:
            raise ValueError(f"{self.owner} must depend on raw by operations of PyTorch, which can be differentiated.")
        gradient = slope.detach().numpy()
        if not twice:
            return gradient, None
        second = []
        for output, row in enumerate([slope] if raw.ndim == 1 else slope):
            along = None
            if row.requires_grad:  # it does not where the loss is linear
                (along,) = grad(row.sum(), at, retain_graph=raw.ndim > 1, allow_unused=True)
            along = torch.zeros_like(row) if along is None else along if raw.ndim == 1 else along[output]
            second.append(along.numpy(force=True))
        return gradient, second[0] if raw.ndim == 1 else np.stack(second)

    def values(self, y: np.ndarray, raw: np.ndarray) -> np.ndarray:
        import torch

        with torch.no_grad():
            return self._losses(y, torch.from_numpy(raw.copy())).numpy()


def _shared(array: np.ndarray) -> Any:
    """A tensor in the memory of the array, unless that is not to be written to."""
    import torch

    return torch.from_numpy(array if array.flags.writeable else array.copy())


class _Jax:
    """Derivatives forward over backward, compiled once a shape; as of :class:`_Torch`.

    A function that looks at the numbers in its arguments cannot be compiled, and is called as it is.
    """

    def __init__(self, function: Callable[..., Any], owner: str):
        self.function, self.owner = function, owner
        self.compiles = True
        self.compiled: dict[str, Callable[..., Any]] = {}

    @staticmethod
    def block(n_threads: int) -> int:
        return BLOCK

    @staticmethod
    @contextmanager
    def at_work(n_threads: int) -> Iterator[None]:
        import jax

        with jax.enable_x64():
            yield

    def _call(self, function: Callable[..., Any], y: np.ndarray, raw: np.ndarray) -> Any:
        import jax

        if self.compiles:
            name = function.__name__
            if name not in self.compiled:
                self.compiled[name] = jax.jit(function)
            try:
                return self.compiled[name](y, raw)
            except (jax.errors.JAXTypeError, jax.errors.JAXIndexError):
                self.compiles = False
        return function(jax.numpy.asarray(y), jax.numpy.asarray(raw))

    def _losses(self, y: Any, at: Any) -> Any:
        import jax

        found = self.function(y, at)
        if not isinstance(found, jax.Array):
            raise _no_losses(self.owner, "a jax.Array", f"a {type(found).__name__}", at.shape[-1])
        if found.shape != at.shape[-1:] or found.dtype.kind == "c":
            raise _no_losses(self.owner, "a jax.Array", f"{found.dtype} of shape {found.shape}", at.shape[-1])
        return found

    def _once(self, y: Any, at: Any) -> Any:
        import jax

        return jax.grad(lambda raw: self._losses(y, raw).sum())(at)

    def _twice(self, y: Any, at: Any) -> Any:
        import jax

        def along(direction):
            return jax.jvp(lambda raw: self._once(y, raw), (at,), (direction,))

        if at.ndim == 1:
            return along(jax.numpy.ones_like(at))
        gradient, second = None, []
        for output in range(len(at)):
            gradient, of_output = along(jax.numpy.zeros_like(at).at[output].set(1.0))
            second.append(of_output[output])
        return gradient, jax.numpy.stack(second)

    def derivatives(self, y: np.ndarray, raw: np.ndarray, twice: bool) -> tuple[np.ndarray, np.ndarray | None]:
        found = self._call(self._twice if twice else self._once, y, raw)
        return (np.asarray(found[0]), np.asarray(found[1])) if twice else (np.asarray(found), None)

    def values(self, y: np.ndarray, raw: np.ndarray) -> np.ndarray:
        return np.asarray(self._call(self._losses, y, raw))


def _no_losses(owner: str, kind: str, found: str, n_rows: int) -> ValueError:
    return ValueError(f"{owner} must return the loss of each row, {kind} of shape ({n_rows},). Got {found} instead.")
