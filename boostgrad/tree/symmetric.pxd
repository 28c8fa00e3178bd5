from libc.stdint cimport int32_t, int64_t, uint8_t

from boostgrad.tree.grower cimport TreeGrower
from boostgrad.tree.level_gains cimport LevelGains
from boostgrad.tree.structs cimport SplitChoice


cdef class SymmetricTreeGrower(TreeGrower):
    cdef LevelGains gains
    cdef SplitChoice rule          # of the level: score is the sum of its gains, code as of LevelGains
    cdef int64_t depth             # of the level
    # the nodes of the level that may be split: (left, right) of one that was, or (node, -1) of one that was left whole
    cdef int32_t *level
    cdef int32_t *next_level
    cdef int n_pairs, n_next, room_of_levels
    cdef int first_pair, end_pair  # at work
    cdef int32_t *tasks            # nodes that wait for a histogram, or are to be split
    cdef int n_tasks
    cdef double *ranked            # gains, to be sorted
    cdef int shared_slot           # that all threads built
    cdef bint turned               # what the rule has on its left goes right
    cdef const uint8_t *rule_table # a byte a code of a categorical rule; NULL: of another one

    cdef int make_room(self) noexcept nogil
    cdef int find_rule(self) noexcept nogil
    cdef int take_slots(self, int pair) noexcept nogil
    cdef int add_pairs(self) noexcept nogil
    cdef void close_pairs(self, bint all) noexcept nogil
    cdef int build_histograms(self) noexcept nogil
    cdef int build_with_all(self, int32_t node) noexcept nogil
    cdef void build_alone(self, int32_t node, int worker) noexcept nogil
    cdef void look_at(self, int feature, int worker) noexcept nogil
    cdef bint start_feature(self, int feature, int worker) noexcept nogil
    cdef const int64_t *histogram(self, int i, int feature, int worker) noexcept nogil
    cdef int apply_rule(self) noexcept nogil
    cdef int judge_nodes(self) noexcept nogil
    cdef int judge_at(self, int i) noexcept nogil
    cdef void judge(self, int32_t node, const int64_t *hist) noexcept nogil
    cdef void sum_left(self, int32_t node, const int64_t *hist) noexcept nogil
    cdef void choose_nodes(self, int64_t n_splits) noexcept nogil
    cdef int settle_sides(self) noexcept nogil
    cdef void turn(self) noexcept nogil
    cdef void part_rows(self) noexcept nogil
    cdef void part(self, int32_t node) noexcept nogil
    cdef int split_nodes(self) noexcept nogil
