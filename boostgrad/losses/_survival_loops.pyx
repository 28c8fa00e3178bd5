"""The loops of the survival losses."""

from libc.math cimport INFINITY, M_PI, NAN, erf, erfc, exp, expm1, fabs, isfinite, log, log1p, sqrt
from libc.stdint cimport int64_t, uint8_t, uint32_t

import numpy as np

from boostgrad.native cimport bg_kernels, kernels, parallel_for

# Rows per task.
DEF BLOCK = 4096

# Rows whose hazard is lower than the highest one by more than exp of this count as if it were not: squares stay finite.
DEF LEAST_POWER = -300.0

DISTRIBUTIONS = {"normal": 0, "logistic": 1, "extreme": 2}


cdef inline void raise_to(double *top, double value) noexcept nogil:
    """A NaN comes through, and stays."""
    if value > top[0] or value != value:
        top[0] = value


# ---- Cox -------------------------------------------------------------------------------------------------------------
#
#   places    rows by ascending time; of rows at one time those with an event come first
#   power     w exp(raw)       of each place
#   first     [ 0     3 ... ]  first place of each event time: all places from there on are at risk
#   at        of each place: number of the last event time that is not later, -1 where there is none
#
# With S the power at risk and D that of the d rows that have their event at this time, Efron's denominators are
# S - (l / d) D for l = 0 .. d - 1, each counted with the mean weight of the d rows (Efron 1977; Therneau and Grambsch
# 2000, section 3.3). A row's gradient is its power times the sum of 1 / denominator over the times at which it is at
# risk, less its weight if it has an event; where it is one of the d rows its power counts 1 - l / d.

cdef struct Cox:
    const bg_kernels *k
    const double *raw
    const double *weight        # by place, or NULL
    const uint32_t *row
    const int64_t *at
    const uint8_t *event
    double *power
    const double *sums          # of 1 / denominator and its square, up to and with each event time; 4 a time, see below
    double *pairs
    double *largest             # two a task
    double top
    int64_t n


cdef void cox_powers(void *context, int64_t task, int worker) noexcept nogil:
    cdef Cox *c = <Cox *> context
    cdef int64_t begin = task * BLOCK, end = min(task * BLOCK + BLOCK, c.n), k
    for k in range(begin, end):
        c.power[k] = c.raw[c.row[k]] - c.top
        if c.power[k] < LEAST_POWER:
            c.power[k] = LEAST_POWER
    c.k.exponential(c.power + begin, end - begin)
    if c.weight != NULL:
        for k in range(begin, end):
            c.power[k] *= c.weight[k]


cdef void cox_pairs(void *context, int64_t task, int worker) noexcept nogil:
    cdef Cox *c = <Cox *> context
    cdef int64_t begin = task * BLOCK, end = min(task * BLOCK + BLOCK, c.n), k
    cdef double first, second, gradient, hessian
    cdef const double *sums
    for k in range(begin, end):
        first = second = 0
        if c.at[k] >= 0:
            sums = c.sums + 4 * c.at[k]
            first = sums[2] if c.event[k] else sums[0]
            second = sums[3] if c.event[k] else sums[1]
        gradient = c.power[k] * first
        hessian = gradient - c.power[k] * c.power[k] * second
        if hessian < 0:  # by rounding
            hessian = 0
        if c.event[k]:
            gradient -= 1 if c.weight == NULL else c.weight[k]
        c.pairs[2 * <int64_t> c.row[k]] = gradient
        c.pairs[2 * <int64_t> c.row[k] + 1] = hessian
        raise_to(&c.largest[2 * task], fabs(gradient))
        raise_to(&c.largest[2 * task + 1], hessian)


cdef void risk_sums(const double *power, const int64_t[::1] first, const int64_t[::1] n_events,
                    const double[::1] event_weight, int64_t n, double *sums, double *logs) noexcept nogil:
    """For each event time: OUT sums: of 1 / denominator and of its square, over all times up to this one, for a row
    that stays at risk (2) and for one that has its event now (2). OUT logs, or NULL: mean log of the denominators."""
    cdef int64_t m, l, k = n
    cdef double at_risk = 0, dying, share, one, first_sum = 0, second_sum = 0, own_first, own_second
    for m in range(first.shape[0] - 1, -1, -1):
        while k > first[m]:
            k -= 1
            at_risk += power[k]
        sums[4 * m] = at_risk
    for m in range(first.shape[0]):
        at_risk = sums[4 * m]
        dying = 0
        if n_events[m] > 1:
            for l in range(n_events[m]):
                dying += power[first[m] + l]
        own_first, own_second = first_sum, second_sum
        if logs != NULL:
            logs[m] = 0
        for l in range(n_events[m]):
            share = <double> l / n_events[m]
            one = 1.0 / (at_risk - share * dying)
            if logs != NULL:
                logs[m] -= log(one) / n_events[m]
            first_sum += event_weight[m] * one
            second_sum += event_weight[m] * one * one
            own_first += event_weight[m] * (1 - share) * one
            own_second += event_weight[m] * (1 - share) * (1 - share) * one * one
        sums[4 * m], sums[4 * m + 1], sums[4 * m + 2], sums[4 * m + 3] = first_sum, second_sum, own_first, own_second


cdef class CoxLoops:
    """What stays the same while scores change: the risk sets.

    Parameters
    ----------
    time : ndarray of float64, shape (n_rows,)
    event : ndarray of bool, shape (n_rows,)
    weight : ndarray of float64, shape (n_rows,), or None
    """

    cdef readonly object row, event, at, first, n_events, event_weight, event_time, weight

    def __init__(self, time, event, weight):
        order = np.lexsort((~event, time))
        time = time[order]
        self.row = order.astype(np.uint32)
        self.event = np.ascontiguousarray(event[order])
        self.weight = None if weight is None else np.ascontiguousarray(weight[order])
        self.event_time, self.n_events = np.unique(time[self.event], return_counts=True)
        self.first = np.searchsorted(time, self.event_time).astype(np.int64)
        self.n_events = self.n_events.astype(np.int64)
        self.at = (np.searchsorted(self.event_time, time, side="right") - 1).astype(np.int64)
        if weight is None or not len(self.first):
            self.event_weight = np.ones(len(self.first))
        else:
            sums = np.bincount(self.at[self.event], self.weight[self.event], minlength=len(self.first))
            self.event_weight = sums / self.n_events

    cdef void fill(self, Cox *c, const double[::1] raw, double[::1] power) except *:
        cdef const uint32_t[::1] row = self.row
        cdef const int64_t[::1] at = self.at
        cdef const uint8_t[::1] event = self.event.view(np.uint8)
        cdef const double[::1] weight
        c.k = kernels()
        c.raw = &raw[0]
        c.row, c.at, c.event, c.power = &row[0], &at[0], &event[0], &power[0]
        c.weight = NULL
        if self.weight is not None:
            weight = self.weight
            c.weight = &weight[0]
        c.top = np.max(raw)
        c.n = row.shape[0]

    def gradients(self, const double[::1] raw, out, int n_threads):
        """OUT out.pairs, out.largest"""
        cdef Cox c
        cdef double[:, :, ::1] pairs = out.pairs
        cdef int64_t n_tasks = (raw.shape[0] + BLOCK - 1) // BLOCK
        cdef double[::1] power = np.empty(raw.shape[0])
        cdef double[::1] sums = np.empty(4 * len(self.first) + 1)
        cdef double[:, ::1] largest = np.zeros((n_tasks, 2))
        cdef const int64_t[::1] first = self.first, n_events = self.n_events
        cdef const double[::1] event_weight = self.event_weight
        self.fill(&c, raw, power)
        c.sums, c.pairs, c.largest = &sums[0], &pairs[0, 0, 0], &largest[0, 0]
        with nogil:
            parallel_for(cox_powers, &c, n_tasks, n_threads)
            risk_sums(c.power, first, n_events, event_weight, c.n, &sums[0], NULL)
            parallel_for(cox_pairs, &c, n_tasks, n_threads)
        out.largest[:] = np.max(largest, axis=0)

    def values(self, const double[::1] raw):
        """Of each row: its part of the negative logarithm of the partial likelihood; 0 without an event."""
        cdef Cox c
        cdef double[::1] power = np.empty(raw.shape[0])
        cdef double[::1] sums = np.empty(4 * len(self.first) + 1)
        cdef const int64_t[::1] first = self.first, n_events = self.n_events
        cdef const double[::1] event_weight = self.event_weight
        cdef int64_t n_tasks = (raw.shape[0] + BLOCK - 1) // BLOCK
        logs = np.empty(len(self.first) + 1)
        cdef double[::1] logs_view = logs
        self.fill(&c, raw, power)
        with nogil:
            parallel_for(cox_powers, &c, n_tasks, 1)
            risk_sums(c.power, first, n_events, event_weight, c.n, &sums[0], &logs_view[0])
        values = np.zeros(raw.shape[0])
        row = self.row[self.event]
        values[row] = logs[self.at[self.event]] + c.top - np.asarray(raw)[row]
        return values

    def baseline(self, const double[::1] raw):
        """Breslow's cumulative hazard of raw = 0 at each event time: the sum over the event times so far of the weight
        that has its event then over sum w exp(raw) at risk (Breslow 1972)."""
        power = np.exp(np.asarray(raw)[self.row])
        if self.weight is not None:
            power *= self.weight
        at_risk = power[::-1].cumsum()[::-1][self.first]
        return np.cumsum(self.event_weight * self.n_events / at_risk)


# ---- accelerated failure time ----------------------------------------------------------------------------------------
#
# log(time) = raw + scale * Z, with Z normal, logistic or of the extreme value distribution of minima, whose
# distribution function is 1 - exp(-exp(z)) (a Weibull time). What is known of a time is that it is in [lower, upper];
# the loss is -log of the density, or of the probability of the interval (Barnwal, Cho and Hocking 2020, "Survival
# regression with accelerated failure time model in XGBoost", table 1). Below, derivatives are those by z.

cdef struct Bend:
    double value, slope, curvature


cdef double log_upper_normal(double z) noexcept nogil:
    """log(1 - Phi(z))"""
    if z < 5:
        return log(0.5 * erfc(z / sqrt(2.0)))
    return -0.5 * z * z - 0.5 * log(2 * M_PI) - log(inverse_mills(z))


cdef double inverse_mills(double z) noexcept nogil:
    """phi(z) / (1 - Phi(z)), for large z by Laplace's continued fraction."""
    cdef double tail = z
    cdef int k
    if z < 5:
        return exp(-0.5 * z * z) / sqrt(2 * M_PI) / (0.5 * erfc(z / sqrt(2.0)))
    for k in range(40, 0, -1):
        tail = z + k / tail
    return tail


cdef double softplus(double z) noexcept nogil:
    return (z if z > 0 else 0) + log1p(exp(-fabs(z)))


cdef double log_density(int kind, double z) noexcept nogil:
    if kind == 0:
        return -0.5 * z * z - 0.5 * log(2 * M_PI)
    if kind == 1:
        return -fabs(z) - 2 * log1p(exp(-fabs(z)))
    return z - exp(z)


cdef Bend exact(int kind, double z) noexcept nogil:
    cdef double u
    if kind == 0:
        return Bend(-log_density(kind, z), z, 1)
    if kind == 1:
        u = exp(-fabs(z))
        return Bend(-log_density(kind, z), (1 - u) / (1 + u) * (1 if z > 0 else -1), 2 * u / ((1 + u) * (1 + u)))
    u = exp(z)
    return Bend(u - z, u - 1, u)


cdef Bend later(int kind, double z) noexcept nogil:
    """The time is above z."""
    cdef double u, p
    if kind == 0:
        u = inverse_mills(z)
        return Bend(-log_upper_normal(z), u, u * (u - z))
    if kind == 1:
        u = exp(-fabs(z))
        p = (1 if z > 0 else u) / (1 + u)
        return Bend(softplus(z), p, u / ((1 + u) * (1 + u)))
    u = exp(z)
    return Bend(u, u, u)


cdef Bend earlier(int kind, double z) noexcept nogil:
    """The time is below z."""
    cdef double u, r
    cdef Bend mirrored
    if kind < 2:
        mirrored = later(kind, -z)
        return Bend(mirrored.value, -mirrored.slope, mirrored.curvature)
    u = exp(z)
    r = u / expm1(u) if u > 0 else 1
    return Bend(-log(-expm1(-u)) if u > 1e-300 else -z, -r, 0.5 * u if u < 1e-5 else r * (u + r - 1))


cdef Bend between(int kind, double low, double high) noexcept nogil:
    cdef double log_p, a, b, qa, qb
    cdef Bend bend
    if high - low < 1e-4:  # differences would lose all digits
        bend = exact(kind, 0.5 * (low + high))
        bend.value -= log(high - low)
        return bend
    if kind == 0:
        if low > 0:
            a, b = log_upper_normal(low), log_upper_normal(high)
            log_p = a + log1p(-exp(b - a))
        elif high < 0:
            a, b = log_upper_normal(-high), log_upper_normal(-low)
            log_p = a + log1p(-exp(b - a))
        else:
            log_p = log(0.5 * (erf(high / sqrt(2.0)) - erf(low / sqrt(2.0))))
        qa, qb = -low, -high
    elif kind == 1:
        log_p = high + log(-expm1(low - high)) - softplus(high) - softplus(low)
        qa, qb = 2 / (1 + exp(low)) - 1, 2 / (1 + exp(high)) - 1
    else:
        log_p = -exp(low) + log(-expm1(-exp(low) * expm1(high - low)))
        qa, qb = 1 - exp(low), 1 - exp(high)
    a, b = exp(log_density(kind, low) - log_p), exp(log_density(kind, high) - log_p)
    bend.value, bend.slope = -log_p, a - b
    # where a density has underflowed, what it is multiplied with may be infinite
    bend.curvature = (qa * a if a > 0 else 0) - (qb * b if b > 0 else 0) + (a - b) * (a - b)
    return bend


# Further out, times are as if they were there: the extreme value distribution's slope grows exponentially.
DEF FARTHEST = 20.0


cdef double clamped(double z) noexcept nogil:
    return min(max(z, -FARTHEST), FARTHEST)


cdef Bend bend_of(int kind, double low, double high) noexcept nogil:
    """IN low, high: standardised, either may be infinite."""
    if low == high:
        return exact(kind, clamped(low) if kind == 2 else low)
    if high == INFINITY:
        return later(kind, clamped(low) if kind == 2 else low)
    if low == -INFINITY:
        return earlier(kind, clamped(high) if kind == 2 else high)
    if clamped(low) < clamped(high):
        return between(kind, clamped(low), clamped(high))
    return exact(kind, clamped(low))  # all of the interval is far out


cdef struct Aft:
    const double *low           # logarithms of the bounds
    const double *high
    const double *raw
    const double *weight
    double *pairs
    double *values
    double *largest
    double scale
    int kind
    int64_t n


cdef void aft_block(void *context, int64_t task, int worker) noexcept nogil:
    cdef Aft *c = <Aft *> context
    cdef int64_t i
    cdef double w, gradient, hessian
    cdef Bend bend
    for i in range(task * BLOCK, min(task * BLOCK + BLOCK, c.n)):
        if not isfinite(c.raw[i]):
            bend = Bend(NAN, NAN, NAN)
        else:
            bend = bend_of(c.kind, (c.low[i] - c.raw[i]) / c.scale, (c.high[i] - c.raw[i]) / c.scale)
        if c.values != NULL:
            c.values[i] = bend.value + (log(c.scale) + c.low[i] if c.low[i] == c.high[i] else 0)
            continue
        w = 1 if c.weight == NULL else c.weight[i]
        gradient = -w * bend.slope / c.scale
        hessian = w * (0 if bend.curvature < 0 else bend.curvature) / (c.scale * c.scale)
        c.pairs[2 * i], c.pairs[2 * i + 1] = gradient, hessian
        raise_to(&c.largest[2 * task], fabs(gradient))
        raise_to(&c.largest[2 * task + 1], hessian)


def aft_gradients(const double[::1] low, const double[::1] high, const double[::1] raw, weight, distribution,
                  double scale, out, int n_threads):
    """OUT out.pairs, out.largest"""
    cdef double[:, :, ::1] pairs = out.pairs
    cdef const double[::1] weight_view
    cdef int64_t n_tasks = (raw.shape[0] + BLOCK - 1) // BLOCK
    cdef double[:, ::1] largest = np.zeros((n_tasks, 2))
    cdef Aft c = Aft(low=&low[0], high=&high[0], raw=&raw[0], weight=NULL, pairs=&pairs[0, 0, 0], values=NULL,
                     largest=&largest[0, 0], scale=scale, kind=DISTRIBUTIONS[distribution], n=raw.shape[0])
    if weight is not None:
        weight_view = weight
        c.weight = &weight_view[0]
    with nogil:
        parallel_for(aft_block, &c, n_tasks, n_threads)
    out.largest[:] = np.max(largest, axis=0)


def aft_values(const double[::1] low, const double[::1] high, const double[::1] raw, distribution, double scale):
    values = np.empty(raw.shape[0])
    cdef double[::1] values_view = values
    cdef int64_t n_tasks = (raw.shape[0] + BLOCK - 1) // BLOCK
    cdef Aft c = Aft(low=&low[0], high=&high[0], raw=&raw[0], weight=NULL, pairs=NULL, values=&values_view[0],
                     largest=NULL, scale=scale, kind=DISTRIBUTIONS[distribution], n=raw.shape[0])
    with nogil:
        parallel_for(aft_block, &c, n_tasks, 1)
    return values


def survival(z, distribution):
    """1 - F(z) of an array."""
    cdef int kind = DISTRIBUTIONS[distribution]
    out = np.array(z, dtype=np.float64, order="C")
    cdef double[::1] flat = out.reshape(-1)
    cdef int64_t i
    for i in range(flat.shape[0]):
        if kind == 0:
            flat[i] = 0.5 * erfc(flat[i] / sqrt(2.0))
        elif kind == 1:
            flat[i] = 1 / (1 + exp(flat[i]))
        else:
            flat[i] = exp(-exp(flat[i]))
    return out


def cumulative_hazard(z, distribution):
    """-log(1 - F(z)) of an array."""
    cdef int kind = DISTRIBUTIONS[distribution]
    out = np.array(z, dtype=np.float64, order="C")
    cdef double[::1] flat = out.reshape(-1)
    cdef int64_t i
    for i in range(flat.shape[0]):
        flat[i] = later(kind, flat[i]).value
    return out
