/* Gradients and hessians of the losses that deserve a loop of their own. */

/* Raw predictions that are logarithms count as no larger, and no smaller; those of shapes as far as digamma and
 * log-gamma can tell apart. */
#define LARGEST_LOG 300.0
#define LARGEST_LOG_SHAPE 15.0

/* exp(x) by 2^k * exp(r), |r| <= ln(2) / 2, Taylor to r^13 (error below 1 ulp); arguments are clamped to the range of
 * normal numbers. Written out so that it is vectorised, and so that every instruction set computes the same bits. */
static inline double exp_of(double x)
{
    x = x < -708.0 ? -708.0 : x;
    x = x > 709.0 ? 709.0 : x;
    const double shifter = 6755399441055744.0; /* 1.5 * 2^52: adding it rounds to the nearest integer */
    double shifted = x * 1.4426950408889634 + shifter;
    double k = shifted - shifter;
    double r = (x - k * 6.93147180369123816490e-01) - k * 1.90821492927058770002e-10;
    double p = 1.0 / 6227020800.0;
    p = p * r + 1.0 / 479001600.0;
    p = p * r + 1.0 / 39916800.0;
    p = p * r + 1.0 / 3628800.0;
    p = p * r + 1.0 / 362880.0;
    p = p * r + 1.0 / 40320.0;
    p = p * r + 1.0 / 5040.0;
    p = p * r + 1.0 / 720.0;
    p = p * r + 1.0 / 120.0;
    p = p * r + 1.0 / 24.0;
    p = p * r + 1.0 / 6.0;
    p = p * r + 0.5;
    p = p * r + 1.0;
    p = p * r + 1.0;
    int64_t bits;
    memcpy(&bits, &shifted, sizeof bits);
    bits = (int64_t)((uint64_t)(bits + 1023) << 52);
    double power;
    memcpy(&power, &bits, sizeof power);
    return p * power;
}

/* log(x) of a positive normal number m 2^k, sqrt(1/2) <= m < sqrt(2): log(m) = 2 atanh(s), s = (m - 1) / (m + 1), by the
 * series to s^21 (error about 1 ulp). Written out for the same reasons. */
static inline double log_of(double x)
{
    const uint64_t one = 0x3ff0000000000000, half_root = 0x3fe6a09e667f3bcd;
    uint64_t bits, k_bits;
    double m, k;
    memcpy(&bits, &x, sizeof bits);
    bits += one - half_root;
    k_bits = (bits >> 52) + 0x4338000000000000; /* 1.5 * 2^52 + 1023 + k, as a number */
    bits = (bits & 0x000fffffffffffff) + half_root;
    memcpy(&m, &bits, sizeof m);
    memcpy(&k, &k_bits, sizeof k);
    k -= 6755399441055744.0 + 1023.0;
    double s = (m - 1.0) / (m + 1.0), z = s * s;
    double p = 1.0 / 21.0;
    p = p * z + 1.0 / 19.0;
    p = p * z + 1.0 / 17.0;
    p = p * z + 1.0 / 15.0;
    p = p * z + 1.0 / 13.0;
    p = p * z + 1.0 / 11.0;
    p = p * z + 1.0 / 9.0;
    p = p * z + 1.0 / 7.0;
    p = p * z + 1.0 / 5.0;
    p = p * z + 1.0 / 3.0;
    return k * 6.93147180369123816490e-01 + (2.0 * (s + s * (z * p)) + k * 1.90821492927058770002e-10);
}

static void exponential(double *x, size_t n)
{
    for (size_t i = 0; i < n; i++)
        x[i] = exp_of(x[i]);
}

/* Bits of doubles that are not negative are ordered as the doubles are, and an integer maximum is vectorised. */
static inline int64_t magnitude_bits(double x)
{
    int64_t bits;
    memcpy(&bits, &x, sizeof bits);
    return bits & INT64_MAX;
}

static inline void raise_to(double *largest, int64_t bits)
{
    double candidate;
    memcpy(&candidate, &bits, sizeof candidate);
    if (!(candidate <= *largest)) /* a NaN must come through */
        *largest = candidate;
}

/* 1/2 (raw - y)^2 */
static void squared_error(const double *restrict y, const double *restrict raw, const double *restrict weight, size_t n,
                          double *restrict pairs, double *largest)
{
    int64_t gradient_bits = 0, hessian_bits = 0;
    if (weight == NULL) { /* the hessian is 1 and is not stored */
        for (size_t i = 0; i < n; i++) {
            pairs[i] = raw[i] - y[i];
            int64_t bits = magnitude_bits(pairs[i]);
            gradient_bits = bits > gradient_bits ? bits : gradient_bits;
        }
        raise_to(largest, gradient_bits);
        largest[1] = 1.0;
        return;
    }
    for (size_t i = 0; i < n; i++) {
        double gradient = weight[i] * (raw[i] - y[i]), hessian = weight[i];
        pairs[2 * i] = gradient;
        pairs[2 * i + 1] = hessian;
        int64_t bits = magnitude_bits(gradient);
        gradient_bits = bits > gradient_bits ? bits : gradient_bits;
        bits = magnitude_bits(hessian);
        hessian_bits = bits > hessian_bits ? bits : hessian_bits;
    }
    raise_to(largest, gradient_bits);
    raise_to(largest + 1, hessian_bits);
}

/* log(1 + exp(raw)) - y raw, y in [0, 1]; p = sigmoid(raw): gradient p - y, hessian p (1 - p). 1 - p is computed by
 * itself, so that a confident prediction keeps its digits. */
static inline void binary_body(const double *restrict y, const double *restrict raw, const double *restrict weight,
                               size_t n, double *restrict pairs, double *largest, int weighted)
{
    int64_t gradient_bits = 0, hessian_bits = 0;
    for (size_t i = 0; i < n; i++) {
        double odds_against = exp_of(-raw[i]);
        double p = 1.0 / (1.0 + odds_against);
        double q = odds_against * p;
        double w = weighted ? weight[i] : 1.0;
        double gradient = w * (p * (1.0 - y[i]) - q * y[i]);
        double hessian = w * (p * q);
        pairs[2 * i] = gradient;
        pairs[2 * i + 1] = hessian;
        int64_t bits = magnitude_bits(gradient);
        gradient_bits = bits > gradient_bits ? bits : gradient_bits;
        bits = magnitude_bits(hessian);
        hessian_bits = bits > hessian_bits ? bits : hessian_bits;
    }
    raise_to(largest, gradient_bits);
    raise_to(largest + 1, hessian_bits);
}

static void binary_log_loss(const double *y, const double *raw, const double *weight, size_t n, double *pairs,
                            double *largest)
{
    if (weight)
        binary_body(y, raw, weight, n, pairs, largest, 1);
    else
        binary_body(y, raw, weight, n, pairs, largest, 0);
}

/* log sum_k exp(raw_k) - raw_y; p = softmax(raw): gradient p_k - [k = y], diagonal hessian p_k (1 - p_k). 1 - p_k is
 * taken from the other classes' sum.
 *
 *   raw    class 0:  [ row 0 | row 1 | ... ]     pitch apart        pairs likewise, two numbers each
 *          class 1:  [ row 0 | row 1 | ... ]
 *
 * The powers exp(raw_k - top) wait in the first half of the place that the class's pairs of these rows are written to.
 */
#define SOFTMAX_ROWS 64

/* OUT top: the largest of each row. */
static inline void softmax_tops(const double *restrict raw, size_t rows, size_t pitch, int n_outputs,
                                double *restrict top)
{
    memcpy(top, raw, rows * sizeof *top);
    for (int k = 1; k < n_outputs; k++)
        for (size_t i = 0; i < rows; i++) {
            double r = raw[k * pitch + i];
            top[i] = r > top[i] ? r : top[i];
        }
}

static void multinomial_log_loss(const double *restrict y, const double *restrict raw, const double *restrict weight,
                                 size_t n, size_t pitch, int n_outputs, double *restrict pairs, double *largest)
{
    int64_t gradient_bits = 0, hessian_bits = 0;
    for (size_t begin = 0; begin < n; begin += SOFTMAX_ROWS) {
        size_t rows = n - begin < SOFTMAX_ROWS ? n - begin : SOFTMAX_ROWS;
        double top[SOFTMAX_ROWS], sum[SOFTMAX_ROWS], e[SOFTMAX_ROWS];
        softmax_tops(raw + begin, rows, pitch, n_outputs, top);
        memset(sum, 0, sizeof sum);
        for (int k = 0; k < n_outputs; k++) {
            double *out = pairs + 2 * (k * pitch + begin);
            for (size_t i = 0; i < rows; i++) {
                out[i] = exp_of(raw[k * pitch + begin + i] - top[i]);
                sum[i] += out[i];
            }
        }
        for (int k = 0; k < n_outputs; k++) {
            double *out = pairs + 2 * (k * pitch + begin);
            memcpy(e, out, rows * sizeof *e);
            for (size_t i = 0; i < rows; i++) {
                double p = e[i] / sum[i], q = (sum[i] - e[i]) / sum[i];
                double w = weight ? weight[begin + i] : 1.0;
                double gradient = w * (y[begin + i] == (double)k ? -q : p);
                double hessian = w * (p * q);
                out[2 * i] = gradient;
                out[2 * i + 1] = hessian;
                int64_t bits = magnitude_bits(gradient);
                gradient_bits = bits > gradient_bits ? bits : gradient_bits;
                bits = magnitude_bits(hessian);
                hessian_bits = bits > hessian_bits ? bits : hessian_bits;
            }
        }
    }
    raise_to(largest, gradient_bits);
    raise_to(largest + 1, hessian_bits);
}

static inline double within(double x, double bound)
{
    x = x < -bound ? -bound : x;
    return x > bound ? bound : x;
}

/* A negative log-likelihood of two parameters, of whose raw predictions `first` is that of the mean and `second` a
 * logarithm: gradients g and expected hessians h, of which the second is no less than its gradient's size. OUT largest:
 * two numbers an output. */
#define LIKELIHOOD(NAME, ...)                                                                                          \
    static inline void NAME##_body(const double *restrict y, const double *restrict raw,                               \
                                   const double *restrict weight, size_t n, size_t pitch, double *restrict pairs,      \
                                   double *largest, int weighted)                                                      \
    {                                                                                                                  \
        int64_t top[4] = {0};                                                                                          \
        double *restrict of_first = pairs, *restrict of_second = pairs + 2 * pitch;                                    \
        const double *restrict seconds = raw + pitch;                                                                  \
        for (size_t i = 0; i < n; i++) {                                                                               \
            double first = raw[i], second = seconds[i], w = weighted ? weight[i] : 1.0, g[2], h[2];                    \
            __VA_ARGS__                                                                                                \
            double size = fabs(g[1]);                                                                                  \
            double numbers[4] = {w * g[0], w * h[0], w * g[1], w * (size > h[1] ? size : h[1])};                       \
            of_first[2 * i] = numbers[0];                                                                              \
            of_first[2 * i + 1] = numbers[1];                                                                          \
            of_second[2 * i] = numbers[2];                                                                             \
            of_second[2 * i + 1] = numbers[3];                                                                         \
            for (int j = 0; j < 4; j++) {                                                                              \
                int64_t bits = magnitude_bits(numbers[j]);                                                             \
                top[j] = bits > top[j] ? bits : top[j];                                                                \
            }                                                                                                          \
        }                                                                                                              \
        for (int j = 0; j < 4; j++)                                                                                    \
            raise_to(largest + j, top[j]);                                                                             \
    }                                                                                                                  \
    static void NAME(const double *y, const double *raw, const double *weight, size_t n, size_t pitch, int n_outputs,  \
                     double *pairs, double *largest)                                                                   \
    {                                                                                                                  \
        (void)n_outputs; /* two */                                                                                     \
        if (weight)                                                                                                    \
            NAME##_body(y, raw, weight, n, pitch, pairs, largest, 1);                                                  \
        else                                                                                                           \
            NAME##_body(y, raw, weight, n, pitch, pairs, largest, 0);                                                  \
    }

/* log s + (y - m)^2 / (2 s^2), raw predictions m and log s: gradients (m - y) / s^2 and 1 - (y - m)^2 / s^2, hessians
 * 1 / s^2 and 2 */
LIKELIHOOD(normal_nll, {
    double d = first - y[i];
    h[0] = exp_of(within(-2.0 * second, LARGEST_LOG));
    g[0] = h[0] * d;
    g[1] = 1.0 - d * g[0];
    h[1] = 2.0;
})

/* psi(k) - log(k) and psi'(k): nine terms of psi(k + 1) = psi(k) + 1 / k take k to where the first terms of
 * psi(z) = log(z) - 1 / (2 z) - sum_n B_2n / (2 n z^2n) are right to the last digits (Abramowitz and Stegun 1964, 6.3.5
 * and 6.3.18). */
static inline double psi_less_log(double k, double *psi_1)
{
    double sum = 0, squares = 0;
#pragma GCC unroll 9
    for (int i = 0; i < 9; i++) {
        double r = 1.0 / (k + i);
        sum += r;
        squares += r * r;
    }
    double r = 1.0 / (k + 9.0), z = r * r, x = 9.0 / k, u = 1.0 + x;
    double log_1p = log_of(u) + (x - (u - 1.0)) / u;
    double tail = ((((-691.0 / 32760.0 * z + 1.0 / 132.0) * z - 1.0 / 240.0) * z + 1.0 / 252.0) * z - 1.0 / 120.0) * z;
    double tail_1 = ((((-691.0 / 2730.0 * z + 5.0 / 66.0) * z - 1.0 / 30.0) * z + 1.0 / 42.0) * z - 1.0 / 30.0) * z;
    *psi_1 = squares + r * (1.0 + 0.5 * r + (tail_1 + 1.0 / 6.0) * z);
    return log_1p - (sum + 0.5 * r + (tail + 1.0 / 12.0) * z);
}

/* log Gamma(k) - k log(k / m) - (k - 1) log y + k y / m, raw predictions log m and log k: gradients k (1 - y / m) and
 * k (psi(k) - log k - 1 + y / m - log(y / m)), hessians k and k^2 psi'(k) - k, which loses its digits where k is large,
 * and is 1/2 + 1/(6 k) there */
LIKELIHOOD(gamma_nll, {
    double k = exp_of(within(second, LARGEST_LOG_SHAPE)), ratio = y[i] * exp_of(within(-first, LARGEST_LOG)), psi_1;
    double log_ratio = log_of(ratio > 1e-300 ? ratio : 1e-300);
    g[0] = k * (1.0 - ratio);
    h[0] = k;
    g[1] = k * (psi_less_log(k, &psi_1) - 1.0 + ratio - log_ratio);
    h[1] = k > 1e4 ? 0.5 + 1.0 / (6.0 * k) : k * k * psi_1 - k;
})

/* OUT pairs, largest: see kernels.h. */
static inline void weigh_body(double *restrict pairs, const double *restrict weight, size_t n, double unit,
                              double *largest, int weighted)
{
    const double root_of_unit = sqrt(unit);
    int64_t gradient_bits = 0, hessian_bits = 0;
    for (size_t i = 0; i < n; i++) {
        double square = pairs[2 * i + 1];
        if (weighted)
            square /= weight[i] > 1e-300 ? weight[i] : 1e-300;
        double mean = sqrt(square) * root_of_unit, factor = 1.0 / (mean > 0 ? mean : 1.0);
        double gradient = pairs[2 * i] * factor, hessian = pairs[2 * i + 1] * factor;
        pairs[2 * i] = gradient;
        pairs[2 * i + 1] = hessian;
        int64_t bits = magnitude_bits(gradient);
        gradient_bits = bits > gradient_bits ? bits : gradient_bits;
        bits = magnitude_bits(hessian);
        hessian_bits = bits > hessian_bits ? bits : hessian_bits;
    }
    raise_to(largest, gradient_bits);
    raise_to(largest + 1, hessian_bits);
}

static void weigh_by_root(double *pairs, const double *weight, size_t n, double unit, double *largest)
{
    if (weight)
        weigh_body(pairs, weight, n, unit, largest, 1);
    else
        weigh_body(pairs, weight, n, unit, largest, 0);
}

/* OUT top, sum: of each row the largest raw prediction, and the sum of exp(raw_k - top). */
static void softmax_sums(const double *restrict raw, size_t n, size_t pitch, int n_outputs, double *restrict top,
                         double *restrict sum)
{
    for (size_t begin = 0; begin < n; begin += SOFTMAX_ROWS) {
        size_t rows = n - begin < SOFTMAX_ROWS ? n - begin : SOFTMAX_ROWS;
        softmax_tops(raw + begin, rows, pitch, n_outputs, top + begin);
        for (size_t i = 0; i < rows; i++)
            sum[begin + i] = 0;
        for (int k = 0; k < n_outputs; k++)
            for (size_t i = 0; i < rows; i++)
                sum[begin + i] += exp_of(raw[k * pitch + begin + i] - top[begin + i]);
    }
}

/* OUT p: softmax of each row, row by row: n_outputs numbers each. */
static void softmax(const double *restrict raw, size_t n, size_t pitch, int n_outputs, double *restrict p)
{
    for (size_t begin = 0; begin < n; begin += SOFTMAX_ROWS) {
        size_t rows = n - begin < SOFTMAX_ROWS ? n - begin : SOFTMAX_ROWS;
        double top[SOFTMAX_ROWS], sum[SOFTMAX_ROWS] = {0}, e[8][SOFTMAX_ROWS]; /* of 8 outputs, a line of memory a row */
        double *restrict out = p + begin * n_outputs;
        softmax_tops(raw + begin, rows, pitch, n_outputs, top);
        for (int first = 0; first < n_outputs; first += 8) {
            const int some = n_outputs - first < 8 ? n_outputs - first : 8;
            for (int k = 0; k < some; k++)
                for (size_t i = 0; i < rows; i++) {
                    e[k][i] = exp_of(raw[(first + k) * pitch + begin + i] - top[i]);
                    sum[i] += e[k][i];
                }
            for (size_t i = 0; i < rows; i++)
                for (int k = 0; k < some; k++)
                    out[i * n_outputs + first + k] = e[k][i];
        }
        for (size_t i = 0; i < rows; i++)
            for (int k = 0; k < n_outputs; k++)
                out[i * n_outputs + k] /= sum[i];
    }
}
