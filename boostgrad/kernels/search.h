/* Values to codes: a binary search without branches, a few values in step so that their loads overlap.
 *
 *   edges   e0 <= e1 <= ... <= e(k-1) <= +inf ... +inf      size = a power of two > k
 *   code    1 + how many edges are below x; 0 for NaN
 */
#define SEARCH_LANES 16

#define DEFINE_SEARCH(NAME, REAL)                                                                                      \
    static void NAME(const REAL *x, size_t n, const REAL *edges, uint32_t size, uint16_t *codes)                       \
    {                                                                                                                  \
        size_t i = 0;                                                                                                  \
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

DEFINE_SEARCH(search_f32, float)
DEFINE_SEARCH(search_f64, double)
