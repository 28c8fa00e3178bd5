/* Gradients and hessians of the regression losses, element by element; d = raw - y throughout. Where the loss is flat or
 * not convex, the hessian is that of a parabola that touches it at raw and lies above it (Hunter & Lange 2004), so that
 * no step raises the loss. boostgrad/losses/pointwise.py says what each is. */

/* Finite, also times a large target and summed over all rows. */
static inline double bounded_exp(double x)
{
    return exp_of(x > 500.0 ? 500.0 : x);
}

#define POINTWISE_LOSS(NAME, ...)                                                                                      \
    static void NAME(const double *restrict y, const double *restrict raw, const double *restrict weight, size_t n,    \
                     double parameter, int width, double *restrict pairs, double *largest)                             \
    {                                                                                                                  \
        int64_t gradient_bits = 0, hessian_bits = 0;                                                                   \
        for (size_t i = 0; i < n; i++) {                                                                               \
            double d = raw[i] - y[i], g, h;                                                                            \
            double w = weight ? weight[i] : 1.0;                                                                       \
            (void)d, (void)parameter;                                                                                  \
            __VA_ARGS__                                                                                                \
            g *= w;                                                                                                    \
            h *= w;                                                                                                    \
            pairs[width * i] = g;                                                                                      \
            pairs[width * i + width - 1] = width == 2 ? h : g;                                                         \
            int64_t bits = magnitude_bits(g);                                                                          \
            gradient_bits = bits > gradient_bits ? bits : gradient_bits;                                               \
            bits = magnitude_bits(h);                                                                                  \
            hessian_bits = bits > hessian_bits ? bits : hessian_bits;                                                  \
        }                                                                                                              \
        raise_to(largest, gradient_bits);                                                                              \
        raise_to(largest + 1, hessian_bits);                                                                           \
    }

/* |d| */
POINTWISE_LOSS(absolute_error, {
    g = (double)(d > 0) - (double)(d < 0);
    h = 1.0;
})

/* max((q - 1) (y - raw), q (y - raw)), parameter q */
POINTWISE_LOSS(quantile, {
    g = d > 0 ? 1.0 - parameter : d < 0 ? -parameter : 0.0;
    h = 1.0;
})

/* |d| / max(|y|, parameter) */
POINTWISE_LOSS(relative_error, {
    h = 1.0 / fmax(fabs(y[i]), parameter);
    g = d > 0 ? h : d < 0 ? -h : 0.0;
})

/* d^2 / 2, and a (|d| - a / 2) beyond a = parameter */
POINTWISE_LOSS(huber, {
    h = parameter / fmax(fabs(d), parameter);
    g = d * h;
})

/* c |d| - c^2 log(1 + |d| / c), c = parameter */
POINTWISE_LOSS(fair, {
    h = parameter / (fabs(d) + parameter);
    g = d * h;
})

/* log cosh d */
POINTWISE_LOSS(log_cosh, {
    double size = fabs(d), e = exp_of(-2.0 * size), t = (1.0 - e) / (1.0 + e);
    h = size < 1e-3 ? 1.0 - size * size / 3.0 : t / size;
    g = d * h;
})

/* |q - [d > 0]| d^2, parameter q */
POINTWISE_LOSS(expectile, {
    h = 2.0 * (d > 0 ? 1.0 - parameter : parameter);
    g = d * h;
})

/* exp(raw) - y raw */
POINTWISE_LOSS(poisson, {
    h = bounded_exp(raw[i]);
    g = h - y[i];
})

/* raw + y exp(-raw) */
POINTWISE_LOSS(gamma_loss, {
    h = y[i] * bounded_exp(-raw[i]);
    g = 1.0 - h;
})

/* exp((2 - p) raw) / (2 - p) - y exp((1 - p) raw) / (1 - p), 1 < p = parameter < 2; the hessian is the expected one, which
 * the gradient's variance is in proportion to. The true one, (2 - p) a + (p - 1) b, is far below it where y is 0 */
POINTWISE_LOSS(tweedie, {
    double a = bounded_exp((2.0 - parameter) * raw[i]), b = y[i] * bounded_exp((1.0 - parameter) * raw[i]);
    g = a - b;
    h = a;
})

/* -(1 - p)^c log p, c = parameter, p the probability of the true class: with z its log odds and q = 1 - p the gradient by
 * z is q^c (c p log p - q), and the hessian p q^c ((2 c + 1) q - c^2 p log p + c q log p) without its last, negative term
 */
POINTWISE_LOSS(focal, {
    double sign = 2.0 * y[i] - 1.0, z = sign * raw[i], e = exp_of(-fabs(z));
    double p = z >= 0 ? 1.0 / (1.0 + e) : e / (1.0 + e), q = z >= 0 ? e / (1.0 + e) : 1.0 / (1.0 + e);
    double rest = log1p(e), log_p = (z < 0 ? z : 0.0) - rest, log_q = (z > 0 ? -z : 0.0) - rest;
    double power = exp_of(parameter * log_q);
    g = sign * power * (parameter * p * log_p - q);
    h = p * power * ((2.0 * parameter + 1.0) * q - parameter * parameter * p * log_p);
})
