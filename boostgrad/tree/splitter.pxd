from libc.stdint cimport int64_t, uint8_t, uint32_t, uint64_t

from boostgrad.native cimport (bg_category_order, bg_category_rule, bg_kernels, bg_scan_result, bg_scan_rule,
                               bg_scan_scratch, bg_unsplit)
from boostgrad.tree.structs cimport SplitChoice

cdef struct LeafRule:
    double l1
    double l2
    double max_delta_step
    double learning_rate

cdef inline bint beats(double score, uint32_t rank, const SplitChoice *best) noexcept nogil:
    return score > best.score or (score == best.score and score > 0 and rank < best.rank)

cdef inline void improve(SplitChoice *best, const SplitChoice *choice) noexcept nogil:
    if beats(choice.score, choice.rank, best):
        best[0] = choice[0]

cdef double score(double gradient, double hessian, const LeafRule *rule) noexcept nogil
cdef double leaf_value(double gradient, double hessian, const LeafRule *rule) noexcept nogil
cdef double shrunk(double step, const LeafRule *rule) noexcept nogil

cdef class Splitter:
    cdef const bg_kernels *k
    cdef bg_scan_rule rule
    cdef LeafRule leaf_rule
    cdef double min_split_gain
    cdef int n_features, n_threads
    cdef bg_scan_scratch *scratch
    cdef int64_t *memory
    cdef bg_category_rule category_rule
    cdef double guided_noise
    cdef bg_category_rule guided_rule  # of features beside a statistic
    cdef object categorical      # keeps is_categorical alive
    cdef const uint8_t *is_categorical
    cdef uint64_t **items        # two pieces of scratch a worker; NULL where no feature is categorical
    cdef uint64_t *item_memory

    cdef void start_tree(self, double gradient_scale, double hessian_unit, int count_bits, bint wide) noexcept nogil
    cdef double gradient_sum(self, const int64_t *total) noexcept nogil
    cdef int gradient_sums(self, const int64_t *total, double *out) noexcept nogil
    cdef double hessian_sum(self, const int64_t *total) noexcept nogil
    cdef int64_t count(self, const int64_t *total) noexcept nogil
    cdef void reset(self, SplitChoice *choice) noexcept nogil
    cdef void scan(self, const int64_t *hist, uint32_t n_codes, int feature, uint32_t rotation, const int64_t *total,
                   int worker, SplitChoice *best) noexcept nogil
    cdef void set_noise(self, double noise) noexcept
    cdef const bg_category_rule *rule_of(self, int feature) noexcept nogil
    cdef void find_set(self, const int64_t *hist, uint32_t n_codes, int feature, const int64_t *total,
                       uint8_t *goes_left) noexcept nogil
    cdef double node_score(self, const int64_t *total) noexcept nogil
    cdef bg_unsplit unsplit(self, const int64_t *total) noexcept nogil
    cdef void add_gains(self, const int64_t *hist, uint32_t n_codes, int feature, const bg_category_order *order,
                        const int64_t *total, int worker, double *right, double *left) noexcept nogil
    cdef void order_categories(self, const int64_t *hist, uint32_t n_codes, int feature, const int64_t *total,
                               int worker, bg_category_order *order) noexcept nogil
    cdef void finish(self, SplitChoice *choice, const int64_t *total) noexcept nogil
