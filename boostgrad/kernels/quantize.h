/* Gradients and hessians as small integers, for histograms that take less room. */

/* A number that looks random for each row and seed (the finalizer of MurmurHash3, Appleby 2011). */
static inline uint32_t row_hash(uint32_t row, uint32_t seed)
{
    uint32_t x = row ^ seed;
    x ^= x >> 16;
    x *= 0x85ebca6bu;
    x ^= x >> 13;
    x *= 0xc2b2ae35u;
    x ^= x >> 16;
    return x;
}

/* Each number is rounded up or down at random, up with the probability of its fraction, so that sums over rows have the
 * right mean however small the numbers are; chance is a function of row and seed alone.
 *
 *   x = 2.3    2 with probability 0.7, 3 with 0.3
 *
 * Truncation towards zero is all that every instruction set has, so numbers are moved above zero for it. */
#define QUANTIZE_ROWS 256

static inline void lay_down(const int32_t *numbers, size_t n, char *to, size_t number_bytes)
{
    for (size_t i = 0; i < n; i++, to += number_bytes)
        memcpy(to, numbers + i, sizeof *numbers);
}

static int quantize_pairs(const double *restrict pairs, size_t first, size_t n, uint32_t seed, bg_packing packing,
                          char *numbers_of, size_t number_bytes)
{
    const double unit = 1.0 / 65536;
    int32_t negative = 0, numbers[QUANTIZE_ROWS];
    for (size_t begin = first; begin < first + n; begin += QUANTIZE_ROWS) {
        size_t rows = first + n - begin < QUANTIZE_ROWS ? first + n - begin : QUANTIZE_ROWS;
        const double *restrict pair = pairs + 2 * begin;
        for (size_t i = 0; i < rows; i++) {
            uint32_t chance = row_hash((uint32_t)(begin + i), seed);
            double gradient = pair[2 * i] * packing.gradient_scale + (double)(int32_t)(chance & 0xffff) * unit;
            double hessian = pair[2 * i + 1] * packing.hessian_scale + (double)(int32_t)(chance >> 16) * unit;
            int32_t g = (int32_t)(gradient + 32768.0) - 32768;
            int32_t h = (int32_t)(hessian + 32768.0) - 32768;
            negative |= h;
            numbers[i] = (int32_t)((uint32_t)g << 16 | ((uint32_t)h & 0xffff));
        }
        lay_down(numbers, rows, numbers_of + begin * number_bytes, number_bytes);
    }
    return negative < 0;
}

/* With 30 bits rounding to the nearest will do. */
static void quantize_gradients(const double *restrict gradients, size_t first, size_t n, bg_packing packing,
                               char *numbers_of, size_t number_bytes)
{
    const double shifter = 6755399441055744.0; /* 1.5 * 2^52: adding it rounds to the nearest integer */
    int32_t numbers[QUANTIZE_ROWS];
    for (size_t begin = first; begin < first + n; begin += QUANTIZE_ROWS) {
        size_t rows = first + n - begin < QUANTIZE_ROWS ? first + n - begin : QUANTIZE_ROWS;
        for (size_t i = 0; i < rows; i++)
            numbers[i] = (int32_t)((gradients[begin + i] * packing.gradient_scale + shifter) - shifter);
        lay_down(numbers, rows, numbers_of + begin * number_bytes, number_bytes);
    }
}
