"""Losses of one number a row for regression, and for probabilities; see ``kernels/pointwise.h`` for their derivatives.

Targets and weights are one-dimensional, and ``raw`` has one row. d = raw - y throughout.
"""

from __future__ import annotations

from typing import ClassVar

import numpy as np

from boostgrad.losses import _loops
from boostgrad.losses._optima import optima_of_leaves
from boostgrad.losses._quantiles import quantiles_of_leaves
from boostgrad.losses.base import Loss, RowsByLeaf, best_constant, in_interval, refuse, register
from boostgrad.losses.pointwise import softplus

# exp(raw) stays finite, and the predictions do.
LARGEST_RAW = 709.0

# In losses exp stays so small that products with targets and sums over rows are finite, too.
LARGEST_SUMMAND = 500.0


def _exp(x: np.ndarray) -> np.ndarray:
    return _loops.exponential(np.minimum(x, LARGEST_SUMMAND))


def _all_rows(n_rows: int) -> RowsByLeaf:
    return RowsByLeaf(np.arange(n_rows, dtype=np.uint32), np.array([0, n_rows]))


class PointwiseLoss(Loss):
    """A loss whose derivatives are one of the loops of ``kernels/pointwise.h``.

    Attributes
    ----------
    loop : str
        Its name there.
    """

    loop: ClassVar[str]
    parameter: float = 0.0

    def gradients(self, y, raw, weight, out, n_threads=1):
        _loops.pointwise(self.loop, y, raw, weight, out, n_threads, self.parameter)


# ---- quantiles -------------------------------------------------------------------------------------------------------


class QuantileOfResiduals(PointwiseLoss):
    """A loss that is least at a weighted quantile: trees follow the sign of the residuals, and each leaf gets the exact
    quantile of those of its rows (Friedman 2001, algorithm 3)."""

    smooth = False
    constant_hessian: ClassVar[float | None] = 1.0
    level: float = 0.5

    def quantile_weights(self, y: np.ndarray, weight: np.ndarray | None) -> np.ndarray | None:
        """The weights with which the quantile is taken."""
        return weight

    def init_raw(self, y, weight, offset=None):
        raw = np.zeros(len(y)) if offset is None else offset[0]
        return quantiles_of_leaves(y, raw, self.quantile_weights(y, weight), _all_rows(len(y)), self.level, 1)

    def renew_leaves(self, y, raw, weight, output, leaves, n_threads=1):
        return quantiles_of_leaves(y, raw[output], self.quantile_weights(y, weight), leaves, self.level, n_threads)


@register
class AbsoluteError(QuantileOfResiduals):
    """\\|d\\|; raw predicts the median."""

    name = "absolute_error"
    loop = "absolute_error"
    metric = "neg_mean_absolute_error"

    def values(self, y, raw):
        return np.abs(raw[0] - y)


@register
class Quantile(QuantileOfResiduals):
    """The pinball loss max(q (y - raw), (q - 1) (y - raw)) of Koenker & Bassett (1978); raw predicts the q-quantile.

    Parameters
    ----------
    quantile : float, default=0.5
        q, in (0, 1).
    """

    name = "quantile"
    loop = "quantile"

    def __init__(self, quantile: float = 0.5):
        self.level = self.parameter = in_interval("Quantile", "quantile", quantile, 0, 1)

    def parameters(self):
        return {"quantile": self.level}

    def values(self, y, raw):
        d = y - raw[0]
        return np.maximum(self.level * d, (self.level - 1) * d)


@register
class RelativeError(QuantileOfResiduals):
    """\\|d\\| / max(\\|y\\|, least), the mean absolute percentage error where no target is nearer to 0 than ``least``.

    Parameters
    ----------
    least : float, default=1.0
        Targets nearer to 0 count as this far from it, or they alone would count.
    """

    name = "mape"
    loop = "relative_error"
    constant_hessian = None
    metric = "neg_mean_absolute_percentage_error"

    def __init__(self, least: float = 1.0):
        self.parameter = in_interval("RelativeError", "least", least, 0, np.inf)

    def parameters(self):
        return {"least": self.parameter}

    def gradients(self, y, raw, weight, out, n_threads=1):
        super().gradients(y, raw, weight, out, n_threads)
        out.settle_unit(0, weight)

    def quantile_weights(self, y, weight):
        return (1.0 if weight is None else weight) / np.maximum(np.abs(y), self.parameter)

    def values(self, y, raw):
        return np.abs(raw[0] - y) / np.maximum(np.abs(y), self.parameter)

    def spread(self, raw):
        return np.maximum(np.abs(raw[0]), self.parameter)


# ---- between the mean and the median ---------------------------------------------------------------------------------


class RobustLoss(PointwiseLoss):
    """A convex loss of d alone that grows like \\|d\\| far out, whose hessian is that of a parabola above it. By that
    parabola leaves would take a fraction of the step that their rows need where residuals are large beside the loss's
    scale, so each leaf gets its optimum (Friedman 2001, algorithm 1 with a step for each leaf)."""

    refined = True

    def refine_leaves(self, y, raw, weight, output, leaves, steps, penalties=(0.0, 0.0), n_threads=1):
        return optima_of_leaves(
            self.loop, y, raw[output], weight, leaves, steps, self.parameter, *penalties, n_threads=n_threads
        )


@register
class Huber(RobustLoss):
    """d^2 / 2 up to \\|d\\| = delta, delta (\\|d\\| - delta / 2) beyond (Huber 1964).

    Parameters
    ----------
    delta : float, default=1.0
        In units of the target.
    """

    name = "huber"
    loop = "huber"

    def __init__(self, delta: float = 1.0):
        self.parameter = in_interval("Huber", "delta", delta, 0, np.inf)

    def parameters(self):
        return {"delta": self.parameter}

    def values(self, y, raw):
        size = np.abs(raw[0] - y)
        near = np.minimum(size, self.parameter)
        return near * (size - 0.5 * near)


@register
class Fair(RobustLoss):
    """c \\|d\\| - c^2 log(1 + \\|d\\| / c) (Fair 1974).

    Parameters
    ----------
    c : float, default=1.0
        In units of the target.
    """

    name = "fair"
    loop = "fair"

    def __init__(self, c: float = 1.0):
        self.parameter = in_interval("Fair", "c", c, 0, np.inf)

    def parameters(self):
        return {"c": self.parameter}

    def values(self, y, raw):
        ratio = np.abs(raw[0] - y) / self.parameter
        return self.parameter**2 * (ratio - np.log1p(ratio))


@register
class LogCosh(RobustLoss):
    """log cosh d: d^2 / 2 near 0, \\|d\\| - log 2 far from it."""

    name = "log_cosh"
    loop = "log_cosh"

    def values(self, y, raw):
        size = np.abs(raw[0] - y)
        return size + np.log1p(np.expm1(-2 * size) / 2)


@register
class Expectile(PointwiseLoss):
    """\\|q - [d > 0]\\| d^2 (Newey & Powell 1987); raw predicts the q-expectile, which for q = 0.5 is the mean.

    Parameters
    ----------
    quantile : float, default=0.5
        q, in (0, 1).
    """

    name = "expectile"
    loop = "expectile"

    def __init__(self, quantile: float = 0.5):
        self.parameter = in_interval("Expectile", "quantile", quantile, 0, 1)

    def parameters(self):
        return {"quantile": self.parameter}

    def values(self, y, raw):
        d = raw[0] - y
        return np.where(d > 0, 1 - self.parameter, self.parameter) * d**2


@register
class SquaredLogError(Loss):
    """1/2 (log(1 + prediction) - log(1 + y))^2; raw is log(1 + prediction), so that it is convex. y is above -1."""

    name = "squared_log_error"
    link = "log1p"
    constant_hessian = 1.0
    metric = "neg_mean_squared_log_error"
    bounds = (-1.0, np.inf)

    def check_target(self, y):
        refuse(y <= -1, y, f"loss {self.name!r} needs a target that is above -1")

    def prepare(self, y, weight, groups=None):
        return np.log1p(y)

    def init_raw(self, y, weight, offset=None):
        return np.array([np.average(y if offset is None else y - offset[0], weights=weight)])

    def gradients(self, y, raw, weight, out, n_threads=1):
        _loops.squared_error(y, raw, weight, out, n_threads)

    def values(self, y, raw):
        return 0.5 * (raw[0] - y) ** 2

    def inverse_link(self, raw):
        return np.expm1(np.minimum(raw, LARGEST_RAW))

    def spread(self, raw):
        return _loops.exponential(raw[0])


# ---- logarithmic link ------------------------------------------------------------------------------------------------


class LogLinkLoss(PointwiseLoss):
    """A deviance of the Tweedie family, variance mean^power; raw is the logarithm of the mean.

    The best step of a leaf is log(x), with x the ratio of what was observed in it to what was predicted. Newton's step
    is near it where x is near 1, but x - 1 for Poisson and Tweedie and 1 - 1/x for gamma, far too long where x is large
    or near 0.
    Steps s longer than 1 become 1 + log(s), which is no more than 1 too long; shorter ones stay as they are, because
    Newton's alone keep the sum of the predictions that of the target.
    """

    link = "log"
    damped = True
    bounds = (0.0, np.inf)
    power: float

    def damp(self, steps):
        size = np.abs(steps)
        return np.where(size > 1, np.copysign(1 + np.log(np.maximum(size, 1)), steps), steps)

    def init_raw(self, y, weight, offset=None):
        p = self.power
        if offset is None:
            mean = np.average(y, weights=weight)
        else:
            w = 1.0 if weight is None else weight
            predicted, observed = (2 - p) * offset[0], (1 - p) * offset[0]
            shift = max(predicted.max(), observed.max())  # both sums by the same factor
            predicted, observed = np.sum(w * np.exp(predicted - shift)), np.sum(w * y * np.exp(observed - shift))
            if not (predicted > 0 and observed > 0):
                return best_constant(self, y, weight, offset)
            mean = observed / predicted
        return np.array([np.log(max(mean, np.exp(-LEAST_LOG_MEAN)))])

    def inverse_link(self, raw):
        return _loops.exponential(raw)

    def spread(self, raw):
        """The standard deviation that the variance mean^power gives."""
        return _loops.exponential(0.5 * self.power * raw[0])


# The mean of a target that is 0 everywhere is exp(-LEAST_LOG_MEAN).
LEAST_LOG_MEAN = 35.0


@register
class Poisson(LogLinkLoss):
    """exp(raw) - y raw, half the Poisson deviance but for what y alone decides. y is not negative, nor all of it 0."""

    name = "poisson"
    loop = "poisson"
    power = 1.0
    metric = "neg_mean_poisson_deviance"

    def check_target(self, y):
        refuse(y < 0, y, f"loss {self.name!r} needs a target that is not negative")

    def values(self, y, raw):
        return _exp(raw[0]) - y * raw[0]


@register
class Gamma(LogLinkLoss):
    """raw + y exp(-raw), half the gamma deviance but for what y alone decides. y is positive."""

    name = "gamma"
    loop = "gamma"
    power = 2.0
    metric = "neg_mean_gamma_deviance"

    def check_target(self, y):
        refuse(y <= 0, y, f"loss {self.name!r} needs a target that is positive")

    def values(self, y, raw):
        return raw[0] + y * _exp(-raw[0])


@register
class Tweedie(LogLinkLoss):
    """exp((2 - p) raw) / (2 - p) - y exp((1 - p) raw) / (1 - p), half the Tweedie deviance but for what y alone
    decides: a compound Poisson-gamma distribution, such as the yearly cost of insurance claims. y is not negative.

    The hessian is the expected one. By the true one a few rows without a claim would look twice as good a leaf, and far
    better for p near 2, and would be told so by steps of -1 / (2 - p): trees would fit the chance that has no claims.

    Parameters
    ----------
    power : float, default=1.5
        p, in (1, 2): towards 1 as Poisson, towards 2 as gamma.
    """

    name = "tweedie"
    loop = "tweedie"

    def __init__(self, power: float = 1.5):
        self.power = self.parameter = in_interval("Tweedie", "power", power, 1, 2)

    def parameters(self):
        return {"power": self.power}

    def check_target(self, y):
        refuse(y < 0, y, f"loss {self.name!r} needs a target that is not negative")

    def values(self, y, raw):
        p = self.power
        return _exp((2 - p) * raw[0]) / (2 - p) - y * _exp((1 - p) * raw[0]) / (1 - p)


# ---- probabilities ---------------------------------------------------------------------------------------------------


@register
class CrossEntropy(Loss):
    """log(1 + exp(raw)) - y raw for targets that are probabilities, in [0, 1]; the regressor predicts probabilities."""

    name = "cross_entropy"
    link = "logit"
    bounds = (0.0, 1.0)

    def check_target(self, y):
        refuse((y < 0) | (y > 1), y, f"loss {self.name!r} needs a target that is in [0, 1]")

    def init_raw(self, y, weight, offset=None):
        if offset is not None:
            return best_constant(self, y, weight, offset)
        p = np.clip(np.average(y, weights=weight), 1e-15, 1 - 1e-15)
        return np.array([np.log(p / (1 - p))])

    def gradients(self, y, raw, weight, out, n_threads=1):
        _loops.binary_log_loss(y, raw, weight, out, n_threads)

    def values(self, y, raw):
        return softplus(raw[0]) - y * raw[0]

    def inverse_link(self, raw):
        return _loops.sigmoid(raw)


@register
class Focal(PointwiseLoss):
    """-(1 - p)^c log p with p the probability of the true of two classes (Lin et al. 2017): confident right answers
    count less than in the log loss, which is c = 0. Its minimiser is not the probability where c > 0.

    Parameters
    ----------
    gamma : float, default=2.0
        c.
    """

    name = "focal"
    for_classes = True
    loop = "focal"
    link = "logit"

    def __init__(self, gamma: float = 2.0):
        self.parameter = (
            0.0 if gamma == 0 and not isinstance(gamma, bool) else in_interval("Focal", "gamma", gamma, 0, 50)
        )

    def parameters(self):
        return {"gamma": self.parameter}

    def values(self, y, raw):
        z = (2 * y - 1) * raw[0]
        log_p, log_q = -np.logaddexp(0.0, -z), -np.logaddexp(0.0, z)
        return -_loops.exponential(self.parameter * log_q) * log_p

    def inverse_link(self, raw):
        return np.stack([_loops.sigmoid(-raw[0]), _loops.sigmoid(raw[0])])

    def inverse_link_row(self, raw):
        return _loops.sigmoids_of_row(raw)
