"""The C kernels, as the Cython rooms see them: cimport this, never link a kernel twice."""

from cpython.buffer cimport PyBUF_SIMPLE, PyBuffer_Release, PyObject_GetBuffer
from libc.stdint cimport int32_t, int64_t, uint8_t, uint16_t, uint32_t, uint64_t
from libc.stdlib cimport realloc

cdef extern from "kernels.h" nogil:
    uint64_t mix "bg_mix"(uint64_t x)

    ctypedef struct bg_packing:
        double gradient_scale
        double hessian_scale
        int count_bits

    int BG_WIDE, BG_CONSTANT, BG_NARROW, BG_SINGLE, BG_PAIRED, BG_COMPACT, BG_VECTOR2, BG_VECTOR4
    int BG_COMPACT_ROWS, BG_PAIRED_GRADIENT_BITS, BG_PAIRED_HESSIAN_BITS

    ctypedef struct bg_scan_rule:
        double inverse_gradient_scale
        double inverse_hessian_scale
        double l1
        double l2
        double max_delta_step
        double min_child_weight
        int64_t min_samples_leaf
        int count_bits
        int wide
        int plain

    ctypedef struct bg_scan_result:
        double gain
        int64_t left[2]
        uint32_t code
        int missing_left

    ctypedef struct bg_scan_scratch:
        int64_t *gradient
        int64_t *sums
        int64_t *gain_bits

    ctypedef struct bg_vector_rule:
        double unit[14]
        double hessian_unit
        double l2
        double min_child_weight
        int64_t min_samples_leaf
        int count_bits
        int n_fields
        int lanes

    ctypedef struct bg_vector_result:
        double gain
        int64_t left[4]
        uint32_t code
        int missing_left

    ctypedef struct bg_vector_scratch:
        int64_t *sums
        int64_t *gain_bits
        size_t pitch

    ctypedef struct bg_category_rule:
        double noise
        double extra_l2
        int64_t min_rows
        uint32_t few_levels

    ctypedef struct bg_unsplit:
        double score
        double least_gain
        double rounding

    ctypedef struct bg_category_order:
        uint64_t *codes
        size_t n
        int smoothed

    ctypedef struct bg_node:
        uint32_t slot
        uint16_t code
        uint16_t shift
        int32_t child[2]
        uint16_t first_left
        uint16_t end_left

    ctypedef struct bg_tree:
        const bg_node *nodes
        const double *values
        int32_t n_splits
        int32_t n_leaves
        int32_t output
        int32_t n_values
        int32_t in_planes

    int BG_RANK_PAIRS, BG_RANK_NDCG, BG_RANK_MAP, BG_RANK_SOFTMAX, BG_RANK_NEIGHBOURS, BG_RANK_NOISE_BITS

    ctypedef struct bg_ranking:
        const int64_t *begin
        const uint32_t *row
        const double *gain
        const double *discount
        const double *noise
        const double *query_factor
        const double *raw
        const double *weight
        double *pairs
        size_t n_top
        size_t n_draws
        uint64_t turn
        double steepness
        int kind
        int by_gap
        int normalise

    size_t BG_RANKING_SCRATCH(size_t)

    ctypedef void (*histogram_kernel "bg_histogram_kernel")(const char *, size_t, const char *, size_t, const uint32_t *,
                                                            size_t, size_t, bg_packing, int, size_t,
                                                            int64_t *) noexcept nogil
    ctypedef size_t (*partition_kernel "bg_partition_kernel")(const void *, uint32_t, uint32_t, const uint32_t *, size_t,
                                        size_t, uint32_t *) noexcept nogil
    ctypedef void (*predict_kernel "bg_predict_kernel")(const bg_tree *, size_t, const void *, size_t, size_t, double *,
                                    size_t) noexcept nogil
    ctypedef void (*leaves_kernel "bg_leaves_kernel")(const bg_tree *, const void *, size_t, size_t, int32_t *, size_t) noexcept nogil
    ctypedef void (*pointwise_kernel "bg_pointwise_kernel")(const double *, const double *, const double *, size_t, double *,
                                      double *) noexcept nogil

    ctypedef void (*outputs_kernel "bg_outputs_kernel")(const double *, const double *, const double *, size_t, size_t, int,
                                    double *, double *) noexcept nogil
    ctypedef void (*sparse_kernel "bg_sparse_kernel")(const uint32_t *, const uint16_t *, size_t, const int64_t *, int64_t *,
                                      int64_t *) noexcept nogil
    ctypedef size_t (*table_partition_kernel "bg_table_partition_kernel")(const void *, const uint8_t *, const uint32_t *, size_t,
                                              size_t, uint32_t *) noexcept nogil
    ctypedef void (*sides_kernel "bg_sides_kernel")(const uint8_t *, size_t, const uint32_t *, size_t, size_t, void *, size_t) noexcept nogil

    int BG_ABSOLUTE_ERROR, BG_QUANTILE, BG_RELATIVE_ERROR, BG_HUBER, BG_FAIR, BG_LOG_COSH, BG_EXPECTILE, BG_POISSON
    int BG_GAMMA, BG_TWEEDIE, BG_FOCAL
    int BG_SUM_SQUARED_ERROR, BG_SUM_ABSOLUTE_ERROR, BG_SUM_QUANTILE, BG_SUM_HUBER, BG_SUM_EXPECTILE, BG_SUM_POISSON
    int BG_MOST_SORTED, BG_SUM_GAMMA, BG_SUM_TWEEDIE, BG_SUM_BINARY_LOG_LOSS, BG_SUM_MULTINOMIAL_LOG_LOSS, BG_SUM_QUANTILES
    int BG_SUM_NORMAL_NLL, BG_SUM_GAMMA_NLL
    ctypedef double (*sum_kernel "bg_sum_kernel")(const double *, const double *, const double *, size_t, size_t, int,
                                                  const double *) noexcept nogil
    ctypedef void (*parametric_kernel "bg_parametric_kernel")(const double *, const double *, const double *, size_t, double, int,
                                                              double *, double *) noexcept nogil

    ctypedef struct bg_kernels:
        const char *name
        histogram_kernel histogram[9][2]
        void (*unpack_compact)(int64_t *, size_t, int, int, int64_t *) noexcept nogil
        int (*quantize_pairs)(const double *, size_t, size_t, uint32_t, bg_packing, char *, size_t) noexcept nogil
        void (*quantize_gradients)(const double *, size_t, size_t, bg_packing, char *, size_t) noexcept nogil
        void (*add)(int64_t *, const int64_t *, size_t) noexcept nogil
        void (*subtract)(int64_t *, const int64_t *, size_t) noexcept nogil
        void (*lay_records)(int, const char *, size_t, bg_packing, size_t, size_t, int64_t *) noexcept nogil
        sparse_kernel sparse_wide
        sparse_kernel sparse_narrow
        sparse_kernel sparse_vector
        size_t (*sparse_part)(const uint32_t *, const uint16_t *, size_t, const uint32_t *, uint32_t, uint32_t *,
                              uint16_t *, uint32_t *, uint16_t *) noexcept nogil
        void (*scan)(const int64_t *, uint32_t, const int64_t *, const bg_scan_rule *, bg_scan_scratch *,
                     bg_scan_result *) noexcept nogil
        partition_kernel partition_u8
        partition_kernel partition_u16
        void (*search_f32)(const float *, size_t, const float *, uint32_t, uint16_t *) noexcept nogil
        void (*search_f64)(const double *, size_t, const double *, uint32_t, uint16_t *) noexcept nogil
        pointwise_kernel squared_error
        pointwise_kernel binary_log_loss
        outputs_kernel multinomial_log_loss
        outputs_kernel normal_nll
        outputs_kernel gamma_nll
        void (*softmax_sums)(const double *, size_t, size_t, int, double *, double *) noexcept nogil
        void (*softmax)(const double *, size_t, size_t, int, double *) noexcept nogil
        parametric_kernel pointwise[11]
        sum_kernel sum_of_losses[13]
        void (*weigh_by_root)(double *, const double *, size_t, double, double *) noexcept nogil
        void (*exponential)(double *, size_t) noexcept nogil
        void (*rank_query)(const bg_ranking *, size_t, double *, double *) noexcept nogil
        double (*value_query)(const bg_ranking *, size_t, double *) noexcept nogil
        predict_kernel predict_u8
        predict_kernel predict_u16
        leaves_kernel leaves_u8
        leaves_kernel leaves_u16
        void (*scan_categories)(const int64_t *, uint32_t, const int64_t *, const bg_scan_rule *,
                                const bg_category_rule *, bg_scan_scratch *, uint64_t **, bg_scan_result *,
                                uint8_t *) noexcept nogil
        table_partition_kernel partition_table_u8
        table_partition_kernel partition_table_u16
        sides_kernel sides_u8
        sides_kernel sides_u16
        void (*sketch_fields)(const double *, size_t, int, int, const double *, int, double, size_t, size_t, double *,
                              double *) noexcept nogil
        void (*lay_vectors)(const double *, size_t, int, int, const double *, int, int, uint32_t, size_t, size_t,
                            int64_t *) noexcept nogil
        double (*vector_score)(const int64_t *, const bg_vector_rule *) noexcept nogil
        void (*scan_vector)(const int64_t *, uint32_t, const int64_t *, const bg_vector_rule *, bg_vector_scratch *,
                            bg_vector_result *) noexcept nogil
        double (*project_vectors)(const int64_t *, uint32_t, const int64_t *, const bg_vector_rule *, int64_t *,
                                  int64_t *) noexcept nogil
        void (*add_gains)(const int64_t *, uint32_t, const int64_t *, const bg_scan_rule *, const bg_unsplit *,
                          bg_scan_scratch *, double *, double *) noexcept nogil
        void (*add_category_gains)(const int64_t *, uint32_t, const int64_t *, const bg_scan_rule *,
                                   const bg_category_rule *, const bg_category_order *, const bg_unsplit *,
                                   bg_scan_scratch *, double *, double *) noexcept nogil
        void (*add_vector_gains)(const int64_t *, uint32_t, const int64_t *, const bg_vector_rule *, const bg_unsplit *,
                                 bg_vector_scratch *, double *, double *) noexcept nogil
        void (*order_categories)(const int64_t *, uint32_t, const bg_scan_rule *, const bg_category_rule *,
                                 uint64_t **, bg_category_order *) noexcept nogil

    ctypedef void (*bg_task)(void *, int64_t, int) noexcept nogil
    const bg_kernels *bg_select(const char *)
    void bg_parallel_for(bg_task, void *, int64_t, int)
    const char *bg_threading()
    int BG_PREDICT_BLOCK

cdef const bg_kernels *kernels() noexcept nogil
cdef void parallel_for(bg_task task, void *context, int64_t n_chunks, int n_threads) noexcept nogil


cdef inline void *address_of(array) except? NULL:
    """Where a contiguous array begins; for as long as somebody holds it. Far cheaper than a typed view of it."""
    cdef Py_buffer buffer
    PyObject_GetBuffer(array, &buffer, PyBUF_SIMPLE)
    PyBuffer_Release(&buffer)
    return buffer.buf


cdef inline int resize(void **memory, size_t n_bytes) noexcept nogil:
    """Make a piece of memory, NULL or realloc's, so many bytes. Returns -1 without memory; the old piece stays then."""
    cdef void *moved = realloc(memory[0], n_bytes)
    if moved == NULL and n_bytes > 0:
        return -1
    memory[0] = moved
    return 0
