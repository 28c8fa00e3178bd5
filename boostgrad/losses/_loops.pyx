"""The loops of the built-in losses: blocks of rows, handed to the kernels on all threads."""

from libc.math cimport fabs, isfinite, isnan, sqrt
from libc.stdint cimport int64_t, uint8_t
from libc.stdlib cimport free, malloc
from libc.string cimport memcpy, memset

import numpy as np

from boostgrad.native cimport (
    BG_ABSOLUTE_ERROR,
    BG_EXPECTILE,
    BG_FAIR,
    BG_FOCAL,
    BG_GAMMA,
    BG_HUBER,
    BG_LOG_COSH,
    BG_MOST_SORTED,
    BG_POISSON,
    BG_QUANTILE,
    BG_RELATIVE_ERROR,
    BG_SUM_ABSOLUTE_ERROR,
    BG_SUM_BINARY_LOG_LOSS,
    BG_SUM_EXPECTILE,
    BG_SUM_GAMMA,
    BG_SUM_GAMMA_NLL,
    BG_SUM_HUBER,
    BG_SUM_MULTINOMIAL_LOG_LOSS,
    BG_SUM_NORMAL_NLL,
    BG_SUM_POISSON,
    BG_SUM_QUANTILE,
    BG_SUM_QUANTILES,
    BG_SUM_SQUARED_ERROR,
    BG_SUM_TWEEDIE,
    BG_TWEEDIE,
    address_of,
    bg_task,
    kernels,
    outputs_kernel,
    parallel_for,
    parametric_kernel,
    pointwise_kernel,
    sum_kernel,
)

cdef object empty = np.empty

# Rows per task: their target, raw prediction and pair lie in the second-level cache together.
DEF BLOCK = 16384

cdef struct Context:
    bg_task block                 # what is done with one, by the kernel of its kind
    pointwise_kernel kernel
    parametric_kernel parametric
    outputs_kernel of_outputs
    sum_kernel sum_of_losses
    const double *parameters
    double parameter
    const char *y
    int y_kind       # its dtype; see TARGET_KINDS
    double *y_room   # one block a worker, where y is not float64
    const double *raw
    const double *weight
    double *pairs
    double *of_blocks  # n_numbers each, 0 before: bounds of pairs, two for all outputs or for each; or a sum
    int64_t n_rows
    int n_numbers
    int width
    int n_outputs


# Targets may come in the smallest of these that holds them.
TARGET_KINDS = {np.dtype(np.float64): 8, np.dtype(np.float32): 4, np.dtype(np.uint8): 1}


cdef const double *targets(const Context *c, int64_t begin, int64_t n, int worker) noexcept nogil:
    """Those of a block of rows, in double precision."""
    cdef double *room = c.y_room + worker * BLOCK
    cdef const float *y32 = <const float *> c.y + begin
    cdef const uint8_t *y8 = <const uint8_t *> c.y + begin
    cdef int64_t i
    if c.y_kind == 8:
        return <const double *> c.y + begin
    if c.y_kind == 4:
        for i in range(n):
            room[i] = y32[i]
    else:
        for i in range(n):
            room[i] = y8[i]
    return room


cdef void pointwise_block(void *context, int64_t chunk, int worker) noexcept nogil:
    cdef Context *c = <Context *> context
    cdef int64_t begin = chunk * BLOCK
    cdef int64_t n = min(<int64_t> BLOCK, c.n_rows - begin)
    c.kernel(targets(c, begin, n, worker), c.raw + begin, c.weight + begin if c.weight != NULL else NULL, n,
             c.pairs + begin * c.width, c.of_blocks + 2 * chunk)


cdef void parametric_block(void *context, int64_t chunk, int worker) noexcept nogil:
    cdef Context *c = <Context *> context
    cdef int64_t begin = chunk * BLOCK
    cdef int64_t n = min(<int64_t> BLOCK, c.n_rows - begin)
    c.parametric(targets(c, begin, n, worker), c.raw + begin, c.weight + begin if c.weight != NULL else NULL, n,
                 c.parameter, c.width, c.pairs + begin * c.width, c.of_blocks + 2 * chunk)


cdef void outputs_block(void *context, int64_t chunk, int worker) noexcept nogil:
    cdef Context *c = <Context *> context
    cdef int64_t begin = chunk * BLOCK
    cdef int64_t n = min(<int64_t> BLOCK, c.n_rows - begin)
    c.of_outputs(targets(c, begin, n, worker), c.raw + begin, c.weight + begin if c.weight != NULL else NULL, n,
                 c.n_rows, c.n_outputs, c.pairs + begin * c.width, c.of_blocks + c.n_numbers * chunk)


cdef void sum_block(void *context, int64_t chunk, int worker) noexcept nogil:
    cdef Context *c = <Context *> context
    cdef int64_t begin = chunk * BLOCK
    cdef int64_t n = min(<int64_t> BLOCK, c.n_rows - begin)
    c.of_blocks[chunk] = c.sum_of_losses(targets(c, begin, n, worker), c.raw + begin,
                                         c.weight + begin if c.weight != NULL else NULL, n, c.n_rows, c.n_outputs,
                                         c.parameters)


cdef Context blank(bg_task block) noexcept:
    cdef Context context
    memset(&context, 0, sizeof(Context))
    context.block = block
    return context


cdef Context by_pointwise(pointwise_kernel kernel) noexcept:
    cdef Context context = blank(pointwise_block)
    context.kernel = kernel
    return context


cdef Context by_parametric(parametric_kernel kernel, double parameter) noexcept:
    cdef Context context = blank(parametric_block)
    context.parametric = kernel
    context.parameter = parameter
    return context


cdef Context by_outputs(outputs_kernel kernel) noexcept:
    cdef Context context = blank(outputs_block)
    context.of_outputs = kernel
    return context


cdef void over_rows(Context *c, y, const double[:, ::1] raw, weight, int n_threads):
    """INOUT c: where the rows are; OUT c.of_blocks, the caller's to free. All blocks are through then."""
    cdef const double[::1] weight_view
    cdef int64_t n_blocks, n_numbers
    y = np.ascontiguousarray(y)
    c.y = <const char *> address_of(y)
    c.y_kind = TARGET_KINDS[y.dtype]
    c.n_rows = len(y)
    n_blocks = (c.n_rows + BLOCK - 1) // BLOCK
    if weight is not None:
        weight_view = weight
        c.weight = &weight_view[0]
    n_numbers = c.n_numbers * n_blocks
    c.of_blocks = <double *> malloc((n_numbers + (1 if c.y_kind == 8 else n_threads * BLOCK)) * sizeof(double))
    if c.of_blocks == NULL:
        raise MemoryError()
    memset(c.of_blocks, 0, n_numbers * sizeof(double))
    c.y_room = c.of_blocks + n_numbers
    c.raw = &raw[0, 0]
    c.n_outputs = raw.shape[0]
    with nogil:
        parallel_for(c.block, c, n_blocks, n_threads)


cdef void run(Context context, y, const double[:, ::1] raw, weight, out, int n_threads, bint apart=False):
    """OUT out.pairs, out.largest, which is only raised; apart: where the kernel tells bounds of each output."""
    cdef double[:, :, ::1] pairs = out.pairs
    context.n_numbers = 2 * raw.shape[0] if apart else 2
    context.pairs = &pairs[0, 0, 0]
    context.width = pairs.shape[2]
    over_rows(&context, y, raw, weight, n_threads)
    raise_largest(out.largest, context.of_blocks, (context.n_rows + BLOCK - 1) // BLOCK, context.n_numbers)
    free(context.of_blocks)
    if not apart:
        out.largest[1:] = out.largest[0]


cdef void raise_largest(out, const double *of_blocks, int64_t n_blocks, int n_bounds=2):
    """OUT out, the first n_bounds numbers: only raised, by so many numbers a block; what is not a number stays."""
    cdef double *largest = <double *> address_of(out)
    cdef int64_t i
    for i in range(n_bounds * n_blocks):
        if of_blocks[i] > largest[i % n_bounds] or isnan(of_blocks[i]):
            largest[i % n_bounds] = of_blocks[i]


# ---- passes over pairs that are filled -------------------------------------------------------------------------------

cdef struct Pass:
    double *pairs         # of one output
    const double *weight  # NULL: 1
    double *of_blocks     # two numbers each
    double unit, ratio    # numbers that a pass goes by
    int64_t n_rows


cdef object over_pairs(bg_task block, const double[:, ::1] pairs, weight, int n_threads, double unit=0.0,
                       double ratio=0.0):
    """What a pass leaves of each block of rows, shape (n_blocks, 2), 0 where it leaves nothing."""
    cdef Pass c
    cdef const double[::1] weights
    cdef int64_t n_blocks = (pairs.shape[0] + BLOCK - 1) // BLOCK
    cdef double[:, ::1] of_blocks = np.zeros((n_blocks, 2))
    if n_blocks == 0:
        return of_blocks.base
    c.weight = NULL
    if weight is not None:
        weights = weight
        c.weight = &weights[0]
    c.pairs = <double *> &pairs[0, 0]
    c.of_blocks = &of_blocks[0, 0]
    c.unit = unit
    c.ratio = ratio
    c.n_rows = pairs.shape[0]
    with nogil:
        parallel_for(block, &c, n_blocks, n_threads)
    return of_blocks.base


cdef void weigh_block(void *context, int64_t chunk, int worker) noexcept nogil:
    cdef Pass *c = <Pass *> context
    cdef int64_t begin = chunk * BLOCK
    kernels().weigh_by_root(c.pairs + 2 * begin, c.weight + begin if c.weight != NULL else NULL,
                            min(<int64_t> BLOCK, c.n_rows - begin), c.unit, c.of_blocks + 2 * chunk)


def weigh_by_root(double[:, ::1] pairs, weight, double unit, largest, int n_threads):
    """INOUT pairs, shape (n_rows, 2): each divided by the geometric mean of the unit and of its hessian per weight.
    OUT largest: their bounds."""
    of_blocks = over_pairs(weigh_block, pairs, weight, n_threads, unit)
    largest[:] = 0
    raise_largest(largest, <double *> address_of(of_blocks), len(of_blocks))


cdef void sum_roots(void *context, int64_t chunk, int worker) noexcept nogil:
    cdef Pass *c = <Pass *> context
    cdef int64_t begin = chunk * BLOCK, n = min(<int64_t> BLOCK, c.n_rows - begin), i
    cdef const double *pair = c.pairs + 2 * begin
    cdef const double *weight = c.weight + begin
    cdef double[2] roots, weights  # sums that do not wait for each other
    roots[0] = roots[1] = weights[0] = weights[1] = 0
    if c.weight == NULL:
        for i in range(n // 2):
            roots[0] += 1.0 / sqrt(pair[4 * i + 1])
            roots[1] += 1.0 / sqrt(pair[4 * i + 3])
        if n % 2:
            roots[0] += 1.0 / sqrt(pair[2 * n - 1])
        weights[0] = n
    else:
        for i in range(n):
            if weight[i] > 0:
                roots[i % 2] += weight[i] / sqrt(pair[2 * i + 1] / weight[i])  # in the same order
                weights[i % 2] += weight[i]
    c.of_blocks[2 * chunk] = roots[0] + roots[1]
    c.of_blocks[2 * chunk + 1] = weights[0] + weights[1]


def mean_inverse_root(const double[:, ::1] pairs, weight, int n_threads):
    """The weighted mean of 1 / sqrt(hessian) of rows of weight 1, from pairs of shape (n_rows, 2); 1 to the last bit
    where all hessians are 1."""
    total, rows = np.sum(over_pairs(sum_roots, pairs, weight, n_threads), axis=0)
    return total / rows if rows > 0 else np.nan


cdef void sum_sizes(void *context, int64_t chunk, int worker) noexcept nogil:
    cdef Pass *c = <Pass *> context
    cdef double gradients = 0, hessians = 0
    cdef int64_t i
    for i in range(chunk * BLOCK, min((chunk + 1) * BLOCK, c.n_rows)):
        gradients += fabs(c.pairs[2 * i])
        hessians += c.pairs[2 * i + 1]
    c.of_blocks[2 * chunk] = gradients
    c.of_blocks[2 * chunk + 1] = hessians


cdef void raise_hessians(void *context, int64_t chunk, int worker) noexcept nogil:
    """Those below half of the unit, to so much of their gradient."""
    cdef Pass *c = <Pass *> context
    cdef double flat = 0.5 * c.unit
    cdef int64_t i
    for i in range(chunk * BLOCK, min((chunk + 1) * BLOCK, c.n_rows)):
        if c.pairs[2 * i + 1] < (flat if c.weight == NULL else flat * c.weight[i]):
            c.pairs[2 * i + 1] = max(c.pairs[2 * i + 1], c.ratio * fabs(c.pairs[2 * i]))


def bound_steps(double[:, ::1] pairs, weight, largest, double longest, int n_threads):
    """INOUT pairs, shape (n_rows, 2): hessians, so that no step of a row that has less than half of the mean hessian is
    longer than so many times the mean one, sum |gradient| / sum hessian. INOUT largest: their bounds."""
    gradients, hessians = np.sum(over_pairs(sum_sizes, pairs, weight, n_threads), axis=0)
    if not (0 < gradients < np.inf and 0 < hessians < np.inf):
        return
    mean = hessians / (pairs.shape[0] if weight is None else np.sum(weight))
    ratio = hessians / (longest * gradients)
    over_pairs(raise_hessians, pairs, weight, n_threads, mean, ratio)
    largest[1] = max(largest[1], ratio * largest[0])


# ---- arrays into pairs -----------------------------------------------------------------------------------------------

cdef struct Arrays:
    const double *gradient
    const double *hessian  # NULL: not stored
    double *pairs
    double *largest        # two a block
    int64_t n_rows


cdef inline int64_t size_bits(double x) noexcept nogil:
    """Ordered as sizes are, with what is not a number above all."""
    cdef int64_t bits
    memcpy(&bits, &x, sizeof(bits))
    return bits & <int64_t> 0x7fffffffffffffff


cdef void fill_block(void *context, int64_t chunk, int worker) noexcept nogil:
    cdef Arrays *c = <Arrays *> context
    cdef int64_t begin = chunk * BLOCK, end = min(begin + BLOCK, c.n_rows), i
    cdef int64_t[2] top
    cdef const double *gradient = c.gradient
    cdef const double *hessian = c.hessian
    cdef double *pairs = c.pairs
    top[0] = top[1] = 0
    if hessian == NULL:
        for i in range(begin, end):
            pairs[i] = gradient[i]
            top[0] = max(top[0], size_bits(gradient[i]))
    else:
        for i in range(begin, end):
            pairs[2 * i] = gradient[i]
            pairs[2 * i + 1] = hessian[i]
            top[0] = max(top[0], size_bits(gradient[i]))
            top[1] = max(top[1], size_bits(hessian[i]))
    memcpy(c.largest + 2 * chunk, top, sizeof(top))


def fill_pairs(double[:, ::1] pairs, gradient, hessian, largest, int n_threads):
    """OUT pairs, shape (n_rows, 2), or (n_rows, 1) where hessian is None; OUT largest, which is only raised. Numbers
    stand for arrays of them."""
    cdef Arrays c
    cdef const double[::1] gradients = whole(gradient, pairs.shape[0])
    cdef const double[::1] hessians
    cdef double[:, ::1] of_blocks
    cdef int64_t n_blocks = (pairs.shape[0] + BLOCK - 1) // BLOCK
    if n_blocks == 0:
        return
    of_blocks = np.zeros((n_blocks, 2))
    c.gradient = &gradients[0]
    c.hessian = NULL
    if hessian is not None:
        hessians = whole(hessian, pairs.shape[0])
        c.hessian = &hessians[0]
    c.pairs = &pairs[0, 0]
    c.largest = &of_blocks[0, 0]
    c.n_rows = pairs.shape[0]
    with nogil:
        parallel_for(fill_block, &c, n_blocks, n_threads)
    raise_largest(largest, c.largest, n_blocks)


cdef object whole(array, int64_t n):
    return np.ascontiguousarray(np.broadcast_to(np.asarray(array, dtype=np.float64), n))


def only_value(array):
    """The positive number that all of an array of float64 (or a number) is, or None."""
    array = np.asarray(array, dtype=np.float64)
    if array.size == 0:
        return None
    cdef double first = array.flat[0]
    cdef const double[::1] flat
    cdef int64_t i
    if not (isfinite(first) and first > 0):
        return None
    if array.ndim:
        flat = np.ascontiguousarray(array).reshape(-1)
        for i in range(flat.shape[0]):
            if flat[i] != first:
                return None
    return first


def squared_error(y, raw, weight, out, int n_threads):
    run(by_pointwise(kernels().squared_error), y, raw, weight, out, n_threads)


def binary_log_loss(y, raw, weight, out, int n_threads):
    run(by_pointwise(kernels().binary_log_loss), y, raw, weight, out, n_threads)


def multinomial_log_loss(y, raw, weight, out, int n_threads):
    run(by_outputs(kernels().multinomial_log_loss), y, raw, weight, out, n_threads)


def normal_nll(y, raw, weight, out, int n_threads):
    run(by_outputs(kernels().normal_nll), y, raw, weight, out, n_threads, True)


def gamma_nll(y, raw, weight, out, int n_threads):
    run(by_outputs(kernels().gamma_nll), y, raw, weight, out, n_threads, True)


# The losses of kernels/pointwise.h.
POINTWISE = {
    "absolute_error": BG_ABSOLUTE_ERROR,
    "quantile": BG_QUANTILE,
    "relative_error": BG_RELATIVE_ERROR,
    "huber": BG_HUBER,
    "fair": BG_FAIR,
    "log_cosh": BG_LOG_COSH,
    "expectile": BG_EXPECTILE,
    "poisson": BG_POISSON,
    "gamma": BG_GAMMA,
    "tweedie": BG_TWEEDIE,
    "focal": BG_FOCAL,
}


def pointwise(str name, y, raw, weight, out, int n_threads, double parameter=0.0):
    """One of ``POINTWISE``, of one output."""
    cdef int number = POINTWISE[name]
    run(by_parametric(kernels().pointwise[number], parameter), y, raw, weight, out, n_threads)


# The losses of kernels/values.h, and of how many quantiles.
MOST_SORTED = BG_MOST_SORTED
SUMMED = {
    "squared_error": BG_SUM_SQUARED_ERROR,
    "absolute_error": BG_SUM_ABSOLUTE_ERROR,
    "quantile": BG_SUM_QUANTILE,
    "huber": BG_SUM_HUBER,
    "expectile": BG_SUM_EXPECTILE,
    "poisson": BG_SUM_POISSON,
    "gamma": BG_SUM_GAMMA,
    "tweedie": BG_SUM_TWEEDIE,
    "binary_log_loss": BG_SUM_BINARY_LOG_LOSS,
    "multinomial_log_loss": BG_SUM_MULTINOMIAL_LOG_LOSS,
    "quantiles": BG_SUM_QUANTILES,
    "normal_nll": BG_SUM_NORMAL_NLL,
    "gamma_nll": BG_SUM_GAMMA_NLL,
}


def sum_of_losses(str name, y, raw, weight, parameters, int n_threads):
    """The sum of one of ``SUMMED`` over all rows, times the weights; the same for any number of threads."""
    cdef Context context = blank(sum_block)
    cdef int number = SUMMED[name]
    cdef const double[::1] of_loss = np.array(parameters if len(parameters) else [0.0], dtype=np.float64)
    cdef int64_t n_blocks, i
    cdef double total = 0
    context.sum_of_losses = kernels().sum_of_losses[number]
    context.parameters = &of_loss[0]
    context.n_numbers = 1
    over_rows(&context, y, np.ascontiguousarray(raw, dtype=np.float64), weight, n_threads)
    n_blocks = (context.n_rows + BLOCK - 1) // BLOCK
    for i in range(n_blocks):
        total += context.of_blocks[i]
    free(context.of_blocks)
    return total


def exponential(x):
    """exp of an array, the same bits on every instruction set."""
    out = np.array(x, dtype=np.float64, order="C")
    cdef double[::1] flat = out.reshape(-1)
    if flat.shape[0]:
        kernels().exponential(&flat[0], flat.shape[0])
    return out


def sigmoid(raw):
    """1 / (1 + exp(-raw))"""
    out = exponential(np.negative(raw))
    out += 1.0
    return np.divide(1.0, out, out=out)


def sigmoids_of_row(raw):
    """(sigmoid(-raw), sigmoid(raw)) of an array of one float64, the same bits as :func:`sigmoid` gives."""
    cdef double[2] power
    cdef double *sigmoid
    power[0] = (<double *> address_of(raw))[0]
    power[1] = -power[0]
    kernels().exponential(power, 2)
    out = empty(2)
    sigmoid = <double *> address_of(out)
    sigmoid[0] = 1.0 / (power[0] + 1.0)
    sigmoid[1] = 1.0 / (power[1] + 1.0)
    return out


def softmax_sums(raw):
    """max_k raw_k and sum_k exp(raw_k - max) of each column of an array of shape (n_outputs, n_rows)."""
    cdef const double[:, :] view = rows_apart(raw)
    cdef double[:, ::1] out = np.empty((2, raw.shape[1]))
    if raw.shape[1]:
        kernels().softmax_sums(&view[0, 0], view.shape[1], view.strides[0] // sizeof(double), <int> view.shape[0],
                               &out[0, 0], &out[1, 0])
    return out.base


def softmax(raw):
    """exp(raw_k) / sum_j exp(raw_j) along the first axis; in memory the numbers of a row lie side by side."""
    cdef const double[:, :] view = rows_apart(raw)
    cdef double[:, ::1] out = np.empty((raw.shape[1], raw.shape[0]))
    if raw.shape[1]:
        kernels().softmax(&view[0, 0], view.shape[1], view.strides[0] // sizeof(double), <int> view.shape[0],
                          &out[0, 0])
    return out.base.T


def rows_apart(raw):
    """The array, or a copy, as the kernels read it: outputs some pitch apart, rows side by side."""
    raw = np.asarray(raw, dtype=np.float64)
    return raw if raw.strides[1] == 8 and raw.strides[0] > 0 and raw.strides[0] % 8 == 0 else np.ascontiguousarray(raw)
