"""Losses of one's own, of functions of whole arrays; ``autodiff.py`` has those that PyTorch or JAX differentiates.

Neither has a name, so a model file holds "unnamed" in its place, and a model that is loaded from one gives raw
predictions.
"""

from __future__ import annotations

import copy
import inspect
from collections.abc import Callable
from dataclasses import dataclass
from numbers import Integral, Real
from typing import Any, Self

import numpy as np

from boostgrad.losses.base import Loss, register, row_losses, weighted_sum
from boostgrad.losses.pairs import real_numbers
from boostgrad.params import shown

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

    def check_trains(self) -> None:
        """Raise the ValueError that says why it cannot."""
        raise ValueError(
            f"this model was loaded from a file that could not hold its loss, {self.was or 'which has no name'}; it "
            "predicts raw values, and its loss must be given again to train"
        )

    def gradients(self, y, raw, weight, out, n_threads=1):
        self.check_trains()

    def values(self, y, raw):
        self.check_trains()


def name_of(function: Callable[..., Any]) -> str:
    return getattr(function, "__name__", type(function).__name__)


@dataclass(frozen=True, eq=False)
class Grouped:
    """A target with the group of each row, for functions that take ``groups``.

    Attributes
    ----------
    y : ndarray of shape (n_rows,) or (n_rows, n_columns)
    groups : ndarray of int64, shape (n_rows,)
        Numbers from 0, none of which is left out.
    """

    y: np.ndarray
    groups: np.ndarray

    def __len__(self) -> int:
        return len(self.y)


def takes_groups(function: Callable[..., Any] | None) -> bool:
    try:
        return function is not None and "groups" in inspect.signature(function).parameters
    except (TypeError, ValueError):  # one that is written in C
        return False


def _called(function: Callable[..., Any], y: np.ndarray | Grouped, *rest: Any) -> Any:
    """What the function returns, with the groups if it takes them. Arrays are the user's and the loop's own, so it may
    read them alone."""
    rest = tuple(map(read_only, rest))
    if not isinstance(y, Grouped):
        return function(read_only(y), *rest)
    groups = {"groups": read_only(y.groups)} if takes_groups(function) else {}
    return function(read_only(y.y), *rest, **groups)


def read_only(array: np.ndarray | None) -> np.ndarray | None:
    if array is not None:
        array = array.view()
        array.flags.writeable = False
    return array


def _is_positive(value: Any) -> bool:
    return isinstance(value, Real) and not isinstance(value, bool) and value > 0


class OwnLoss(Loss):
    """What losses of functions share: one output has no axis of its own, and the link may be a function. All estimators
    take them: what y is, a function has to know."""

    def __init__(
        self,
        function: Callable[..., Any],
        n_outputs: int,
        inverse_link: Callable[..., Any] | Loss | None,
        clip: float | None,
    ):
        self._check("function", function, callable(function), "a function")
        whole = isinstance(n_outputs, Integral) and not isinstance(n_outputs, bool)
        self._check("n_outputs", n_outputs, whole and n_outputs >= 1, "an integer >= 1")
        is_link = inverse_link is None or isinstance(inverse_link, Loss) or callable(inverse_link)
        self._check("inverse_link", inverse_link, is_link, "a function, a boostgrad.losses.Loss or None")
        self._check("clip", clip, clip is None or _is_positive(clip), "a number > 0 or None")
        self.function = function
        self.n_outputs = int(n_outputs)
        self.inverse = inverse_link
        self.clip = clip

    def takes(self, target):
        return True

    def _check(self, name: str, value: Any, good: bool, accepted: str) -> None:
        if not good:
            raise ValueError(f"{name} of {type(self).__name__} must be {accepted}. Got {shown(value)} instead.")

    def total(self, y, raw, weight, n_threads=1):
        """Of whole arrays, as the functions are promised."""
        return weighted_sum(row_losses(self, y, raw), weight)

    def linked(self, loss: Loss) -> Self:
        """This loss, or a copy that predicts what the other one does if no inverse_link was given."""
        if self.inverse is not None:
            return self
        linked = copy.copy(self)
        linked.inverse = loss
        return linked

    def _shape(self, raw: np.ndarray) -> np.ndarray:
        return raw[0] if self.n_outputs == 1 else raw

    def pairs(self, n_rows, weighted):
        pairs = super().pairs(n_rows, weighted)
        if pairs.constant_hessian is None:
            pairs.room = pairs.pairs
        return pairs

    @property
    def _is_like_inverse(self) -> bool:
        """Whether raw predictions are those of the loss whose predictions these are."""
        return isinstance(self.inverse, Loss) and self.inverse.n_outputs == self.n_outputs

    @property
    def exposed(self):
        if self._is_like_inverse:
            return self.inverse.exposed
        return None if isinstance(self.inverse, Loss) else super().exposed

    @property
    def prediction_range(self):
        return self.inverse.prediction_range if isinstance(self.inverse, Loss) else super().prediction_range

    @property
    def joint_outputs(self) -> int:
        return self.inverse.joint_outputs if self._is_like_inverse else 1

    @property
    def damped(self) -> bool:
        return isinstance(self.inverse, Loss) and self.inverse.damped

    def damp(self, steps, output=0):
        """As the loss whose predictions these are does it."""
        return self.inverse.damp(steps, output)

    def inverse_link(self, raw):
        if self.inverse is None:
            return raw
        if isinstance(self.inverse, Loss):
            return self.inverse.inverse_link(raw)
        found = np.asarray(self.inverse(read_only(self._shape(raw))), dtype=np.float64)
        if found.ndim not in (1, 2) or found.shape[-1] != raw.shape[1]:
            raise ValueError(
                f"inverse_link of {self!r} must return a number, or a column of numbers, for each of {raw.shape[1]} "
                f"rows, shape (n_rows,) or (n_predictions, n_rows). Got the shape {found.shape} instead."
            )
        return np.atleast_2d(found)

    def raw_of(self, prediction):
        if self.inverse is None:
            return super().raw_of(prediction)
        if isinstance(self.inverse, Loss):
            return self.inverse.raw_of(prediction)
        raise ValueError(
            f"the inverse_link of {self!r} is a function, of which the way back is not known; give raw predictions as "
            "offset, or inverse_link as the loss whose predictions these are"
        )


class CallableLoss(OwnLoss):
    """A loss of a function of whole arrays.

    Parameters
    ----------
    function : callable
        ``function(y, raw, sample_weight) -> (gradient, hessian)``: derivatives by the raw predictions, times the
        weights. ``raw`` has shape (n_rows,), or (n_outputs, n_rows) where there are several; so have the results.
        ``y`` has shape (n_rows,); where there are several outputs, also (n_rows, n_columns), as fit got it, with NaN
        for a missing target; for survival analysis (n_rows, 2), the lower and the upper bound of each time: the same
        where the event was observed, and an infinite upper one where it was censored on the right.
        ``sample_weight`` is None where all weights are 1. The hessian may be a number; where it is a number, or the
        same number for all rows, a tree takes about half the time. A function with a parameter ``groups`` is given the
        group of each row, too: numbers from 0, shape (n_rows,), of the queries of a ranker; where fit was given none,
        all are 0. Only differences of raw predictions within a group count then, so that boosting starts from 0.
    n_outputs : int, default=1
    value : callable, default=None
        ``value(y, raw) -> array of shape (n_rows,)``: the loss of each row, which early stopping needs. It may take
        ``groups``, too.
    inverse_link : callable or Loss, default=None
        From raw predictions to predictions, of the same shape (of several raw predictions also another number of
        predictions, shape (n_predictions, n_rows) or (n_rows,)), or the loss whose predictions these are. None: they
        are the same; but a classifier makes probabilities as with its log loss, by the logistic function of one raw
        prediction and by softmax of several. A function must give it the probability of every class, of two classes,
        too: shape (n_classes, n_rows).
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
        super().__init__(function, n_outputs, inverse_link, clip)
        self._check("value", value, value is None or callable(value), "a function or None")
        constant = constant_hessian is None or _is_positive(constant_hessian)
        self._check("constant_hessian", constant_hessian, constant, "a number > 0 or None")
        self.value = value
        self.scored = value is not None
        self.constant_hessian = constant_hessian

    def __repr__(self) -> str:
        return f"CallableLoss({name_of(self.function)})"

    def prepare(self, y, weight, groups=None):
        if not (takes_groups(self.function) or takes_groups(self.value)):
            return y
        groups = np.zeros(len(y), np.int64) if groups is None else np.unique(groups, return_inverse=True)[1]
        return Grouped(y, groups)

    def init_raw(self, y, weight, offset=None):
        return np.zeros(self.n_outputs) if takes_groups(self.function) else super().init_raw(y, weight, offset)

    def _derivatives(self, y, raw, weight) -> tuple[np.ndarray, np.ndarray]:
        found = _called(self.function, y, self._shape(raw), weight)
        if not isinstance(found, tuple | list) or len(found) != 2:
            raise ValueError(f"{self!r} must return a gradient and a hessian. Got {type(found).__name__} instead.")
        if self.constant_hessian is not None:
            found = found[0], self.constant_hessian  # whatever stands in its place
        if any(part is None for part in found):
            raise ValueError(f"{self!r} must return a gradient and a hessian, numbers. Got None for one of them.")
        gradient, hessian = (
            real_numbers(part, f"the {what} of {self!r}")
            for part, what in zip(found, ("gradient", "hessian"), strict=True)
        )
        shape = self._shape(raw).shape
        if gradient.shape != shape or hessian.shape not in (shape, ()):
            raise ValueError(
                f"{self!r} must return a gradient and a hessian of shape {shape}. Got the shapes {gradient.shape} and "
                f"{hessian.shape} instead."
            )
        return gradient.reshape(raw.shape), hessian.reshape(raw.shape if hessian.shape else ())

    def gradients(self, y, raw, weight, out, n_threads=1):
        gradient, hessian = self._derivatives(y, raw, weight)
        if self.constant_hessian is not None:
            hessian = self.constant_hessian * (1.0 if weight is None else np.broadcast_to(weight, gradient.shape))
        out.fill_all(clipped(gradient, weight, self.clip), hessian, n_threads)

    def values(self, y, raw):
        if self.value is None:
            raise ValueError(f"{self!r} has no values: give CallableLoss a function `value` to have them")
        values = real_numbers(_called(self.value, y, self._shape(raw)), f"the values of {self!r}")
        if np.isnan(values).any():
            row = np.flatnonzero(np.isnan(values))[0]
            raise ValueError(f"the value of {self!r} is NaN in row {row} of those that it was given")
        return values


def clipped(gradient: np.ndarray, weight: np.ndarray | None, clip: float | None) -> np.ndarray:
    """Gradients no larger than ``clip``, times the weights where they are in."""
    if clip is None:
        return gradient
    bound = clip if weight is None else clip * weight
    return np.clip(gradient, -bound, bound)
