from libc.stdint cimport int32_t, int64_t, uint32_t

from boostgrad.native cimport bg_kernels, bg_packing, histogram_kernel


cdef class RowRecords:
    cdef const bg_kernels *k
    cdef readonly int64_t n_rows
    cdef int n_threads
    cdef object held
    cdef char *table                 # tile by tile, within one row by row
    cdef readonly size_t row_bytes   # of a row in a tile
    cdef readonly int tile           # features of a tile, of which the last one may hold fewer
    cdef char *integers              # numbers of row 0; the next row's are integer_bytes further
    cdef size_t integer_bytes
    cdef size_t first_code           # of a row in its tile
    cdef size_t code_bytes
    cdef const char *columns
    cdef int n_features
    cdef const double *pairs
    cdef int pair_width
    cdef uint32_t seed
    cdef int negative
    # of the tree that is being grown
    cdef const char *numbers         # what the kernels read: integers or pairs
    cdef size_t number_bytes
    cdef histogram_kernel kernel     # adds rows to a slot
    cdef histogram_kernel compact    # adds rows to compact records; NULL: not with these numbers
    cdef bg_packing packing
    cdef double hessian_unit         # what 1 in a hessian's field is worth
    cdef int lanes                   # int64 a record of a slot: 2 wide, 1 narrow

    cdef int start_tree(self, const double *pairs, int pair_width, double constant_hessian, double largest_gradient,
                        double largest_hessian, uint32_t seed) except -1
    cdef void use(self, int kind, int lanes) noexcept
    cdef const char *codes(self, int first) noexcept nogil
    cdef double typical(self, int lane) noexcept
    cdef void lay_down(self, int64_t chunk) noexcept nogil
    cdef void quantize(self, int64_t chunk) noexcept nogil
