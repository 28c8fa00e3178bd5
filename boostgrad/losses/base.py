"""What a loss is, and the registry by which a stored model finds its own again."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np


@dataclass(eq=False)
class GradientPairs:
    """Gradient and hessian of every row, for every output; allocated once a fit and filled by the loss.

    ::

        output 0   [ g h | g h | g h | ... ]      pairs, float64, (n_outputs, n_rows, 2)
        output 1   [ g h | g h | ... ]
        or, where the hessian is the same number for all rows:
        output 0   [ g | g | g | ... ]            pairs, float64, (n_outputs, n_rows, 1)

    Attributes
    ----------
    pairs : ndarray of float64, C order
    constant_hessian : float or None
        The hessian of every row where it is one number and therefore not stored.
    largest : ndarray of float64, shape (2,)
        An upper bound of \\|gradient\\| and of the hessian over all rows and outputs.
    """

    pairs: np.ndarray
    constant_hessian: float | None
    largest: np.ndarray

    @classmethod
    def empty(cls, n_outputs: int, n_rows: int, constant_hessian: float | None) -> GradientPairs:
        width = 2 if constant_hessian is None else 1
        return cls(np.empty((n_outputs, n_rows, width)), constant_hessian, np.zeros(2))

    def fill(self, output: int, gradient: np.ndarray, hessian: np.ndarray | None) -> None:
        """Store whole arrays of one output; for losses written in numpy. ``hessian`` is not read where constant."""
        self.pairs[output, :, 0] = gradient
        if self.constant_hessian is None:
            self.pairs[output, :, 1] = hessian
        tops = np.abs(self.pairs[output]).max(axis=0)
        self.largest[: len(tops)] = np.maximum(self.largest[: len(tops)], tops)

    @property
    def n_rows(self) -> int:
        return self.pairs.shape[1]


class Loss:
    """A loss of a target and raw predictions, summed over rows.

    A subclass states its name and overrides :meth:`init_raw`, :meth:`gradients` and :meth:`values`; with
    :func:`register` a stored model finds it again. Arrays of raw predictions have shape (n_outputs, n_rows).

    Attributes
    ----------
    name : str
        Under which it is registered.
    smooth : bool
        False for a loss whose leaves must be renewed from residuals because its hessian says nothing.
    constant_hessian : float or None
        The hessian of an unweighted row where it is the same for all, which makes training cheaper.
    small_targets : bool
        Whether every method takes y in uint8 or float32 where that holds it exactly; otherwise y is float64.
    n_outputs : int
        Raw predictions a row.
    """

    name: ClassVar[str] = ""
    smooth: ClassVar[bool] = True
    constant_hessian: ClassVar[float | None] = None
    small_targets: ClassVar[bool] = False
    n_outputs: int = 1

    def parameters(self) -> dict[str, Any]:
        """The keyword arguments that make this loss again, as JSON would hold them."""
        return {}

    def check_target(self, y: np.ndarray) -> None:
        """Raise a ValueError that names row and value where the loss has no meaning for a target."""

    def init_raw(self, y: np.ndarray, weight: np.ndarray | None) -> np.ndarray:
        """The constant raw prediction, shape (n_outputs,), that minimises the loss."""
        raise NotImplementedError

    def gradients(
        self, y: np.ndarray, raw: np.ndarray, weight: np.ndarray | None, out: GradientPairs, n_threads: int = 1
    ) -> None:
        """Fill ``out`` with first and second derivatives by the raw predictions, times the weights."""
        raise NotImplementedError

    def values(self, y: np.ndarray, raw: np.ndarray) -> np.ndarray:
        """The loss of each row, shape (n_rows,)."""
        raise NotImplementedError

    def inverse_link(self, raw: np.ndarray) -> np.ndarray:
        """From raw predictions to the target's own scale, same shape, or more rows for a binary loss."""
        return raw

    def inverse_link_row(self, raw: np.ndarray) -> np.ndarray:
        """:meth:`inverse_link` of a single row, shape (n_outputs,); override it where a service would notice."""
        return self.inverse_link(raw[:, None])[:, 0]

    def mean(self, y: np.ndarray, raw: np.ndarray, weight: np.ndarray | None) -> float:
        """Weighted mean of :meth:`values`."""
        return float(np.average(self.values(y, raw), weights=weight))

    def pairs(self, n_rows: int, weighted: bool) -> GradientPairs:
        """Room for the gradients of that many rows."""
        return GradientPairs.empty(self.n_outputs, n_rows, None if weighted else self.constant_hessian)


_REGISTRY: dict[str, type[Loss]] = {}


def register(cls: type[Loss]) -> type[Loss]:
    """Class decorator: make a loss known by its name.

    Raises
    ------
    ValueError
        If the name is empty or another class has it.
    """
    if not cls.name:
        raise ValueError(f"{cls.__name__} needs a name to be registered")
    if _REGISTRY.get(cls.name, cls) is not cls:
        raise ValueError(f"a loss named {cls.name!r} is registered already: {_REGISTRY[cls.name].__name__}")
    _REGISTRY[cls.name] = cls
    return cls


def registered_losses() -> dict[str, type[Loss]]:
    """All registered losses by name."""
    return dict(_REGISTRY)


def get_loss(name: str, **parameters: Any) -> Loss:
    """Make a registered loss.

    Raises
    ------
    ValueError
        If no loss of that name is registered.
    """
    if name not in _REGISTRY:
        raise ValueError(f"loss {name!r} is not registered; known are {sorted(_REGISTRY)}")
    return _REGISTRY[name](**parameters)
