/* Splits of a categorical feature: a set of levels goes left, all others go right, and so does what the set never heard
 * of. Code 0 is missing, 1 + level otherwise.
 *
 * For the second-order loss the best of all 2^(K-1) partitions of K levels is among the K - 1 places of the order by
 * gradient / hessian (Fisher 1958; Breiman et al. 1984, section 4.2.2). Levels with few rows in the node would be sorted
 * by their noise, so they are pooled into one entry, the rest, and the order is by shrunken ratios:
 *
 *   levels       0    1    2    3    4         rows in the node   40   3   90   1   25
 *   entries      0, 2, 4 and the rest { 1, 3 }, sorted by (G + smoothing * mean) / (H + smoothing)
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

typedef struct {
    int64_t gradient, sums; /* packed; narrow: gradient is 0 */
} packed_pair;

static inline packed_pair packed_at(const int64_t *hist, size_t code, int wide)
{
    return wide ? (packed_pair){hist[2 * code], hist[2 * code + 1]} : (packed_pair){0, hist[code]};
}

static inline int64_t category_gains(size_t n, const int64_t *missing, const int64_t *total, const bg_scan_rule *rule,
                                     bg_scan_scratch *scratch)
{
    if (rule->wide)
        return rule->plain ? gains_of(n, missing, total, rule, scratch, 1, 1)
                           : gains_of(n, missing, total, rule, scratch, 1, 0);
    return rule->plain ? gains_of(n, missing, total, rule, scratch, 0, 1)
                       : gains_of(n, missing, total, rule, scratch, 0, 0);
}

static void scan_categories(const int64_t *hist, uint32_t n_codes, const int64_t *total, const bg_scan_rule *rule,
                            const bg_category_rule *categories, bg_scan_scratch *scratch, uint64_t *const items[2],
                            bg_scan_result *out, uint8_t *goes_left)
{
    const int wide = rule->wide, count_bits = rule->count_bits;
    const int64_t count_mask = ((int64_t)1 << count_bits) - 1;
    const double gradient_unit = rule->inverse_gradient_scale, hessian_unit = rule->inverse_hessian_scale;
    const packed_pair missing = packed_at(hist, 0, wide);
    bg_scan_rule regularised = *rule;
    out->gain = 0;

    uint32_t n_present = 0;
    for (uint32_t code = 1; code < n_codes; code++)
        n_present += (packed_at(hist, code, wide).sums & count_mask) != 0;
    if (n_present == 0)
        return;
    const int few = n_present <= categories->few_levels;
    const int64_t min_rows = few ? 1 : categories->min_rows;
    const double smoothing = few ? 0.0 : categories->smoothing;
    if (!few)
        regularised.l2 += categories->extra_l2;

    /* the node without its missing values */
    int64_t node_gradient = total[0] - (wide ? missing.gradient : missing.sums);
    int64_t node_hessian = wide ? (total[1] - missing.sums) >> count_bits : node_gradient & count_mask;
    if (!wide)
        node_gradient >>= count_bits;
    const double mean =
        node_hessian > 0 ? (double)node_gradient * gradient_unit / ((double)node_hessian * hessian_unit) : 0.0;

    /* entries: one item a level that takes part, and one for the rest, whose code is n_codes */
    packed_pair rest = {0, 0};
    size_t n = 0;
    for (uint32_t code = 1; code <= n_codes; code++) {
        packed_pair here = code < n_codes ? packed_at(hist, code, wide) : rest;
        int64_t count = here.sums & count_mask;
        if (count == 0)
            continue;
        if (code < n_codes && count < min_rows) {
            rest.gradient += here.gradient;
            rest.sums += here.sums;
            continue;
        }
        double gradient = (double)(wide ? here.gradient : here.sums >> count_bits) * gradient_unit;
        double hessian = (double)(wide ? here.sums >> count_bits : count) * hessian_unit;
        double weight = hessian + smoothing;
        float key = weight > 0 ? (float)((gradient + smoothing * mean) / weight) : 0.0f;
        items[0][n++] = (uint64_t)ordered_bits(key) << 32 | code;
    }
    const uint64_t *order = sort_items(items[0], items[1], n);

    int64_t gradient_sum = 0, sum = 0;
    for (size_t i = 0; i < n; i++) {
        uint32_t code = (uint32_t)order[i];
        packed_pair here = code < n_codes ? packed_at(hist, code, wide) : rest;
        gradient_sum += here.gradient;
        sum += here.sums;
        scratch->gradient[i] = gradient_sum;
        scratch->sums[i] = sum;
    }

    /* as in scan_with: missing right, then missing left */
    static const int64_t nothing[2] = {0, 0};
    const int any_missing = (missing.sums & count_mask) != 0;
    int64_t best = category_gains(n, nothing, total, &regularised, scratch);
    size_t place = best > 0 ? place_of(best, scratch) : 0;
    int missing_left = any_missing ? 0 : -1;
    if (any_missing && n > 1) {
        int64_t other = category_gains(n - 1, hist, total, &regularised, scratch);
        if (other > best) {
            best = other;
            missing_left = 1;
            place = place_of(best, scratch);
        }
    }
    if (best <= 0)
        return;
    memcpy(&out->gain, &best, sizeof best);

    int64_t left[2] = {wide ? scratch->gradient[place] : scratch->sums[place], wide ? scratch->sums[place] : 0};
    if (missing_left == 1) {
        left[0] += hist[0];
        left[1] += wide ? hist[1] : 0;
    }
    int sides_change = 0;
    if (rest.sums & count_mask) {
        for (size_t i = 0; i <= place; i++)
            sides_change |= (uint32_t)order[i] == n_codes;
    } else {
        sides_change = (left[wide] & count_mask) > (total[wide] & count_mask) - (left[wide] & count_mask);
    }
    if (sides_change) {
        left[0] = total[0] - left[0];
        left[1] = wide ? total[1] - left[1] : 0;
        missing_left = missing_left < 0 ? -1 : 1 - missing_left;
    }
    out->left[0] = left[0];
    out->left[1] = left[1];
    out->code = 0;
    out->missing_left = missing_left;
    if (goes_left == NULL)
        return;
    memset(goes_left, 0, n_codes);
    const size_t first = sides_change ? place + 1 : 0, end = sides_change ? n : place + 1;
    for (size_t i = first; i < end; i++)
        if ((uint32_t)order[i] < n_codes)
            goes_left[(uint32_t)order[i]] = 1;
}

/* The rows of a node, parted by a table of codes; as partition_u8, partition_u16 do. */
#define DEFINE_TABLE_PARTITION(NAME, CODE)                                                                             \
    static size_t NAME(const void *column, const uint8_t *goes_left, const uint32_t *rows, size_t n, uint32_t *to)     \
    {                                                                                                                  \
        const CODE *codes = (const CODE *)column;                                                                      \
        size_t left = 0, right = n - 1;                                                                                \
        for (size_t i = 0; i < n; i++) {                                                                               \
            uint32_t row = rows[i];                                                                                    \
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
