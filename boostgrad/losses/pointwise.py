"""Squared error and the log losses: the losses that are the default."""

from __future__ import annotations

import numpy as np

from boostgrad.losses import _loops
from boostgrad.losses.base import Loss, refuse, register
from boostgrad.losses.constant import best_constant
from boostgrad.losses.links import TINY

# Newton's steps of the raw predictions of classes are damped beyond this size.
LONG_STEP = 10.0


def damped_log_odds(steps: np.ndarray) -> np.ndarray:
    """Newton's steps of log odds, shorter where they are long.

    In a leaf where a class has the share q and the probability p, a small one, Newton's step is q / p - 1 and the best
    one log(q / p). Without damping a class that the model has all but ruled out where a few rows still have it takes
    ever longer steps, up to log-losses of 30, in trees for all classes above all. So long steps grow as their
    logarithm; shrinkage makes up for the factor.
    """
    size = np.abs(steps)
    long = LONG_STEP * (1 + np.log(np.maximum(size, LONG_STEP) / LONG_STEP))
    return np.where(size > LONG_STEP, np.copysign(long, steps), steps)


def softplus(x: np.ndarray) -> np.ndarray:
    """log(1 + exp(x)), in a third of the time of numpy's logaddexp."""
    out = _loops.exponential(-np.abs(x))
    np.log1p(out, out=out)
    out += np.maximum(x, 0.0)
    return out


@register
class SquaredError(Loss):
    """Half the squared error; raw predicts the mean.

    Notes
    -----
    :loss: ``1/2 (raw - y)^2``
    :gradient: ``raw - y``
    :hessian: ``1``
    :link: identity
    :initial score: the mean of y
    :metric: neg_mean_squared_error

    References
    ----------
    Friedman (2001), "Greedy function approximation: a gradient boosting machine", section 4.1.
    """

    name = summed = "squared_error"
    metric = "neg_mean_squared_error"
    constant_hessian = 1.0
    small_targets = True

    def init_raw(self, y, weight, offset=None):
        y = y.astype(np.float64, copy=False)
        return np.array([np.average(y if offset is None else y - offset[0], weights=weight)])

    def gradients(self, y, raw, weight, out, n_threads=1):
        _loops.squared_error(y, raw, weight, out, n_threads)

    def values(self, y, raw):
        return 0.5 * (raw[0] - y) ** 2

    def inverse_link_row(self, raw):
        return raw


def _check_soft(y: np.ndarray) -> None:
    refuse(~((y >= 0) & (y <= 1)).reshape(len(y), -1).all(axis=1), y, "soft labels must be in [0, 1]")


class LogisticLoss(Loss):
    """What the log losses of one probability share; raw is its log odds, and y, in [0, 1], what it should be."""

    link = "logit"
    summed = "binary_log_loss"

    def init_raw(self, y, weight, offset=None):
        if offset is not None:
            return best_constant(self, y, weight, offset)
        p = np.clip(np.average(y, weights=weight), TINY, 1 - TINY)
        return np.array([np.log(p / (1 - p))])

    def gradients(self, y, raw, weight, out, n_threads=1):
        _loops.binary_log_loss(y, raw, weight, out, n_threads)

    def values(self, y, raw):
        return softplus(raw[0]) - y * raw[0]


@register
class BinaryLogLoss(LogisticLoss):
    """Log loss of the second of two classes; raw is its log odds. y is 0 or 1.

    Parameters
    ----------
    soft : bool, default=False
        Whether y may be anything from 0 to 1: the probability of the second class. The loss is the expected one then.

    Notes
    -----
    :loss: ``log(1 + exp(raw)) - y raw``
    :gradient: ``p - y`` with ``p = 1 / (1 + exp(-raw))``
    :hessian: ``p (1 - p)``
    :link: logit
    :initial score: the log odds of the share of the second class
    :metric: neg_log_loss

    References
    ----------
    Hastie, Tibshirani and Friedman (2009), "The elements of statistical learning", eq. 4.20. Friedman, Hastie and
    Tibshirani (2000), "Additive logistic regression: a statistical view of boosting", algorithm 3.
    """

    name = "binary_log_loss"
    for_classes = True
    metric = "neg_log_loss"
    small_targets = True

    def __init__(self, soft: bool = False):
        self.soft = bool(soft)

    def parameters(self):
        return {"soft": True} if self.soft else {}  # versions that know no soft labels read files that have none

    def check_target(self, y):
        if self.soft:
            _check_soft(y)

    def inverse_link(self, raw):
        if raw.size == 1:  # of a single row, the way is as long as the work
            return _loops.sigmoids_of_row(np.ascontiguousarray(raw[0]))[:, None]
        return np.stack([_loops.sigmoid(-raw[0]), _loops.sigmoid(raw[0])])  # 1 - p would lose a small probability

    inverse_link_row = staticmethod(_loops.sigmoids_of_row)


@register
class MultinomialLogLoss(Loss):
    """Log loss of softmax probabilities. y holds class numbers 0, 1, ..., n_classes - 1.

    Parameters
    ----------
    n_classes : int

    Notes
    -----
    :loss: ``log sum_k exp(raw_k) - raw_y``
    :gradient: ``p_k - [y = k]`` with ``p_k = exp(raw_k) / sum_l exp(raw_l)``
    :hessian: ``p_k (1 - p_k)``, the diagonal of the second derivatives: a tree is of one class, and the others are held
        fast. Long steps are damped, see :func:`damped_log_odds`
    :link: multinomial logit
    :initial score: the logarithms of the shares of the classes, less their mean
    :metric: neg_log_loss

    References
    ----------
    Friedman, Hastie and Tibshirani (2000), "Additive logistic regression: a statistical view of boosting", algorithm 6.
    Friedman (2001), "Greedy function approximation: a gradient boosting machine", section 4.6.
    """

    name = summed = "multinomial_log_loss"
    link = "multinomial_logit"
    damped = True
    for_classes = True
    metric = "neg_log_loss"
    small_targets = True

    def __init__(self, n_classes: int):
        self.n_outputs = n_classes

    def parameters(self):
        return {"n_classes": self.n_outputs}

    def init_raw(self, y, weight, offset=None):
        if offset is not None:
            best = best_constant(self, y, weight, offset)
            return best - best.mean()
        mass = np.bincount(y.astype(np.intp), weights=weight, minlength=self.n_outputs)
        log_p = np.log(np.clip(mass / mass.sum(), TINY, 1.0))
        return log_p - log_p.mean()

    def damp(self, steps, output=0):
        return damped_log_odds(steps)

    def gradients(self, y, raw, weight, out, n_threads=1):
        _loops.multinomial_log_loss(y, raw, weight, out, n_threads)

    def values(self, y, raw):
        top, total = _loops.softmax_sums(raw)
        return top + np.log(total) - raw[y.astype(np.intp), np.arange(raw.shape[1])]

    def inverse_link(self, raw):
        return _loops.softmax(raw)


@register
class MultilabelLogLoss(Loss):
    """Sum over labels of the log loss of each: several labels may be true of a row.

    Parameters
    ----------
    n_labels : int
    soft : bool, default=False
        Whether y may be anything from 0 to 1: the probability of each label.

    Notes
    -----
    :loss: ``sum_k log(1 + exp(raw_k)) - y_k raw_k``
    :gradient: ``p_k - y_k`` with ``p_k = 1 / (1 + exp(-raw_k))``
    :hessian: ``p_k (1 - p_k)``; no derivative mixes labels
    :link: logit
    :initial score: the log odds of the share of each label
    :metric: the loss itself; scikit-learn's log loss takes one label a row

    References
    ----------
    As :class:`BinaryLogLoss`, label by label: "binary relevance" of Zhang and Zhou (2014), "A review on multi-label
    learning algorithms", section 3.
    """

    name = "multilabel_log_loss"
    link = "logit"
    damped_vectors = True  # a tree a label gives the models of labels by themselves
    for_classes = True

    def __init__(self, n_labels: int, soft: bool = False):
        self.n_outputs = n_labels
        self.soft = bool(soft)

    def parameters(self):
        return {"n_labels": self.n_outputs} | ({"soft": True} if self.soft else {})

    def check_target(self, y):
        if self.soft:
            _check_soft(y)

    def prepare(self, y, weight, groups=None):
        return np.ascontiguousarray(y.T, dtype=np.float64 if self.soft else np.uint8)

    def init_raw(self, y, weight, offset=None):
        one = BinaryLogLoss()
        offsets = [None] * len(y) if offset is None else offset[:, None]
        return np.concatenate([one.init_raw(labels, weight, o) for labels, o in zip(y, offsets, strict=True)])

    def damp(self, steps, output=0):
        return damped_log_odds(steps)

    def gradients(self, y, raw, weight, out, n_threads=1):
        for k, labels in enumerate(y):
            _loops.binary_log_loss(labels, raw[k : k + 1], weight, out.of_outputs(slice(k, k + 1)), n_threads)

    def total(self, y, raw, weight, n_threads=1):
        if not self.ours:
            return super().total(y, raw, weight, n_threads)
        each = zip(y, raw, strict=True)
        return sum(_loops.sum_of_losses("binary_log_loss", k, r[None], weight, [], n_threads) for k, r in each)

    def values(self, y, raw):
        total = np.zeros(raw.shape[1])
        for labels, of_label in zip(y, raw, strict=True):  # tables of all labels would be large
            total += softplus(of_label) - labels * of_label
        return total

    def inverse_link(self, raw):
        return _loops.sigmoid(raw)
