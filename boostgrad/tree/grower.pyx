"""Growing one tree: a queue of open leaves, split one after the other.

::

    RowRecords -> HistogramPool.build -> Splitter.scan -> RowPartition.split -> two children -> GrowthQueue.push
                                                                             -> LeafRows, when all is split

Leaf-wise or depth-wise is the order of the queue and nothing else (symmetric trees: ``boostgrad.tree.symmetric``). Large
nodes are split by all threads together, which share their rows, or their tiles where there are many; small ones side by
side, a thread each::

    2 threads   [ root ][ 0.7M rows ][ 0.3M ][ A | B ][ C | D ] ...      A and C next in the queue, B and D after them
"""

from dataclasses import dataclass

from libc.math cimport INFINITY, NAN
from libc.stdint cimport int32_t, int64_t, uint8_t, uint32_t, uint64_t
from libc.stdlib cimport free, malloc
from libc.string cimport memset

import numpy as np

from boostgrad.native cimport address_of, mix, parallel_for, resize
from boostgrad.tree.growth_queue cimport GrowthQueue
from boostgrad.tree.histogram cimport HistogramPool
from boostgrad.tree.leaves cimport LeafRows
from boostgrad.tree.level_sets cimport LevelSets
from boostgrad.tree.partition cimport RowPartition
from boostgrad.tree.records cimport RowRecords, Tile
from boostgrad.tree.splitter cimport Splitter, improve, leaf_value, shrunk
from boostgrad.tree.structs cimport Node, SplitChoice
from boostgrad.tree.vector cimport GradientSketch, VectorSplitter
from boostgrad.params import CategoryParams
from boostgrad.tree.model import CategorySets, Tree, TreeStatistics
from boostgrad.tree.vector import fields_for

# Codes to scan that are worth waking another thread for.
DEF PARALLEL_CODES = 4000

# Codes to read for a first split of a table whose nodes are worth waking another thread for.
DEF WORTH_A_THREAD = 40000

# A node with at most so many codes to read may be worked out by one thread, beside others that are at most so many times
# as large or small; below so few codes beside any others that small.
DEF ALONE_CODES = 600000
DEF MOST_UNEVEN = 1.5
DEF ALWAYS_ALONE_CODES = 100000

# Nodes of the queue that are passed over in search of such ones.
DEF LOOK_AHEAD = 4

# In place of the number of a thread.
DEF ALL_THREADS = -1

# Rows that tell how much gradients vary.
DEF NOISE_ROWS = 65536


@dataclass(frozen=True, eq=False)
class GrownTree:
    """A tree, and how it reads codes.

    Attributes
    ----------
    tree : Tree
        Its thresholds are the edges of the bins.
    code : ndarray of uint32, shape (n_splits,)
        t of the go-left rule; 0 for categorical splits.
    """

    tree: Tree
    code: np.ndarray


cdef class TreeGrower:
    """Grows the trees of one fit; everything that is large is allocated once.

    Parameters
    ----------
    matrix : BinnedMatrix
    edges : list of ndarray of float64
        Where the bins end, for the thresholds of the trees.
    params : TreeParams
    n_threads : int
    seed : int
        Orders tied splits.
    categories : CategoryParams or None
        None: the defaults.
    n_values : int
        Of a leaf; more than one: a value for each output (``boostgrad.tree.vector``).
    """

    def __cinit__(self, matrix, list edges, params, int n_threads, uint64_t seed, categories=None, int n_values=1):
        cdef int64_t unlimited = (<int64_t> 1) << 62
        categories = categories or CategoryParams()
        self.matrix = matrix
        self.edges = edges
        self.n_threads = n_threads
        self.n_features = matrix.n_features
        self.n_lanes = 2
        if n_values > 1:
            self.splitter = VectorSplitter(matrix, params, n_threads, categories)
            self.sketch = GradientSketch(matrix.n_rows, n_values, fields_for(n_values), n_threads)
            self.n_lanes = self.sketch.lanes
        else:
            self.splitter = Splitter(matrix, params, n_threads, categories)
        self.queue = GrowthQueue(params.grow_policy)
        self.max_leaves = unlimited if params.max_leaf_nodes is None else min(params.max_leaf_nodes, matrix.n_rows)
        self.max_depth = unlimited if params.max_depth is None else params.max_depth
        self.min_samples_leaf = params.min_samples_leaf
        self.min_split_gain = params.min_split_gain
        self.total_codes = int(matrix.n_codes.sum())
        self.tie_seed = seed
        self.n_values = n_values
        self.noise_share = categories.noise if matrix.categorical.any() else 0.0
        self.choices = <SplitChoice *> malloc(2 * n_threads * sizeof(SplitChoice))
        self.sets = LevelSets(matrix, n_threads)
        self.batch = <int32_t *> malloc((n_threads + LOOK_AHEAD) * sizeof(int32_t))
        if self.choices == NULL or self.batch == NULL:
            raise MemoryError()

    def __init__(self, matrix, list edges, params, int n_threads, uint64_t seed, categories=None, int n_values=1):
        self.records = RowRecords(matrix, n_threads)
        self.pool = HistogramPool(matrix, self.records, n_threads)
        self.partition = RowPartition(matrix, n_threads)
        self.leaves = LeafRows(self.partition, n_threads)
        self.worth_threads = n_threads > 1 and matrix.n_rows * self.n_features + 2 * self.total_codes >= WORTH_A_THREAD

    def __dealloc__(self):
        free(self.nodes)
        free(self.choices)
        free(self.batch)
        free(self.leaf_values)

    def grow(self, gradient_pairs, int output, int number):
        """Grow a tree to the gradients of one output, or of as many as a leaf has values, from this one on.

        Parameters
        ----------
        gradient_pairs : GradientPairs
        output : int
        number : int
            Of the tree within the fit.

        Returns
        -------
        GrownTree
        """
        cdef double[:, :, ::1] pairs = gradient_pairs.pairs
        cdef int status
        self.first_output = output
        self.pairs = &pairs[output, 0, 0]
        self.pair_width = pairs.shape[2]
        self.constant_hessian = gradient_pairs.constant_hessian or 0.0
        self.tree_seed = mix(self.tie_seed ^ mix(number))
        self.start_records(gradient_pairs, number)
        self.start_histograms()
        with nogil:
            status = self.grow_nodes()
            if status == 0:
                status = self.sum_leaves()
        if status != 0:
            raise MemoryError("not enough memory to grow a tree")
        return self.finished_tree(output)

    def recode(self, features):
        """Read the codes of these features, which changed in the matrix, again.

        Parameters
        ----------
        features : ndarray of int64
        """
        self.records.relay(features)

    def add_leaf_values(self, double[:, ::1] raw):
        """Add the values of the last tree's leaves to their outputs of OUT raw, shape (n_outputs, n_rows)."""
        cdef int v
        with nogil:
            for v in range(self.n_values):
                self.leaves.add_values(self.leaf_values + v * self.n_leaves, &raw[self.first_output + v, 0])

    cdef int start_records(self, gradient_pairs, int number) except -1:
        """What the rows add to histograms, and how those are read."""
        if self.sketch is not None:
            return self.start_vectors(gradient_pairs.score_unit, number)
        self.splitter.set_noise(self.noise_share * self.gradient_variance())
        if gradient_pairs.settled[0]:
            self.splitter.min_split_gain = self.min_split_gain * gradient_pairs.gain_unit[self.first_output]
        largest = gradient_pairs.largest[self.first_output]
        self.records.start_tree(self.pairs, self.pair_width, self.constant_hessian, largest[0], largest[1],
                                <uint32_t> self.tree_seed)
        self.splitter.start_tree(self.records.packing.gradient_scale, self.records.hessian_unit,
                                 self.records.packing.count_bits, self.records.lanes == 2)
        return 0

    cdef int start_vectors(self, score_unit, int number) except -1:
        """The same, of trees with vector leaves."""
        unit = score_unit[self.first_output:self.first_output + self.n_values]
        self.sketch.start_tree(self.pairs, self.pair_width, self.constant_hessian, self.tie_seed, number, unit)
        self.sketch.lay_down(<uint32_t> self.tree_seed, self.records)
        self.splitter.set_noise(self.noise_share * self.sketch.variance() if self.noise_share > 0 else 0)
        (<VectorSplitter> self.splitter).start_vectors(self.sketch)
        return 0

    def rows_by_leaf(self):
        """The rows of the last tree's leaves: row numbers, ascending within a leaf, and where each leaf begins."""
        cdef int64_t i
        begin = np.empty(self.n_leaves + 1, dtype=np.int64)
        for i in range(self.n_leaves + 1):
            begin[i] = self.leaves.begin[i]
        return self.partition.row_numbers(), begin

    def renew_leaf_values(self, grown, const double[::1] steps, int v=0):
        """Put other values into OUT the last tree's leaves, for one of its outputs: these steps, bounded and shrunk as
        all are."""
        cdef int leaf
        cdef double[:, ::1] value = grown.tree.leaf_value
        if steps.shape[0] != self.n_leaves:
            raise ValueError(f"{steps.shape[0]} values for a tree of {self.n_leaves} leaves")
        for leaf in range(self.n_leaves):
            value[leaf, v] = self.leaf_values[v * <int64_t> self.n_leaves + leaf] = shrunk(steps[leaf], &self.splitter.leaf_rule)

    cdef int start_histograms(self) except -1:
        return self.pool.start_tree()

    cdef double gradient_variance(self):
        """Of the gradients, per hessian, from rows all over; 1 where a log loss says how wrong it is."""
        cdef int64_t i, step = self.partition.n_rows // NOISE_ROWS + 1
        cdef const double *pair
        cdef double squares = 0, hessian = 0
        if self.noise_share == 0:
            return 0
        for i in range((self.partition.n_rows + step - 1) // step):
            pair = self.pairs + self.pair_width * i * step
            squares += pair[0] * pair[0]
            hessian += pair[1] if self.pair_width == 2 else self.constant_hessian
        return squares / hessian if hessian > 0 else 0

    cdef int32_t add_node(self, int64_t begin, int64_t count, int32_t depth, uint64_t key) noexcept nogil:
        if self.n_nodes == self.room:
            if resize(<void **> &self.nodes, (2 * self.room + 64) * sizeof(Node)) != 0:
                return -1
            self.queue.nodes = self.nodes
            self.room = 2 * self.room + 64
        memset(&self.nodes[self.n_nodes], 0, sizeof(Node))
        self.nodes[self.n_nodes].begin = begin
        self.nodes[self.n_nodes].count = count
        self.nodes[self.n_nodes].depth = depth
        self.nodes[self.n_nodes].key = key
        self.nodes[self.n_nodes].rotation = <uint32_t> (key % <uint64_t> self.n_features)
        self.nodes[self.n_nodes].slot = -1
        self.nodes[self.n_nodes].order = -1
        self.splitter.reset(&self.nodes[self.n_nodes].choice)
        self.n_nodes += 1
        return self.n_nodes - 1

    cdef bint may_split(self, int32_t node, int64_t n_leaves) noexcept nogil:
        """Whether it is worth a search, when the tree has so many leaves."""
        return (n_leaves < self.max_leaves and self.nodes[node].depth < self.max_depth
                and self.nodes[node].count >= 2 * self.min_samples_leaf and self.nodes[node].count >= 2)

    cdef int start_nodes(self) noexcept nogil:
        """The root, with all rows. Returns -1 without memory."""
        self.n_nodes = 0
        self.n_ready = 0
        self.queue.n = 0
        self.n_leaves = 1
        self.sets.start_tree()
        self.partition.reset()
        if self.add_node(0, self.partition.n_rows, 0, mix(self.tree_seed)) < 0:
            return -1
        self.nodes[0].live = True
        self.nodes[0].is_open = self.may_split(0, 1)
        return 0

    cdef int grow_nodes(self) noexcept nogil:
        """Nodes, and the partition by them. Returns -1 without memory."""
        cdef int32_t node
        if self.start_nodes() != 0:
            return -1
        if self.nodes[0].is_open:
            if self.evaluate_root(0) != 0 or self.settle(0) != 0:
                return -1
        while self.queue.n > 0 and self.n_leaves < self.max_leaves:
            node = self.queue.pop()
            if self.nodes[node].ready[0] == 0 and self.work_out(node) != 0:
                return -1
            if self.make_split(node) != 0:
                return -1
        self.forget_ready()
        return 0

    cdef int make_split(self, int32_t node) noexcept nogil:
        """From now on the two children that were worked out are leaves, and the node is none. Returns -1 without
        memory."""
        cdef int32_t order = <int32_t> self.n_leaves - 1, child
        cdef int side
        self.n_ready -= 1
        self.n_leaves += 1
        self.nodes[node].order = order
        for side in range(2):
            child = self.nodes[node].child[side] = self.nodes[node].ready[side]
            self.nodes[child].live = True
            self.nodes[child].age = 2 * <int64_t> order + 1 + side
            if self.settle(child) != 0:
                return -1
        return 0

    cdef int settle(self, int32_t node) noexcept nogil:
        """Into the queue with its histogram, or a leaf for good. Returns -1 without memory."""
        cdef SplitChoice *choice = &self.nodes[node].choice
        if choice.feature >= 0:
            self.splitter.finish(choice, self.nodes[node].total)
        if choice.feature < 0 or choice.gain <= 0:
            self.close(node)
            return 0
        if self.splitter.is_categorical[choice.feature]:
            self.splitter.find_set(self.pool.at(self.nodes[node].slot, choice.feature),
                                   self.pool.n_codes[choice.feature], choice.feature, self.nodes[node].total,
                                   self.sets.table(0))
            if self.sets.keep(&self.nodes[node]) != 0:
                return -1
        if self.is_full():  # its children will be built from their rows
            self.close(node)
        return self.queue.push(node)

    # -- which nodes are worked out at once: a thread that has a node for itself need not wait for others, node by node.
    #    Which node is split next is known only once the children of the one before are; but the next ones in the queue
    #    will have their turn, unless leaves run out, and to have worked them out before changes nothing. --------------

    cdef int work_out(self, int32_t node) noexcept nogil:
        """Work out the split of this node, which was taken from the queue: with all threads, or, where some that come
        next are of a like size, a thread each. Returns -1 without memory."""
        cdef int i
        self.choose_batch(node)
        for i in range(self.n_batch):
            if self.prepare(self.batch[i], self.n_leaves + i + 1) != 0:
                return -1
        self.n_ready += self.n_batch
        if self.n_batch == 1:
            return self.work(node, ALL_THREADS)
        parallel_for(work_alone, <void *> self, self.n_batch, self.n_threads)
        return 0

    cdef void choose_batch(self, int32_t node) noexcept nogil:
        """OUT batch: the node, and others, which stay in the queue."""
        cdef int64_t most = self.work_of(node), least = 0, work
        cdef int n_passed = 0, i
        cdef int32_t next_one
        cdef int32_t *passed = self.batch + self.n_threads
        self.n_batch = 1
        self.batch[0] = node
        if not self.worth_threads or most > ALONE_CODES or not self.pool.has_room(2 * self.n_threads):
            return
        if most > ALWAYS_ALONE_CODES:  # all threads on a node are slower only where it is small, or others are as large
            least = <int64_t> (most / MOST_UNEVEN)
            most = <int64_t> (most * MOST_UNEVEN)
        else:
            most = ALWAYS_ALONE_CODES
        while (self.n_batch < self.n_threads and n_passed < LOOK_AHEAD and self.queue.n > 0
               and self.n_leaves + self.n_ready + self.n_batch < self.max_leaves):
            next_one = self.queue.pop()
            work = self.work_of(next_one)
            if self.nodes[next_one].ready[0] == 0 and least <= work <= most:
                self.batch[self.n_batch] = next_one
                self.n_batch += 1
            else:
                passed[n_passed] = next_one
                n_passed += 1
        for i in range(n_passed):
            self.queue.push(passed[i])
        for i in range(1, self.n_batch):
            self.queue.push(self.batch[i])

    cdef int64_t work_of(self, int32_t node) noexcept nogil:
        """Codes that are read to split a node, about."""
        return self.nodes[node].count * self.n_features + 2 * self.total_codes

    cdef void forget_ready(self) noexcept nogil:
        """Splits that were worked out, and not made: their nodes stay leaves, with their rows in order."""
        cdef int i
        cdef int32_t node
        for i in range(self.queue.n):
            node = self.queue.heap[i]
            if self.nodes[node].ready[0]:
                self.partition.rejoin(self.nodes[node].begin, self.nodes[self.nodes[node].ready[0]].count,
                                      self.nodes[node].count)

    # -- working out one split: children, their rows, histograms and best splits --------------------------------------

    cdef int prepare(self, int32_t node, int64_t n_leaves) noexcept nogil:
        """Nodes for the two sides of a split, after which the tree has so many leaves or more, and places for their
        histograms. Returns -1 without memory."""
        cdef int64_t begin = self.nodes[node].begin, count = self.nodes[node].count
        cdef int64_t n_left = self.splitter.count(self.nodes[node].choice.left)
        cdef int32_t depth = self.nodes[node].depth + 1, left, right
        cdef uint64_t key = self.nodes[node].key
        cdef int lane
        if self.nodes[node].choice.missing_left < 0:  # none seen here: those to come follow the larger child
            self.nodes[node].choice.missing_left = n_left >= count - n_left
        left = self.add_node(begin, n_left, depth, mix(key + 1))
        right = self.add_node(begin + n_left, count - n_left, depth, mix(key + 2))
        if left < 0 or right < 0:
            return -1
        for lane in range(self.n_lanes):
            self.nodes[left].total[lane] = self.nodes[node].choice.left[lane]
            self.nodes[right].total[lane] = self.nodes[node].total[lane] - self.nodes[node].choice.left[lane]
        self.nodes[left].is_open, self.nodes[right].is_open = self.may_split(left, n_leaves), self.may_split(right, n_leaves)
        self.nodes[node].ready[0], self.nodes[node].ready[1] = left, right
        return self.give_places(node, self.smaller_child(node), self.larger_child(node))

    cdef int give_places(self, int32_t node, int32_t smaller, int32_t larger) noexcept nogil:
        """Histogram slots for the children, one of them the node's. A child that can never be split has none, unless
        its sibling's histogram is derived from its own. Returns -1 without memory."""
        cdef int slot = self.nodes[node].slot
        cdef bint derived = slot >= 0 and self.nodes[larger].is_open and self.subtraction_pays(smaller, larger)
        self.nodes[node].slot = -1
        self.nodes[larger].is_derived = derived
        if self.nodes[larger].is_open:
            self.nodes[larger].slot = slot if slot >= 0 else self.pool.take()
            slot = -1
            if self.nodes[larger].slot < 0:
                return -1
        if self.nodes[smaller].is_open or derived:
            self.nodes[smaller].slot = slot if slot >= 0 else self.pool.take()
            slot = -1
            if self.nodes[smaller].slot < 0:
                return -1
        self.give(slot)
        return 0

    cdef int32_t smaller_child(self, int32_t node) noexcept nogil:
        cdef int32_t *child = self.nodes[node].ready
        return child[0] if self.nodes[child[0]].count <= self.nodes[child[1]].count else child[1]

    cdef int32_t larger_child(self, int32_t node) noexcept nogil:
        return self.nodes[node].ready[0] + self.nodes[node].ready[1] - self.smaller_child(node)

    cdef bint subtraction_pays(self, int32_t smaller, int32_t larger) noexcept nogil:
        """Whether subtracting every record is cheaper than adding the rows of the larger child."""
        cdef int64_t n_saved = self.nodes[larger].count
        if not self.nodes[smaller].is_open:
            n_saved -= self.nodes[smaller].count
        return n_saved * self.n_features * 2 > self.total_codes

    cdef int work(self, int32_t node, int worker) noexcept nogil:
        """Part the rows of a node and find the best splits of its children: by one thread alone, which has this number,
        or by ALL_THREADS. Returns -1 without memory."""
        cdef const SplitChoice *choice = &self.nodes[node].choice
        cdef const uint8_t *goes_left = NULL
        if self.splitter.is_categorical[choice.feature]:
            goes_left = self.sets.read(&self.nodes[node], max(worker, 0))
        if worker == ALL_THREADS:
            self.partition.split(self.nodes[node].begin, self.nodes[node].count, choice.feature, choice.code,
                                 choice.missing_left, goes_left)
        else:
            self.partition.split_alone(self.nodes[node].begin, self.nodes[node].count, choice.feature, choice.code,
                                       choice.missing_left, goes_left)
        return self.evaluate_children(node, self.smaller_child(node), self.larger_child(node), worker)

    cdef int evaluate_root(self, int32_t root) noexcept nogil:
        cdef int slot = self.pool.take()
        if slot < 0 or self.pool.build(slot, NULL, 0, self.partition.n_rows) != 0:
            return -1
        self.nodes[root].slot = slot
        self.pool.total(slot, self.nodes[root].total)
        self.search(root, -1, ALL_THREADS, True)
        return 0

    cdef int evaluate_children(self, int32_t node, int32_t smaller, int32_t larger, int worker) noexcept nogil:
        if self.nodes[larger].is_derived:
            return self.evaluate(smaller, larger, worker)
        if self.nodes[larger].is_open and self.evaluate(larger, -1, worker) != 0:
            return -1
        return self.evaluate(smaller, -1, worker) if self.nodes[smaller].is_open else 0

    cdef int evaluate(self, int32_t node, int32_t sibling, int worker) noexcept nogil:
        """The histogram of a node, its sibling's (-1: none) from it and their parent's, and their best splits."""
        cdef bint shared = worker == ALL_THREADS and self.pool.shares_rows(self.nodes[node].count)
        if shared and self.pool.build(self.nodes[node].slot, self.partition.rows + self.nodes[node].begin, 0,
                                      self.nodes[node].count) != 0:
            return -1
        self.search(node, sibling, worker, shared)
        return 0

    cdef void search(self, int32_t node, int32_t sibling, int worker, bint built) noexcept nogil:
        """Derive and scan feature by feature, and before that build tile by tile what is not built yet: what is
        needed next is in the cache."""
        cdef SearchContext context
        cdef int first = max(worker, 0), end = self.n_threads if worker == ALL_THREADS else worker + 1, i
        cdef int threads = self.n_threads if self.worth_threads and self.total_codes >= PARALLEL_CODES else 1
        context.grower = <void *> self
        context.node = &self.nodes[node]
        context.sibling = &self.nodes[sibling] if sibling >= 0 else NULL
        context.built = built
        for i in range(2 * first, 2 * end):
            self.splitter.reset(&self.choices[i])
        if built:
            parallel_for(search_feature, &context, self.n_features, threads)
        elif worker == ALL_THREADS:
            parallel_for(search_tile, &context, self.records.n_tiles, threads)
        else:
            for i in range(self.records.n_tiles):
                self.search_tile(&context, i, worker)
        for i in range(first, end):
            improve(&context.node.choice, &self.choices[2 * i])
            if context.sibling != NULL:
                improve(&context.sibling.choice, &self.choices[2 * i + 1])

    cdef void search_tile(self, const SearchContext *c, int t, int worker) noexcept nogil:
        cdef const Tile *tile = &self.records.tiles[t]
        cdef int i
        self.pool.build_tile(c.node.slot, tile, self.partition.rows + c.node.begin, 0, c.node.count, worker)
        for i in range(tile.first, tile.first + tile.n):
            self.search_feature(c, self.records.feature_at[i], worker)

    cdef void search_feature(self, const SearchContext *c, int feature, int worker) noexcept nogil:
        """One feature of a node and its sibling."""
        cdef uint32_t n_codes = self.pool.n_codes[feature]
        cdef int64_t *hist
        if c.built:
            self.pool.merge(c.node.slot, feature)
        if c.node.is_open:
            hist = self.pool.at(c.node.slot, feature)
            self.splitter.scan(hist, n_codes, feature, c.node.rotation, c.node.total, worker, &self.choices[2 * worker])
        if c.sibling != NULL:
            self.pool.subtract(c.sibling.slot, feature, c.node.slot)
            hist = self.pool.at(c.sibling.slot, feature)
            self.splitter.scan(hist, n_codes, feature, c.sibling.rotation, c.sibling.total, worker,
                               &self.choices[2 * worker + 1])

    cdef void give(self, int slot) noexcept nogil:
        self.pool.give(slot)

    cdef bint is_full(self) noexcept nogil:
        return self.pool.is_full()

    cdef void close(self, int32_t node) noexcept nogil:
        self.give(self.nodes[node].slot)
        self.nodes[node].slot = -1

    # -- the finished tree --------------------------------------------------------------------------------------------

    cdef int sum_leaves(self) noexcept nogil:
        """Values and covers of the leaves, from full-precision sums. Returns -1 without memory."""
        cdef int64_t n = self.n_values * <int64_t> self.n_leaves, i
        cdef double *sums  # (gradient, hessian) of each leaf, output by output
        cdef int v
        if (resize(<void **> &self.leaf_values, 3 * n * sizeof(double)) != 0
                or self.leaves.start_tree(self.n_leaves) != 0):
            return -1
        sums = self.leaf_values + n
        self.number_leaves()
        self.leaves.number_rows()
        for v in range(self.n_values):
            if self.leaves.sums(self.pairs + v * self.partition.n_rows * self.pair_width, self.pair_width,
                                self.constant_hessian, sums + 2 * v * <int64_t> self.n_leaves) != 0:
                return -1
        for i in range(n):
            self.leaf_values[i] = leaf_value(sums[2 * i], sums[2 * i + 1], &self.splitter.leaf_rule)
        return 0

    cdef double leaf_cover(self, int64_t leaf) noexcept nogil:
        """Sum of the hessians of a leaf's rows, on average over the outputs of the tree."""
        cdef int64_t n = self.n_values * <int64_t> self.n_leaves
        cdef double cover = 0
        cdef int v
        for v in range(self.n_values):
            cover += self.leaf_values[n + 2 * (v * <int64_t> self.n_leaves + leaf) + 1]
        return cover if self.n_values == 1 else cover / self.n_values

    cdef void number_leaves(self) noexcept nogil:
        """Leaves from left to right, as their rows lie in the partition."""
        cdef int32_t node, leaf = 0
        cdef int64_t row = 0
        while row < self.partition.n_rows:
            node = 0
            while self.nodes[node].child[0] != 0:
                node = self.nodes[node].child[row >= self.nodes[self.nodes[node].child[1]].begin]
            self.nodes[node].order = leaf
            self.leaves.begin[leaf] = row
            leaf += 1
            row += self.nodes[node].count
        self.leaves.begin[leaf] = row

    cdef object finished_tree(self, int output):
        """The nodes as a Tree: splits in the order they were made, leaves from left to right."""
        cdef int n_splits = self.n_leaves - 1
        cdef int node, s, leaf, v
        cdef const Node *at
        tree = Tree(
            feature=np.empty(n_splits, dtype=np.int32),
            threshold=np.empty(n_splits),
            missing_left=np.empty(n_splits, dtype=np.uint8),
            left=np.empty(n_splits, dtype=np.int32),
            right=np.empty(n_splits, dtype=np.int32),
            leaf_value=np.empty((self.n_leaves, self.n_values)),
            output=output,
            statistics=TreeStatistics(np.empty(n_splits), np.empty(n_splits), np.empty(n_splits, dtype=np.int64),
                                      np.empty(self.n_leaves), np.empty(self.n_leaves, dtype=np.int64)),
            categories=self.category_sets(n_splits),
        )
        codes = np.empty(n_splits, dtype=np.uint32)
        cdef int32_t *feature = <int32_t *> address_of(tree.feature)
        cdef uint32_t *code = <uint32_t *> address_of(codes)
        cdef double *threshold = <double *> address_of(tree.threshold)
        cdef uint8_t *missing_left = <uint8_t *> address_of(tree.missing_left)
        cdef int32_t *left = <int32_t *> address_of(tree.left)
        cdef int32_t *right = <int32_t *> address_of(tree.right)
        cdef double *value = <double *> address_of(tree.leaf_value)
        cdef double *split_gain = <double *> address_of(tree.statistics.split_gain)
        cdef double *split_cover = <double *> address_of(tree.statistics.split_cover)
        cdef int64_t *split_count = <int64_t *> address_of(tree.statistics.split_count)
        cdef double *leaf_cover = <double *> address_of(tree.statistics.leaf_cover)
        cdef int64_t *leaf_count = <int64_t *> address_of(tree.statistics.leaf_count)
        for node in range(self.n_nodes):
            at = &self.nodes[node]
            if not at.live:
                continue
            if at.child[0] == 0:
                leaf = at.order
                for v in range(self.n_values):
                    value[leaf * <int64_t> self.n_values + v] = self.leaf_values[v * <int64_t> self.n_leaves + leaf]
                leaf_cover[leaf] = self.leaf_cover(leaf)
                leaf_count[leaf] = at.count
            else:
                s = at.order
                feature[s] = at.choice.feature
                code[s] = 0 if self.splitter.is_categorical[at.choice.feature] else at.choice.code
                threshold[s] = self.threshold_of(at.choice.feature, code[s])
                missing_left[s] = at.choice.missing_left
                left[s] = self.child_number(at.child[0])
                right[s] = self.child_number(at.child[1])
                split_gain[s] = at.choice.gain
                split_cover[s] = self.splitter.hessian_sum(at.total)
                split_count[s] = at.count
        return GrownTree(tree, codes)

    cdef int32_t child_number(self, int32_t node) noexcept nogil:
        """As a Tree numbers its splits and leaves."""
        return self.nodes[node].order if self.nodes[node].child[0] else ~self.nodes[node].order

    cdef double threshold_of(self, int feature, uint32_t code) except? -1:
        """The edge behind a code; the last bin has none: all that is not missing goes left."""
        edges = self.edges[feature]
        if self.splitter.is_categorical[feature]:
            return NAN
        return (<const double *> address_of(edges))[code - 1] if code <= <uint32_t> len(edges) else INFINITY

    cdef object category_sets(self, int n_splits):
        """The sets of the categorical splits, or None."""
        cdef int node
        sets = {}
        for node in range(self.n_nodes):
            if self.nodes[node].child[0] != 0 and self.splitter.is_categorical[self.nodes[node].choice.feature]:
                sets[self.nodes[node].order] = self.sets.words(&self.nodes[node])
        return CategorySets.of(sets, n_splits)


cdef void work_alone(void *grower, int64_t i, int worker) noexcept nogil:
    (<TreeGrower> grower).work((<TreeGrower> grower).batch[i], worker)


cdef void search_feature(void *context, int64_t feature, int worker) noexcept nogil:
    cdef SearchContext *c = <SearchContext *> context
    (<TreeGrower> c.grower).search_feature(c, feature, worker)


cdef void search_tile(void *context, int64_t tile, int worker) noexcept nogil:
    cdef SearchContext *c = <SearchContext *> context
    (<TreeGrower> c.grower).search_tile(c, tile, worker)
