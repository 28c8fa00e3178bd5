"""What each rule gains in all nodes of a level together.

::

    sums    feature 0: [ missing to the right: n_codes | to the left: n_codes ][ feature 1: ... ] ...

A rule is a feature, a place and a direction of the missing values: of numbers those up to a code go left, of levels the
first ones of an order (see ``kernels/level.h``). That order is of all rows of the tree: gradients do not change while it
grows, so the nodes of a later level would add up to the same.
"""

from libc.stdint cimport int64_t, uint8_t, uint32_t, uint64_t
from libc.stdlib cimport calloc, free, malloc
from libc.string cimport memset

import numpy as np

from boostgrad.native cimport address_of, bg_category_order
from boostgrad.tree.splitter cimport Splitter, beats
from boostgrad.tree.structs cimport SplitChoice


cdef class LevelGains:
    """Sums of gains over the nodes of a level, feature by feature; threads may work at different features.

    Parameters
    ----------
    matrix : BinnedMatrix or SparseBinnedMatrix
    splitter : Splitter
        What a node gains.
    """

    def __cinit__(self, matrix, Splitter splitter):
        cdef int64_t total = 0
        cdef int feature
        self.matrix = matrix
        self.splitter = splitter
        self.n_features = matrix.n_features
        self.n_codes = <const uint32_t *> address_of(matrix.n_codes)
        self.begin = <int64_t *> malloc((self.n_features + 1) * sizeof(int64_t))
        self.has_missing = <uint8_t *> calloc(self.n_features + 1, 1)
        self.sums = <double *> malloc((2 * int(matrix.n_codes.sum()) + 1) * sizeof(double))
        if self.begin == NULL or self.has_missing == NULL or self.sums == NULL:
            raise MemoryError()
        for feature in range(self.n_features):
            self.begin[feature] = 2 * total
            total += self.n_codes[feature]
        if matrix.categorical.any():
            self.orders = <bg_category_order *> calloc(self.n_features, sizeof(bg_category_order))
            self.ordered_codes = <uint64_t *> malloc(total * sizeof(uint64_t))
            if self.orders == NULL or self.ordered_codes == NULL:
                raise MemoryError()
            for feature in range(self.n_features):
                self.orders[feature].codes = self.ordered_codes + self.begin[feature] // 2

    def __dealloc__(self):
        free(self.begin)
        free(self.has_missing)
        free(self.sums)
        free(self.orders)
        free(self.ordered_codes)

    cdef void learn(self, const int64_t *hist, int feature, const int64_t *total, int worker) noexcept nogil:
        """What the histogram of all rows of a tree says, before its first level."""
        self.has_missing[feature] = self.splitter.count(hist) > 0
        if self.splitter.is_categorical[feature]:
            self.splitter.order_categories(hist, self.n_codes[feature], feature, total, worker, &self.orders[feature])

    cdef void clear(self, int feature) noexcept nogil:
        memset(self.sums + self.begin[feature], 0, 2 * self.n_codes[feature] * sizeof(double))

    cdef void add(self, const int64_t *hist, int feature, const int64_t *total, int worker) noexcept nogil:
        """A node's gains; nodes come in one order, whatever the threads."""
        cdef double *right = self.sums + self.begin[feature]
        cdef double *left = right + self.n_codes[feature] if self.has_missing[feature] else NULL
        cdef const bg_category_order *order = &self.orders[feature] if self.orders != NULL else NULL
        self.splitter.add_gains(hist, self.n_codes[feature], feature, order, total, worker, right, left)

    cdef void improve_rule(self, int feature, uint32_t rotation, SplitChoice *best) noexcept nogil:
        """OUT best: the feature's best rule, where it is better; score is the sum of its gains, code how many places go
        left. Of equal ones the first, with missing values to the right; features are ranked as in a scan."""
        cdef const double *right = self.sums + self.begin[feature]
        cdef const double *left = right + self.n_codes[feature]
        cdef int64_t n_places = self.n_codes[feature] - 1, place
        cdef uint32_t rank = (<uint32_t> feature + rotation) % <uint32_t> self.n_features
        cdef SplitChoice found
        if self.splitter.is_categorical[feature]:
            n_places = self.orders[feature].n
        self.splitter.reset(&found)
        found.feature = feature
        found.rank = rank
        for place in range(n_places):
            if right[place] > found.score:
                found.score = right[place]
                found.code = <uint32_t> place + 1
        found.missing_left = 0
        if self.has_missing[feature]:
            for place in range(n_places):
                if left[place] > found.score:
                    found.score = left[place]
                    found.code = <uint32_t> place + 1
                    found.missing_left = 1
        if beats(found.score, rank, best):
            best[0] = found

    cdef double of_node(self, const int64_t *hist, const SplitChoice *rule, const int64_t *total) noexcept nogil:
        """What one node gains by the rule of the level. The sums of the feature are overwritten."""
        cdef int64_t at = self.begin[rule.feature] + rule.code - 1
        self.clear(rule.feature)
        self.add(hist, rule.feature, total, 0)
        return self.sums[at + self.n_codes[rule.feature]] if rule.missing_left else self.sums[at]

    cdef int rest_side(self, const SplitChoice *rule) noexcept nogil:
        """Where a categorical rule sends the pooled rest of the levels: 1 left, 0 right, -1 where there is none."""
        cdef const bg_category_order *order = &self.orders[rule.feature]
        cdef size_t i
        for i in range(order.n):
            if order.codes[i] == self.n_codes[rule.feature]:
                return i < rule.code
        return -1

    cdef void codes_left(self, const SplitChoice *rule, bint other_side, uint8_t *goes_left) noexcept nogil:
        """OUT goes_left: a byte a code, for what is on one side of the rule, or on the other; what an order does not
        name is on neither."""
        cdef uint32_t n_codes = self.n_codes[rule.feature], code
        cdef const bg_category_order *order
        cdef size_t i
        memset(goes_left, 0, n_codes)
        goes_left[0] = rule.missing_left != other_side
        if not self.splitter.is_categorical[rule.feature]:
            for code in range(rule.code + 1 if other_side else 1, n_codes if other_side else rule.code + 1):
                goes_left[code] = 1
            return
        order = &self.orders[rule.feature]
        for i in range(rule.code if other_side else 0, order.n if other_side else rule.code):
            if order.codes[i] < n_codes:
                goes_left[order.codes[i]] = 1
