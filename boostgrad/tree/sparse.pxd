from libc.stdint cimport int64_t, uint16_t, uint32_t

from boostgrad.native cimport bg_kernels, sparse_kernel
from boostgrad.tree.single_records cimport SingleRecords
from boostgrad.tree.splitter cimport Splitter
from boostgrad.tree.structs cimport Node, SplitChoice

cdef enum:
    MOST_GRADIENTS = 6     # fields of a vector record at most

cdef struct NodeColumn:
    uint32_t feature
    uint32_t count         # its entries in the node ...
    int64_t begin          # ... which are among entries[begin : begin + held]
    uint32_t held
    int own                # whether they are in the search's own arrays, or still where the matrix has them
    double reach           # no split of the feature gains more than reach^2, in the node as it is ...
    double weight          # ... if at most so much hessian, l2 included, lies off zero

cdef struct ColumnList:
    NodeColumn *columns
    int64_t n, room
    int64_t n_entries
    uint32_t owner         # of the node's rows

cdef struct Touch:
    uint32_t split         # number of the split that the others are of
    uint32_t count         # entries of the feature that go to the smaller child
    double weight          # their hessians
    double reach           # and their deviations |g - c h|

cdef struct ChunkOutcome:
    int64_t n_kept, n_moved            # columns that the larger, that the smaller child has of the chunk
    int64_t entries_kept, entries_moved


cdef class SparseColumnSearch:
    cdef const bg_kernels *k
    cdef object matrix
    cdef Splitter splitter
    cdef int n_threads
    cdef int64_t n_rows, n_features, n_root
    cdef uint32_t min_samples
    cdef const uint32_t *n_codes
    cdef const uint16_t *default_code
    cdef const uint32_t *rows          # as the matrix has them
    cdef const uint16_t *codes
    cdef const int64_t *row_begin
    cdef const uint32_t *row_features
    cdef uint32_t[::1] own_rows        # parted by node, once a node was split
    cdef uint16_t[::1] own_codes
    cdef NodeColumn *root              # columns that can be split at all
    cdef int64_t root_entries
    cdef NodeColumn *moved             # columns of the smaller child, before they are put together
    cdef ChunkOutcome *outcomes
    cdef ColumnList *lists
    cdef int *free_lists
    cdef int n_lists, n_free
    cdef uint32_t *owner_of            # by row: which node it is in
    cdef uint32_t n_owners
    cdef Touch *touched                # by feature
    cdef uint32_t split
    cdef SingleRecords single
    cdef size_t hist_lanes, longest
    cdef int64_t *hist                 # one feature's histogram, a worker
    cdef uint32_t *left_rows
    cdef uint16_t *left_codes
    cdef double least_weight           # of a side of an admissible split, l2 included
    cdef SplitChoice *choices          # (smaller, larger) a worker
    # of the tree
    cdef int lanes
    cdef sparse_kernel kernel
    # of the node that is split
    cdef Node *smaller
    cdef Node *larger
    cdef ColumnList *list
    cdef bint parts, all_touched, small_open, large_open, prunes
    cdef double floor, base, curvature, shift
    cdef double[MOST_GRADIENTS] center
    cdef int n_gradients

    cdef int start_tree(self) except -1
    cdef int take(self) noexcept nogil
    cdef void give(self, int slot) noexcept nogil
    cdef int take_root(self, int64_t *total) noexcept nogil
    cdef void find_root(self, Node *root) noexcept nogil
    cdef int find_children(self, const Node *parent, Node *smaller, Node *larger, const uint32_t *rows) noexcept nogil
    cdef int64_t count_entries(self, const uint32_t *rows, int64_t n, int64_t enough) noexcept nogil
    cdef void touch(self, const uint32_t *rows, int64_t n) noexcept nogil
    cdef void aim(self, const Node *parent) noexcept nogil
    cdef void visit_all(self, int64_t work) noexcept nogil
    cdef int gather(self) noexcept nogil
    cdef uint32_t part(self, NodeColumn *column, int64_t skip, uint32_t owner, int worker) noexcept nogil
    cdef double reach_without(self, const NodeColumn *column, const Touch *touch) noexcept nogil
    cdef bint part_column(self, NodeColumn *column, NodeColumn *moved, int worker) noexcept nogil
    cdef void visit_chunk(self, int64_t chunk, int worker) noexcept nogil
    cdef bint hopeless(self, NodeColumn *column, int worker) noexcept nogil
    cdef void scan(self, NodeColumn *column, const Node *node, int worker, SplitChoice *best) noexcept nogil
