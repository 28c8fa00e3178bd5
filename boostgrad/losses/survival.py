"""Losses of times of which some are only known to lie in an interval.

A target is an array of shape (n_rows, 2): the bounds of each time, 0 <= lower <= upper. An observed time has both
bounds the same, one that was censored on the right has the upper bound infinity.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from boostgrad.losses import _survival_loops
from boostgrad.losses.base import Loss, in_interval, refuse, register

# Rows whose hazard is lower than the highest one by more than exp of this count as if it were not, as in the loops.
LEAST_POWER = -300.0

DISTRIBUTIONS = ("normal", "logistic", "extreme")


def _check_bounds(y: np.ndarray, name: str) -> None:
    if y.ndim != 2 or y.shape[1] != 2:
        raise ValueError(f"loss {name!r} needs a lower and an upper bound a row; y has shape {y.shape}")
    good = (y[:, 0] <= y[:, 1]) & (y[:, 0] >= 0) & (y[:, 0] < np.inf)
    refuse(~good, y, f"loss {name!r} needs bounds 0 <= lower <= upper with a finite lower")


@dataclass(frozen=True, eq=False)
class CoxTarget:
    """Risk sets; see ``_survival_loops``. No row is of weight 0: nothing would be at risk at a latest event that is."""

    bounds: np.ndarray
    loops: _survival_loops.CoxLoops

    def __len__(self) -> int:
        return len(self.bounds)

    def log_baseline(self, raw: np.ndarray) -> np.ndarray:
        """Logarithm of Breslow's cumulative hazard of raw = 0 at each event time, which itself may be too small, or too
        large, for a float: where all of raw, shape (n_rows,), is far from 0."""
        top = raw.max()
        return np.log(self.loops.baseline(np.maximum(raw - top, LEAST_POWER))) - top


@register
class Cox(Loss):
    """Cox's proportional hazards: minus the logarithm of the partial likelihood; raw is the log of the relative hazard.

    Events at the same time are counted by Efron's method, weights as in R's ``coxph``. :meth:`values` gives each event
    its part, and 0 to censored rows.

    With the risk sets held fast the loss of a leaf's step s is A exp(s) - D s, where D is the weight of its events and
    A how many were expected. It is least at s = log(D / A), and Newton's step is D / A - 1, far too long for a leaf of
    early events: steps upwards become log(1 + s). Downwards log(D / A) has no bound, and Newton's steps stay; only
    beyond -1, where the hessian is less than A, they become -1 - log(-s).

    Notes
    -----
    :loss: the sum over events of ``log S_i - raw_i`` with ``S_i = sum exp(raw_j)`` over the rows at risk at its time;
        of d events at one time, the l-th (l = 0, 1, ...) counts their own part of the sum less by the share l / d
    :gradient: ``exp(raw_j) sum 1 / S_i - [event]``, over the events at whose times row j was at risk
    :hessian: ``exp(raw_j) sum 1 / S_i - exp(2 raw_j) sum 1 / S_i^2``, the diagonal of the second derivatives
    :link: log
    :initial score: 0, since only differences count
    :metric: concordance_index

    References
    ----------
    Cox (1972), "Regression models and life-tables". Efron (1977), "The efficiency of Cox's likelihood function for
    censored data". Therneau and Grambsch (2000), "Modeling survival data", section 3.3.
    """

    name = "cox"
    target = "times"
    metric = "concordance_index"
    link = "log"
    damped = True

    def check_target(self, y):
        _check_bounds(y, self.name)
        refuse(
            (y[:, 0] != y[:, 1]) & (y[:, 1] < np.inf),
            y,
            "loss 'cox' takes times that are observed or censored on the right (loss='aft' takes more), no intervals",
        )
        if not (y[:, 0] == y[:, 1]).any():
            raise ValueError("loss 'cox' needs at least one event: all times are censored")

    def prepare(self, y, weight, groups=None):
        return CoxTarget(y, _survival_loops.CoxLoops(y[:, 0], y[:, 0] == y[:, 1], weight))

    def init_raw(self, y, weight, offset=None):
        return np.zeros(1)

    def gradients(self, y, raw, weight, out, n_threads=1):
        y.loops.gradients(raw[0], out, n_threads)

    def values(self, y, raw):
        return y.loops.values(raw[0])

    def damp(self, steps, output=0):
        size = np.abs(steps)
        downwards = np.where(size > 1, -1 - np.log(np.maximum(size, 1)), steps)
        return np.where(steps > 0, np.log1p(size), downwards)

    def inverse_link(self, raw):
        return np.exp(raw)


@dataclass(frozen=True, eq=False)
class AFTTarget:
    """Logarithms of the bounds."""

    low: np.ndarray
    high: np.ndarray

    def __len__(self) -> int:
        return len(self.low)


@register
class AFT(Loss):
    """Accelerated failure time: log(time) = raw + scale * Z; minus the logarithm of the likelihood.

    Times may be observed, or censored on the right, on the left or to an interval.

    Parameters
    ----------
    distribution : {"normal", "logistic", "extreme"}, default="normal"
        Of Z; "extreme" makes times of a Weibull distribution.
    scale : float, default=1.0

    Notes
    -----
    :loss: ``-log(f(z) / (scale t))`` for an observed time t with ``z = (log t - raw) / scale`` and f the density of Z,
        and ``-log(F(z_upper) - F(z_lower))`` for bounds, with F its distribution function
    :gradient: ``f'(z) / (scale f(z))``, and ``(f(z_upper) - f(z_lower)) / (scale (F(z_upper) - F(z_lower)))``
    :hessian: ``-(log f)''(z) / scale^2``, and that of the interval's probability: the second derivative, which is not
        negative, since all these f are log-concave
    :link: log
    :initial score: the constant of the least loss, found from the gradients
    :metric: concordance_index

    References
    ----------
    Barnwal, Cho and Hocking (2020), "Survival regression with accelerated failure time model in XGBoost". Klein and
    Moeschberger (2003), "Survival analysis", section 3.5.
    """

    name = "aft"
    target = "times"
    metric = "concordance_index"
    link = "log"

    def __init__(self, distribution: str = "normal", scale: float = 1.0):
        if distribution not in DISTRIBUTIONS:
            raise ValueError(f"distribution must be one of {DISTRIBUTIONS}. Got {distribution!r} instead.")
        self.distribution = distribution
        self.scale = in_interval("AFT", "scale", scale, 0, np.inf)

    def parameters(self) -> dict[str, Any]:
        return {"distribution": self.distribution, "scale": self.scale}

    def check_target(self, y):
        _check_bounds(y, self.name)
        refuse(y[:, 1] == 0, y[:, 1], "loss 'aft' needs times above 0, for it takes their logarithm")
        refuse((y[:, 0] == 0) & (y[:, 1] == np.inf), y, "loss 'aft': of a time from 0 to infinity nothing is known")

    def prepare(self, y, weight, groups=None):
        with np.errstate(divide="ignore"):
            return AFTTarget(*np.ascontiguousarray(np.log(y).T))

    def init_raw(self, y, weight, offset=None):
        counts = slice(None) if weight is None else weight > 0
        for end, side in ((y.high, "right"), (y.low, "left")):
            if np.isinf(end[counts]).all():
                raise ValueError(
                    f"loss 'aft' needs some times that are not censored on the {side}: where all are, the further off "
                    "they are said to be the more probable that is"
                )
        return super().init_raw(y, weight, offset)

    def gradients(self, y, raw, weight, out, n_threads=1):
        _survival_loops.aft_gradients(y.low, y.high, raw[0], weight, self.distribution, self.scale, out, n_threads)

    def values(self, y, raw):
        return _survival_loops.aft_values(y.low, y.high, raw[0], self.distribution, self.scale)

    def inverse_link(self, raw):
        return np.exp(raw)

    def survival(self, raw: np.ndarray, times: np.ndarray) -> np.ndarray:
        """Probability that the time is above each of ``times``, shape (n_rows, n_times)."""
        return _survival_loops.survival(self._standardised(raw, times), self.distribution)

    def cumulative_hazard(self, raw: np.ndarray, times: np.ndarray) -> np.ndarray:
        """Minus the logarithm of :meth:`survival`."""
        return _survival_loops.cumulative_hazard(self._standardised(raw, times), self.distribution)

    def _standardised(self, raw, times):
        with np.errstate(divide="ignore"):
            return (np.log(times) - raw[0][:, None]) / self.scale

    def with_best_scale(self, y: AFTTarget, raw: np.ndarray, weight: np.ndarray | None) -> AFT:
        """The same with the scale that minimises the loss at these predictions, found by golden section."""

        def mean(log_scale):
            values = _survival_loops.aft_values(y.low, y.high, raw[0], self.distribution, float(np.exp(log_scale)))
            return np.average(values, weights=weight)

        ratio = (np.sqrt(5) - 1) / 2
        low, high = np.log(self.scale) - 5, np.log(self.scale) + 5
        a, b = high - ratio * (high - low), low + ratio * (high - low)
        at_a, at_b = mean(a), mean(b)
        while high - low > 1e-4:
            if at_a <= at_b:
                high, b, at_b = b, a, at_a
                a = high - ratio * (high - low)
                at_a = mean(a)
            else:
                low, a, at_a = a, b, at_b
                b = low + ratio * (high - low)
                at_b = mean(b)
        return AFT(self.distribution, float(np.exp((low + high) / 2)))
