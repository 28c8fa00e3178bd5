from libc.stdint cimport int32_t, int64_t, uint8_t, uint32_t, uint64_t

from boostgrad.tree.growth_queue cimport GrowthQueue
from boostgrad.tree.histogram cimport HistogramPool
from boostgrad.tree.leaves cimport LeafRows
from boostgrad.tree.partition cimport RowPartition
from boostgrad.tree.records cimport RowRecords
from boostgrad.tree.splitter cimport Splitter
from boostgrad.tree.structs cimport Node, SplitChoice


cdef class TreeGrower:
    cdef readonly object matrix
    cdef list edges
    cdef RowRecords records
    cdef HistogramPool pool
    cdef Splitter splitter
    cdef RowPartition partition
    cdef LeafRows leaves
    cdef GrowthQueue queue
    cdef Node *nodes
    cdef int n_nodes, room, n_leaves
    cdef int n_threads, n_features
    cdef double noise_share
    cdef int64_t max_leaves, max_depth, min_samples_leaf, total_codes
    cdef uint64_t tie_seed, tree_seed
    cdef const double *pairs
    cdef int pair_width
    cdef double constant_hessian
    cdef int first_output, n_values
    cdef int n_lanes           # that sums of a node take at most
    cdef double *leaf_values   # output by output, and behind them the leaves' sums of gradients and hessians, likewise
    # the pair of nodes whose histograms are finished and scanned
    cdef int32_t built, derived
    cdef bint scan_built
    cdef SplitChoice *choices
    # nodes that are worked out side by side, a thread each, and how many such wait for their turn
    cdef bint side_by_side
    cdef int32_t *batch
    cdef int n_batch, n_ready
    # sets of levels: of one split a thread, a byte a code, and of all nodes that wait or were split, 32 levels a word
    cdef uint8_t *goes_left
    cdef uint32_t *set_bits
    cdef int64_t n_set_words, set_room
    cdef size_t set_codes

    cdef int start_records(self, gradient_pairs, int number) except -1
    cdef int start_histograms(self) except -1
    cdef double gradient_variance(self)
    cdef int32_t add_node(self, int64_t begin, int64_t count, int32_t depth, uint64_t key) noexcept nogil
    cdef bint may_split(self, int32_t node) noexcept nogil
    cdef int grow_nodes(self) noexcept nogil
    cdef int split_now(self, int32_t node) noexcept nogil
    cdef int take_ready(self, int32_t node) noexcept nogil
    cdef void make_split(self, int32_t node, int32_t left, int32_t right) noexcept nogil
    cdef int add_children(self, int32_t node, int32_t *children) noexcept nogil
    cdef int64_t work(self, int32_t node) noexcept nogil
    cdef int work_out(self, int32_t node) noexcept nogil
    cdef int choose_batch(self, int32_t node) noexcept nogil
    cdef int prepare(self, int32_t node) noexcept nogil
    cdef void work_alone(self, int32_t node, int worker) noexcept nogil
    cdef void forget_ready(self) noexcept nogil
    cdef int32_t smaller_of(self, int32_t left, int32_t right) noexcept nogil
    cdef int evaluate_root(self, int32_t root) noexcept nogil
    cdef int evaluate_children(self, int32_t node, int32_t left, int32_t right) noexcept nogil
    cdef int evaluate_pair(self, int32_t node, int32_t smaller, int32_t larger, bint small_open, bint large_open,
                           int slot) noexcept nogil
    cdef bint subtraction_pays(self, int32_t smaller, int32_t larger, bint small_open) noexcept nogil
    cdef int build(self, int32_t node) noexcept nogil
    cdef int evaluate_alone(self, int32_t node) noexcept nogil
    cdef void give(self, int slot) noexcept nogil
    cdef bint is_full(self) noexcept nogil
    cdef void close(self, int32_t node) noexcept nogil
    cdef int keep_if_worth_it(self, int32_t node) noexcept nogil
    cdef int keep_set(self, int32_t node) noexcept nogil
    cdef const uint8_t *set_table(self, int32_t node) noexcept nogil
    cdef const uint8_t *table_in(self, int32_t node, uint8_t *goes_left) noexcept nogil
    cdef void find_splits(self, int32_t built, int32_t derived, bint scan_built) noexcept nogil
    cdef void improve(self, int32_t node, const SplitChoice *choice) noexcept nogil
    cdef void finish(self, int feature, int worker) noexcept nogil
    cdef uint32_t rotation(self, int32_t node) noexcept nogil
    cdef int sum_leaves(self) noexcept nogil
    cdef double leaf_cover(self, int64_t leaf) noexcept nogil
    cdef void number_leaves(self) noexcept nogil
    cdef object set_of(self, int32_t node)
    cdef int32_t child_number(self, int32_t node) noexcept nogil
    cdef double threshold_of(self, int feature, uint32_t code) except? -1
    cdef object category_sets(self, int n_splits)
    cdef object finished_tree(self, int output)
