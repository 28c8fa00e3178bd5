/* All kernels of one instruction set; see kernels.h for what they compute. Included once per isa_*.c. */
#include "kernels.h"
#include <math.h>
#include <string.h>

#define BG_JOIN_(a, b) a##b
#define BG_JOIN(a, b) BG_JOIN_(a, b)
#define BG_TEXT_(a) #a
#define BG_TEXT(a) BG_TEXT_(a)

#include "quantize.h"
#include "histogram.h"
#include "sparse.h"
#include "scan.h"
#include "partition.h"
#include "categories.h"
#include "vector.h"
#include "level.h"
#include "search.h"
#include "losses.h"
#include "ranking.h"
#include "pointwise.h"
#include "values.h"
#include "predict.h"

const bg_kernels BG_JOIN(bg_kernels_, BG_ISA) = {
    .name = BG_TEXT(BG_ISA),
    .histogram = {[BG_WIDE] = {histogram_wide_u8, histogram_wide_u16},
                  [BG_CONSTANT] = {histogram_constant_u8, histogram_constant_u16},
                  [BG_NARROW] = {histogram_narrow_u8, histogram_narrow_u16},
                  [BG_SINGLE] = {histogram_single_u8, histogram_single_u16},
                  [BG_PAIRED] = {histogram_paired_u8, histogram_paired_u16},
                  [BG_COMPACT] = {histogram_compact_u8, histogram_compact_u16},
                  [BG_VECTOR2] = {histogram_vector2_u8, histogram_vector2_u16},
                  [BG_VECTOR4] = {histogram_vector4_u8, histogram_vector4_u16}},
    .unpack_compact = unpack_compact,
    .quantize_pairs = quantize_pairs,
    .quantize_gradients = quantize_gradients,
    .add = add_records,
    .subtract = subtract_records,
    .lay_records = lay_records,
    .sparse_wide = sparse_wide,
    .sparse_narrow = sparse_narrow,
    .sparse_vector = sparse_vector,
    .sparse_part = sparse_part,
    .scan = scan,
    .partition_u8 = partition_u8,
    .partition_u16 = partition_u16,
    .search_f32 = search_f32,
    .search_f64 = search_f64,
    .squared_error = squared_error,
    .binary_log_loss = binary_log_loss,
    .multinomial_log_loss = multinomial_log_loss,
    .normal_nll = normal_nll,
    .gamma_nll = gamma_nll,
    .softmax_sums = softmax_sums,
    .softmax = softmax,
    .pointwise = {[BG_ABSOLUTE_ERROR] = absolute_error,
                  [BG_QUANTILE] = quantile,
                  [BG_RELATIVE_ERROR] = relative_error,
                  [BG_HUBER] = huber,
                  [BG_FAIR] = fair,
                  [BG_LOG_COSH] = log_cosh,
                  [BG_EXPECTILE] = expectile,
                  [BG_POISSON] = poisson,
                  [BG_GAMMA] = gamma_loss,
                  [BG_TWEEDIE] = tweedie,
                  [BG_FOCAL] = focal},
    .sum_of_losses = {[BG_SUM_SQUARED_ERROR] = sum_of_squared_error,
                      [BG_SUM_ABSOLUTE_ERROR] = sum_of_absolute_error,
                      [BG_SUM_QUANTILE] = sum_of_quantile,
                      [BG_SUM_HUBER] = sum_of_huber,
                      [BG_SUM_EXPECTILE] = sum_of_expectile,
                      [BG_SUM_POISSON] = sum_of_poisson,
                      [BG_SUM_GAMMA] = sum_of_gamma,
                      [BG_SUM_TWEEDIE] = sum_of_tweedie,
                      [BG_SUM_BINARY_LOG_LOSS] = sum_of_binary_log_loss,
                      [BG_SUM_MULTINOMIAL_LOG_LOSS] = sum_of_multinomial_log_loss,
                      [BG_SUM_QUANTILES] = sum_of_quantiles,
                      [BG_SUM_NORMAL_NLL] = sum_of_normal_nll,
                      [BG_SUM_GAMMA_NLL] = sum_of_gamma_nll},
    .weigh_by_root = weigh_by_root,
    .exponential = exponential,
    .rank_query = rank_query,
    .value_query = value_query,
    .predict_u8 = predict_u8,
    .predict_u16 = predict_u16,
    .leaves_u8 = leaves_u8,
    .leaves_u16 = leaves_u16,
    .scan_categories = scan_categories,
    .partition_table_u8 = partition_table_u8,
    .partition_table_u16 = partition_table_u16,
    .sides_u8 = sides_u8,
    .sides_u16 = sides_u16,
    .sketch_fields = sketch_fields,
    .lay_vectors = lay_vectors,
    .vector_score = vector_score,
    .scan_vector = scan_vector,
    .project_vectors = project_vectors,
    .add_gains = add_gains,
    .add_category_gains = add_category_gains,
    .add_vector_gains = add_vector_gains,
    .order_categories = order_categories,
};
