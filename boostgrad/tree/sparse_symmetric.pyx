"""The same symmetric trees from a sparse table.

One pass over the stored entries of a feature makes its histograms in all nodes of a level; what zero's code adds is a
node's total less all else. So rows need not be parted column by column::

    entries of f     rows   3 8 9 15 ...        node of the row   0 2 0 1 ...
                     codes  2 7 2  4 ...
    histograms       node 0: [ 2: r3 + r9 ]     node 1: [ 4: r15 ]     node 2: [ 7: r8 ]
"""

from libc.stdint cimport int32_t, int64_t, uint16_t, uint32_t, uint64_t
from libc.stdlib cimport free, malloc
from libc.string cimport memset

import numpy as np

from boostgrad.native cimport address_of, parallel_for, resize
from boostgrad.tree.leaves cimport LeafRows
from boostgrad.tree.level_gains cimport LevelGains
from boostgrad.tree.partition cimport SparseRowPartition
from boostgrad.tree.records cimport RowRecords
from boostgrad.tree.single_records cimport SingleRecords
from boostgrad.tree.splitter cimport improve
from boostgrad.tree.structs cimport Node
from boostgrad.tree.symmetric cimport SymmetricTreeGrower
from boostgrad.data.matrix import BinnedMatrix

# Entries to read that are worth waking another thread for.
DEF PARALLEL_ENTRIES = 20000


cdef class SparseSymmetricTreeGrower(SymmetricTreeGrower):
    """Grows the trees of a SymmetricTreeGrower from a SparseBinnedMatrix.

    Parameters
    ----------
    matrix : SparseBinnedMatrix
    edges, params, n_threads, seed, categories, n_values : as of SymmetricTreeGrower
    """

    cdef SingleRecords single
    cdef const int64_t *column_begin
    cdef const uint32_t *rows
    cdef const uint16_t *codes
    cdef const uint16_t *default_code
    cdef int32_t *place_of     # by row: where in the level its node is, -1: in a leaf
    cdef int64_t *hists        # a worker: of one feature, for each place of the level
    cdef size_t hists_each, most_codes

    def __init__(self, matrix, list edges, params, int n_threads, uint64_t seed, categories=None, int n_values=1):
        no_columns = BinnedMatrix(BinnedMatrix.room(0, matrix.n_rows, np.uint8), np.empty(0, np.uint32))
        self.records = RowRecords(no_columns, n_threads)
        self.single = SingleRecords(self.records, matrix.n_rows, n_threads, self.n_lanes)
        self.partition = SparseRowPartition(matrix, n_threads)
        self.leaves = LeafRows(self.partition, n_threads)
        self.gains = LevelGains(matrix, self.splitter)
        self.column_begin = <const int64_t *> address_of(matrix.column_begin)
        self.rows = <const uint32_t *> address_of(matrix.rows)
        self.codes = <const uint16_t *> address_of(matrix.codes)
        self.default_code = <const uint16_t *> address_of(matrix.default_code)
        self.most_codes = int(matrix.n_codes.max())
        self.place_of = <int32_t *> malloc((matrix.n_rows + 1) * sizeof(int32_t))
        if self.place_of == NULL:
            raise MemoryError()

    def __dealloc__(self):
        free(self.place_of)
        free(self.hists)

    cdef int start_histograms(self) except -1:
        return self.single.start_tree()

    cdef int find_rule(self) noexcept nogil:
        cdef int worker
        cdef int64_t n_entries = self.column_begin[self.n_features]
        if self.make_histogram_room() != 0:
            return -1
        if self.depth == 0:
            self.single.total(self.nodes[0].total)
        self.place_rows()
        for worker in range(self.n_threads):
            self.splitter.reset(&self.choices[worker])
        self.first_pair, self.end_pair = 0, self.n_pairs
        parallel_for(look_at_feature, <void *> self, self.n_features,
                     self.n_threads if n_entries >= PARALLEL_ENTRIES else 1)
        self.splitter.reset(&self.rule)
        for worker in range(self.n_threads):
            improve(&self.rule, &self.choices[worker])
        return 0

    cdef int make_histogram_room(self) noexcept nogil:
        """Returns -1 without memory."""
        cdef size_t each = (2 * <size_t> self.n_pairs * self.most_codes * self.n_lanes + 15) // 8 * 8
        if each <= self.hists_each:
            return 0
        if resize(<void **> &self.hists, self.n_threads * each * sizeof(int64_t)) != 0:
            return -1
        self.hists_each = each
        return 0

    cdef void place_rows(self) noexcept nogil:
        """OUT place_of."""
        memset(self.place_of, 0 if self.depth == 0 else 255, self.partition.n_rows * sizeof(int32_t))
        if self.depth > 0:
            parallel_for(place_node, <void *> self, 2 * self.n_pairs, self.n_threads)

    cdef void place(self, int i) noexcept nogil:
        cdef const Node *node
        cdef int64_t k
        if self.level[i] < 0 or not self.nodes[self.level[i]].is_open:
            return
        node = &self.nodes[self.level[i]]
        for k in range(node.begin, node.begin + node.count):
            self.place_of[self.partition.rows[k]] = i

    cdef bint start_feature(self, int feature, int worker) noexcept nogil:
        """Entries into the worker's histograms. With too few of them no node can be split."""
        cdef int64_t begin = self.column_begin[feature], end = self.column_begin[feature + 1], k
        cdef int lanes = self.records.lanes, lane
        cdef size_t each = self.gains.n_codes[feature] * <size_t> lanes
        cdef int64_t *hists = self.hists + worker * self.hists_each
        cdef int64_t *to
        cdef const int64_t *record
        if end - begin < self.min_samples_leaf:
            return False
        memset(hists, 0, 2 * self.n_pairs * each * sizeof(int64_t))
        for k in range(begin, end):
            if self.place_of[self.rows[k]] < 0:
                continue
            to = hists + self.place_of[self.rows[k]] * each + self.codes[k] * <size_t> lanes
            record = self.single.rows + self.rows[k] * <size_t> lanes
            for lane in range(lanes):
                to[lane] += record[lane]
        return True

    cdef const int64_t *histogram(self, int i, int feature, int worker) noexcept nogil:
        """Complete by what lies at zero. A node with fewer entries than a leaf has rows cannot be split."""
        cdef int lanes = self.records.lanes, lane
        cdef uint32_t n_codes = self.gains.n_codes[feature], code
        cdef const Node *node = &self.nodes[self.level[i]]
        cdef int64_t *hist = self.hists + worker * self.hists_each + i * (n_codes * <size_t> lanes)
        cdef int64_t *zero = hist + self.default_code[feature] * <size_t> lanes
        for lane in range(lanes):
            zero[lane] = node.total[lane]
        for code in range(n_codes):
            if code != self.default_code[feature]:
                for lane in range(lanes):
                    zero[lane] -= hist[code * <size_t> lanes + lane]
        return hist if node.count - self.splitter.count(zero) >= self.min_samples_leaf or self.depth == 0 else NULL

    cdef int judge_at(self, int i) noexcept nogil:
        self.judge(self.level[i], self.histogram(i, self.rule.feature, 0))
        return 0

    cdef int give_places(self, int32_t node, int32_t smaller, int32_t larger) noexcept nogil:
        return 0  # histograms are not kept


cdef void look_at_feature(void *grower, int64_t feature, int worker) noexcept nogil:
    (<SparseSymmetricTreeGrower> grower).look_at(feature, worker)


cdef void place_node(void *grower, int64_t i, int worker) noexcept nogil:
    (<SparseSymmetricTreeGrower> grower).place(i)
