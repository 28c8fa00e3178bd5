"""From values to bins: quantile edges of each column, and the search that turns values into codes.

A feature with edges e0 < e1 < ... has the bins (-inf, e0], (e0, e1], ..., (ek, +inf]; a value's code is 1 + its bin,
and 0 where it is missing. The code of a level is 1 + its number, and one code more is for levels that come later::

    code   0 | 1 ... L | L + 1
     missing | levels  | levels from L on, which training rows do not have
"""

from concurrent.futures import ThreadPoolExecutor

from libc.math cimport INFINITY, nextafterf
from libc.stdint cimport int64_t, uint8_t, uint16_t, uint32_t
from libc.stdlib cimport calloc, free, malloc
from libc.string cimport memcpy

import numpy as np

from boostgrad.data.columns import Columns, SparseColumns, ascends
from boostgrad.data.matrix import BinnedMatrix
from boostgrad.data.levels import MAX_LEVELS
from boostgrad.data.quantiles import SortingRoom, quantile_edges
from boostgrad.data.sampling import SAMPLE_ROWS, sample_rows
from boostgrad.data.sparse import bin_sparse, sparse_edges
from boostgrad.data.views import COLUMN_KINDS
from boostgrad.data.views cimport ColumnView, ColumnViews, read_float32, read_float64, read_levels, reads_float32
from boostgrad.native cimport bg_kernels, kernels, parallel_for

# Rows per task of the transform: its two buffers and its rows of codes stay in the caches.
DEF BLOCK = 2048

cdef int INT32_KIND = COLUMN_KINDS[np.dtype(np.int32)]

NO_ROWS = np.empty(0, dtype=np.int64)


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


cdef struct TransformContext:
    const bg_kernels *k
    const ColumnView *columns
    double **edges64
    float **edges32
    const unsigned int *size
    const int64_t *n_levels  # 0: numeric
    const int64_t *rows
    int64_t n_rows
    const int64_t *features
    int64_t n_features
    void *by_column
    int64_t column_stride  # codes from a column to the next
    bint wide


cdef void transform_block(void *context, int64_t chunk, int worker) noexcept nogil:
    """Codes of one block of rows: values of a column are collected, searched, and laid down."""
    cdef TransformContext *c = <TransformContext *> context
    cdef int64_t begin = chunk * BLOCK
    cdef int64_t n = min(<int64_t> BLOCK, c.n_rows - begin)
    cdef double[BLOCK] values
    cdef uint16_t[BLOCK] codes
    cdef uint32_t[BLOCK] levels
    cdef const int64_t *rows = c.rows + begin if c.rows != NULL else NULL
    cdef int64_t j, f, i
    cdef uint8_t *column8
    for f in range(c.n_features):
        j = c.features[f]
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
            memcpy(<uint16_t *> c.by_column + j * c.column_stride + begin, codes, n * sizeof(uint16_t))
        else:
            column8 = <uint8_t *> c.by_column + j * c.column_stride + begin
            for i in range(n):
                column8[i] = <uint8_t> codes[i]


def exact_weights(weight):
    """Weights as integers in proportion, so few bits that sums of ``SAMPLE_ROWS`` of them are exact in any order: what
    zeros weigh is then the same whether they are counted or left over."""
    exponent = int(np.frexp(weight.max())[1])
    return np.maximum(np.rint(np.ldexp(weight, 34 - exponent)), 1.0)


def groups(columns):
    """Numbers of the columns that are binned at a time: those that lie there together, those that have to be made one
    by one, and block by block of rows, so that they take little memory."""
    if columns.matrix is not None:
        return [list(range(columns.n_columns))]
    there = [j for j in range(columns.n_columns) if not columns.is_made(j)]
    return ([there] if there else []) + [[j] for j in range(columns.n_columns) if columns.is_made(j)]


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


cdef transform_group(TransformContext *context, columns, list group, rows, int n_threads):
    """Bin some columns that lie there, or are made now."""
    cdef const int64_t[::1] row_view, group_view = np.array(group, dtype=np.int64)
    cdef ColumnViews views = ColumnViews(columns, group)
    for j in group:
        if context.n_levels[j] > 0 and views.views[j].kind != INT32_KIND:
            raise ValueError(f"column {columns.label(j)}: levels must be int32, not {columns[j].dtype}")
    context.rows = NULL
    context.n_rows = columns.n_rows if rows is None else len(rows)
    if context.n_rows == 0:
        return
    if rows is not None:
        row_view = rows
        context.rows = &row_view[0]
    context.columns = views.views
    context.features = &group_view[0]
    context.n_features = group_view.shape[0]
    with nogil:
        parallel_for(transform_block, context, (context.n_rows + BLOCK - 1) // BLOCK, n_threads)


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
        self.table = EdgeTable(edges)

    @classmethod
    def fit(cls, columns, *, rows=None, weight=None, max_bins=255, n_threads=1):
        """Learn quantile bins, from ``sample_rows`` of the rows; of a categorical feature nothing but its number of
        levels.

        Parameters
        ----------
        columns : Columns
        rows : ndarray of int64 or None
            Rows to learn from; None: all.
        weight : ndarray of float64 or None
            Positive weights of those rows: weight 2 counts as two rows.
        max_bins : int
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
            picked = sample_rows(n)
            weight = None if weight is None else weight[picked]
            rows = picked if rows is None else rows[picked]
            n = len(picked)
        even = weight is None or bool(np.all(weight == weight[0]))
        if not even:
            weight = exact_weights(weight)
        if isinstance(columns, SparseColumns):
            return cls(sparse_edges(columns, rows, None if even else weight, max_bins, n_threads))
        row_numbers = NO_ROWS if rows is None else rows
        there = ColumnViews(columns, [j for j in range(columns.n_columns) if not columns.is_made(j)])
        rooms = [SortingRoom(n) for _ in range(n_threads)]

        def edges_of(j):
            if n_levels[j]:
                return np.empty(0)
            if even:
                room = rooms.pop()
                if columns.is_made(j):
                    values = columns.at(j, rows)
                    edges = room.column_edges(ColumnViews(Columns([values], len(values), None)), 0, NO_ROWS, max_bins)
                else:
                    edges = room.column_edges(there, j, row_numbers, max_bins)
                rooms.append(room)
                return edges
            values = np.asarray(columns.at(j, rows), dtype=np.float64)
            present = np.flatnonzero(~np.isnan(values))
            present = present[np.argsort(values[present], kind="stable")]
            return quantile_edges(values[present], weight[present].astype(np.float64, copy=False), max_bins)

        if n_threads == 1 or n * columns.n_columns < 100_000:
            return cls([edges_of(j) for j in range(columns.n_columns)], n_levels)
        with ThreadPoolExecutor(n_threads) as threads:
            return cls(list(threads.map(edges_of, range(columns.n_columns))), n_levels)

    def transform(self, columns, *, rows=None, n_threads=1, out=None):
        """Bin a table.

        Parameters
        ----------
        columns : Columns
        rows : ndarray of int64 or None
            Rows to bin, in this order; None: all.
        n_threads : int
        out : ndarray or None
            Where the codes go: as :meth:`room` makes it, or a slice of rows of that. Not for sparse columns.

        Returns
        -------
        BinnedMatrix or SparseBinnedMatrix
            uint8 codes where no feature has more than 255 bins, uint16 codes otherwise; of sparse columns a
            SparseBinnedMatrix.

        Raises
        ------
        ValueError
            If a column is categorical here and was not there, or the other way round.
        """
        check_kinds(columns, self.n_levels > 0)
        if isinstance(columns, SparseColumns):
            return bin_sparse(columns, self.edges, rows, n_threads)
        cdef EdgeTable table = self.table
        cdef TransformContext context
        cdef const int64_t[::1] level_view = self.n_levels
        n_rows = columns.n_rows if rows is None else len(rows)
        by_column = self.room(n_rows) if out is None else out
        cdef size_t address = by_column.__array_interface__["data"][0]
        context.k = kernels()
        context.edges64 = table.edges64
        context.edges32 = table.edges32
        context.size = table.size
        context.n_levels = &level_view[0]
        context.by_column = <void *> address
        context.column_stride = by_column.strides[0] // by_column.itemsize
        cdef int64_t first, code_bytes = by_column.itemsize
        context.wide = code_bytes == 2
        for group in groups(columns):
            if not columns.is_made(group[0]) or not ascends(rows):
                transform_group(&context, columns, group, rows, n_threads)
                continue
            for begin, first, end in columns.blocks(rows):
                context.by_column = <void *> (address + <size_t> (first * code_bytes))
                here = None if rows is None else rows[first:end] - begin
                transform_group(&context, columns.block(begin), group, here, n_threads)
            context.by_column = <void *> address
        return self.matrix(by_column)

    @property
    def n_codes(self):
        """Codes of each feature, uint32."""
        return np.where(self.n_levels > 0, self.n_levels, [len(e) for e in self.edges]).astype(np.uint32) + 2

    def room(self, n_rows, directory=None):
        """An array for the codes of so many rows."""
        dtype = np.uint16 if self.n_codes.max() > 256 else np.uint8
        return BinnedMatrix.room(len(self.edges), n_rows, dtype, directory)

    def matrix(self, by_column, directory=None):
        """These codes as a BinnedMatrix."""
        return BinnedMatrix(by_column, self.n_codes, self.n_levels > 0, directory)
