from libc.stdint cimport int32_t, int64_t, uint8_t, uint16_t, uint32_t

from boostgrad.tree.partition cimport RowPartition

ctypedef fused leaf_number:
    uint8_t
    uint16_t
    uint32_t


cdef class LeafRows:
    cdef RowPartition partition
    cdef int n_threads
    cdef int64_t n_rows
    cdef int n_leaves
    cdef int bytes_each
    cdef void *leaf_of              # the partition's spare room
    cdef int64_t *begin             # leaf l has partition.rows[begin[l] : begin[l + 1]]
    cdef double *partial            # sums of each block of rows, (n_blocks, n_leaves, 2)
    cdef int64_t rows_per_block, n_blocks
    cdef const double *pairs
    cdef int pair_width
    cdef const double *values
    cdef double *raw

    cdef int start_tree(self, int n_leaves) noexcept nogil
    cdef void number_rows(self) noexcept nogil
    cdef int sums(self, const double *pairs, int pair_width, double constant_hessian, double *out) noexcept nogil
    cdef void add_values(self, const double *values, double *raw) noexcept nogil
    cdef void number(self, int64_t chunk) noexcept nogil
    cdef void sum_block(self, int64_t block) noexcept nogil
    cdef void add_block(self, int64_t block) noexcept nogil
