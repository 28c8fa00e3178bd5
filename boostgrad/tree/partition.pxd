from libc.stdint cimport int64_t, uint8_t, uint16_t, uint32_t

from boostgrad.native cimport bg_kernels, partition_kernel, table_partition_kernel

cdef struct SplitContext:
    void *partition
    int64_t begin
    int64_t n
    const void *column
    uint32_t code
    uint32_t shift
    const uint8_t *goes_left  # a byte a code; NULL: by code and shift
    int64_t total_left
    int64_t rows_per_task


cdef class RowPartition:
    cdef const bg_kernels *k
    cdef partition_kernel kernel
    cdef table_partition_kernel table_kernel
    cdef object matrix, held
    cdef const char *columns
    cdef size_t code_bytes
    cdef readonly int64_t n_rows
    cdef int n_threads
    cdef uint32_t *rows
    cdef uint32_t *other
    cdef int64_t *n_left
    cdef bint whole  # nothing is split yet, and rows are not written down

    cdef const void *column(self, int feature) noexcept nogil
    cdef void part(self, const SplitContext *c, int64_t chunk) noexcept nogil
    cdef void copy(self, const SplitContext *c, int64_t chunk) noexcept nogil
    cdef void reset(self) noexcept nogil
    cdef int64_t split(self, int64_t begin, int64_t n, int feature, uint32_t code, bint missing_left,
                       const uint8_t *goes_left) noexcept nogil
    cdef void split_alone(self, int64_t begin, int64_t n, int feature, uint32_t code, bint missing_left,
                          const uint8_t *goes_left) noexcept nogil
    cdef void rejoin(self, int64_t begin, int64_t n_left, int64_t n) noexcept nogil


cdef class SparseRowPartition(RowPartition):
    cdef const int64_t *column_begin
    cdef const uint32_t *stored_rows
    cdef const uint16_t *stored_codes
    cdef const uint16_t *default_code
    cdef uint16_t[::1] scratch
    cdef int laid_out           # whose column is there
