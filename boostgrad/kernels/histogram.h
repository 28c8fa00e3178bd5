/* Histograms: one packed integer record per row, added at one place per feature.
 *
 *   row r of the table   [ numbers: 4 bytes | codes: 3 | 0 | 7 | ... ]       record = (gradient, hessian | 1)
 *   hist      feature 0 at 0, feature 1 at stride, feature 2 at 2 * stride ...
 *             hist[3] += record;  hist[stride + 0] += record;  hist[2 * stride + 7] += record; ...
 */

typedef int64_t two_lanes __attribute__((vector_size(16)));

/* A row's record, from what the loss left behind in double precision ... */

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
static inline two_lanes constant_record(const double *gradients, size_t row, bg_packing packing)
{
    return (two_lanes){llrint(gradients[row] * packing.gradient_scale), ((int64_t)1 << packing.count_bits) + 1};
}

static inline int64_t narrow_record(const double *gradients, size_t row, bg_packing packing)
{
    int64_t gradient = llrint(gradients[row] * packing.gradient_scale);
    return (int64_t)((uint64_t)gradient << packing.count_bits) + 1;
}

/* ... or from the integers at the head of its row of the table: the gradient, or gradient and hessian of 16 bits. */

static inline int64_t single_record(const char *row, bg_packing packing)
{
    int32_t gradient;
    memcpy(&gradient, row, sizeof gradient);
    return (int64_t)((uint64_t)(int64_t)gradient << packing.count_bits) + 1;
}

static inline two_lanes paired_record(const char *row, bg_packing packing)
{
    int32_t pair;
    memcpy(&pair, row, sizeof pair);
    return (two_lanes){pair >> 16, ((int64_t)(uint16_t)pair << packing.count_bits) + 1};
}

static inline int64_t compact_record(const char *row, bg_packing packing)
{
    int32_t pair;
    (void)packing;
    memcpy(&pair, row, sizeof pair);
    return ((int64_t)(pair >> 16) * ((int64_t)1 << BG_COMPACT_GRADIENT)) +
           ((int64_t)(uint16_t)pair << BG_COMPACT_HESSIAN) + 1;
}

/* stride counts records; hist is aligned to a record */
#define DEFINE_HISTOGRAM(NAME, CODE, RECORD, RECORD_OF, PREFETCH)                                                      \
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
    static void NAME(const char *table, size_t row_bytes, size_t first_code, const uint32_t *rows, size_t begin,       \
                     size_t n, const double *pairs, bg_packing packing, int n_features, size_t stride, int64_t *hist)  \
    {                                                                                                                  \
        const size_t last_code = first_code + (n_features - 1) * sizeof(CODE);                                         \
        size_t i = 0;                                                                                                  \
        (void)pairs;                                                                                                   \
        if (rows == NULL) {                                                                                            \
            for (size_t number = begin; number < begin + n; number++) {                                                \
                const char *row = table + number * row_bytes;                                                          \
                NAME##_row((const CODE *)(row + first_code), RECORD_OF, n_features, stride, (RECORD *)hist);           \
            }                                                                                                          \
            return;                                                                                                    \
        }                                                                                                              \
        for (; i + PREFETCH_ROWS < n; i++) {                                                                           \
            size_t number = rows[i + PREFETCH_ROWS];                                                                   \
            const char *row = table + number * row_bytes;                                                              \
            __builtin_prefetch(row + first_code);                                                                      \
            __builtin_prefetch(row + last_code);                                                                       \
            __builtin_prefetch(PREFETCH);                                                                              \
            number = rows[i];                                                                                          \
            row = table + number * row_bytes;                                                                          \
            NAME##_row((const CODE *)(row + first_code), RECORD_OF, n_features, stride, (RECORD *)hist);               \
        }                                                                                                              \
        for (; i < n; i++) {                                                                                           \
            size_t number = rows[i];                                                                                   \
            const char *row = table + number * row_bytes;                                                              \
            NAME##_row((const CODE *)(row + first_code), RECORD_OF, n_features, stride, (RECORD *)hist);               \
        }                                                                                                              \
    }

#define DEFINE_BOTH(NAME, RECORD, RECORD_OF, PREFETCH)                                                                 \
    DEFINE_HISTOGRAM(histogram_##NAME##_u8, uint8_t, RECORD, RECORD_OF, PREFETCH)                                      \
    DEFINE_HISTOGRAM(histogram_##NAME##_u16, uint16_t, RECORD, RECORD_OF, PREFETCH)

DEFINE_BOTH(wide, two_lanes, wide_record(pairs, number, packing), pairs + 2 * number)
DEFINE_BOTH(constant, two_lanes, constant_record(pairs, number, packing), pairs + number)
DEFINE_BOTH(narrow, int64_t, narrow_record(pairs, number, packing), pairs + number)
DEFINE_BOTH(single, int64_t, single_record(row, packing), row)
DEFINE_BOTH(paired, two_lanes, paired_record(row, packing), row)
DEFINE_BOTH(compact, int64_t, compact_record(row, packing), row)

static void unpack_compact(int64_t *restrict compact, size_t n, int count_bits, int64_t *restrict to)
{
    const int64_t count_mask = ((int64_t)1 << BG_COMPACT_HESSIAN) - 1;
    const int64_t hessian_mask = ((int64_t)1 << (BG_COMPACT_GRADIENT - BG_COMPACT_HESSIAN)) - 1;
    for (size_t i = 0; i < n; i++) {
        int64_t record = compact[i];
        compact[i] = 0;
        to[2 * i] += record >> BG_COMPACT_GRADIENT;
        to[2 * i + 1] += ((record >> BG_COMPACT_HESSIAN & hessian_mask) << count_bits) + (record & count_mask);
    }
}

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
