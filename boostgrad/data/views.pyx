"""Columns of any real dtype and stride, as loops without the GIL read them."""

from libc.stdint cimport (int8_t, int16_t, int32_t, int64_t, uint8_t, uint16_t, uint32_t, uint64_t)
from libc.stdlib cimport calloc, free
from libc.string cimport memcpy

import numpy as np

COLUMN_KINDS = {
    np.dtype(np.bool_): 0, np.dtype(np.int8): 1, np.dtype(np.uint8): 2, np.dtype(np.int16): 3, np.dtype(np.uint16): 4,
    np.dtype(np.float16): 5, np.dtype(np.float32): 6, np.dtype(np.int32): 7, np.dtype(np.uint32): 8,
    np.dtype(np.int64): 9, np.dtype(np.uint64): 10, np.dtype(np.float64): 11,
}


cdef bint reads_float32(int kind) noexcept nogil:
    return kind <= 6


cdef inline float half_to_float(uint16_t half) noexcept nogil:
    """IEEE 754 binary16 to binary32."""
    cdef uint32_t sign = <uint32_t> (half & 0x8000) << 16
    cdef uint32_t exponent = (half >> 10) & 31
    cdef uint32_t mantissa = half & 0x3ff
    cdef uint32_t bits
    cdef float value
    if exponent == 0:  # zero and subnormals: mantissa * 2^-24
        value = <float> mantissa * <float> 5.9604644775390625e-08
        return -value if sign else value
    bits = sign | (0x7f800000 if exponent == 31 else (exponent + 112) << 23) | (mantissa << 13)
    memcpy(&value, &bits, 4)
    return value


ctypedef fused narrow:
    int8_t
    uint8_t
    int16_t
    uint16_t
    float

ctypedef fused broad:
    int32_t
    uint32_t
    int64_t
    uint64_t
    double

ctypedef fused real:
    float
    double


cdef inline void gather(const char *data, int64_t stride, const int64_t *rows, int64_t begin, int64_t n, real *out,
                        narrow *narrow_tag, broad *broad_tag) noexcept nogil:
    cdef int64_t i
    if real is float:
        for i in range(n):
            out[i] = <float> (<const narrow *> (data + (rows[i] if rows != NULL else begin + i) * stride))[0]
    else:
        for i in range(n):
            out[i] = <double> (<const broad *> (data + (rows[i] if rows != NULL else begin + i) * stride))[0]


cdef void read_float32(const ColumnView *column, const int64_t *rows, int64_t begin, int64_t n,
                       float *out) noexcept nogil:
    cdef int64_t i
    if column.kind == 6:
        gather[float, float, double](column.data, column.stride, rows, begin, n, out, NULL, NULL)
    elif column.kind == 0 or column.kind == 2:
        gather[float, uint8_t, double](column.data, column.stride, rows, begin, n, out, NULL, NULL)
    elif column.kind == 1:
        gather[float, int8_t, double](column.data, column.stride, rows, begin, n, out, NULL, NULL)
    elif column.kind == 3:
        gather[float, int16_t, double](column.data, column.stride, rows, begin, n, out, NULL, NULL)
    elif column.kind == 4:
        gather[float, uint16_t, double](column.data, column.stride, rows, begin, n, out, NULL, NULL)
    else:
        for i in range(n):
            out[i] = half_to_float(
                (<const uint16_t *> (column.data + (rows[i] if rows != NULL else begin + i) * column.stride))[0])


cdef void read_float64(const ColumnView *column, const int64_t *rows, int64_t begin, int64_t n,
                       double *out) noexcept nogil:
    if column.kind == 11:
        gather[double, float, double](column.data, column.stride, rows, begin, n, out, NULL, NULL)
    elif column.kind == 7:
        gather[double, float, int32_t](column.data, column.stride, rows, begin, n, out, NULL, NULL)
    elif column.kind == 8:
        gather[double, float, uint32_t](column.data, column.stride, rows, begin, n, out, NULL, NULL)
    elif column.kind == 9:
        gather[double, float, int64_t](column.data, column.stride, rows, begin, n, out, NULL, NULL)
    else:
        gather[double, float, uint64_t](column.data, column.stride, rows, begin, n, out, NULL, NULL)


cdef void read_levels(const ColumnView *column, const int64_t *rows, int64_t begin, int64_t n, int64_t n_levels,
                      uint32_t *out) noexcept nogil:
    cdef int64_t i, level
    for i in range(n):
        level = (<const int32_t *> (column.data + (rows[i] if rows != NULL else begin + i) * column.stride))[0]
        out[i] = 0 if level < 0 else <uint32_t> (1 + min(level, n_levels))


cdef class ColumnViews:
    """The columns of a ``Columns``, for loops without the GIL; the arrays are kept alive, never copied.

    Parameters
    ----------
    columns : Columns
    features : iterable of int or None
        The only columns that are looked at, and made where they have to be; None: all.
    """

    def __cinit__(self, columns, features=None):
        cdef Py_ssize_t j
        cdef size_t address
        matrix = columns.matrix
        self.n = columns.n_columns
        self.views = <ColumnView *> calloc(self.n, sizeof(ColumnView))
        if self.views == NULL:
            raise MemoryError()
        if matrix is not None:
            self.held = matrix
            address = matrix.__array_interface__["data"][0]
            for j in range(self.n):
                self.views[j].data = <const char *> address + j * <int64_t> matrix.strides[1]
                self.views[j].stride = matrix.strides[0]
                self.views[j].kind = COLUMN_KINDS[matrix.dtype]
            return
        self.held = []
        for j in range(self.n) if features is None else features:
            array = columns[j]
            self.held.append(array)
            address = array.__array_interface__["data"][0]
            self.views[j].data = <const char *> address
            self.views[j].stride = array.strides[0]
            self.views[j].kind = COLUMN_KINDS[array.dtype]

    def __dealloc__(self):
        free(self.views)
