"""What a loss is, and the registry by which a stored model finds its own again."""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np

from boostgrad.losses import _loops
from boostgrad.losses.constant import best_constant
from boostgrad.losses.links import LINKS, RANGES, log_odds_of_second
from boostgrad.losses.pairs import BLOCK, GradientPairs, RowsByLeaf
from boostgrad.params import shown


def in_interval(owner: str, name: str, value: Any, low: float, high: float) -> float:
    """A parameter of a loss, which must be a number between two others.

    Raises
    ------
    ValueError
    """
    if (
        isinstance(value, bool)
        or not isinstance(value, int | float | np.floating | np.integer)
        or not low < value < high
    ):
        raise ValueError(f"{name} of {owner} must be a number in ({low:g}, {high:g}). Got {shown(value)} instead.")
    return float(value)


class BadTarget(ValueError):
    """The target of a row is not what is accepted.

    Parameters
    ----------
    accepted : str
    row : int
    value : str
    """

    def __init__(self, accepted: str, row: int, value: str):
        super().__init__(accepted, row, value)

    def __str__(self) -> str:
        accepted, row, value = self.args
        return f"{accepted}; row {row} has {value}"

    def among(self, rows: np.ndarray | None) -> BadTarget:
        """The same, told of the table from which these rows were taken; None: all were."""
        accepted, row, value = self.args
        return self if rows is None else BadTarget(accepted, int(rows[row]), value)


def refuse(bad: np.ndarray, y: np.ndarray, accepted: str) -> None:
    """Raise if the mask ``bad`` marks a row of a target.

    Raises
    ------
    BadTarget
        That names the first such row.
    """
    rows = np.flatnonzero(bad)
    if len(rows):
        raise BadTarget(accepted, int(rows[0]), str(y[rows[0]].tolist()))


class Loss:
    """A loss of a target and raw predictions, summed over rows.

    A subclass states its name and overrides :meth:`gradients` and :meth:`values`, and :meth:`init_raw` where the best
    constant can be written down; with :func:`register` a stored model finds it again. Arrays of raw predictions have
    shape (n_outputs, n_rows). The target ``y`` that the methods take is what :meth:`prepare` returned; nobody else
    looks into it.

    The docstring of each loss of boostgrad's says the same things of it, under "Notes": the loss of a row of weight 1,
    gradient and hessian by the raw prediction, and where the hessian is not the second derivative, what it is and why;
    link, initial score (where there is no offset; means and quantiles are weighted) and metric. "References" says where
    the loss comes from.

    Attributes
    ----------
    name : str
        Under which it is registered.
    link : str
        What turns a prediction into a raw one: "identity", "log", "log1p", "logit" or, for probabilities of classes,
        "multinomial_logit".
    target : str
        What a target is: "numbers" (or classes), one a row; "queries" (relevances of rows that have groups); "times"
        (lower and upper bounds). It decides which estimators take the loss, see :meth:`takes`.
    smooth : bool
        False for a loss whose leaves must be renewed from the rows' residuals because its hessian says nothing: then
        :meth:`renew_leaves` is called for each tree.
    damped : bool
        True for a loss whose leaves may be too far off by Newton's step: then :meth:`damp` is called for each tree.
    damped_vectors : bool
        The same for trees with vector leaves alone.
    joint_outputs : int
        So many neighbouring outputs have one tree by default: those that describe one target from several sides, where
        what moves one moves the others.
    refined : bool
        True for a loss whose leaves are far from what is best for their rows by Newton's step: then
        :meth:`refine_leaves` is called for each tree.
    for_classes : bool
        Whether the target is class numbers or labels: a loss for the classifier.
    soft : bool
        Of a loss of two classes or of labels: whether the target is their probabilities, in [0, 1].
    scored : bool
        Whether :meth:`values` says how good predictions are; early stopping needs it.
    metric : str
        The metric by which its predictions are judged, by the name that ``scoring`` of the estimators takes; "" where
        none says more than the loss itself.
    constant_hessian : float or None
        The hessian of an unweighted row where it is the same for all, which makes training cheaper.
    small_targets : bool
        Whether every method takes y in uint8 or float32 where that holds it exactly; otherwise y is float64.
    n_outputs : int
        Raw predictions a row.
    bounds : tuple of two floats
        Targets are nowhere else; prediction intervals end there.
    summed : str
        Of a loss of boostgrad's: the loop of ``kernels/values.h`` that adds up :meth:`values`, or "".
    """

    name: ClassVar[str] = ""
    link: ClassVar[str] = "identity"
    target: ClassVar[str] = "numbers"
    smooth: ClassVar[bool] = True
    damped: ClassVar[bool] = False
    damped_vectors: ClassVar[bool] = False
    refined: ClassVar[bool] = False
    for_classes: ClassVar[bool] = False
    soft: bool = False
    metric: ClassVar[str] = ""
    scored: bool = True
    constant_hessian: ClassVar[float | None] = None
    small_targets: ClassVar[bool] = False
    n_outputs: int = 1
    joint_outputs: int = 1
    bounds: ClassVar[tuple[float, float]] = (-np.inf, np.inf)
    summed: str = ""

    def __repr__(self) -> str:
        return f"{type(self).__name__}({', '.join(f'{k}={v!r}' for k, v in self.parameters().items())})"

    @property
    def ours(self) -> bool:
        """Whether it ships with boostgrad, so that nobody need check that it does what a loss must do."""
        return type(self).__module__.partition(".")[0] == __name__.partition(".")[0]

    @property
    def exposed(self) -> np.ndarray | None:
        """What the raw predictions move by where all that y counts doubles, in units of log 2, shape (n_outputs,): the
        logarithm of ``exposure`` is added so many times. None: exposure means nothing here. By default it is 1 where
        ``link`` is "log"."""
        return np.ones(self.n_outputs) if self.link == "log" else None

    @property
    def prediction_range(self) -> tuple[float, float]:
        """Between what predictions must lie so that there are raw ones of them."""
        return RANGES.get(self.link, (-np.inf, np.inf))

    def parameters(self) -> dict[str, Any]:
        """The keyword arguments that make this loss again, as JSON would hold them."""
        return {}

    def takes(self, target: str) -> bool:
        """Whether targets may be such, one of the words of ``target``."""
        return self.target == target

    def check_target(self, y: np.ndarray) -> None:
        """Raise a ValueError that names row and value where the loss has no meaning for a target; by :func:`refuse`
        whoever took ``y`` out of a larger table can say which row of that it was."""

    def prepare(self, y: np.ndarray, weight: np.ndarray | None, groups: np.ndarray | None = None) -> Any:
        """What all other methods get as ``y``: for losses that need more than a number a row, such as an order of the
        rows or their groups. Called once for the training rows and once for the validation rows.

        Parameters
        ----------
        y : ndarray of shape (n_rows,) or (n_rows, ...)
            Checked by :meth:`check_target`.
        weight : ndarray of float64, shape (n_rows,), or None
        groups : ndarray of int64, shape (n_rows,), or None
            Group of each row, where the estimator has groups; rows of a group need not be neighbours.

        Returns
        -------
        object
            Anything; its length is the number of rows where :meth:`init_raw` is not overridden.
        """
        return y

    def init_raw(self, y: Any, weight: np.ndarray | None, offset: np.ndarray | None = None) -> np.ndarray:
        """The constant raw prediction, shape (n_outputs,), that minimises the loss where ``offset``, shape (n_outputs,
        n_rows), is added to it.

        Here it is found from the gradients alone, which takes some passes over the rows; a loss with a formula
        overrides this. Where the loss has no least value (all of y in one class), the constant stays finite.
        """
        return best_constant(self, y, weight, offset)

    def gradients(
        self, y: np.ndarray, raw: np.ndarray, weight: np.ndarray | None, out: GradientPairs, n_threads: int = 1
    ) -> None:
        """Fill ``out`` with first and second derivatives by the raw predictions, times the weights."""
        raise missing(self, "gradients")

    def values(self, y: np.ndarray, raw: np.ndarray) -> np.ndarray:
        """The loss of each row, shape (n_rows,)."""
        raise missing(self, "values", " where rows are held out for early stopping")

    def renew_leaves(
        self, y: Any, raw: np.ndarray, weight: np.ndarray | None, output: int, leaves: RowsByLeaf, n_threads: int = 1
    ) -> np.ndarray:
        """Where ``smooth`` is False: the step of each leaf that minimises the loss of its rows, shape (n_leaves,).

        ``raw`` are the predictions before the tree, which adds to ``raw[output]``; trees of other outputs may be grown
        at the same time, so only that row of ``raw`` may be read. Shrinkage and ``max_delta_step`` are applied to what
        is returned.
        """
        raise missing(self, "renew_leaves", " where smooth is False")

    def refine_leaves(
        self,
        y: Any,
        raw: np.ndarray,
        weight: np.ndarray | None,
        output: int,
        leaves: RowsByLeaf,
        steps: np.ndarray,
        penalties: tuple[float, float] = (0.0, 0.0),
        n_threads: int = 1,
    ) -> np.ndarray:
        """Where ``refined`` is True: better steps than Newton's, ``steps``, shape (n_leaves,); the rest is as in
        :meth:`renew_leaves`. ``penalties`` are l1 and l2 of what is to be minimised, the sum of the rows' losses: where
        a loss settles a unit of its hessians, times that unit."""
        return steps

    def damp(self, steps: np.ndarray, output: int = 0) -> np.ndarray:
        """Where ``damped`` (or ``damped_vectors``) is True: Newton's steps of an output, shape (n_leaves,), or shorter
        ones. Shrinkage comes later."""
        return steps

    def inverse_link(self, raw: np.ndarray) -> np.ndarray:
        """From raw predictions to the target's own scale, same shape, or more rows for a binary loss."""
        return raw

    def inverse_link_row(self, raw: np.ndarray) -> np.ndarray:
        """:meth:`inverse_link` of a single row, shape (n_outputs,); override it where a service would notice."""
        return self.inverse_link(raw[:, None])[:, 0]

    def raw_of(self, prediction: np.ndarray) -> np.ndarray:
        """The way back from :meth:`inverse_link`: raw predictions to start from, where ``init`` predicts.

        Parameters
        ----------
        prediction : ndarray of float64, shape (n_predictions, n_rows)
            What is outside of the range of the link counts as at its end.

        Returns
        -------
        ndarray of float64, shape (n_outputs, n_rows)
            Up to a constant, which is found on top of it. Here what ``link`` says, and the log odds of the second
            where two classes have one output.

        Raises
        ------
        ValueError
            If the way back is not known.
        """
        if self.n_outputs == 1 and len(prediction) == 2:
            return log_odds_of_second(prediction)
        if self.link not in LINKS:
            known = ", ".join(map(repr, LINKS))
            raise ValueError(f"the link {self.link!r} of {self!r} is none of {known}; give raw predictions as offset")
        return LINKS[self.link](prediction)

    def spread(self, raw: np.ndarray) -> np.ndarray | float:
        """How widely targets are scattered about the prediction of each row, but for a factor that all rows share; for
        prediction intervals of losses that predict one number."""
        return 1.0

    def mean(self, y: np.ndarray, raw: np.ndarray, weight: np.ndarray | None, n_threads: int = 1) -> float:
        """Weighted mean of :meth:`values`."""
        return float(self.total(y, raw, weight, n_threads) / (raw.shape[1] if weight is None else np.sum(weight)))

    def total(self, y: np.ndarray, raw: np.ndarray, weight: np.ndarray | None, n_threads: int = 1) -> float:
        """Weighted sum of :meth:`values`, which is asked block by block where y is an array of one dimension, unless
        there is a loop for it."""
        if not isinstance(y, np.ndarray) or y.ndim != 1:
            return weighted_sum(row_losses(self, y, raw), weight)
        if self.summed and self.ours and y.dtype in _loops.TARGET_KINDS and len(y):
            return _loops.sum_of_losses(self.summed, y, raw, weight, self._of_sum(), n_threads)
        total = 0.0
        for begin in range(0, len(y), BLOCK):
            rows = slice(begin, begin + BLOCK)
            total += weighted_sum(row_losses(self, y[rows], raw[:, rows]), None if weight is None else weight[rows])
        return total

    def _of_sum(self) -> list[float]:
        """What the loop ``summed`` has to know of the loss."""
        return []

    def pairs(self, n_rows: int, weighted: bool) -> GradientPairs:
        """Room for the gradients of that many rows."""
        pairs = GradientPairs.empty(self.n_outputs, n_rows, None if weighted else self.constant_hessian)
        if not self.ours:
            pairs.pairs.fill(np.nan)  # by which check_written knows what was left out
        return pairs


def missing(loss: Loss, method: str, when: str = "") -> NotImplementedError:
    return NotImplementedError(f"{type(loss).__name__}.{method} is missing: a loss must have this method{when}.")


def row_losses(loss: Loss, y: Any, raw: np.ndarray) -> np.ndarray:
    """What ``loss.values`` returns, if that is a loss for each row.

    Raises
    ------
    ValueError
        If it is not.
    """
    values = loss.values(y, raw)
    if loss.target == "numbers" and np.shape(values) != raw.shape[1:]:
        raise ValueError(
            f"the values of {loss!r} must be the loss of each row, of shape {raw.shape[1:]}. Got the shape "
            f"{np.shape(values)} instead."
        )
    return values


def weighted_sum(values: np.ndarray, weight: np.ndarray | None) -> float:
    return float(np.sum(values if weight is None else values * weight))


def n_predictions(loss: Loss) -> int:
    """How many numbers a row the loss predicts."""
    return len(loss.inverse_link(np.zeros((loss.n_outputs, 1))))


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


def losses_of(target: str) -> list[str]:
    """Names of the registered losses of such targets."""
    return [name for name, cls in _REGISTRY.items() if cls.target == target]


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
