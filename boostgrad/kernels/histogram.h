/* Histograms: one packed integer record per row, added at one place per feature.
 *
 *   row r     codes  [ 3 | 0 | 7 | ... ]     record = (gradient, hessian | 1)
 *   hist      feature 0 at 0, feature 1 at stride, feature 2 at 2 * stride ...
 *             hist[3] += record;  hist[stride + 0] += record;  hist[2 * stride + 7] += record; ...
 */

typedef int64_t two_lanes __attribute__((vector_size(16)));

static inline two_lanes wide_record(const double *pairs, size_t row, bg_packing packing)
{
#if defined(BG_AVX512)
    __m128d pair = _mm_loadu_pd(pairs + 2 * row);
    __m128i whole = _mm_cvtpd_epi64(_mm_mul_pd(pair, _mm_set_pd(packing.hessian_scale, packing.gradient_scale)));
    return (two_lanes)_mm_add_epi64(_mm_sllv_epi64(whole, _mm_set_epi64x(packing.count_bits, 0)),
                                    _mm_set_epi64x(1, 0));
#else
    int64_t gradient = llrint(pairs[2 * row] * packing.gradient_scale);
    int64_t hessian = llrint(pairs[2 * row + 1] * packing.hessian_scale);
    return (two_lanes){gradient, (int64_t)((uint64_t)hessian << packing.count_bits) + 1};
#endif
}

/* A row whose hessian is the constant one: it counts as 1 in the hessian's field. */
static inline two_lanes constant_record(const double *pairs, size_t row, bg_packing packing)
{
    return (two_lanes){llrint(pairs[row] * packing.gradient_scale), ((int64_t)1 << packing.count_bits) + 1};
}

static inline int64_t narrow_record(const double *pairs, size_t row, bg_packing packing)
{
    int64_t gradient = llrint(pairs[row] * packing.gradient_scale);
    return (int64_t)((uint64_t)gradient << packing.count_bits) + 1;
}

/* stride counts records; hist is aligned to a record */
#define DEFINE_HISTOGRAM(NAME, CODE, RECORD, MAKE, WIDTH)                                                             \
    static inline void NAME##_row(const CODE *code, RECORD record, int n_features, size_t stride, RECORD *hist)       \
    {                                                                                                                  \
        int f = 0;                                                                                                     \
        for (; f + 4 <= n_features; f += 4, code += 4) {                                                               \
            hist[code[0]] += record;                                                                                   \
            hist += stride;                                                                                            \
            hist[code[1]] += record;                                                                                   \
            hist += stride;                                                                                            \
            hist[code[2]] += record;                                                                                   \
            hist += stride;                                                                                            \
            hist[code[3]] += record;                                                                                   \
            hist += stride;                                                                                            \
        }                                                                                                              \
        for (; f < n_features; f++, hist += stride)                                                                    \
            hist[*code++] += record;                                                                                   \
    }                                                                                                                  \
    static void NAME(const void *bins, size_t row_stride, const uint32_t *rows, size_t begin, size_t n,                \
                     const double *pairs, bg_packing packing, int n_features, size_t stride, int64_t *hist)             \
    {                                                                                                                  \
        const CODE *codes = (const CODE *)bins;                                                                        \
        if (rows == NULL) {                                                                                            \
            for (size_t row = begin; row < begin + n; row++)                                                           \
                NAME##_row(codes + row * row_stride, MAKE(pairs, row, packing), n_features, stride, (RECORD *)hist);   \
            return;                                                                                                    \
        }                                                                                                              \
        size_t i = 0;                                                                                                  \
        for (; i + PREFETCH_ROWS < n; i++) {                                                                           \
            const CODE *ahead = codes + rows[i + PREFETCH_ROWS] * row_stride;                                          \
            __builtin_prefetch(ahead);                                                                                 \
            __builtin_prefetch(ahead + n_features - 1);                                                                \
            __builtin_prefetch(pairs + (size_t)rows[i + PREFETCH_ROWS] * WIDTH);                                      \
            NAME##_row(codes + rows[i] * row_stride, MAKE(pairs, rows[i], packing), n_features, stride,                \
                       (RECORD *)hist);                                                                                \
        }                                                                                                              \
        for (; i < n; i++)                                                                                             \
            NAME##_row(codes + rows[i] * row_stride, MAKE(pairs, rows[i], packing), n_features, stride,                \
                       (RECORD *)hist);                                                                                \
    }

DEFINE_HISTOGRAM(histogram_wide_u8, uint8_t, two_lanes, wide_record, 2)
DEFINE_HISTOGRAM(histogram_wide_u16, uint16_t, two_lanes, wide_record, 2)
DEFINE_HISTOGRAM(histogram_constant_u8, uint8_t, two_lanes, constant_record, 1)
DEFINE_HISTOGRAM(histogram_constant_u16, uint16_t, two_lanes, constant_record, 1)
DEFINE_HISTOGRAM(histogram_narrow_u8, uint8_t, int64_t, narrow_record, 1)
DEFINE_HISTOGRAM(histogram_narrow_u16, uint16_t, int64_t, narrow_record, 1)

static void add_records(int64_t *restrict to, const int64_t *restrict from, size_t n)
{
    for (size_t i = 0; i < n; i++)
        to[i] += from[i];
}

static void subtract_records(int64_t *restrict to, const int64_t *restrict from, size_t n)
{
    for (size_t i = 0; i < n; i++)
        to[i] -= from[i];
}
