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
 * IN   scratch->sums (narrow), or scratch->gradient and scratch->sums (wide): packed running sums of the left child;
 *      missing: packed sums that join them there
 * OUT  scratch->gain_bits */
static inline int64_t gains_of(size_t n, const int64_t *missing, const int64_t *total, const bg_scan_rule *rule,
                               bg_scan_scratch *scratch, int wide, int plain)
{
    const int64_t *restrict gradient = scratch->gradient, *restrict sums = scratch->sums;
    int64_t *restrict gain_bits = scratch->gain_bits;
    const int count_bits = rule->count_bits;
    const int64_t count_mask = ((int64_t)1 << count_bits) - 1;
    const int64_t missing_gradient = wide ? missing[0] : 0, missing_sums = missing[wide];
    const int64_t gradient_total = wide ? total[0] : total[0] >> count_bits;
    const int64_t count_total = total[wide] & count_mask;
    const int64_t hessian_total = wide ? total[1] >> count_bits : count_total;
    const double gradient_unit = rule->inverse_gradient_scale, hessian_unit = rule->inverse_hessian_scale;
    const double l2 = rule->l2, min_weight = rule->min_child_weight;
    const int64_t min_samples = rule->min_samples_leaf, max_samples = count_total - rule->min_samples_leaf;
    int64_t largest = 0;
    for (size_t i = 0; i < n; i++) {
        int64_t left = sums[i] + missing_sums;
        int64_t left_count = left & count_mask;
        int64_t left_gradient = wide ? gradient[i] + missing_gradient : left >> count_bits;
        int64_t left_hessian = wide ? left >> count_bits : left_count;
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
        int admissible = (left_count >= min_samples) & (left_count <= max_samples) & (hl >= min_weight) &
                         (hr >= min_weight) & (left_hessian > 0) & (left_hessian < hessian_total) & (gain > 0);
        int64_t bits = admissible ? bits_of(gain) : 0;
        gain_bits[i] = bits;
        largest = bits > largest ? bits : largest;
    }
    return largest;
}

#if defined(BG_AVX512)
/* Sums of a vector's lanes up to each. */
static inline __m512i prefix_sums(__m512i v)
{
    const __m512i zero = _mm512_setzero_si512();
    v = _mm512_add_epi64(v, _mm512_alignr_epi64(v, zero, 7));
    v = _mm512_add_epi64(v, _mm512_alignr_epi64(v, zero, 6));
    return _mm512_add_epi64(v, _mm512_alignr_epi64(v, zero, 4));
}

/* running_sums for as many codes as fill vectors of eight; the sums so far go through sum[0] and sum[1].
 * OUT code: the first one that is left */
static inline size_t running_sums_of_eight(const int64_t *hist, uint32_t n_codes, bg_scan_scratch *scratch, int wide,
                                           uint32_t *code, int64_t *sum)
{
    const __m512i even = _mm512_set_epi64(14, 12, 10, 8, 6, 4, 2, 0), last = _mm512_set1_epi64(7);
    const __m512i odd = _mm512_add_epi64(even, _mm512_set1_epi64(1));
    __m512i gradient_sum = _mm512_setzero_si512(), sums = _mm512_setzero_si512();
    size_t n = 0;
    for (; *code + 8 <= n_codes; *code += 8) {
        __m512i step = _mm512_loadu_si512(hist + (wide ? 2 : 1) * *code);
        if (wide) {
            __m512i more = _mm512_loadu_si512(hist + 2 * *code + 8);
            __m512i gradient = prefix_sums(_mm512_permutex2var_epi64(step, even, more));
            step = _mm512_permutex2var_epi64(step, odd, more);
            __mmask8 filled = _mm512_test_epi64_mask(step, step);
            _mm512_storeu_si512(scratch->gradient + n,
                                _mm512_maskz_compress_epi64(filled, _mm512_add_epi64(gradient, gradient_sum)));
            gradient_sum = _mm512_add_epi64(gradient_sum, _mm512_permutexvar_epi64(last, gradient));
        }
        __mmask8 filled = _mm512_test_epi64_mask(step, step);
        step = prefix_sums(step);
        _mm512_storeu_si512(scratch->sums + n, _mm512_maskz_compress_epi64(filled, _mm512_add_epi64(step, sums)));
        sums = _mm512_add_epi64(sums, _mm512_permutexvar_epi64(last, step));
        n += (size_t)__builtin_popcount(filled);
    }
    sum[0] = _mm_cvtsi128_si64(_mm512_castsi512_si128(wide ? gradient_sum : sums));
    sum[1] = _mm_cvtsi128_si64(_mm512_castsi512_si128(sums));
    return n;
}
#endif

/* Running sums after each code that has rows; returns how many there are. */
static inline size_t running_sums(const int64_t *hist, uint32_t n_codes, bg_scan_scratch *scratch, int wide)
{
    int64_t *gradient = scratch->gradient, *sums = scratch->sums;
    int64_t sum[2] = {0, 0};
    uint32_t code = 1;
    size_t n = 0;
#if defined(BG_AVX512)
    n = running_sums_of_eight(hist, n_codes, scratch, wide, &code, sum);
#endif
    for (; code < n_codes; code++) {
        int64_t step = wide ? hist[2 * code + 1] : hist[code];
        sum[1] += step;
        sums[n] = sum[1]; /* an empty bin is overwritten by the next one */
        if (wide) {
            sum[0] += hist[2 * code];
            gradient[n] = sum[0];
        }
        n += step != 0;
    }
    return n;
}

/* The first place with this gain. */
static inline size_t place_of(int64_t gain, const bg_scan_scratch *scratch)
{
    size_t place = 0;
    while (scratch->gain_bits[place] != gain)
        place++;
    return place;
}

/* The largest gain, as bits, with missing values to the right and to the left of each place; of equal ones right.
 * Without missing values the last place has an empty right child and is not admissible. 0 where it is below the floor.
 * OUT place; missing_left: -1 where none is missing. Neither means anything where the gain is 0. */
static inline __attribute__((always_inline)) int64_t best_place(size_t n, const int64_t *hist, int any_missing,
                                                                const int64_t *total, const bg_scan_rule *rule,
                                                                bg_scan_scratch *scratch, int64_t floor, int wide,
                                                                int plain, size_t *place, int *missing_left)
{
    static const int64_t nothing[2] = {0, 0};
    int64_t best = gains_of(n, nothing, total, rule, scratch, wide, plain);
    *missing_left = any_missing ? 0 : -1;
    if (best < floor)
        best = 0;
    if (best > 0)
        *place = place_of(best, scratch);
    if (any_missing && n > 1) {
        int64_t other = gains_of(n - 1, hist, total, rule, scratch, wide, plain);
        if (other > best && other >= floor) {
            best = other;
            *missing_left = 1;
            *place = place_of(best, scratch);
        }
    }
    return best;
}

static inline void scan_with(const int64_t *hist, uint32_t n_codes, const int64_t *total, const bg_scan_rule *rule,
                             bg_scan_scratch *scratch, bg_scan_result *out, int wide, int plain)
{
    const int64_t floor = bits_of(out->gain);
    out->gain = 0;
    size_t n = running_sums(hist, n_codes, scratch, wide), place = 0;
    int missing_left;
    if (n == 0)
        return;
    int64_t best =
        best_place(n, hist, hist[wide] != 0, total, rule, scratch, floor, wide, plain, &place, &missing_left);
    if (best <= 0)
        return;
    memcpy(&out->gain, &best, sizeof best);
    out->missing_left = missing_left;
    out->left[0] = (wide ? scratch->gradient[place] : scratch->sums[place]) + (missing_left == 1 ? hist[0] : 0);
    out->left[1] = wide ? scratch->sums[place] + (missing_left == 1 ? hist[1] : 0) : 0;
    uint32_t code = 0;
    for (size_t left = place + 1; left > 0; left -= (wide ? hist[2 * code + 1] : hist[code]) != 0)
        code++;
    out->code = code;
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
