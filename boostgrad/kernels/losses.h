/* Gradients and hessians of the losses that deserve a loop of their own. */

/* Raw predictions that are logarithms count as no larger, and no smaller. */
#define LARGEST_LOG 300.0

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

/* log s + (y - m)^2 / (2 s^2), raw predictions m and log s: gradients (m - y) / s^2 and 1 - (y - m)^2 / s^2, hessians
 * the expected ones, 1 / s^2 and 2, the second no less than its gradient's size. OUT largest: two numbers an output. */
static inline void normal_body(const double *restrict y, const double *restrict raw, const double *restrict weight,
                               size_t n, size_t pitch, double *restrict pairs, double *largest, int weighted)
{
    int64_t top[4] = {0};
    double *restrict of_mean = pairs, *restrict of_log = pairs + 2 * pitch;
    const double *restrict log_s = raw + pitch;
    for (size_t i = 0; i < n; i++) {
        double x = -2.0 * log_s[i];
        x = x < -LARGEST_LOG ? -LARGEST_LOG : x;
        x = x > LARGEST_LOG ? LARGEST_LOG : x;
        double precision = exp_of(x), d = raw[i] - y[i], w = weighted ? weight[i] : 1.0;
        double slope = precision * d, of_s = 1.0 - d * slope, size = fabs(of_s);
        double numbers[4] = {w * slope, w * precision, w * of_s, w * (size > 2.0 ? size : 2.0)};
        of_mean[2 * i] = numbers[0];
        of_mean[2 * i + 1] = numbers[1];
        of_log[2 * i] = numbers[2];
        of_log[2 * i + 1] = numbers[3];
        for (int j = 0; j < 4; j++) {
            int64_t bits = magnitude_bits(numbers[j]);
            top[j] = bits > top[j] ? bits : top[j];
        }
    }
    for (int j = 0; j < 4; j++)
        raise_to(largest + j, top[j]);
}

static void normal_nll(const double *y, const double *raw, const double *weight, size_t n, size_t pitch, int n_outputs,
                       double *pairs, double *largest)
{
    (void)n_outputs; /* two */
    if (weight)
        normal_body(y, raw, weight, n, pitch, pairs, largest, 1);
    else
        normal_body(y, raw, weight, n, pitch, pairs, largest, 0);
}

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
