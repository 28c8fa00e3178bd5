/* Leaves of a block of rows, given as columns of codes.
 *
 *   codes   slot 0: [ row 0 | row 1 | ... ]   code_pitch apart
 *           slot 1: [ row 0 | row 1 | ... ]
 *
 * Up to 64 leaves: a set of leaves per row, all at first; each split takes its left leaves out of the set of the rows
 * that go right; the lowest leaf that is left is the row's (QuickScorer, Lucchese et al. 2015). Leaves are numbered
 * from left to right for that. Larger trees are walked, a few rows in step. */

#define WALK_LANES 16

#define DEFINE_PREDICT(SUFFIX, CODE)                                                                                   \
    static inline void walk_##SUFFIX(const bg_tree *tree, const CODE *codes, size_t pitch, size_t n, int32_t *leaf)    \
    {                                                                                                                  \
        const bg_node *nodes = tree->nodes;                                                                            \
        for (size_t i = 0; i < n; i += WALK_LANES) {                                                                   \
            size_t lanes = n - i < WALK_LANES ? n - i : WALK_LANES;                                                    \
            int32_t at[WALK_LANES] = {0};                                                                              \
            int open = tree->n_splits > 0;                                                                             \
            if (!open)                                                                                                 \
                for (size_t lane = 0; lane < lanes; lane++)                                                            \
                    at[lane] = -1;                                                                                     \
            while (open) {                                                                                             \
                open = 0;                                                                                              \
                for (size_t lane = 0; lane < lanes; lane++) {                                                          \
                    int32_t node = at[lane];                                                                           \
                    if (node < 0)                                                                                      \
                        continue;                                                                                      \
                    const bg_node *split = nodes + node;                                                               \
                    uint32_t code = codes[split->slot * pitch + i + lane];                                             \
                    node = split->child[code - split->shift <= (uint32_t)split->code];                                 \
                    at[lane] = node;                                                                                   \
                    open |= node >= 0;                                                                                 \
                }                                                                                                      \
            }                                                                                                          \
            for (size_t lane = 0; lane < lanes; lane++)                                                                \
                leaf[i + lane] = ~at[lane];                                                                            \
        }                                                                                                              \
    }                                                                                                                  \
    static inline void exclude_##SUFFIX(const bg_tree *tree, const CODE *codes, size_t pitch, size_t n, int32_t *leaf) \
    {                                                                                                                  \
        uint64_t candidates[BG_PREDICT_BLOCK];                                                                         \
        for (size_t i = 0; i < n; i++)                                                                                 \
            candidates[i] = ~(uint64_t)0;                                                                              \
        for (int32_t s = 0; s < tree->n_splits; s++) {                                                                 \
            const bg_node *split = tree->nodes + s;                                                                    \
            const CODE *column = codes + split->slot * pitch;                                                          \
            const CODE shift = (CODE)split->shift, limit = (CODE)split->code;                                          \
            const uint64_t kept = tree->masks[s];                                                                      \
            for (size_t i = 0; i < n; i++)                                                                             \
                candidates[i] &= (CODE)(column[i] - shift) <= limit ? ~(uint64_t)0 : kept;                             \
        }                                                                                                              \
        for (size_t i = 0; i < n; i++)                                                                                 \
            leaf[i] = __builtin_ctzll(candidates[i]);                                                                  \
    }                                                                                                                  \
    static void leaves_##SUFFIX(const bg_tree *tree, const void *codes, size_t code_pitch, size_t n, int32_t *out,     \
                                size_t out_pitch)                                                                      \
    {                                                                                                                  \
        int32_t leaf[BG_PREDICT_BLOCK];                                                                                \
        if (tree->masks && n >= 32)                                                                                    \
            exclude_##SUFFIX(tree, (const CODE *)codes, code_pitch, n, leaf);                                          \
        else                                                                                                           \
            walk_##SUFFIX(tree, (const CODE *)codes, code_pitch, n, leaf);                                             \
        for (size_t i = 0; i < n; i++)                                                                                 \
            out[i * out_pitch] = leaf[i];                                                                              \
    }                                                                                                                  \
    static void predict_##SUFFIX(const bg_tree *trees, size_t n_trees, const void *codes, size_t code_pitch, size_t n, \
                                 double *raw, size_t raw_pitch)                                                        \
    {                                                                                                                  \
        int32_t leaf[BG_PREDICT_BLOCK];                                                                                \
        for (size_t t = 0; t < n_trees; t++) {                                                                         \
            const bg_tree *tree = trees + t;                                                                           \
            double *out = raw + tree->output * raw_pitch;                                                              \
            if (tree->masks && n >= 32)                                                                                \
                exclude_##SUFFIX(tree, (const CODE *)codes, code_pitch, n, leaf);                                      \
            else                                                                                                       \
                walk_##SUFFIX(tree, (const CODE *)codes, code_pitch, n, leaf);                                         \
            for (size_t i = 0; i < n; i++)                                                                             \
                out[i] += tree->values[leaf[i]];                                                                       \
        }                                                                                                              \
    }

DEFINE_PREDICT(u8, uint8_t)
DEFINE_PREDICT(u16, uint16_t)
