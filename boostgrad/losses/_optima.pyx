"""The step of each leaf that minimises the loss of its rows, for losses of the residual alone that are convex.

Newton's step, which the grower takes, minimises a parabola that lies above the loss. Where residuals are large beside
the scale of the loss that parabola is far narrower than the loss, and a step is a fraction of what the leaf needs. So
the steps of a tree are taken on from where they are, leaf by leaf. With the slope of loss and penalties

::

    F(s) = sum_i g_i(d_i + s) + l2 s + l1 sign(s)          curvature of the parabola: K(s) = sum_i h_i(d_i + s) + l2

the next parabola's step is F / K (the majorise-minimise scheme of Hunter & Lange 2004; with l1 its soft threshold), and
from the second pass on the secant's takes its place, which uses the curvature that there is between two steps. Signs of
F bracket the optimum; where a step leaves the bracket, or the bracket shrinks slowly, it is halved.
"""

from libc.math cimport INFINITY, fabs, fmax, isfinite
from libc.stdint cimport int64_t, uint32_t
from libc.stdlib cimport free, malloc
from libc.string cimport memset

import numpy as np

from boostgrad.losses._loops import POINTWISE

from boostgrad.native cimport kernels, parallel_for, parametric_kernel

# Rows whose derivatives are computed at a time.
DEF BLOCK = 1024

# An optimum to a thousandth, of which shrinkage takes a tenth, is all that a tree can use.
DEF TOLERANCE = 0.001
DEF MOST_PASSES = 30

# A secant's step is at most so many times that of the parabola.
DEF LONGEST = 8.0

cdef struct Context:
    parametric_kernel kernel
    double parameter
    const double *y
    const double *raw
    const double *weight  # NULL: all are 1
    const uint32_t *rows
    const int64_t *begin
    double *residual      # a place for each row, leaf by leaf
    double *of_residual   # and its weight
    double *room          # 4 BLOCK a worker: zeros, residuals, and pairs
    double *steps
    double l1
    double l2


def optima_of_leaves(str name, y, raw, weight, leaves, steps, double parameter, double l1, double l2, int n_threads):
    """Steps that are taken on to the optimum of each leaf.

    Parameters
    ----------
    name : str
        A loop of ``kernels/pointwise.h`` that looks at raw - y alone.
    y, raw : ndarray of float64, shape (n_rows,)
    weight : ndarray of float64, shape (n_rows,), or None
    leaves : RowsByLeaf
    steps : ndarray of float64, shape (n_leaves,)
        To start from.
    parameter : float
        Of the loss.
    l1, l2 : float
        Penalties on steps.
    n_threads : int

    Returns
    -------
    ndarray of float64, shape (n_leaves,)
        A leaf whose rows weigh nothing keeps its step.
    """
    cdef Context c
    cdef const double[::1] y_view = y, raw_view = raw, weight_view
    cdef const uint32_t[::1] rows = leaves.rows
    cdef const int64_t[::1] begin = leaves.begin
    cdef int number = POINTWISE[name]
    cdef int64_t n_leaves = begin.shape[0] - 1, n_rows = rows.shape[0]
    out = np.array(steps, dtype=np.float64)
    cdef double[::1] out_view = out
    if n_leaves == 0 or n_rows == 0:
        return out
    c.kernel = kernels().pointwise[number]
    c.parameter = parameter
    c.y, c.raw, c.weight = &y_view[0], &raw_view[0], NULL
    if weight is not None:
        weight_view = weight
        c.weight = &weight_view[0]
    c.rows, c.begin, c.steps = &rows[0], &begin[0], &out_view[0]
    c.l1, c.l2 = l1, l2
    c.residual = <double *> malloc((1 if weight is None else 2) * n_rows * sizeof(double))
    c.room = <double *> malloc(4 * BLOCK * n_threads * sizeof(double))
    if c.residual == NULL or c.room == NULL:
        free(c.residual)
        free(c.room)
        raise MemoryError()
    c.of_residual = NULL if weight is None else c.residual + n_rows
    memset(c.room, 0, 4 * BLOCK * n_threads * sizeof(double))
    with nogil:
        parallel_for(optimum_of_leaf, &c, n_leaves, n_threads)
    free(c.residual)
    free(c.room)
    return out


cdef void optimum_of_leaf(void *context, int64_t leaf, int worker) noexcept nogil:
    cdef Context *c = <Context *> context
    cdef int64_t first = c.begin[leaf], n = c.begin[leaf + 1] - first, i
    cdef uint32_t row
    for i in range(first, first + n):
        row = c.rows[i]
        c.residual[i] = c.raw[row] - c.y[row]
        if c.weight != NULL:
            c.of_residual[i] = c.weight[row]
    if n > 0:
        c.steps[leaf] = optimum(c, first, n, c.steps[leaf], c.room + 4 * BLOCK * worker)


cdef void sums(const Context *c, int64_t first, int64_t n, double step, double *room, double *out) noexcept nogil:
    """OUT out: gradients and hessians of a leaf's rows after a step, added up in an order that is always the same."""
    cdef double *moved = room + BLOCK
    cdef double *pairs = room + 2 * BLOCK
    cdef double[2] largest
    cdef int64_t begin, i, size
    out[0] = out[1] = 0
    for begin in range(first, first + n, BLOCK):
        size = min(<int64_t> BLOCK, first + n - begin)
        for i in range(size):
            moved[i] = c.residual[begin + i] + step
        largest[0] = largest[1] = 0
        c.kernel(room, moved, NULL if c.weight == NULL else c.of_residual + begin, size, c.parameter, 2, pairs, largest)
        for i in range(size):
            out[0] += pairs[2 * i]
            out[1] += pairs[2 * i + 1]


cdef double optimum(const Context *c, int64_t first, int64_t n, double step, double *room) noexcept nogil:
    cdef double low = -INFINITY, high = INFINITY, width = INFINITY
    cdef double last = 0, slope_of_last = 0, slope, curvature, secant, target
    cdef double[2] total
    cdef int turn
    if step > 0:
        low = 0
    elif step < 0:
        high = 0
    for turn in range(MOST_PASSES):
        sums(c, first, n, step, room, total)
        curvature = total[1] + c.l2
        if not (curvature > 0 and isfinite(curvature) and isfinite(total[0])):
            return step
        target = soft_threshold(total[1] * step - total[0], c.l1) / curvature  # least on the parabola
        slope = (step - target) * curvature
        if slope < 0:
            low = step
        elif slope > 0:
            high = step
        else:
            return step
        if turn > 0 and c.l1 == 0:
            secant = (slope - slope_of_last) / (step - last)
            target = step - slope / fmax(secant, curvature / LONGEST)
        if not low < target < high or (isfinite(high - low) and high - low > 0.5 * width):
            target = 0.5 * (low + high)  # both are finite here, for what is below the one is not above the other
        width = high - low
        if fabs(target - step) <= TOLERANCE * fabs(target):
            return target
        last, slope_of_last, step = step, slope, target
    return step


cdef inline double soft_threshold(double x, double l1) noexcept nogil:
    return x - l1 if x > l1 else x + l1 if x < -l1 else 0.0
