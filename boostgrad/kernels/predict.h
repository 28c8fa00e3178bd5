/* Leaves of a block of rows, given as columns of codes.
 *
 *   codes   slot 0: [ row 0 | row 1 | ... ]   code_pitch apart
 *           slot 1: [ row 0 | row 1 | ... ]
 *
 * Trees of up to 256 leaves: a set of leaves per row, all at first; each split takes its left leaves out of the sets of
 * the rows that go right; the lowest leaf that is left is the row's (QuickScorer, Lucchese et al. 2015). Leaves are
 * numbered from left to right for that, so the left leaves of a split are a range. The sets lie in planes of eight
 * leaves, a byte a row, so that one operation serves as many rows as a register has bytes, and a split touches the few
 * planes of its range only:
 *
 *   plane 0   [ row 0: leaves 7..0 | row 1: leaves 7..0 | ... ]
 *   plane 1   [ row 0: leaves 15..8 | ... ]
 *
 * Larger trees are walked, a few rows in step. */

#define WALK_LANES 16
#define MAX_PLANES 32

#if defined(BG_AVX512)
#define VECTOR_BYTES 64
#elif defined(BG_AVX2)
#define VECTOR_BYTES 32
#else
#define VECTOR_BYTES 16
#endif
typedef uint8_t bytes __attribute__((vector_size(VECTOR_BYTES)));
typedef uint8_t unaligned_bytes __attribute__((vector_size(VECTOR_BYTES), aligned(1)));

/* Which of the codes go left, 0xff or 0 a row. */
static inline bytes go_left_u8(const uint8_t *column, uint8_t shift, uint8_t limit)
{
    return (bytes)(*(const unaligned_bytes *)column - shift <= limit);
}

static inline bytes go_left_u16(const uint16_t *column, uint16_t shift, uint16_t limit)
{
    bytes goes;
    for (int i = 0; i < VECTOR_BYTES; i++)
        goes[i] = (uint16_t)(column[i] - shift) <= limit ? 0xff : 0;
    return goes;
}

/* OUT leaf: number of the lowest leaf in each row's set, which is never empty. */
static inline void lowest_leaves(const bytes (*planes)[BG_PREDICT_BLOCK / VECTOR_BYTES], int n_planes, int n_vectors,
                                 uint8_t *leaf)
{
    for (int v = 0; v < n_vectors; v++) {
        bytes set = planes[n_planes - 1][v];
        bytes base = (bytes){0} + (uint8_t)(8 * (n_planes - 1));
        for (int p = n_planes - 2; p >= 0; p--) {
            bytes empty = (bytes)(planes[p][v] == 0);
            set = (set & empty) | planes[p][v];
            base = (base & empty) | (~empty & (uint8_t)(8 * p));
        }
        bytes lowest = set & -set;
        bytes at = ((bytes)((lowest & 0xaa) != 0) & 1) | ((bytes)((lowest & 0xcc) != 0) & 2) |
                   ((bytes)((lowest & 0xf0) != 0) & 4);
        *(unaligned_bytes *)(leaf + v * VECTOR_BYTES) = base + at;
    }
}

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
    /* code_pitch and the room behind the codes allow reading whole vectors past row n */                              \
    static inline void exclude_##SUFFIX(const bg_tree *tree, const CODE *codes, size_t pitch, size_t n, uint8_t *leaf) \
    {                                                                                                                  \
        bytes planes[MAX_PLANES][BG_PREDICT_BLOCK / VECTOR_BYTES];                                                     \
        const int n_vectors = (int)((n + VECTOR_BYTES - 1) / VECTOR_BYTES), n_planes = (tree->n_leaves + 7) / 8;       \
        for (int p = 0; p < n_planes; p++)                                                                             \
            for (int v = 0; v < n_vectors; v++)                                                                        \
                planes[p][v] = ~(bytes){0};                                                                            \
        for (int32_t s = 0; s < tree->n_splits; s++) {                                                                 \
            const bg_node *split = tree->nodes + s;                                                                    \
            const CODE *column = codes + split->slot * pitch;                                                          \
            const CODE shift = (CODE)split->shift, limit = (CODE)split->code;                                          \
            const int first = split->first_left, end = split->end_left;                                                \
            const int first_plane = first / 8, last_plane = (end - 1) / 8;                                             \
            if (first_plane == last_plane) {                                                                           \
                const uint8_t kept = (uint8_t)~((0xff << first % 8) & (0xff >> (7 - (end - 1) % 8)));                  \
                for (int v = 0; v < n_vectors; v++)                                                                    \
                    planes[first_plane][v] &= go_left_##SUFFIX(column + v * VECTOR_BYTES, shift, limit) | kept;        \
                continue;                                                                                              \
            }                                                                                                          \
            const uint8_t kept_first = (uint8_t)~(0xff << first % 8);                                                  \
            const uint8_t kept_last = (uint8_t)~(0xff >> (7 - (end - 1) % 8));                                         \
            for (int v = 0; v < n_vectors; v++) {                                                                      \
                bytes goes = go_left_##SUFFIX(column + v * VECTOR_BYTES, shift, limit);                                \
                planes[first_plane][v] &= goes | kept_first;                                                           \
                for (int p = first_plane + 1; p < last_plane; p++)                                                     \
                    planes[p][v] &= goes;                                                                              \
                planes[last_plane][v] &= goes | kept_last;                                                             \
            }                                                                                                          \
        }                                                                                                              \
        lowest_leaves((const bytes(*)[BG_PREDICT_BLOCK / VECTOR_BYTES])planes, n_planes, n_vectors, leaf);             \
    }                                                                                                                  \
    static void leaves_##SUFFIX(const bg_tree *tree, const void *codes, size_t code_pitch, size_t n, int32_t *out,     \
                                size_t out_pitch)                                                                      \
    {                                                                                                                  \
        uint8_t small[BG_PREDICT_BLOCK];                                                                               \
        int32_t large[BG_PREDICT_BLOCK];                                                                               \
        if (tree->in_planes && n >= VECTOR_BYTES) {                                                                    \
            exclude_##SUFFIX(tree, (const CODE *)codes, code_pitch, n, small);                                         \
            for (size_t i = 0; i < n; i++)                                                                             \
                out[i * out_pitch] = small[i];                                                                         \
            return;                                                                                                    \
        }                                                                                                              \
        walk_##SUFFIX(tree, (const CODE *)codes, code_pitch, n, large);                                                \
        for (size_t i = 0; i < n; i++)                                                                                 \
            out[i * out_pitch] = large[i];                                                                             \
    }                                                                                                                  \
    static void predict_##SUFFIX(const bg_tree *trees, size_t n_trees, const void *codes, size_t code_pitch, size_t n, \
                                 double *raw, size_t raw_pitch)                                                        \
    {                                                                                                                  \
        uint8_t small[BG_PREDICT_BLOCK];                                                                               \
        int32_t large[BG_PREDICT_BLOCK];                                                                               \
        for (size_t t = 0; t < n_trees; t++) {                                                                         \
            const bg_tree *tree = trees + t;                                                                           \
            const double *restrict values = tree->values;                                                              \
            double *restrict out = raw + tree->output * raw_pitch;                                                     \
            const int in_planes = tree->in_planes && n >= VECTOR_BYTES;                                                \
            if (in_planes)                                                                                             \
                exclude_##SUFFIX(tree, (const CODE *)codes, code_pitch, n, small);                                     \
            else                                                                                                       \
                walk_##SUFFIX(tree, (const CODE *)codes, code_pitch, n, large);                                        \
            for (int32_t v = 0; v < tree->n_values; v++, values += tree->n_leaves, out += raw_pitch) {                 \
                if (in_planes)                                                                                         \
                    for (size_t i = 0; i < n; i++)                                                                     \
                        out[i] += values[small[i]];                                                                    \
                else                                                                                                   \
                    for (size_t i = 0; i < n; i++)                                                                     \
                        out[i] += values[large[i]];                                                                    \
            }                                                                                                          \
        }                                                                                                              \
    }

DEFINE_PREDICT(u8, uint8_t)
DEFINE_PREDICT(u16, uint16_t)
