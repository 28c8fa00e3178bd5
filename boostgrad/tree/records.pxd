from libc.stdint cimport int32_t, int64_t, uint8_t, uint32_t

from boostgrad.native cimport bg_kernels, bg_packing


cdef struct Tile:
    # features that are counted together, at the places first .. first + n
    int first, n
    int code_bytes
    size_t row_bytes
    char *codes          # of row 0
    int64_t n_codes      # of all its features
    size_t stride        # records between the histograms of two of its features
    size_t offset        # records before its histograms in those of all tiles


cdef class RowRecords:
    cdef const bg_kernels *k
    cdef readonly int64_t n_rows
    cdef int n_threads
    cdef object held
    cdef Tile *tiles                 # within a tile codes lie row by row
    cdef int n_tiles
    cdef const int32_t *feature_at   # which feature lies at a place
    cdef char *integers              # numbers of row 0; the next row's are integer_bytes further
    cdef size_t integer_bytes
    cdef size_t code_bytes           # of the columns
    cdef const char *columns
    cdef const uint8_t *wanted       # features that are laid down; NULL: all
    cdef int n_features
    cdef const double *pairs
    cdef int pair_width
    cdef uint32_t seed
    cdef int negative
    # of the tree that is being grown
    cdef const char *numbers         # what the kernels read: integers or pairs
    cdef size_t number_bytes
    cdef int kind                    # of the kernel that adds rows to a slot
    cdef bint compact                # whether rows can be added to compact records
    cdef bg_packing packing
    cdef double hessian_unit         # what 1 in a hessian's field is worth
    cdef int lanes                   # int64 a record of a slot: 2 wide, 1 narrow

    cdef int start_tree(self, const double *pairs, int pair_width, double constant_hessian, double largest_gradient,
                        double largest_hessian, uint32_t seed) except -1
    cdef void use(self, int kind, int lanes) noexcept
    cdef double typical(self, int lane) noexcept
    cdef void lay_down(self, int64_t chunk) noexcept nogil
    cdef void quantize(self, int64_t chunk) noexcept nogil
