"""The same trees from a sparse table: nodes have columns of stored entries in place of histograms."""

from libc.stdint cimport int32_t, int64_t, uint8_t, uint64_t

import numpy as np

from boostgrad.data.matrix import BinnedMatrix
from boostgrad.tree.grower cimport TreeGrower
from boostgrad.tree.leaves cimport LeafRows
from boostgrad.tree.partition cimport SparseRowPartition
from boostgrad.tree.records cimport RowRecords
from boostgrad.tree.sparse cimport SparseColumnSearch


cdef class SparseTreeGrower(TreeGrower):
    """Grows the trees of a TreeGrower from a SparseBinnedMatrix.

    Parameters
    ----------
    matrix : SparseBinnedMatrix
    edges, params, n_threads, seed, categories, n_values : as of TreeGrower
    """

    cdef SparseColumnSearch search

    def __init__(self, matrix, list edges, params, int n_threads, uint64_t seed, categories=None, int n_values=1):
        no_columns = BinnedMatrix(BinnedMatrix.room(0, matrix.n_rows, np.uint8), np.empty(0, np.uint32))
        self.records = RowRecords(no_columns, n_threads)
        self.search = SparseColumnSearch(matrix, self.records, self.splitter, params, n_threads, self.n_lanes)
        self.partition = SparseRowPartition(matrix, n_threads)
        self.leaves = LeafRows(self.partition, n_threads)

    cdef int start_histograms(self) except -1:
        self.search.start_tree()
        return 0

    cdef int evaluate_root(self, int32_t root) noexcept nogil:
        cdef int slot = self.search.take_root(self.nodes[root].total)
        if slot < 0:
            return -1
        self.nodes[root].slot = slot
        self.search.find_root(&self.nodes[root])
        return 0

    cdef int give_places(self, int32_t node, int32_t smaller, int32_t larger) noexcept nogil:
        """Lists of columns: the larger child keeps the node's, to be parted in place."""
        cdef int slot = self.nodes[node].slot
        self.nodes[node].slot = -1
        if not (self.nodes[smaller].is_open or self.nodes[larger].is_open):
            self.give(slot)
            return 0
        self.nodes[larger].slot = slot
        if self.nodes[smaller].is_open:
            self.nodes[smaller].slot = self.search.take()
            if self.nodes[smaller].slot < 0:
                return -1
        return 0

    cdef int evaluate_children(self, int32_t node, int32_t smaller, int32_t larger, int worker) noexcept nogil:
        if self.nodes[larger].slot < 0:
            return 0
        return self.search.find_children(&self.nodes[node], &self.nodes[smaller], &self.nodes[larger],
                                         self.partition.rows)

    cdef void give(self, int slot) noexcept nogil:
        self.search.give(slot)

    cdef bint is_full(self) noexcept nogil:
        return False  # columns of entries are not bounded
