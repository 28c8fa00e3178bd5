from libc.stdint cimport int64_t

from boostgrad.native cimport bg_kernels
from boostgrad.tree.records cimport RowRecords


cdef class SingleRecords:
    cdef const bg_kernels *k
    cdef RowRecords records
    cdef int64_t n_rows
    cdef int n_threads, most_lanes
    cdef const int64_t *rows   # lanes integers a row
    cdef int lanes
    cdef int64_t *laid_out     # where the rows' numbers are not records themselves
    cdef int64_t *totals       # a worker
    cdef int64_t *least        # hessian or record, a worker

    cdef int start_tree(self) except -1
    cdef void lay(self, int64_t chunk, int worker) noexcept nogil
    cdef void total(self, int64_t *out) noexcept nogil
