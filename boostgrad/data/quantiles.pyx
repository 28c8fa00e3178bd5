"""Where to put the edges between bins: quantiles of a column's values."""

from libc.math cimport isinf, isnan
from libc.stdint cimport int64_t, uint32_t, uint64_t
from libc.stdlib cimport free, malloc
from libc.string cimport memcpy, memset

import numpy as np

from boostgrad.data.views cimport ColumnView, ColumnViews, read_float32, read_float64, reads_float32

DEF DIGIT = 11
DEF DIGITS = 2048  # 2^11

ctypedef fused key:
    uint32_t
    uint64_t

ctypedef fused real:
    float
    double


cdef inline key ordered_bits(key bits) noexcept nogil:
    """Bits of a float such that unsigned integers are ordered as the floats are: all flipped where it is negative,
    the sign where it is not."""
    cdef key sign = <key> 1 << (8 * sizeof(key) - 1)
    return ~bits if bits & sign else bits | sign


cdef inline key float_bits(key ordered) noexcept nogil:
    cdef key sign = <key> 1 << (8 * sizeof(key) - 1)
    return ordered & ~sign if ordered & sign else ~ordered


cdef key *radix_sort(key *values, key *other, Py_ssize_t n) noexcept nogil:
    """Sort floats, given as their bits, digit by digit from the lowest. Returns the one of both arrays that holds the
    result."""
    cdef uint32_t[DIGITS] count
    cdef uint32_t before, here
    cdef int shift = 0, digit
    cdef Py_ssize_t i
    cdef key *swap
    for i in range(n):
        values[i] = ordered_bits(values[i])
    while shift < 8 * <int> sizeof(key):
        memset(count, 0, sizeof(count))
        for i in range(n):
            count[(values[i] >> shift) & (DIGITS - 1)] += 1
        if n == 0 or count[(values[0] >> shift) & (DIGITS - 1)] == <uint32_t> n:  # all have the same digit
            shift += DIGIT
            continue
        before = 0
        for digit in range(DIGITS):
            here = count[digit]
            count[digit] = before
            before += here
        for i in range(n):
            digit = (values[i] >> shift) & (DIGITS - 1)
            other[count[digit]] = values[i]
            count[digit] += 1
        swap = values
        values = other
        other = swap
        shift += DIGIT
    for i in range(n):
        values[i] = float_bits(values[i])
    return values


cdef Py_ssize_t without_nan(real *values, Py_ssize_t n) noexcept nogil:
    cdef Py_ssize_t i, kept = 0
    for i in range(n):
        values[kept] = values[i]
        kept += not isnan(values[i])
    return kept


cdef class SortingRoom:
    """Memory to find the edges of one column after the other, made by the thread that waits for all of them: what other
    threads allocate and free stays with the process.

    Parameters
    ----------
    n : int
        Values of a column at most.
    """

    cdef char *room
    cdef readonly Py_ssize_t n

    def __cinit__(self, Py_ssize_t n):
        self.n = n
        self.room = <char *> malloc(3 * n * sizeof(double) + 1)
        if self.room == NULL:
            raise MemoryError()

    def __dealloc__(self):
        free(self.room)

    def column_edges(self, ColumnViews views, Py_ssize_t column, const int64_t[::1] rows, Py_ssize_t max_bins):
        """Edges between bins of about equal numbers of values; see :func:`quantile_edges`.

        Parameters
        ----------
        views : ColumnViews
        column : int
        rows : ndarray of int64
            The rows to learn from, n of them, or of shape (0,) for the first n.
        max_bins : int

        Returns
        -------
        ndarray of float64
        """
        cdef const ColumnView *view = &views.views[column]
        cdef const int64_t *picked = &rows[0] if rows.shape[0] else NULL
        cdef Py_ssize_t n = self.n, kept, i, n_edges
        cdef double *third = <double *> self.room  # two of them to sort, and then for distinct values and their mass
        cdef double *values = third + 2 * n
        cdef void *result
        edges_array = np.empty(max(min(max_bins - 1, n), 1))
        cdef double[::1] edges = edges_array
        with nogil:
            if reads_float32(view.kind):
                read_float32(view, picked, 0, n, <float *> third)
                kept = without_nan[float](<float *> third, n)
                result = radix_sort[uint32_t](<uint32_t *> third, <uint32_t *> (third + n), kept)
                for i in range(kept):
                    values[i] = (<float *> result)[i]
            else:
                read_float64(view, picked, 0, n, third)
                kept = without_nan[double](third, n)
                result = radix_sort[uint64_t](<uint64_t *> third, <uint64_t *> (third + n), kept)
                memcpy(values, result, kept * sizeof(double))
            n_edges = find_edges(values, NULL, kept, max_bins, third, third + n, &edges[0])
        return edges_array[:n_edges].copy()


def quantile_edges(double[::1] values, double[::1] weights, Py_ssize_t max_bins):
    """Edges between bins of about equal weight.

    Where there are no more distinct values than bins, every value has its own bin. Otherwise bins are filled from the
    left up to an even share of the weight that is left; a value that weighs as much as a bin by itself owns one, and the
    shares of the others are computed without it.

    Parameters
    ----------
    values : ndarray of float64, shape (n,)
        Sorted, no NaN.
    weights : ndarray of float64, shape (n,), or of shape (0,) for all equal
    max_bins : int

    Returns
    -------
    ndarray of float64, shape (at most max_bins - 1,)
        Strictly increasing, finite or -inf, halfway between neighbouring values where a number lies there.
    """
    cdef Py_ssize_t n = values.shape[0], n_edges
    cdef double[::1] scratch = np.empty(2 * n + 1)
    edges_array = np.empty(max(min(max_bins - 1, n), 1))
    cdef double[::1] edges = edges_array
    with nogil:
        n_edges = find_edges(&values[0] if n else NULL, &weights[0] if weights.shape[0] else NULL, n, max_bins,
                             &scratch[0], &scratch[n], &edges[0])
    return edges_array[:n_edges].copy()


cdef Py_ssize_t find_edges(const double *values, const double *weights, Py_ssize_t n, Py_ssize_t max_bins,
                           double *distinct, double *mass, double *edges) noexcept nogil:
    """OUT edges; scratch distinct, mass: n each. Returns the number of edges."""
    cdef Py_ssize_t n_distinct = 0, i
    cdef double total = 0
    for i in range(n):
        if n_distinct == 0 or values[i] != distinct[n_distinct - 1]:
            distinct[n_distinct] = values[i]
            mass[n_distinct] = 0
            n_distinct += 1
        mass[n_distinct - 1] += weights[i] if weights != NULL else 1.0
        total += weights[i] if weights != NULL else 1.0
    return edges_between(distinct, mass, n_distinct, total, max_bins, edges)


cdef Py_ssize_t edges_between(const double *distinct, const double *mass, Py_ssize_t n_distinct, double total,
                              Py_ssize_t max_bins, double *edges) noexcept nogil:
    """OUT edges between distinct values in ascending order, whose weights add up to the total; returns how many."""
    cdef double owned = 0, light, share, filled
    cdef Py_ssize_t shares, n_edges = 0, n_owners = 0, n_reserved = 0, i
    cdef bint owner
    if n_distinct <= max_bins:
        for i in range(n_distinct - 1):
            edges[i] = halfway(distinct[i], distinct[i + 1])
        return max(n_distinct - 1, 0)
    share = owners_share(mass, n_distinct, total, max_bins, &n_owners, &n_reserved, &owned)
    light = total - owned
    shares = max_bins - n_owners
    filled = 0
    for i in range(n_distinct - 1):
        filled += mass[i]
        owner = mass[i] >= share
        if owner or mass[i + 1] >= share:  # this edge is reserved
            n_reserved -= 1
        elif (n_edges + n_reserved >= max_bins - 1
              # not full yet, and nearer to full with the next value than without
              or (filled * shares < light and (filled + 0.5 * mass[i + 1]) * shares <= light)):
            continue
        edges[n_edges] = halfway(distinct[i], distinct[i + 1])
        n_edges += 1
        if not owner:
            light -= filled
            shares = max(shares - 1, 1)
        filled = 0
    return n_edges


cdef double owners_share(const double *mass, Py_ssize_t n, double total, Py_ssize_t max_bins, Py_ssize_t *n_owners,
                         Py_ssize_t *n_reserved, double *owned) noexcept nogil:
    """The weight from which a value owns its bin: an even share of the total, or so much more that the edges around the
    owners, whose number is OUT n_reserved, are not too many. OUT owned: what the owners weigh."""
    cdef double share = total / max_bins
    cdef Py_ssize_t i
    while True:
        n_owners[0] = n_reserved[0] = 0
        owned[0] = 0
        for i in range(n):
            if mass[i] >= share:
                n_owners[0] += 1
                owned[0] += mass[i]
            if i + 1 < n and (mass[i] >= share or mass[i + 1] >= share):
                n_reserved[0] += 1
        if n_reserved[0] <= max_bins - 1:
            return share
        share *= 1.25


cdef inline double halfway(double low, double high) noexcept nogil:
    """A number e with low <= e < high, near the middle; an infinity is no middle."""
    cdef double middle = 0.5 * low + 0.5 * high
    if isnan(middle) or isinf(middle):
        if isinf(low) and isinf(high):
            return 0.0
        return -1.7976931348623157e308 if isinf(low) and high > -1.7976931348623157e308 else low
    if middle >= high or middle < low:
        return low
    return middle
