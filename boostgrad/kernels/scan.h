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

/* Gains without thresholds and bounds are compared in the units of the packed sums, and times this at the end. */
static inline double unit_of_gains(const bg_scan_rule *rule, int plain)
{
    return plain ? rule->inverse_gradient_scale * (rule->inverse_gradient_scale / rule->inverse_hessian_scale) : 1.0;
}

/* The least sum of hessians that a child may have, in their unit; always some. */
static inline int64_t least_hessian(const bg_scan_rule *rule)
{
    double least = ceil(rule->min_child_weight / rule->inverse_hessian_scale);
    return least < 1 ? 1 : least > 9e18 ? INT64_MAX : (int64_t)least;
}

/* The largest of the gains, as bits: doubles that are not negative are ordered as their bits are.
 * IN   scratch->sums (narrow), or scratch->gradient and scratch->sums (wide): packed running sums of the left child;
 *      missing: packed sums that join them there
 * OUT  first, end: the places with enough rows to the left and to the right; scratch->gain_bits of those */
static inline int64_t gains_of(size_t n, const int64_t *missing, const int64_t *total, const bg_scan_rule *rule,
                               bg_scan_scratch *scratch, int wide, int plain, size_t *first, size_t *end)
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
    const int64_t least = least_hessian(rule);
    const double l2 = rule->l2 / hessian_unit;
    const int64_t min_samples = rule->min_samples_leaf, max_samples = count_total - rule->min_samples_leaf;
    int64_t largest = 0;
    size_t i = 0;
    while (i < n && ((sums[i] + missing_sums) & count_mask) < min_samples)
        i++;
    while (n > i && ((sums[n - 1] + missing_sums) & count_mask) > max_samples)
        n--;
    *end = n;
    for (*first = i; i < n; i++) {
        int64_t left = sums[i] + missing_sums;
        int64_t left_gradient = wide ? gradient[i] + missing_gradient : left >> count_bits;
        int64_t left_hessian = wide ? left >> count_bits : left & count_mask;
        double gl = (double)left_gradient, gr = (double)(gradient_total - left_gradient);
        double hl = (double)left_hessian, hr = (double)(hessian_total - left_hessian);
        double gain;
        if (plain) {
            hl += l2;
            hr += l2;
            gain = (gl * gl * hr + gr * gr * hl) / (hl * hr);
        } else {
            gain = general_score(gl * gradient_unit, hl * hessian_unit, rule) +
                   general_score(gr * gradient_unit, hr * hessian_unit, rule);
        }
        int admissible = (left_hessian >= least) & (hessian_total - left_hessian >= least) & (gain > 0);
        int64_t bits = admissible ? bits_of(gain) : 0;
        gain_bits[i] = bits;
        largest = bits > largest ? bits : largest;
    }
    return largest;
}

/* The code whose rows come last in a place. */
static inline uint32_t code_of(const int64_t *hist, size_t place, int wide)
{
    uint32_t code = 0;
    for (size_t left = place + 1; left > 0; left -= (wide ? hist[2 * code + 1] : hist[code]) != 0)
        code++;
    return code;
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

/* Eight records, lane by lane. */
typedef struct {
    __m512i gradient, sums; /* narrow: both in sums */
} eight_records;

/* Those of the codes from here on, zeros where there are no more codes. */
static inline __attribute__((always_inline)) eight_records records_of(const int64_t *hist, uint32_t code,
                                                                      uint32_t n_codes, int wide)
{
    const __m512i even = _mm512_set_epi64(14, 12, 10, 8, 6, 4, 2, 0);
    const __m512i odd = _mm512_add_epi64(even, _mm512_set1_epi64(1));
    const uint32_t n_numbers = (wide ? 2 : 1) * (n_codes - code);
    __mmask16 there = n_numbers >= 16 ? 0xffff : (__mmask16)((1u << n_numbers) - 1);
    eight_records found = {_mm512_setzero_si512(), _mm512_maskz_loadu_epi64((__mmask8)there, hist + (wide ? 2 : 1) * code)};
    if (wide) {
        __m512i more = _mm512_maskz_loadu_epi64((__mmask8)(there >> 8), hist + 2 * code + 8);
        found.gradient = _mm512_permutex2var_epi64(found.sums, even, more);
        found.sums = _mm512_permutex2var_epi64(found.sums, odd, more);
    }
    return found;
}

/* OUT scratch: the records of the codes that have rows, and zeros up to a full vector; returns how many there are. */
static inline __attribute__((always_inline)) size_t filled_records(const int64_t *hist, uint32_t n_codes,
                                                                   bg_scan_scratch *scratch, int wide)
{
    size_t n = 0;
    for (uint32_t code = 1; code < n_codes; code += 8) {
        eight_records found = records_of(hist, code, n_codes, wide);
        __mmask8 filled = _mm512_test_epi64_mask(found.sums, found.sums);
        if (wide)
            _mm512_storeu_si512(scratch->gradient + n, _mm512_maskz_compress_epi64(filled, found.gradient));
        _mm512_storeu_si512(scratch->sums + n, _mm512_maskz_compress_epi64(filled, found.sums));
        n += (size_t)__builtin_popcount(filled);
    }
    _mm512_storeu_si512(scratch->gradient + n, _mm512_setzero_si512());
    _mm512_storeu_si512(scratch->sums + n, _mm512_setzero_si512());
    return n;
}

/* The best of the places seen so far, lane by lane. */
typedef struct {
    __m512d gain;
    __m512i place;
} best_places;

/* Eight places whose left child has these sums: those that are better than the best of their lane take its place. No
 * division where none can reach the bound. */
static inline __attribute__((always_inline)) void improve_places(eight_records left, __m512i place, const int64_t *total,
                                                                 const bg_scan_rule *rule, int wide, __m512d bound,
                                                                 best_places *best)
{
    const __m512i count_mask = _mm512_set1_epi64(((int64_t)1 << rule->count_bits) - 1);
    const __m128i count_bits = _mm_cvtsi32_si128(rule->count_bits);
    const __m512i all = _mm512_set1_epi64(total[wide]);
    const __m512i all_count = _mm512_and_si512(all, count_mask);
    const __m512i all_hessian = wide ? _mm512_sra_epi64(all, count_bits) : all_count;
    const __m512i all_gradient = wide ? _mm512_set1_epi64(total[0]) : _mm512_sra_epi64(all, count_bits);
    const int64_t min_samples = rule->min_samples_leaf, hessian_at_least = least_hessian(rule);
    const __m512i least = _mm512_set1_epi64(!wide && hessian_at_least > min_samples ? hessian_at_least : min_samples);
    const __m512d l2 = _mm512_set1_pd(rule->l2 / rule->inverse_hessian_scale);

    __m512i count = _mm512_and_si512(left.sums, count_mask);
    __mmask8 fine = _mm512_cmpge_epi64_mask(count, least) &
                    _mm512_cmpge_epi64_mask(_mm512_sub_epi64(all_count, count), least);
    if (fine == 0)
        return;
    __m512i hessian = wide ? _mm512_sra_epi64(left.sums, count_bits) : count;
    __m512i other_hessian = _mm512_sub_epi64(all_hessian, hessian);
    if (wide)
        fine &= _mm512_cmpge_epi64_mask(hessian, _mm512_set1_epi64(hessian_at_least)) &
                _mm512_cmpge_epi64_mask(other_hessian, _mm512_set1_epi64(hessian_at_least));
    __m512i gradient = wide ? left.gradient : _mm512_sra_epi64(left.sums, count_bits);
    __m512d gl = _mm512_cvtepi64_pd(gradient);
    __m512d gr = _mm512_cvtepi64_pd(_mm512_sub_epi64(all_gradient, gradient));
    __m512d hl = _mm512_add_pd(_mm512_cvtepi64_pd(hessian), l2);
    __m512d hr = _mm512_add_pd(_mm512_cvtepi64_pd(other_hessian), l2);
    __m512d scores = _mm512_add_pd(_mm512_mul_pd(_mm512_mul_pd(gl, gl), hr), _mm512_mul_pd(_mm512_mul_pd(gr, gr), hl));
    __m512d curvatures = _mm512_mul_pd(hl, hr);
    fine = _mm512_mask_cmp_pd_mask(fine, scores, _mm512_mul_pd(curvatures, bound), _CMP_GE_OQ);
    if (fine == 0)
        return;
    __m512d gain = _mm512_div_pd(scores, curvatures);
    fine = _mm512_mask_cmp_pd_mask(fine, gain, best->gain, _CMP_GT_OQ);
    best->gain = _mm512_mask_mov_pd(best->gain, fine, gain);
    best->place = _mm512_mask_mov_epi64(best->place, fine, place);
}

/* The first place of the largest gain, and that gain. */
static inline double best_of_lanes(const best_places *best, size_t *place)
{
    double gain = _mm512_reduce_max_pd(best->gain);
    __mmask8 equal = _mm512_cmp_pd_mask(best->gain, _mm512_set1_pd(gain), _CMP_EQ_OQ);
    *place = (size_t)_mm512_mask_reduce_min_epi64(equal, best->place);
    return gain;
}

/* scan_with for plain scores, eight places at a time and all in registers. A place of no rows has the gain of the place
 * before it, which wins. dense: most codes have rows, and each is a place. */
static inline __attribute__((always_inline)) void scan_eights(const int64_t *hist, uint32_t n_codes,
                                                              const int64_t *total, const bg_scan_rule *rule,
                                                              bg_scan_scratch *scratch, bg_scan_result *out, int wide,
                                                              int dense)
{
    const double unit = unit_of_gains(rule, 1), floor = out->gain;
    const __m512d bound = _mm512_set1_pd(floor / unit * (1 - 1e-14));
    const __m512i last = _mm512_set1_epi64(7), eight = _mm512_set1_epi64(8), zero = _mm512_setzero_si512();
    const int64_t count_mask = ((int64_t)1 << rule->count_bits) - 1;
    const __m512i most = _mm512_set1_epi64((total[wide] & count_mask) - rule->min_samples_leaf);
    const int any_missing = hist[wide] != 0;
    best_places right = {_mm512_setzero_pd(), zero}, left = right; /* where missing values go */
    eight_records sums = {zero, zero};
    __m512i place = _mm512_set_epi64(7, 6, 5, 4, 3, 2, 1, 0);
    size_t n = dense ? n_codes - 1 : filled_records(hist, n_codes, scratch, wide);
    for (size_t i = 0; i < n; i += 8, place = _mm512_add_epi64(place, eight)) {
        eight_records step = {zero, zero};
        if (dense)
            step = records_of(hist, 1 + (uint32_t)i, n_codes, wide);
        else
            step.sums = _mm512_loadu_si512(scratch->sums + i);
        if (wide) {
            if (!dense)
                step.gradient = _mm512_loadu_si512(scratch->gradient + i);
            sums.gradient = _mm512_add_epi64(_mm512_permutexvar_epi64(last, sums.gradient), prefix_sums(step.gradient));
        }
        sums.sums = _mm512_add_epi64(_mm512_permutexvar_epi64(last, sums.sums), prefix_sums(step.sums));
        improve_places(sums, place, total, rule, wide, bound, &right);
        if (any_missing) {
            eight_records with_missing = {_mm512_add_epi64(sums.gradient, _mm512_set1_epi64(hist[0])),
                                          _mm512_add_epi64(sums.sums, _mm512_set1_epi64(hist[wide]))};
            improve_places(with_missing, place, total, rule, wide, bound, &left);
        }
        if (_mm512_cmpgt_epi64_mask(_mm512_and_si512(sums.sums, _mm512_set1_epi64(count_mask)), most))
            break; /* too few rows are left for the right child */
    }
    size_t at, other_at = 0;
    double gain = best_of_lanes(&right, &at), other = any_missing ? best_of_lanes(&left, &other_at) : 0;
    const int missing_left = other > gain;
    gain = (missing_left ? other : gain) * unit;
    at = missing_left ? other_at : at;
    out->gain = 0;
    if (!(gain > 0) || gain < floor)
        return;
    out->gain = gain;
    out->missing_left = any_missing ? missing_left : -1;
    out->code = dense ? 1 + (uint32_t)at : code_of(hist, at, wide);
    out->left[0] = out->left[1] = 0;
    for (uint32_t code = missing_left ? 0 : 1; code <= out->code; code++) {
        out->left[0] += hist[(wide ? 2 : 1) * code];
        out->left[1] += wide ? hist[2 * code + 1] : 0;
    }
}

/* So many rows a code on average, and hardly a code is without. */
#define DENSE_ROWS 2

static inline __attribute__((always_inline)) void scan_plain(const int64_t *hist, uint32_t n_codes,
                                                             const int64_t *total, const bg_scan_rule *rule,
                                                             bg_scan_scratch *scratch, bg_scan_result *out, int wide)
{
    int64_t count = total[wide] & (((int64_t)1 << rule->count_bits) - 1);
    if (count >= DENSE_ROWS * (int64_t)n_codes)
        scan_eights(hist, n_codes, total, rule, scratch, out, wide, 1);
    else
        scan_eights(hist, n_codes, total, rule, scratch, out, wide, 0);
}
#endif

/* Running sums after each code that has rows; returns how many there are. */
static inline size_t running_sums(const int64_t *hist, uint32_t n_codes, bg_scan_scratch *scratch, int wide)
{
    int64_t *gradient = scratch->gradient, *sums = scratch->sums;
    int64_t sum[2] = {0, 0};
    uint32_t code = 1;
    size_t n = 0;
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

/* The first place with this gain, one of those from `place` on. */
static inline size_t place_of(int64_t gain, const bg_scan_scratch *scratch, size_t place)
{
    while (scratch->gain_bits[place] != gain)
        place++;
    return place;
}

/* The largest gain with missing values to the right and to the left of each place; of equal ones right. Without missing
 * values the last place has an empty right child and is not admissible. 0 where it is below the floor.
 * OUT place; missing_left: -1 where none is missing. Neither means anything where the gain is 0. */
static inline __attribute__((always_inline)) double best_place(size_t n, const int64_t *hist, int any_missing,
                                                               const int64_t *total, const bg_scan_rule *rule,
                                                               bg_scan_scratch *scratch, double floor, int wide,
                                                               int plain, size_t *place, int *missing_left)
{
    static const int64_t nothing[2] = {0, 0};
    const double unit = unit_of_gains(rule, plain);
    const int64_t least = bits_of(floor / unit * (1 - 1e-14));
    size_t first, end;
    int64_t best = gains_of(n, nothing, total, rule, scratch, wide, plain, &first, &end);
    *missing_left = any_missing ? 0 : -1;
    if (best < least)
        best = 0;
    if (best > 0)
        *place = place_of(best, scratch, first);
    if (any_missing && n > 1) {
        int64_t other = gains_of(n - 1, hist, total, rule, scratch, wide, plain, &first, &end);
        if (other > best && other >= least) {
            best = other;
            *missing_left = 1;
            *place = place_of(best, scratch, first);
        }
    }
    double gain;
    memcpy(&gain, &best, sizeof gain);
    gain *= unit;
    return gain >= floor ? gain : 0;
}

static inline void scan_with(const int64_t *hist, uint32_t n_codes, const int64_t *total, const bg_scan_rule *rule,
                             bg_scan_scratch *scratch, bg_scan_result *out, int wide, int plain)
{
    const double floor = out->gain;
    out->gain = 0;
    size_t n = running_sums(hist, n_codes, scratch, wide), place = 0;
    int missing_left;
    if (n == 0)
        return;
    double gain = best_place(n, hist, hist[wide] != 0, total, rule, scratch, floor, wide, plain, &place, &missing_left);
    if (gain <= 0)
        return;
    out->gain = gain;
    out->missing_left = missing_left;
    out->left[0] = (wide ? scratch->gradient[place] : scratch->sums[place]) + (missing_left == 1 ? hist[0] : 0);
    out->left[1] = wide ? scratch->sums[place] + (missing_left == 1 ? hist[1] : 0) : 0;
    out->code = code_of(hist, place, wide);
}

#if !defined(BG_AVX512)
static inline void scan_plain(const int64_t *hist, uint32_t n_codes, const int64_t *total, const bg_scan_rule *rule,
                              bg_scan_scratch *scratch, bg_scan_result *out, int wide)
{
    scan_with(hist, n_codes, total, rule, scratch, out, wide, 1);
}
#endif

static void scan(const int64_t *hist, uint32_t n_codes, const int64_t *total, const bg_scan_rule *rule,
                 bg_scan_scratch *scratch, bg_scan_result *out)
{
    if (rule->wide && rule->plain)
        scan_plain(hist, n_codes, total, rule, scratch, out, 1);
    else if (rule->wide)
        scan_with(hist, n_codes, total, rule, scratch, out, 1, 0);
    else if (rule->plain)
        scan_plain(hist, n_codes, total, rule, scratch, out, 0);
    else
        scan_with(hist, n_codes, total, rule, scratch, out, 0, 0);
}
