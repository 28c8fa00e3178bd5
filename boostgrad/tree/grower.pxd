from libc.stdint cimport int32_t, int64_t, uint32_t, uint64_t

from boostgrad.tree.growth_queue cimport GrowthQueue
from boostgrad.tree.histogram cimport HistogramPool
from boostgrad.tree.leaves cimport LeafRows
from boostgrad.tree.level_sets cimport LevelSets
from boostgrad.tree.partition cimport RowPartition
from boostgrad.tree.records cimport RowRecords
from boostgrad.tree.splitter cimport Splitter
from boostgrad.tree.structs cimport Node, SplitChoice
from boostgrad.tree.vector cimport GradientSketch

cdef struct SearchContext:
    void *grower
    Node *node
    Node *sibling          # its histogram is derived, NULL: there is none
    bint built             # by all threads, which shared the rows


cdef class TreeGrower:
    cdef readonly object matrix
    cdef list edges
    cdef RowRecords records
    cdef readonly HistogramPool pool
    cdef Splitter splitter
    cdef GradientSketch sketch  # of trees with vector leaves; None: of others
    cdef RowPartition partition
    cdef LeafRows leaves
    cdef GrowthQueue queue
    cdef LevelSets sets
    cdef Node *nodes
    cdef int n_nodes, room, n_leaves
    cdef int n_threads, n_features
    cdef double noise_share
    cdef int64_t max_leaves, max_depth, min_samples_leaf, total_codes
    cdef double min_split_gain
    cdef uint64_t tie_seed, tree_seed
    cdef const double *pairs
    cdef int pair_width
    cdef double constant_hessian
    cdef int first_output, n_values
    cdef int n_lanes           # that sums of a node take at most
    cdef double *leaf_values   # output by output, and behind them the leaves' sums of gradients and hessians, likewise
    cdef SplitChoice *choices  # the best splits that a thread has found, of a node and of its sibling
    # nodes that are worked out side by side, a thread each, and how many splits are worked out and not made
    cdef bint worth_threads
    cdef int32_t *batch
    cdef int n_batch, n_ready

    cdef int start_records(self, gradient_pairs, int number) except -1
    cdef int start_vectors(self, unit, int number) except -1
    cdef int start_histograms(self) except -1
    cdef double gradient_variance(self)
    cdef int32_t add_node(self, int64_t begin, int64_t count, int32_t depth, uint64_t key) noexcept nogil
    cdef bint may_split(self, int32_t node, int64_t n_leaves) noexcept nogil
    cdef int start_nodes(self) noexcept nogil
    cdef int grow_nodes(self) noexcept nogil
    cdef int make_split(self, int32_t node) noexcept nogil
    cdef int settle(self, int32_t node) noexcept nogil
    cdef int work_out(self, int32_t node) noexcept nogil
    cdef void choose_batch(self, int32_t node) noexcept nogil
    cdef int64_t work_of(self, int32_t node) noexcept nogil
    cdef void forget_ready(self) noexcept nogil
    cdef int prepare(self, int32_t node, int64_t n_leaves) noexcept nogil
    cdef int give_places(self, int32_t node, int32_t smaller, int32_t larger) noexcept nogil
    cdef int32_t smaller_child(self, int32_t node) noexcept nogil
    cdef int32_t larger_child(self, int32_t node) noexcept nogil
    cdef bint subtraction_pays(self, int32_t smaller, int32_t larger) noexcept nogil
    cdef int work(self, int32_t node, int worker) noexcept nogil
    cdef int evaluate_root(self, int32_t root) noexcept nogil
    cdef int evaluate_children(self, int32_t node, int32_t smaller, int32_t larger, int worker) noexcept nogil
    cdef int evaluate(self, int32_t node, int32_t sibling, int worker) noexcept nogil
    cdef void search(self, int32_t node, int32_t sibling, int worker, bint built) noexcept nogil
    cdef void search_tile(self, const SearchContext *c, int t, int worker) noexcept nogil
    cdef void search_feature(self, const SearchContext *c, int feature, int worker) noexcept nogil
    cdef void give(self, int slot) noexcept nogil
    cdef bint is_full(self) noexcept nogil
    cdef void close(self, int32_t node) noexcept nogil
    cdef int sum_leaves(self) noexcept nogil
    cdef double leaf_cover(self, int64_t leaf) noexcept nogil
    cdef void number_leaves(self) noexcept nogil
    cdef int32_t child_number(self, int32_t node) noexcept nogil
    cdef double threshold_of(self, int feature, uint32_t code) except? -1
    cdef object category_sets(self, int n_splits)
    cdef object finished_tree(self, int output)
