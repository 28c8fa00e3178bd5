"""Bins and codes of sparse columns, from their stored entries alone.

A column with n_rows rows and a few stored entries has one more value, 0, that weighs what they leave over. Edges and
codes are those of the dense column::

    stored    (row 1: 2.5) (row 4: -1.0) (row 7: nan)    ->    values  -1.0   0.0   2.5       of 10 rows
                                                               weight     1     7     1
"""

from libc.math cimport isnan
from libc.stdint cimport int32_t, int64_t, uint16_t, uint32_t
from libc.stdlib cimport free, malloc
from libc.string cimport memcpy

import numpy as np

from boostgrad.data.columns import Columns
from boostgrad.data.matrix import SparseBinnedMatrix
from boostgrad.data.quantiles cimport edges_between
from boostgrad.data.views cimport ColumnView, ColumnViews, read_float32, read_float64, reads_float32
from boostgrad.native cimport parallel_for

# Stored entries that are read at a time.
DEF PIECE = 256

# Entries are sorted in runs of so many first.
DEF RUN = 16

# Columns a task takes at a time.
DEF COLUMNS_PER_TASK = 32

cdef struct Weighed:
    double value
    double weight

cdef struct EdgeContext:
    const ColumnView *values     # of all stored entries
    const int32_t *rows
    const int64_t *begin
    int64_t n_columns
    const double *weight_of      # by row, 0: not in the sample; NULL: all rows weigh 1
    int64_t n_sampled
    double total                 # weight of the sample
    int64_t max_bins
    int64_t longest
    Weighed *entries             # 2 * longest a worker
    double *distinct             # longest + 1 a worker
    double *mass
    const int64_t *edge_begin
    int64_t *n_edges
    double *edges


cdef void read_piece(const ColumnView *values, int64_t begin, int64_t n, double *out) noexcept nogil:
    """OUT out: at most PIECE stored values, whatever their dtype."""
    cdef float[PIECE] narrow
    cdef int64_t i
    if reads_float32(values.kind):
        read_float32(values, NULL, begin, n, narrow)
        for i in range(n):
            out[i] = narrow[i]
    else:
        read_float64(values, NULL, begin, n, out)


cdef Weighed *merge_sort(Weighed *entries, Weighed *other, int64_t n) noexcept nogil:
    """Sort by value; returns the one of both arrays that holds the result."""
    cdef int64_t begin, middle, end, i, j, at, width = RUN
    cdef Weighed moving
    cdef Weighed *swap
    begin = 0
    while begin < n:
        end = min(begin + RUN, n)
        for i in range(begin + 1, end):
            moving = entries[i]
            j = i
            while j > begin and entries[j - 1].value > moving.value:
                entries[j] = entries[j - 1]
                j -= 1
            entries[j] = moving
        begin = end
    while width < n:
        begin = 0
        while begin < n:
            middle = min(begin + width, n)
            end = min(begin + 2 * width, n)
            i = begin
            j = middle
            at = begin
            while i < middle and j < end:
                if entries[j].value < entries[i].value:
                    other[at] = entries[j]
                    j += 1
                else:
                    other[at] = entries[i]
                    i += 1
                at += 1
            memcpy(other + at, entries + i, (middle - i) * sizeof(Weighed))
            memcpy(other + at + middle - i, entries + j, (end - j) * sizeof(Weighed))
            begin = end
        swap = entries
        entries = other
        other = swap
        width *= 2
    return entries


cdef void add_value(double value, double weight, double *distinct, double *mass, int64_t *n) noexcept nogil:
    if n[0] == 0 or distinct[n[0] - 1] != value:
        distinct[n[0]] = value
        mass[n[0]] = 0
        n[0] += 1
    mass[n[0] - 1] += weight


cdef void find_edges(void *context, int64_t chunk, int worker) noexcept nogil:
    cdef EdgeContext *c = <EdgeContext *> context
    cdef Weighed *entries
    cdef double *distinct = c.distinct + worker * (c.longest + 1)
    cdef double *mass = c.mass + worker * (c.longest + 1)
    cdef double[PIECE] values
    cdef int64_t column, at, end, n, i, n_values, n_stored, n_distinct
    cdef double weight, stored, missing
    cdef bint zeros
    for column in range(chunk * COLUMNS_PER_TASK, min((chunk + 1) * COLUMNS_PER_TASK, c.n_columns)):
        entries = c.entries + worker * 2 * c.longest
        n_values = n_stored = n_distinct = 0
        stored = missing = 0
        at = c.begin[column]
        end = c.begin[column + 1]
        while at < end:
            n = min(<int64_t> PIECE, end - at)
            read_piece(c.values, at, n, values)
            for i in range(n):
                weight = c.weight_of[c.rows[at + i]] if c.weight_of != NULL else 1.0
                if weight == 0 or values[i] == 0:
                    continue
                n_stored += 1
                stored += weight
                if isnan(values[i]):
                    missing += weight
                    continue
                entries[n_values].value = values[i]
                entries[n_values].weight = weight
                n_values += 1
            at += n
        entries = merge_sort(entries, entries + c.longest, n_values)
        zeros = n_stored < c.n_sampled
        for i in range(n_values):
            if zeros and entries[i].value > 0:
                add_value(0.0, c.total - stored, distinct, mass, &n_distinct)
                zeros = False
            add_value(entries[i].value, entries[i].weight, distinct, mass, &n_distinct)
        if zeros:
            add_value(0.0, c.total - stored, distinct, mass, &n_distinct)
        c.n_edges[column] = edges_between(distinct, mass, n_distinct, c.total - missing, c.max_bins,
                                          c.edges + c.edge_begin[column])


def sparse_edges(columns, rows, weight, Py_ssize_t max_bins, int n_threads):
    """Edges between bins, as ``quantile_edges`` finds them in the dense columns.

    Parameters
    ----------
    columns : SparseColumns
    rows : ndarray of int64 or None
        Rows to learn from; None: all.
    weight : ndarray of float64 or None
        Positive weights of those rows, whose sums are exact; None: all are 1.
    max_bins : int
    n_threads : int

    Returns
    -------
    list of ndarray of float64
    """
    cdef EdgeContext context
    values, indices, begin = columns.by_column()
    cdef ColumnViews views = ColumnViews(Columns([values], len(values), None))
    cdef const int32_t[::1] row_view = held_rows(indices)
    cdef const int64_t[::1] begin_view = begin
    cdef const double[::1] weight_view
    cdef int64_t longest = max(int(np.diff(begin).max()), 1)
    room = np.minimum(np.diff(begin) + 1, max_bins)
    edge_begin = np.concatenate([[0], np.cumsum(room)])
    edges = np.empty(int(room.sum()))
    n_edges = np.zeros(columns.n_columns, dtype=np.int64)
    cdef const int64_t[::1] edge_begin_view = edge_begin
    cdef double[::1] edges_view = edges
    cdef int64_t[::1] n_edges_view = n_edges
    cdef int threads = n_threads
    context.values = views.views
    context.rows = &row_view[0] if row_view.shape[0] else NULL
    context.begin = &begin_view[0]
    context.n_columns = columns.n_columns
    context.weight_of = NULL
    context.n_sampled = columns.n_rows if rows is None else len(rows)
    context.total = context.n_sampled if weight is None else weight.sum()
    if rows is not None or weight is not None:
        weight_of = np.zeros(columns.n_rows)
        weight_of[slice(None) if rows is None else rows] = 1.0 if weight is None else weight
        weight_view = weight_of
        context.weight_of = &weight_view[0]
    context.max_bins = max_bins
    context.longest = longest
    context.edge_begin = &edge_begin_view[0]
    context.n_edges = &n_edges_view[0]
    context.edges = &edges_view[0]
    context.entries = <Weighed *> malloc(threads * 2 * longest * sizeof(Weighed))
    context.distinct = <double *> malloc(threads * (longest + 1) * sizeof(double))
    context.mass = <double *> malloc(threads * (longest + 1) * sizeof(double))
    try:
        if context.entries == NULL or context.distinct == NULL or context.mass == NULL:
            raise MemoryError()
        with nogil:
            parallel_for(find_edges, &context, (context.n_columns + COLUMNS_PER_TASK - 1) // COLUMNS_PER_TASK, threads)
    finally:
        free(context.entries)
        free(context.distinct)
        free(context.mass)
    starts = edge_begin[: columns.n_columns]
    return [edges[start:end] for start, end in zip(starts.tolist(), (starts + n_edges).tolist(), strict=True)]


def held_rows(indices):
    """Row numbers in 32 bits; training refuses tables of more rows."""
    return np.ascontiguousarray(indices, dtype=np.int32)


# ---- codes -----------------------------------------------------------------------------------------------------------


cdef struct CodeContext:
    const ColumnView *values
    const int32_t *stored_rows
    const int64_t *begin
    int64_t n_columns
    const int32_t *number_of     # by row: its number in the result, -1: not in it; NULL: its own
    const double *edges
    const int64_t *edge_begin
    uint16_t *default_code
    uint32_t *rows               # OUT: a column's entries from where its stored ones begin
    uint16_t *codes
    int64_t *n_kept


cdef inline uint16_t code_of(double value, const double *edges, int64_t n) noexcept nogil:
    """0 where missing, else 1 + the number of edges below the value."""
    cdef int64_t first = 0, half
    if isnan(value):
        return 0
    while n > 1:
        half = n // 2
        first += half if edges[first + half - 1] < value else 0
        n -= half
    return <uint16_t> (1 + first + (n == 1 and edges[first] < value))


cdef void code_columns(void *context, int64_t chunk, int worker) noexcept nogil:
    cdef CodeContext *c = <CodeContext *> context
    cdef double[PIECE] values
    cdef int64_t column, at, end, n, i, kept, n_edges
    cdef int32_t row
    cdef uint16_t zero, code
    cdef const double *edges
    for column in range(chunk * COLUMNS_PER_TASK, min((chunk + 1) * COLUMNS_PER_TASK, c.n_columns)):
        edges = c.edges + c.edge_begin[column]
        n_edges = c.edge_begin[column + 1] - c.edge_begin[column]
        zero = c.default_code[column] = code_of(0.0, edges, n_edges)
        kept = at = c.begin[column]
        end = c.begin[column + 1]
        while at < end:
            n = min(<int64_t> PIECE, end - at)
            read_piece(c.values, at, n, values)
            for i in range(n):
                row = c.stored_rows[at + i] if c.number_of == NULL else c.number_of[c.stored_rows[at + i]]
                code = code_of(values[i], edges, n_edges)
                if row < 0 or code == zero:
                    continue
                c.rows[kept] = <uint32_t> row
                c.codes[kept] = code
                kept += 1
            at += n
        c.n_kept[column] = kept - c.begin[column]


def bin_sparse(columns, list edges, rows, int n_threads):
    """Codes of sparse columns.

    Parameters
    ----------
    columns : SparseColumns
    edges : list of ndarray of float64
    rows : ndarray of int64 or None
        Rows to bin, none twice; row i of the result is row ``rows[i]``. None: all.
    n_threads : int

    Returns
    -------
    SparseBinnedMatrix
    """
    cdef CodeContext context
    values, indices, begin = columns.by_column()
    cdef ColumnViews views = ColumnViews(Columns([values], len(values), None))
    cdef const int32_t[::1] row_view = held_rows(indices)
    cdef const int64_t[::1] begin_view = begin
    cdef const int32_t[::1] number_view
    cdef int threads = n_threads
    cdef int64_t column, n, at = 0
    n_rows = columns.n_rows if rows is None else len(rows)
    flat = np.concatenate([*edges, np.zeros(1)])
    edge_begin = np.zeros(len(edges) + 1, dtype=np.int64)
    np.cumsum([len(e) for e in edges], out=edge_begin[1:])
    default_code = np.empty(len(edges), dtype=np.uint16)
    kept_rows = np.empty(len(values) + 1, dtype=np.uint32)
    codes = np.empty(len(values) + 1, dtype=np.uint16)
    column_begin = np.zeros(len(edges) + 1, dtype=np.int64)
    cdef const double[::1] flat_view = flat
    cdef const int64_t[::1] edge_begin_view = edge_begin
    cdef uint16_t[::1] default_view = default_code
    cdef uint32_t[::1] rows_view = kept_rows
    cdef uint16_t[::1] codes_view = codes
    cdef int64_t[::1] kept_view = column_begin
    context.values = views.views
    context.stored_rows = &row_view[0] if row_view.shape[0] else NULL
    context.begin = &begin_view[0]
    context.n_columns = columns.n_columns
    context.number_of = NULL
    if rows is not None:
        number_of = np.full(columns.n_rows, -1, dtype=np.int32)
        number_of[rows] = np.arange(len(rows), dtype=np.int32)
        number_view = number_of
        context.number_of = &number_view[0]
    context.edges = &flat_view[0]
    context.edge_begin = &edge_begin_view[0]
    context.default_code = &default_view[0]
    context.rows = &rows_view[0]
    context.codes = &codes_view[0]
    context.n_kept = &kept_view[1]
    with nogil:
        parallel_for(code_columns, &context, (context.n_columns + COLUMNS_PER_TASK - 1) // COLUMNS_PER_TASK, threads)
        # what was kept moves together
        for column in range(context.n_columns):
            n = kept_view[column + 1]
            if at < begin_view[column]:
                shift_left(context.rows, context.codes, begin_view[column], at, n)
            at += n
            kept_view[column + 1] = at
    kept_rows = np.ascontiguousarray(kept_rows[:at]) if at == len(values) else kept_rows[:at].copy()
    codes = codes[:at] if at == len(values) else codes[:at].copy()
    row_begin, row_features, row_codes = by_row(column_begin, kept_rows, codes, n_rows)
    return SparseBinnedMatrix(
        n_rows=n_rows,
        n_codes=np.array([len(e) + 2 for e in edges], dtype=np.uint32),
        default_code=default_code,
        column_begin=column_begin,
        rows=kept_rows,
        codes=codes,
        row_begin=row_begin,
        row_features=row_features,
        row_codes=row_codes,
    )


cdef void shift_left(uint32_t *rows, uint16_t *codes, int64_t begin, int64_t to, int64_t n) noexcept nogil:
    cdef int64_t i
    for i in range(n):
        rows[to + i] = rows[begin + i]
        codes[to + i] = codes[begin + i]


cdef by_row(const int64_t[::1] column_begin, const uint32_t[::1] rows, const uint16_t[::1] codes, Py_ssize_t n_rows):
    """The same entries row by row: (where each row begins, features, codes)."""
    cdef Py_ssize_t n_columns = column_begin.shape[0] - 1, n_stored = rows.shape[0]
    begin = np.zeros(n_rows + 1, dtype=np.int64)
    features = np.empty(n_stored, dtype=np.uint32)
    row_codes = np.empty(n_stored, dtype=np.uint16)
    next_array = np.empty(n_rows + 1, dtype=np.int64)
    cdef int64_t[::1] begin_view = begin, place = next_array
    cdef uint32_t[::1] features_view = features
    cdef uint16_t[::1] codes_view = row_codes
    cdef int64_t i, column
    with nogil:
        for i in range(n_stored):
            begin_view[rows[i] + 1] += 1
        for i in range(n_rows):
            begin_view[i + 1] += begin_view[i]
        place[:] = begin_view
        for column in range(n_columns):
            for i in range(column_begin[column], column_begin[column + 1]):
                features_view[place[rows[i]]] = <uint32_t> column
                codes_view[place[rows[i]]] = codes[i]
                place[rows[i]] += 1
    return begin, features, row_codes
