"""From values to bins: quantile edges of each column, and the search that turns values into codes.

A feature with edges e0 < e1 < ... has the bins (-inf, e0], (e0, e1], ..., (ek, +inf]; a value's code is 1 + its bin,
and 0 where it is missing. The code of a level is 1 + its number, and one code more is for levels that come later::

    code   0 | 1 ... L | L + 1
     missing | levels  | levels from L on, which training rows do not have
"""

from concurrent.futures import ThreadPoolExecutor

from libc.math cimport INFINITY, isinf, isnan, nextafterf
from libc.stdint cimport (int8_t, int16_t, int32_t, int64_t, uint8_t, uint16_t, uint32_t, uint64_t)
from libc.stdlib cimport calloc, free, malloc
from libc.string cimport memcpy

import numpy as np

from boostgrad.data.matrix import BinnedMatrix
from boostgrad.native cimport bg_kernels, kernels, parallel_for

# Rows per task of the transform: its two buffers and its rows of codes stay in the caches.
DEF BLOCK = 2048

# Quantiles of longer columns come from this many rows, drawn without replacement.
SAMPLE_ROWS = 200_000

# Codes are 16 bits wide at most: missing, so many levels, and one for those beyond.
MAX_LEVELS = 65534

COLUMN_KINDS = {
    np.dtype(np.bool_): 0, np.dtype(np.int8): 1, np.dtype(np.uint8): 2, np.dtype(np.int16): 3, np.dtype(np.uint16): 4,
    np.dtype(np.float16): 5, np.dtype(np.float32): 6, np.dtype(np.int32): 7, np.dtype(np.uint32): 8,
    np.dtype(np.int64): 9, np.dtype(np.uint64): 10, np.dtype(np.float64): 11,
}


cdef bint reads_float32(int kind) noexcept nogil:
    return kind <= 6


cdef inline float half_to_float(uint16_t half) noexcept nogil:
    """IEEE 754 binary16 to binary32."""
    cdef uint32_t sign = <uint32_t> (half & 0x8000) << 16
    cdef uint32_t exponent = (half >> 10) & 31
    cdef uint32_t mantissa = half & 0x3ff
    cdef uint32_t bits
    cdef float value
    if exponent == 0:  # zero and subnormals: mantissa * 2^-24
        value = <float> mantissa * <float> 5.9604644775390625e-08
        return -value if sign else value
    bits = sign | (0x7f800000 if exponent == 31 else (exponent + 112) << 23) | (mantissa << 13)
    memcpy(&value, &bits, 4)
    return value


ctypedef fused narrow:
    int8_t
    uint8_t
    int16_t
    uint16_t
    float

ctypedef fused broad:
    int32_t
    uint32_t
    int64_t
    uint64_t
    double

ctypedef fused real:
    float
    double


cdef inline void gather(const char *data, int64_t stride, const int64_t *rows, int64_t begin, int64_t n, real *out,
                        narrow *narrow_tag, broad *broad_tag) noexcept nogil:
    cdef int64_t i
    if real is float:
        for i in range(n):
            out[i] = <float> (<const narrow *> (data + (rows[i] if rows != NULL else begin + i) * stride))[0]
    else:
        for i in range(n):
            out[i] = <double> (<const broad *> (data + (rows[i] if rows != NULL else begin + i) * stride))[0]


cdef void read_float32(const ColumnView *column, const int64_t *rows, int64_t begin, int64_t n,
                       float *out) noexcept nogil:
    cdef int64_t i
    if column.kind == 6:
        gather[float, float, double](column.data, column.stride, rows, begin, n, out, NULL, NULL)
    elif column.kind == 0 or column.kind == 2:
        gather[float, uint8_t, double](column.data, column.stride, rows, begin, n, out, NULL, NULL)
    elif column.kind == 1:
        gather[float, int8_t, double](column.data, column.stride, rows, begin, n, out, NULL, NULL)
    elif column.kind == 3:
        gather[float, int16_t, double](column.data, column.stride, rows, begin, n, out, NULL, NULL)
    elif column.kind == 4:
        gather[float, uint16_t, double](column.data, column.stride, rows, begin, n, out, NULL, NULL)
    else:
        for i in range(n):
            out[i] = half_to_float(
                (<const uint16_t *> (column.data + (rows[i] if rows != NULL else begin + i) * column.stride))[0])


cdef void read_float64(const ColumnView *column, const int64_t *rows, int64_t begin, int64_t n,
                       double *out) noexcept nogil:
    if column.kind == 11:
        gather[double, float, double](column.data, column.stride, rows, begin, n, out, NULL, NULL)
    elif column.kind == 7:
        gather[double, float, int32_t](column.data, column.stride, rows, begin, n, out, NULL, NULL)
    elif column.kind == 8:
        gather[double, float, uint32_t](column.data, column.stride, rows, begin, n, out, NULL, NULL)
    elif column.kind == 9:
        gather[double, float, int64_t](column.data, column.stride, rows, begin, n, out, NULL, NULL)
    else:
        gather[double, float, uint64_t](column.data, column.stride, rows, begin, n, out, NULL, NULL)


cdef void read_levels(const ColumnView *column, const int64_t *rows, int64_t begin, int64_t n, int64_t n_levels,
                      uint32_t *out) noexcept nogil:
    cdef int64_t i, level
    for i in range(n):
        level = (<const int32_t *> (column.data + (rows[i] if rows != NULL else begin + i) * column.stride))[0]
        out[i] = 0 if level < 0 else <uint32_t> (1 + min(level, n_levels))


cdef class ColumnViews:
    """The columns of a ``Columns``, for loops without the GIL; the arrays are kept alive, never copied."""

    def __cinit__(self, columns):
        cdef Py_ssize_t j
        cdef size_t address
        matrix = columns.matrix
        self.n = columns.n_columns
        self.views = <ColumnView *> calloc(self.n, sizeof(ColumnView))
        if self.views == NULL:
            raise MemoryError()
        if matrix is not None:
            self.held = matrix
            address = matrix.__array_interface__["data"][0]
            for j in range(self.n):
                self.views[j].data = <const char *> address + j * <int64_t> matrix.strides[1]
                self.views[j].stride = matrix.strides[0]
                self.views[j].kind = COLUMN_KINDS[matrix.dtype]
            return
        self.held = columns.views()
        for j in range(self.n):
            array = self.held[j]
            address = array.__array_interface__["data"][0]
            self.views[j].data = <const char *> address
            self.views[j].stride = array.strides[0]
            self.views[j].kind = COLUMN_KINDS[array.dtype]

    def __dealloc__(self):
        free(self.views)


cdef class EdgeTable:
    """Edges of every feature, padded with +inf to a power of two, for values in float64 and in float32.

    ``x <= edge`` has the same answer for a float32 x and the edge rounded down to float32, so values that fit float32
    are searched there, twice as many at a time.
    """

    def __cinit__(self, list edges):
        cdef Py_ssize_t j, k, n_edges
        cdef double[::1] given
        cdef unsigned int size
        cdef float rounded
        self.n = len(edges)
        self.edges = edges
        self.edges64 = <double **> calloc(self.n + 1, sizeof(double *))
        self.edges32 = <float **> calloc(self.n + 1, sizeof(float *))
        self.size = <unsigned int *> calloc(self.n + 1, sizeof(unsigned int))
        if self.edges64 == NULL or self.edges32 == NULL or self.size == NULL:
            raise MemoryError()
        for j in range(self.n):
            n_edges = len(edges[j])
            size = 1
            while size <= <unsigned int> n_edges:
                size *= 2
            self.size[j] = size
            self.edges64[j] = <double *> malloc(size * sizeof(double))
            self.edges32[j] = <float *> malloc(size * sizeof(float))
            if self.edges64[j] == NULL or self.edges32[j] == NULL:
                raise MemoryError()
            given = edges[j]
            for k in range(size):
                if k >= n_edges:
                    self.edges64[j][k] = INFINITY
                    self.edges32[j][k] = INFINITY
                    continue
                self.edges64[j][k] = given[k]
                rounded = <float> given[k]
                if <double> rounded > given[k]:
                    rounded = nextafterf(rounded, -INFINITY)
                self.edges32[j][k] = rounded

    def __dealloc__(self):
        cdef Py_ssize_t j
        for j in range(self.n):
            if self.edges64 != NULL:
                free(self.edges64[j])
            if self.edges32 != NULL:
                free(self.edges32[j])
        free(self.edges64)
        free(self.edges32)
        free(self.size)


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
    cdef Py_ssize_t n = values.shape[0], n_distinct = 0, i
    cdef bint weighted = weights.shape[0] > 0
    cdef double[::1] distinct = np.empty(n)
    cdef double[::1] mass = np.empty(n)
    cdef double total = 0, owned = 0, light, share, filled
    cdef Py_ssize_t shares, n_edges = 0, n_owners = 0, n_reserved = 0
    cdef bint owner
    edges_array = np.empty(max(max_bins - 1, 0))
    cdef double[::1] edges = edges_array
    with nogil:
        for i in range(n):
            if n_distinct == 0 or values[i] != distinct[n_distinct - 1]:
                distinct[n_distinct] = values[i]
                mass[n_distinct] = 0
                n_distinct += 1
            mass[n_distinct - 1] += weights[i] if weighted else 1.0
            total += weights[i] if weighted else 1.0
        if n_distinct <= max_bins:
            for i in range(n_distinct - 1):
                edges[n_edges] = halfway(distinct[i], distinct[i + 1])
                n_edges += 1
        else:
            share = owners_share(&mass[0], n_distinct, total, max_bins, &n_owners, &n_reserved, &owned)
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
    return edges_array[:n_edges].copy()


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


cdef struct TransformContext:
    const bg_kernels *k
    const ColumnView *columns
    double **edges64
    float **edges32
    const unsigned int *size
    const int64_t *n_levels  # 0: numeric
    const int64_t *rows
    int64_t n_rows
    int64_t n_features
    void *by_row
    void *by_column
    bint wide


cdef void transform_block(void *context, int64_t chunk, int worker) noexcept nogil:
    """Codes of one block of rows: values of a column are collected, searched, and laid down in both orders."""
    cdef TransformContext *c = <TransformContext *> context
    cdef int64_t begin = chunk * BLOCK
    cdef int64_t n = min(<int64_t> BLOCK, c.n_rows - begin)
    cdef double[BLOCK] values
    cdef uint16_t[BLOCK] codes
    cdef uint32_t[BLOCK] levels
    cdef const int64_t *rows = c.rows + begin if c.rows != NULL else NULL
    cdef int64_t j, i
    cdef uint8_t *row8
    cdef uint8_t *column8
    cdef uint16_t *row16
    for j in range(c.n_features):
        if c.n_levels[j] > 0:
            read_levels(&c.columns[j], rows, begin, n, c.n_levels[j], levels)
            for i in range(n):
                codes[i] = <uint16_t> levels[i]
        elif reads_float32(c.columns[j].kind):
            read_float32(&c.columns[j], rows, begin, n, <float *> values)
            c.k.search_f32(<float *> values, n, c.edges32[j], c.size[j], codes)
        else:
            read_float64(&c.columns[j], rows, begin, n, values)
            c.k.search_f64(values, n, c.edges64[j], c.size[j], codes)
        if c.wide:
            memcpy(<uint16_t *> c.by_column + j * c.n_rows + begin, codes, n * sizeof(uint16_t))
            row16 = <uint16_t *> c.by_row + begin * c.n_features + j
            for i in range(n):
                row16[i * c.n_features] = codes[i]
        else:
            column8 = <uint8_t *> c.by_column + j * c.n_rows + begin
            row8 = <uint8_t *> c.by_row + begin * c.n_features + j
            for i in range(n):
                column8[i] = <uint8_t> codes[i]
            for i in range(n):
                row8[i * c.n_features] = <uint8_t> codes[i]


def check_kinds(columns, categorical, features=None):
    """Raise unless just those columns are categorical that have to be.

    Parameters
    ----------
    columns : Columns
    categorical : sequence of bool
    features : sequence of int or None
        Which columns these are; None: all.
    """
    given = columns.n_levels or (0,) * columns.n_columns
    for j, wanted in zip(range(columns.n_columns) if features is None else features, categorical, strict=True):
        if bool(given[j]) != bool(wanted):
            kinds = ("categorical", "numeric") if wanted else ("numeric", "categorical")
            raise ValueError(f"column {columns.label(j)} was {kinds[0]} when the model was trained and is {kinds[1]} here")
        if wanted and columns[j].dtype != np.int32:
            raise ValueError(f"column {columns.label(j)}: levels must be int32, not {columns[j].dtype}")


class BinMapper:
    """Bins of every feature.

    Parameters
    ----------
    edges : list of ndarray of float64
        One strictly increasing array a feature, empty for a categorical one.
    n_levels : sequence of int, or None
        Levels of each categorical feature, 0 for a numeric one; None where all are numeric.
    """

    def __init__(self, edges, n_levels=None):
        self.edges = edges
        self.n_levels = np.zeros(len(edges), dtype=np.int64) if n_levels is None else np.array(n_levels, dtype=np.int64)
        self._table = EdgeTable(edges)

    @classmethod
    def fit(cls, columns, *, rows=None, weight=None, max_bins=255, rng=None, n_threads=1):
        """Learn quantile bins; of a categorical feature nothing but its number of levels.

        Parameters
        ----------
        columns : Columns
        rows : ndarray of int64 or None
            Rows to learn from; None: all.
        weight : ndarray of float64 or None
            Positive weights of those rows: weight 2 counts as two rows.
        max_bins : int
        rng : numpy.random.Generator
            Draws the sample of rows where there are more than ``SAMPLE_ROWS``.
        n_threads : int

        Raises
        ------
        ValueError
            If a categorical column has more than ``MAX_LEVELS`` levels.
        """
        n_levels = columns.n_levels or (0,) * columns.n_columns
        for j in range(columns.n_columns):
            if n_levels[j] > MAX_LEVELS:
                raise ValueError(
                    f"column {columns.label(j)} has {n_levels[j]} levels; a categorical column can have at most {MAX_LEVELS}"
                )
        n = columns.n_rows if rows is None else len(rows)
        if n > SAMPLE_ROWS:
            picked = np.sort(rng.choice(n, SAMPLE_ROWS, replace=False, shuffle=False))
            weight = None if weight is None else weight[picked]
            rows = picked if rows is None else rows[picked]
        even = weight is None or bool(np.all(weight == weight[0]))
        no_weights = np.empty(0)
        # row by row is the cheaper way through an array in C order, as long as the sample is small
        sample = columns.matrix[rows] if columns.matrix is not None and rows is not None and n > SAMPLE_ROWS else None

        def edges_of(j):
            if n_levels[j]:
                return np.empty(0)
            if sample is not None:
                values = sample[:, j]
            else:
                values = columns[j] if rows is None else columns[j][rows]
            values = np.array(values, dtype=np.float32 if values.dtype.itemsize < 4 else None)  # never the user's
            present = None
            if values.dtype.kind == "f":
                missing = np.isnan(values)
                if missing.any():
                    present = ~missing
                    values = values[present]
            if even:
                values.sort()
                return quantile_edges(values.astype(np.float64, copy=False), no_weights, max_bins)
            order = np.argsort(values, kind="stable")
            given = weight if present is None else weight[present]
            return quantile_edges(values[order].astype(np.float64, copy=False), given[order].astype(np.float64),
                                  max_bins)

        if n_threads == 1 or n * columns.n_columns < 100_000:
            return cls([edges_of(j) for j in range(columns.n_columns)], n_levels)
        with ThreadPoolExecutor(n_threads) as threads:
            return cls(list(threads.map(edges_of, range(columns.n_columns))), n_levels)

    def transform(self, columns, *, rows=None, n_threads=1):
        """Bin a table.

        Parameters
        ----------
        columns : Columns
        rows : ndarray of int64 or None
            Rows to bin, in this order; None: all.
        n_threads : int

        Returns
        -------
        BinnedMatrix
            uint8 codes where no feature has more than 255 bins, uint16 codes otherwise.

        Raises
        ------
        ValueError
            If a column is categorical here and was not there, or the other way round.
        """
        check_kinds(columns, self.n_levels > 0)
        cdef ColumnViews views = ColumnViews(columns)
        cdef EdgeTable table = self._table
        cdef TransformContext context
        cdef const int64_t[::1] row_view
        cdef const int64_t[::1] level_view = self.n_levels
        cdef int threads = n_threads
        n_codes = np.where(self.n_levels > 0, self.n_levels, [len(e) for e in self.edges]).astype(np.uint32) + 2
        wide = bool(n_codes.max() > 256)
        n_rows = columns.n_rows if rows is None else len(rows)
        dtype = np.uint16 if wide else np.uint8
        by_row = np.empty((n_rows, columns.n_columns), dtype=dtype)
        # predicting kernels read whole vectors, past the last code too
        by_column = np.empty(columns.n_columns * n_rows + 64, dtype=dtype)
        by_column = by_column[: columns.n_columns * n_rows].reshape(columns.n_columns, n_rows)
        cdef size_t row_address = by_row.__array_interface__["data"][0]
        cdef size_t column_address = by_column.__array_interface__["data"][0]
        context.k = kernels()
        context.columns = views.views
        context.edges64 = table.edges64
        context.edges32 = table.edges32
        context.size = table.size
        context.n_levels = &level_view[0]
        context.rows = NULL
        if rows is not None and n_rows > 0:
            row_view = rows
            context.rows = &row_view[0]
        context.n_rows = n_rows
        context.n_features = columns.n_columns
        context.by_row = <void *> row_address
        context.by_column = <void *> column_address
        context.wide = wide
        with nogil:
            parallel_for(transform_block, &context, (context.n_rows + BLOCK - 1) // BLOCK, threads)
        return BinnedMatrix(by_row=by_row, by_column=by_column, n_codes=n_codes, categorical=self.n_levels > 0)
