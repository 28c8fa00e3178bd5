"""Symmetric, or oblivious, trees: all nodes of a level are split by one rule, the one that they gain most by together
(Kohavi 1994, AAAI; as in Prokhorenkova et al. 2018, "CatBoost", NeurIPS).

::

    level 0                     x2 <= 5
    level 1           x0 <= 3             x0 <= 3                      gains 3.1 + 0.4
    level 2      x1 <= 8   x1 <= 8        .     x1 <= 8                gains 1.0 + 2.2 + 0 + 0.7: the third node gains
    level 3                                                            nothing and is the same node in level 3

A rule has far fewer ways to follow noise than a rule of each node has. A node in which it gains nothing (no more than
``min_split_gain``), or would leave a child with too few rows, is no reason against it: the node adds 0 to the sum, is
not split, and has its next chance with the rule of the next level. So the trees are binary trees as all others.

Nodes, histograms and rows are those of a TreeGrower; what differs is the order of work. A level is known as a whole
before it is worked on: first all histograms, small nodes a thread each, then all gains feature by feature::

    2 threads   [ rows of A ][ B | C ][ D | E ] .. [ feature 0: A B C D E | feature 1: A B C D E ] ..

Where a level has more histograms than there may be at a time, its nodes come in several turns.
"""

from libc.stdint cimport int32_t, int64_t, uint8_t, uint32_t, uint64_t
from libc.stdlib cimport free, qsort

from boostgrad.native cimport parallel_for, resize
from boostgrad.tree.grower cimport TreeGrower
from boostgrad.tree.level_gains cimport LevelGains
from boostgrad.tree.splitter cimport improve
from boostgrad.tree.structs cimport Node, SplitChoice

# Codes to scan, and codes to read, that are worth waking another thread for.
DEF PARALLEL_CODES = 12000
DEF PARALLEL_UPDATES = 40000

# Rows to part that are worth it.
DEF PARALLEL_ROWS = 16384


cdef class SymmetricTreeGrower(TreeGrower):
    """Grows symmetric trees from a BinnedMatrix.

    Parameters
    ----------
    matrix, edges, params, n_threads, seed, categories, n_values : as of TreeGrower
        ``max_depth`` is a bound on levels. Where ``max_leaf_nodes`` does not allow a level as a whole, the nodes that
        gain most are split.
    """

    def __init__(self, matrix, list edges, params, int n_threads, uint64_t seed, categories=None, int n_values=1):
        super().__init__(matrix, edges, params, n_threads, seed, categories, n_values)
        self.gains = LevelGains(matrix, self.splitter)

    def __dealloc__(self):
        free(self.level)
        free(self.next_level)
        free(self.tasks)
        free(self.ranked)

    cdef int grow_nodes(self) noexcept nogil:
        if self.start_nodes() != 0 or self.make_room() != 0:
            return -1
        self.depth = 0
        self.level[0], self.level[1] = 0, -1
        self.n_pairs = 1 if self.nodes[0].is_open else 0
        while self.n_pairs > 0 and self.depth < self.max_depth and self.n_leaves < self.max_leaves:
            if self.find_rule() != 0:
                return -1
            if self.rule.feature < 0:
                break
            if self.make_room() != 0 or self.apply_rule() != 0:
                return -1
            self.depth += 1
        return 0

    cdef int make_room(self) noexcept nogil:
        """For the nodes of the next level. Returns -1 without memory."""
        cdef int room = 4 * self.n_leaves
        if self.room_of_levels >= room:
            return 0
        if (resize(<void **> &self.level, room * sizeof(int32_t)) != 0
                or resize(<void **> &self.next_level, room * sizeof(int32_t)) != 0
                or resize(<void **> &self.tasks, room * sizeof(int32_t)) != 0
                or resize(<void **> &self.ranked, room * sizeof(double)) != 0):
            return -1
        self.room_of_levels = room
        return 0

    # -- the rule of a level -----------------------------------------------------------------------------------------

    cdef int find_rule(self) noexcept nogil:
        """The best rule, feature -1 where there is none, and histograms of the level's nodes as far as there is room
        for them. Returns -1 without memory."""
        cdef int pair, worker
        for worker in range(self.n_threads):
            self.splitter.reset(&self.choices[worker])
        self.first_pair = self.n_tasks = 0
        for pair in range(self.n_pairs):
            if self.take_slots(pair) != 0:
                return -1
            if pair + 1 == self.n_pairs or not self.pool.has_room(0):
                self.end_pair = pair + 1
                if self.add_pairs() != 0:
                    return -1
                self.close_pairs(not self.pool.has_room(0))
                self.first_pair = self.end_pair
        self.splitter.reset(&self.rule)
        for worker in range(self.n_threads):
            improve(&self.rule, &self.choices[worker])
        return 0

    cdef int take_slots(self, int pair) noexcept nogil:
        """OUT tasks: more nodes whose histograms are built from rows. Returns -1 without memory."""
        cdef int side
        cdef int32_t node, sibling
        for side in range(2):
            node, sibling = self.level[2 * pair + side], self.level[2 * pair + 1 - side]
            if node < 0 or self.nodes[node].slot >= 0:
                continue
            if self.nodes[node].is_open or (sibling >= 0 and self.nodes[sibling].is_derived):
                self.nodes[node].slot = self.pool.take()
                if self.nodes[node].slot < 0:
                    return -1
                self.tasks[self.n_tasks] = node
                self.n_tasks += 1
        return 0

    cdef int add_pairs(self) noexcept nogil:
        """Histograms of the pairs at work, and their gains. Returns -1 without memory."""
        cdef int64_t n_codes = (self.end_pair - self.first_pair) * self.total_codes
        if self.build_histograms() != 0:
            return -1
        parallel_for(look_at_feature, <void *> self, self.n_features,
                     self.n_threads if n_codes >= PARALLEL_CODES else 1)
        return 0

    cdef void close_pairs(self, bint all) noexcept nogil:
        """Of the pairs at work, all histograms, or those that served a sibling alone, are needed no longer."""
        cdef int i
        cdef int32_t node
        for i in range(2 * self.first_pair, 2 * self.end_pair):
            node = self.level[i]
            if node >= 0:
                self.nodes[node].is_derived = False
                if all or not self.nodes[node].is_open:
                    self.close(node)

    cdef int build_histograms(self) noexcept nogil:
        """Those of the tasks, from rows: of a large node by all threads, of others a thread each. Returns -1 without
        memory."""
        cdef int64_t n_rows = 0
        cdef int i, n_small = 0
        cdef int32_t node
        for i in range(self.n_tasks):
            n_rows += self.nodes[self.tasks[i]].count
        for i in range(self.n_tasks):
            node = self.tasks[i]
            if self.nodes[node].count * self.n_threads < n_rows:
                self.tasks[n_small] = node
                n_small += 1
            elif self.build_with_all(node) != 0:
                return -1
        parallel_for(build_node, <void *> self, n_small,
                     self.n_threads if n_rows * self.n_features >= PARALLEL_UPDATES else 1)
        self.n_tasks = 0
        return 0

    cdef int build_with_all(self, int32_t node) noexcept nogil:
        cdef const uint32_t *rows = NULL if self.partition.whole else self.partition.rows + self.nodes[node].begin
        self.shared_slot = self.nodes[node].slot
        if self.pool.build(self.shared_slot, rows, 0, self.nodes[node].count) != 0:
            return -1
        if node == 0:
            self.pool.total(self.shared_slot, self.nodes[0].total)
        parallel_for(merge_feature, <void *> self, self.n_features,
                     self.n_threads if self.total_codes >= PARALLEL_CODES else 1)
        return 0

    cdef void build_alone(self, int32_t node, int worker) noexcept nogil:
        self.pool.build_alone(self.nodes[node].slot, self.partition.rows + self.nodes[node].begin,
                              self.nodes[node].count, worker)

    cdef void look_at(self, int feature, int worker) noexcept nogil:
        """Gains of the pairs at work, and the best rule once these are the last ones."""
        cdef int i
        cdef const int64_t *hist
        if not self.start_feature(feature, worker):
            return
        if self.depth == 0:
            self.gains.learn(self.histogram(0, feature, worker), feature, self.nodes[0].total, worker)
        if self.first_pair == 0:
            self.gains.clear(feature)
        for i in range(2 * self.first_pair, 2 * self.end_pair):
            if self.level[i] >= 0 and self.nodes[self.level[i]].is_open:
                hist = self.histogram(i, feature, worker)
                if hist != NULL:
                    self.gains.add(hist, feature, self.nodes[self.level[i]].total, worker)
        if self.end_pair == self.n_pairs:
            self.gains.improve_rule(feature, self.nodes[self.level[0]].rotation, &self.choices[worker])

    cdef bint start_feature(self, int feature, int worker) noexcept nogil:
        """Before the level's histograms of a feature are read; False where it cannot be split at all."""
        return True

    cdef const int64_t *histogram(self, int i, int feature, int worker) noexcept nogil:
        """Of the node at that place of the level; NULL where the feature cannot split it."""
        cdef const Node *node = &self.nodes[self.level[i]]
        if node.is_derived:
            self.pool.subtract(node.slot, feature, self.nodes[self.level[i ^ 1]].slot)
        return self.pool.at(node.slot, feature)

    # -- the splits of a level ---------------------------------------------------------------------------------------

    cdef int apply_rule(self) noexcept nogil:
        """Split the nodes that gain by the rule. Returns -1 without memory."""
        if self.judge_nodes() != 0:
            return -1
        self.choose_nodes(self.max_leaves - self.n_leaves)
        if self.settle_sides() != 0:
            return -1
        self.part_rows()
        return self.split_nodes()

    cdef int judge_nodes(self) noexcept nogil:
        """What each node gains, and the sums of its left child. Returns -1 without memory."""
        cdef int i
        self.turned = False
        if self.splitter.is_categorical[self.rule.feature] and self.gains.rest_side(&self.rule) == 1:
            self.turned = True  # what a set never heard of goes right
        self.gains.codes_left(&self.rule, self.turned, self.sets.table(0))
        self.start_feature(self.rule.feature, 0)
        for i in range(2 * self.n_pairs):
            if self.level[i] >= 0 and self.nodes[self.level[i]].is_open and self.judge_at(i) != 0:
                return -1
        return 0

    cdef int judge_at(self, int i) noexcept nogil:
        """The same of the node at that place, whose histogram is built once more where it was not kept. Returns -1
        without memory."""
        cdef int32_t node = self.level[i]
        cdef bint kept = self.nodes[node].slot >= 0
        if not kept:
            self.nodes[node].slot = self.pool.take()
            if self.nodes[node].slot < 0 or self.build_with_all(node) != 0:
                return -1
        self.judge(node, self.histogram(i, self.rule.feature, 0))
        if not kept:
            self.close(node)
        return 0

    cdef void judge(self, int32_t node, const int64_t *hist) noexcept nogil:
        cdef SplitChoice *choice = &self.nodes[node].choice
        choice[0] = self.rule
        choice.gain = 0
        if hist == NULL:
            return
        choice.gain = self.gains.of_node(hist, &self.rule, self.nodes[node].total)
        if self.splitter.count(hist) == 0:
            choice.missing_left = -1
        self.sum_left(node, hist)

    cdef void sum_left(self, int32_t node, const int64_t *hist) noexcept nogil:
        cdef const uint8_t *goes_left = self.sets.table(0)
        cdef int64_t *left = self.nodes[node].choice.left
        cdef uint32_t code
        cdef int lane, lanes = self.records.lanes
        for lane in range(self.n_lanes):
            left[lane] = 0
        for code in range(self.gains.n_codes[self.rule.feature]):
            if goes_left[code]:
                for lane in range(lanes):
                    left[lane] += hist[code * <size_t> lanes + lane]

    cdef void choose_nodes(self, int64_t n_splits) noexcept nogil:
        """OUT tasks: the nodes to be split, from left to right; at most so many, those that gain most."""
        cdef int64_t n_above = 0, n_level
        cdef double least = 0
        cdef int i, n = 0
        cdef int32_t node
        self.n_tasks = 0
        for i in range(2 * self.n_pairs):
            node = self.level[i]
            if node >= 0 and self.nodes[node].is_open and self.nodes[node].choice.gain > 0:
                self.ranked[self.n_tasks] = self.nodes[node].choice.gain
                self.tasks[self.n_tasks] = node
                self.n_tasks += 1
        if self.n_tasks <= n_splits:
            return
        qsort(self.ranked, self.n_tasks, sizeof(double), descending)
        least = self.ranked[n_splits - 1]
        for i in range(n_splits):
            n_above += self.ranked[i] > least
        n_level = n_splits - n_above  # of equal ones those on the left
        for i in range(self.n_tasks):
            node = self.tasks[i]
            if self.nodes[node].choice.gain == least:
                n_level -= 1
            if self.nodes[node].choice.gain > least or (self.nodes[node].choice.gain == least and n_level >= 0):
                self.tasks[n] = node
                n += 1
            else:
                self.nodes[node].choice.gain = 0
        self.n_tasks = n

    cdef int settle_sides(self) noexcept nogil:
        """Which side is called left, and where missing values go. Returns -1 without memory."""
        cdef bint categorical = self.splitter.is_categorical[self.rule.feature], any_missing = False
        cdef int64_t n_left = 0, n_rows = 0
        cdef int i
        cdef Node *node
        cdef const Node *first = &self.nodes[self.tasks[0]]
        for i in range(self.n_tasks):
            node = &self.nodes[self.tasks[i]]
            n_left += self.splitter.count(node.choice.left)
            n_rows += node.count
            any_missing |= node.choice.missing_left >= 0
        if categorical and self.gains.rest_side(&self.rule) < 0 and 2 * n_left > n_rows:
            self.turn()  # levels without rows follow the larger side
            n_left = n_rows - n_left
        if not any_missing:  # none seen here: those to come follow the larger side
            self.sets.table(0)[0] = n_left >= n_rows - n_left
        if categorical and self.sets.keep(&self.nodes[self.tasks[0]]) != 0:
            return -1
        for i in range(self.n_tasks):
            node = &self.nodes[self.tasks[i]]
            node.choice.missing_left = self.sets.table(0)[0]
            node.set_begin, node.set_words = first.set_begin, first.set_words
        return 0

    cdef void turn(self) noexcept nogil:
        """Left becomes right."""
        cdef int i, lane
        cdef Node *node
        self.turned = not self.turned
        self.gains.codes_left(&self.rule, self.turned, self.sets.table(0))
        for i in range(self.n_tasks):
            node = &self.nodes[self.tasks[i]]
            for lane in range(self.n_lanes):
                node.choice.left[lane] = node.total[lane] - node.choice.left[lane]

    cdef void part_rows(self) noexcept nogil:
        """Of a large node by all threads, of others a thread each."""
        cdef const SplitChoice *choice
        cdef int64_t n_rows = 0
        cdef int i, n_small = 0
        cdef Node *node
        self.rule_table = self.sets.table(0) if self.splitter.is_categorical[self.rule.feature] else NULL
        for i in range(self.n_tasks):
            n_rows += self.nodes[self.tasks[i]].count
        for i in range(self.n_tasks):
            node = &self.nodes[self.tasks[i]]
            choice = &node.choice
            if node.count * self.n_threads < n_rows:
                self.tasks[n_small] = self.tasks[i]
                n_small += 1
            else:
                self.partition.split(node.begin, node.count, choice.feature, choice.code, choice.missing_left,
                                     self.rule_table)
        self.partition.column(self.rule.feature)  # there before several threads want it
        parallel_for(part_node, <void *> self, n_small, self.n_threads if n_rows >= PARALLEL_ROWS else 1)
        self.n_tasks = 0

    cdef void part(self, int32_t node) noexcept nogil:
        """The rows of a small node, by the calling thread alone."""
        cdef const SplitChoice *choice = &self.nodes[node].choice
        self.partition.split_alone(self.nodes[node].begin, self.nodes[node].count, choice.feature, choice.code,
                                   choice.missing_left, self.rule_table)

    cdef int split_nodes(self) noexcept nogil:
        """The nodes of the next level, from left to right. Returns -1 without memory."""
        cdef int i
        cdef int32_t node, left, right
        self.n_next = 0
        for i in range(2 * self.n_pairs):
            node = self.level[i]
            if node < 0 or not self.nodes[node].is_open:
                continue
            left, right = node, -1
            if self.nodes[node].choice.gain > 0:
                if self.prepare(node, self.n_leaves + 1) != 0 or self.make_split(node) != 0:
                    return -1
                left, right = self.nodes[node].child[0], self.nodes[node].child[1]
                if not (self.nodes[left].is_open or self.nodes[right].is_open):
                    continue
            self.next_level[2 * self.n_next], self.next_level[2 * self.n_next + 1] = left, right
            self.n_next += 1
        self.level, self.next_level = self.next_level, self.level
        self.n_pairs = self.n_next
        return 0

    cdef int give_places(self, int32_t node, int32_t smaller, int32_t larger) noexcept nogil:
        """The larger child has the node's histogram, if its own is to be derived from it."""
        cdef int slot = self.nodes[node].slot
        self.nodes[node].slot = -1
        if slot >= 0 and self.nodes[larger].is_open and self.subtraction_pays(smaller, larger):
            self.nodes[larger].is_derived = True
            self.nodes[larger].slot = slot
        else:
            self.give(slot)
        return 0

    cdef int settle(self, int32_t node) noexcept nogil:
        return 0  # its next split is its level's


cdef int descending(const void *a, const void *b) noexcept nogil:
    return ((<const double *> b)[0] > (<const double *> a)[0]) - ((<const double *> b)[0] < (<const double *> a)[0])


cdef void build_node(void *grower, int64_t i, int worker) noexcept nogil:
    (<SymmetricTreeGrower> grower).build_alone((<SymmetricTreeGrower> grower).tasks[i], worker)


cdef void merge_feature(void *grower, int64_t feature, int worker) noexcept nogil:
    (<SymmetricTreeGrower> grower).pool.merge((<SymmetricTreeGrower> grower).shared_slot, feature)


cdef void look_at_feature(void *grower, int64_t feature, int worker) noexcept nogil:
    (<SymmetricTreeGrower> grower).look_at(feature, worker)


cdef void part_node(void *grower, int64_t i, int worker) noexcept nogil:
    (<SymmetricTreeGrower> grower).part((<SymmetricTreeGrower> grower).tasks[i])
