from libc.stdint cimport int64_t, uint8_t, uint32_t, uint64_t

from boostgrad.native cimport bg_category_order
from boostgrad.tree.splitter cimport Splitter
from boostgrad.tree.structs cimport SplitChoice


cdef class LevelGains:
    cdef object matrix
    cdef Splitter splitter
    cdef int n_features
    cdef const uint32_t *n_codes
    cdef double *sums
    cdef int64_t *begin            # of a feature's sums
    cdef uint8_t *has_missing      # in any row of the tree
    cdef bg_category_order *orders
    cdef uint64_t *ordered_codes

    cdef void learn(self, const int64_t *hist, int feature, const int64_t *total, int worker) noexcept nogil
    cdef void clear(self, int feature) noexcept nogil
    cdef void add(self, const int64_t *hist, int feature, const int64_t *total, int worker) noexcept nogil
    cdef void improve_rule(self, int feature, uint32_t rotation, SplitChoice *best) noexcept nogil
    cdef double of_node(self, const int64_t *hist, const SplitChoice *rule, const int64_t *total) noexcept nogil
    cdef int rest_side(self, const SplitChoice *rule) noexcept nogil
    cdef void codes_left(self, const SplitChoice *rule, bint other_side, uint8_t *goes_left) noexcept nogil
