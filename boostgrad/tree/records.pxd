from libc.stdint cimport int32_t, int64_t, uint32_t

from boostgrad.native cimport bg_kernels, bg_packing, histogram_kernel


cdef class RowRecords:
    cdef const bg_kernels *k
    cdef readonly int64_t n_rows
    cdef int n_threads
    cdef object held
    cdef char *table                 # row by row: four bytes for numbers, and the codes
    cdef readonly size_t row_bytes
    cdef size_t code_bytes
    cdef const char *columns
    cdef int n_features
    cdef const double *pairs
    cdef int pair_width
    cdef uint32_t seed
    cdef int negative
    # of the tree that is being grown
    cdef int kind                    # of histogram
    cdef histogram_kernel kernel     # adds rows to a slot
    cdef histogram_kernel compact    # adds rows to compact records; NULL: not with these numbers
    cdef bg_packing packing
    cdef double hessian_unit         # what 1 in a hessian's field is worth
    cdef int lanes                   # int64 a record of a slot: 2 wide, 1 narrow

    cdef int start_tree(self, const double *pairs, int pair_width, double constant_hessian, double largest_gradient,
                        double largest_hessian, uint32_t seed) except -1
    cdef void use(self, int kind, int lanes) noexcept
    cdef double typical(self, int lane) noexcept
    cdef void lay_down(self, int64_t chunk) noexcept nogil
    cdef void quantize(self, int64_t chunk) noexcept nogil
