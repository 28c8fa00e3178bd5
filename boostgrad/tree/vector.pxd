from libc.stdint cimport int64_t, uint8_t, uint32_t, uint64_t

from boostgrad.native cimport bg_kernels, bg_scan_result, bg_vector_result, bg_vector_rule, bg_vector_scratch
from boostgrad.tree.records cimport RowRecords
from boostgrad.tree.splitter cimport Splitter


cdef class GradientSketch:
    cdef const bg_kernels *k
    cdef readonly int n_outputs, n_fields, lanes
    cdef int n_threads
    cdef int64_t n_rows
    cdef object held
    cdef double *fields        # n_fields of them and the hessian, n_rows each
    cdef double *sizes         # sums of absolute values, task by task
    cdef int64_t *records      # lanes a row
    cdef double[::1] scales    # of the fields, and of the hessian
    cdef double[::1] hessian_sums  # of the outputs
    cdef const double *pairs   # of the tree
    cdef int width, count_bits
    cdef double constant_hessian
    cdef double[:, ::1] weights  # (n_fields + 1, n_outputs): what each field is a sum of, and behind that the hessian
    cdef uint32_t seed

    cdef int start_tree(self, const double *pairs, int width, double constant_hessian, uint64_t seed, int number,
                        object unit) except -1
    cdef object weights_of_tree(self, uint64_t seed, int number, object unit)
    cdef void sum_hessians(self, int64_t output) noexcept nogil
    cdef int lay_down(self, uint32_t seed, RowRecords records) except -1
    cdef void sketch(self, int64_t task) noexcept nogil
    cdef void lay(self, int64_t task) noexcept nogil
    cdef double variance(self) noexcept


cdef class VectorSplitter(Splitter):
    cdef bg_vector_rule vector_rule
    cdef bg_vector_scratch *vector_scratch
    cdef int64_t *vector_memory
    cdef int64_t *projected    # a worker: wide records of a categorical feature and of the node
    cdef size_t room
    cdef uint8_t *sets   # a worker: which levels go left

    cdef void start_vectors(self, GradientSketch sketch)
    cdef void scan_set(self, const int64_t *hist, uint32_t n_codes, int feature, const int64_t *total, int worker,
                       bg_vector_result *out) noexcept nogil
    cdef void search_set(self, const int64_t *hist, uint32_t n_codes, int feature, const int64_t *total, int worker,
                         bg_scan_result *found, uint8_t *goes_left) noexcept nogil
