"""Ordered target statistics: what is known of a row's level from the rows that come before it.

Rows are sorted by level once, and a drawing shuffles each level's rows. A row's statistic is minus the sum of the
gradients before it over the prior plus the sum of the hessians before it, so never its own::

    level          |      3        |   4   |  5 ...
    rows           [ 7  2  9  0    | 4  6  | ...        sorted by level, then by row
    gradient       [ g7 g2 g9 g0   | g4 g6 | ...        of each signal; hessians alike
    order          [ 2  0  3  1    | 5  4  | ...        places, shuffled within the level
    statistic      [ 0  of {9}  of {9, 7}  of {9, 7, 0} | 0  of {6} | ...

Only the order within a level matters, so this is the order by one random permutation of all rows (Prokhorenkova et al.
2018, section 3.2) while everything that is read lies together.
"""

from libc.stdint cimport int32_t, int64_t, uint8_t, uint16_t, uint32_t, uint64_t

import numpy as np

from boostgrad.data.binning cimport EdgeTable
from boostgrad.native cimport address_of, bg_kernels, kernels, mix, parallel_for

# Statistics that are searched for their bins at a time.
DEF BLOCK = 1024

# Rows of a task, unless a single level has more.
CHUNK_ROWS = 16384


cdef struct DrawContext:
    const bg_kernels *k
    const uint32_t *rows
    const int64_t *begin       # where levels begin, n_levels + 1
    const int64_t *chunks      # first level of each task, and n_levels at the end
    uint32_t *order            # scratch
    const double *gradient     # of all signals
    const double *hessian      # NULL: constant
    double constant
    const double *prior
    int64_t n_signals
    int64_t n                  # rows that have a level
    uint64_t seed
    # where the statistics go: values of signal k at values + k * n_rows, or codes of its feature
    double *values
    double **edges
    const unsigned int *size
    void *codes
    const int64_t *features
    int64_t n_rows
    int code_bytes


cdef void shuffle(uint32_t *order, int64_t begin, int64_t end, uint64_t seed) noexcept nogil:
    """OUT order: begin .. end in random order (the inside-out form of Fisher and Yates)."""
    cdef int64_t i, j
    for i in range(begin, end):
        j = begin + <int64_t> ((mix(seed + <uint64_t> (i - begin)) >> 32) * <uint64_t> (i - begin + 1) >> 32)
        order[i] = order[j]
        order[j] = <uint32_t> i


cdef void put(const DrawContext *c, int64_t signal, const double *statistics, const uint32_t *rows, int64_t n) noexcept nogil:
    """Statistics of some rows to where they go."""
    cdef uint16_t[BLOCK] codes
    cdef uint8_t *column8
    cdef uint16_t *column16
    cdef double *values
    cdef int64_t i
    if c.values != NULL:
        values = c.values + signal * c.n_rows
        for i in range(n):
            values[rows[i]] = statistics[i]
        return
    c.k.search_f64(statistics, n, c.edges[c.features[signal]], c.size[c.features[signal]], codes)
    if c.code_bytes == 1:
        column8 = <uint8_t *> c.codes + c.features[signal] * c.n_rows
        for i in range(n):
            column8[rows[i]] = <uint8_t> codes[i]
    else:
        column16 = <uint16_t *> c.codes + c.features[signal] * c.n_rows
        for i in range(n):
            column16[rows[i]] = codes[i]


cdef void draw_chunk(void *context, int64_t chunk, int worker) noexcept nogil:
    """The statistics of the rows of a few levels."""
    cdef const DrawContext *c = <const DrawContext *> context
    cdef double[BLOCK] statistics
    cdef uint32_t[BLOCK] rows
    cdef int64_t level, signal, i, place, n = 0
    cdef const double *gradient
    cdef const double *hessian
    cdef double sum_g, sum_h
    for level in range(c.chunks[chunk], c.chunks[chunk + 1]):
        shuffle(c.order, c.begin[level], c.begin[level + 1], mix(c.seed ^ mix(level)))
    for signal in range(c.n_signals):
        gradient = c.gradient + signal * c.n
        hessian = c.hessian + signal * c.n if c.hessian != NULL else NULL
        for level in range(c.chunks[chunk], c.chunks[chunk + 1]):
            sum_g = 0
            sum_h = c.prior[signal]
            for i in range(c.begin[level], c.begin[level + 1]):
                place = c.order[i]
                statistics[n] = -sum_g / sum_h
                rows[n] = c.rows[place]
                sum_g += gradient[place]
                sum_h += hessian[place] if hessian != NULL else c.constant
                n += 1
                if n == BLOCK:
                    put(c, signal, statistics, rows, n)
                    n = 0
        put(c, signal, statistics, rows, n)
        n = 0


cdef class OrderedStatistics:
    """Statistics of one column of levels.

    Parameters
    ----------
    levels : ndarray of int32, shape (n_rows,)
        -1 where missing: such rows have no statistic.
    n_levels : int
    gradient : ndarray of float64, shape (n_signals, n_rows)
        At a constant prediction.
    hessian : ndarray of float64, shape (n_signals, n_rows), or float
    prior : ndarray of float64, shape (n_signals,)
        Positive; in units of the hessian.
    seed : int
    """

    cdef readonly int64_t n_rows, n_signals
    cdef object rows, begin, chunks, gradient, hessian, prior, order
    cdef double constant
    cdef uint64_t seed

    def __init__(self, levels, int64_t n_levels, gradient, hessian, prior, uint64_t seed):
        cdef const int32_t[::1] level = levels
        cdef int64_t i
        self.n_rows = len(levels)
        self.n_signals = len(gradient)
        self.seed = seed
        begin = np.zeros(n_levels + 1, dtype=np.int64)
        begin[1:] = np.cumsum(np.bincount(np.asarray(levels) + 1, minlength=n_levels + 1)[1:])
        cdef int64_t[::1] at = begin.copy()
        rows = np.empty(begin[n_levels], dtype=np.uint32)
        cdef uint32_t[::1] row_view = rows
        with nogil:
            for i in range(level.shape[0]):
                if level[i] >= 0:
                    row_view[at[level[i]]] = <uint32_t> i
                    at[level[i]] += 1
        self.rows, self.begin = rows, begin
        self.chunks = chunk_bounds(begin)
        self.gradient = np.ascontiguousarray(gradient[:, rows])
        self.constant = hessian if np.ndim(hessian) == 0 else 0.0
        self.hessian = None if np.ndim(hessian) == 0 else np.ascontiguousarray(hessian[:, rows])
        self.prior = np.ascontiguousarray(prior, dtype=np.float64)
        self.order = np.empty(len(rows), dtype=np.uint32)

    cdef void run(self, DrawContext *context, int64_t number, int n_threads):
        cdef const uint32_t[::1] rows = self.rows
        cdef uint32_t[::1] order = self.order
        cdef const int64_t[::1] begin = self.begin, chunks = self.chunks
        cdef const double[:, ::1] gradient = self.gradient, hessian
        cdef const double[::1] prior = self.prior
        cdef int64_t n_chunks = chunks.shape[0] - 1
        if rows.shape[0] == 0:
            return
        context.k = kernels()
        context.rows = &rows[0]
        context.begin = &begin[0]
        context.chunks = &chunks[0]
        context.order = &order[0]
        context.gradient = &gradient[0, 0]
        context.hessian = NULL
        if self.hessian is not None:
            hessian = self.hessian
            context.hessian = &hessian[0, 0]
        context.constant = self.constant
        context.prior = &prior[0]
        context.n_signals = self.n_signals
        context.n = rows.shape[0]
        context.n_rows = self.n_rows
        context.seed = mix(self.seed ^ mix(<uint64_t> number))
        with nogil:
            parallel_for(draw_chunk, context, n_chunks, n_threads)

    def values(self, int64_t number, int n_threads=1):
        """The statistics of one drawing.

        Parameters
        ----------
        number : int
            Of the drawing.
        n_threads : int, default=1

        Returns
        -------
        ndarray of float64, shape (n_signals, n_rows)
            NaN where the level is missing.
        """
        cdef DrawContext context
        out = np.full((self.n_signals, self.n_rows), np.nan)
        cdef double[:, ::1] view = out
        if out.size:
            context.values = &view[0, 0]
            self.run(&context, number, n_threads)
        return out

    def recode(self, int64_t number, matrix, EdgeTable edges, features, int n_threads=1):
        """Write the bins of the statistics of one drawing into a binned table.

        Parameters
        ----------
        number : int
        matrix : BinnedMatrix
            OUT: the codes of the features. Those of rows without a level stay.
        edges : EdgeTable
            Of all features of the table.
        features : ndarray of int64, shape (n_signals,)
            Which feature is which signal.
        n_threads : int, default=1
        """
        cdef DrawContext context
        cdef const int64_t[::1] feature_view = features
        context.values = NULL
        context.edges = edges.edges64
        context.size = edges.size
        context.codes = <void *> address_of(matrix.by_column)
        context.features = &feature_view[0]
        context.code_bytes = matrix.by_column.itemsize
        self.run(&context, number, n_threads)


def chunk_bounds(begin):
    """First levels of pieces of about ``CHUNK_ROWS`` rows, and the number of levels."""
    bounds, first, n_levels = [0], 0, len(begin) - 1
    while first < n_levels:
        first = min(max(int(np.searchsorted(begin, begin[first] + CHUNK_ROWS)), first + 1), n_levels)
        bounds.append(first)
    return np.array(bounds, dtype=np.int64)
