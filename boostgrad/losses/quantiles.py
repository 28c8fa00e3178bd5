"""Several quantiles in one model, which never cross."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from boostgrad.losses import _loops
from boostgrad.losses.base import Loss, register
from boostgrad.losses.regression import Quantile
from boostgrad.params import shown


@register
class Quantiles(Loss):
    """The mean of the pinball losses of several quantiles; raw prediction k is about the quantile of level k.

    A prediction is the raw ones of a row in ascending order, so quantiles of different levels never cross, whatever the
    row. To put two that crossed in order lowers the sum of their pinball losses by the difference of the levels times
    that of the predictions, for every y.

    Parameters
    ----------
    quantiles : sequence of float
        Levels in (0, 1), ascending.

    Notes
    -----
    :loss: the mean over k of ``max(q_k (y - z_k), (q_k - 1) (y - z_k))`` with z the raw predictions in ascending order
    :gradient: ``1 - q_k`` where ``raw_k > y``, ``-q_k`` where ``raw_k < y``, and 0 between: of each level's own loss,
        before they are put in order and averaged
    :hessian: ``1``, a constant in place of the second derivative, which is 0 almost everywhere: it decides about
        splits, and leaves get the quantiles of their residuals
    :link: identity
    :initial score: the quantiles of y
    :metric: the loss itself; scorers of scikit-learn take one prediction a row

    References
    ----------
    Koenker and Bassett (1978), "Regression quantiles", section 3. The order: Chernozhukov, Fernandez-Val and Galichon
    (2010), "Quantile and probability curves without crossing", section 2.
    """

    name = "quantiles"
    smooth = False
    constant_hessian = 1.0

    def __init__(self, quantiles: Sequence[float]):
        levels = [float(level) for level in quantiles]
        if not levels or sorted(set(levels)) != levels:
            raise ValueError(
                f"quantiles of Quantiles must be levels in ascending order. Got {shown(list(quantiles))} instead."
            )
        self.levels = levels
        self.each = [Quantile(level) for level in levels]
        self.n_outputs = self.joint_outputs = len(levels)
        self.summed = "quantiles" if len(levels) <= _loops.MOST_SORTED else ""

    def parameters(self):
        return {"quantiles": self.levels}

    def init_raw(self, y, weight, offset=None):
        given = [() if offset is None else (offset[k : k + 1],) for k in range(self.n_outputs)]
        return np.array([loss.init_raw(y, weight, *given[k])[0] for k, loss in enumerate(self.each)])

    def gradients(self, y, raw, weight, out, n_threads=1):
        for k, loss in enumerate(self.each):
            loss.gradients(y, raw[k : k + 1], weight, out.of_outputs(slice(k, k + 1)), n_threads)

    def _of_sum(self):
        return self.levels

    def values(self, y, raw):
        ordered = np.sort(raw, axis=0)
        total = np.zeros(raw.shape[1])
        for k, loss in enumerate(self.each):
            total += loss.values(y, ordered[k : k + 1])
        return total / self.n_outputs

    def renew_leaves(self, y, raw, weight, output, leaves, n_threads=1):
        return self.each[output].renew_leaves(y, raw[output : output + 1], weight, 0, leaves, n_threads)

    def raw_of(self, prediction):
        """A prediction of each level, or one that all levels start from: constants on top of it tell them apart."""
        return np.array(np.broadcast_to(prediction, (self.n_outputs, prediction.shape[1])))

    def inverse_link(self, raw):
        return np.sort(raw, axis=0)
