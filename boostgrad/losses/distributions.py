"""Losses that predict a distribution: raw predictions are its parameters, the loss is its negative log-likelihood.

Trees follow natural gradients (Duan et al. 2020, "NGBoost"): the hessian that a loss reports is the Fisher information,
which is diagonal for all parameters here, so that a row's own step is one of Fisher scoring. Rows that say more weigh
more in a leaf: by their information, or, where that is 1 / s^2 of a predicted s, by 1 / s.

Logarithms are kept from jumping. Long steps of leaves are damped in the mean, where anything that went by row would
weigh targets above the mean and below it differently, and so lower the sum of the predictions. For other parameters
the information that a row reports is never less than its gradient, so that no row alone asks for a step longer than 1.

The methods take ``y`` as :meth:`Loss.prepare` returned it, and ``raw`` of shape (n_outputs, n_rows).
"""

from __future__ import annotations

from functools import lru_cache
from typing import Any, ClassVar

import numpy as np

from boostgrad.losses import _loops
from boostgrad.losses.base import Loss, missing, refuse, register, weighted_sum
from boostgrad.losses.constant import best_constant
from boostgrad.losses.links import LINKS, RANGES
from boostgrad.losses.pairs import BLOCK
from boostgrad.losses.regression import damped_logarithms

# Raw predictions that are logarithms count as no larger, and no smaller, where the loss is computed.
LARGEST_LOG = 300.0


class DistributionLoss(Loss):
    """Negative log-likelihood of a distribution with one or two parameters.

    Attributes
    ----------
    log_outputs : tuple of bool
        Which raw predictions are logarithms.
    support : str
        What targets must be, in words; "" where any number will do.
    scale_output : int or None
        The raw prediction whose exponential the mean is a multiple of, so that ``exposure`` is a factor of the mean
        and leaves the other parameter as it is. None: there is none.
    """

    log_outputs: ClassVar[tuple[bool, ...]]
    support: ClassVar[str] = ""
    scale_output: ClassVar[int | None] = None

    @property
    def joint_outputs(self):
        return self.n_outputs

    @property
    def damped(self):
        return self.log_outputs[0]

    @property
    def prediction_range(self):
        return RANGES["log"] if self.log_outputs[0] else super().prediction_range

    @property
    def exposed(self):
        if self.scale_output is None:
            return super().exposed
        return np.where(np.arange(self.n_outputs) == self.scale_output, 1.0, 0.0)

    def in_support(self, y: np.ndarray) -> np.ndarray:
        """Which targets the distribution can take."""
        return np.ones(len(y), dtype=bool)

    def check_target(self, y):
        refuse(~self.in_support(y), y, f"loss {self.name!r} needs a target that is {self.support}")

    def moments(self, y: np.ndarray, weight: np.ndarray | None) -> np.ndarray:
        """Raw predictions that fit all rows about best, shape (n_outputs,)."""
        raise missing(self, "moments")

    def init_raw(self, y, weight, offset=None):
        if offset is not None:
            return best_constant(self, y, weight, offset)
        return self.moments(y, weight)

    def raw_of(self, prediction):
        """The prediction is the mean, which the first raw prediction is about; 0 for the others."""
        raw = np.zeros((self.n_outputs, prediction.shape[1]))
        raw[0] = LINKS["log" if self.log_outputs[0] else "identity"](prediction[0])
        return raw

    def derivatives(self, y: np.ndarray, raw: np.ndarray) -> tuple[list[Any], list[Any]]:
        """For each raw prediction, the derivative of the loss and the diagonal of the Fisher information, the rest of
        which is 0: arrays of shape (n_rows,), or numbers. Both at once, as they share what is dear."""
        raise missing(self, "derivatives")

    def gradients(self, y, raw, weight, out, n_threads=1):
        for begin in range(0, len(y), BLOCK):
            rows = slice(begin, begin + BLOCK)
            pairs = out.of_rows(rows)
            slopes, informations = self.derivatives(y[rows], raw[:, rows])
            for k, (slope, hessian) in enumerate(zip(slopes, informations, strict=True)):
                if k > 0:  # the mean is the first one
                    hessian = np.maximum(hessian, np.abs(slope))
                if weight is not None:
                    slope, hessian = weight[rows] * slope, weight[rows] * hessian
                pairs.fill(k, slope, hessian)
        for k in np.flatnonzero(~np.array(self.log_outputs)):  # whose information has the unit of y
            out.settle_unit(k, weight, by_row=True)

    def damp(self, steps, output=0):
        return damped_logarithms(steps) if output == 0 else steps

    def distribution(self, raw: np.ndarray) -> Any:
        """Frozen distribution of scipy.stats, whose parameters are arrays of shape (n_rows,)."""
        raise missing(self, "distribution")

    def tails(self, y: np.ndarray, raw: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """P(Y <= y) and P(Y >= y). Small fits would notice the millisecond that a frozen distribution takes, so this is
        overridden where scipy.special has them."""
        distribution = self.distribution(raw)
        return distribution.cdf(y), distribution.sf(y - 1.0 if hasattr(distribution, "pmf") else y)


def _exp(x: np.ndarray) -> np.ndarray:
    return _loops.exponential(np.clip(x, -LARGEST_LOG, LARGEST_LOG))


def _spread(y: np.ndarray, weight: np.ndarray | None) -> tuple[float, float]:
    """Mean, and logarithm of the standard deviation, which is kept above 0."""
    mean = float(np.average(y, weights=weight))
    deviation = float(np.sqrt(np.average((y - mean) ** 2, weights=weight)))
    return mean, float(np.log(max(deviation, 1e-15 * abs(mean), 1e-100)))


@register
class NormalNLL(DistributionLoss):
    """Normal distribution; raw is its mean m and the logarithm of its standard deviation, s = exp(raw_2).

    Notes
    -----
    :loss: ``log(2 pi) / 2 + log s + (y - m)^2 / (2 s^2)``
    :gradient: ``(m - y) / s^2`` and ``1 - (y - m)^2 / s^2``
    :hessian: ``1 / s^2`` and ``2``, the expected one (Fisher), the second never below the gradient's size
    :link: identity for the mean, log for the standard deviation
    :initial score: mean of y and logarithm of its standard deviation
    :metric: the loss itself; scorers of scikit-learn judge no distributions

    References
    ----------
    Johnson, Kotz and Balakrishnan (1994), "Continuous univariate distributions", volume 1, chapter 13.
    """

    name = summed = "normal_nll"
    log_outputs = (False, True)
    n_outputs = 2

    def moments(self, y, weight):
        return np.array(_spread(y, weight))

    def gradients(self, y, raw, weight, out, n_threads=1):
        _loops.normal_nll(y, raw, weight, out, n_threads)
        out.settle_unit(0, weight, by_row=True)

    def values(self, y, raw):
        d = raw[0] - y
        return 0.5 * np.log(2 * np.pi) + raw[1] + 0.5 * _exp(-2.0 * raw[1]) * d * d

    def inverse_link(self, raw):
        return raw[:1]

    def distribution(self, raw):
        from scipy.stats import norm

        return norm(loc=raw[0], scale=_exp(raw[1]))

    def tails(self, y, raw):
        from scipy.special import ndtr

        z = (y - raw[0]) * _exp(-raw[1])
        return ndtr(z), ndtr(-z)


@register
class LogNormalNLL(NormalNLL):
    """Log-normal distribution; raw is the mean m and the logarithm of the standard deviation, s = exp(raw_2), of log y.
    y is positive.

    Notes
    -----
    :loss: ``log(2 pi) / 2 + log s + (log y - m)^2 / (2 s^2) + log y``
    :gradient: ``(m - log y) / s^2`` and ``1 - (log y - m)^2 / s^2``
    :hessian: ``1 / s^2`` and ``2``, the expected one (Fisher), the second never below the gradient's size
    :link: identity for the mean of log y, log for its standard deviation; the prediction is ``exp(m + s^2 / 2)``
    :initial score: mean of log y and logarithm of its standard deviation
    :metric: the loss itself; scorers of scikit-learn judge no distributions

    References
    ----------
    Johnson, Kotz and Balakrishnan (1994), "Continuous univariate distributions", volume 1, chapter 14.
    """

    name = "lognormal_nll"
    summed = ""
    support = "positive"
    scale_output = 0

    def in_support(self, y):
        return y > 0

    def prepare(self, y, weight, groups=None):
        return np.log(y)

    def values(self, y, raw):
        return super().values(y, raw) + y  # y is its logarithm

    def total(self, y, raw, weight, n_threads=1):
        if not self.ours:
            return super().total(y, raw, weight, n_threads)
        normal = _loops.sum_of_losses("normal_nll", y, raw, weight, [], n_threads)
        return normal + weighted_sum(y, weight)

    @property
    def prediction_range(self):
        return RANGES["log"]

    def raw_of(self, prediction):
        """The prediction as the median. Where it is the mean in truth, the constant that is found on top of it is minus
        half the variance of log y, so that boosting starts from a distribution with that mean."""
        return super().raw_of(LINKS["log"](prediction))

    def inverse_link(self, raw):
        return _exp(raw[:1] + 0.5 * _exp(2.0 * raw[1:]))

    def distribution(self, raw):
        from scipy.stats import lognorm

        return lognorm(s=_exp(raw[1]), scale=_exp(raw[0]))

    def tails(self, y, raw):
        return super().tails(np.log(y), raw)


@register
class GammaNLL(DistributionLoss):
    """Gamma distribution; raw is the logarithms of its mean m and its shape k. y is positive.

    The density is y^(k-1) exp(-k y / m) (k / m)^k / Gamma(k).

    Notes
    -----
    :loss: ``log Gamma(k) - k log(k / m) - (k - 1) log y + k y / m``
    :gradient: ``k (1 - y / m)`` and ``k (psi(k) - log k - 1 + y / m - log(y / m))`` with psi the digamma function
    :hessian: ``k`` and ``k^2 psi'(k) - k``, the expected one (Fisher), the second never below the gradient's size. Long
        steps of the mean are damped
    :link: log
    :initial score: logarithms of the mean of y and of the shape that fits best, but for 1.5 %
    :metric: the loss itself; scorers of scikit-learn judge no distributions

    The shape, that of the initial score, too, counts as at least exp(-15) and at most exp(15), so that a standard
    deviation is no less than 0.055 % of its mean.

    References
    ----------
    Johnson, Kotz and Balakrishnan (1994), "Continuous univariate distributions", volume 1, chapter 17. The start: Minka
    (2002), "Estimating a gamma distribution".
    """

    name = summed = "gamma_nll"
    log_outputs = (True, True)
    n_outputs = 2
    support = "positive"
    scale_output = 0

    def in_support(self, y):
        return y > 0

    def moments(self, y, weight):
        mean = np.average(y, weights=weight)
        s = max(np.log(mean) - np.average(np.log(y), weights=weight), 1e-10)
        return np.log([mean, (3 - s + np.sqrt((s - 3) ** 2 + 24 * s)) / (12 * s)])  # Minka 2002

    def gradients(self, y, raw, weight, out, n_threads=1):
        _loops.gamma_nll(y, raw, weight, out, n_threads)

    def values(self, y, raw):
        from scipy.special import gammaln

        k, log_y = _shape(raw[1]), np.log(y)
        return gammaln(k) - k * (np.log(k) - raw[0]) - (k - 1.0) * log_y + k * y * _exp(-raw[0])

    def inverse_link(self, raw):
        return _exp(raw[:1])

    def distribution(self, raw):
        from scipy.stats import gamma

        k = _shape(raw[1])
        return gamma(a=k, scale=_exp(raw[0]) / k)

    def tails(self, y, raw):
        from scipy.special import gammainc, gammaincc

        k = _shape(raw[1])
        x = k * y * _exp(-raw[0])
        return gammainc(k, x), gammaincc(k, x)


def _shape(raw: np.ndarray) -> np.ndarray:
    """A shape from its logarithm, within what digamma and log-gamma can tell apart."""
    return _loops.exponential(np.clip(raw, -15.0, 15.0))


def _is_count(y: np.ndarray) -> np.ndarray:
    return (y >= 0) & (y == np.floor(y))


@lru_cache(maxsize=1)
def _log_factorials() -> np.ndarray:
    from scipy.special import gammaln

    return gammaln(np.arange(1.0, 1025.0))


def _log_factorial(y: np.ndarray) -> np.ndarray:
    """Of counts; read from a table where none is large, in a tenth of the time."""
    from scipy.special import gammaln

    known = _log_factorials()
    return known[y.astype(np.intp)] if np.max(y, initial=0.0) < len(known) else gammaln(y + 1.0)


@register
class PoissonNLL(DistributionLoss):
    """Poisson distribution; raw is the logarithm of its mean m. y is a count.

    Notes
    -----
    :loss: ``m - y log m + log y!``
    :gradient: ``m - y``
    :hessian: ``m``, the second derivative and the expected one (Fisher). Long steps are damped
    :link: log
    :initial score: the logarithm of the mean of y
    :metric: neg_mean_poisson_deviance, twice the loss but for what y alone decides

    References
    ----------
    Johnson, Kemp and Kotz (2005), "Univariate discrete distributions", chapter 4.
    """

    name = "poisson_nll"
    metric = "neg_mean_poisson_deviance"
    log_outputs = (True,)
    support = "an integer >= 0"
    scale_output = 0

    def in_support(self, y):
        return _is_count(y)

    def moments(self, y, weight):
        return np.array([np.log(max(np.average(y, weights=weight), 1e-15))])

    def derivatives(self, y, raw):
        mean = _exp(raw[0])
        return [mean - y], [mean]

    def values(self, y, raw):
        return _exp(raw[0]) - y * raw[0] + _log_factorial(y)

    def inverse_link(self, raw):
        return _exp(raw)

    def distribution(self, raw):
        from scipy.stats import poisson

        return poisson(mu=_exp(raw[0]))

    def tails(self, y, raw):
        from scipy.special import gammainc, gammaincc

        return gammaincc(y + 1.0, _exp(raw[0])), gammainc(y, _exp(raw[0]))


@register
class NegativeBinomialNLL(DistributionLoss):
    """Negative binomial distribution; raw is the logarithms of its mean m and its size r. y is a count.

    The variance is m + m^2 / r.

    Notes
    -----
    :loss: ``log y! + log Gamma(r) - log Gamma(y + r) + r log(1 + m / r) - y log(m / (r + m))``
    :gradient: ``r (m - y) / (r + m)`` and ``-r (psi(y + r) - psi(r) - log(1 + m / r) + (m - y) / (r + m))`` with psi
        the digamma function
    :hessian: ``m r / (r + m)`` and ``r^2 sum_j P(Y > j) / (r + j)^2 - r m / (r + m)``, the expected one (Fisher), the
        second never below the gradient's size; the sum is read from a table. Long steps of the mean are damped
    :link: log
    :initial score: logarithms of the mean of y and of the size that gives its variance
    :metric: the loss itself; scorers of scikit-learn judge no distributions

    References
    ----------
    Johnson, Kemp and Kotz (2005), "Univariate discrete distributions", chapter 5. Lawless (1987), "Negative binomial
    and mixed Poisson regression".
    """

    name = "negative_binomial_nll"
    log_outputs = (True, True)
    n_outputs = 2
    support = "an integer >= 0"
    scale_output = 0

    def in_support(self, y):
        return _is_count(y)

    def moments(self, y, weight):
        mean = max(float(np.average(y, weights=weight)), 1e-15)
        excess = float(np.average((y - mean) ** 2, weights=weight)) - mean
        size = mean * mean / excess if excess > 0 else 1e3
        return np.log([mean, np.clip(size, 1e-3, 1e3)])

    def derivatives(self, y, raw):
        from scipy.special import psi

        m, r = _exp(raw[0]), _shape(raw[1])
        excess, share = (m - y) / (r + m), m * r / (r + m)
        by_size = -r * (psi(y + r) - psi(r) - np.log1p(m / r) + excess)
        return [r * excess, by_size], [share, _size_information(raw[0], raw[1])]

    def values(self, y, raw):
        from scipy.special import gammaln

        m, r = _exp(raw[0]), _shape(raw[1])
        constant = _log_factorial(y) + gammaln(r) - gammaln(y + r)
        return constant + r * np.log1p(m / r) - y * (raw[0] - np.log(r + m))

    def inverse_link(self, raw):
        return _exp(raw[:1])

    def distribution(self, raw):
        from scipy.stats import nbinom

        m, r = _exp(raw[0]), _shape(raw[1])
        return nbinom(n=r, p=r / (r + m))

    def tails(self, y, raw):
        from scipy.special import betainc

        m, r = _exp(raw[0]), _shape(raw[1])
        at_least = betainc(np.maximum(y, 1.0), r, m / (r + m))
        return betainc(r, y + 1.0, r / (r + m)), np.where(y > 0, at_least, 1.0)


# The table of the information: logarithms of mean and size, from and to.
_TABLE = (-7.0, 7.0, 57)


@lru_cache(maxsize=1)
def _information_table() -> np.ndarray:
    """Logarithm of the Fisher information of log r, by log m and log r.

    r^2 (sum_j P(Y > j) / (r + j)^2 - m / (r (r + m))), which has no closed form.
    """
    from scipy.special import gammaln

    grid = np.linspace(*_TABLE)
    j = np.arange(12000.0)
    table = np.empty((len(grid), len(grid)))
    for b, r in enumerate(np.exp(grid)):
        fixed = gammaln(j + r) - gammaln(j + 1.0) - gammaln(r)
        for a, m in enumerate(np.exp(grid)):
            pmf = np.exp(fixed - r * np.log1p(m / r) + j * (np.log(m) - np.log(m + r)))
            beyond = np.maximum(1.0 - np.cumsum(pmf), 0.0)
            information = r * r * np.sum(beyond / (r + j) ** 2) - r * m / (r + m)
            least = 0.5 * (m / (r + m)) ** 2 * 1e-3
            table[a, b] = np.log(max(information, least))
    return table


def _size_information(log_mean: np.ndarray, log_size: np.ndarray) -> np.ndarray:
    """From the table, bilinear in the logarithms; what is outside of it is as at its edge."""
    table = _information_table()
    low, high, n = _TABLE
    at = [(np.clip(x, low, high) - low) * ((n - 1) / (high - low)) for x in (log_mean, log_size)]
    cell = [np.minimum(x.astype(np.intp), n - 2) for x in at]
    u, v = at[0] - cell[0], at[1] - cell[1]
    a, b = cell
    below = (1 - v) * table[a, b] + v * table[a, b + 1]
    above = (1 - v) * table[a + 1, b] + v * table[a + 1, b + 1]
    return _loops.exponential((1 - u) * below + u * above)
