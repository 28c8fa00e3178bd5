"""What a loss is, and the registry by which a stored model finds its own again."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cache
from itertools import pairwise
from typing import Any, ClassVar

import numpy as np

from boostgrad.losses import _loops
from boostgrad.params import shown

# Probabilities and means stay this far from where their logarithms end.
TINY = 1e-15

# Rows that losses in numpy compute with at a time: arrays of so many stay in the second-level cache.
BLOCK = 16_384


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
    largest : ndarray of float64, shape (n_outputs, 2)
        Upper bounds of \\|gradient\\| and of the hessian over all rows, for each output: histograms round by them.
    unit : ndarray of float64, shape (n_outputs,), or None
        What a score of each output is divided by where one tree is grown for all of them; None: 1.
    hessian_unit : ndarray of float64, shape (n_outputs,)
        Powers of two: what counts as a hessian of 1 for penalties and least sums of hessians. 1 but where a loss says
        otherwise, because hessians are as large as the unit of the target makes them. See :meth:`settle_unit`.
    by_row : ndarray of bool, shape (n_outputs,)
        Where rows weigh by the square root of their hessian instead. See :meth:`settle_unit`.
    room : ndarray of float64, shape (n_outputs, n_rows, 2), or None
        For a loss that may find its hessians to be one number after all, iteration by iteration: room for whole pairs,
        of which ``pairs`` is the front part then. See :meth:`fill_all`.
    """

    pairs: np.ndarray
    constant_hessian: float | None
    largest: np.ndarray
    unit: np.ndarray | None = None
    hessian_unit: np.ndarray = None  # type: ignore[assignment]
    by_row: np.ndarray = None  # type: ignore[assignment]
    room: np.ndarray | None = None

    def __post_init__(self):
        if self.hessian_unit is None:
            self.hessian_unit, self.by_row = np.ones(len(self.pairs)), np.zeros(len(self.pairs), dtype=bool)

    @classmethod
    def empty(cls, n_outputs: int, n_rows: int, constant_hessian: float | None) -> GradientPairs:
        width = 2 if constant_hessian is None else 1
        return cls(np.empty((n_outputs, n_rows, width)), constant_hessian, np.zeros((n_outputs, 2)))

    def fill(
        self,
        output: int,
        gradient: np.ndarray,
        hessian: np.ndarray | None,
        n_threads: int = 1,
        rows: slice = slice(None),
    ) -> None:
        """Store whole arrays (or numbers) of one output, or of some of its rows; for losses written in numpy.
        ``hessian`` is not read where constant."""
        gradient = real_numbers(gradient, "the gradient of a loss")
        hessian = None if self.constant_hessian is not None else real_numbers(hessian, "the hessian of a loss")
        _loops.fill_pairs(self.pairs[output, rows], gradient, hessian, self.largest[output], n_threads)

    def fill_all(self, gradient: np.ndarray, hessian: np.ndarray, n_threads: int = 1) -> None:
        """Store the arrays of all outputs, shape (n_outputs, n_rows); the hessian may be a number. Where there is
        ``room`` and all hessians are the same positive number, they are not stored, and the tree is cheaper."""
        self.fill_rows(slice(0, self.n_rows), gradient, hessian, n_threads)

    def fill_rows(self, rows: slice, gradient: np.ndarray, hessian: np.ndarray, n_threads: int = 1) -> None:
        """The same for a block of rows, which is faster while it is in the cache. Blocks come in order, the one from
        row 0 on first, and may overlap."""
        if self.room is not None and rows.start == 0:
            self._lay_out(_loops.only_value(hessian))
        elif self.room is not None and self.constant_hessian is not None and np.any(hessian != self.constant_hessian):
            self._widen(rows.start)
        hessian = np.broadcast_to(hessian, gradient.shape)
        for output in range(len(gradient)):
            self.fill(output, gradient[output], hessian[output], n_threads, rows)

    def of_outputs(self, which: slice) -> GradientPairs:
        """The part of some outputs, for a loss of so many; filling it fills this."""
        units = {"hessian_unit": self.hessian_unit[which], "by_row": self.by_row[which]}
        return GradientPairs(self.pairs[which], self.constant_hessian, self.largest[which], **units)

    def of_rows(self, rows: slice) -> GradientPairs:
        """The part of some rows, for a loss that goes block by block; filling it fills this."""
        units = {"hessian_unit": self.hessian_unit, "by_row": self.by_row}
        return GradientPairs(self.pairs[:, rows], self.constant_hessian, self.largest, **units)

    def settle_unit(self, output: int, weight: np.ndarray | None, by_row: bool = False) -> None:
        """The mean hessian of a row is the unit from now on, so that it does not matter what the target is measured in.
        For losses to call that have filled an output whose hessians are not numbers of their own, but 1 / variance or
        the like.

        With ``by_row`` trees weigh rows by the square root of their hessian, for hessians that are as uncertain as the
        prediction they come of: where a few rows are taken to be nearly without noise, trees would be about them alone.
        Each row's own step stays what it is.
        """
        total = float(self.pairs[output, :, 1].sum())
        mean = total / (self.n_rows if weight is None else float(weight.sum()))
        known = 0 < mean < np.inf
        self.hessian_unit[output] = 2.0 ** round(np.log2(mean)) if known else 1.0
        self.by_row[output] = by_row and known

    @property
    def score_unit(self) -> np.ndarray:
        """What a score, gradient^2 / hessian, of each output is divided by once pairs are in units."""
        return (1.0 if self.unit is None else self.unit) / self.hessian_unit

    def to_units(self, weight: np.ndarray | None) -> None:
        """Divide the pairs of each output by its unit, or the pair of each row by the geometric mean of the unit and of
        the row's hessian, which changes no Newton step of a row."""
        for k in np.flatnonzero((self.hessian_unit != 1.0) & ~self.by_row):
            self.pairs[k] /= self.hessian_unit[k]
            self.largest[k] /= self.hessian_unit[k]
        for k in np.flatnonzero(self.by_row):
            self.largest[k] = 0
            for begin in range(0, self.n_rows, BLOCK):
                pairs = self.pairs[k, begin : begin + BLOCK]
                of_row = pairs[:, 1] if weight is None else pairs[:, 1] / weight[begin : begin + BLOCK]
                divisor = np.sqrt(self.hessian_unit[k]) * np.sqrt(of_row)
                np.divide(pairs, divisor[:, None], out=pairs, where=(divisor > 0)[:, None])
                np.maximum(self.largest[k], np.abs(pairs).max(axis=0), out=self.largest[k])

    def unsettle(self) -> None:
        """Where there is ``room``: whole pairs again, which are filled output by output."""
        if self.room is not None:
            self._lay_out(None)

    def settle(self) -> None:
        """Where there is ``room``, whole pairs are filled, and all hessians are the same positive number: keep the
        gradients alone."""
        if self.room is not None and self.constant_hessian is None:
            constant = _loops.only_value(self.room[0, :2, 1])  # which is not so for most, so two rows are asked first
            constant = constant and _loops.only_value(self.room[:, :, 1])
            if constant is not None:
                gradients = self.room[:, :, :1].copy()
                self._lay_out(constant)
                self.pairs[:] = gradients

    def _lay_out(self, constant: float | None) -> None:
        n_outputs, n_rows = self.room.shape[:2]
        alone = self.room.reshape(-1)[: n_outputs * n_rows].reshape(n_outputs, n_rows, 1)
        self.constant_hessian = constant
        self.pairs = self.room if constant is None else alone

    def _widen(self, n_rows: int) -> None:
        """Whole pairs in place of gradients alone, of which so many rows are filled."""
        gradients, constant = self.pairs[:, :n_rows, 0].copy(), self.constant_hessian
        self._lay_out(None)
        self.pairs[:, :n_rows, 0], self.pairs[:, :n_rows, 1] = gradients, constant
        np.maximum(self.largest[:, 1], constant, out=self.largest[:, 1])

    @property
    def n_rows(self) -> int:
        return self.pairs.shape[1]


def real_numbers(values: Any, what: str) -> np.ndarray:
    """The values in float64.

    Raises
    ------
    TypeError
        If they are not real numbers.
    """
    array = np.asarray(values)
    if array.dtype.kind == "O":
        try:
            return array.astype(np.float64)
        except (TypeError, ValueError):
            pass
    if array.dtype.kind not in "biuf":
        raise TypeError(f"{what} must hold real numbers. Got {array.dtype} instead.")
    return array.astype(np.float64, copy=False)


@dataclass(frozen=True, eq=False)
class RowsByLeaf:
    """The training rows of each leaf of a tree::

        rows    [ 2 5 | 0 1 4 | 3 ]      ascending within a leaf
        begin   [ 0     2       5   6 ]

    Attributes
    ----------
    rows : ndarray of uint32, shape (n_rows,)
    begin : ndarray of int64, shape (n_leaves + 1,)
        Leaf l has ``rows[begin[l] : begin[l + 1]]``.
    """

    rows: np.ndarray
    begin: np.ndarray

    @property
    def n_leaves(self) -> int:
        return len(self.begin) - 1

    def __iter__(self) -> Iterator[np.ndarray]:
        """The row numbers of one leaf after the other."""
        for begin, end in pairwise(self.begin.tolist()):
            yield self.rows[begin:end]


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
    bounds: ClassVar[tuple[float, float]] = (-np.inf, np.inf)

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
        :meth:`renew_leaves`. ``penalties`` are l1 and l2 of what is to be minimised, the sum of the rows' losses."""
        return steps

    def damp(self, steps: np.ndarray) -> np.ndarray:
        """Where ``damped`` (or ``damped_vectors``) is True: Newton's steps, shape (n_leaves,), or shorter ones.
        Shrinkage comes later."""
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

    def mean(self, y: np.ndarray, raw: np.ndarray, weight: np.ndarray | None) -> float:
        """Weighted mean of :meth:`values`, which is asked block by block where y is an array of one dimension."""
        if not isinstance(y, np.ndarray) or y.ndim != 1:
            return float(np.average(row_losses(self, y, raw), weights=weight))
        total = 0.0
        for begin in range(0, len(y), BLOCK):
            rows = slice(begin, begin + BLOCK)
            values = row_losses(self, y[rows], raw[:, rows])
            total += np.sum(values if weight is None else values * weight[rows])
        return float(total / (len(y) if weight is None else np.sum(weight)))

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


def not_finite(pairs: GradientPairs, loss: Loss) -> str:
    """Which gradient or hessian is the first one that is not finite, in words."""
    output, row, lane = (int(index[0]) for index in np.nonzero(~np.isfinite(pairs.pairs)))
    what, value = ("gradient", "hessian")[lane], pairs.pairs[output, row, lane]
    return f"the {what} of loss {loss.name or type(loss).__name__!r} is {value} at training row {row}"


def check_written(pairs: GradientPairs, loss: Loss) -> None:
    """Look for what a loss of the user's left out when it first filled pairs that :meth:`Loss.pairs` made.

    Raises
    ------
    ValueError
        If there is such a row.
    """
    if loss.ours or not np.isfinite(pairs.largest).all():  # a NaN that was written
        return
    left_out = np.argwhere(np.isnan(pairs.pairs))
    if len(left_out):
        output, row, lane = left_out[0].tolist()
        raise ValueError(
            f"{type(loss).__name__}.gradients must fill `out` for all rows and {loss.n_outputs} output(s): it left out "
            f"the {('gradient', 'hessian')[lane]} of output {output} at training row {row}."
        )


def n_predictions(loss: Loss) -> int:
    """How many numbers a row the loss predicts."""
    return len(loss.inverse_link(np.zeros((loss.n_outputs, 1))))


def log_of_means(mean: np.ndarray) -> np.ndarray:
    return np.log(np.maximum(mean, TINY))


def log_odds(p: np.ndarray) -> np.ndarray:
    p = np.clip(p, TINY, 1 - TINY)
    return np.log(p) - np.log1p(-p)


def log_odds_of_second(p: np.ndarray) -> np.ndarray:
    """Of two classes, from the probabilities of both, shape (2, n_rows); shape (1, n_rows)."""
    log_p = np.log(np.clip(p, TINY, 1.0))
    return log_p[1:] - log_p[:1]


def centred_log(p: np.ndarray) -> np.ndarray:
    """Scores whose softmax the probabilities are, with mean 0."""
    log_p = np.log(np.clip(p, TINY, 1.0))
    return log_p - log_p.mean(axis=0)


# From predictions to raw ones.
LINKS: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    "identity": np.array,
    "log": log_of_means,
    "log1p": lambda prediction: np.log1p(np.maximum(prediction, TINY - 1)),
    "logit": log_odds,
    "multinomial_logit": centred_log,
}


def best_constant(loss: Loss, y: Any, weight: np.ndarray | None, offset: np.ndarray | None) -> np.ndarray:
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
        if abs(gradient.sum()) <= ROUNDING * np.abs(gradient).sum():
            return where
        total = start.shape[1] if weight is None else weight.sum()
        return np.array([_bracketed_root(lambda c: [d[0] / total for d in known(c)], where[0])])

    def mean(constant: np.ndarray) -> float:
        if not loss.scored:
            return float(np.sum(known(*constant)[0] ** 2))
        with np.errstate(all="ignore"):
            return loss.mean(y, start + constant[:, None], weight)

    return _damped_newton(lambda constant: known(*constant), mean, where)


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


def _bracketed_root(derivatives: Callable[[float], tuple[float, float]], start: float) -> float:
    """Where a slope that does not decrease changes its sign. Steps are Newton's, but double until the root is
    bracketed, and halve the bracket where Newton's leave it or do not shrink it. Where each of Newton's steps is a
    fraction of the one before, that fraction of the last one is about what is missing after it. Where a slope
    does not vanish, but keeps its sign as far as it is finite, the start is as good as any."""
    low, high = -np.inf, np.inf
    ends = {}  # at each end of the bracket, by the sign of the slope: whether it is finite
    at, last_step, width, steepest = start, 0.0, np.inf, 0.0
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
        least = max(1e-14 * abs(at), 1e-14)
        if high - low <= 4 * least:
            return at if all(ends.values()) else start
        newton = -slope / curvature if curvature > 0 and np.isfinite(curvature) and np.isfinite(slope) else 0.0
        converges = abs(newton) < 0.1 * abs(last_newton)
        if converges and newton**2 <= least * abs(last_newton):
            return at + newton
        if np.isfinite(high - low):
            # a tiny step goes a little further, so that the root is between it and here
            target = at + (newton if abs(newton) > least else np.copysign(2 * least, newton))
            if newton == 0 or not low < target < high or (high - low > 0.5 * width and not converges):
                target = low + 0.5 * (high - low)
            width = high - low
        else:
            size = max(abs(newton), 2 * abs(last_step), 2.0**-30)
            target = at - np.copysign(size, slope)
        step = target - at
        if abs(target) > _FARTHEST:
            return start
        last_newton = newton if target == at + newton else 0.0
        at, last_step = target, step
    return at if np.isfinite(high - low) else start


def _damped_newton(derivatives, mean: Callable[[np.ndarray], float], at: np.ndarray) -> np.ndarray:
    """A minimum in several variables by the diagonal of the hessian."""
    least = mean(at)
    for _ in range(100):
        gradient, hessian = derivatives(at)
        step = np.where(hessian > 0, -gradient / np.where(hessian > 0, hessian, 1.0), 0.0)
        step = np.where(np.isfinite(step), step, 0.0)
        while np.abs(step).max() > 1e-12 * max(1.0, np.abs(at).max()):
            value = mean(at + step)
            if value < least:
                break
            step = step / 2
        else:
            return at
        at, least = at + step, value
    return at


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
