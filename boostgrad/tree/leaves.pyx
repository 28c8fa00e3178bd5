"""The rows of a grown tree's leaves: sums over them, and their values added to raw predictions.

The partition knows rows by leaf; here it is turned around once, so that both passes read memory from front to back::

    partition   leaf 0: 2 5 | leaf 1: 0 1 4 | leaf 2: 3        leaf_of   1 1 0 2 1 0
"""

from libc.stdint cimport int64_t, uint8_t, uint16_t, uint32_t
from libc.stdlib cimport free, malloc
from libc.string cimport memset

from boostgrad.native cimport parallel_for, resize
from boostgrad.tree.partition cimport RowPartition

# Rows a block sums up at least; the order of the sums follows from it, so it must not depend on the threads.
DEF ROWS_PER_BLOCK = 16384

# Sums that take turns, so that neighbouring rows of one leaf need not wait for each other.
DEF TURNS = 4


cdef class LeafRows:
    """Which leaf each row is in.

    Parameters
    ----------
    partition : RowPartition
        Its spare room is used between two trees.
    n_threads : int
    """

    def __cinit__(self, RowPartition partition, int n_threads):
        self.partition = partition
        self.n_rows = partition.n_rows
        self.n_threads = n_threads
        self.leaf_of = partition.other

    def __dealloc__(self):
        free(self.begin)
        free(self.partial)

    cdef int start_tree(self, int n_leaves) noexcept nogil:
        """Make room for so many leaves; the caller fills ``begin``. Returns -1 without memory."""
        if resize(<void **> &self.begin, (n_leaves + 1) * sizeof(int64_t)) != 0:
            return -1
        self.n_leaves = n_leaves
        self.bytes_each = 1 if n_leaves <= 256 else 2 if n_leaves <= 65536 else 4
        self.rows_per_block = max(<int64_t> ROWS_PER_BLOCK, 64 * <int64_t> n_leaves)
        self.n_blocks = (self.n_rows + self.rows_per_block - 1) // self.rows_per_block
        return 0

    cdef void number_rows(self) noexcept nogil:
        """Note the leaf of each row; before :meth:`sums` and :meth:`add_values`."""
        if self.n_leaves > 1:
            parallel_for(number_leaf, <void *> self, self.n_leaves, self.n_threads)
        else:
            memset(self.leaf_of, 0, self.n_rows)

    cdef int sums(self, const double *pairs, int pair_width, double constant_hessian, double *out) noexcept nogil:
        """OUT out: (n_leaves, 2) sums of gradients and hessians, block by block, whatever the threads. Returns -1
        without memory."""
        cdef int64_t leaf, block
        if resize(<void **> &self.partial, self.n_blocks * TURNS * self.n_leaves * 2 * sizeof(double)) != 0:
            return -1
        self.pairs = pairs
        self.pair_width = pair_width
        parallel_for(sum_rows, <void *> self, self.n_blocks, self.n_threads)
        for leaf in range(self.n_leaves):
            out[2 * leaf] = out[2 * leaf + 1] = 0
            for block in range(self.n_blocks * TURNS):
                out[2 * leaf] += self.partial[2 * (block * self.n_leaves + leaf)]
                out[2 * leaf + 1] += self.partial[2 * (block * self.n_leaves + leaf) + 1]
            if pair_width == 1:
                out[2 * leaf + 1] = <double> (self.begin[leaf + 1] - self.begin[leaf]) * constant_hessian
        return 0

    cdef void add_values(self, const double *values, double *raw) noexcept nogil:
        """OUT raw: += the value of the row's leaf."""
        self.values = values
        self.raw = raw
        parallel_for(add_rows, <void *> self, self.n_blocks, self.n_threads)

    cdef void number(self, int64_t leaf) noexcept nogil:
        cdef const uint32_t *rows = self.partition.rows
        if self.bytes_each == 1:
            number_rows[uint8_t](rows, self.begin[leaf], self.begin[leaf + 1], leaf, <uint8_t *> self.leaf_of)
        elif self.bytes_each == 2:
            number_rows[uint16_t](rows, self.begin[leaf], self.begin[leaf + 1], leaf, <uint16_t *> self.leaf_of)
        else:
            number_rows[uint32_t](rows, self.begin[leaf], self.begin[leaf + 1], leaf, <uint32_t *> self.leaf_of)

    cdef void sum_block(self, int64_t block) noexcept nogil:
        cdef int64_t first = block * self.rows_per_block
        cdef int64_t last = min(first + self.rows_per_block, self.n_rows)
        cdef double *out = self.partial + block * TURNS * self.n_leaves * 2
        memset(out, 0, TURNS * self.n_leaves * 2 * sizeof(double))
        if self.bytes_each == 1:
            sum_leaves[uint8_t](<uint8_t *> self.leaf_of, first, last, self.pairs, self.pair_width, self.n_leaves, out)
        elif self.bytes_each == 2:
            sum_leaves[uint16_t](<uint16_t *> self.leaf_of, first, last, self.pairs, self.pair_width, self.n_leaves,
                                 out)
        else:
            sum_leaves[uint32_t](<uint32_t *> self.leaf_of, first, last, self.pairs, self.pair_width, self.n_leaves,
                                 out)

    cdef void add_block(self, int64_t block) noexcept nogil:
        cdef int64_t first = block * self.rows_per_block
        cdef int64_t last = min(first + self.rows_per_block, self.n_rows)
        if self.bytes_each == 1:
            add_leaves[uint8_t](<uint8_t *> self.leaf_of, first, last, self.values, self.raw)
        elif self.bytes_each == 2:
            add_leaves[uint16_t](<uint16_t *> self.leaf_of, first, last, self.values, self.raw)
        else:
            add_leaves[uint32_t](<uint32_t *> self.leaf_of, first, last, self.values, self.raw)


cdef void number_rows(const uint32_t *rows, int64_t begin, int64_t end, int64_t leaf, leaf_number *out) noexcept nogil:
    cdef int64_t i
    for i in range(begin, end):
        out[rows[i]] = <leaf_number> leaf


cdef void sum_leaves(const leaf_number *leaf_of, int64_t first, int64_t last, const double *pairs, int width,
                     int n_leaves, double *out) noexcept nogil:
    """OUT out: (TURNS, n_leaves, 2)"""
    cdef int64_t i
    cdef double *at
    if width == 2:
        for i in range(first, last):
            at = out + 2 * (<int64_t> n_leaves * (i % TURNS) + <int64_t> leaf_of[i])
            at[0] += pairs[2 * i]
            at[1] += pairs[2 * i + 1]
    else:
        for i in range(first, last):
            out[2 * (<int64_t> n_leaves * (i % TURNS) + <int64_t> leaf_of[i])] += pairs[i]


cdef void add_leaves(const leaf_number *leaf_of, int64_t first, int64_t last, const double *values,
                     double *raw) noexcept nogil:
    cdef int64_t i
    for i in range(first, last):
        raw[i] += values[leaf_of[i]]


cdef void number_leaf(void *leaves, int64_t leaf, int worker) noexcept nogil:
    (<LeafRows> leaves).number(leaf)


cdef void sum_rows(void *leaves, int64_t block, int worker) noexcept nogil:
    (<LeafRows> leaves).sum_block(block)


cdef void add_rows(void *leaves, int64_t block, int worker) noexcept nogil:
    (<LeafRows> leaves).add_block(block)
