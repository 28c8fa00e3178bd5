"""The sets of levels that go left at the categorical splits of a tree that is growing.

::

    bits    [ 0b0110 | 0b1000, 0b0001 | ... ]      32 levels a word, node after node; level c - 1 is that of code c
    table   [ 0 1 1 0 ... ]                        of the split at work: a byte a code, one table a thread
"""

from libc.stdint cimport int64_t, uint8_t, uint32_t
from libc.stdlib cimport free, malloc
from libc.string cimport memset

import numpy as np

from boostgrad.native cimport address_of, resize
from boostgrad.tree.structs cimport Node


cdef class LevelSets:
    """Sets of levels, kept until the tree is finished.

    Parameters
    ----------
    matrix : BinnedMatrix
    n_threads : int
    """

    def __cinit__(self, matrix, int n_threads):
        self.matrix = matrix
        self.n_codes = <const uint32_t *> address_of(matrix.n_codes)
        self.table_codes = int(matrix.n_codes.max())
        self.tables = <uint8_t *> malloc(n_threads * self.table_codes)
        if self.tables == NULL:
            raise MemoryError()

    def __dealloc__(self):
        free(self.tables)
        free(self.bits)

    cdef void start_tree(self) noexcept nogil:
        self.n_words = 0

    cdef uint8_t *table(self, int worker) noexcept nogil:
        """A thread's place for a byte a code."""
        return self.tables + worker * self.table_codes

    cdef int keep(self, Node *node) noexcept nogil:
        """Keep the set in the table of the first thread as the node's, cut after its last level. Returns -1 without
        memory."""
        cdef const uint8_t *goes_left = self.tables
        cdef uint32_t n_codes = self.n_codes[node.choice.feature], code
        cdef int64_t n_words = 0, room
        cdef uint32_t *bits
        for code in range(n_codes - 1, 0, -1):
            if goes_left[code]:
                n_words = (code - 1) // 32 + 1
                break
        if self.n_words + n_words > self.room:
            room = 2 * (self.n_words + n_words)
            if resize(<void **> &self.bits, room * sizeof(uint32_t)) != 0:
                return -1
            self.room = room
        bits = self.bits + self.n_words
        memset(bits, 0, n_words * sizeof(uint32_t))
        for code in range(1, n_codes):
            if goes_left[code]:
                bits[(code - 1) // 32] |= <uint32_t> 1 << ((code - 1) % 32)
        node.set_begin = self.n_words
        node.set_words = n_words
        self.n_words += n_words
        return 0

    cdef const uint8_t *read(self, const Node *node, int worker) noexcept nogil:
        """The node's set as a byte a code, in the thread's table; missing values go where the split sends them."""
        cdef uint8_t *goes_left = self.table(worker)
        cdef const uint32_t *bits = self.bits + node.set_begin
        cdef uint32_t n_codes = self.n_codes[node.choice.feature], code
        memset(goes_left, 0, n_codes)
        goes_left[0] = node.choice.missing_left
        for code in range(1, min(n_codes, 32 * <uint32_t> node.set_words + 1)):
            goes_left[code] = (bits[(code - 1) // 32] >> ((code - 1) % 32)) & 1
        return goes_left

    cdef object words(self, const Node *node):
        """The node's set, uint32 words."""
        cdef int word
        words = np.empty(node.set_words, dtype=np.uint32)
        for word in range(node.set_words):
            words[word] = self.bits[node.set_begin + word]
        return words
