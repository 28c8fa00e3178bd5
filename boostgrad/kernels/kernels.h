/* The inner loops, as a table of functions: body.h is compiled once per instruction set and each compilation fills one
 * table; bg_select() hands out the best that the processor has, or the one that the caller names.
 *
 * Every table computes the same bits: sums that decide a split are integers, and floating point is used element by
 * element in one written order (build with -ffp-contract=off).
 *
 * Codes. A value's code is 0 where it is missing and 1 + its bin otherwise, so one unsigned comparison is the go-left
 * rule for both directions of the missing values, with s = 0 where missing goes left and s = 1 where it goes right:
 *
 *     code - s <= t - s   (unsigned, wraps)         codes   0 | 1  2 ... t | t+1 ... n
 *                                                     missing |<- left -->| right
 */
#ifndef BOOSTGRAD_KERNELS_H
#define BOOSTGRAD_KERNELS_H

#include <stddef.h>
#include <stdint.h>

/* A number that looks random for each x (splitmix64, Steele, Lea and Flood 2014). */
static inline uint64_t bg_mix(uint64_t x)
{
    x += 0x9e3779b97f4a7c15u;
    x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9u;
    x = (x ^ (x >> 27)) * 0x94d049bb133111ebu;
    return x ^ (x >> 31);
}

/* How gradients become integers and how one histogram record is packed.
 *
 *   wide    16 bytes, two lanes:  [ gradient : 64 ] [ hessian : 64 - count_bits | count : count_bits ]
 *   narrow   8 bytes, one lane:   [ gradient : 64 - count_bits | count : count_bits ]     constant hessian
 *   compact  8 bytes, one lane:   [ gradient : 27 | hessian : 25 | count : 12 ]
 *            sums of at most BG_COMPACT_ROWS rows, soon added to wide ones
 *
 * The scales are powers of two chosen so that no sum over all rows leaves its field. */
typedef struct {
    double gradient_scale;
    double hessian_scale;
    int count_bits;
} bg_packing;

#define BG_COMPACT_HESSIAN 12  /* where the hessian's field begins */
#define BG_COMPACT_GRADIENT 37 /* and the gradient's */
#define BG_COMPACT_ROWS 4064
/* Bits of one row's numbers: 4064 of them fill no more than the field. */
#define BG_PAIRED_GRADIENT_BITS 14 /* beside the sign */
#define BG_PAIRED_HESSIAN_BITS 13

/* What a histogram is made from, and which records it makes. */
enum {
    BG_WIDE,     /* double gradient and hessian -> wide */
    BG_CONSTANT, /* double gradient -> wide; the constant hessian counts as 1 */
    BG_NARROW,   /* double gradient -> narrow */
    BG_SINGLE,   /* gradient of 32 bits -> narrow */
    BG_PAIRED,   /* gradient and hessian of 16 bits -> wide */
    BG_COMPACT,  /* the same -> compact */
    BG_VECTOR2,  /* records of two lanes, as vector.h has them -> their sums */
    BG_VECTOR4,  /* of four */
    BG_HISTOGRAM_KINDS
};

/* What the split scan needs to know beside the histogram. */
typedef struct {
    double inverse_gradient_scale; /* integer sums times these are the sums */
    double inverse_hessian_scale;  /* narrow: the constant hessian */
    double l1, l2, max_delta_step;
    double min_child_weight;
    int64_t min_samples_leaf;
    int count_bits;
    int wide;
    int plain; /* l1 == 0 and max_delta_step == 0 */
} bg_scan_rule;

typedef struct {
    double gain;      /* score(left) + score(right); 0: no admissible split */
    int64_t left[2];  /* packed sums of the left child */
    uint32_t code;    /* t of the go-left rule */
    int missing_left; /* -1: no missing value in the node */
} bg_scan_result;

/* Scratch of one scan; each array holds n_codes + 8 entries. */
typedef struct {
    int64_t *gradient, *sums, *gain_bits;
} bg_scan_scratch;

/* The same for records of several gradients; see vector.h. */
#define BG_VECTOR_FIELDS 6 /* gradients of a record at most */
#define BG_VECTOR_LANES 4

typedef struct {
    double unit[BG_VECTOR_FIELDS]; /* integer sums times these are the sums */
    double hessian_unit;
    double l2, min_child_weight;
    int64_t min_samples_leaf;
    int count_bits, n_fields, lanes;
} bg_vector_rule;

typedef struct {
    double gain;
    int64_t left[BG_VECTOR_LANES];
    uint32_t code;
    int missing_left;
} bg_vector_result;

/* Arrays of n_codes entries; sums: one a lane, pitch apart. */
typedef struct {
    int64_t *sums, *gain_bits;
    size_t pitch;
} bg_vector_scratch;

/* How splits of categorical features are kept from following noise; see categories.h. */
typedef struct {
    double noise;        /* variance of a gradient per hessian, as far as it counts */
    double extra_l2;     /* of the children, beside that of the rule */
    int64_t min_rows;    /* a level of fewer rows in the node is pooled with the rest */
    uint32_t few_levels; /* a node with at most so many levels is split without any of these */
} bg_category_rule;

/* What a node is worth that is not split, and what a split must add: more than least_gain, and than this share of the
 * children's scores. */
typedef struct {
    double score, least_gain, rounding;
} bg_unsplit;

/* In what order a level's nodes take the levels of a categorical feature; see level.h. */
typedef struct {
    uint64_t *codes; /* n_codes: the rest */
    size_t n;
    int smoothed;
} bg_category_order;

/* One tree as the predictor reads it: splits as in boostgrad.tree.model, thresholds as codes. */
typedef struct {
    uint32_t slot;         /* which column of codes */
    uint16_t code, shift;  /* t - s and s of the go-left rule */
    int32_t child[2];      /* right, left */
    uint16_t first_left, end_left; /* leaves below the left child, where the tree is kept in planes */
} bg_node;

typedef struct {
    const bg_node *nodes;
    const double *values; /* of all leaves for the first output, then for the second ... */
    int32_t n_splits, n_leaves, output; /* the first output that the tree adds to ... */
    int32_t n_values;                   /* ... and how many */
    int32_t in_planes; /* leaves are numbered from left to right, and are at most 256 */
} bg_tree;

/* Which pairs of documents a ranking loss compares, and what a pair is worth; see ranking.h. */
enum { BG_RANK_PAIRS, BG_RANK_NDCG, BG_RANK_MAP, BG_RANK_SOFTMAX, BG_RANK_NEIGHBOURS };

/* Noise of scores is one of so many numbers. */
#define BG_RANK_NOISE_BITS 12

/* A ranking loss at the current scores. Places are rows in the order of their queries:
 *
 *   begin    0           4       6      first place of each query, and the end of the last
 *   row    [ 7 3 9 4   | 0 1   | 2 5 6 8 ]
 *   gain   [ 3 0 0 1   | 7 0   | 0 0 0 0 ] */
typedef struct {
    const int64_t *begin;
    const uint32_t *row;
    const double *gain;
    const double *discount;     /* by rank from 0, as many as the longest query has rows */
    const double *noise;        /* what is added to scores at random, 1 << BG_RANK_NOISE_BITS numbers; or NULL */
    const double *query_factor; /* all pairs of a query times this; 0: it says nothing */
    const double *raw, *weight; /* by row; weight may be NULL */
    double *pairs;              /* OUT: gradient and hessian by row */
    size_t n_top;               /* of a pair one document at least is among so many first ones */
    size_t n_draws;             /* of orders at random ... */
    uint64_t turn;              /* ... which are others in each turn */
    double steepness;           /* of the sigmoid */
    int kind, by_gap, normalise;
} bg_ranking;

/* Doubles of scratch for a query of n rows. */
#define BG_RANKING_SCRATCH(n) (10 * (n) + 8)

typedef void (*bg_histogram_kernel)(const char *codes, size_t row_bytes, const char *numbers, size_t number_bytes,
                                    const uint32_t *rows, size_t begin, size_t n, bg_packing packing, int n_features,
                                    size_t stride, int64_t *hist);

typedef void (*bg_sparse_kernel)(const uint32_t *rows, const uint16_t *codes, size_t n, const int64_t *records,
                                 int64_t *hist, int64_t *sum);
typedef size_t (*bg_partition_kernel)(const void *column, uint32_t code, uint32_t shift, const uint32_t *rows,
                                      size_t begin, size_t n, uint32_t *to);
typedef size_t (*bg_table_partition_kernel)(const void *column, const uint8_t *goes_left, const uint32_t *rows,
                                            size_t begin, size_t n, uint32_t *to);
typedef void (*bg_sides_kernel)(const uint8_t *sides, size_t side_bytes, const uint32_t *codes, size_t n,
                                size_t n_splits, void *columns, size_t pitch);
typedef void (*bg_pointwise_kernel)(const double *y, const double *raw, const double *weight, size_t n, double *pairs,
                                    double *largest);
typedef void (*bg_outputs_kernel)(const double *y, const double *raw, const double *weight, size_t n, size_t pitch,
                                  int n_outputs, double *pairs, double *largest);
/* The losses of pointwise.h. */
enum {
    BG_ABSOLUTE_ERROR,
    BG_QUANTILE,
    BG_RELATIVE_ERROR,
    BG_HUBER,
    BG_FAIR,
    BG_LOG_COSH,
    BG_EXPECTILE,
    BG_POISSON,
    BG_GAMMA,
    BG_TWEEDIE,
    BG_FOCAL,
    BG_POINTWISE_LOSSES
};
typedef void (*bg_parametric_kernel)(const double *y, const double *raw, const double *weight, size_t n,
                                     double parameter, int width, double *pairs, double *largest);
/* The losses of values.h. */
enum {
    BG_SUM_SQUARED_ERROR,
    BG_SUM_ABSOLUTE_ERROR,
    BG_SUM_QUANTILE,
    BG_SUM_HUBER,
    BG_SUM_EXPECTILE,
    BG_SUM_POISSON,
    BG_SUM_GAMMA,
    BG_SUM_TWEEDIE,
    BG_SUM_BINARY_LOG_LOSS,
    BG_SUM_MULTINOMIAL_LOG_LOSS,
    BG_SUM_QUANTILES,
    BG_SUM_NORMAL_NLL,
    BG_SUM_GAMMA_NLL,
    BG_SUMMED_LOSSES
};
#define BG_MOST_SORTED 32
typedef double (*bg_sum_kernel)(const double *y, const double *raw, const double *weight, size_t n, size_t pitch,
                                int n_outputs, const double *parameters);
typedef void (*bg_predict_kernel)(const bg_tree *trees, size_t n_trees, const void *codes, size_t code_pitch, size_t n,
                                  double *raw, size_t raw_pitch);
typedef void (*bg_leaves_kernel)(const bg_tree *tree, const void *codes, size_t code_pitch, size_t n, int32_t *out,
                                 size_t out_pitch);

typedef struct {
    const char *name;

    /* hist[stride * f + code] += record(row) for all rows; rows == NULL: rows begin .. begin + n.
     * IN  codes: those of row 0; the next row's are row_bytes further. numbers: likewise, as the kind has them.
     * [kind][0: codes of 8 bits, 1: of 16 bits] */
    bg_histogram_kernel histogram[BG_HISTOGRAM_KINDS][2];
    /* OUT to: wide records, += compact, or = compact where they are fresh; OUT compact = 0 */
    void (*unpack_compact)(int64_t *compact, size_t n, int count_bits, int fresh, int64_t *to);
    /* OUT numbers: those of rows first .. first + n. Returns whether any hessian is negative. */
    int (*quantize_pairs)(const double *pairs, size_t first, size_t n, uint32_t seed, bg_packing packing, char *numbers,
                          size_t number_bytes);
    void (*quantize_gradients)(const double *gradients, size_t first, size_t n, bg_packing packing, char *numbers,
                               size_t number_bytes);
    /* OUT to[i] += from[i]; OUT to[i] -= from[i] */
    void (*add)(int64_t *to, const int64_t *from, size_t n);
    void (*subtract)(int64_t *to, const int64_t *from, size_t n);

    /* Sparse columns, see sparse.h. */
    void (*lay_records)(int kind, const char *numbers, size_t number_bytes, bg_packing packing, size_t first, size_t n,
                        int64_t *records);
    bg_sparse_kernel sparse_wide, sparse_narrow, sparse_vector;
    size_t (*sparse_part)(const uint32_t *rows, const uint16_t *codes, size_t n, const uint32_t *owner_of,
                          uint32_t owner, uint32_t *to_rows, uint16_t *to_codes, uint32_t *left_rows,
                          uint16_t *left_codes);

    /* Best split of one feature. IN hist: n_codes records; total: packed sums of the node; out->gain: lower gains are
     * not wanted and reported as 0. */
    void (*scan)(const int64_t *hist, uint32_t n_codes, const int64_t *total, const bg_scan_rule *rule,
                 bg_scan_scratch *scratch, bg_scan_result *out);

    /* Rows that go left fill OUT to from its front, in order; the others fill it from its back, last one first.
     * rows == NULL: rows begin .. begin + n. Returns the number that went left. */
    bg_partition_kernel partition_u8, partition_u16;

    /* OUT codes[i] = 0 where x[i] is NaN, else 1 + #(edges < x[i]); edges are padded with +inf to size, a power of
     * two above their number. */
    void (*search_f32)(const float *x, size_t n, const float *edges, uint32_t size, uint16_t *codes);
    void (*search_f64)(const double *x, size_t n, const double *edges, uint32_t size, uint16_t *codes);

    /* OUT pairs. y, raw, weight (or NULL): n values each, or n_outputs rows of them `pitch` apart.
     * OUT largest: max |gradient|, max hessian (raised, never lowered); of distributions, of each output. */
    bg_pointwise_kernel squared_error, binary_log_loss;
    bg_outputs_kernel multinomial_log_loss, normal_nll, gamma_nll;
    /* OUT top, sum: max_k raw_k and sum_k exp(raw_k - top) of each row. OUT p: softmax, row by row. */
    void (*softmax_sums)(const double *raw, size_t n, size_t pitch, int n_outputs, double *top, double *sum);
    void (*softmax)(const double *raw, size_t n, size_t pitch, int n_outputs, double *p);
    /* the same as of one output, with pairs of `width` numbers: where that is 1, the hessian is not stored */
    bg_parametric_kernel pointwise[BG_POINTWISE_LOSSES];
    /* The sum of the losses, times the weights; there is a parameter, whether it counts or not */
    bg_sum_kernel sum_of_losses[BG_SUMMED_LOSSES];
    /* OUT pairs: each divided by the geometric mean of unit and its hessian per weight; weight may be NULL. OUT
     * largest as above. */
    void (*weigh_by_root)(double *pairs, const double *weight, size_t n, double unit, double *largest);
    void (*exponential)(double *x, size_t n);
    /* See ranking.h. */
    void (*rank_query)(const bg_ranking *ranking, size_t query, double *scratch, double *largest);
    double (*value_query)(const bg_ranking *ranking, size_t query, double *scratch);

    /* OUT raw[output * pitch + i] += value of the leaf that row i reaches; codes: column by column, code_pitch apart,
     * readable for 64 codes past the last one; n <= BG_PREDICT_BLOCK. */
    bg_predict_kernel predict_u8, predict_u16;
    bg_leaves_kernel leaves_u8, leaves_u16;

    /* Best split of one categorical feature: as scan, with two pieces of scratch of n_codes + 1 items.
     * OUT goes_left, or NULL: for each code but 0 whether it goes left; a code without rows does not. */
    void (*scan_categories)(const int64_t *hist, uint32_t n_codes, const int64_t *total, const bg_scan_rule *rule,
                            const bg_category_rule *categories, bg_scan_scratch *scratch, uint64_t *const items[2],
                            bg_scan_result *out, uint8_t *goes_left);
    /* As partition, by a byte a code. */
    bg_table_partition_kernel partition_table_u8, partition_table_u16;
    /* OUT columns: for each split, 0 where a row of this code goes left and 1 where it goes right. */
    bg_sides_kernel sides_u8, sides_u16;

    /* Trees with vector leaves; see vector.h. */
    void (*sketch_fields)(const double *pairs, size_t n_rows, int width, int n_outputs, const double *weights,
                          int n_fields, double constant_hessian, size_t first, size_t n, double *fields, double *sizes);
    void (*lay_vectors)(const double *fields, size_t n_rows, int n_fields, int lanes, const double *scales,
                        int count_bits, int at_random, uint32_t seed, size_t first, size_t n, int64_t *records);
    double (*vector_score)(const int64_t *record, const bg_vector_rule *rule);
    void (*scan_vector)(const int64_t *hist, uint32_t n_codes, const int64_t *total, const bg_vector_rule *rule,
                        bg_vector_scratch *scratch, bg_vector_result *out);
    double (*project_vectors)(const int64_t *hist, uint32_t n_codes, const int64_t *total, const bg_vector_rule *rule,
                              int64_t *wide, int64_t *total_wide);

    /* Nodes that are split alike; see level.h. OUT right, left: += gains of the splits after each code but 0 (of the
     * sets of the first entries, for a categorical feature), missing values to the right, and to the left unless that
     * is NULL. */
    void (*add_gains)(const int64_t *hist, uint32_t n_codes, const int64_t *total, const bg_scan_rule *rule,
                      const bg_unsplit *node, bg_scan_scratch *scratch, double *right, double *left);
    void (*add_category_gains)(const int64_t *hist, uint32_t n_codes, const int64_t *total, const bg_scan_rule *rule,
                               const bg_category_rule *categories, const bg_category_order *order,
                               const bg_unsplit *node, bg_scan_scratch *scratch, double *right, double *left);
    void (*add_vector_gains)(const int64_t *hist, uint32_t n_codes, const int64_t *total, const bg_vector_rule *rule,
                             const bg_unsplit *node, bg_vector_scratch *scratch, double *right, double *left);
    /* OUT order: n_codes + 1 entries at most; with two pieces of scratch as of scan_categories. */
    void (*order_categories)(const int64_t *hist, uint32_t n_codes, const bg_scan_rule *rule,
                             const bg_category_rule *categories, uint64_t *const items[2], bg_category_order *order);
} bg_kernels;

/* Rows per block of the predict kernels: callers pass at most this many. */
#define BG_PREDICT_BLOCK 256

/* The table of that name, the best available one for NULL, or NULL where this machine cannot run it. */
const bg_kernels *bg_select(const char *name);

/* Work in chunks on at most n_threads threads, this one included; worker is 0 .. n_threads - 1, and no two chunks run
 * on one worker at the same time. Returns when all chunks are done. Any number of threads may call it at once. */
typedef void (*bg_task)(void *context, int64_t chunk, int worker);
void bg_parallel_for(bg_task task, void *context, int64_t n_chunks, int n_threads);
const char *bg_threading(void);

#endif
