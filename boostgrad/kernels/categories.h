/* Splits of a categorical feature: a set of levels goes left, all others go right, and so does what the set never heard
 * of. Code 0 is missing, 1 + level otherwise.
 *
 * For the second-order loss the best of all 2^(K-1) partitions of K levels is among the K - 1 places of the order by
 * gradient / hessian (Fisher 1958; Breiman et al. 1984, section 4.2.2). But the order is found in the rows that it is
 * judged by, so many levels gain much from pure noise. Three things against that, where there are more than a few levels:
 *
 * - Levels with few rows in the node are pooled into one entry, the rest.
 * - Of entry k with sums G_k, H_k the part of G_k that deviates from the node's mean m is shrunk to what is expected of
 *   it in other rows: d_k = (G_k - m H_k) H_k s / (H_k s + v). v is the variance of a gradient per hessian; s, that of
 *   the entries' true ratios, is estimated by moments, with n entries and H = sum H_k (DerSimonian and Laird 1986, eq. 8):
 *       s = max(0, (sum (G_k - m H_k)^2 / H_k - (n - 1) v) / (H - sum H_k^2 / H))
 *   Order and gains are those of m' H_k + d_k, where m' leaves the sum over the entries as it is.
 * - Children have a larger l2.
 *
 *   levels       0    1    2    3    4         rows in the node   40   3   90   1   25
 *   entries      0, 2, 4 and the rest { 1, 3 }, sorted by d_k / H_k
 *                [ 2 | rest | 0 | 4 ]
 *   places          ^      ^   ^   ^           after the last one only where missing goes right
 *   place 1      left { 2 }, right { 0, 4, rest, levels without rows }
 *   place 2      left { 0, 4 }, right { 2, rest, ... }: sides change, for the rest is always on the right
 *
 * Where the rest has no rows, the side with fewer rows is the set, so that levels without rows follow the larger child.
 */

#define RADIX_BITS 11
#define RADIX_ITEMS 96 /* fewer are sorted by insertion */

/* Ascending, by value: the order does not depend on how it is found. The low half of an item is its code, and items come
 * in the order of their codes, so sorting by the high half, stably, is enough. OUT one of items, other: where they are. */
static inline uint64_t *sort_items(uint64_t *items, uint64_t *other, size_t n)
{
    if (n < RADIX_ITEMS) {
        for (size_t i = 1; i < n; i++) {
            uint64_t item = items[i];
            size_t at = i;
            for (; at > 0 && items[at - 1] > item; at--)
                items[at] = items[at - 1];
            items[at] = item;
        }
        return items;
    }
    for (int shift = 32; shift < 64; shift += RADIX_BITS) {
        uint32_t place[1 << RADIX_BITS] = {0};
        uint32_t before = 0;
        for (size_t i = 0; i < n; i++)
            place[items[i] >> shift & ((1 << RADIX_BITS) - 1)]++;
        for (size_t b = 0; b < 1 << RADIX_BITS; b++) {
            uint32_t here = place[b];
            place[b] = before;
            before += here;
        }
        for (size_t i = 0; i < n; i++)
            other[place[items[i] >> shift & ((1 << RADIX_BITS) - 1)]++] = items[i];
        uint64_t *swap = items;
        items = other;
        other = swap;
    }
    return items;
}

/* Unsigned integers that are ordered as these numbers are; 0.0 and -0.0 are one. */
static inline uint32_t ordered_bits(float x)
{
    uint32_t bits;
    x += 0.0f;
    memcpy(&bits, &x, sizeof bits);
    return bits ^ (bits >> 31 ? 0xffffffffu : 0x80000000u);
}

/* A feature's histogram in one node, as the search for a set reads it. The rest is the entry with code n_codes. */
typedef struct {
    const int64_t *hist;
    uint32_t n_codes;
    int64_t rest_gradient, rest_sums;
    const bg_scan_rule *rule;
} category_view;

typedef struct {
    int64_t gradient, sums; /* packed; narrow: both in sums */
    int64_t count;
    double g, h;
} category_entry;

static inline category_entry entry_at(const category_view *view, uint32_t code)
{
    const bg_scan_rule *rule = view->rule;
    const int wide = rule->wide;
    category_entry e = {view->rest_gradient, view->rest_sums, 0, 0, 0};
    if (code < view->n_codes) {
        e.gradient = wide ? view->hist[2 * (size_t)code] : 0;
        e.sums = view->hist[wide ? 2 * (size_t)code + 1 : code];
    }
    e.count = e.sums & (((int64_t)1 << rule->count_bits) - 1);
    e.g = (double)(wide ? e.gradient : e.sums >> rule->count_bits) * rule->inverse_gradient_scale;
    e.h = (double)(wide ? e.sums >> rule->count_bits : e.count) * rule->inverse_hessian_scale;
    return e;
}

/* OUT entries: codes of the levels that have rows, ascending. Returns how many. */
static inline size_t find_levels(const category_view *view, uint64_t *entries)
{
    const int wide = view->rule->wide;
    const int64_t *sums = view->hist + wide;
    const int64_t count_mask = ((int64_t)1 << view->rule->count_bits) - 1;
    size_t n = 0;
    for (uint32_t code = 1; code < view->n_codes; code++) {
        entries[n] = code; /* a level without rows is overwritten by the next one */
        n += (sums[(size_t)code << wide] & count_mask) != 0;
    }
    return n;
}

/* IN entries: n levels, of which those with fewer rows are pooled; OUT entries: the others, then the rest, if there is
 * any. Returns how many. */
static inline size_t pool_rare(category_view *view, int64_t min_rows, uint64_t *entries, size_t n)
{
    size_t kept = 0;
    for (size_t i = 0; i < n; i++) {
        category_entry e = entry_at(view, (uint32_t)entries[i]);
        int64_t rare = -(int64_t)(e.count < min_rows); /* a mask, for which levels are rare is as good as random */
        view->rest_gradient += e.gradient & rare;
        view->rest_sums += e.sums & rare;
        entries[kept] = entries[i];
        kept += rare == 0;
    }
    if (kept < n)
        entries[kept++] = view->n_codes;
    return kept;
}

/* What a node's entries tell of each other. */
typedef struct {
    double mean, spread, noise;
    double sum_h;
} category_shrinkage;

/* IN entries: codes in the low halves. Those without rows in the node count for nothing. */
static inline category_shrinkage shrinkage_of(const category_view *view, const uint64_t *entries, size_t n, double noise)
{
    double sum_g = 0, sum_h = 0, sum_hh = 0, between = 0;
    size_t n_there = 0;
    for (size_t i = 0; i < n; i++) {
        category_entry e = entry_at(view, (uint32_t)entries[i]);
        n_there += e.count > 0;
        sum_g += e.g;
        sum_h += e.h;
        sum_hh += e.h * e.h;
    }
    category_shrinkage s = {sum_h > 0 ? sum_g / sum_h : 0.0, 0, noise, sum_h};
    if (noise > 0) {
        for (size_t i = 0; i < n; i++) {
            category_entry e = entry_at(view, (uint32_t)entries[i]);
            double deviation = e.g - s.mean * e.h;
            between += e.h > 0 ? deviation * deviation / e.h : 0.0;
        }
        double room = sum_h > 0 ? sum_h - sum_hh / sum_h : 0.0;
        double excess = between - ((double)n_there - 1) * noise;
        s.spread = room > 0 && excess > 0 ? excess / room : 0.0;
    }
    return s;
}

/* What is left of an entry's deviation; see above. noise 0: all of it. */
static inline double shrunk_deviation(category_entry e, const category_shrinkage *s)
{
    double deviation = e.g - s->mean * e.h;
    return s->noise > 0 ? deviation * (e.h * s->spread / (e.h * s->spread + s->noise)) : deviation;
}

/* OUT scratch->gradient, scratch->sums: running shrunken sums of entries in this order. kept: the sum of what is left of
 * their deviations. */
static inline void shrunken_sums(const category_view *view, const uint64_t *order, size_t n,
                                 const category_shrinkage *s, double kept, bg_scan_scratch *scratch)
{
    const bg_scan_rule *rule = view->rule;
    const double level_mean = s->sum_h > 0 ? s->mean - kept / s->sum_h : 0.0;
    int64_t gradient_sum = 0, sum = 0;
    for (size_t i = 0; i < n; i++) {
        category_entry e = entry_at(view, (uint32_t)order[i]);
        if (s->noise > 0) {
            double g = level_mean * e.h + shrunk_deviation(e, s);
            int64_t whole = llrint(g / rule->inverse_gradient_scale);
            if (rule->wide)
                e.gradient = whole;
            else
                e.sums = (int64_t)((uint64_t)whole << rule->count_bits) + e.count;
        }
        gradient_sum += e.gradient;
        sum += e.sums;
        scratch->gradient[i] = gradient_sum;
        scratch->sums[i] = sum;
    }
}

/* Sorted entries, codes in the low halves, one of the items. OUT kept: as above. */
static inline const uint64_t *sort_entries(const category_view *view, size_t n, const category_shrinkage *s,
                                           uint64_t *const items[2], double *kept)
{
    *kept = 0;
    for (size_t i = 0; i < n; i++) {
        uint32_t code = (uint32_t)items[0][i];
        category_entry e = entry_at(view, code);
        double deviation = shrunk_deviation(e, s);
        *kept += deviation;
        items[0][i] = (uint64_t)ordered_bits(e.h > 0 ? (float)(deviation / e.h) : 0.0f) << 32 | code;
    }
    return sort_items(items[0], items[1], n);
}

static double best_category(size_t n, const int64_t *hist, int any_missing, const int64_t *total,
                            const bg_scan_rule *rule, bg_scan_scratch *scratch, size_t *place, int *missing_left)
{
    if (rule->wide)
        return rule->plain ? best_place(n, hist, any_missing, total, rule, scratch, 0, 1, 1, place, missing_left)
                           : best_place(n, hist, any_missing, total, rule, scratch, 0, 1, 0, place, missing_left);
    return rule->plain ? best_place(n, hist, any_missing, total, rule, scratch, 0, 0, 1, place, missing_left)
                       : best_place(n, hist, any_missing, total, rule, scratch, 0, 0, 0, place, missing_left);
}

static void scan_categories(const int64_t *hist, uint32_t n_codes, const int64_t *total, const bg_scan_rule *rule,
                            const bg_category_rule *categories, bg_scan_scratch *scratch, uint64_t *const items[2],
                            bg_scan_result *out, uint8_t *goes_left)
{
    const int wide = rule->wide;
    const int64_t count_mask = ((int64_t)1 << rule->count_bits) - 1;
    category_view view = {hist, n_codes, 0, 0, rule};
    bg_scan_rule children = *rule;
    double noise = 0;
    out->gain = 0;
    size_t n = find_levels(&view, items[0]);
    if (n == 0)
        return;
    if (n > categories->few_levels) {
        n = pool_rare(&view, categories->min_rows, items[0], n);
        noise = categories->noise;
        children.l2 += categories->extra_l2;
    }
    double kept;
    const category_shrinkage shrinkage = shrinkage_of(&view, items[0], n, noise);
    const uint64_t *order = sort_entries(&view, n, &shrinkage, items, &kept);
    shrunken_sums(&view, order, n, &shrinkage, kept, scratch);

    size_t place;
    int missing_left;
    const int missing = (hist[wide] & count_mask) != 0;
    double best = best_category(n, hist, missing, total, &children, scratch, &place, &missing_left);
    if (best <= 0)
        return;

    /* true sums of the left child, and which side the rest is on */
    int64_t left[2] = {missing_left == 1 ? hist[0] : 0, missing_left == 1 && wide ? hist[1] : 0};
    int sides_change = 0;
    for (size_t i = 0; i <= place; i++) {
        category_entry e = entry_at(&view, (uint32_t)order[i]);
        left[0] += wide ? e.gradient : e.sums;
        left[1] += wide ? e.sums : 0;
        sides_change |= (uint32_t)order[i] == n_codes;
    }
    if (!(view.rest_sums & count_mask))
        sides_change = 2 * (left[wide] & count_mask) > (total[wide] & count_mask);
    if (sides_change) {
        left[0] = total[0] - left[0];
        left[1] = wide ? total[1] - left[1] : 0;
        missing_left = missing_left < 0 ? -1 : 1 - missing_left;
    }
    out->gain = best;
    out->left[0] = left[0];
    out->left[1] = left[1];
    out->code = 0;
    out->missing_left = missing_left;
    if (goes_left == NULL)
        return;
    memset(goes_left, 0, n_codes);
    for (size_t i = sides_change ? place + 1 : 0; i < (sides_change ? n : place + 1); i++)
        if ((uint32_t)order[i] < n_codes)
            goes_left[(uint32_t)order[i]] = 1;
}

/* The rows of a node, parted by a table of codes; as partition_u8, partition_u16 do. */
#define DEFINE_TABLE_PARTITION(NAME, CODE)                                                                             \
    static size_t NAME(const void *column, const uint8_t *goes_left, const uint32_t *rows, size_t begin, size_t n,     \
                       uint32_t *to)                                                                                   \
    {                                                                                                                  \
        const CODE *codes = (const CODE *)column;                                                                      \
        size_t left = 0, right = n - 1;                                                                                \
        for (size_t i = 0; i < n; i++) {                                                                               \
            uint32_t row = rows ? rows[i] : (uint32_t)(begin + i);                                                     \
            size_t goes = goes_left[codes[row]];                                                                       \
            to[left] = row;                                                                                            \
            to[right] = row;                                                                                           \
            left += goes;                                                                                              \
            right -= 1 - goes;                                                                                         \
        }                                                                                                              \
        return left;                                                                                                   \
    }

DEFINE_TABLE_PARTITION(partition_table_u8, uint8_t)
DEFINE_TABLE_PARTITION(partition_table_u16, uint16_t)

/* Where rows go at all categorical splits of one feature, as codes of columns that predicting kernels read: 0 left,
 * 1 right. A level's answers lie side by side, a bit a split, so that a row touches few lines of memory however many
 * splits there are:
 *
 *   sides      code 0   [ 76543210 | fedcba98 | ... ]      bits of splits, side_bytes a code
 *              code 1   [ 76543210 | fedcba98 | ... ]
 *   columns    split 0: [ row 0 | row 1 | ... ]            pitch apart
 */
#define DEFINE_SIDES(NAME, CODE)                                                                                       \
    static void NAME(const uint8_t *sides, size_t side_bytes, const uint32_t *codes, size_t n, size_t n_splits,        \
                     void *columns, size_t pitch)                                                                      \
    {                                                                                                                  \
        CODE *to = (CODE *)columns;                                                                                    \
        uint8_t eight[BG_PREDICT_BLOCK];                                                                               \
        for (size_t b = 0; b < side_bytes; b++) {                                                                      \
            for (size_t i = 0; i < n; i++)                                                                             \
                eight[i] = sides[codes[i] * side_bytes + b];                                                           \
            size_t n_here = n_splits - 8 * b < 8 ? n_splits - 8 * b : 8;                                               \
            for (size_t bit = 0; bit < n_here; bit++, to += pitch)                                                     \
                for (size_t i = 0; i < n; i++)                                                                         \
                    to[i] = eight[i] >> bit & 1;                                                                       \
        }                                                                                                              \
    }

DEFINE_SIDES(sides_u8, uint8_t)
DEFINE_SIDES(sides_u16, uint16_t)
