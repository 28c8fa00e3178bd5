/* Best split of one feature of one node: running sums over the codes, a gain for each place where rows lie.
 *
 *   codes     0 (missing) | 1   2   3   4   5
 *   rows            2     | 4   0   3   0   6
 *   places                    ^       ^       ^      after code 1, after 3; after 5 only where missing goes right
 *
 * With the node's sums G, H the score of a leaf is score(G, H) = T(G)^2 / (H + l2), T the soft threshold by l1
 * (Chen and Guestrin 2016, eq. 6 and 7, twice); with a bound on the step w it is -(2 G w + (H + l2) w^2 + 2 l1 |w|). */

static inline double soft_threshold(double gradient, double l1)
{
    double size = fabs(gradient) - l1;
    return size > 0 ? (gradient < 0 ? -size : size) : 0.0;
}

static inline double general_score(double gradient, double hessian, const bg_scan_rule *rule)
{
    double thresholded = soft_threshold(gradient, rule->l1);
    double curvature = hessian + rule->l2;
    double step = -thresholded / curvature;
    if (rule->max_delta_step > 0)
        step = fmin(fmax(step, -rule->max_delta_step), rule->max_delta_step);
    return -(2 * gradient * step + curvature * step * step + 2 * rule->l1 * fabs(step));
}

static inline int64_t bits_of(double x)
{
    int64_t bits;
    memcpy(&bits, &x, sizeof bits);
    return bits;
}

/* The largest of the gains, as bits: doubles that are not negative are ordered as their bits are.
 * IN  places: running sums of the left child; OUT scratch->gain_bits */
static inline int64_t gains_of(size_t n, int64_t gradient_offset, int64_t hessian_offset, int64_t count_offset,
                               int64_t gradient_total, int64_t hessian_total, int64_t count_total,
                               const bg_scan_rule *rule, bg_scan_scratch *scratch, int plain)
{
    const int64_t *restrict gradient = scratch->gradient, *restrict hessian = scratch->hessian;
    const int64_t *restrict count = scratch->count;
    int64_t *restrict gain_bits = scratch->gain_bits;
    const double gradient_unit = rule->inverse_gradient_scale, hessian_unit = rule->inverse_hessian_scale;
    const double l2 = rule->l2, min_weight = rule->min_child_weight;
    const int64_t min_samples = rule->min_samples_leaf;
    int64_t largest = 0;
    for (size_t i = 0; i < n; i++) {
        int64_t left_gradient = gradient[i] + gradient_offset;
        int64_t left_hessian = hessian[i] + hessian_offset;
        int64_t left_count = count[i] + count_offset;
        double gl = (double)left_gradient * gradient_unit;
        double gr = (double)(gradient_total - left_gradient) * gradient_unit;
        double hl = (double)left_hessian * hessian_unit;
        double hr = (double)(hessian_total - left_hessian) * hessian_unit;
        double gain;
        if (plain) {
            double al = hl + l2, ar = hr + l2;
            gain = (gl * gl * ar + gr * gr * al) / (al * ar);
        } else {
            gain = general_score(gl, hl, rule) + general_score(gr, hr, rule);
        }
        int admissible = (left_count >= min_samples) & (count_total - left_count >= min_samples) & (hl >= min_weight) &
                         (hr >= min_weight) & (left_hessian > 0) & (hessian_total - left_hessian > 0) & (gain > 0);
        int64_t bits = admissible ? bits_of(gain) : 0;
        gain_bits[i] = bits;
        largest = bits > largest ? bits : largest;
    }
    return largest;
}

static inline size_t running_sums(const int64_t *hist, uint32_t n_codes, const bg_scan_rule *rule,
                                  bg_scan_scratch *scratch, int wide)
{
    const int count_bits = rule->count_bits;
    const int64_t count_mask = ((int64_t)1 << count_bits) - 1;
    int64_t gradient = 0, rest = 0;
    size_t n = 0;
    for (uint32_t code = 1; code < n_codes; code++) {
        int64_t step = wide ? hist[2 * code + 1] : hist[code];
        rest += step;
        if (wide) {
            gradient += hist[2 * code];
            scratch->gradient[n] = gradient;
            scratch->hessian[n] = rest >> count_bits;
            scratch->count[n] = rest & count_mask;
        } else {
            scratch->gradient[n] = rest >> count_bits;
            scratch->hessian[n] = scratch->count[n] = rest & count_mask;
        }
        scratch->code[n] = code;
        n += step != 0; /* an empty bin is overwritten by the next one */
    }
    return n;
}

static inline void scan_with(const int64_t *hist, uint32_t n_codes, const int64_t *total, const bg_scan_rule *rule,
                             bg_scan_scratch *scratch, bg_scan_result *out, int wide, int plain)
{
    const int count_bits = rule->count_bits;
    const int64_t count_mask = ((int64_t)1 << count_bits) - 1;
    const int64_t missing_rest = wide ? hist[1] : hist[0];
    const int64_t gradient_total = wide ? total[0] : total[0] >> count_bits;
    const int64_t count_total = (wide ? total[1] : total[0]) & count_mask;
    const int64_t hessian_total = wide ? total[1] >> count_bits : count_total;
    out->gain = 0;
    size_t n = running_sums(hist, n_codes, rule, scratch, wide);
    if (n == 0)
        return;
    const int any_missing = missing_rest != 0;
    /* missing right; without missing values the last place has an empty right child and is not admissible */
    int64_t best = gains_of(n, 0, 0, 0, gradient_total, hessian_total, count_total, rule, scratch, plain);
    int missing_left = any_missing ? 0 : -1;
    size_t place = 0;
    if (best > 0)
        while (scratch->gain_bits[place] != best)
            place++;
    if (any_missing && n > 1) {
        int64_t gradient = wide ? hist[0] : hist[0] >> count_bits;
        int64_t count = missing_rest & count_mask;
        int64_t hessian = wide ? missing_rest >> count_bits : count;
        int64_t other = gains_of(n - 1, gradient, hessian, count, gradient_total, hessian_total, count_total, rule,
                                 scratch, plain);
        if (other > best) {
            best = other;
            missing_left = 1;
            place = 0;
            while (scratch->gain_bits[place] != best)
                place++;
        }
    }
    if (best <= 0)
        return;
    memcpy(&out->gain, &best, sizeof best);
    out->code = scratch->code[place];
    out->missing_left = missing_left;
    int64_t gradient = scratch->gradient[place], count = scratch->count[place], hessian = scratch->hessian[place];
    if (wide) {
        out->left[0] = gradient;
        out->left[1] = (int64_t)((uint64_t)hessian << count_bits) + count;
        if (missing_left == 1) {
            out->left[0] += hist[0];
            out->left[1] += hist[1];
        }
    } else {
        out->left[0] = (int64_t)((uint64_t)gradient << count_bits) + count;
        out->left[1] = 0;
        if (missing_left == 1)
            out->left[0] += hist[0];
    }
}

static void scan(const int64_t *hist, uint32_t n_codes, const int64_t *total, const bg_scan_rule *rule,
                 bg_scan_scratch *scratch, bg_scan_result *out)
{
    if (rule->wide && rule->plain)
        scan_with(hist, n_codes, total, rule, scratch, out, 1, 1);
    else if (rule->wide)
        scan_with(hist, n_codes, total, rule, scratch, out, 1, 0);
    else if (rule->plain)
        scan_with(hist, n_codes, total, rule, scratch, out, 0, 1);
    else
        scan_with(hist, n_codes, total, rule, scratch, out, 0, 0);
}
