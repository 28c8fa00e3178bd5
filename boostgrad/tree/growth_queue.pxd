from libc.stdint cimport int32_t

from boostgrad.tree.structs cimport Node


cdef class GrowthQueue:
    cdef int32_t *heap
    cdef int n, room
    cdef bint by_depth
    cdef Node *nodes  # owned by the grower

    cdef bint before(self, int32_t a, int32_t b) noexcept nogil
    cdef int push(self, int32_t node) noexcept nogil
    cdef int32_t pop(self) noexcept nogil
