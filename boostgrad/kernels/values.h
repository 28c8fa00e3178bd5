/* Losses of rows, summed: what scores are made of between iterations. boostgrad/losses says what each loss is.
 *
 * Losses of 64 rows are worked out at a time, and those of every eighth row have a sum of their own, so that eight are
 * added by one instruction where there is one, and the result is the same where there is none. */
#define VALUE_ROWS 64

/* INOUT sums: eight. */
static inline void add_values(const double *restrict value, const double *restrict weight, size_t rows,
                              double *restrict sums)
{
    double weighed[VALUE_ROWS] = {0};
    for (size_t i = 0; i < rows; i++)
        weighed[i] = weight ? weight[i] * value[i] : value[i];
    for (size_t i = 0; i < VALUE_ROWS; i += 8)
        for (size_t j = 0; j < 8; j++)
            sums[j] += weighed[i + j];
}

/* Fills `value` for `rows` rows from y and raw on; other outputs' raw predictions are `pitch` numbers apart. */
#define SUM_OF_LOSSES(NAME, ...)                                                                                       \
    static double sum_of_##NAME(const double *restrict y, const double *restrict raw, const double *restrict weight,   \
                                size_t n, size_t pitch, int n_outputs, const double *restrict parameters)              \
    {                                                                                                                  \
        double sums[8] = {0}, value[VALUE_ROWS];                                                                       \
        const double parameter = parameters[0];                                                                        \
        (void)parameter, (void)pitch, (void)n_outputs;                                                                 \
        for (size_t begin = 0; begin < n; begin += VALUE_ROWS, y += VALUE_ROWS, raw += VALUE_ROWS) {                   \
            const size_t rows = n - begin < VALUE_ROWS ? n - begin : VALUE_ROWS;                                       \
            __VA_ARGS__                                                                                                \
            add_values(value, weight ? weight + begin : NULL, rows, sums);                                             \
        }                                                                                                              \
        return ((sums[0] + sums[1]) + (sums[2] + sums[3])) + ((sums[4] + sums[5]) + (sums[6] + sums[7]));              \
    }

/* The same for losses of one output, by the loss of one row, in which d = raw - y. */
#define SUM_ROW_BY_ROW(NAME, LOSS)                                                                                     \
    SUM_OF_LOSSES(NAME, for (size_t i = 0; i < rows; i++) {                                                            \
        const double d = raw[i] - y[i];                                                                                \
        (void)d;                                                                                                       \
        value[i] = (LOSS);                                                                                             \
    })

/* log(1 + exp(x)): what a small power loses in 1 + power is made good */
static inline double softplus_of(double x)
{
    double power = exp_of(-fabs(x)), sum = 1.0 + power;
    return (x > 0 ? x : 0.0) + (log_of(sum) + (power - (sum - 1.0)));
}

static inline double pinball(double above, double level) /* above = y - raw */
{
    double a = level * above, b = (level - 1.0) * above;
    return a > b ? a : b;
}

static inline double smaller(double a, double b) { return a < b ? a : b; }

SUM_ROW_BY_ROW(squared_error, 0.5 * (d * d))
SUM_ROW_BY_ROW(absolute_error, fabs(d))
SUM_ROW_BY_ROW(quantile, pinball(-d, parameter))
SUM_ROW_BY_ROW(huber, smaller(fabs(d), parameter) * (fabs(d) - 0.5 * smaller(fabs(d), parameter)))
SUM_ROW_BY_ROW(expectile, (d > 0 ? 1.0 - parameter : parameter) * (d * d))
SUM_ROW_BY_ROW(poisson, bounded_exp(raw[i]) - y[i] * raw[i])
SUM_ROW_BY_ROW(gamma, raw[i] + y[i] * bounded_exp(-raw[i]))
SUM_ROW_BY_ROW(tweedie, bounded_exp((2.0 - parameter) * raw[i]) / (2.0 - parameter) -
                            y[i] * bounded_exp((1.0 - parameter) * raw[i]) / (1.0 - parameter))
SUM_ROW_BY_ROW(binary_log_loss, softplus_of(raw[i]) - y[i] * raw[i])

/* log(2 pi) / 2 + log s + (y - m)^2 / (2 s^2), raw predictions m and log s */
SUM_OF_LOSSES(normal_nll, for (size_t i = 0; i < rows; i++) {
    const double log_s = raw[pitch + i], d = raw[i] - y[i];
    value[i] = 0.91893853320467274178 + log_s + 0.5 * (d * d) * exp_of(within(-2.0 * log_s, LARGEST_LOG));
})

/* log Gamma(k) - k log(k / m) - (k - 1) log y + k y / m, raw predictions log m and log k, and with x = y / m
 *
 *   k (x - log x - 1) + log y + (log Gamma(k) - k log k + k)
 *
 * so that large k do not cancel out. log Gamma(k) is log Gamma(k + 9) less the logarithm of the product of k to k + 8, and
 * that the first terms of Stirling's series (Abramowitz and Stegun 1964, 6.1.40). */
SUM_OF_LOSSES(gamma_nll, for (size_t i = 0; i < rows; i++) {
    const double k = exp_of(within(raw[pitch + i], LARGEST_LOG_SHAPE)), x = y[i] * exp_of(within(-raw[i], LARGEST_LOG));
    double product = 1.0;
    for (int j = 0; j < 9; j++)
        product *= k + j;
    const double shifted = k + 9.0, r = 1.0 / shifted, z = r * r, share = 9.0 / k, sum = 1.0 + share;
    const double log_sum = log_of(sum) + (share - (sum - 1.0)) / sum;
    const double tail = (((-691.0 / 360360.0 * z + 1.0 / 1188.0) * z - 1.0 / 1680.0) * z + 1.0 / 1260.0) * z - 1.0 / 360.0;
    const double of_shape = k * log_sum - 9.0 + 8.5 * log_of(shifted) + 0.91893853320467274178 +
                            r * (1.0 / 12.0 + tail * z) - log_of(product);
    const double floor_x = x > 1e-300 ? x : 1e-300;
    value[i] = k * (x - log_of(floor_x) - 1.0) + log_of(y[i] > 1e-300 ? y[i] : 1e-300) + of_shape;
})

/* log sum_k exp(raw_k) - raw_y */
SUM_OF_LOSSES(multinomial_log_loss, {
    double top[VALUE_ROWS], sum[VALUE_ROWS] = {0}, of_class[VALUE_ROWS] = {0};
    softmax_tops(raw, rows, pitch, n_outputs, top);
    for (int k = 0; k < n_outputs; k++)
        for (size_t i = 0; i < rows; i++) {
            double r = raw[k * pitch + i];
            sum[i] += exp_of(r - top[i]);
            of_class[i] = y[i] == (double)k ? r : of_class[i];
        }
    for (size_t i = 0; i < rows; i++)
        value[i] = top[i] + log_of(sum[i]) - of_class[i];
})

/* The mean pinball loss of the levels in `parameters` at the sorted raw predictions, of which there are n_outputs <=
 * BG_MOST_SORTED: neighbours are put in order in turns of the even and the odd ones. */
SUM_OF_LOSSES(quantiles, {
    double sorted[BG_MOST_SORTED][VALUE_ROWS];
    for (int k = 0; k < n_outputs; k++)
        memcpy(sorted[k], raw + k * pitch, rows * sizeof(double));
    for (int turn = 0; turn < n_outputs; turn++)
        for (int k = turn % 2; k + 1 < n_outputs; k += 2)
            for (size_t i = 0; i < rows; i++) {
                double a = sorted[k][i], b = sorted[k + 1][i];
                sorted[k][i] = a < b ? a : b;
                sorted[k + 1][i] = a < b ? b : a;
            }
    for (size_t i = 0; i < rows; i++)
        value[i] = 0;
    for (int k = 0; k < n_outputs; k++)
        for (size_t i = 0; i < rows; i++)
            value[i] += pinball(y[i] - sorted[k][i], parameters[k]);
    for (size_t i = 0; i < rows; i++)
        value[i] /= n_outputs;
})
