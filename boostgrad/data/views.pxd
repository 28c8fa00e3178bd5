"""Strided columns of any real dtype, as the binning and predicting loops read them."""

from libc.stdint cimport int64_t, uint32_t

cdef struct ColumnView:
    const char *data
    int64_t stride  # bytes
    int kind        # which dtype; see COLUMN_KINDS

# Values of the column as float32 (where that is exact for its dtype) or float64, `rows` NULL for begin .. begin + n.
cdef bint reads_float32(int kind) noexcept nogil
cdef void read_float32(const ColumnView *column, const int64_t *rows, int64_t begin, int64_t n,
                       float *out) noexcept nogil
cdef void read_float64(const ColumnView *column, const int64_t *rows, int64_t begin, int64_t n,
                       double *out) noexcept nogil

# Codes of a categorical column: 0 for missing (negative), 1 + level otherwise, and n_levels + 1 for levels from n_levels on.
cdef void read_levels(const ColumnView *column, const int64_t *rows, int64_t begin, int64_t n, int64_t n_levels,
                      uint32_t *out) noexcept nogil

cdef class ColumnViews:
    cdef ColumnView *views
    cdef readonly Py_ssize_t n
    cdef object held
