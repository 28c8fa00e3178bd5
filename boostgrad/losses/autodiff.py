"""Losses of scalar functions that PyTorch or JAX differentiates.

Rows do not depend on each other, so they are differentiated in blocks, whose arrays stay in the cache between one
operation and the next: the derivatives of a million rows take less than half the time of those of whole arrays. What
is made of a block goes straight into the pairs, and is gone soon after, so that the next one gets the same memory.

PyTorch's own threads share each operation and meet at its end, which costs most of their time where operations are so
small, and tenfold beside a busy neighbour. So each thread has a block to itself::

    PyTorch's   [ y - raw | ^2 | sum | ... ]      both threads wait for each other after every one
    here        thread 0   block 0 [ y - raw | ^2 | sum | ... ]   block 2 ...
                thread 1   block 1 [ y - raw | ^2 | sum | ... ]   block 3 ...
"""

from __future__ import annotations

import math
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any

import numpy as np

from boostgrad.losses import _loops, taylor
from boostgrad.losses.base import Loss, weighted_sum
from boostgrad.losses.own import OwnLoss, clipped, name_of
from boostgrad.native import call_each

# Numbers in a block: of fewer, calls of PyTorch's operations would take longer than the operations, and of more, arrays
# would not stay in a core's cache from one to the next. JAX makes one operation of all, but a call of it takes longer.
BLOCK_TORCH = 131_072
BLOCK_JAX = 262_144

# So many rows tell whether derivatives can be found in one pass, which takes as long as it saves where there are fewer
# than so many in all.
PROBED = 16
WORTH_PROBING = 50_000

# The hessian of "auto" is no smaller, and no row's step is longer than so many times the mean one.
LEAST_HESSIAN = 1e-6
LONGEST = 2.0


class AutodiffLoss(OwnLoss):
    """A loss of a scalar function that PyTorch or JAX differentiates.

    Parameters
    ----------
    function : callable
        ``function(y, raw)``: for PyTorch, tensors of float64 of shapes (n_rows,) and (n_rows,), or (n_outputs, n_rows),
        to the loss of each row, shape (n_rows,). For JAX the same with its arrays; it is compiled when it is first
        called with so many rows, so what it reads beside its arguments must not change. It is called with blocks of
        the rows, in no particular order: a row's loss must not depend on other rows, nor on random numbers. Where there
        are several outputs, and for survival analysis, y may have shape (n_rows, n_columns), as of
        :class:`CallableLoss`. Neither y nor raw may be written to. From 50,000 rows on, a function of PyTorch's with
        one output is first called with an object in place of ``raw`` that carries derivatives along, which takes a
        quarter of the time of backpropagation or less; where that cannot be done, because it is not made of operations
        element by element or has gradients of its own, it is called with a tensor, and backpropagated.
    backend : {"torch", "jax"}
        PyTorch takes as many threads as ``n_jobs`` says, each of which calls the function with blocks of its own, at
        the same time; JAX as many as it likes.
    n_outputs : int, default=1
    hessian : {"auto", "exact", "gauss_newton", "constant"}, default="auto"
        The diagonal of the hessian: "exact", by differentiating twice; "gauss_newton": the squared gradient, which
        is near it for negative log-likelihoods alone, whose unit is that of no target; "constant": 1. "auto": the exact
        one where it is positive, the absolute value where the loss is not convex (saddle-free Newton, Dauphin et al.
        2014), and never below 1e-6; but 1 where it is 0 for all rows, as that of ``|raw - y|`` is. Where a loss is
        nearly straight, as Huber's is far out, this says nothing of how far the optimum is: no row that has less than
        half of the mean hessian asks for a longer step than twice the mean one, sum |gradient| / sum hessian over all
        rows; its hessian is at least |gradient| divided by that.
    inverse_link : callable or Loss, default=None
        As of :class:`CallableLoss`, in numpy. None: predictions are the raw ones, and the probabilities of a classifier
        are those of its log loss.
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
        library, curved = self._differentiates(), np.full(self.n_outputs, self.hessian != "auto")

        def fill(block: tuple[slice, int], forward: bool) -> tuple[slice, np.ndarray | float | None, np.ndarray | bool]:
            rows, n_seen = block
            of_rows = y[rows], raw[:, rows], None if weight is None else weight[rows]
            gradient, hessian, is_curved = self._derivatives(library, *of_rows, forward)
            rows = slice(rows.start + n_seen, rows.stop)  # each is filled by one thread
            hessian = hessian if np.ndim(hessian) == 0 else hessian[:, n_seen:]
            return rows, out.fill_rows(rows, gradient[:, n_seen:], hessian), is_curved

        with library.at_work(n_threads) as n_callers:
            if len(y) >= WORTH_PROBING:
                some = np.linspace(0, max(0, len(y) - 1), PROBED, dtype=np.intp)
                forward = library.goes_forward(y[some], self._shape(raw[:, some]))
            else:
                forward, y = False, y.copy()  # which a function that writes to it must not spoil for its owner
            filled = call_each(partial(fill, forward=forward), _blocks(raw, library.block), n_callers)
        out.settle_rows([(rows, hessian) for rows, hessian, _ in filled])
        for *_, is_curved in filled:
            curved |= is_curved
        if self.hessian == "auto" and out.constant_hessian is None:
            for pairs, largest in zip(out.pairs, out.largest, strict=True):
                _loops.bound_steps(pairs, weight, largest, LONGEST, n_threads)
        if not curved.all():  # which was not known before the last row
            known = out.pairs[:, :, 1] if out.constant_hessian is None else out.constant_hessian
            hessian = np.where(curved[:, None], known, 1.0 if weight is None else weight)
            out.fill_all(out.pairs[:, :, 0].copy(), hessian, n_threads)

    def _derivatives(
        self, library, y, raw, weight, forward
    ) -> tuple[np.ndarray, np.ndarray | float, np.ndarray | bool]:
        """Gradient and hessian of a block of rows, and for "auto" which outputs are curved there."""
        gradient, exact = library.derivatives(y, self._shape(raw), self.hessian in ("auto", "exact"), forward)
        gradient, smallest, curved = gradient.reshape(raw.shape), 0.0, True
        if isinstance(exact, np.ndarray):
            exact = exact.reshape(raw.shape)
            smallest = exact.min()
            if smallest == exact.max():
                exact = smallest  # all the rest is done with the number
        elif exact is not None:
            smallest = exact
        if self.hessian == "auto" and smallest <= 0:
            curved = np.any(np.broadcast_to(exact, raw.shape), axis=1)
        gradient, hessian = clipped(gradient, None, self.clip), self._curvature(gradient, exact, smallest)
        if weight is not None:
            gradient, hessian = gradient * weight, np.broadcast_to(hessian, gradient.shape) * weight
        return gradient, hessian, curved

    def _curvature(self, gradient: np.ndarray, exact: np.ndarray | float | None, smallest: float) -> np.ndarray | float:
        """The hessian of some rows, before weights. smallest: of the exact ones."""
        if self.hessian == "constant":
            return 1.0
        if self.hessian == "gauss_newton":
            return np.maximum(gradient**2, LEAST_HESSIAN)
        least = LEAST_HESSIAN if self.hessian == "auto" else 0.0
        if smallest >= least:  # as most are, so that nothing need be written
            return exact
        return np.maximum(np.abs(exact) if self.hessian == "auto" else exact, least)

    def _of_blocks(self, function: Callable[[slice, np.ndarray], Any], y, raw, n_threads: int) -> list[Any]:
        """The function of rows and their losses, block by block."""
        y, library = np.asarray(y, dtype=np.float64), self._differentiates()

        def of_block(block: tuple[slice, int]) -> Any:
            rows, n_seen = block
            values = library.values(y[rows], self._shape(raw[:, rows]))
            return function(slice(rows.start + n_seen, rows.stop), values[n_seen:])

        with library.at_work(n_threads) as n_callers:
            return call_each(of_block, _blocks(raw, library.block), n_callers)

    def values(self, y, raw):
        found = self._of_blocks(lambda rows, values: values, y, raw, 1)
        return np.concatenate(found) if found else np.empty(0)

    def total(self, y, raw, weight, n_threads=1):
        if not self.ours:
            return super().total(y, raw, weight, n_threads)

        def of_block(rows: slice, values: np.ndarray) -> float:
            return weighted_sum(values, None if weight is None else weight[rows])

        return float(sum(self._of_blocks(of_block, y, raw, n_threads)))


def _blocks(raw: np.ndarray, size: int) -> Iterator[tuple[slice, int]]:
    """Slices of the rows that hold at most so many numbers, and how many rows of each are in the one before: all are of
    one length, so that nothing is compiled for the last one alone, which begins by less than a row a block sooner."""
    n_outputs, n_rows = raw.shape
    n_blocks = max(1, math.ceil(n_rows / max(1, size // n_outputs)))
    size = math.ceil(n_rows / n_blocks)
    for end in range(size, n_rows + size, size or 1):
        n_seen = max(0, end - n_rows)
        yield slice(end - n_seen - size, end - n_seen), n_seen


class WrittenTo(ValueError):
    """What a function may read alone."""


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

    @property
    def block(self) -> int:
        return BLOCK_TORCH

    @staticmethod
    @contextmanager
    def at_work(n_threads: int) -> Iterator[int]:
        """None of PyTorch's threads, whatever is set outside, but that many of ours, each with a block of its own."""
        with _one_thread_of_torch():
            yield n_threads

    def _losses(self, y: np.ndarray, at: Any) -> Any:
        import torch

        target = _shared(y)
        before = target._version, at._version
        found = self.function(target, at)
        self._check_unchanged((target._version, at._version) == before)
        if not isinstance(found, torch.Tensor):
            raise _no_losses(self.owner, "a torch.Tensor", f"a {type(found).__name__}", at.shape[-1])
        if found.shape != at.shape[-1:] or found.is_complex():
            raise _no_losses(self.owner, "a torch.Tensor", f"{found.dtype} of shape {tuple(found.shape)}", at.shape[-1])
        return found

    def goes_forward(self, y: np.ndarray, raw: np.ndarray) -> bool:
        """Whether derivatives can be found in one pass, see :mod:`boostgrad.losses.taylor`, and are those of
        backpropagation: a ``torch.autograd.Function`` has gradients of its own, of which the values say nothing."""
        if raw.ndim > 1:
            return False
        with _in_thread_of_torch():
            found = self._forward(y, raw, twice=True)
            try:
                return found is not None and self._is_backpropagated(found, y, raw)
            except WrittenTo:
                raise
            except Exception:  # which will be said of all rows
                return False

    def _is_backpropagated(self, found: tuple, y: np.ndarray, raw: np.ndarray) -> bool:
        import torch

        at = _shared(raw).requires_grad_()
        losses = self._losses(y, at)
        seen, left = set(), [losses.grad_fn]
        while left:
            node = left.pop()
            if isinstance(node, torch.autograd.function.BackwardCFunction):
                return False
            if node is not None and node not in seen:
                seen.add(node)
                left += [function for function, _ in node.next_functions]
        pairs = zip(found, self._backpropagated(losses, at, twice=True), strict=True)
        return all(np.allclose(ours, theirs, rtol=1e-6, atol=1e-9, equal_nan=True) for ours, theirs in pairs)

    def _forward(self, y: np.ndarray, raw: np.ndarray, twice: bool) -> tuple | None:
        target = _shared(y)
        before = target._version
        try:
            found = taylor.derivatives(self.function, target, _shared(raw), twice)
        except Exception:  # whatever comes of an argument that is no tensor
            found = None
        self._check_unchanged(target._version == before)
        return found

    def _check_unchanged(self, unchanged: bool) -> None:
        if not unchanged:
            raise WrittenTo(f"{self.owner} must not write to y or raw.")

    def derivatives(
        self, y: np.ndarray, raw: np.ndarray, twice: bool, forward: bool
    ) -> tuple[np.ndarray, np.ndarray | float | None]:
        """First and second ones of a block; of several outputs, the diagonal of the hessian, output by output.
        forward: in one pass, where that is possible for these rows as it was for others."""
        with _in_thread_of_torch():
            found = self._forward(y, raw, twice) if forward else None
            if found is None:
                at = _shared(raw).requires_grad_()
                found = self._backpropagated(self._losses(y, at), at, twice)
            return found

    def _backpropagated(self, losses: Any, at: Any, twice: bool) -> tuple[np.ndarray, np.ndarray | None]:
        import torch

        slope = self._slope(losses, at, twice)
        gradient = slope.detach().numpy()
        if not twice:
            return gradient, None
        second = []
        for output, row in enumerate([slope] if at.ndim == 1 else slope):
            along = None
            if row.requires_grad:  # it does not where the loss is linear
                along = _derivative(row, at, retain_graph=at.ndim > 1)
            along = torch.zeros_like(row) if along is None else along if at.ndim == 1 else along[output]
            second.append(along.numpy(force=True))
        return gradient, second[0] if at.ndim == 1 else np.stack(second)

    def _slope(self, losses: Any, at: Any, twice: bool) -> Any:
        """First derivatives, which can be differentiated if ``twice``."""
        slope = _derivative(losses, at, create_graph=twice) if losses.requires_grad else None
        if slope is None:
            raise ValueError(f"{self.owner} must depend on raw by operations of PyTorch, which can be differentiated.")
        return slope

    def values(self, y: np.ndarray, raw: np.ndarray) -> np.ndarray:
        import torch

        with _in_thread_of_torch(), torch.no_grad():
            return self._losses(y.copy(), torch.from_numpy(raw.copy())).numpy()


@contextmanager
def _in_thread_of_torch() -> Iterator[None]:
    """What is set for each thread, so that all can be differentiated in double precision, whatever is set outside."""
    import torch

    with torch.inference_mode(False), torch.enable_grad(), torch.autocast("cpu", enabled=False):
        yield


class _UsersOfTorch:
    """How many are at work, and the number of threads that PyTorch had before the first one."""

    lock = threading.Lock()
    n = 0
    before = 0


@contextmanager
def _one_thread_of_torch() -> Iterator[None]:
    """The setting is one for all threads that have not read it yet, so whoever comes while others are at work must not
    take theirs for what it was."""
    import torch

    users = _UsersOfTorch
    with users.lock:
        if users.n == 0:
            users.before = torch.get_num_threads()
        users.n += 1
        torch.set_num_threads(1)
    try:
        yield
    finally:
        with users.lock:
            users.n -= 1
            torch.set_num_threads(users.before)


def _shared(array: np.ndarray) -> Any:
    """A tensor in the memory of the array, unless that is not to be written to."""
    import torch

    return torch.from_numpy(array if array.flags.writeable else array.copy())


def _derivative(rows: Any, at: Any, **graph: bool) -> Any:
    """Of the sum over the rows; None where there is none. PyTorch takes longer for a vector-Jacobian product than for
    the derivatives of a number."""
    import torch

    return torch.autograd.grad(rows.sum(), at, allow_unused=True, **graph)[0]


class _Jax:
    """Derivatives forward over backward, compiled once a shape; as of :class:`_Torch`.

    A function that looks at the numbers in its arguments cannot be compiled, and is called as it is.
    """

    def __init__(self, function: Callable[..., Any], owner: str):
        self.function, self.owner = function, owner
        self.compiles = True
        self.compiled: dict[str, Callable[..., Any]] = {}

    @property
    def block(self) -> int:
        return BLOCK_JAX

    @staticmethod
    @contextmanager
    def at_work(n_threads: int) -> Iterator[int]:
        """One thread of ours: JAX has its own."""
        import jax

        with jax.enable_x64():
            yield 1

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

    def goes_forward(self, y: np.ndarray, raw: np.ndarray) -> bool:
        return False

    def _check_dependent(self, y: np.ndarray, raw: np.ndarray) -> None:
        """Where no row has a gradient."""
        import jax

        try:
            steps = jax.make_jaxpr(self._losses)(y, raw).jaxpr
        except (jax.errors.JAXTypeError, jax.errors.JAXIndexError):  # of a function that looks at numbers
            return
        used = [*steps.outvars, *(variable for step in steps.eqns for variable in step.invars)]
        if not any(variable is steps.invars[-1] for variable in used):
            raise ValueError(f"{self.owner} must depend on raw by operations of JAX, which can be differentiated.")

    def derivatives(
        self, y: np.ndarray, raw: np.ndarray, twice: bool, forward: bool
    ) -> tuple[np.ndarray, np.ndarray | None]:
        found = self._call(self._twice if twice else self._once, y, raw)
        gradient, second = (np.asarray(found[0]), np.asarray(found[1])) if twice else (np.asarray(found), None)
        if not gradient.any():
            self._check_dependent(y, raw)
        return gradient, second

    def values(self, y: np.ndarray, raw: np.ndarray) -> np.ndarray:
        return np.asarray(self._call(self._losses, y, raw))


def _no_losses(owner: str, kind: str, found: str, n_rows: int) -> ValueError:
    return ValueError(f"{owner} must return the loss of each row, {kind} of shape ({n_rows},). Got {found} instead.")
