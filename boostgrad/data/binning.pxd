cdef class EdgeTable:
    cdef double **edges64
    cdef float **edges32
    cdef unsigned int *size
    cdef readonly Py_ssize_t n
    cdef readonly list edges
