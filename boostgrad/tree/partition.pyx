"""Which rows are in which node: one array of row numbers, and a node is a piece of it.

::

    rows   [ 0 3 4 | 1 2 5 6 ]     node A: begin 0, count 3    node B: begin 3, count 4

Splitting a node parts its piece in place; both halves keep the rows in ascending order.
"""

from libc.stdint cimport int64_t, uint8_t, uint16_t, uint32_t
from libc.stdlib cimport free, malloc
from libc.string cimport memcpy

import numpy as np

from boostgrad.data.matrix import row_array
from boostgrad.native cimport address_of, bg_kernels, kernels, parallel_for, partition_kernel, table_partition_kernel

# Rows a task parts, at most; a node of half as many is parted by one thread.
DEF ROWS_PER_TASK = 16384


cdef class RowPartition:
    """The rows of one fit.

    Parameters
    ----------
    matrix : BinnedMatrix
    n_threads : int
    """

    def __cinit__(self, matrix, int n_threads):
        self.k = kernels()
        self.matrix = matrix
        self.code_bytes = 2
        if type(self) is RowPartition:
            self.columns = <const char *> address_of(matrix.by_column)
            self.code_bytes = matrix.by_column.itemsize
        self.kernel = self.k.partition_u8 if self.code_bytes == 1 else self.k.partition_u16
        self.table_kernel = self.k.partition_table_u8 if self.code_bytes == 1 else self.k.partition_table_u16
        self.n_rows = matrix.n_rows
        self.n_threads = n_threads
        self.held = [row_array(self.n_rows, np.uint32, matrix.directory) for _ in range(2)]
        self.rows = <uint32_t *> address_of(self.held[0])
        self.other = <uint32_t *> address_of(self.held[1])
        self.n_left = <int64_t *> malloc((self.n_rows // ROWS_PER_TASK + n_threads + 2) * sizeof(int64_t))
        if self.n_left == NULL:
            raise MemoryError()

    def __dealloc__(self):
        free(self.n_left)

    cdef const void *column(self, int feature) noexcept nogil:
        """The codes of a feature, of all rows."""
        return self.columns + feature * self.n_rows * self.code_bytes

    cdef void part(self, const SplitContext *c, int64_t chunk) noexcept nogil:
        cdef int64_t begin = c.begin + chunk * c.rows_per_task
        cdef int64_t n = min(c.rows_per_task, c.n - chunk * c.rows_per_task)
        cdef const uint32_t *rows = NULL if self.whole else self.rows + begin
        if c.goes_left != NULL:
            self.n_left[chunk] = self.table_kernel(c.column, c.goes_left, rows, begin, n, self.other + begin)
        else:
            self.n_left[chunk] = self.kernel(c.column, c.code, c.shift, rows, begin, n, self.other + begin)

    cdef void copy(self, const SplitContext *c, int64_t chunk) noexcept nogil:
        cdef int64_t offset = chunk * c.rows_per_task
        cdef int64_t n = min(c.rows_per_task, c.n - offset)
        cdef int64_t left_before = self.n_left[chunk]
        cdef int64_t n_left = self.n_left[chunk + 1] - left_before
        cdef const uint32_t *parted = self.other + c.begin + offset
        cdef uint32_t *right = self.rows + c.begin + c.total_left + (offset - left_before)
        cdef int64_t i
        memcpy(self.rows + c.begin + left_before, parted, n_left * sizeof(uint32_t))
        for i in range(n - n_left):
            right[i] = parted[n - 1 - i]

    def row_numbers(self):
        """A copy of the row numbers, node by node; uint32."""
        if self.whole:
            return np.arange(self.n_rows, dtype=np.uint32)
        return np.asarray(<uint32_t[:self.n_rows]> self.rows).copy()

    cdef void reset(self) noexcept nogil:
        """All rows in one node; they are written down when it is split."""
        self.whole = True

    cdef int64_t split(self, int64_t begin, int64_t n, int feature, uint32_t code, bint missing_left,
                       const uint8_t *goes_left) noexcept nogil:
        """Part rows[begin : begin + n] by a feature; returns how many went left. goes_left: NULL, or for a categorical
        one a byte a code, which counts instead of code and missing_left.

        Each task parts its rows into its piece of ``other``, left ones from the front, right ones from the back; once
        all counts are known the pieces are copied to where they belong.
        """
        cdef SplitContext context
        cdef int64_t n_tasks = 1
        cdef int64_t task, before = 0, here
        if 2 * n > ROWS_PER_TASK:  # an equal number for each thread
            n_tasks = self.n_threads * ((n + ROWS_PER_TASK * self.n_threads - 1) // (ROWS_PER_TASK * self.n_threads))
        context.rows_per_task = (n + n_tasks - 1) // n_tasks
        n_tasks = (n + context.rows_per_task - 1) // context.rows_per_task
        context.partition = <void *> self
        context.begin = begin
        context.n = n
        context.column = self.column(feature)
        context.code = code
        context.shift = 0 if missing_left else 1
        context.goes_left = goes_left
        parallel_for(part_rows, &context, n_tasks, self.n_threads)
        for task in range(n_tasks):  # counts become offsets
            here = self.n_left[task]
            self.n_left[task] = before
            before += here
        self.n_left[n_tasks] = before
        context.total_left = before
        parallel_for(copy_rows, &context, n_tasks, self.n_threads)
        self.whole = False
        return before

    cdef void split_alone(self, int64_t begin, int64_t n, int feature, uint32_t code, bint missing_left,
                          const uint8_t *goes_left) noexcept nogil:
        """The same by the calling thread alone, which may be one of several that split different nodes."""
        cdef uint32_t *rows = self.rows + begin
        cdef uint32_t *parted = self.other + begin
        cdef int64_t left, i
        if goes_left != NULL:
            left = self.table_kernel(self.column(feature), goes_left, rows, begin, n, parted)
        else:
            left = self.kernel(self.column(feature), code, 0 if missing_left else 1, rows, begin, n, parted)
        memcpy(rows, parted, left * sizeof(uint32_t))
        for i in range(n - left):
            rows[left + i] = parted[n - 1 - i]

    cdef void rejoin(self, int64_t begin, int64_t n_left, int64_t n) noexcept nogil:
        """Undo a split: the rows of both halves in ascending order."""
        cdef uint32_t *rows = self.rows + begin
        cdef uint32_t *left = self.other + begin
        cdef int64_t taken = 0, right = n_left, i
        memcpy(left, rows, n_left * sizeof(uint32_t))
        for i in range(n):
            if taken < n_left and (right == n or left[taken] < rows[right]):
                rows[i] = left[taken]
                taken += 1
            else:
                rows[i] = rows[right]
                right += 1


cdef class SparseRowPartition(RowPartition):
    """The rows of one fit on a sparse table.

    Parameters
    ----------
    matrix : SparseBinnedMatrix
    n_threads : int
    """

    def __init__(self, matrix, int n_threads):
        self.column_begin = <const int64_t *> address_of(matrix.column_begin)
        self.stored_rows = <const uint32_t *> address_of(matrix.rows)
        self.stored_codes = <const uint16_t *> address_of(matrix.codes)
        self.default_code = <const uint16_t *> address_of(matrix.default_code)
        self.scratch = np.empty(matrix.n_rows, dtype=np.uint16)
        self.laid_out = -1

    cdef const void *column(self, int feature) noexcept nogil:
        """One column at a time is laid out, for the splits at hand."""
        cdef uint16_t *column = &self.scratch[0]
        cdef uint16_t zero = self.default_code[feature]
        cdef int64_t i
        if feature == self.laid_out:
            return column
        for i in range(self.n_rows):
            column[i] = zero
        for i in range(self.column_begin[feature], self.column_begin[feature + 1]):
            column[self.stored_rows[i]] = self.stored_codes[i]
        self.laid_out = feature
        return column


cdef void part_rows(void *context, int64_t chunk, int worker) noexcept nogil:
    cdef SplitContext *c = <SplitContext *> context
    (<RowPartition> c.partition).part(c, chunk)


cdef void copy_rows(void *context, int64_t chunk, int worker) noexcept nogil:
    cdef SplitContext *c = <SplitContext *> context
    (<RowPartition> c.partition).copy(c, chunk)
