/* Ranking: gradients and losses of one query.
 *
 * A query's rows are moved together and sorted by score before anything is computed:
 *
 *   rows      ... | 7 3 9 4 | ...          places begin .. begin + n of ranking->row
 *   scores          2 5 1 5                of those rows
 *   order           1 3 0 2                best first; equal scores in the order of the rows
 *
 * Scores that agree in their first ten digits or so are equal: they are compared as integers whose last bits hold the
 * place. */

/* A double as an unsigned integer of the same order. */
static inline uint64_t score_bits(double x)
{
    uint64_t bits;
    x += 0.0; /* -0 is 0 */
    memcpy(&bits, &x, sizeof bits);
    return bits & 0x8000000000000000u ? ~bits : bits | 0x8000000000000000u;
}

/* Keys that ascend where scores descend hold the place of a score, of n, in their last bits: those of this mask. */
static inline uint64_t place_mask(size_t n)
{
    int bits = 1;
    while ((n - 1) >> bits)
        bits++;
    return ((uint64_t)1 << bits) - 1;
}

static inline uint64_t key_of(double score, size_t place, uint64_t mask)
{
    return (~score_bits(score) & ~mask) | place;
}

#define SORTED_RUN 8

/* Ascending, by insertion in runs and then by merging, without branches that depend on the numbers.
 * Returns the array that holds the result: keys or spare, n numbers each. */
static uint64_t *sort_keys(uint64_t *keys, uint64_t *spare, size_t n)
{
    for (size_t begin = 0; begin < n; begin += SORTED_RUN) {
        size_t end = begin + SORTED_RUN < n ? begin + SORTED_RUN : n;
        for (size_t i = begin + 1; i < end; i++) {
            uint64_t key = keys[i];
            size_t j = i;
            for (; j > begin && keys[j - 1] > key; j--)
                keys[j] = keys[j - 1];
            keys[j] = key;
        }
    }
    for (size_t width = SORTED_RUN; width < n; width *= 2) {
        for (size_t begin = 0; begin < n; begin += 2 * width) {
            size_t middle = begin + width < n ? begin + width : n, end = middle + width < n ? middle + width : n;
            const uint64_t *a = keys + begin, *a_end = keys + middle, *b = a_end, *b_end = keys + end;
            uint64_t *to = spare + begin;
            while (a < a_end && b < b_end) {
                uint64_t x = *a, y = *b;
                int second = y < x;
                *to++ = second ? y : x;
                b += second;
                a += 1 - second;
            }
            while (a < a_end)
                *to++ = *a++;
            while (b < b_end)
                *to++ = *b++;
        }
        uint64_t *sorted = spare;
        spare = keys;
        keys = sorted;
    }
    return keys;
}

/* OUT order[k]: which of the n rows is k-th by descending score; score[k]: its score; equal[k]: whether it is taken
 * for that of the row before it (or NULL). keys: room for 2 n. Returns 0 where a score is not finite. */
static int sort_query(const double *raw, const uint32_t *row, size_t n, uint64_t *keys, uint32_t *order, double *score,
                      uint8_t *equal)
{
    const uint64_t mask = place_mask(n);
    int finite = 1;
    for (size_t k = 0; k < n; k++) {
        double s = raw[row[k]];
        finite &= s - s == 0;
        keys[k] = key_of(s, k, mask);
    }
    const uint64_t *sorted = sort_keys(keys, keys + n, n);
    for (size_t k = 0; k < n; k++) {
        order[k] = (uint32_t)(sorted[k] & mask);
        score[k] = raw[row[order[k]]];
        if (equal)
            equal[k] = k > 0 && ((sorted[k] ^ sorted[k - 1]) & ~mask) == 0;
    }
    return finite;
}

#define LANES 8

static inline double sum_of_lanes(const double *lane)
{
    return ((lane[0] + lane[4]) + (lane[2] + lane[6])) + ((lane[1] + lane[5]) + (lane[3] + lane[7]));
}

/* One pair: document i is ranked above document j, and what swapping them changes is delta. With e = exp(-(s_i - s_j))
 * the logistic loss log(1 + exp(-(s_better - s_worse))) has the slope -e / (1 + e) where i is the better one and
 * -1 / (1 + e) where j is, and the curvature e / (1 + e)^2 (Burges 2010, eq. 1 to 3). */
#define PAIR(lane)                                                                                                     \
    do {                                                                                                               \
        double differs = gain[i] != gain[j] ? 1.0 : 0.0;                                                               \
        double delta = kind == BG_RANK_NDCG  ? fabs(gain[i] - gain[j]) * fabs(first[i] - first[j])                     \
                       : kind == BG_RANK_MAP ? differs * (first[i] + second[j])                                        \
                                             : differs;                                                                \
        double e = power[j] * inverse_power;                                                                           \
        double one_and_e = 1.0 + e;                                                                                    \
        double below = one_and_e * one_and_e;                                                                          \
        if (by_gap)                                                                                                    \
            below *= 0.01 + (score[i] - score[j]);                                                                     \
        double share = delta / below;                                                                                  \
        double pull = share * one_and_e * (gain[i] > gain[j] ? e : -1.0);                                              \
        double curvature = share * e;                                                                                  \
        gradient[j] += pull;                                                                                           \
        hessian[j] += curvature;                                                                                       \
        slopes[lane] += pull;                                                                                          \
        curvatures[lane] += curvature;                                                                                 \
        sizes[lane] += fabs(pull);                                                                                     \
    } while (0)

/* All pairs of which one document at least is among the first n_top. Arrays by descending score; power: exp of the
 * scores, less the first one. first, second: discounts (NDCG), or the two parts of a change of average precision.
 * OUT gradient, hessian, += . Returns the sum of the slopes' sizes. */
static inline __attribute__((always_inline)) double
pairs_of_kind(const double *restrict score, const double *restrict power, const double *restrict gain,
              const double *restrict first, const double *restrict second, size_t n, size_t n_top, int kind, int by_gap,
              double *restrict gradient, double *restrict hessian)
{
    double total = 0;
    for (size_t i = 0; i < n_top; i++) {
        const double inverse_power = 1.0 / power[i];
        double slopes[LANES] = {0}, curvatures[LANES] = {0}, sizes[LANES] = {0};
        size_t begin = i + 1;
        for (; begin + LANES <= n; begin += LANES)
            for (size_t lane = 0; lane < LANES; lane++) {
                size_t j = begin + lane;
                PAIR(lane);
            }
        for (size_t j = begin; j < n; j++)
            PAIR(j - begin);
        gradient[i] -= sum_of_lanes(slopes);
        hessian[i] += sum_of_lanes(curvatures);
        total += sum_of_lanes(sizes);
    }
    return total;
}

static double pairs_of_query(const double *score, const double *power, const double *gain, const double *first,
                             const double *second, size_t n, size_t n_top, int kind, int by_gap, double *gradient,
                             double *hessian)
{
#define OF_KIND(k)                                                                                                     \
    (by_gap ? pairs_of_kind(score, power, gain, first, second, n, n_top, k, 1, gradient, hessian)                      \
            : pairs_of_kind(score, power, gain, first, second, n, n_top, k, 0, gradient, hessian))
    if (kind == BG_RANK_NDCG)
        return OF_KIND(BG_RANK_NDCG);
    if (kind == BG_RANK_MAP)
        return OF_KIND(BG_RANK_MAP);
    return OF_KIND(BG_RANK_PAIRS);
#undef OF_KIND
}

/* A swap of ranks i < j (from 1) of one relevant document and one that is not changes the average precision times the
 * number of relevant ones by upper[i] + lower[j]. With c(k) relevant ones among the first k, and A(k) the sum of
 * 1 / l over the relevant ranks l <= k: upper[i] = (c(i) + [i is not relevant]) / i - A(i) and
 * lower[j] = A(j - 1) - c(j) / j. */
static void precision_parts(const double *gain, size_t n, double *upper, double *lower)
{
    double found = 0, harmonic = 0;
    for (size_t k = 0; k < n; k++) {
        double rank = (double)(k + 1), before = harmonic;
        if (gain[k] > 0) {
            found += 1;
            harmonic += 1 / rank;
        }
        upper[k] = (gain[k] > 0 ? found : found + 1) / rank - harmonic;
        lower[k] = before - found / rank;
    }
}

/* Cross entropy of softmax(score) to gains over their sum (Bruch 2020, eq. 4): p - q, and p (1 - p). */
static void softmax_of_query(const double *score, const double *gain, size_t n, double *power, double *gradient,
                             double *hessian)
{
    double sum = 0, gains = 0, top = score[0];
    for (size_t k = 0; k < n; k++) {
        gains += gain[k];
        power[k] = exp_of(score[k] - top);
    }
    for (size_t k = 0; k < n; k++)
        sum += power[k];
    for (size_t k = 0; k < n; k++) {
        double p = power[k] / sum, q = gains > 0 ? gain[k] / gains : p;
        gradient[k] = p - q;
        hessian[k] = p * ((sum - power[k]) / sum);
    }
}

/* Draws of noise that one number of 64 bits holds. */
#define DRAWS_OF_A_NUMBER (64 / BG_RANK_NOISE_BITS)

/* The logistic loss of neighbours in orders by score + noise (Gulin, Kuralenok and Pavlov 2011, YetiRank). A pair at the
 * places i and i + 1 of an order weighs discount[i] times the difference of its gains; its hessian is half of that.
 *
 *   score          3.0  2.9  0.1 -4.0        best first; a document's number is its rank
 *   + noise        2.8  3.3  0.5 -4.1
 *   order          1 0 2 3                   pairs 1 0, 0 2, 2 3
 *
 * Noise is a function of turn, query, draw and rank. chance: room for n numbers, keys: for 2 n.
 * OUT gradient, hessian, += . */
static void neighbours_of_query(const bg_ranking *ranking, size_t query, const double *score, const double *gain,
                                size_t n, uint64_t *chance, uint64_t *keys, double *gradient, double *hessian)
{
    const uint64_t stream = bg_mix(bg_mix(ranking->turn) ^ query);
    const size_t n_pairs = ranking->n_top < n - 1 ? ranking->n_top : n - 1;
    const uint64_t mask = place_mask(n), choice = ((uint64_t)1 << BG_RANK_NOISE_BITS) - 1;
    for (size_t draw = 0; draw < ranking->n_draws; draw++) {
        const unsigned shift = BG_RANK_NOISE_BITS * (draw % DRAWS_OF_A_NUMBER);
        if (shift == 0)
            for (size_t k = 0; k < n; k++)
                chance[k] = bg_mix(stream + draw / DRAWS_OF_A_NUMBER * n + k);
        for (size_t k = 0; k < n; k++)
            keys[k] = key_of(score[k] + ranking->noise[(chance[k] >> shift) & choice], k, mask);
        const uint64_t *sorted = sort_keys(keys, keys + n, n);
        for (size_t i = 0; i < n_pairs; i++) {
            size_t a = sorted[i] & mask, b = sorted[i + 1] & mask;
            if (gain[a] == gain[b])
                continue;
            size_t better = gain[a] > gain[b] ? a : b, worse = gain[a] > gain[b] ? b : a;
            double weight = ranking->discount[i] * (gain[better] - gain[worse]);
            double margin = score[better] - score[worse], e = exp_of(-fabs(margin));
            double pull = weight * (margin > 0 ? e : 1.0) / (1.0 + e);
            gradient[better] -= pull;
            gradient[worse] += pull;
            hessian[better] += 0.5 * weight;
            hessian[worse] += 0.5 * weight;
        }
    }
}

/* Further below the best score than this (times the slope of the sigmoid), documents count as being there. */
#define FARTHEST 600.0

/* OUT ranking->pairs of the query's rows; largest, raised. scratch: see BG_RANKING_SCRATCH. */
static void rank_query(const bg_ranking *ranking, size_t query, double *scratch, double *largest)
{
    const size_t begin = (size_t)ranking->begin[query], n = (size_t)ranking->begin[query + 1] - begin;
    const uint32_t *row = ranking->row + begin;
    double *score = scratch, *gain = score + n, *power = gain + n, *gradient = power + n, *hessian = gradient + n;
    double *upper = hessian + n, *lower = upper + n;
    uint64_t *keys = (uint64_t *)(lower + n);
    uint32_t *order = (uint32_t *)(keys + 2 * n);
    const double steepness = ranking->steepness;
    double factor = ranking->query_factor[query];
    for (size_t k = 0; k < n; k++)
        gradient[k] = hessian[k] = 0;
    if (n > 0 && factor != 0) {
        if (!sort_query(ranking->raw, row, n, keys, order, score, NULL))
            factor = NAN;
        for (size_t k = 0; k < n; k++)
            gain[k] = ranking->gain[begin + order[k]];
        if (ranking->kind == BG_RANK_SOFTMAX) {
            softmax_of_query(score, gain, n, power, gradient, hessian);
        } else if (ranking->kind == BG_RANK_NEIGHBOURS) {
            neighbours_of_query(ranking, query, score, gain, n, (uint64_t *)upper, keys, gradient, hessian);
        } else {
            const double *first = ranking->discount, *second = NULL;
            const size_t n_top = ranking->n_top < n ? ranking->n_top : n;
            for (size_t k = 0; k < n; k++) {
                double below = steepness * (score[k] - score[0]);
                power[k] = exp_of(below < -FARTHEST ? -FARTHEST : below);
            }
            if (ranking->kind == BG_RANK_MAP) {
                precision_parts(gain, n, upper, lower);
                first = upper;
                second = lower;
            }
            int by_gap = ranking->by_gap && score[0] != score[n - 1];
            double total = pairs_of_query(score, power, gain, first, second, n, n_top, ranking->kind, by_gap, gradient,
                                          hessian);
            if (ranking->normalise) {
                total *= 2 * factor * steepness;
                if (total > 0)
                    factor *= log2(1 + total) / total;
            }
        }
    }
    double top_gradient = largest[0], top_hessian = largest[1];
    for (size_t k = 0; k < n; k++) {
        size_t at = row[factor != 0 ? order[k] : k];
        double w = ranking->weight ? factor * ranking->weight[at] : factor;
        double g = w * steepness * gradient[k], h = w * steepness * steepness * hessian[k];
        ranking->pairs[2 * at] = g;
        ranking->pairs[2 * at + 1] = h;
        top_gradient = fabs(g) > top_gradient || g != g ? fabs(g) : top_gradient; /* a NaN comes through, and stays */
        top_hessian = h > top_hessian || h != h ? h : top_hessian;
    }
    largest[0] = top_gradient;
    largest[1] = top_hessian;
}

/* 1 - NDCG at n_top; documents of equal score share their discounts. query_factor: 1 / DCG of the best order. */
static double ndcg_loss(const bg_ranking *ranking, const double *gain, const uint8_t *equal, size_t n, double factor)
{
    double dcg = 0;
    for (size_t k = 0; k < n && k < ranking->n_top;) {
        double gains = 0, discounts = 0;
        size_t end = k;
        do {
            gains += gain[end];
            discounts += end < ranking->n_top ? ranking->discount[end] : 0.0;
        } while (++end < n && equal[end]);
        dcg += gains / (double)(end - k) * discounts;
        k = end;
    }
    return 1.0 - dcg * factor;
}

/* 1 - average precision; documents of equal score are in the order of their places. */
static double precision_loss(const double *gain, size_t n)
{
    double found = 0, sum = 0;
    for (size_t k = 0; k < n; k++)
        if (gain[k] > 0)
            sum += (found += 1) / (double)(k + 1);
    return found > 0 ? 1.0 - sum / found : 0.0;
}

/* Sum of log(1 + exp(-(s_better - s_worse))) over pairs. The logarithm is taken of products of at most 1000 factors,
 * none of which is above 2. */
static double logistic_loss(const double *score, const double *power, const double *gain, size_t n, size_t n_top,
                            double steepness)
{
    double total = 0;
    for (size_t i = 0; i < n_top; i++) {
        const double inverse_power = 1.0 / power[i];
        for (size_t begin = i + 1; begin < n; begin += 1000) {
            size_t end = begin + 1000 < n ? begin + 1000 : n;
            double product = 1;
            for (size_t j = begin; j < end; j++) {
                product *= gain[i] != gain[j] ? 1.0 + power[j] * inverse_power : 1.0;
                total += gain[j] > gain[i] ? steepness * (score[i] - score[j]) : 0.0;
            }
            total += log(product);
        }
    }
    return total;
}

/* What the loss says of one query; 0 where its factor is 0. scratch: see BG_RANKING_SCRATCH. */
static double value_query(const bg_ranking *ranking, size_t query, double *scratch)
{
    const size_t begin = (size_t)ranking->begin[query], n = (size_t)ranking->begin[query + 1] - begin;
    const double factor = ranking->query_factor[query];
    double *score = scratch, *gain = score + n, *power = gain + n;
    uint64_t *keys = (uint64_t *)(power + n);
    uint32_t *order = (uint32_t *)(keys + 2 * n);
    uint8_t *equal = (uint8_t *)(order + n);
    if (n == 0 || factor == 0)
        return 0;
    if (!sort_query(ranking->raw, ranking->row + begin, n, keys, order, score, equal))
        return NAN;
    for (size_t k = 0; k < n; k++)
        gain[k] = ranking->gain[begin + order[k]];
    if (ranking->kind == BG_RANK_NDCG)
        return ndcg_loss(ranking, gain, equal, n, factor);
    if (ranking->kind == BG_RANK_MAP)
        return precision_loss(gain, n);
    for (size_t k = 0; k < n; k++) {
        double below = ranking->steepness * (score[k] - score[0]);
        power[k] = exp_of(below < -FARTHEST ? -FARTHEST : below);
    }
    if (ranking->kind == BG_RANK_PAIRS)
        return factor * logistic_loss(score, power, gain, n, ranking->n_top < n ? ranking->n_top : n,
                                      ranking->steepness);
    double sum = 0, gains = 0, dot = 0;
    for (size_t k = 0; k < n; k++) {
        sum += power[k];
        gains += gain[k];
        dot += gain[k] * (score[k] - score[0]);
    }
    return factor * (log(sum) - dot / gains);
}
