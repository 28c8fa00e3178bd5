/* Splits of trees with vector leaves: a record holds several gradients a row, the fields, beside one hessian and the count.
 *
 *   lanes     [ field 1 : 32 | field 0 : 32 ] [ field 3 : 32 | field 2 : 32 ] ... [ hessian : 64 - count_bits | count ]
 *
 * A lane of two fields is the number 2^32 * high + low, both signed, so records are added and subtracted lane by lane as
 * all others are. The scales are such that no sum over all rows leaves its field. The score of a leaf is
 * sum_j G_j^2 / (H + l2) (as in Iosipoi and Vakhrushev 2022, SketchBoost, with hessians). */

#define SKETCH_ROWS 256

/* OUT fields[j][i] = sum_k weights[j][k] gradient_k[i], j < n_fields, and behind them the hessian,
 * sum_k weights[n_fields][k] hessian_k[i], or that of all rows where pairs hold no hessians; arrays of n_rows.
 * OUT sizes: sums of their absolute values.
 *
 * With hundreds of outputs the pairs are far larger than all caches, so they are read once: of a few rows, output by
 * output, into fields that stay in the first-level cache. */
static void sketch_fields(const double *pairs, size_t n_rows, int width, int n_outputs, const double *weights,
                          int n_fields, double constant_hessian, size_t first, size_t n, double *fields, double *sizes)
{
    double lane[2][SKETCH_ROWS], sums[BG_VECTOR_FIELDS + 1][SKETCH_ROWS];
    memset(sizes, 0, (n_fields + 1) * sizeof *sizes);
    for (size_t begin = first; begin < first + n; begin += SKETCH_ROWS) {
        const size_t rows = first + n - begin < SKETCH_ROWS ? first + n - begin : SKETCH_ROWS;
        memset(sums, 0, sizeof sums);
        for (int k = 0; k < n_outputs; k++) {
            const double *restrict from = pairs + ((size_t)k * n_rows + begin) * width;
            if (width == 1)
                memcpy(lane[0], from, rows * sizeof *from);
            else
                for (size_t i = 0; i < rows; i++) {
                    lane[0][i] = from[2 * i];
                    lane[1][i] = from[2 * i + 1];
                }
            for (int j = 0; j <= n_fields; j++) {
                const double weight = weights[(size_t)j * n_outputs + k];
                const double *restrict add = lane[j == n_fields];
                if (weight == 0 || (j == n_fields && width == 1))
                    continue;
                for (size_t i = 0; i < rows; i++)
                    sums[j][i] += weight * add[i];
            }
        }
        for (size_t i = 0; width == 1 && i < rows; i++)
            sums[n_fields][i] = constant_hessian;
        for (int j = 0; j <= n_fields; j++) {
            memcpy(fields + j * n_rows + begin, sums[j], rows * sizeof **sums);
            for (size_t i = 0; i < rows; i++)
                sizes[j] += fabs(sums[j][i]);
        }
    }
}

/* OUT records: of rows first .. first + n. Fields are rounded at random, as in quantize.h, or like hessians to the
 * nearest, by which rows with the same numbers have the same fields, and splits that are as good as each other tie. */
static void lay_vectors(const double *fields, size_t n_rows, int n_fields, int lanes, const double *scales,
                        int count_bits, int at_random, uint32_t seed, size_t first, size_t n, int64_t *records)
{
    const double unit = 1.0 / 65536, above = 4294967296.0;
    int64_t numbers[QUANTIZE_ROWS];
    for (size_t begin = first; begin < first + n; begin += QUANTIZE_ROWS) {
        const size_t rows = first + n - begin < QUANTIZE_ROWS ? first + n - begin : QUANTIZE_ROWS;
        int64_t *to = records + begin * lanes;
        const double *restrict hessian = fields + n_fields * n_rows + begin;
        memset(to, 0, rows * lanes * sizeof *to);
        for (int j = 0; j < n_fields; j++) {
            const double *restrict field = fields + j * n_rows + begin;
            const uint32_t field_seed = seed + (uint32_t)j * 0x9e3779b9u;
            for (size_t i = 0; i < rows; i++) {
                uint32_t chance = at_random ? row_hash((uint32_t)(begin + i), field_seed) & 0xffff : 0x8000;
                numbers[i] = (int64_t)(field[i] * scales[j] + (double)(int32_t)chance * unit + above) - (int64_t)above;
            }
            const int64_t place = j & 1 ? (int64_t)1 << 32 : 1;
            for (size_t i = 0; i < rows; i++)
                to[i * lanes + j / 2] += numbers[i] * place;
        }
        for (size_t i = 0; i < rows; i++)
            to[i * lanes + lanes - 1] = (llrint(hessian[i] * scales[n_fields]) * ((int64_t)1 << count_bits)) + 1;
    }
}

static inline double field_of(const int64_t *record, int j)
{
    int64_t low = (int32_t)(uint32_t)(uint64_t)record[j / 2];
    return (double)(j & 1 ? (record[j / 2] - low) >> 32 : low);
}

static double vector_score(const int64_t *record, const bg_vector_rule *rule)
{
    double squares = 0;
    double hessian = (double)(record[rule->lanes - 1] >> rule->count_bits) * rule->hessian_unit + rule->l2;
    for (int j = 0; j < rule->n_fields; j++) {
        double g = field_of(record, j) * rule->unit[j];
        squares += g * g;
    }
    return hessian > 0 ? squares / hessian : 0.0;
}

/* The number of a field in a packed sum; half a unit of the high one makes up for a low one below zero. */
static inline double field_in(int64_t packed, int high)
{
    return (double)(high ? (int32_t)((packed + 0x80000000) >> 32) : (int32_t)packed);
}

/* As gains_of. IN scratch: packed sums of the left child, at each place. Compiled for each number of fields, so that all
 * of them stay in registers. */
static inline __attribute__((always_inline)) int64_t gains_of_fields(const int d, size_t n, const int64_t *missing,
                                                                     const int64_t *total, const bg_vector_rule *rule,
                                                                     bg_vector_scratch *scratch)
{
    const int last = d <= 2 ? 1 : 3, count_bits = rule->count_bits;
    const int64_t count_mask = ((int64_t)1 << count_bits) - 1;
    const size_t pitch = scratch->pitch;
    const int64_t *restrict packed = scratch->sums, *restrict sums = scratch->sums + last * pitch;
    int64_t *restrict gain_bits = scratch->gain_bits;
    const int64_t min_samples = rule->min_samples_leaf, max_samples = (total[last] & count_mask) - min_samples;
    const int64_t hessian_total = total[last] >> count_bits, missing_sums = missing[last];
    const double hessian_unit = rule->hessian_unit, l2 = rule->l2, min_weight = rule->min_child_weight;
    double unit[BG_VECTOR_FIELDS], joins[BG_VECTOR_FIELDS], all[BG_VECTOR_FIELDS];
    int64_t largest = 0;
    for (int j = 0; j < d; j++) {
        unit[j] = rule->unit[j];
        joins[j] = field_of(missing, j) * unit[j];
        all[j] = field_of(total, j) * unit[j];
    }
    for (size_t i = 0; i < n; i++) {
        double left = 0, right = 0;
#pragma GCC unroll 6
        for (int j = 0; j < d; j++) {
            double gl = field_in(packed[j / 2 * pitch + i], j & 1) * unit[j] + joins[j], gr = all[j] - gl;
            left += gl * gl;
            right += gr * gr;
        }
        int64_t here = sums[i] + missing_sums;
        int64_t count = here & count_mask, hessian = here >> count_bits;
        double hl = (double)hessian * hessian_unit, hr = (double)(hessian_total - hessian) * hessian_unit;
        double al = hl + l2, ar = hr + l2;
        double gain = (left * ar + right * al) / (al * ar);
        int admissible = (count >= min_samples) & (count <= max_samples) & (hl >= min_weight) & (hr >= min_weight) &
                         (hessian > 0) & (hessian < hessian_total) & (gain > 0);
        int64_t bits = admissible ? bits_of(gain) : 0;
        gain_bits[i] = bits;
        largest = bits > largest ? bits : largest;
    }
    return largest;
}

static int64_t vector_gains(size_t n, const int64_t *missing, const int64_t *total, const bg_vector_rule *rule,
                            bg_vector_scratch *scratch)
{
    switch (rule->n_fields) {
    case 2: return gains_of_fields(2, n, missing, total, rule, scratch);
    case 3: return gains_of_fields(3, n, missing, total, rule, scratch);
    case 4: return gains_of_fields(4, n, missing, total, rule, scratch);
    case 5: return gains_of_fields(5, n, missing, total, rule, scratch);
    default: return gains_of_fields(6, n, missing, total, rule, scratch);
    }
}

/* OUT scratch: packed running sums after each code that has rows, lane by lane; returns how many there are. */
static inline __attribute__((always_inline)) size_t vector_sums(const int64_t *hist, uint32_t n_codes, int lanes,
                                                                bg_vector_scratch *scratch)
{
    int64_t running[BG_VECTOR_LANES] = {0};
    int64_t *to = scratch->sums;
    const size_t pitch = scratch->pitch;
    size_t n = 0;
    for (uint32_t code = 1; code < n_codes; code++) {
        const int64_t *record = hist + (size_t)code * lanes;
        for (int lane = 0; lane < lanes; lane++) {
            running[lane] += record[lane];
            to[lane * pitch + n] = running[lane]; /* an empty bin is overwritten by the next one */
        }
        n += record[lanes - 1] != 0;
    }
    return n;
}

static void scan_vector(const int64_t *hist, uint32_t n_codes, const int64_t *total, const bg_vector_rule *rule,
                        bg_vector_scratch *scratch, bg_vector_result *out)
{
    static const int64_t nothing[BG_VECTOR_LANES] = {0};
    const int lanes = rule->lanes;
    size_t n, place = 0, left = 0;
    uint32_t code;
    out->gain = 0;
    n = lanes == 2 ? vector_sums(hist, n_codes, 2, scratch) : vector_sums(hist, n_codes, 4, scratch);
    if (n == 0)
        return;
    const int any_missing = hist[lanes - 1] != 0;
    int64_t best = vector_gains(n, nothing, total, rule, scratch);
    out->missing_left = any_missing ? 0 : -1;
    while (best > 0 && scratch->gain_bits[place] != best)
        place++;
    if (any_missing && n > 1) {
        int64_t other = vector_gains(n - 1, hist, total, rule, scratch);
        if (other > best) {
            best = other;
            out->missing_left = 1;
            for (place = 0; scratch->gain_bits[place] != best;)
                place++;
        }
    }
    if (best <= 0)
        return;
    memcpy(&out->gain, &best, sizeof best);
    for (int lane = 0; lane < lanes; lane++)
        out->left[lane] = scratch->sums[lane * scratch->pitch + place] + (out->missing_left == 1 ? hist[lane] : 0);
    for (code = 0; left <= place;)
        left += hist[(size_t)++code * lanes + lanes - 1] != 0;
    out->code = code;
}

/* Codes of a categorical feature that are looked at together: most have no row in a small node, and which ones have is
 * better found out without branches. */
#define PROJECTED 256

/* OUT present: those from first on, PROJECTED at most, that have rows. Returns how many. */
static inline size_t present_codes(const int64_t *hist, int lanes, uint32_t first, uint32_t n_codes, uint32_t *present)
{
    const uint32_t end = n_codes - first < PROJECTED ? n_codes : first + PROJECTED;
    size_t n = 0;
    for (uint32_t code = first; code < end; code++) {
        present[n] = code;
        n += hist[(size_t)code * lanes + lanes - 1] != 0;
    }
    return n;
}

static inline __attribute__((always_inline)) void project_record(const int d, int last, const int64_t *whole,
                                                                 const int64_t *record, int64_t *to)
{
    int64_t sum = 0;
    for (int j = 0; j < d; j++)
        sum += whole[j] * (int64_t)field_of(record, j);
    to[0] = sum;
    to[1] = record[last];
}

/* OUT wide: records with one gradient, that of the direction along which the codes differ most: the first eigenvector of
 * sum_c d_c d_c' / H_c with d_c = G_c - G H_c / H, found by power iteration; it is rounded, so that sums stay exact.
 * OUT total_wide: the same of the node. Returns what 1 in the gradient's field is worth. */
static inline __attribute__((always_inline)) double project_fields(const int d, const int64_t *hist, uint32_t n_codes,
                                                                   const int64_t *total, const bg_vector_rule *rule,
                                                                   int64_t *wide, int64_t *total_wide)
{
    const int lanes = d <= 2 ? 2 : 4, last = lanes - 1;
    double spread[BG_VECTOR_FIELDS][BG_VECTOR_FIELDS] = {{0}}, direction[BG_VECTOR_FIELDS] = {0};
    double mean[BG_VECTOR_FIELDS], deviation[BG_VECTOR_FIELDS];
    int64_t whole[BG_VECTOR_FIELDS];
    uint32_t present[PROJECTED];
    double hessian = (double)(total[last] >> rule->count_bits), largest = 0, unit = 0;
    for (int j = 0; j < d; j++)
        mean[j] = hessian > 0 ? field_of(total, j) * rule->unit[j] / hessian : 0;
    for (uint32_t first = 1; first < n_codes; first += PROJECTED) {
        const size_t n = present_codes(hist, lanes, first, n_codes, present);
        for (size_t i = 0; i < n; i++) {
            const int64_t *record = hist + (size_t)present[i] * lanes;
            double h = (double)(record[last] >> rule->count_bits);
            double per_hessian = h > 0 ? 1.0 / h : 0.0;
            for (int j = 0; j < d; j++)
                deviation[j] = field_of(record, j) * rule->unit[j] - mean[j] * h;
            for (int j = 0; j < d; j++)
                for (int k = 0; k < d; k++)
                    spread[j][k] += deviation[j] * deviation[k] * per_hessian;
        }
    }
    int start = 0;
    for (int j = 1; j < d; j++)
        if (spread[j][j] > spread[start][start])
            start = j;
    memcpy(direction, spread[start], sizeof direction);
    for (int step = 0; step < 8; step++) {
        double next[BG_VECTOR_FIELDS] = {0};
        largest = 0;
        for (int j = 0; j < d; j++) {
            for (int k = 0; k < d; k++)
                next[j] += spread[j][k] * direction[k];
            largest = fabs(next[j]) > largest ? fabs(next[j]) : largest;
        }
        for (int j = 0; j < d; j++)
            direction[j] = largest > 0 ? next[j] / largest : j == start;
    }
    double norm = 0;
    for (int j = 0; j < d; j++) {
        norm += direction[j] * direction[j];
        unit = rule->unit[j] > unit ? rule->unit[j] : unit;
    }
    /* whole[j] is direction[j] unit[j] / unit in steps of 2^-16 */
    for (int j = 0; j < d; j++)
        whole[j] = llrint(direction[j] / sqrt(norm) * (rule->unit[j] / unit) * 65536.0);
    project_record(d, last, whole, total, total_wide);
    project_record(d, last, whole, hist, wide);
    memset(wide + 2, 0, 2 * (n_codes - 1) * sizeof *wide);
    for (uint32_t first = 1; first < n_codes; first += PROJECTED) {
        const size_t n = present_codes(hist, lanes, first, n_codes, present);
        for (size_t i = 0; i < n; i++)
            project_record(d, last, whole, hist + (size_t)present[i] * lanes, wide + 2 * (size_t)present[i]);
    }
    return unit / 65536.0;
}

static double project_vectors(const int64_t *hist, uint32_t n_codes, const int64_t *total, const bg_vector_rule *rule,
                              int64_t *wide, int64_t *total_wide)
{
    switch (rule->n_fields) {
    case 2: return project_fields(2, hist, n_codes, total, rule, wide, total_wide);
    case 3: return project_fields(3, hist, n_codes, total, rule, wide, total_wide);
    case 4: return project_fields(4, hist, n_codes, total, rule, wide, total_wide);
    case 5: return project_fields(5, hist, n_codes, total, rule, wide, total_wide);
    default: return project_fields(6, hist, n_codes, total, rule, wide, total_wide);
    }
}
