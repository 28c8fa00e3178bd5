"""The open leaves of a tree that is growing."""

from libc.stdint cimport int32_t
from libc.stdlib cimport free

from boostgrad.native cimport resize
from boostgrad.tree.structs cimport Node


cdef class GrowthQueue:
    """Open leaves, the one to split next on top: a binary heap by (level, gain, age).

    Leaf-wise takes the largest gain; depth-wise the lowest depth first, and the largest gain within one.
    """

    def __cinit__(self, str policy):
        self.by_depth = policy == "depthwise"

    def __dealloc__(self):
        free(self.heap)

    cdef bint before(self, int32_t a, int32_t b) noexcept nogil:
        if self.by_depth and self.nodes[a].depth != self.nodes[b].depth:
            return self.nodes[a].depth < self.nodes[b].depth
        if self.nodes[a].choice.gain != self.nodes[b].choice.gain:
            return self.nodes[a].choice.gain > self.nodes[b].choice.gain
        return self.nodes[a].age < self.nodes[b].age

    cdef int push(self, int32_t node) noexcept nogil:
        cdef int at = self.n, parent
        if self.n == self.room:
            if resize(<void **> &self.heap, (2 * self.room + 64) * sizeof(int32_t)) != 0:
                return -1
            self.room = 2 * self.room + 64
        self.n += 1
        while at > 0:
            parent = (at - 1) // 2
            if not self.before(node, self.heap[parent]):
                break
            self.heap[at] = self.heap[parent]
            at = parent
        self.heap[at] = node
        return 0

    cdef int32_t pop(self) noexcept nogil:
        cdef int32_t top = self.heap[0], last = self.heap[self.n - 1]
        cdef int at = 0, child
        self.n -= 1
        while 2 * at + 1 < self.n:
            child = 2 * at + 1
            if child + 1 < self.n and self.before(self.heap[child + 1], self.heap[child]):
                child += 1
            if not self.before(self.heap[child], last):
                break
            self.heap[at] = self.heap[child]
            at = child
        self.heap[at] = last
        return top
