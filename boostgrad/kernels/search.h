/* Values to codes: a binary search without branches, a few values in step so that their loads overlap.
 *
 *   edges   e0 <= e1 <= ... <= e(k-1) <= +inf ... +inf      size = a power of two > k
 *   code    1 + how many edges are below x; 0 for NaN
 */
#define SEARCH_LANES 16

#if defined(BG_AVX512)
/* Up to 256 edges fit the registers, level by level of the search tree, and a step down is a permutation:
 *
 *   level 0   e127                 entry p of level d: edges[(2 p + 1) size / 2^(d + 1) - 1]
 *   level 1   e63 e191             p -> 2 p + (entry p < x);  after the last level p is the number of edges below x
 *   level 2   e31 e95 e159 e223
 */
#define LARGEST_IN_REGISTERS 256

static inline __m512 search_level(const float *edges, uint32_t size, int depth, int piece)
{
    int step = (int)(size >> (depth + 1));
    __m512i entry = _mm512_add_epi32(_mm512_set_epi32(15, 14, 13, 12, 11, 10, 9, 8, 7, 6, 5, 4, 3, 2, 1, 0),
                                     _mm512_set1_epi32(16 * piece));
    __m512i at = _mm512_sub_epi32(
        _mm512_mullo_epi32(_mm512_add_epi32(_mm512_slli_epi32(entry, 1), _mm512_set1_epi32(1)), _mm512_set1_epi32(step)),
        _mm512_set1_epi32(1));
    __mmask16 there = _mm512_cmplt_epi32_mask(at, _mm512_set1_epi32((int)size));
    return _mm512_mask_i32gather_ps(_mm512_setzero_ps(), there, at, edges, 4);
}

static inline __m512i step_down(__m512i place, __m512 entry, __m512 x)
{
    __m512i doubled = _mm512_slli_epi32(place, 1);
    return _mm512_mask_add_epi32(doubled, _mm512_cmp_ps_mask(entry, x, _CMP_LT_OQ), doubled, _mm512_set1_epi32(1));
}

/* OUT below: for sixteen values the number of edges below them; `levels` is known to the compiler */
static inline __attribute__((always_inline)) void search_registers(const float *x, size_t n, const float *edges,
                                                                   uint32_t size, uint32_t *below, int levels)
{
    __m512 single[5], pair[2], four[4], eight[8];
    for (int d = 0; d < 5 && d < levels; d++)
        single[d] = search_level(edges, size, d, 0);
    for (int piece = 0; levels > 5 && piece < 2; piece++)
        pair[piece] = search_level(edges, size, 5, piece);
    for (int piece = 0; levels > 6 && piece < 4; piece++)
        four[piece] = search_level(edges, size, 6, piece);
    for (int piece = 0; levels > 7 && piece < 8; piece++)
        eight[piece] = search_level(edges, size, 7, piece);
    const __m512i bit32 = _mm512_set1_epi32(32), bit64 = _mm512_set1_epi32(64);
    for (size_t i = 0; i < n; i += 16) {
        __m512 values = _mm512_loadu_ps(x + i);
        __m512i p = _mm512_setzero_si512();
#pragma GCC unroll 5
        for (int d = 0; d < 5 && d < levels; d++)
            p = step_down(p, _mm512_permutexvar_ps(p, single[d]), values);
        if (levels > 5)
            p = step_down(p, _mm512_permutex2var_ps(pair[0], p, pair[1]), values);
        if (levels > 6) {
            __m512 low = _mm512_permutex2var_ps(four[0], p, four[1]), high = _mm512_permutex2var_ps(four[2], p, four[3]);
            p = step_down(p, _mm512_mask_blend_ps(_mm512_test_epi32_mask(p, bit32), low, high), values);
        }
        if (levels > 7) {
            __mmask16 upper = _mm512_test_epi32_mask(p, bit32);
            __m512 low = _mm512_mask_blend_ps(upper, _mm512_permutex2var_ps(eight[0], p, eight[1]),
                                              _mm512_permutex2var_ps(eight[2], p, eight[3]));
            __m512 high = _mm512_mask_blend_ps(upper, _mm512_permutex2var_ps(eight[4], p, eight[5]),
                                               _mm512_permutex2var_ps(eight[6], p, eight[7]));
            p = step_down(p, _mm512_mask_blend_ps(_mm512_test_epi32_mask(p, bit64), low, high), values);
        }
        _mm512_storeu_si512(below + i, p);
    }
}

/* n: a multiple of 16 */
static void count_below(const float *x, size_t n, const float *edges, uint32_t size, uint32_t *below)
{
    switch (size) {
    case 1: memset(below, 0, n * sizeof *below); break;
    case 2: search_registers(x, n, edges, size, below, 1); break;
    case 4: search_registers(x, n, edges, size, below, 2); break;
    case 8: search_registers(x, n, edges, size, below, 3); break;
    case 16: search_registers(x, n, edges, size, below, 4); break;
    case 32: search_registers(x, n, edges, size, below, 5); break;
    case 64: search_registers(x, n, edges, size, below, 6); break;
    case 128: search_registers(x, n, edges, size, below, 7); break;
    default: search_registers(x, n, edges, size, below, 8); break;
    }
}

#define SEARCH_PIECE 512

static size_t search_in_registers_f32(const float *x, size_t n, const float *edges, uint32_t size, uint16_t *codes)
{
    uint32_t below[SEARCH_PIECE];
    n -= n % 16;
    for (size_t begin = 0; begin < n; begin += SEARCH_PIECE) {
        size_t piece = n - begin < SEARCH_PIECE ? n - begin : SEARCH_PIECE;
        count_below(x + begin, piece, edges, size, below);
        for (size_t i = 0; i < piece; i++)
            codes[begin + i] = (uint16_t)(x[begin + i] == x[begin + i] ? below[i] + 1 : 0);
    }
    return n;
}
#define SEARCH_IN_REGISTERS_f32                                                                                        \
    if (size <= LARGEST_IN_REGISTERS && n >= 64)                                                                       \
        i = search_in_registers_f32(x, n, edges, size, codes);
#else
#define SEARCH_IN_REGISTERS_f32
#endif
#define SEARCH_IN_REGISTERS_f64

#define DEFINE_SEARCH(KIND, REAL)                                                                                      \
    static void search_##KIND(const REAL *x, size_t n, const REAL *edges, uint32_t size, uint16_t *codes)              \
    {                                                                                                                  \
        size_t i = 0;                                                                                                  \
        SEARCH_IN_REGISTERS_##KIND                                                                                     \
        for (; i + SEARCH_LANES <= n; i += SEARCH_LANES) {                                                             \
            uint32_t below[SEARCH_LANES] = {0};                                                                        \
            for (uint32_t step = size / 2; step > 0; step /= 2)                                                        \
                for (int lane = 0; lane < SEARCH_LANES; lane++)                                                        \
                    below[lane] += edges[below[lane] + step - 1] < x[i + lane] ? step : 0;                             \
            for (int lane = 0; lane < SEARCH_LANES; lane++)                                                            \
                codes[i + lane] = (uint16_t)(x[i + lane] == x[i + lane] ? below[lane] + 1 : 0);                        \
        }                                                                                                              \
        for (; i < n; i++) {                                                                                           \
            uint32_t below = 0;                                                                                        \
            for (uint32_t step = size / 2; step > 0; step /= 2)                                                        \
                below += edges[below + step - 1] < x[i] ? step : 0;                                                    \
            codes[i] = (uint16_t)(x[i] == x[i] ? below + 1 : 0);                                                       \
        }                                                                                                              \
    }

DEFINE_SEARCH(f32, float)
DEFINE_SEARCH(f64, double)
