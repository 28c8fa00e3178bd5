"""One row at a time, as fast as it goes: for services that predict what comes in.

Trees are walked sixteen at a time, so that their steps need not wait for each other, deep ones together with deep ones.
Siblings are neighbours, and a leaf is a node that is its own left child and sends everything there, so that no step asks
whether it is there yet::

    node   threshold | feature | child          left child: nodes[child], right child: nodes[child + 1]
"""

from cpython.buffer cimport PyBUF_STRIDES, PyBuffer_Release, PyObject_GetBuffer
from libc.math cimport INFINITY
from libc.stdint cimport int32_t, uint8_t, uint32_t
from libc.stdlib cimport free, malloc

import numpy as np

from boostgrad.native cimport address_of

cdef object empty = np.empty, ndarray = np.ndarray, float32 = np.dtype(np.float32), float64 = np.dtype(np.float64)

# Trees that are walked in step.
DEF STEP = 16

# Features and trees whose numbers fit the stack.
DEF ON_STACK = 1024

cdef struct WalkNode:
    double threshold
    uint32_t feature
    int32_t child


cdef class RowPredictor:
    """Predicts single rows. It does not change when the estimator is fitted again, and any number of threads may call it.

    Parameters
    ----------
    ensemble : Ensemble
        Without categorical splits.
    link : callable
        From raw predictions, shape (n_outputs,), to an array.
    scalar : bool
        Return the first number of that array, as a float.
    """

    cdef WalkNode *nodes
    cdef uint8_t *missing_right
    cdef double *values      # of a node that is a leaf; where leaves are vectors, which row of them
    cdef double[:, ::1] vectors
    cdef bint has_vectors
    cdef int32_t *output     # of a tree
    cdef int32_t *tree       # in the order in which they are walked
    cdef int32_t *root       # likewise
    cdef int *depth          # of the deepest of the sixteen trees from this one on
    cdef double[::1] base
    cdef object link
    cdef bint scalar
    cdef Py_ssize_t n_trees, n_outputs
    cdef readonly Py_ssize_t n_features

    def __cinit__(self, ensemble, link, bint scalar):
        cdef Py_ssize_t t, at = 0
        first_leaf = np.cumsum([0] + [tree.n_leaves for tree in ensemble.trees])
        trees = ensemble.trees
        self.n_trees = len(trees)
        self.n_features = ensemble.n_features
        self.base = np.array(ensemble.base_score, dtype=np.float64)
        self.n_outputs = self.base.shape[0]
        self.has_vectors = any(tree.n_values > 1 for tree in trees)
        if self.has_vectors:  # of one width
            self.vectors = np.concatenate([tree.leaf_value for tree in trees])
        self.link = link
        self.scalar = scalar
        n_nodes = sum(tree.n_splits + tree.n_leaves for tree in trees)
        self.nodes = <WalkNode *> malloc((n_nodes + 1) * sizeof(WalkNode))
        self.missing_right = <uint8_t *> malloc(n_nodes + 1)
        self.values = <double *> malloc((n_nodes + 1) * sizeof(double))
        self.output = <int32_t *> malloc((self.n_trees + STEP) * sizeof(int32_t))
        self.tree = <int32_t *> malloc((self.n_trees + STEP) * sizeof(int32_t))
        self.root = <int32_t *> malloc((self.n_trees + STEP) * sizeof(int32_t))
        self.depth = <int *> malloc((self.n_trees + STEP) * sizeof(int))
        if (self.nodes == NULL or self.missing_right == NULL or self.values == NULL or self.output == NULL
                or self.tree == NULL or self.root == NULL or self.depth == NULL):
            raise MemoryError()
        depths = np.array([tree_depth(tree) for tree in trees], dtype=np.int64)
        order = np.argsort(depths, kind="stable")
        for t in range(self.n_trees):
            self.tree[t] = order[t]
            self.root[t] = at
            self.depth[t // STEP * STEP] = depths[order[t]]
            self.output[order[t]] = trees[order[t]].output
            values = trees[order[t]].leaf_value
            if self.has_vectors:
                values = np.arange(first_leaf[order[t]], first_leaf[order[t] + 1], dtype=np.float64)[:, None]
            at += self.lay_down(trees[order[t]], values, at)
        for t in range(self.n_trees, self.n_trees + STEP):  # a last group of fewer trees walks one of them again
            self.root[t] = self.root[self.n_trees - 1] if self.n_trees else 0

    cdef Py_ssize_t lay_down(self, tree, const double[:, :] value, Py_ssize_t root):
        """OUT nodes: those of a tree, from the root's place on; returns how many there are."""
        cdef const int32_t[::1] feature = tree.feature, left = tree.left, right = tree.right
        cdef const double[::1] threshold = tree.threshold
        cdef const uint8_t[::1] missing_left = tree.missing_left
        cdef int32_t[::1] place = np.empty(feature.shape[0] + 1, dtype=np.int32)
        cdef Py_ssize_t s, at = root + 1
        cdef int side
        cdef int32_t child
        place[0] = root
        if feature.shape[0] == 0:
            self.lay_leaf(root, value[0, 0])
        for s in range(feature.shape[0]):  # parents are numbered before their children
            self.nodes[place[s]].threshold = threshold[s]
            self.nodes[place[s]].feature = feature[s]
            self.nodes[place[s]].child = at
            self.missing_right[place[s]] = not missing_left[s]
            for side in range(2):
                child = right[s] if side else left[s]
                if child >= 0:
                    place[child] = at + side
                else:
                    self.lay_leaf(at + side, value[~child, 0])
            at += 2
        return at - root

    cdef void lay_leaf(self, Py_ssize_t at, double value) noexcept nogil:
        self.nodes[at].threshold = INFINITY
        self.nodes[at].feature = 0
        self.nodes[at].child = at
        self.missing_right[at] = 0
        self.values[at] = value

    def __dealloc__(self):
        free(self.nodes)
        free(self.missing_right)
        free(self.values)
        free(self.output)
        free(self.tree)
        free(self.root)
        free(self.depth)

    cdef void walk(self, const double *x, bint any_missing, double *found, double *out) noexcept nogil:
        """OUT out: += leaf values, tree by tree as every other way of predicting adds them. Scratch found: n_trees."""
        cdef int32_t[STEP] at
        cdef const WalkNode *node
        cdef Py_ssize_t t, j
        cdef double value
        cdef int k, step
        for t in range(0, self.n_trees, STEP):
            for k in range(STEP):
                at[k] = self.root[t + k]
            if any_missing:
                for step in range(self.depth[t]):
                    for k in range(STEP):
                        node = &self.nodes[at[k]]
                        value = x[node.feature]
                        at[k] = node.child + ((value > node.threshold) | ((value != value) & self.missing_right[at[k]]))
            else:
                for step in range(self.depth[t]):
                    for k in range(STEP):
                        node = &self.nodes[at[k]]
                        at[k] = node.child + (x[node.feature] > node.threshold)
            for k in range(min(<Py_ssize_t> STEP, self.n_trees - t)):
                found[self.tree[t + k]] = self.values[at[k]]
        if self.has_vectors:
            for t in range(self.n_trees):
                for j in range(self.vectors.shape[1]):
                    out[self.output[t] + j] += self.vectors[<Py_ssize_t> found[t], j]
            return
        for t in range(self.n_trees):
            out[self.output[t]] += found[t]

    def __call__(self, row):
        """Prediction for one row.

        Parameters
        ----------
        row : array-like of shape (n_features,)
            Numbers, in the order of the training columns; NaN is missing. A float32 or float64 array is the fastest.

        Returns
        -------
        float, or ndarray of float64
            What ``predict`` of a regressor, or ``predict_proba`` of a classifier, gives for this row, bit for bit.

        Raises
        ------
        ValueError
            If the row is not one-dimensional or has another number of values.
        """
        cdef Py_buffer buffer
        cdef double[ON_STACK] row_room, found_room
        cdef double *x = row_room
        cdef double *found = found_room
        cdef char *data
        cdef Py_ssize_t j, stride
        cdef bint any_missing = False
        if type(row) is not ndarray:
            row = np.asarray(row, dtype=np.float64)
        kind = row.dtype
        if kind is not float64 and kind is not float32:
            row = np.array(row, dtype=float64)
        PyObject_GetBuffer(row, &buffer, PyBUF_STRIDES)
        try:
            if buffer.ndim != 1 or buffer.shape[0] != self.n_features:
                raise ValueError(f"row must have shape ({self.n_features},), but it has shape {np.shape(row)}")
            if self.n_features > ON_STACK:
                x = <double *> malloc(self.n_features * sizeof(double))
            if self.n_trees > ON_STACK:
                found = <double *> malloc(self.n_trees * sizeof(double))
            if x == NULL or found == NULL:
                raise MemoryError()
            data = <char *> buffer.buf
            stride = buffer.strides[0]
            if buffer.itemsize == 8:
                for j in range(self.n_features):
                    x[j] = (<double *> (data + j * stride))[0]
                    any_missing |= x[j] != x[j]
            else:
                for j in range(self.n_features):
                    x[j] = (<float *> (data + j * stride))[0]
                    any_missing |= x[j] != x[j]
            out = empty(self.n_outputs)
            self.predict(x, any_missing, found, out)
        finally:
            PyBuffer_Release(&buffer)
            if x != row_room:
                free(x)
            if found != found_room:
                free(found)
        out = self.link(out)
        return float(out[0]) if self.scalar else out

    cdef int predict(self, const double *x, bint any_missing, double *found, object out) except -1:
        """OUT out: an array of n_outputs."""
        cdef double *raw = <double *> address_of(out)
        cdef Py_ssize_t j
        with nogil:
            for j in range(self.n_outputs):
                raw[j] = self.base[j]
            self.walk(x, any_missing, found, raw)
        return 0


def tree_depth(tree):
    """Splits on the longest way from the root to a leaf."""
    depth = np.zeros(tree.n_splits + 1, dtype=int)
    for s in range(tree.n_splits - 1, -1, -1):  # children are numbered after their parents
        depth[s] = 1 + max(depth[tree.left[s]] if tree.left[s] >= 0 else 0,
                           depth[tree.right[s]] if tree.right[s] >= 0 else 0)
    return int(depth[0])
