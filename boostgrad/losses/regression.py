"""Losses of one number a row for regression, and for probabilities; see ``kernels/pointwise.h`` for their derivatives.

Targets and weights are one-dimensional, and ``raw`` has one row. d = raw - y throughout.
"""

from __future__ import annotations

from typing import ClassVar

import numpy as np

from boostgrad.losses import _loops
from boostgrad.losses._optima import optima_of_leaves
from boostgrad.losses._quantiles import quantiles_of_leaves
from boostgrad.losses.base import Loss, in_interval, refuse, register
from boostgrad.losses.constant import best_constant
from boostgrad.losses.pairs import RowsByLeaf
from boostgrad.losses.pointwise import LogisticLoss

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

    def _of_sum(self):
        return [self.parameter]

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
    """The absolute error; raw predicts the median.

    Notes
    -----
    :loss: ``|d|`` with ``d = raw - y``
    :gradient: ``sign(d)``
    :hessian: ``1``, a constant in place of the second derivative, which is 0 almost everywhere: it decides about
        splits, and leaves get the median of their residuals
    :link: identity
    :initial score: the median of y
    :metric: neg_mean_absolute_error

    References
    ----------
    Friedman (2001), "Greedy function approximation: a gradient boosting machine", algorithm 3.
    """

    name = "absolute_error"
    loop = summed = "absolute_error"
    metric = "neg_mean_absolute_error"

    def values(self, y, raw):
        return np.abs(raw[0] - y)


@register
class Quantile(QuantileOfResiduals):
    """The pinball loss; raw predicts the q-quantile.

    Parameters
    ----------
    quantile : float, default=0.5
        q, in (0, 1).

    Notes
    -----
    :loss: ``max(q (y - raw), (q - 1) (y - raw))``
    :gradient: ``1 - q`` where ``raw > y``, ``-q`` where ``raw < y``, and 0 between
    :hessian: ``1``, a constant in place of the second derivative, which is 0 almost everywhere: it decides about
        splits, and leaves get the q-quantile of their residuals
    :link: identity
    :initial score: the q-quantile of y
    :metric: the loss itself; scorers of scikit-learn do not know q

    References
    ----------
    Koenker and Bassett (1978), "Regression quantiles", section 3. Koenker (2005), "Quantile regression", section 1.3.
    """

    name = "quantile"
    loop = summed = "quantile"

    def __init__(self, quantile: float = 0.5):
        self.level = self.parameter = in_interval("Quantile", "quantile", quantile, 0, 1)

    def parameters(self):
        return {"quantile": self.level}

    def values(self, y, raw):
        d = y - raw[0]
        return np.maximum(self.level * d, (self.level - 1) * d)


@register
class RelativeError(QuantileOfResiduals):
    """The mean absolute percentage error where no target is nearer to 0 than ``least``: an absolute error with weights.

    Parameters
    ----------
    least : float, default=1.0
        Targets nearer to 0 count as this far from it, or they alone would count.

    Notes
    -----
    :loss: ``|d| / max(|y|, least)`` with ``d = raw - y``
    :gradient: ``sign(d) / max(|y|, least)``
    :hessian: ``1 / max(|y|, least)``, the weight, in place of the second derivative, which is 0 almost everywhere: it
        decides about splits, and leaves get the weighted median of their residuals
    :link: identity
    :initial score: the median of y by these weights
    :metric: neg_mean_absolute_percentage_error, which knows no ``least``

    References
    ----------
    de Myttenaere, Golden, Le Grand and Rossi (2016), "Mean absolute percentage error for regression models", which
    shows that it is the absolute error with such weights.
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
    scale, so each leaf gets its optimum (Friedman 2001, algorithm 1 with a step for each leaf). Far out the hessian is
    scale / \\|d\\|, as small as the unit of the target makes it, so pairs settle theirs."""

    refined = True

    def gradients(self, y, raw, weight, out, n_threads=1):
        super().gradients(y, raw, weight, out, n_threads)
        out.settle_unit(0, weight, typical=True, n_threads=n_threads)

    def refine_leaves(self, y, raw, weight, output, leaves, steps, penalties=(0.0, 0.0), n_threads=1):
        return optima_of_leaves(
            self.loop, y, raw[output], weight, leaves, steps, self.parameter, *penalties, n_threads=n_threads
        )


@register
class Huber(RobustLoss):
    """Squared near 0, absolute far out; raw predicts a mean on which outliers have a bounded influence.

    Parameters
    ----------
    delta : float, default=1.0
        In units of the target.

    Notes
    -----
    :loss: ``d^2 / 2`` up to ``|d| = delta``, ``delta (|d| - delta / 2)`` beyond, with ``d = raw - y``
    :gradient: ``d`` up to ``|d| = delta``, ``delta sign(d)`` beyond
    :hessian: ``delta / max(|d|, delta)``, that of the parabola that touches the loss at raw and lies above it: the
        second derivative is 0 beyond delta. Leaves get their optimum
    :link: identity
    :initial score: the constant of the least loss, found from the gradients
    :metric: the loss itself; scikit-learn has no scorer of it

    References
    ----------
    Huber (1964), "Robust estimation of a location parameter". The parabola: Holland and Welsch (1977), "Robust
    regression using iteratively reweighted least-squares"; Hunter and Lange (2004), "A tutorial on MM algorithms".
    """

    name = "huber"
    loop = summed = "huber"

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
    """Squared near 0, absolute far out, and smooth between; raw predicts a mean on which outliers have a bounded
    influence.

    Parameters
    ----------
    c : float, default=1.0
        In units of the target.

    Notes
    -----
    :loss: ``c |d| - c^2 log(1 + |d| / c)`` with ``d = raw - y``
    :gradient: ``d / (1 + |d| / c)``
    :hessian: ``1 / (1 + |d| / c)``, that of the parabola that touches the loss at raw and lies above it: the second
        derivative, its square, is next to 0 far out. Leaves get their optimum
    :link: identity
    :initial score: the constant of the least loss, found from the gradients
    :metric: the loss itself; scikit-learn has no scorer of it

    References
    ----------
    Fair (1974), "On the robust estimation of econometric models". The parabola: Holland and Welsch (1977), "Robust
    regression using iteratively reweighted least-squares"; Hunter and Lange (2004), "A tutorial on MM algorithms".
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
    """Log cosh of the error: ``d^2 / 2`` near 0, ``|d| - log 2`` far from it.

    Notes
    -----
    :loss: ``log cosh d`` with ``d = raw - y``
    :gradient: ``tanh d``
    :hessian: ``tanh(d) / d``, that of the parabola that touches the loss at raw and lies above it: the second
        derivative, ``1 - tanh(d)^2``, is next to 0 far out. Leaves get their optimum
    :link: identity
    :initial score: the constant of the least loss, found from the gradients
    :metric: the loss itself; scikit-learn has no scorer of it

    References
    ----------
    Holland and Welsch (1977), "Robust regression using iteratively reweighted least-squares", where its weights are
    called logistic. Saleh and Saleh (2022), "Statistical properties of the log-cosh loss function used in machine
    learning".
    """

    name = "log_cosh"
    loop = "log_cosh"

    def values(self, y, raw):
        size = np.abs(raw[0] - y)
        return size + np.log1p(np.expm1(-2 * size) / 2)


@register
class Expectile(PointwiseLoss):
    """The squared error with a weight of its own on either side; raw predicts the q-expectile, which for q = 0.5 is the
    mean.

    Parameters
    ----------
    quantile : float, default=0.5
        q, in (0, 1).

    Notes
    -----
    :loss: ``|q - [d > 0]| d^2`` with ``d = raw - y``
    :gradient: ``2 |q - [d > 0]| d``
    :hessian: ``2 |q - [d > 0]|``, the second derivative but for the corner
    :link: identity
    :initial score: the q-expectile of y, found from the gradients
    :metric: the loss itself; scorers of scikit-learn do not know q

    References
    ----------
    Newey and Powell (1987), "Asymmetric least squares estimation and testing", section 2.
    """

    name = "expectile"
    loop = summed = "expectile"

    def __init__(self, quantile: float = 0.5):
        self.parameter = in_interval("Expectile", "quantile", quantile, 0, 1)

    def parameters(self):
        return {"quantile": self.parameter}

    def values(self, y, raw):
        d = raw[0] - y
        return np.where(d > 0, 1 - self.parameter, self.parameter) * d**2


@register
class SquaredLogError(Loss):
    """Half the squared error of log(1 + y), so that it is convex in raw, which is log(1 + prediction). y is above -1.

    Notes
    -----
    :loss: ``1/2 (raw - log(1 + y))^2``
    :gradient: ``raw - log(1 + y)``
    :hessian: ``1``
    :link: log1p
    :initial score: the mean of log(1 + y)
    :metric: neg_mean_squared_log_error

    References
    ----------
    Least squares after the transformation of Box and Cox (1964), "An analysis of transformations", eq. 2, with exponent
    0 and shift 1.
    """

    name = "squared_log_error"
    summed = "squared_error"
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


def damped_logarithms(steps: np.ndarray) -> np.ndarray:
    """Newton's steps s of a logarithm; longer than 1 they become 1 + log(s), which is no more than 1 too long for the
    mean of a Poisson distribution. Shorter ones stay as they are, because Newton's alone keep the sum of the
    predictions that of the target."""
    size = np.abs(steps)
    return np.where(size > 1, np.copysign(1 + np.log(np.maximum(size, 1)), steps), steps)


class LogLinkLoss(PointwiseLoss):
    """A deviance of the Tweedie family, variance mean^power; raw is the logarithm of the mean.

    The best step of a leaf is log(x), with x the ratio of what was observed in it to what was predicted. Newton's step
    is near it where x is near 1, but x - 1 for Poisson and Tweedie and 1 - 1/x for gamma, far too long where x is large
    or near 0.
    Long steps are damped, see :func:`damped_logarithms`.
    """

    link = "log"
    damped = True
    bounds = (0.0, np.inf)
    power: float

    def damp(self, steps, output=0):
        return damped_logarithms(steps)

    def init_raw(self, y, weight, offset=None):
        if offset is None:
            return np.log([max(np.average(y, weights=weight), np.exp(-LEAST_LOG_MEAN))])
        w = 1.0 if weight is None else weight
        observed = _log_of_sum(w * y, (1 - self.power) * offset[0])
        if observed == -np.inf:
            return best_constant(self, y, weight, offset)
        return np.array([observed - _log_of_sum(w, (2 - self.power) * offset[0])])

    def inverse_link(self, raw):
        return _loops.exponential(raw)

    def spread(self, raw):
        """The standard deviation that the variance mean^power gives."""
        return _loops.exponential(0.5 * self.power * raw[0])


def _log_of_sum(factor: np.ndarray | float, logarithm: np.ndarray) -> float:
    """log(sum(factor * exp(logarithm))); factors are not negative."""
    top = np.max(logarithm, where=np.broadcast_to(factor, logarithm.shape) > 0, initial=-np.inf)
    return -np.inf if top == -np.inf else float(top + np.log(np.sum(factor * np.exp(np.minimum(logarithm - top, 0.0)))))


# The mean of a target that is 0 everywhere is exp(-LEAST_LOG_MEAN).
LEAST_LOG_MEAN = 35.0


@register
class Poisson(LogLinkLoss):
    """Half the Poisson deviance but for what y alone decides. y is not negative, nor all of it 0.

    Notes
    -----
    :loss: ``exp(raw) - y raw``
    :gradient: ``exp(raw) - y``
    :hessian: ``exp(raw)``. Long steps are damped, see :class:`LogLinkLoss`
    :link: log
    :initial score: the logarithm of the mean of y
    :metric: neg_mean_poisson_deviance

    References
    ----------
    McCullagh and Nelder (1989), "Generalized linear models", section 2.3.
    """

    name = "poisson"
    loop = summed = "poisson"
    power = 1.0
    metric = "neg_mean_poisson_deviance"

    def check_target(self, y):
        refuse(y < 0, y, f"loss {self.name!r} needs a target that is not negative")

    def values(self, y, raw):
        return _exp(raw[0]) - y * raw[0]


@register
class Gamma(LogLinkLoss):
    """Half the gamma deviance but for what y alone decides. y is positive.

    Notes
    -----
    :loss: ``raw + y exp(-raw)``
    :gradient: ``1 - y exp(-raw)``
    :hessian: ``y exp(-raw)``. Long steps are damped, see :class:`LogLinkLoss`
    :link: log
    :initial score: the logarithm of the mean of y
    :metric: neg_mean_gamma_deviance

    References
    ----------
    McCullagh and Nelder (1989), "Generalized linear models", section 2.3 and chapter 8.
    """

    name = "gamma"
    loop = summed = "gamma"
    power = 2.0
    metric = "neg_mean_gamma_deviance"

    def check_target(self, y):
        refuse(y <= 0, y, f"loss {self.name!r} needs a target that is positive")

    def values(self, y, raw):
        return raw[0] + y * _exp(-raw[0])


@register
class Tweedie(LogLinkLoss):
    """Half the Tweedie deviance but for what y alone decides: a compound Poisson-gamma distribution, such as the yearly
    cost of insurance claims. y is not negative.

    Parameters
    ----------
    power : float, default=1.5
        p, in (1, 2): towards 1 as Poisson, towards 2 as gamma.

    Notes
    -----
    :loss: ``exp((2 - p) raw) / (2 - p) - y exp((1 - p) raw) / (1 - p)``
    :gradient: ``exp((2 - p) raw) - y exp((1 - p) raw)``
    :hessian: ``exp((2 - p) raw)``, the expected one (Fisher). By the second derivative a few rows without a claim would
        look twice as good a leaf, and far better for p near 2, and would be told so by steps of ``-1 / (2 - p)``: trees
        would fit the chance that has no claims. Long steps are damped, see :class:`LogLinkLoss`
    :link: log
    :initial score: the logarithm of the mean of y
    :metric: the loss itself; scorers of scikit-learn do not know p

    References
    ----------
    Yang, Qian and Zou (2018), "Insurance premium prediction via gradient tree-boosted Tweedie compound Poisson models",
    section 3. Jørgensen (1997), "The theory of dispersion models", chapter 4.
    """

    name = "tweedie"
    loop = summed = "tweedie"

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
class CrossEntropy(LogisticLoss):
    """Log loss for targets that are probabilities, in [0, 1]; the regressor predicts probabilities.

    Notes
    -----
    :loss: ``log(1 + exp(raw)) - y raw``
    :gradient: ``p - y`` with ``p = 1 / (1 + exp(-raw))``
    :hessian: ``p (1 - p)``
    :link: logit
    :initial score: the log odds of the mean of y
    :metric: the loss itself; scikit-learn's log loss takes no targets between 0 and 1

    References
    ----------
    Papke and Wooldridge (1996), "Econometric methods for fractional response variables with an application to 401(k)
    plan participation rates", section 2.
    """

    name = "cross_entropy"
    bounds = (0.0, 1.0)

    def check_target(self, y):
        refuse((y < 0) | (y > 1), y, f"loss {self.name!r} needs a target that is in [0, 1]")

    def inverse_link(self, raw):
        return _loops.sigmoid(raw)


@register
class Focal(PointwiseLoss):
    """A log loss in which confident right answers count less; c = 0 is the log loss. Its minimiser is not the
    probability where c > 0. y is 0 or 1.

    Parameters
    ----------
    gamma : float, default=2.0
        c.

    Notes
    -----
    :loss: ``-q^c log p`` with p the probability of the true one of two classes, ``p = 1 / (1 + exp(-s raw))``,
        ``s = 2 y - 1`` and ``q = 1 - p``
    :gradient: ``s q^c (c p log p - q)``
    :hessian: ``p q^c ((2 c + 1) q - c^2 p log p)``, a bound: the second derivative has one more term in the bracket,
        ``c q log p``, which is negative and makes all of it so where the answer is wrong with confidence
    :link: logit
    :initial score: the constant of the least loss, found from the gradients
    :metric: average_precision, as in the paper: predictions order rows, and are no probabilities

    References
    ----------
    Lin, Goyal, Girshick, He and Dollár (2017), "Focal loss for dense object detection", eq. 4.
    """

    name = "focal"
    for_classes = True
    loop = "focal"
    link = "logit"
    metric = "average_precision"

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
