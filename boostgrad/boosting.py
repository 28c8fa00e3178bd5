"""The boosting loop and nothing but the loop."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import isfinite
from typing import Any

import numpy as np

from boostgrad.callbacks import Callback, IterationState
from boostgrad.data.matrix import BinnedMatrix, SparseBinnedMatrix, row_array
from boostgrad.data.statistics import Redraws
from boostgrad.losses.base import Loss
from boostgrad.losses.own import read_only
from boostgrad.losses.pairs import GradientPairs, RowsByLeaf, check_curved, check_written, not_finite, real_numbers
from boostgrad.params import CategoryParams, TreeParams
from boostgrad.tree.grower import GrownTree, TreeGrower
from boostgrad.tree.growers import Growers
from boostgrad.tree.model import Tree
from boostgrad.tree.predictor import add_binned

# Rows are numbered in 32 bits while a tree grows, and sums over them must leave room for a hessian.
MAX_ROWS = 2**30


@dataclass(frozen=True, eq=False)
class Rows:
    """Rows to train on or to validate with.

    Attributes
    ----------
    matrix : BinnedMatrix or SparseBinnedMatrix
        Binned features.
    y : object
        What the loss prepared of the target; nobody but the loss looks into it.
    weight : ndarray of float64, shape (n_rows,), or None
        None: 1 for all rows.
    offset : ndarray of float64, shape (n_outputs, n_rows), or None
        Added to the raw predictions before boosting; the model predicts what comes on top of it.
    constant : bool
        Whether boosting begins with the best constant on top of the offset, or with the offset alone.
    """

    matrix: BinnedMatrix | SparseBinnedMatrix
    y: Any
    weight: np.ndarray | None
    offset: np.ndarray | None = None
    constant: bool = True

    def raw(self, base_score: np.ndarray) -> np.ndarray:
        """Raw predictions before the first tree, where the table is: in memory or in a file."""
        raw = row_array((len(base_score), self.matrix.n_rows), np.float64, self.matrix.directory)
        raw[:] = base_score[:, None]
        if self.offset is not None:
            raw += self.offset
        return raw


@dataclass(frozen=True, eq=False)
class Trained:
    """What :func:`train` leaves behind."""

    trees: list[Tree]
    base_score: np.ndarray
    state: IterationState


@dataclass(frozen=True, eq=False)
class Current:
    """The model between two iterations, as the loop has it: to be read, and not to be kept.

    Attributes
    ----------
    trees : list of Tree
    base_score : ndarray of float64, shape (n_outputs,)
    raw, validation_raw : ndarray of float64, shape (n_outputs, n_rows)
        Raw predictions, offsets included, for the rows to train on and to validate with.
    """

    trees: list[Tree]
    base_score: np.ndarray
    raw: np.ndarray
    validation_raw: np.ndarray


class Scores:
    """What is kept of each iteration: under one name or several, a score of the training rows and one of the validation
    rows, the higher the better. Here: negative mean losses.
    """

    def __init__(self, rows: Rows, validation: Rows, loss: Loss, name: str = "loss", n_threads: int = 1):
        self.rows, self.validation, self.loss = rows, validation, loss
        self.name, self.n_threads = name, n_threads

    def of(self, current: Current) -> dict[str, tuple[float, float]]:
        """The two scores of the model as it is now, by name; early stopping goes by the first."""
        threads = (self.n_threads,) if self.loss.ours else ()  # of which others need not know
        of_parts = (
            -self.loss.mean(self.rows.y, current.raw, self.rows.weight, *threads),
            -self.loss.mean(self.validation.y, current.validation_raw, self.validation.weight, *threads),
        )
        return {self.name: of_parts}


def train(
    rows: Rows,
    edges: list[np.ndarray],
    loss: Loss,
    params: TreeParams,
    n_estimators: int,
    *,
    validation: Rows | None = None,
    scores: Scores | None = None,
    callbacks: Sequence[Callback] = (),
    n_threads: int = 1,
    seed: int = 0,
    categories: CategoryParams | None = None,
    n_values: int = 1,
    redraws: Redraws | None = None,
) -> Trained:
    """Boost: fit trees, one per output and iteration or one for all outputs, to the gradients of the loss at the
    current predictions.

    Parameters
    ----------
    rows : Rows
    edges : list of ndarray of float64
        Of the bins, one array a feature.
    loss : Loss
    params : TreeParams
    n_estimators : int
    validation : Rows or None
        Rows whose score is tracked, binned with the same edges.
    scores : Scores or None
        How the rows are scored where there are validation rows. None: by the loss.
    callbacks : sequence of Callback
    n_threads : int
    seed : int
    categories : CategoryParams or None
        None: the defaults.
    n_values : int
        Of a leaf: a tree is for so many neighbouring outputs, a divisor of all.
    redraws : Redraws or None
        Changes codes of the rows between iterations.

    Returns
    -------
    Trained

    Raises
    ------
    ValueError
        If a gradient is not finite, or there are too many rows.
    """
    if rows.matrix.n_rows >= MAX_ROWS:
        raise ValueError(f"X has {rows.matrix.n_rows} rows; at most {MAX_ROWS - 1} can be trained on")
    base_score = _base_score(rows, loss)
    raw = rows.raw(base_score)
    seen = _as_seen(raw, loss)
    in_memory = rows.matrix.directory is None
    pairs = loss.pairs(rows.matrix.n_rows if in_memory else 0, weighted=rows.weight is not None)
    if not in_memory:
        shape = (pairs.pairs.shape[0], rows.matrix.n_rows, pairs.pairs.shape[2])
        pairs.pairs = row_array(shape, np.float64, rows.matrix.directory)
        if pairs.room is not None:
            pairs.room = pairs.pairs
    state = IterationState(n_estimators)
    trees: list[Tree] = []
    if validation is not None:
        scores = scores or Scores(rows, validation, loss, n_threads=n_threads)
        validation_raw = validation.raw(base_score)
        current = Current(trees, base_score, seen, _as_seen(validation_raw, loss))
        state.validation_raw = current.validation_raw
        state.add(scores.of(current))

    so_far: list[GrownTree] = []
    n_trees = loss.n_outputs // n_values  # an iteration
    damped = loss.damped or (n_values > 1 and loss.damped_vectors)
    renewed = not loss.smooth or damped or loss.refined
    penalties = np.array([params.l1_regularization, params.l2_regularization])
    growers = Growers(rows.matrix, edges, params, n_trees, n_threads, seed, categories, n_values)

    def renew(grower: TreeGrower, grown: GrownTree, output: int) -> None:
        by_leaf = loss.refined or not loss.smooth
        leaves = RowsByLeaf(*grower.rows_by_leaf()) if by_leaf else None
        for value in range(n_values):
            of_rows, method = (rows.y, seen, rows.weight, output + value, leaves), "renew_leaves"
            if loss.smooth:
                steps, method = grown.tree.leaf_value[:, value] / params.learning_rate, "damp"
                steps = loss.damp(steps, output + value) if damped else steps
                if loss.refined:
                    method = "refine_leaves"
                    of_losses = penalties * pairs.hessian_unit[output + value]  # as the grower has them
                    steps = loss.refine_leaves(*of_rows, steps, tuple(of_losses), growers.threads_each)
            else:
                steps = loss.renew_leaves(*of_rows, growers.threads_each)
            steps = _checked_steps(steps, loss, method, grown.tree.n_leaves)
            grower.renew_leaf_values(grown, steps, value)

    def grow(grower: TreeGrower, output: int) -> GrownTree:
        grown = grower.grow(pairs, output, len(trees) + output // n_values)
        if renewed:
            renew(grower, grown, output)
        if not np.isfinite(grown.tree.leaf_value).all():
            raise ValueError(
                f"a leaf of loss {loss.name or type(loss).__name__!r} has no finite value in iteration "
                f"{state.iteration}: its hessian is too small beside its gradient"
            )
        grower.add_leaf_values(raw)
        return grown

    try:
        for callback in callbacks:
            callback.before_training(state)
        for state.iteration in range(1, n_estimators + 1):
            if redraws is not None and redraws.before(state.iteration):
                growers.recode(redraws.features)
                # predictions by the same codes that the trees to come will see: by others the residuals would still
                # hold what the trees know, and it would be learned twice
                raw[:] = rows.raw(base_score)
                add_binned(so_far, rows.matrix, raw, n_threads)
            pairs.largest[:] = 0
            loss.gradients(rows.y, seen, rows.weight, pairs, n_threads)
            _check_finite(pairs, loss, state.iteration)
            if state.iteration == 1:
                check_written(pairs, loss)
                check_curved(pairs, loss)
            pairs.to_units(rows.weight, n_threads)
            grown = growers.each(grow, range(0, loss.n_outputs, n_values))
            trees += [of_output.tree for of_output in grown]
            if redraws is not None:
                so_far += grown
            if validation is not None:
                add_binned(grown, validation.matrix, validation_raw, n_threads)
                state.add(scores.of(current))
            if any([callback.after_iteration(state) for callback in callbacks]):  # every one is called
                break
    finally:
        growers.close()
        for callback in callbacks:
            callback.after_training(state)
    return Trained(trees, base_score, state)


def _as_seen(raw: np.ndarray, loss: Loss) -> np.ndarray:
    """Raw predictions as the loss gets them: others than ours might write to them."""
    return raw if loss.ours else read_only(raw)


def _checked_steps(steps: Any, loss: Loss, method: str, n_leaves: int) -> np.ndarray:
    """Steps of leaves that the loss gave."""
    steps = real_numbers(steps, f"what {method} of loss {loss.name or type(loss).__name__!r} gives")
    if steps.shape != (n_leaves,) or not np.isfinite(steps).all():
        raise ValueError(
            f"{type(loss).__name__}.{method} must give a finite number for each of {n_leaves} leaves. Got "
            f"{steps.tolist() if steps.ndim and steps.size < 50 else steps.shape!r} instead."
        )
    return np.ascontiguousarray(steps)


def pairs_at_start(rows: Rows, n_rows: int, loss: Loss, n_threads: int) -> GradientPairs:
    """Gradients and hessians at the prediction that boosting begins with; the rows need no matrix."""
    raw = np.repeat(_base_score(rows, loss)[:, None], n_rows, axis=1)
    if rows.offset is not None:
        raw += rows.offset
    pairs = loss.pairs(n_rows, weighted=rows.weight is not None)
    loss.gradients(rows.y, raw, rows.weight, pairs, n_threads)
    _check_finite(pairs, loss)
    pairs.to_units(rows.weight, n_threads)
    return pairs


def _base_score(rows: Rows, loss: Loss) -> np.ndarray:
    given = (rows.y, rows.weight) if rows.offset is None else (rows.y, rows.weight, rows.offset)
    base_score = np.asarray(loss.init_raw(*given), dtype=np.float64)  # of which a loss may keep something
    if base_score.shape != (loss.n_outputs,) or not np.isfinite(base_score).all():
        raise ValueError(
            f"init_raw of loss {loss.name or type(loss).__name__!r} must give {loss.n_outputs} finite number(s): it "
            f"gave {base_score.tolist()!r}"
        )
    return base_score if rows.constant else np.zeros(loss.n_outputs)


def _check_finite(pairs, loss: Loss, iteration: int = 1) -> None:
    if all(map(isfinite, pairs.largest.flat)):
        return
    if iteration == 1:
        raise ValueError(f"{not_finite(pairs, loss)}: y or sample_weight is too large there, or the loss is not finite")
    hessian = "" if loss.ours else ", or a larger hessian"
    raise ValueError(
        f"{not_finite(pairs, loss)} in iteration {iteration}: if raw predictions have grown without bound there, a "
        f"smaller learning_rate or a bound of steps, max_delta_step{hessian}, keeps them finite"
    )
