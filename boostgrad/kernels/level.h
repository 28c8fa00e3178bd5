/* Gains of one feature in one node, place by place, to be added up over the nodes of a level that are all split alike.
 *
 *   codes            0 (missing) | 1   2   3   4   5
 *   node A, rows           2     | 4   0   3   0   6        gains   a1 a2 a3 a4 a5     a1 = a2: nothing lies between them
 *   node B, rows           0     | 0   5   0   1   1        gains   0  b2 b3 b4 0      all of B is right of place 1
 *   sums                                                            a1, a2 + b2, ...
 *
 * A node that gains nothing at a place, or would have a child that is too small, adds 0 there: it is not split by that
 * rule, and vetoes nothing. Every sum is over the nodes in their order, each number by itself, so the instruction set
 * does not matter. */

/* OUT sums: += what the scores in scratch->gain_bits are better than the node. */
static inline void add_places(const bg_scan_scratch *scratch, size_t first, size_t end, double unit,
                              const bg_unsplit *node, double *restrict sums)
{
    const int64_t *restrict bits = scratch->gain_bits;
    const double score = node->score, least = node->least_gain, rounding = node->rounding;
    for (size_t i = first; i < end; i++) {
        double children;
        memcpy(&children, bits + i, sizeof children);
        children *= unit;
        double gain = children - score;
        sums[i] += (gain > least) & (gain > rounding * children) ? gain : 0.0;
    }
}

/* Gains at n places whose running sums are in the scratch. OUT right, left: where missing values go; left may be NULL
 * where no node of the level has any. */
static inline __attribute__((always_inline)) void add_both(size_t n, const int64_t *hist, const int64_t *total,
                                                           const bg_scan_rule *rule, const bg_unsplit *node,
                                                           bg_scan_scratch *scratch, double *right, double *left,
                                                           int wide, int plain)
{
    static const int64_t nothing[2] = {0, 0};
    const double unit = unit_of_gains(rule, plain);
    size_t first, end;
    gains_of(n, nothing, total, rule, scratch, wide, plain, &first, &end);
    add_places(scratch, first, end, unit, node, right);
    if (left == NULL)
        return;
    if (hist[wide] != 0)
        gains_of(n, hist, total, rule, scratch, wide, plain, &first, &end);
    add_places(scratch, first, end, unit, node, left);
}

static inline void add_all(size_t n, const int64_t *hist, const int64_t *total, const bg_scan_rule *rule,
                           const bg_unsplit *node, bg_scan_scratch *scratch, double *right, double *left)
{
    if (rule->wide && rule->plain)
        add_both(n, hist, total, rule, node, scratch, right, left, 1, 1);
    else if (rule->wide)
        add_both(n, hist, total, rule, node, scratch, right, left, 1, 0);
    else if (rule->plain)
        add_both(n, hist, total, rule, node, scratch, right, left, 0, 1);
    else
        add_both(n, hist, total, rule, node, scratch, right, left, 0, 0);
}

static void add_gains(const int64_t *hist, uint32_t n_codes, const int64_t *total, const bg_scan_rule *rule,
                      const bg_unsplit *node, bg_scan_scratch *scratch, double *right, double *left)
{
    const int64_t *restrict records = hist + (rule->wide ? 2 : 1);
    int64_t *restrict gradient = scratch->gradient, *restrict sums = scratch->sums;
    const size_t n = n_codes - 1;
    int64_t gradient_sum = 0, sum = 0;
    for (size_t i = 0; i < n; i++) {
        sum += rule->wide ? records[2 * i + 1] : records[i];
        sums[i] = sum;
        if (rule->wide) {
            gradient_sum += records[2 * i];
            gradient[i] = gradient_sum;
        }
    }
    add_all(n, hist, total, rule, node, scratch, right, left);
}

/* The same of a categorical feature: the nodes share one order of the entries, that of all rows of the tree, so a set is
 * chosen by all nodes together. What is kept of an entry's deviation each node decides by its own rows. */
static void order_categories(const int64_t *hist, uint32_t n_codes, const bg_scan_rule *rule,
                             const bg_category_rule *categories, uint64_t *const items[2], bg_category_order *order)
{
    category_view view = {hist, n_codes, 0, 0, rule};
    double kept;
    order->n = find_levels(&view, items[0]);
    order->smoothed = order->n > categories->few_levels;
    if (order->smoothed)
        order->n = pool_rare(&view, categories->min_rows, items[0], order->n);
    const double noise = order->smoothed ? categories->noise : 0;
    const category_shrinkage shrinkage = shrinkage_of(&view, items[0], order->n, noise);
    const uint64_t *sorted = sort_entries(&view, order->n, &shrinkage, items, &kept);
    for (size_t i = 0; i < order->n; i++)
        order->codes[i] = (uint32_t)sorted[i];
}

static void add_category_gains(const int64_t *hist, uint32_t n_codes, const int64_t *total, const bg_scan_rule *rule,
                               const bg_category_rule *categories, const bg_category_order *order,
                               const bg_unsplit *node, bg_scan_scratch *scratch, double *right, double *left)
{
    const int wide = rule->wide;
    category_view view = {hist, n_codes, 0, 0, rule};
    bg_scan_rule children = *rule;
    double noise = 0, kept = 0;
    if (order->smoothed) {
        noise = categories->noise;
        children.l2 += categories->extra_l2;
        /* the rest is what is neither missing nor an entry of its own */
        view.rest_gradient = wide ? total[0] - hist[0] : 0;
        view.rest_sums = total[wide] - hist[wide];
        for (size_t i = 0; i < order->n; i++)
            if (order->codes[i] < n_codes) {
                view.rest_gradient -= wide ? hist[2 * (size_t)order->codes[i]] : 0;
                view.rest_sums -= hist[((size_t)order->codes[i] << wide) + wide];
            }
    }
    const category_shrinkage shrinkage = shrinkage_of(&view, order->codes, order->n, noise);
    for (size_t i = 0; i < order->n; i++)
        kept += shrunk_deviation(entry_at(&view, (uint32_t)order->codes[i]), &shrinkage);
    shrunken_sums(&view, order->codes, order->n, &shrinkage, kept, scratch);
    add_all(order->n, hist, total, &children, node, scratch, right, left);
}

/* As add_gains, of records of several gradients; see vector.h. */
static void add_vector_gains(const int64_t *hist, uint32_t n_codes, const int64_t *total, const bg_vector_rule *rule,
                             const bg_unsplit *node, bg_vector_scratch *scratch, double *right, double *left)
{
    static const int64_t nothing[BG_VECTOR_LANES] = {0};
    const int lanes = rule->lanes;
    const size_t n = n_codes - 1, pitch = scratch->pitch;
    const bg_scan_scratch gains = {NULL, NULL, scratch->gain_bits};
    int64_t running[BG_VECTOR_LANES] = {0};
    for (size_t i = 0; i < n; i++)
        for (int lane = 0; lane < lanes; lane++) {
            running[lane] += hist[(i + 1) * lanes + lane];
            scratch->sums[lane * pitch + i] = running[lane];
        }
    vector_gains(n, nothing, total, rule, scratch);
    add_places(&gains, 0, n, 1.0, node, right);
    if (left == NULL)
        return;
    if (hist[lanes - 1] != 0)
        vector_gains(n, hist, total, rule, scratch);
    add_places(&gains, 0, n, 1.0, node, left);
}
