"""Best splits of the nodes of a tree on a sparse table.

A dense node has a histogram. With tens of thousands of features of which each row has a few, histograms would be mostly
empty and far larger than the entries they come from, so a node here has its entries themselves, feature by feature, and
a feature's histogram is made when it is scanned, in the first-level cache. What zero's code adds is the node's total
less all else::

    entries of f     rows  3 8 9 15 | 1 4        of which the larger child has the front, the smaller one the back
                     codes 2 7 2  4 | 2 4
    histogram of f   zero: total - rest   2: r3 + r9   4: r15   7: r8

Splitting a node parts the entries of a feature, in place. Features that have fewer than ``min_samples_leaf`` entries in a
node cannot be split there nor below, and are left out.

Most features have few entries or none in a small child, so that their gains in the larger child are hardly other than in
the parent. With the sums G, H of the node, ``T = H + 2 l2``, ``c = G / T``, and the sums x, h of the side off zero,
``a = h + l2``,

    score(left) + score(right) = G^2 / T + T / (T - a) * z^2,       z = (x - c a) / sqrt(a)

Where the node's sums change so that c becomes c', ``abs(z') <= abs(z) + abs(c' - c) sqrt(a)``. Where rows R leave that
have entries, with the sums r of ``abs(g - c h)`` and h of their hessians, ``abs(z') <= abs(z) sqrt(1 + h / a') + r /
sqrt(a')``, in which a' is no less than what a leaf must weigh. Trees with vector leaves have several G, x and z, and
``abs`` is the length of a vector then. A feature whose largest z is known for the parent is neither parted nor scanned
while this says that it cannot beat the best split found so far; its entries then lie among those of rows that have left,
until it is looked at again. The bound is exact, with room for rounding, so the tree is the same.
"""

from libc.math cimport INFINITY, fabs, fmax, sqrt
from libc.stdint cimport int64_t, uint16_t, uint32_t
from libc.stdlib cimport calloc, free, malloc
from libc.string cimport memcpy, memmove, memset

import numpy as np

from boostgrad.native cimport address_of, kernels, parallel_for, resize
from boostgrad.tree.records cimport RowRecords
from boostgrad.tree.single_records cimport SingleRecords
from boostgrad.tree.splitter cimport Splitter, improve
from boostgrad.tree.structs cimport Node, SplitChoice

# Columns a task takes at a time.
DEF COLUMNS_PER_TASK = 32

# Entries to part or to scan that are worth waking another thread for.
DEF PARALLEL_ENTRIES = 20000

# With more entries than so many a column nearly all columns have one, and to note which costs more than it saves.
DEF TOUCHING_ENTRIES = 2

# Shares of a score that are more than all rounding in it.
DEF ROUNDING = 1e-9


cdef class SparseColumnSearch:
    """The columns of the open nodes, and their best splits.

    Parameters
    ----------
    matrix : SparseBinnedMatrix
    records : RowRecords
        What the rows add; without codes.
    splitter : Splitter
    params : TreeParams
    n_threads : int
    most_lanes : int
        Integers of a record: 2, or less, for trees of one output, 4 for those of many.
    """

    def __cinit__(self, matrix, RowRecords records, Splitter splitter, params, int n_threads, int most_lanes):
        cdef int64_t feature, count
        cdef const int64_t *column_begin = <const int64_t *> address_of(matrix.column_begin)
        self.k = kernels()
        self.matrix = matrix
        self.single = SingleRecords(records, matrix.n_rows, n_threads, most_lanes)
        self.splitter = splitter
        self.n_threads = n_threads
        self.n_rows = matrix.n_rows
        self.n_features = matrix.n_features
        self.min_samples = max(params.min_samples_leaf, 1)
        self.n_codes = <const uint32_t *> address_of(matrix.n_codes)
        self.default_code = <const uint16_t *> address_of(matrix.default_code)
        self.rows = <const uint32_t *> address_of(matrix.rows)
        self.codes = <const uint16_t *> address_of(matrix.codes)
        self.row_begin = <const int64_t *> address_of(matrix.row_begin)
        self.row_features = <const uint32_t *> address_of(matrix.row_features)
        self.own_rows = np.empty(len(matrix.rows) + 1, dtype=np.uint32)
        self.own_codes = np.empty(len(matrix.rows) + 1, dtype=np.uint16)
        self.hist_lanes = (most_lanes * <size_t> int(matrix.n_codes.max()) + 15) // 8 * 8
        self.longest = int(np.diff(matrix.column_begin).max()) + 1
        self.root = <NodeColumn *> calloc(self.n_features + 1, sizeof(NodeColumn))
        self.moved = <NodeColumn *> malloc((self.n_features + 1) * sizeof(NodeColumn))
        self.outcomes = <ChunkOutcome *> malloc((self.n_features // COLUMNS_PER_TASK + 1) * sizeof(ChunkOutcome))
        self.owner_of = <uint32_t *> malloc((self.n_rows + 1) * sizeof(uint32_t))
        self.touched = <Touch *> calloc(self.n_features + 1, sizeof(Touch))
        self.hist = <int64_t *> malloc(n_threads * self.hist_lanes * sizeof(int64_t))
        self.left_rows = <uint32_t *> malloc(n_threads * self.longest * sizeof(uint32_t))
        self.left_codes = <uint16_t *> malloc(n_threads * self.longest * sizeof(uint16_t))
        self.choices = <SplitChoice *> malloc(2 * n_threads * sizeof(SplitChoice))
        if (self.root == NULL or self.moved == NULL or self.outcomes == NULL or self.owner_of == NULL
                or self.touched == NULL or self.hist == NULL or self.left_rows == NULL or self.left_codes == NULL
                or self.choices == NULL):
            raise MemoryError()
        for feature in range(self.n_features):
            count = column_begin[feature + 1] - column_begin[feature]
            if count < self.min_samples:
                continue
            self.root[self.n_root].feature = <uint32_t> feature
            self.root[self.n_root].count = self.root[self.n_root].held = <uint32_t> count
            self.root[self.n_root].begin = column_begin[feature]
            self.root[self.n_root].reach = self.root[self.n_root].weight = INFINITY
            self.n_root += 1
            self.root_entries += count

    def __dealloc__(self):
        cdef int i
        for i in range(self.n_lists):
            free(self.lists[i].columns)
        free(self.lists)
        free(self.free_lists)
        free(self.root)
        free(self.moved)
        free(self.outcomes)
        free(self.owner_of)
        free(self.touched)
        free(self.hist)
        free(self.left_rows)
        free(self.left_codes)
        free(self.choices)

    cdef int start_tree(self) except -1:
        """All lists are free; the records of the rows are those of the tree."""
        cdef int i
        cdef int64_t least[4]
        self.single.start_tree()
        self.lanes = self.single.lanes
        if self.lanes == 4:
            self.kernel = self.k.sparse_vector
        else:
            self.kernel = self.k.sparse_wide if self.lanes == 2 else self.k.sparse_narrow
        memset(self.owner_of, 0, self.n_rows * sizeof(uint32_t))
        self.n_owners = 1
        memset(least, 0, sizeof(least))
        least[self.lanes - 1] = 1 if self.lanes == 1 else self.single.least[0]  # 1: a record of one row
        # the bound needs hessians that are not negative
        self.prunes = self.splitter.rule.plain and least[self.lanes - 1] >= 0
        self.least_weight = self.splitter.leaf_rule.l2 + fmax(
            self.splitter.rule.min_child_weight, self.min_samples * self.splitter.hessian_sum(least))
        self.n_free = self.n_lists
        for i in range(self.n_lists):
            self.free_lists[i] = self.n_lists - 1 - i
        return 0

    # -- lists of columns ----------------------------------------------------------------------------------------------

    cdef int take(self) noexcept nogil:
        """An empty list, or -1 without memory."""
        if self.n_free == 0:
            if (resize(<void **> &self.lists, (self.n_lists + 1) * sizeof(ColumnList)) != 0
                    or resize(<void **> &self.free_lists, (self.n_lists + 1) * sizeof(int)) != 0):
                return -1
            memset(&self.lists[self.n_lists], 0, sizeof(ColumnList))
            self.free_lists[0] = self.n_lists
            self.n_lists += 1
            self.n_free = 1
        self.n_free -= 1
        self.lists[self.free_lists[self.n_free]].n = 0
        self.lists[self.free_lists[self.n_free]].n_entries = 0
        return self.free_lists[self.n_free]

    cdef void give(self, int slot) noexcept nogil:
        if slot >= 0:
            self.free_lists[self.n_free] = slot
            self.n_free += 1

    cdef int take_root(self, int64_t *total) noexcept nogil:
        """The list of all columns, or -1 without memory; OUT total: packed sums of all rows."""
        cdef int slot = self.take()
        if slot < 0 or fill(&self.lists[slot], self.root, self.n_root) != 0:
            return -1
        self.lists[slot].n_entries = self.root_entries
        self.lists[slot].owner = 0
        self.single.total(total)
        return slot

    # -- finding splits ------------------------------------------------------------------------------------------------

    cdef void find_root(self, Node *root) noexcept nogil:
        """Improve the node's choice by the best split of all its columns."""
        self.larger = root
        self.smaller = NULL
        self.list = &self.lists[root.slot]
        self.parts = self.small_open = False
        self.large_open = True
        self.aim(root)
        self.visit_all(self.root_entries)

    cdef int find_children(self, const Node *parent, Node *smaller, Node *larger, const uint32_t *rows) noexcept nogil:
        """Part the parent's columns, which ``larger.slot`` lists, and improve both choices.

        The larger child keeps the list; the smaller one's goes to ``smaller.slot``, where that is not -1. Returns -1
        without memory.
        """
        cdef int64_t n_moving, k, first = -1
        cdef NodeColumn *column
        self.smaller = smaller
        self.larger = larger
        self.list = &self.lists[larger.slot]
        self.parts = True
        self.small_open = smaller.slot >= 0
        self.large_open = larger.is_open
        self.aim(parent)
        rows += smaller.begin
        n_moving = self.count_entries(rows, smaller.count, TOUCHING_ENTRIES * self.list.n)
        self.all_touched = n_moving < 0
        for k in range(smaller.count):
            self.owner_of[rows[k]] = self.n_owners
        if self.small_open:
            self.lists[smaller.slot].owner = self.n_owners
        self.n_owners += 1
        if not self.all_touched:
            self.touch(rows, smaller.count)
        if self.prunes and larger.is_open and not self.all_touched:
            # the most promising column first: what it gains saves scans of the others
            for k in range(self.list.n):
                column = &self.list.columns[k]
                if (column.held == column.count and self.touched[column.feature].split != self.split
                        and (first < 0 or column.reach > self.list.columns[first].reach)):
                    first = k
            if first >= 0:
                column = &self.list.columns[first]
                self.scan(column, larger, 0, &larger.choice)
                # as the column is visited once more, for which it must be as the parent left it
                column.reach -= self.shift * sqrt(column.weight)
                self.floor = larger.choice.score
        self.visit_all(self.list.n_entries if self.all_touched
                       else self.list.n + n_moving * (self.list.n_entries // max(self.list.n, <int64_t> 1)))
        return self.gather()

    cdef void aim(self, const Node *parent) noexcept nogil:
        """What bounds of the larger child's gains need."""
        cdef double l2 = self.splitter.leaf_rule.l2
        cdef double above = self.splitter.hessian_sum(parent.total) + 2 * l2
        cdef double[MOST_GRADIENTS] gradient
        cdef int j
        self.n_gradients = self.splitter.gradient_sums(self.larger.total, gradient)
        self.splitter.gradient_sums(parent.total, self.center)
        self.curvature = self.splitter.hessian_sum(self.larger.total) + 2 * l2
        self.base = square(gradient, self.n_gradients) / self.curvature if self.curvature > 0 else 0.0
        for j in range(self.n_gradients):
            self.center[j] = self.center[j] / above if above > 0 else 0.0
            gradient[j] = gradient[j] / self.curvature - self.center[j] if self.curvature > 0 else 0.0
        self.shift = length(gradient, self.n_gradients) if self.curvature > 0 and above > 0 else INFINITY
        self.floor = 0

    cdef int64_t count_entries(self, const uint32_t *rows, int64_t n, int64_t enough) noexcept nogil:
        """Entries of the rows, or -1 where there are more than enough."""
        cdef int64_t i, n_entries = 0
        for i in range(n):
            n_entries += self.row_begin[rows[i] + 1] - self.row_begin[rows[i]]
            if n_entries > enough:
                return -1
        return n_entries

    cdef void touch(self, const uint32_t *rows, int64_t n) noexcept nogil:
        """Note what leaves each feature with these rows."""
        cdef int64_t i, at
        cdef const int64_t *record
        cdef double weight, deviation
        cdef double[MOST_GRADIENTS] gradient
        cdef int j
        cdef Touch *touch
        self.split += 1
        if self.split == 0:  # after 2^32 splits
            memset(self.touched, 0, self.n_features * sizeof(Touch))
            self.split = 1
        for i in range(n):
            record = self.single.rows + self.lanes * <int64_t> rows[i]
            weight = self.splitter.hessian_sum(record)
            self.splitter.gradient_sums(record, gradient)
            for j in range(self.n_gradients):
                gradient[j] -= self.center[j] * weight
            deviation = length(gradient, self.n_gradients)
            for at in range(self.row_begin[rows[i]], self.row_begin[rows[i] + 1]):
                touch = &self.touched[self.row_features[at]]
                if touch.split != self.split:
                    touch.split = self.split
                    touch.count = 0
                    touch.weight = touch.reach = 0
                touch.count += 1
                touch.weight += weight
                touch.reach += deviation

    cdef void visit_all(self, int64_t work) noexcept nogil:
        cdef int64_t n_chunks = (self.list.n + COLUMNS_PER_TASK - 1) // COLUMNS_PER_TASK
        cdef int worker
        for worker in range(2 * self.n_threads):
            self.splitter.reset(&self.choices[worker])
        parallel_for(visit_chunk, <void *> self, n_chunks, self.n_threads if work >= PARALLEL_ENTRIES else 1)
        for worker in range(self.n_threads):
            if self.smaller != NULL:
                improve(&self.smaller.choice, &self.choices[2 * worker])
            improve(&self.larger.choice, &self.choices[2 * worker + 1])

    cdef int gather(self) noexcept nogil:
        """Put the columns that the chunks left together. Returns -1 without memory."""
        cdef int64_t n_chunks = (self.list.n + COLUMNS_PER_TASK - 1) // COLUMNS_PER_TASK
        cdef int64_t chunk, begin, n = 0, n_moved = 0, n_entries = 0, entries_moved = 0
        cdef ChunkOutcome *outcome
        for chunk in range(n_chunks):
            outcome = &self.outcomes[chunk]
            begin = chunk * COLUMNS_PER_TASK
            if n != begin and outcome.n_kept:
                memmove(self.list.columns + n, self.list.columns + begin, outcome.n_kept * sizeof(NodeColumn))
            if n_moved != begin and outcome.n_moved:
                memmove(self.moved + n_moved, self.moved + begin, outcome.n_moved * sizeof(NodeColumn))
            n += outcome.n_kept
            n_moved += outcome.n_moved
            n_entries += outcome.entries_kept
            entries_moved += outcome.entries_moved
        self.list.n = n
        self.list.n_entries = n_entries
        if self.small_open:
            self.lists[self.smaller.slot].n_entries = entries_moved
            return fill(&self.lists[self.smaller.slot], self.moved, n_moved)
        return 0

    cdef uint32_t part(self, NodeColumn *column, int64_t skip, uint32_t owner, int worker) noexcept nogil:
        """Bring the entries of the owner's rows to the front, those before ``skip`` left aside; returns how many."""
        cdef int64_t begin = column.begin + skip
        cdef uint32_t n = self.k.sparse_part(
            &self.own_rows[begin] if column.own else self.rows + begin,
            &self.own_codes[begin] if column.own else self.codes + begin,
            column.held - skip, self.owner_of, owner, &self.own_rows[begin], &self.own_codes[begin],
            self.left_rows + worker * self.longest, self.left_codes + worker * self.longest)
        column.own = True
        return n

    cdef double reach_without(self, const NodeColumn *column, const Touch *touch) noexcept nogil:
        """A bound of abs(z) once the touched entries have left."""
        return (at_least_zero(column.reach) * sqrt(1 + touch.weight / self.least_weight)
                + touch.reach / sqrt(self.least_weight))

    cdef bint part_column(self, NodeColumn *column, NodeColumn *moved, int worker) noexcept nogil:
        """What the larger child keeps of a column, or at least how much; whether OUT moved, what the smaller one gets,
        is a column that can be split."""
        cdef Touch *touch = &self.touched[column.feature]
        cdef uint32_t kept
        if not self.all_touched:
            if touch.split != self.split:
                return False
            if not self.small_open or touch.count < self.min_samples:  # nobody wants what leaves
                column.count -= touch.count
                column.reach = self.reach_without(column, touch)
                return False
        kept = self.part(column, 0, self.list.owner, worker)
        if self.small_open and column.held - kept >= self.min_samples:
            moved[0] = column[0]
            moved.count = self.part(column, kept, self.lists[self.smaller.slot].owner, worker)
            moved.begin += kept
            moved.held = moved.count
            moved.own = True
        else:
            moved.count = 0
        if self.all_touched:
            column.reach = INFINITY if kept < column.count else column.reach
        else:
            column.reach = self.reach_without(column, touch)
        column.count = column.held = kept
        return moved.count >= self.min_samples

    cdef void visit_chunk(self, int64_t chunk, int worker) noexcept nogil:
        """Part some columns, and scan what each child has of them."""
        cdef int64_t first = chunk * COLUMNS_PER_TASK
        cdef int64_t last = min(first + COLUMNS_PER_TASK, self.list.n)
        cdef ChunkOutcome *outcome = &self.outcomes[chunk]
        cdef NodeColumn *column
        cdef NodeColumn *moved
        cdef int64_t k
        memset(outcome, 0, sizeof(ChunkOutcome))
        for k in range(first, last):
            column = &self.list.columns[k]
            moved = &self.moved[first + outcome.n_moved]
            if self.parts and self.part_column(column, moved, worker):
                self.scan(moved, self.smaller, worker, &self.choices[2 * worker])
                outcome.n_moved += 1
                outcome.entries_moved += moved.count
            if column.count < self.min_samples:
                continue
            if self.large_open and not self.hopeless(column, worker):
                if column.held > column.count:
                    column.held = self.part(column, 0, self.list.owner, worker)
                self.scan(column, self.larger, worker, &self.choices[2 * worker + 1])
            if first + outcome.n_kept < k:
                self.list.columns[first + outcome.n_kept] = column[0]
            outcome.n_kept += 1
            outcome.entries_kept += column.count

    cdef bint hopeless(self, NodeColumn *column, int worker) noexcept nogil:
        """Whether no split of the column can beat the best one; IN OUT its reach: from the parent's to the node's."""
        cdef double best = fmax(self.floor, self.choices[2 * worker + 1].score)
        cdef double rest
        if not self.prunes:
            return False
        column.reach = at_least_zero(column.reach) + self.shift * sqrt(column.weight)
        rest = self.curvature - column.weight
        if not rest > 0:
            return False
        return (self.base + self.curvature / rest * column.reach * column.reach) * (1 + ROUNDING) < best

    cdef void scan(self, NodeColumn *column, const Node *node, int worker, SplitChoice *best) noexcept nogil:
        """Improve OUT best by the column's best split, and note its reach."""
        cdef int64_t *hist = self.hist + worker * self.hist_lanes
        cdef uint32_t n_codes = self.n_codes[column.feature]
        cdef int64_t zero = self.lanes * self.default_code[column.feature]
        cdef int64_t[4] sums
        cdef double[MOST_GRADIENTS] gradient
        cdef SplitChoice found
        cdef double above, curvature
        cdef int lane
        memset(hist, 0, n_codes * self.lanes * sizeof(int64_t))
        self.kernel(&self.own_rows[column.begin] if column.own else self.rows + column.begin,
                    &self.own_codes[column.begin] if column.own else self.codes + column.begin,
                    column.count, self.single.rows, hist, sums)
        for lane in range(self.lanes):
            hist[zero + lane] = node.total[lane] - sums[lane]
        self.splitter.reset(&found)
        self.splitter.scan(hist, n_codes, column.feature, node.rotation, node.total, worker, &found)
        improve(best, &found)
        if self.prunes:
            curvature = self.splitter.hessian_sum(node.total) + 2 * self.splitter.leaf_rule.l2
            column.weight = self.splitter.hessian_sum(sums) + self.splitter.leaf_rule.l2
            column.reach = INFINITY
            if curvature > 0:
                above = found.score - square(gradient, self.splitter.gradient_sums(node.total, gradient)) / curvature
                column.reach = sqrt(fmax(above, 0.0) + ROUNDING * found.score)


cdef inline double square(const double *x, int n) noexcept nogil:
    """The square of a vector's length."""
    cdef double total = 0
    cdef int j
    for j in range(n):
        total += x[j] * x[j]
    return total


cdef inline double length(const double *x, int n) noexcept nogil:
    return fabs(x[0]) if n == 1 else sqrt(square(x, n))


cdef inline double at_least_zero(double x) noexcept nogil:
    """What is not a number stays so: no bound is known then, and comparisons with it are false."""
    return 0.0 if x < 0 else x


cdef int fill(ColumnList *to, const NodeColumn *columns, int64_t n) noexcept nogil:
    """Returns -1 without memory."""
    if to.room < n:
        if resize(<void **> &to.columns, n * sizeof(NodeColumn)) != 0:
            return -1
        to.room = n
    if n:
        memcpy(to.columns, columns, n * sizeof(NodeColumn))
    to.n = n
    return 0


cdef void visit_chunk(void *search, int64_t chunk, int worker) noexcept nogil:
    (<SparseColumnSearch> search).visit_chunk(chunk, worker)
