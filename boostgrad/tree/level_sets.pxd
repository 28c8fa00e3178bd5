from libc.stdint cimport int64_t, uint8_t, uint32_t

from boostgrad.tree.structs cimport Node


cdef class LevelSets:
    cdef object matrix
    cdef const uint32_t *n_codes
    cdef uint8_t *tables
    cdef size_t table_codes
    cdef uint32_t *bits
    cdef int64_t n_words, room

    cdef void start_tree(self) noexcept nogil
    cdef uint8_t *table(self, int worker) noexcept nogil
    cdef int keep(self, Node *node) noexcept nogil
    cdef const uint8_t *read(self, const Node *node, int worker) noexcept nogil
    cdef object words(self, const Node *node)
