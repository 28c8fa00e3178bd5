"""Where to split a node, and what a leaf is worth.

With the sums G and H of gradients and hessians, the soft threshold T and the penalties l1 and l2, a leaf that is free
to choose its value takes ``-T(G) / (H + l2)`` and lowers the loss by half its score, ``T(G)^2 / (H + l2)``. The gain of
a split is ``score(left) + score(right) - score(node)`` (Chen and Guestrin 2016, equations 5 to 7, times two).
"""

from libc.math cimport fabs, fmax, fmin
from libc.stdint cimport int64_t, uint8_t, uint32_t, uint64_t
from libc.stdlib cimport free, malloc

import numpy as np

from boostgrad.native cimport (address_of, bg_category_order, bg_category_rule, bg_kernels, bg_scan_result, bg_scan_rule,
                               bg_scan_scratch, bg_unsplit, kernels)
from boostgrad.tree.structs cimport SplitChoice

# A gain below this share of the children's scores is rounding, not a reason to split.
DEF RELATIVE_NOISE = 1e-12


cdef inline double soft_threshold(double gradient, double l1) noexcept nogil:
    cdef double size = fabs(gradient) - l1
    if size <= 0:
        return 0.0
    return -size if gradient < 0 else size


cdef inline double step(double gradient, double hessian, const LeafRule *rule) noexcept nogil:
    cdef double curvature = hessian + rule.l2
    cdef double value
    if curvature <= 0:
        return 0.0
    value = -soft_threshold(gradient, rule.l1) / curvature
    if rule.max_delta_step > 0:
        value = fmin(fmax(value, -rule.max_delta_step), rule.max_delta_step)
    return value


cdef double leaf_value(double gradient, double hessian, const LeafRule *rule) noexcept nogil:
    """The leaf's value, shrinkage included."""
    return rule.learning_rate * step(gradient, hessian, rule)


cdef double shrunk(double step, const LeafRule *rule) noexcept nogil:
    """A step that was found in another way, bounded and with shrinkage."""
    if rule.max_delta_step > 0:
        step = fmin(fmax(step, -rule.max_delta_step), rule.max_delta_step)
    return rule.learning_rate * step


cdef double score(double gradient, double hessian, const LeafRule *rule) noexcept nogil:
    """Twice the decrease of the loss that the leaf brings, by the second-order model."""
    cdef double w
    if hessian + rule.l2 <= 0:
        return 0.0
    if rule.max_delta_step == 0:
        w = soft_threshold(gradient, rule.l1)
        return w * w / (hessian + rule.l2)
    w = step(gradient, hessian, rule)
    return -(2 * gradient * w + (hessian + rule.l2) * w * w + 2 * rule.l1 * fabs(w))


cdef class Splitter:
    """Finds the best split of a node from its histograms.

    Parameters
    ----------
    matrix : BinnedMatrix
    params : TreeParams
    n_threads : int
    categories : CategoryParams
    """

    def __cinit__(self, matrix, params, int n_threads, categories):
        cdef size_t n = int(matrix.n_codes.max())
        cdef int worker
        self.k = kernels()
        self.n_features = matrix.n_features
        self.n_threads = n_threads
        self.min_split_gain = params.min_split_gain
        self.leaf_rule = LeafRule(
            params.l1_regularization, params.l2_regularization, params.max_delta_step, params.learning_rate
        )
        self.rule.l1 = params.l1_regularization
        self.rule.l2 = params.l2_regularization
        self.rule.max_delta_step = params.max_delta_step
        self.rule.min_child_weight = params.min_child_weight
        self.rule.min_samples_leaf = params.min_samples_leaf
        self.rule.plain = params.l1_regularization == 0 and params.max_delta_step == 0
        n = (n + 7) // 8 * 8 + 8
        self.scratch = <bg_scan_scratch *> malloc(n_threads * sizeof(bg_scan_scratch))
        self.memory = <int64_t *> malloc(n_threads * n * 3 * sizeof(int64_t))
        if self.scratch == NULL or self.memory == NULL:
            raise MemoryError()
        for worker in range(n_threads):
            self.scratch[worker].gradient = self.memory + 3 * n * worker
            self.scratch[worker].sums = self.scratch[worker].gradient + n
            self.scratch[worker].gain_bits = self.scratch[worker].sums + n
        self.category_rule.extra_l2 = categories.extra_l2
        self.category_rule.min_rows = categories.min_rows
        self.category_rule.few_levels = categories.few_levels
        self.guided_rule = self.category_rule
        self.guided_noise = categories.guided_noise
        # 2: beside a statistic
        self.categorical = matrix.categorical.astype(np.uint8) + (matrix.categorical & matrix.guided)
        self.is_categorical = <const uint8_t *> address_of(self.categorical)
        if self.categorical.any():
            self.items = <uint64_t **> malloc(2 * n_threads * sizeof(uint64_t *))
            self.item_memory = <uint64_t *> malloc(2 * n_threads * n * sizeof(uint64_t))
            if self.items == NULL or self.item_memory == NULL:
                raise MemoryError()
            for worker in range(2 * n_threads):
                self.items[worker] = self.item_memory + n * worker

    def __dealloc__(self):
        free(self.scratch)
        free(self.memory)
        free(self.items)
        free(self.item_memory)

    cdef void start_tree(self, double gradient_scale, double hessian_unit, int count_bits, bint wide) noexcept nogil:
        """How the next histograms are packed; ``hessian_unit`` is what 1 in their hessian field is worth."""
        self.rule.inverse_gradient_scale = 1.0 / gradient_scale
        self.rule.inverse_hessian_scale = hessian_unit
        self.rule.count_bits = count_bits
        self.rule.wide = wide

    cdef double gradient_sum(self, const int64_t *total) noexcept nogil:
        cdef int64_t packed = total[0] if self.rule.wide else total[0] >> self.rule.count_bits
        return <double> packed * self.rule.inverse_gradient_scale

    cdef int gradient_sums(self, const int64_t *total, double *out) noexcept nogil:
        """OUT out: all sums of gradients that scores are made of; returns how many there are."""
        out[0] = self.gradient_sum(total)
        return 1

    cdef double hessian_sum(self, const int64_t *total) noexcept nogil:
        if self.rule.wide:
            return <double> (total[1] >> self.rule.count_bits) * self.rule.inverse_hessian_scale
        return <double> self.count(total) * self.rule.inverse_hessian_scale

    cdef int64_t count(self, const int64_t *total) noexcept nogil:
        return (total[1] if self.rule.wide else total[0]) & ((<int64_t> 1 << self.rule.count_bits) - 1)

    cdef void reset(self, SplitChoice *choice) noexcept nogil:
        choice.gain = 0
        choice.score = 0
        choice.feature = -1
        choice.rank = 0

    cdef void scan(self, const int64_t *hist, uint32_t n_codes, int feature, uint32_t rotation, const int64_t *total,
                   int worker, SplitChoice *best) noexcept nogil:
        """Improve OUT best by the feature's best split. Features are ranked from a place that differs from node to
        node, so that tied ones share the wins."""
        cdef bg_scan_result found
        cdef uint32_t rank = (<uint32_t> feature + rotation) % <uint32_t> self.n_features
        if self.is_categorical[feature]:
            self.k.scan_categories(hist, n_codes, total, &self.rule, self.rule_of(feature), &self.scratch[worker],
                                   self.items + 2 * worker, &found, NULL)
        else:
            found.gain = best.score
            self.k.scan(hist, n_codes, total, &self.rule, &self.scratch[worker], &found)
        if beats(found.gain, rank, best):
            best.score = found.gain
            best.left[0] = found.left[0]
            best.left[1] = found.left[1]
            best.feature = feature
            best.code = found.code
            best.missing_left = found.missing_left
            best.rank = rank

    cdef void set_noise(self, double noise) noexcept:
        self.category_rule.noise = noise
        self.guided_rule.noise = noise * self.guided_noise

    cdef const bg_category_rule *rule_of(self, int feature) noexcept nogil:
        return &self.guided_rule if self.is_categorical[feature] == 2 else &self.category_rule

    cdef void find_set(self, const int64_t *hist, uint32_t n_codes, int feature, const int64_t *total,
                       uint8_t *goes_left) noexcept nogil:
        """OUT goes_left: a byte a code, for the split that a scan of this categorical histogram chose. Scans keep no
        sets; the one that wins is found again. Not from two threads at a time."""
        cdef bg_scan_result found
        self.k.scan_categories(hist, n_codes, total, &self.rule, self.rule_of(feature), &self.scratch[0], self.items,
                               &found, goes_left)

    cdef double node_score(self, const int64_t *total) noexcept nogil:
        """The score of a node that is not split."""
        return score(self.gradient_sum(total), self.hessian_sum(total), &self.leaf_rule)

    cdef bg_unsplit unsplit(self, const int64_t *total) noexcept nogil:
        cdef bg_unsplit node
        node.score = self.node_score(total)
        node.least_gain = self.min_split_gain
        node.rounding = RELATIVE_NOISE
        return node

    cdef void add_gains(self, const int64_t *hist, uint32_t n_codes, int feature, const bg_category_order *order,
                        const int64_t *total, int worker, double *right, double *left) noexcept nogil:
        """OUT right, left: += the node's gains at each place of the feature, with missing values to the right and to
        the left. order: that of the entries of a categorical feature."""
        cdef bg_unsplit node = self.unsplit(total)
        if self.is_categorical[feature]:
            self.k.add_category_gains(hist, n_codes, total, &self.rule, self.rule_of(feature), order, &node,
                                      &self.scratch[worker], right, left)
        else:
            self.k.add_gains(hist, n_codes, total, &self.rule, &node, &self.scratch[worker], right, left)

    cdef void order_categories(self, const int64_t *hist, uint32_t n_codes, int feature, const int64_t *total,
                               int worker, bg_category_order *order) noexcept nogil:
        """OUT order: how all nodes of a level take the entries of a categorical feature, by this histogram."""
        self.k.order_categories(hist, n_codes, &self.rule, self.rule_of(feature), self.items + 2 * worker, order)

    cdef void finish(self, SplitChoice *choice, const int64_t *total) noexcept nogil:
        """The gain over the unsplit node; 0 where it is not worth it."""
        if choice.feature < 0:
            return
        choice.gain = choice.score - self.node_score(total)
        if choice.gain <= self.min_split_gain or choice.gain <= RELATIVE_NOISE * choice.score:
            choice.gain = 0
