"""Trees whose leaves are vectors, one value an output: one tree an iteration, whatever the number of outputs.

::

    pairs     output 0: [ g h | g h | ... ]      output 1: [ g h | ... ]   ...   output K - 1
    fields    field 0:  [ g | g | g | ... ]      field 1 ...                     the hessian: [ h | h | h | ... ]
    records   row 0     [ g0 g1 | g2 g3 | ... | h, 1 ]      row 1 ...            integers; see kernels/vector.h

Splits are chosen by a few fields: each is an output's gradient, or where there are more outputs than a record has room
for, a random combination of all of them (random projections, Iosipoi and Vakhrushev 2022, "SketchBoost", NeurIPS), drawn
anew for each tree. All outputs share one hessian a row: the gradients of output k are divided by the square root of
c_k, the sum of its hessians as a share of the mean over outputs, and the shared hessian is the mean of h_k / c_k. Where
the hessians of an output are the same for all rows, the score of a leaf, sum_k G_k^2 / H_k, is exact then. Penalties
and the leaves' bounds of hessians are those of the shared hessian; l1 and max_delta_step count in leaf values only.

The values of leaves are Newton steps, output by output, from the full-precision sums of all rows.
"""

from libc.math cimport frexp, ldexp
from libc.stdint cimport int32_t, int64_t, uint8_t, uint32_t, uint64_t
from libc.stdlib cimport free, malloc
from libc.string cimport memset

import numpy as np

from boostgrad.native cimport (BG_VECTOR2, BG_VECTOR4, address_of, bg_category_order, bg_scan_result,
                               bg_scan_rule, bg_unsplit, bg_vector_result,
                               bg_vector_scratch, kernels, parallel_for)
from boostgrad.tree.records cimport RowRecords
from boostgrad.tree.splitter cimport Splitter, beats
from boostgrad.tree.structs cimport SplitChoice
from boostgrad.runtime import stream

# Rows a task lays down.
DEF ROWS_PER_TASK = 4096

# With so many rows fields are rounded at random: to the nearest, errors of many rows could add up.
DEF RANDOM_ROWS = 50000

# Integer sums of a field stay within so many bits, beside the sign.
DEF FIELD_BITS = 31

# Outputs up to so many have a field each; with more, so many fields are random combinations. Records of twice as many
# bytes did not lower the loss, see benchmarks/results/NOTES.md.
MOST_FIELDS = 6


def fields_for(int n_outputs):
    """How many fields gradients of so many outputs take."""
    return min(n_outputs, MOST_FIELDS)


cdef class GradientSketch:
    """The fields of all rows, as integers side by side.

    Parameters
    ----------
    n_rows, n_outputs, n_fields, n_threads : int
    """

    def __cinit__(self, int64_t n_rows, int n_outputs, int n_fields, int n_threads):
        cdef size_t address
        cdef double[::1] view
        self.k = kernels()
        self.n_rows = n_rows
        self.n_outputs = n_outputs
        self.n_fields = n_fields
        self.n_threads = n_threads
        self.lanes = 2 if n_fields <= 2 else 4
        self.count_bits = int(n_rows).bit_length()
        n_tasks = (n_rows + ROWS_PER_TASK - 1) // ROWS_PER_TASK
        fields = np.empty((n_fields + 1) * n_rows)
        sizes = np.empty((n_fields + 1) * n_tasks)
        records = np.empty(self.lanes * n_rows + 8, dtype=np.int64)
        self.scales = np.ones(n_fields + 1)
        self.hessian_sums = np.empty(n_outputs)
        self.held = (fields, sizes, records)
        view = fields
        self.fields = &view[0]
        view = sizes
        self.sizes = &view[0]
        address = <size_t> address_of(records)
        self.records = <int64_t *> ((address + 63) // 64 * 64)

    cdef int start_tree(self, const double *pairs, int width, double constant_hessian, uint64_t seed, int number,
                        object unit) except -1:
        """The fields of the tree with that number are of these gradients."""
        self.pairs = pairs
        self.width = width
        self.constant_hessian = constant_hessian
        self.weights = self.weights_of_tree(seed, number, unit)
        return 0

    cdef object weights_of_tree(self, uint64_t seed, int number, object unit):
        """What each field is a sum of, and behind that the hessian; shape (n_fields + 1, n_outputs)."""
        cdef int K = self.n_outputs, d = self.n_fields
        if self.width == 1:
            self.hessian_sums[:] = self.constant_hessian
        else:  # of all rows: those of a sample may happen to miss a target altogether
            with nogil:
                parallel_for(sum_output, <void *> self, K, self.n_threads)
        hessian = np.asarray(self.hessian_sums)
        share = hessian / max(hessian.mean(), 1e-300)
        scale = np.where(share > 1e-6, 1.0 / np.sqrt(np.maximum(share, 1e-6)), 0.0)
        weights = np.zeros((d + 1, K))
        weights[d] = scale**2 / K
        scale = scale / np.sqrt(unit)
        if d == K:
            np.fill_diagonal(weights, scale)
        else:
            weights[:d] = signs(seed, number, d, K) * scale / np.sqrt(d)
        return weights

    cdef void sum_hessians(self, int64_t output) noexcept nogil:
        cdef const double *pair = self.pairs + 2 * output * self.n_rows
        cdef double[4] sums
        cdef int64_t i, n = self.n_rows
        sums[0] = sums[1] = sums[2] = sums[3] = 0
        for i in range(n // 4):  # sums that do not wait for each other
            sums[0] += pair[8 * i + 1]
            sums[1] += pair[8 * i + 3]
            sums[2] += pair[8 * i + 5]
            sums[3] += pair[8 * i + 7]
        for i in range(n // 4 * 4, n):
            sums[0] += pair[2 * i + 1]
        self.hessian_sums[output] = (sums[0] + sums[1]) + (sums[2] + sums[3])

    cdef int lay_down(self, uint32_t seed, RowRecords records) except -1:
        """The records of a tree, of these pairs and weights."""
        cdef int64_t n_tasks = (self.n_rows + ROWS_PER_TASK - 1) // ROWS_PER_TASK, task
        cdef double size
        cdef int field, exponent, bits
        self.seed = seed
        with nogil:
            parallel_for(sketch_rows, <void *> self, n_tasks, self.n_threads)
        for field in range(self.n_fields + 1):
            size = 0
            for task in range(n_tasks):
                size += self.sizes[task * (self.n_fields + 1) + field]
            # rounding adds at most 1 a row: 2^bits (size + 1) + n_rows is less than the field holds
            bits = FIELD_BITS if field < self.n_fields else 62 - self.count_bits
            frexp(size, &exponent)
            bits = min(bits - 1 - exponent, 1000)
            self.scales[field] = ldexp(1.0, bits)
        with nogil:
            parallel_for(lay_rows, <void *> self, n_tasks, self.n_threads)
        records.packing.count_bits = self.count_bits
        records.compact = False
        records.kind = BG_VECTOR2 if self.lanes == 2 else BG_VECTOR4
        records.lanes = self.lanes
        records.numbers = <const char *> self.records
        records.number_bytes = self.lanes * sizeof(int64_t)
        return 0

    cdef void sketch(self, int64_t task) noexcept nogil:
        cdef int64_t first = task * ROWS_PER_TASK
        self.k.sketch_fields(self.pairs, self.n_rows, self.width, self.n_outputs, &self.weights[0, 0], self.n_fields,
                             self.constant_hessian, first, min(<int64_t> ROWS_PER_TASK, self.n_rows - first),
                             self.fields, self.sizes + task * (self.n_fields + 1))

    cdef void lay(self, int64_t task) noexcept nogil:
        cdef int64_t first = task * ROWS_PER_TASK
        self.k.lay_vectors(self.fields, self.n_rows, self.n_fields, self.lanes, &self.scales[0], self.count_bits,
                           self.n_rows >= RANDOM_ROWS, self.seed, first,
                           min(<int64_t> ROWS_PER_TASK, self.n_rows - first), self.records)

    cdef double variance(self) noexcept:
        """Of a field, on average over the fields, per hessian."""
        cdef int64_t i, step = self.n_rows // 65536 + 1
        cdef double squares = 0, hessian = 0
        cdef int field
        for i in range((self.n_rows + step - 1) // step):
            for field in range(self.n_fields):
                squares += self.fields[field * self.n_rows + i * step] * self.fields[field * self.n_rows + i * step]
            hessian += self.fields[self.n_fields * self.n_rows + i * step]
        return squares / self.n_fields / hessian if hessian > 0 else 0


cdef class VectorSplitter(Splitter):
    """Finds the best split of a node from histograms of several gradients.

    A categorical feature is searched along the direction in which its levels differ most, as if it was the only
    gradient; the set that is found is judged by all of them.

    Parameters
    ----------
    matrix, params, n_threads, categories : as of Splitter
    """

    def __init__(self, matrix, params, int n_threads, categories):
        cdef size_t n = int(matrix.n_codes.max())
        cdef size_t each
        cdef int64_t *at
        cdef int worker
        self.room = (n + 7) // 8 * 8 + 8
        each = 5 * self.room
        self.vector_scratch = <bg_vector_scratch *> malloc(n_threads * sizeof(bg_vector_scratch))
        self.vector_memory = <int64_t *> malloc(n_threads * each * sizeof(int64_t))
        self.projected = <int64_t *> malloc(n_threads * (2 * self.room + 8) * sizeof(int64_t))
        self.sets = <uint8_t *> malloc(n_threads * self.room)
        if (self.vector_scratch == NULL or self.vector_memory == NULL or self.projected == NULL or self.sets == NULL):
            raise MemoryError()
        for worker in range(n_threads):
            at = self.vector_memory + each * worker
            self.vector_scratch[worker].gain_bits = at
            self.vector_scratch[worker].sums = at + self.room  # of four lanes at most
            self.vector_scratch[worker].pitch = self.room
        self.vector_rule.l2 = params.l2_regularization
        self.vector_rule.min_child_weight = params.min_child_weight
        self.vector_rule.min_samples_leaf = params.min_samples_leaf
        # a projected histogram has an l2 alone, and is of wide records
        self.rule.plain = 1
        self.rule.wide = 1

    def __dealloc__(self):
        free(self.vector_scratch)
        free(self.vector_memory)
        free(self.projected)
        free(self.sets)

    cdef void start_vectors(self, GradientSketch sketch):
        """How the next histograms are packed."""
        cdef int field
        for field in range(sketch.n_fields):
            self.vector_rule.unit[field] = 1.0 / sketch.scales[field]
        self.vector_rule.hessian_unit = 1.0 / sketch.scales[sketch.n_fields]
        self.vector_rule.count_bits = self.rule.count_bits = sketch.count_bits
        self.vector_rule.n_fields = sketch.n_fields
        self.vector_rule.lanes = sketch.lanes
        self.rule.inverse_hessian_scale = self.vector_rule.hessian_unit

    cdef double hessian_sum(self, const int64_t *total) noexcept nogil:
        return <double> (total[self.vector_rule.lanes - 1] >> self.rule.count_bits) * self.vector_rule.hessian_unit

    cdef int64_t count(self, const int64_t *total) noexcept nogil:
        return total[self.vector_rule.lanes - 1] & ((<int64_t> 1 << self.rule.count_bits) - 1)

    cdef int gradient_sums(self, const int64_t *total, double *out) noexcept nogil:
        cdef int field
        cdef int64_t low
        for field in range(self.vector_rule.n_fields):
            low = <int32_t> <uint32_t> <uint64_t> total[field // 2]
            out[field] = <double> ((total[field // 2] - low) >> 32 if field % 2 else low) * self.vector_rule.unit[field]
        return self.vector_rule.n_fields

    cdef double node_score(self, const int64_t *total) noexcept nogil:
        return self.k.vector_score(total, &self.vector_rule)

    cdef void scan(self, const int64_t *hist, uint32_t n_codes, int feature, uint32_t rotation, const int64_t *total,
                   int worker, SplitChoice *best) noexcept nogil:
        cdef bg_vector_result found
        cdef uint32_t rank = (<uint32_t> feature + rotation) % <uint32_t> self.n_features
        cdef int lane
        if self.is_categorical[feature]:
            self.scan_set(hist, n_codes, feature, total, worker, &found)
        else:
            self.k.scan_vector(hist, n_codes, total, &self.vector_rule, &self.vector_scratch[worker], &found)
        if beats(found.gain, rank, best):
            best.score = found.gain
            for lane in range(self.vector_rule.lanes):
                best.left[lane] = found.left[lane]
            best.feature = feature
            best.code = found.code
            best.missing_left = found.missing_left
            best.rank = rank

    cdef void scan_set(self, const int64_t *hist, uint32_t n_codes, int feature, const int64_t *total, int worker,
                       bg_vector_result *out) noexcept nogil:
        """OUT out: as of a scan, for the best set of levels along one direction."""
        cdef bg_scan_result found
        cdef uint8_t *goes_left = self.sets + worker * self.room
        cdef int64_t right[4]
        cdef int lanes = self.vector_rule.lanes, lane
        cdef uint32_t code
        out.gain = 0
        out.code = 0
        self.search_set(hist, n_codes, feature, total, worker, &found, goes_left)
        out.missing_left = found.missing_left
        if found.gain <= 0:
            return
        memset(out.left, 0, sizeof(out.left))
        goes_left[0] = 1 if found.missing_left == 1 else 0
        for code in range(n_codes):
            if goes_left[code]:
                for lane in range(lanes):
                    out.left[lane] += hist[code * <size_t> lanes + lane]
        for lane in range(lanes):
            right[lane] = total[lane] - out.left[lane]
        out.gain = self.k.vector_score(out.left, &self.vector_rule) + self.k.vector_score(right, &self.vector_rule)

    cdef void search_set(self, const int64_t *hist, uint32_t n_codes, int feature, const int64_t *total, int worker,
                         bg_scan_result *found, uint8_t *goes_left) noexcept nogil:
        cdef int64_t *wide = self.projected + worker * (2 * self.room + 8)
        cdef int64_t *total_wide = wide + 2 * self.room
        cdef bg_scan_rule rule = self.rule
        rule.inverse_gradient_scale = self.k.project_vectors(hist, n_codes, total, &self.vector_rule, wide, total_wide)
        self.k.scan_categories(wide, n_codes, total_wide, &rule, self.rule_of(feature), &self.scratch[worker],
                               self.items + 2 * worker, found, goes_left)

    cdef void add_gains(self, const int64_t *hist, uint32_t n_codes, int feature, const bg_category_order *order,
                        const int64_t *total, int worker, double *right, double *left) noexcept nogil:
        """Of a categorical feature, the gains along the direction in which its levels differ most in the node."""
        cdef bg_unsplit node = self.unsplit(total)
        cdef int64_t *wide = self.projected + worker * (2 * self.room + 8)
        cdef int64_t *total_wide = wide + 2 * self.room
        cdef bg_scan_rule rule = self.rule
        cdef double gradient, curvature
        if not self.is_categorical[feature]:
            self.k.add_vector_gains(hist, n_codes, total, &self.vector_rule, &node, &self.vector_scratch[worker], right,
                                    left)
            return
        rule.inverse_gradient_scale = self.k.project_vectors(hist, n_codes, total, &self.vector_rule, wide, total_wide)
        gradient = <double> total_wide[0] * rule.inverse_gradient_scale
        curvature = self.hessian_sum(total) + rule.l2
        node.score = gradient * gradient / curvature if curvature > 0 else 0.0
        self.k.add_category_gains(wide, n_codes, total_wide, &rule, self.rule_of(feature), order, &node,
                                  &self.scratch[worker], right, left)

    cdef void order_categories(self, const int64_t *hist, uint32_t n_codes, int feature, const int64_t *total,
                               int worker, bg_category_order *order) noexcept nogil:
        cdef int64_t *wide = self.projected + worker * (2 * self.room + 8)
        cdef bg_scan_rule rule = self.rule
        rule.inverse_gradient_scale = self.k.project_vectors(hist, n_codes, total, &self.vector_rule, wide,
                                                             wide + 2 * self.room)
        self.k.order_categories(wide, n_codes, &rule, self.rule_of(feature), self.items + 2 * worker, order)

    cdef void find_set(self, const int64_t *hist, uint32_t n_codes, int feature, const int64_t *total,
                       uint8_t *goes_left) noexcept nogil:
        cdef bg_scan_result found
        self.search_set(hist, n_codes, feature, total, 0, &found, goes_left)


def signs(seed, number, d, n_outputs):
    """Random signs, shape (d, n_outputs), of the tree with that number."""
    rng = stream(seed, f"sketch {number}")
    return 2.0 * rng.integers(0, 2, size=(d, n_outputs)) - 1.0


cdef void sum_output(void *sketch, int64_t output, int worker) noexcept nogil:
    (<GradientSketch> sketch).sum_hessians(output)


cdef void sketch_rows(void *sketch, int64_t task, int worker) noexcept nogil:
    (<GradientSketch> sketch).sketch(task)


cdef void lay_rows(void *sketch, int64_t task, int worker) noexcept nogil:
    (<GradientSketch> sketch).lay(task)
