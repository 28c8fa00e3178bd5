/* All kernels of one instruction set; see kernels.h for what they compute. Included once per isa_*.c. */
#include "kernels.h"
#include <math.h>
#include <string.h>

#define BG_JOIN_(a, b) a##b
#define BG_JOIN(a, b) BG_JOIN_(a, b)
#define BG_TEXT_(a) #a
#define BG_TEXT(a) BG_TEXT_(a)

#define PREFETCH_ROWS 16

#include "histogram.h"
#include "scan.h"
#include "partition.h"
#include "categories.h"
#include "search.h"
#include "losses.h"
#include "predict.h"

const bg_kernels BG_JOIN(bg_kernels_, BG_ISA) = {
    .name = BG_TEXT(BG_ISA),
    .histogram_wide_u8 = histogram_wide_u8,
    .histogram_wide_u16 = histogram_wide_u16,
    .histogram_constant_u8 = histogram_constant_u8,
    .histogram_constant_u16 = histogram_constant_u16,
    .histogram_narrow_u8 = histogram_narrow_u8,
    .histogram_narrow_u16 = histogram_narrow_u16,
    .add = add_records,
    .subtract = subtract_records,
    .scan = scan,
    .partition_u8 = partition_u8,
    .partition_u16 = partition_u16,
    .search_f32 = search_f32,
    .search_f64 = search_f64,
    .squared_error = squared_error,
    .binary_log_loss = binary_log_loss,
    .multinomial_log_loss = multinomial_log_loss,
    .exponential = exponential,
    .predict_u8 = predict_u8,
    .predict_u16 = predict_u16,
    .leaves_u8 = leaves_u8,
    .leaves_u16 = leaves_u16,
    .scan_categories = scan_categories,
    .partition_table_u8 = partition_table_u8,
    .partition_table_u16 = partition_table_u16,
    .sides_u8 = sides_u8,
    .sides_u16 = sides_u16,
};
