"""Several targets a row: one loss, repeated."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from boostgrad.losses.base import BadTarget, Loss, get_loss, register, registered_losses, row_losses
from boostgrad.losses.pairs import GradientPairs


@dataclass(frozen=True, eq=False)
class Targets:
    """What :meth:`MultiOutput.prepare` makes of a table of targets.

    Attributes
    ----------
    columns : list
        What the repeated loss prepared of each column; a missing target is replaced by one that is there.
    present : ndarray of bool, shape (n_targets, n_rows), or None
        None: no target is missing.
    n_rows : int
    """

    columns: list[Any]
    present: np.ndarray | None
    n_rows: int

    def __len__(self) -> int:
        return self.n_rows

    def weight(self, target: int, weight: np.ndarray | None) -> np.ndarray | None:
        """Weights of the rows for one target: 0 where it is missing."""
        if self.present is None:
            return weight
        present = self.present[target].astype(np.float64)
        return present if weight is None else present * weight


@register
class MultiOutput(Loss):
    """The mean over several targets of one loss, whose raw predictions each target has::

        raw     [ target 0 | target 1 | ... ]      loss.n_outputs rows each

    It is made for one fit.

    Targets may be of very different sizes, so the loss of each is divided by a unit of its own, the square of a
    gradient per hessian at the initial constant: for squared errors, the variance of the target. Leaf values and
    gradients are those of the undivided loss. Likelihoods of several parameters are in one unit as they are.

    A missing target (NaN) has neither loss, gradient nor hessian: the row counts for the other targets, and among the
    rows of a leaf.

    Parameters
    ----------
    loss : str or Loss
        Of one target; the registered name, or the loss itself.
    n_outputs : int
        Raw predictions of all targets: as many as there are targets, or a multiple where the loss has several.
    loss_parameters : dict or None
        Keyword arguments of the loss, where it is a name.
    has_missing : bool
        Whether targets may be missing. Without any, a constant hessian makes training cheaper.
    """

    name = "multi_output"

    def __init__(
        self,
        loss: str | Loss,
        n_outputs: int,
        loss_parameters: dict[str, Any] | None = None,
        has_missing: bool = True,
    ):
        self.loss = get_loss(loss, **(loss_parameters or {})) if isinstance(loss, str) else loss
        self.n_outputs = n_outputs
        self.n_targets = n_outputs // self.loss.n_outputs
        self.has_missing = has_missing
        for name in ("smooth", "damped", "damped_vectors", "refined", "link", "scored", "joint_outputs", "bounds"):
            setattr(self, name, getattr(self.loss, name))
        self.unit = np.ones(n_outputs)
        if registered_losses().get(self.loss.name) is not type(self.loss):
            self.name = ""  # no file could name it

    @classmethod
    def of(cls, loss: Loss, n_targets: int, has_missing: bool = True) -> MultiOutput:
        """The loss, repeated for so many targets."""
        return cls(loss, n_targets * loss.n_outputs, has_missing=has_missing)

    @property
    def ours(self):
        return self.loss.ours

    @property
    def prediction_range(self):
        return self.loss.prediction_range

    @property
    def exposed(self):
        return None if self.loss.exposed is None else np.tile(self.loss.exposed, self.n_targets)

    def __repr__(self) -> str:
        return f"MultiOutput({self.loss!r}, {self.n_outputs})"

    def parameters(self):
        return {"loss": self.loss.name, "n_outputs": self.n_outputs, "loss_parameters": self.loss.parameters()}

    def outputs(self, target: int) -> slice:
        """The rows of raw predictions that are a target's."""
        return slice(target * self.loss.n_outputs, (target + 1) * self.loss.n_outputs)

    def check_target(self, y):
        for k in range(self.n_targets):
            present = np.flatnonzero(~np.isnan(y[:, k]))
            if len(present) == 0:
                raise ValueError(f"there is no target in column {k}: all of it is missing.")
            try:
                self.loss.check_target(y[present, k])
            except BadTarget as error:
                accepted, row, value = error.among(present).args
                raise BadTarget(f"column {k}: {accepted}", row, value) from None
            except ValueError as error:
                raise ValueError(f"column {k} (rows counted without missing ones): {error}") from None

    def prepare(self, y, weight, groups=None):
        missing = np.isnan(y)
        columns = []
        for k in range(self.n_targets):
            column = np.ascontiguousarray(y[:, k])
            if missing[:, k].any():
                column = np.where(missing[:, k], column[~missing[:, k]][0] if not missing[:, k].all() else 0.0, column)
            columns.append(self.loss.prepare(column, weight, groups))
        return Targets(columns, np.ascontiguousarray(~missing.T) if missing.any() else None, len(y))

    def init_raw(self, y, weight, offset=None):
        constants = []
        for k in range(self.n_targets):
            given = () if offset is None else (offset[self.outputs(k)],)
            constants.append(self.loss.init_raw(y.columns[k], y.weight(k, weight), *given))
        constants = np.concatenate(constants)
        if self.loss.n_outputs == 1:
            self.unit = self._units(y, constants, weight, offset)
        return constants

    def _units(self, y: Targets, constants: np.ndarray, weight, offset) -> np.ndarray:
        raw = np.repeat(constants[:, None], len(y), axis=1) if offset is None else offset + constants[:, None]
        pairs = GradientPairs.empty(self.n_outputs, len(y), None)
        self.gradients(y, raw, None, pairs)
        gradient, hessian = pairs.pairs[:, :, 0], pairs.pairs[:, :, 1]
        w = np.ones(len(y)) if weight is None else weight
        with np.errstate(all="ignore"):
            unit = np.sum(gradient**2 * w, axis=1) / np.sum(hessian * w, axis=1)  # not by BLAS, which has threads
        return np.where(np.isfinite(unit) & (unit > 0), unit, 1.0)

    def pairs(self, n_rows, weighted):
        constant = None if weighted or self.has_missing else self.loss.constant_hessian
        pairs = GradientPairs.empty(self.n_outputs, n_rows, constant)
        pairs.unit = self.unit
        if not self.ours:
            pairs.pairs.fill(np.nan)  # as Loss.pairs does
        if constant is None and not self.has_missing and self.loss.pairs(0, weighted).room is not None:
            pairs.room = pairs.pairs
        return pairs

    def gradients(self, y, raw, weight, out, n_threads=1):
        out.unsettle()
        ones = None
        for k in range(self.n_targets):
            w = y.weight(k, weight)
            if w is None and out.constant_hessian is None and self.loss.constant_hessian is not None:
                ones = w = np.ones(len(y)) if ones is None else ones
            one = out.of_outputs(self.outputs(k))
            self.loss.gradients(y.columns[k], raw[self.outputs(k)], w, one, n_threads)
        out.settle()

    def total(self, y, raw, weight, n_threads=1):
        each = (self.outputs(k) for k in range(self.n_targets))
        totals = [
            self.loss.total(column, raw[outputs], y.weight(k, weight), n_threads) / self.unit[outputs][0]
            for k, (column, outputs) in enumerate(zip(y.columns, each, strict=True))
        ]
        return sum(totals) / self.n_targets

    def values(self, y, raw):
        total = np.zeros(raw.shape[1])
        for k in range(self.n_targets):
            values = row_losses(self.loss, y.columns[k], raw[self.outputs(k)]) / self.unit[self.outputs(k)][0]
            total += values if y.present is None else np.where(y.present[k], values, 0.0)
        return total / self.n_targets

    def renew_leaves(self, y, raw, weight, output, leaves, n_threads=1):
        k, of_loss = divmod(output, self.loss.n_outputs)
        of_target, w = raw[self.outputs(k)], y.weight(k, weight)
        return self.loss.renew_leaves(y.columns[k], of_target, w, of_loss, leaves, n_threads)

    def refine_leaves(self, y, raw, weight, output, leaves, steps, penalties=(0.0, 0.0), n_threads=1):
        k, of_loss = divmod(output, self.loss.n_outputs)
        of_target, w = raw[self.outputs(k)], y.weight(k, weight)
        return self.loss.refine_leaves(y.columns[k], of_target, w, of_loss, leaves, steps, penalties, n_threads)

    def damp(self, steps, output=0):
        return self.loss.damp(steps, output % self.loss.n_outputs)

    def raw_of(self, prediction):
        return np.concatenate([self.loss.raw_of(of_target[None]) for of_target in prediction])

    def inverse_link(self, raw):
        return np.concatenate([self.loss.inverse_link(raw[self.outputs(k)]) for k in range(self.n_targets)])
