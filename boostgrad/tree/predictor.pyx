"""Using a model: raw predictions and leaf numbers, from a table or from codes.

A model reads a feature only through its thresholds, so a block of rows is first turned into codes by them, column by
column, and the trees then compare small integers::

    X block --search--> codes, one column a used feature --trees--> raw

No copy of X is made; memory is that of a block.
"""

from libc.stdint cimport int32_t, int64_t, uint8_t, uint16_t, uint32_t
from libc.math cimport isnan
from libc.stdlib cimport calloc, free, malloc
from libc.string cimport memset

import numpy as np

from boostgrad.data.columns import Columns, SparseColumns
from boostgrad.data.matrix import SparseBinnedMatrix
from boostgrad.data.binning cimport EdgeTable
from boostgrad.data.views cimport ColumnView, ColumnViews, read_float32, read_float64, reads_float32
from boostgrad.native cimport (BG_PREDICT_BLOCK, bg_kernels, bg_node, bg_tree, kernels, leaves_kernel, parallel_for,
                               predict_kernel)

DEF BLOCK = 256

# Stored entries of a row that are read at a time.
DEF PIECE = 256


cdef class PackedTrees:
    """Trees as the kernels read them.

    Parameters
    ----------
    trees : list of Tree
    slots : list of ndarray of uint32
        For each split of each tree, which column of codes it reads.
    codes : list of ndarray of uint32
        For each split of each tree, t of the go-left rule.
    """

    cdef bg_tree *trees
    cdef bg_node *nodes
    cdef double *values
    cdef readonly Py_ssize_t n_trees

    def __cinit__(self, list trees, list slots, list codes):
        cdef Py_ssize_t n_splits = sum(tree.n_splits for tree in trees)
        cdef Py_ssize_t n_leaves = sum(tree.n_leaves for tree in trees)
        cdef Py_ssize_t t, s, first_split = 0, first_leaf = 0
        cdef const int32_t[::1] left, right
        cdef const uint8_t[::1] missing_left
        cdef const uint32_t[::1] slot, code
        cdef const double[:, ::1] value
        cdef bg_node *node
        self.n_trees = len(trees)
        self.trees = <bg_tree *> calloc(self.n_trees + 1, sizeof(bg_tree))
        self.nodes = <bg_node *> calloc(n_splits + 1, sizeof(bg_node))
        self.values = <double *> malloc((n_leaves + 1) * sizeof(double))
        if self.trees == NULL or self.nodes == NULL or self.values == NULL:
            raise MemoryError()
        for t in range(self.n_trees):
            tree = trees[t]
            left, right, missing_left, value = tree.left, tree.right, tree.missing_left, tree.leaf_value
            slot, code = slots[t], codes[t]
            self.trees[t].nodes = self.nodes + first_split
            self.trees[t].values = self.values + first_leaf
            self.trees[t].n_splits = left.shape[0]
            self.trees[t].n_leaves = value.shape[0]
            self.trees[t].output = tree.output
            for s in range(value.shape[0]):
                self.values[first_leaf + s] = value[s, 0]
            for s in range(left.shape[0]):
                node = &self.nodes[first_split + s]
                node.slot = slot[s]
                node.shift = 0 if missing_left[s] else 1
                node.code = <uint16_t> (code[s] - node.shift)
                node.child[0] = right[s]
                node.child[1] = left[s]
            if value.shape[0] <= 256:
                self.trees[t].in_planes = self.find_ranges(left, right, self.nodes + first_split)
            first_split += left.shape[0]
            first_leaf += value.shape[0]

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
    int64_t n_columns
    const uint16_t *zero          # of a slot: the code of 0


cdef struct PredictContext:
    const bg_kernels *k
    const bg_tree *trees
    Py_ssize_t n_trees
    const ColumnView *columns     # NULL: codes are there already, or entries are
    SparseBlock *entries          # NULL: not a sparse table
    const int64_t *features       # of the slots
    double **edges64
    float **edges32
    const unsigned int *size
    int64_t n_slots
    const char *codes             # by column, n_rows apart; where columns is NULL
    char *room                    # codes of a block, one piece a worker
    size_t code_bytes
    int64_t n_rows
    double *raw                   # (n_outputs, n_rows)
    int32_t *leaves               # (n_rows, n_trees)


cdef void fill_sparse(PredictContext *c, int64_t begin, int64_t n, char *room) noexcept nogil:
    """OUT room: codes of a block of rows; all are those of 0 but for what is stored."""
    cdef const SparseBlock *e = c.entries
    cdef double[PIECE] values
    cdef float[PIECE] narrow
    cdef uint16_t code
    cdef int64_t slot, row, at, piece, n_piece, i, column
    cdef uint8_t *room8 = <uint8_t *> room
    cdef uint16_t *room16 = <uint16_t *> room
    for slot in range(c.n_slots):
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


cdef void predict_block(void *context, int64_t chunk, int worker) noexcept nogil:
    """Codes of one block of rows, then all trees on them."""
    cdef PredictContext *c = <PredictContext *> context
    cdef int64_t begin = chunk * BLOCK
    cdef int64_t n = min(<int64_t> BLOCK, c.n_rows - begin)
    cdef const char *codes = c.codes + begin * c.code_bytes
    cdef int64_t pitch = c.n_rows
    cdef double[BLOCK] values
    cdef uint16_t[BLOCK] found
    cdef char *room
    cdef const ColumnView *column
    cdef int64_t slot, i
    cdef Py_ssize_t t
    if c.entries != NULL:
        codes = room = c.room + worker * c.n_slots * BLOCK * c.code_bytes
        pitch = BLOCK
        fill_sparse(c, begin, n, room)
    elif c.columns != NULL:
        room = c.room + worker * c.n_slots * BLOCK * c.code_bytes
        for slot in range(c.n_slots):
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
        codes = room
        pitch = BLOCK
    if c.raw != NULL:
        if c.code_bytes == 1:
            c.k.predict_u8(c.trees, c.n_trees, codes, pitch, n, c.raw + begin, c.n_rows)
        else:
            c.k.predict_u16(c.trees, c.n_trees, codes, pitch, n, c.raw + begin, c.n_rows)
        return
    for t in range(c.n_trees):
        if c.code_bytes == 1:
            c.k.leaves_u8(c.trees + t, codes, pitch, n, c.leaves + begin * c.n_trees + t, c.n_trees)
        else:
            c.k.leaves_u16(c.trees + t, codes, pitch, n, c.leaves + begin * c.n_trees + t, c.n_trees)


def add_binned(grown, matrix, raw, int n_threads):
    """Add a just grown tree's values for the rows of a binned table.

    Parameters
    ----------
    grown : GrownTree
    matrix : BinnedMatrix or SparseBinnedMatrix
        Binned by the mapper that the tree was grown with.
    raw : ndarray of float64, shape (n_outputs, n_rows)
        OUT: the tree's leaf values are added to its output.
    n_threads : int
    """
    if isinstance(matrix, SparseBinnedMatrix):
        add_sparse(grown, matrix, raw, n_threads)
        return
    cdef PackedTrees packed = PackedTrees([grown.tree], [grown.tree.feature.astype(np.uint32)], [grown.code])
    cdef PredictContext context
    cdef double[:, ::1] raw_view = raw
    cdef size_t address = matrix.by_column.__array_interface__["data"][0]
    cdef int threads = n_threads
    context.k = kernels()
    context.trees = packed.trees
    context.n_trees = 1
    context.columns = NULL
    context.entries = NULL
    context.codes = <const char *> address
    context.code_bytes = matrix.by_column.itemsize
    context.n_rows = matrix.n_rows
    context.raw = &raw_view[0, 0]
    context.leaves = NULL
    with nogil:
        parallel_for(predict_block, &context, (context.n_rows + BLOCK - 1) // BLOCK, threads)


cdef add_sparse(grown, matrix, double[:, ::1] raw, int n_threads):
    """As ``add_binned``, block by block of rows."""
    used, slot = np.unique(grown.tree.feature, return_inverse=True)
    cdef PackedTrees packed = PackedTrees([grown.tree], [slot.astype(np.uint32)], [grown.code])
    cdef PredictContext context
    cdef SparseBlock entries
    cdef size_t address = matrix.row_features.__array_interface__["data"][0]
    zero = np.append(matrix.default_code[used], np.uint16(0))
    cdef const uint16_t[::1] zero_view = zero
    cdef const int32_t[::1] slot_view = slots_of(used, matrix.n_features)
    cdef const int64_t[::1] begin_view = matrix.row_begin
    entries.columns32 = <const int32_t *> address
    address = matrix.row_codes.__array_interface__["data"][0]
    entries.codes = <const uint16_t *> address
    entries.columns64 = NULL
    entries.values = NULL
    entries.row_begin = &begin_view[0]
    entries.slot_of = &slot_view[0]
    entries.n_columns = matrix.n_features
    entries.zero = &zero_view[0]
    context.k = kernels()
    context.trees = packed.trees
    context.n_trees = 1
    context.columns = NULL
    context.codes = NULL
    context.entries = &entries
    context.n_slots = len(used)
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
    cdef EdgeTable table
    cdef int64_t[::1] features
    cdef uint16_t[::1] zero
    cdef int32_t[::1] slot_of
    cdef size_t code_bytes

    def __init__(self, ensemble):
        self.ensemble = ensemble
        trees = ensemble.trees
        feature = np.concatenate([np.empty(0, np.int32), *(tree.feature for tree in trees)])
        threshold = np.concatenate([np.empty(0), *(tree.threshold for tree in trees)])
        used, slot = np.unique(feature, return_inverse=True)
        slot = slot.astype(np.uint32)
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
        self.packed = PackedTrees(trees, np.split(slot, ends), np.split(code, ends))

    cdef run(self, columns, double *raw, int32_t *leaves, int n_threads):
        cdef bint is_sparse = isinstance(columns, SparseColumns)
        cdef ColumnViews views
        cdef PredictContext context
        cdef SparseBlock entries
        cdef int64_t n_blocks
        cdef size_t address
        cdef const int64_t[::1] begin_view
        context.entries = NULL
        if is_sparse:
            values, indices, begin = columns.by_row()
            begin_view = begin
            address = indices.__array_interface__["data"][0]
            views = ColumnViews(Columns([values], len(values), None))
            entries.row_begin = &begin_view[0]
            entries.columns32 = <const int32_t *> address if indices.itemsize == 4 else NULL
            entries.columns64 = <const int64_t *> address if indices.itemsize == 8 else NULL
            entries.values = views.views
            entries.codes = NULL
            entries.slot_of = &self.slot_of[0]
            entries.n_columns = columns.n_columns
            entries.zero = &self.zero[0]
            context.entries = &entries
        else:
            views = ColumnViews(columns)
        context.n_rows = columns.n_rows
        n_blocks = (context.n_rows + BLOCK - 1) // BLOCK
        n_threads = max(1, min(n_threads, n_blocks // 4))
        context.k = kernels()
        context.trees = self.packed.trees
        context.n_trees = self.packed.n_trees
        context.columns = views.views
        context.n_slots = self.features.shape[0]
        context.features = &self.features[0] if context.n_slots else NULL
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
        cdef int32_t[:, ::1] view = out
        if out.size:
            self.run(columns, NULL, &view[0, 0], n_threads)
        return out
