"""The histogram's records of single rows, one after the other, for tables whose histograms are sums of a few rows.

::

    row 0  [ gradient | hessian, 1 ]   row 1  [ gradient | hessian, 1 ] ...      as bg_packing in kernels.h has them
"""

from libc.stdint cimport int64_t
from libc.stdlib cimport free, malloc
from libc.string cimport memset

from boostgrad.native cimport BG_VECTOR2, BG_VECTOR4, kernels, parallel_for
from boostgrad.tree.records cimport RowRecords

# Rows a task takes at a time.
DEF ROWS_PER_TASK = 8192


cdef class SingleRecords:
    """Records of the rows of one fit, made anew for each tree.

    Parameters
    ----------
    records : RowRecords
        What the rows add.
    n_rows, n_threads : int
    most_lanes : int
        Integers of a record: 2, or less, for trees of one output, 4 for those of many.
    """

    def __cinit__(self, RowRecords records, int64_t n_rows, int n_threads, int most_lanes):
        self.k = kernels()
        self.records = records
        self.n_rows = n_rows
        self.n_threads = n_threads
        self.most_lanes = most_lanes
        self.totals = <int64_t *> malloc(n_threads * 8 * sizeof(int64_t))
        self.least = <int64_t *> malloc(n_threads * 8 * sizeof(int64_t))
        if self.totals == NULL or self.least == NULL:
            raise MemoryError()

    def __dealloc__(self):
        free(self.laid_out)
        free(self.totals)
        free(self.least)

    cdef int start_tree(self) except -1:
        """The records of the rows are those of the tree."""
        cdef int i
        self.lanes = self.records.lanes
        if self.records.kind == BG_VECTOR2 or self.records.kind == BG_VECTOR4:
            self.rows = <const int64_t *> self.records.numbers
        else:
            if self.laid_out == NULL:
                self.laid_out = <int64_t *> malloc((self.most_lanes * self.n_rows + 2) * sizeof(int64_t))
                if self.laid_out == NULL:
                    raise MemoryError()
            self.rows = self.laid_out
        memset(self.totals, 0, self.n_threads * 8 * sizeof(int64_t))
        for i in range(self.n_threads):
            self.least[8 * i] = (<int64_t> 1) << 62
        with nogil:
            parallel_for(lay_chunk, <void *> self, (self.n_rows + ROWS_PER_TASK - 1) // ROWS_PER_TASK, self.n_threads)
        for i in range(1, self.n_threads):
            self.least[0] = min(self.least[0], self.least[8 * i])
        return 0

    cdef void lay(self, int64_t chunk, int worker) noexcept nogil:
        """The records of some rows, and their sum."""
        cdef int64_t first = chunk * ROWS_PER_TASK
        cdef int64_t n = min(<int64_t> ROWS_PER_TASK, self.n_rows - first)
        cdef int64_t *total = self.totals + 8 * worker
        cdef const int64_t *records = self.rows + first * self.lanes
        cdef int64_t least = self.least[8 * worker]
        cdef int64_t i
        cdef int lane
        if self.rows == self.laid_out:
            self.k.lay_records(self.records.kind, self.records.numbers, self.records.number_bytes,
                               self.records.packing, first, n, self.laid_out)
        for i in range(n):
            for lane in range(self.lanes):
                total[lane] += records[self.lanes * i + lane]
        if self.lanes > 1:
            for i in range(n):
                least = min(least, records[self.lanes * i + self.lanes - 1])
            self.least[8 * worker] = least

    cdef void total(self, int64_t *out) noexcept nogil:
        """OUT out: += packed sums of all rows."""
        cdef int worker, lane
        for worker in range(self.n_threads):
            for lane in range(self.lanes):
                out[lane] += self.totals[8 * worker + lane]


cdef void lay_chunk(void *records, int64_t chunk, int worker) noexcept nogil:
    (<SingleRecords> records).lay(chunk, worker)
