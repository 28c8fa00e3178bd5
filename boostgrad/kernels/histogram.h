/* Histograms: one packed integer record per row, added at one place per feature.
 *
 *   row r     codes  [ 3 | 0 | 7 | ... ]     numbers  [ gradient | hessian ]     record = (gradient, hessian | 1)
 *   hist      feature 0 at 0, feature 1 at stride, feature 2 at 2 * stride ...
 *             hist[3] += record;  hist[stride + 0] += record;  hist[2 * stride + 7] += record; ...
 */

typedef int64_t two_lanes __attribute__((vector_size(16)));
typedef int64_t four_lanes __attribute__((vector_size(32)));

/* A row's record, from what the loss left behind in double precision ... */

static inline two_lanes wide_record(const char *numbers, bg_packing packing)
{
    const double *pair_of = (const double *)numbers;
#if defined(BG_AVX512)
    __m128d pair = _mm_loadu_pd(pair_of);
    __m128i whole = _mm_cvtpd_epi64(_mm_mul_pd(pair, _mm_set_pd(packing.hessian_scale, packing.gradient_scale)));
    return (two_lanes)_mm_add_epi64(_mm_sllv_epi64(whole, _mm_set_epi64x(packing.count_bits, 0)),
                                    _mm_set_epi64x(1, 0));
#else
    int64_t gradient = llrint(pair_of[0] * packing.gradient_scale);
    int64_t hessian = llrint(pair_of[1] * packing.hessian_scale);
    return (two_lanes){gradient, (int64_t)((uint64_t)hessian << packing.count_bits) + 1};
#endif
}

/* A row whose hessian is the constant one: it counts as 1 in the hessian's field. */
static inline two_lanes constant_record(const char *numbers, bg_packing packing)
{
    return (two_lanes){llrint(*(const double *)numbers * packing.gradient_scale), ((int64_t)1 << packing.count_bits) + 1};
}

static inline int64_t narrow_record(const char *numbers, bg_packing packing)
{
    int64_t gradient = llrint(*(const double *)numbers * packing.gradient_scale);
    return (int64_t)((uint64_t)gradient << packing.count_bits) + 1;
}

/* ... or from an integer: the gradient, or gradient and hessian of 16 bits. */

static inline int64_t single_record(const char *numbers, bg_packing packing)
{
    int32_t gradient;
    memcpy(&gradient, numbers, sizeof gradient);
    return (int64_t)((uint64_t)(int64_t)gradient << packing.count_bits) + 1;
}

static inline two_lanes paired_record(const char *numbers, bg_packing packing)
{
    int32_t pair;
    memcpy(&pair, numbers, sizeof pair);
    return (two_lanes){pair >> 16, ((int64_t)(uint16_t)pair << packing.count_bits) + 1};
}

static inline int64_t compact_record(const char *numbers, bg_packing packing)
{
    int32_t pair;
    (void)packing;
    memcpy(&pair, numbers, sizeof pair);
    return ((int64_t)(pair >> 16) * ((int64_t)1 << BG_COMPACT_GRADIENT)) +
           ((int64_t)(uint16_t)pair << BG_COMPACT_HESSIAN) + 1;
}

/* Records that were laid down whole, see vector.h. */
#define DEFINE_VECTOR_RECORD(NAME, RECORD)                                                                             \
    static inline __attribute__((always_inline)) RECORD NAME##_record(const char *numbers, bg_packing packing)         \
    {                                                                                                                  \
        RECORD record;                                                                                                 \
        memcpy(&record, numbers, sizeof record);                                                                       \
        return record;                                                                                                 \
    }

DEFINE_VECTOR_RECORD(vector2, two_lanes)
DEFINE_VECTOR_RECORD(vector4, four_lanes)

/* Whether a row and its numbers are one line of memory; tables begin at a line. */
static inline int in_one_line(const char *codes, size_t row_bytes, const char *numbers, size_t number_bytes)
{
    return number_bytes == row_bytes && (size_t)(codes - numbers) < row_bytes && row_bytes <= 64 &&
           (row_bytes & (row_bytes - 1)) == 0;
}

/* A row by number is asked for twice: from memory well ahead, into the second-level cache, which keeps it; and from
 * there shortly before its turn, as the histograms would drive it out of the first level. Where rows are close together
 * the processor fetches ahead by itself, and the first is enough. */
#define FAR_ROWS 64
#define NEAR_ROWS 8
#define SCATTERED 3 /* one row of so many, or fewer */
#define SECOND_LEVEL 2
#define FIRST_LEVEL 3

#define PREFETCH_ROW(ROW, LEVEL)                                                                                       \
    {                                                                                                                  \
        size_t ahead = ROW;                                                                                            \
        __builtin_prefetch(codes + ahead * row_bytes, 0, LEVEL);                                                       \
        if (!one_line) {                                                                                               \
            __builtin_prefetch(codes + ahead * row_bytes + last_code, 0, LEVEL);                                       \
            __builtin_prefetch(numbers + ahead * number_bytes, 0, LEVEL);                                              \
        }                                                                                                              \
    }

/* stride counts records; hist is aligned to a record */
#define DEFINE_HISTOGRAM(NAME, CODE, RECORD, RECORD_OF)                                                                \
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
    static void NAME(const char *codes, size_t row_bytes, const char *numbers, size_t number_bytes,                    \
                     const uint32_t *rows, size_t begin, size_t n, bg_packing packing, int n_features, size_t stride,  \
                     int64_t *hist)                                                                                    \
    {                                                                                                                  \
        const size_t last_code = (n_features - 1) * sizeof(CODE);                                                      \
        const int one_line = in_one_line(codes, row_bytes, numbers, number_bytes);                                     \
        const int scattered = rows && n && rows[n - 1] - rows[0] > SCATTERED * n;                                      \
        size_t i = 0, row;                                                                                             \
        if (rows == NULL) {                                                                                            \
            for (row = begin; row < begin + n; row++)                                                                  \
                NAME##_row((const CODE *)(codes + row * row_bytes), RECORD_OF(numbers + row * number_bytes, packing),  \
                           n_features, stride, (RECORD *)hist);                                                        \
            return;                                                                                                    \
        }                                                                                                              \
        for (; i + FAR_ROWS < n; i++) {                                                                                \
            PREFETCH_ROW(rows[i + FAR_ROWS], SECOND_LEVEL);                                                            \
            if (scattered)                                                                                             \
                PREFETCH_ROW(rows[i + NEAR_ROWS], FIRST_LEVEL);                                                        \
            row = rows[i];                                                                                             \
            NAME##_row((const CODE *)(codes + row * row_bytes), RECORD_OF(numbers + row * number_bytes, packing),      \
                       n_features, stride, (RECORD *)hist);                                                            \
        }                                                                                                              \
        for (; i < n; i++) {                                                                                           \
            row = rows[i];                                                                                             \
            NAME##_row((const CODE *)(codes + row * row_bytes), RECORD_OF(numbers + row * number_bytes, packing),      \
                       n_features, stride, (RECORD *)hist);                                                            \
        }                                                                                                              \
    }

#define DEFINE_BOTH(NAME, RECORD)                                                                                      \
    DEFINE_HISTOGRAM(histogram_##NAME##_u8, uint8_t, RECORD, NAME##_record)                                            \
    DEFINE_HISTOGRAM(histogram_##NAME##_u16, uint16_t, RECORD, NAME##_record)

DEFINE_BOTH(wide, two_lanes)
DEFINE_BOTH(constant, two_lanes)
DEFINE_BOTH(narrow, int64_t)
DEFINE_BOTH(single, int64_t)
DEFINE_BOTH(paired, two_lanes)
DEFINE_BOTH(compact, int64_t)
DEFINE_BOTH(vector2, two_lanes)
DEFINE_BOTH(vector4, four_lanes)

/* kept: all ones, or 0 where what there is counts as nothing */
static inline __attribute__((always_inline)) void unpack_over(int64_t *restrict compact, size_t n, int count_bits,
                                                              int64_t kept, int64_t *restrict to)
{
    const int64_t count_mask = ((int64_t)1 << BG_COMPACT_HESSIAN) - 1;
    const int64_t hessian_mask = ((int64_t)1 << (BG_COMPACT_GRADIENT - BG_COMPACT_HESSIAN)) - 1;
    for (size_t i = 0; i < n; i++) {
        int64_t record = compact[i];
        compact[i] = 0;
        to[2 * i] = (to[2 * i] & kept) + (record >> BG_COMPACT_GRADIENT);
        to[2 * i + 1] =
            (to[2 * i + 1] & kept) + ((record >> BG_COMPACT_HESSIAN & hessian_mask) << count_bits) + (record & count_mask);
    }
}

static void unpack_compact(int64_t *compact, size_t n, int count_bits, int fresh, int64_t *to)
{
    if (fresh)
        unpack_over(compact, n, count_bits, 0, to);
    else
        unpack_over(compact, n, count_bits, -1, to);
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
