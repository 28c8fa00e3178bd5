"""Weighted quantiles of the residuals of the rows of each leaf: exact, by selection, one leaf after the other on all
threads.

The q-quantile minimises sum_i w_i max(q (x_i - v), (q - 1) (x_i - v)) over v: it is where the weights, added from the
smallest x on, reach q times their sum. Where they reach it exactly at x_i, every v up to the next x is as good, and the
middle is taken. Selection is Hoare's (1961) with weights, parting in three::

    x   [ < pivot | = pivot | > pivot ]      and on in the part where the sum is reached
"""

from libc.math cimport INFINITY
from libc.stdint cimport int64_t, uint32_t
from libc.stdlib cimport free, malloc

import numpy as np

from boostgrad.native cimport parallel_for

cdef struct Context:
    const double *y
    const double *raw
    const double *weight    # NULL: all are 1
    const uint32_t *rows
    const int64_t *begin
    double *residual        # a place for each row, leaf by leaf
    double *residual_weight
    double *out
    double level


def quantiles_of_leaves(const double[::1] y, const double[::1] raw, weight, leaves, double level, int n_threads):
    """The quantile of ``y - raw`` of the rows of each leaf.

    Parameters
    ----------
    y, raw : ndarray of float64, shape (n_rows,)
    weight : ndarray of float64, shape (n_rows,), or None
    leaves : RowsByLeaf
    level : float
        In (0, 1).
    n_threads : int

    Returns
    -------
    ndarray of float64, shape (n_leaves,)
        0 for a leaf without rows.
    """
    cdef Context c
    cdef const uint32_t[::1] rows = leaves.rows
    cdef const int64_t[::1] begin = leaves.begin
    cdef const double[::1] weight_view
    cdef int64_t n_leaves = begin.shape[0] - 1
    out = np.zeros(n_leaves)
    cdef double[::1] out_view = out
    if n_leaves == 0 or rows.shape[0] == 0:
        return out
    c.y = &y[0]
    c.raw = &raw[0]
    c.weight = NULL
    if weight is not None:
        weight_view = weight
        c.weight = &weight_view[0]
    c.rows = &rows[0]
    c.begin = &begin[0]
    c.out = &out_view[0]
    c.level = level
    c.residual = <double *> malloc((1 if weight is None else 2) * rows.shape[0] * sizeof(double))
    if c.residual == NULL:
        raise MemoryError()
    c.residual_weight = NULL if weight is None else c.residual + rows.shape[0]
    with nogil:
        parallel_for(quantile_of_leaf, &c, n_leaves, n_threads)
    free(c.residual)
    return out


cdef void quantile_of_leaf(void *context, int64_t leaf, int worker) noexcept nogil:
    cdef Context *c = <Context *> context
    cdef int64_t first = c.begin[leaf], n = c.begin[leaf + 1] - first, i
    cdef double *x = c.residual + first
    cdef double *w = NULL
    cdef double total = <double> n
    cdef uint32_t row
    for i in range(n):
        row = c.rows[first + i]
        x[i] = c.y[row] - c.raw[row]
    if c.weight != NULL:
        w = c.residual_weight + first
        total = 0
        for i in range(n):
            w[i] = c.weight[c.rows[first + i]]
            total += w[i]
    if n > 0:
        c.out[leaf] = select(x, w, n, c.level * total)


cdef inline void swap(double *x, double *w, int64_t i, int64_t j) noexcept nogil:
    x[i], x[j] = x[j], x[i]
    if w != NULL:
        w[i], w[j] = w[j], w[i]


cdef inline double middle(double a, double b, double c) noexcept nogil:
    return max(min(a, b), min(max(a, b), c))


cdef double select(double *x, double *w, int64_t n, double goal) noexcept nogil:
    """Where the weights reach the goal; OUT x, w: in another order."""
    cdef int64_t low = 0, high = n, less, equal, at
    cdef double before = 0, weight_less, weight_equal, pivot = x[0], following = INFINITY
    while low < high:
        pivot = middle(x[low], x[low + (high - low) // 2], x[high - 1])
        less = at = low
        equal = high
        weight_less = weight_equal = 0
        while at < equal:
            if x[at] < pivot:
                weight_less += 1.0 if w == NULL else w[at]
                swap(x, w, at, less)
                less += 1
                at += 1
            elif x[at] > pivot:
                equal -= 1
                swap(x, w, at, equal)
            else:
                weight_equal += 1.0 if w == NULL else w[at]
                at += 1
        if less > low and before + weight_less >= goal:
            following = pivot
            high = less
        elif before + weight_less + weight_equal >= goal:
            if before + weight_less + weight_equal == goal:
                for at in range(equal, high):
                    following = min(following, x[at])
                if following < INFINITY:
                    return pivot + 0.5 * (following - pivot)
            return pivot
        else:
            before += weight_less + weight_equal
            low = equal
    return pivot  # rounding alone kept the weights from the goal: the largest of all
