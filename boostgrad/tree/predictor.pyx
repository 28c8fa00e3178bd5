"""Using a model: raw predictions and leaf numbers, from a table or from codes.

A model reads a feature only through its thresholds, so a block of rows is first turned into codes by them, column by
column, and the trees then compare small integers::

    X block --search--> codes, one column a used feature --trees--> raw

A categorical split becomes a column of its own, 0 where a row goes left and 1 where it goes right, so that the kernels
know one kind of split only. These columns are filled for the trees of one group at a time: they stay in the
second-level cache however many splits a model has::

    slots   [ numeric features | categorical splits of group 0 ]
            [        "         | categorical splits of group 1 ]   in the same place, after the trees of group 0

No copy of X is made; memory is that of a block.
"""

from libc.stdint cimport int32_t, int64_t, uint8_t, uint16_t, uint32_t
from libc.math cimport isnan
from libc.stdlib cimport calloc, free, malloc
from libc.string cimport memcpy, memset

import numpy as np

from boostgrad.data.columns import BLOCK_ROWS, Columns, SparseColumns
from boostgrad.data.matrix import SparseBinnedMatrix
from boostgrad.data.binning cimport EdgeTable
from boostgrad.data.views cimport ColumnView, ColumnViews, read_float32, read_float64, read_levels, reads_float32
from boostgrad.native cimport (BG_PREDICT_BLOCK, address_of, bg_kernels, bg_node, bg_tree, kernels, parallel_for,
                               sides_kernel)
from boostgrad.data.binning import check_kinds
from boostgrad.data.views import COLUMN_KINDS

DEF BLOCK = 256

# Stored entries of a row that are read at a time.
DEF PIECE = 256

# Columns of categorical splits that are filled at a time: 256 bytes each.
GROUP_SPLITS = 1024

cdef int INT32_KIND = COLUMN_KINDS[np.dtype(np.int32)]


cdef struct SplitSides:
    # where rows go at all categorical splits of one feature in one group of trees; see kernels/categories.h
    int64_t feature
    int64_t first_slot
    int64_t n_splits
    int64_t n_codes       # the last one stands for all codes from there on
    int64_t side_bytes
    const uint8_t *sides


cdef struct TreeGroup:
    Py_ssize_t first_tree, n_trees
    Py_ssize_t first_sides, n_sides


cdef class CategoricalSplits:
    """Groups of trees, and the columns of their categorical splits.

    Parameters
    ----------
    trees : list of Tree
    slots : list of ndarray of uint32
        For each split of each tree, which column of codes it reads. OUT: for categorical ones, which column of its
        group, from n_plain on; equal splits share one.
    n_plain : int
        Slots below are those of numeric features.
    """

    cdef TreeGroup *groups
    cdef SplitSides *sides
    cdef Py_ssize_t n_groups
    cdef readonly Py_ssize_t n_columns  # of the group that has most
    cdef object held

    def __cinit__(self, list trees, list slots, Py_ssize_t n_plain):
        cdef Py_ssize_t g, at = 0, n_sides
        self.held = []
        bounds = group_bounds(trees)
        self.n_groups = len(bounds) - 1
        tables = [sides_of_group(trees[b:e], slots[b:e], n_plain) for b, e in zip(bounds, bounds[1:])]
        n_sides = sum(len(of_group) for of_group in tables)
        self.groups = <TreeGroup *> calloc(self.n_groups + 1, sizeof(TreeGroup))
        self.sides = <SplitSides *> calloc(n_sides + 1, sizeof(SplitSides))
        if self.groups == NULL or self.sides == NULL:
            raise MemoryError()
        for g in range(self.n_groups):
            self.groups[g].first_tree = bounds[g]
            self.groups[g].n_trees = bounds[g + 1] - bounds[g]
            self.groups[g].first_sides = at
            self.groups[g].n_sides = len(tables[g])
            for feature, first_slot, n_splits, table in tables[g]:
                self.held.append(table)
                self.sides[at].feature = feature
                self.sides[at].first_slot = first_slot
                self.sides[at].n_splits = n_splits
                self.sides[at].n_codes = table.shape[0]
                self.sides[at].side_bytes = table.shape[1]
                self.sides[at].sides = <const uint8_t *> address_of(table)
                self.n_columns = max(self.n_columns, first_slot + n_splits - n_plain)
                at += 1

    def __dealloc__(self):
        free(self.groups)
        free(self.sides)


def group_bounds(trees):
    """Where groups of trees begin and end: [0, ..., len(trees)]."""
    bounds, n_here = [0], 0
    for t, tree in enumerate(trees):
        n_splits = 0 if tree.categories is None else int(tree.categories.is_categorical.sum())
        if n_here and n_here + n_splits > GROUP_SPLITS:
            bounds.append(t)
            n_here = 0
        n_here += n_splits
    return [*bounds, len(trees)] if trees else [0]


def sides_of_group(trees, slots, n_plain):
    """For each feature with categorical splits (feature, first slot, number of splits, table); OUT slots."""
    known = {}  # feature -> {(set, missing_left): its number}
    uses = []
    for t, tree in enumerate(trees):
        if tree.categories is None:
            continue
        for s, words in tree.categories.words().items():
            of_feature = known.setdefault(int(tree.feature[s]), {})
            number = of_feature.setdefault((words.tobytes(), bool(tree.missing_left[s])), len(of_feature))
            uses.append((t, s, int(tree.feature[s]), number))
    found, first_slot = [], {}
    at = n_plain
    for feature in sorted(known):
        first_slot[feature] = at
        found.append((feature, at, len(known[feature]), side_table(list(known[feature]))))
        at += len(known[feature])
    for t, s, feature, number in uses:
        slots[t][s] = first_slot[feature] + number
    return found


def side_table(splits):
    """Bits of the splits, 8 a byte, for each code: 0 left, 1 right; shape (n_codes, n_bytes).

    Parameters
    ----------
    splits : list of (bytes, bool)
        The words of each set, and whether missing goes left.
    """
    n_levels = 8 * max(len(words) for words, _ in splits)
    table = np.empty((n_levels + 2, (len(splits) + 7) // 8), dtype=np.uint8)
    for b in range(table.shape[1]):
        right = np.ones((n_levels + 2, 8), dtype=np.uint8)
        for k, (words, missing_left) in enumerate(splits[8 * b : 8 * b + 8]):
            # words were laid down in the machine's byte order
            bits = np.frombuffer(words, dtype=np.uint32).astype("<u4").view(np.uint8)
            in_set = np.unpackbits(bits, bitorder="little")
            right[1 : len(in_set) + 1, k] = 1 - in_set
            right[0, k] = not missing_left
        table[:, b] = np.packbits(right, axis=1, bitorder="little")[:, 0]
    return table


cdef class PackedTrees:
    """Trees as the kernels read them.

    Parameters
    ----------
    trees : list of Tree
    slots : list of ndarray of uint32
        For each split of each tree, which column of codes it reads.
    codes : list of ndarray of uint32
        For each split of each tree, t of the go-left rule.
    n_plain : int
        Slots from there on are columns of categorical splits: 0 goes left.
    """

    cdef bg_tree *trees
    cdef bg_node *nodes
    cdef double *values
    cdef readonly Py_ssize_t n_trees

    def __cinit__(self, list trees, list slots, list codes, Py_ssize_t n_plain):
        cdef Py_ssize_t n_splits = sum(tree.n_splits for tree in trees)
        cdef Py_ssize_t n_values = sum(tree.leaf_value.size for tree in trees)
        cdef Py_ssize_t t, s, v, first_split = 0, first_value = 0
        cdef const int32_t[::1] left, right
        cdef const uint8_t[::1] missing_left
        cdef const uint32_t[::1] slot, code
        cdef const double[:, ::1] value
        cdef bg_node *node
        self.n_trees = len(trees)
        self.trees = <bg_tree *> calloc(self.n_trees + 1, sizeof(bg_tree))
        self.nodes = <bg_node *> calloc(n_splits + 1, sizeof(bg_node))
        self.values = <double *> malloc((n_values + 1) * sizeof(double))
        if self.trees == NULL or self.nodes == NULL or self.values == NULL:
            raise MemoryError()
        for t in range(self.n_trees):
            tree = trees[t]
            left, right, missing_left, value = tree.left, tree.right, tree.missing_left, tree.leaf_value
            slot, code = slots[t], codes[t]
            self.trees[t].nodes = self.nodes + first_split
            self.trees[t].values = self.values + first_value
            self.trees[t].n_splits = left.shape[0]
            self.trees[t].n_leaves = value.shape[0]
            self.trees[t].output = tree.output
            self.trees[t].n_values = value.shape[1]
            for v in range(value.shape[1]):
                for s in range(value.shape[0]):
                    self.values[first_value + s] = value[s, v]
                first_value += value.shape[0]
            for s in range(left.shape[0]):
                node = &self.nodes[first_split + s]
                node.slot = slot[s]
                if slot[s] < n_plain:
                    node.shift = 0 if missing_left[s] else 1
                    node.code = <uint16_t> (code[s] - node.shift)
                node.child[0] = right[s]
                node.child[1] = left[s]
            if value.shape[0] <= 256:
                self.trees[t].in_planes = self.find_ranges(left, right, self.nodes + first_split)
            first_split += left.shape[0]

    def __dealloc__(self):
        free(self.trees)
        free(self.nodes)
        free(self.values)

    cdef bint find_ranges(self, const int32_t[::1] left, const int32_t[::1] right, bg_node *nodes):
        """OUT nodes: which leaves lie below their left children; False where leaves are not numbered from left to
        right, as those of a model from elsewhere may be."""
        cdef int32_t[256] first, end  # leaves below a split
        cdef int32_t left_first, left_end, right_first, right_end
        cdef Py_ssize_t s
        # children are numbered after their parents, so backwards every subtree is known before it is asked for
        for s in range(left.shape[0] - 1, -1, -1):
            left_first = first[left[s]] if left[s] >= 0 else ~left[s]
            left_end = end[left[s]] if left[s] >= 0 else ~left[s] + 1
            right_first = first[right[s]] if right[s] >= 0 else ~right[s]
            right_end = end[right[s]] if right[s] >= 0 else ~right[s] + 1
            if left_end != right_first:
                return False
            nodes[s].first_left = left_first
            nodes[s].end_left = left_end
            first[s] = left_first
            end[s] = right_end
        return True


cdef struct SparseBlock:
    const int64_t *row_begin
    const int32_t *columns32      # of the entries: one of both
    const int64_t *columns64
    const ColumnView *values      # of the entries; NULL: they have codes
    const uint16_t *codes
    const int32_t *slot_of        # of a column, -1: no split reads it
    const uint16_t *zero          # of a slot: the code of 0


cdef struct PredictContext:
    const bg_kernels *k
    const bg_tree *trees
    Py_ssize_t n_trees
    const TreeGroup *groups
    Py_ssize_t n_groups
    const SplitSides *sides
    const ColumnView *columns     # NULL: codes are there already, or entries are
    const SparseBlock *entries    # NULL: not a sparse table
    const int64_t *features       # of the plain slots
    double **edges64
    float **edges32
    const unsigned int *size
    int64_t n_plain, n_slots
    const char *codes             # by column, n_rows apart; where columns is NULL
    char *room                    # codes of a block, one piece a worker; NULL: trees read codes as they are
    size_t code_bytes
    int64_t n_rows
    double *raw                   # (n_outputs, n_rows)
    int32_t *leaves               # (n_rows, n_trees)


cdef void fill_sparse(const PredictContext *c, int64_t begin, int64_t n, char *room) noexcept nogil:
    """OUT room: codes of a block of rows; all are those of 0 but for what is stored."""
    cdef const SparseBlock *e = c.entries
    cdef double[PIECE] values
    cdef float[PIECE] narrow
    cdef uint16_t code
    cdef int64_t slot, row, at, piece, n_piece, i, column
    cdef uint8_t *room8 = <uint8_t *> room
    cdef uint16_t *room16 = <uint16_t *> room
    for slot in range(c.n_plain):
        if c.code_bytes == 1:
            memset(room8 + slot * BLOCK, e.zero[slot], n)
        else:
            for i in range(n):
                room16[slot * BLOCK + i] = e.zero[slot]
    for row in range(n):
        piece = e.row_begin[begin + row]
        while piece < e.row_begin[begin + row + 1]:
            n_piece = min(<int64_t> PIECE, e.row_begin[begin + row + 1] - piece)
            if e.values != NULL and reads_float32(e.values.kind):
                read_float32(e.values, NULL, piece, n_piece, narrow)
                for i in range(n_piece):
                    values[i] = narrow[i]
            elif e.values != NULL:
                read_float64(e.values, NULL, piece, n_piece, values)
            for i in range(n_piece):
                at = piece + i
                column = e.columns32[at] if e.columns32 != NULL else e.columns64[at]
                slot = e.slot_of[column]
                if slot < 0:
                    continue
                if e.values != NULL:
                    code = code_of(values[i], c.edges64[slot], c.size[slot])
                else:
                    code = e.codes[at]
                if c.code_bytes == 1:
                    room8[slot * BLOCK + row] = <uint8_t> code
                else:
                    room16[slot * BLOCK + row] = code
            piece += n_piece


cdef inline uint16_t code_of(double value, const double *edges, unsigned int size) noexcept nogil:
    """0 where missing, else 1 + the number of edges below the value; edges are padded to a power of two."""
    cdef unsigned int below = 0, step = size // 2
    if isnan(value):
        return 0
    while step > 0:
        below += step if edges[below + step - 1] < value else 0
        step //= 2
    return <uint16_t> (1 + below)


cdef void fill_plain(const PredictContext *c, int64_t begin, int64_t n, char *room) noexcept nogil:
    """OUT room: codes of the numeric features of one block of rows."""
    cdef double[BLOCK] values
    cdef uint16_t[BLOCK] found
    cdef const ColumnView *column
    cdef int64_t slot, i
    if c.entries != NULL:
        fill_sparse(c, begin, n, room)
        return
    for slot in range(c.n_plain):
        if c.columns == NULL:
            memcpy(room + slot * BLOCK * c.code_bytes, c.codes + (c.features[slot] * c.n_rows + begin) * c.code_bytes,
                   n * c.code_bytes)
            continue
        column = &c.columns[c.features[slot]]
        if reads_float32(column.kind):
            read_float32(column, NULL, begin, n, <float *> values)
            c.k.search_f32(<float *> values, n, c.edges32[slot], c.size[slot], found)
        else:
            read_float64(column, NULL, begin, n, values)
            c.k.search_f64(values, n, c.edges64[slot], c.size[slot], found)
        if c.code_bytes == 1:
            for i in range(n):
                (<uint8_t *> room)[slot * BLOCK + i] = <uint8_t> found[i]
        else:
            for i in range(n):
                (<uint16_t *> room)[slot * BLOCK + i] = found[i]


cdef void fill_sides(const PredictContext *c, const SplitSides *of, int64_t begin, int64_t n, char *room) noexcept nogil:
    """OUT room: columns of the categorical splits of one feature, for one block of rows."""
    cdef uint32_t[BLOCK] codes
    cdef uint32_t last = <uint32_t> of.n_codes - 1
    cdef int64_t at, i
    cdef sides_kernel kernel = c.k.sides_u8 if c.code_bytes == 1 else c.k.sides_u16
    if c.columns != NULL:
        read_levels(&c.columns[of.feature], NULL, begin, n, of.n_codes - 2, codes)
    else:
        at = of.feature * c.n_rows + begin
        for i in range(n):
            codes[i] = (<const uint8_t *> c.codes)[at + i] if c.code_bytes == 1 else (<const uint16_t *> c.codes)[at + i]
            codes[i] = min(codes[i], last)
    kernel(of.sides, of.side_bytes, codes, n, of.n_splits, room + of.first_slot * BLOCK * c.code_bytes, BLOCK)


cdef void predict_block(void *context, int64_t chunk, int worker) noexcept nogil:
    """Codes of one block of rows, then all trees on them."""
    cdef PredictContext *c = <PredictContext *> context
    cdef int64_t begin = chunk * BLOCK
    cdef int64_t n = min(<int64_t> BLOCK, c.n_rows - begin)
    cdef const char *codes = c.codes + begin * c.code_bytes
    cdef int64_t pitch = c.n_rows
    cdef const TreeGroup *group
    cdef char *room = NULL
    cdef Py_ssize_t g, p, t
    if c.room != NULL:
        room = c.room + worker * c.n_slots * BLOCK * c.code_bytes
        fill_plain(c, begin, n, room)
        codes = room
        pitch = BLOCK
    for g in range(c.n_groups):
        group = &c.groups[g]
        for p in range(group.first_sides, group.first_sides + group.n_sides):
            fill_sides(c, &c.sides[p], begin, n, room)
        if c.raw != NULL:
            if c.code_bytes == 1:
                c.k.predict_u8(c.trees + group.first_tree, group.n_trees, codes, pitch, n, c.raw + begin, c.n_rows)
            else:
                c.k.predict_u16(c.trees + group.first_tree, group.n_trees, codes, pitch, n, c.raw + begin, c.n_rows)
            continue
        for t in range(group.first_tree, group.first_tree + group.n_trees):
            if c.code_bytes == 1:
                c.k.leaves_u8(c.trees + t, codes, pitch, n, c.leaves + begin * c.n_trees + t, c.n_trees)
            else:
                c.k.leaves_u16(c.trees + t, codes, pitch, n, c.leaves + begin * c.n_trees + t, c.n_trees)


def categorical_splits(tree):
    """Which splits of a tree are categorical."""
    return np.zeros(tree.n_splits, dtype=bool) if tree.categories is None else tree.categories.is_categorical


def add_binned(grown, matrix, raw, int n_threads):
    """Add what just grown trees predict for the rows of a binned table.

    Parameters
    ----------
    grown : list of GrownTree
    matrix : BinnedMatrix or SparseBinnedMatrix
        Binned by the mapper that the trees were grown with.
    raw : ndarray of float64, shape (n_outputs, n_rows)
        OUT: the trees' leaf values are added to their outputs.
    n_threads : int
    """
    if isinstance(matrix, SparseBinnedMatrix):
        for one in grown:
            add_sparse(one, matrix, raw, n_threads)
        return
    trees = [one.tree for one in grown]
    slots = [tree.feature.astype(np.uint32) for tree in trees]
    cdef int64_t[::1] features
    cdef Py_ssize_t n_plain = matrix.n_features
    cdef bint has_room = any(tree.categories is not None for tree in trees)
    if has_room:  # columns of splits beside those that numeric splits read
        read = [np.where(categorical_splits(tree), -1, tree.feature) for tree in trees]
        used = np.unique(np.concatenate(read))
        slots = [(np.searchsorted(used, of_tree) - (used[0] < 0)).astype(np.uint32) for of_tree in read]
        features = used[used >= 0].astype(np.int64)
        n_plain = features.shape[0]
    cdef CategoricalSplits categorical = CategoricalSplits(trees, slots, n_plain)
    cdef PackedTrees packed = PackedTrees(trees, slots, [one.code for one in grown], n_plain)
    cdef PredictContext context
    cdef double[:, ::1] raw_view = raw
    cdef int threads = n_threads
    context.k = kernels()
    context.trees = packed.trees
    context.n_trees = len(trees)
    context.groups = categorical.groups
    context.n_groups = categorical.n_groups
    context.sides = categorical.sides
    context.columns = NULL
    context.entries = NULL
    context.room = NULL
    context.n_plain = n_plain
    context.n_slots = n_plain + categorical.n_columns
    context.codes = <const char *> address_of(matrix.by_column)
    context.code_bytes = matrix.by_column.itemsize
    context.n_rows = matrix.n_rows
    context.raw = &raw_view[0, 0]
    context.leaves = NULL
    cdef uint8_t[::1] room
    if has_room:
        room = np.empty(threads * context.n_slots * BLOCK * context.code_bytes + 128, dtype=np.uint8)
        context.room = <char *> &room[0]
        context.features = &features[0] if n_plain else NULL
    with nogil:
        parallel_for(predict_block, &context, (context.n_rows + BLOCK - 1) // BLOCK, threads)


cdef add_sparse(grown, matrix, double[:, ::1] raw, int n_threads):
    """As ``add_binned``, block by block of rows."""
    used, slot = np.unique(grown.tree.feature, return_inverse=True)
    slots = [slot.astype(np.uint32)]
    cdef CategoricalSplits none = CategoricalSplits([grown.tree], slots, len(used))
    cdef PackedTrees packed = PackedTrees([grown.tree], slots, [grown.code], len(used))
    cdef PredictContext context
    cdef SparseBlock entries
    zero = np.append(matrix.default_code[used], np.uint16(0))
    cdef const uint16_t[::1] zero_view = zero
    cdef const int32_t[::1] slot_view = slots_of(used, matrix.n_features)
    cdef const int64_t[::1] begin_view = matrix.row_begin
    entries.columns32 = <const int32_t *> address_of(matrix.row_features)
    entries.codes = <const uint16_t *> address_of(matrix.row_codes)
    entries.columns64 = NULL
    entries.values = NULL
    entries.row_begin = &begin_view[0]
    entries.slot_of = &slot_view[0]
    entries.zero = &zero_view[0]
    context.k = kernels()
    context.trees = packed.trees
    context.n_trees = 1
    context.groups = none.groups
    context.n_groups = none.n_groups
    context.sides = none.sides
    context.columns = NULL
    context.codes = NULL
    context.entries = &entries
    context.n_plain = context.n_slots = len(used)
    context.code_bytes = 1 if matrix.n_codes[used].max(initial=0) <= 256 else 2
    context.n_rows = matrix.n_rows
    context.raw = &raw[0, 0]
    context.leaves = NULL
    room = np.empty(n_threads * context.n_slots * BLOCK * context.code_bytes + 128, dtype=np.uint8)
    cdef uint8_t[::1] room_view = room
    context.room = <char *> &room_view[0]
    with nogil:
        parallel_for(predict_block, &context, (context.n_rows + BLOCK - 1) // BLOCK, n_threads)


def slots_of(used, n_columns):
    """For each column which slot holds its codes, -1 where none does."""
    slot_of = np.full(n_columns, -1, dtype=np.int32)
    slot_of[used] = np.arange(len(used), dtype=np.int32)
    return slot_of


cdef class Predictor:
    """An ensemble, prepared for predictions. Immutable: any number of threads may use it at once.

    Parameters
    ----------
    ensemble : Ensemble
    """

    cdef readonly object ensemble
    cdef PackedTrees packed
    cdef CategoricalSplits categorical
    cdef EdgeTable table
    cdef int64_t[::1] features
    cdef uint16_t[::1] zero
    cdef int32_t[::1] slot_of
    cdef list used  # features that splits read
    cdef const int64_t[:, ::1] kinds  # of the features that splits read: (number, is categorical)
    cdef size_t code_bytes

    def __init__(self, ensemble):
        self.ensemble = ensemble
        trees = ensemble.trees
        feature = np.concatenate([np.empty(0, np.int32), *(tree.feature for tree in trees)])
        threshold = np.concatenate([np.empty(0), *(tree.threshold for tree in trees)])
        is_categorical = np.concatenate([np.empty(0, bool), *map(categorical_splits, trees)])
        used = np.unique(feature[~is_categorical])
        categorical_used = np.unique(feature[is_categorical])
        self.kinds = np.array(
            [(j, 0) for j in used] + [(j, 1) for j in categorical_used], dtype=np.int64).reshape(-1, 2)
        self.used = [*used.tolist(), *categorical_used.tolist()]
        slot = np.where(is_categorical, len(used), np.searchsorted(used, feature)).astype(np.uint32)
        code = np.empty(len(feature), dtype=np.uint32)
        order = np.argsort(slot, kind="stable")
        bounds = np.searchsorted(slot[order], np.arange(len(used) + 1))
        edges = []
        for s in range(len(used)):
            splits = order[bounds[s]:bounds[s + 1]]
            distinct, position = np.unique(threshold[splits], return_inverse=True)
            code[splits] = position + 1
            edges.append(distinct)
        self.features = used.astype(np.int64)
        self.table = EdgeTable(edges)
        # what 0 is in each slot, and which slot a column has: for sparse tables
        self.zero = np.array([1 + np.searchsorted(e, 0.0) for e in edges] + [0], dtype=np.uint16)
        self.slot_of = slots_of(used, ensemble.n_features)
        self.code_bytes = 1 if all(len(e) <= 254 for e in edges) else 2
        ends = np.cumsum([tree.n_splits for tree in trees])[: len(trees) - 1] if trees else []
        slots = np.split(slot, ends)
        self.categorical = CategoricalSplits(trees, slots, len(used))
        self.packed = PackedTrees(trees, slots, np.split(code, ends), len(used))

    cdef int run(self, columns, double *raw, int32_t *leaves, int n_threads) except -1:
        cdef ColumnViews views
        cdef SparseBlock entries
        cdef const int64_t[::1] begin_view
        cdef PredictContext context
        context.entries = NULL
        if isinstance(columns, SparseColumns):
            values, indices, begin = columns.by_row()
            views = ColumnViews(Columns([values], len(values), None))
            begin_view = begin
            entries.row_begin = &begin_view[0]
            entries.columns32 = <const int32_t *> address_of(indices) if indices.itemsize == 4 else NULL
            entries.columns64 = <const int64_t *> address_of(indices) if indices.itemsize == 8 else NULL
            entries.values = views.views
            entries.codes = NULL
            entries.slot_of = &self.slot_of[0]
            entries.zero = &self.zero[0]
            context.entries = &entries
        else:
            views = ColumnViews(columns, self.used)
        cdef Py_ssize_t i
        cdef int64_t feature
        cdef bint wanted
        cdef tuple n_levels = columns.n_levels
        for i in range(self.kinds.shape[0]):  # what check_kinds does, for predictions of single rows
            feature, wanted = self.kinds[i, 0], self.kinds[i, 1]
            if wanted != (n_levels is not None and n_levels[feature] > 0):
                check_kinds(columns, self.kinds[:, 1], self.kinds[:, 0])
            if wanted and views.views[feature].kind != INT32_KIND:
                raise ValueError(f"column {columns.label(feature)}: levels must be int32, not {columns[feature].dtype}")
        cdef int64_t n_blocks
        context.n_rows = columns.n_rows
        n_blocks = (context.n_rows + BLOCK - 1) // BLOCK
        n_threads = max(1, min(n_threads, n_blocks // 4))
        context.k = kernels()
        context.trees = self.packed.trees
        context.n_trees = self.packed.n_trees
        context.groups = self.categorical.groups
        context.n_groups = self.categorical.n_groups
        context.sides = self.categorical.sides
        context.columns = views.views
        context.n_plain = self.features.shape[0]
        context.n_slots = context.n_plain + self.categorical.n_columns
        context.features = &self.features[0] if context.n_plain else NULL
        context.edges64 = self.table.edges64
        context.edges32 = self.table.edges32
        context.size = self.table.size
        context.codes = NULL
        context.code_bytes = self.code_bytes
        room = np.empty(n_threads * context.n_slots * BLOCK * self.code_bytes + 128, dtype=np.uint8)
        cdef uint8_t[::1] room_view = room
        context.room = <char *> &room_view[0]
        context.raw = raw
        context.leaves = leaves
        with nogil:
            parallel_for(predict_block, &context, n_blocks, n_threads)
        return 0

    cdef bint in_blocks(self, columns) except -1:
        """Whether columns that have to be made are made block by block, so that they take little memory."""
        if columns.n_rows <= BLOCK_ROWS or isinstance(columns, SparseColumns):
            return False
        return any([columns.is_made(j) for j in self.used])

    def raw(self, columns, int n_threads=1):
        """Raw predictions.

        Parameters
        ----------
        columns : Columns
        n_threads : int, default=1

        Returns
        -------
        ndarray of float64, shape (n_outputs, n_rows)
        """
        out = np.empty((self.ensemble.n_outputs, columns.n_rows))
        if self.in_blocks(columns):
            for begin, _, end in columns.blocks():
                out[:, begin:end] = self.raw(columns.block(begin), n_threads)
            return out
        out[:] = self.ensemble.base_score[:, None]
        cdef double[:, ::1] view = out
        if columns.n_rows:
            self.run(columns, &view[0, 0], NULL, n_threads)
        return out

    def leaves(self, columns, int n_threads=1):
        """Leaf numbers.

        Parameters
        ----------
        columns : Columns
        n_threads : int, default=1

        Returns
        -------
        ndarray of int32, shape (n_rows, n_trees)
        """
        out = np.empty((columns.n_rows, self.packed.n_trees), dtype=np.int32)
        if self.in_blocks(columns):
            for begin, _, end in columns.blocks():
                out[begin:end] = self.leaves(columns.block(begin), n_threads)
            return out
        cdef int32_t[:, ::1] view = out
        if out.size:
            self.run(columns, NULL, &view[0, 0], n_threads)
        return out
