/* The rows of a node, parted by one column of codes:
 *
 *   rows  [ 4 7 9 12 15 ]   codes of the column: L R L L R
 *   to    [ 4 9 12 | 15 7 ]     left ones from the front, right ones from the back
 */

#if defined(BG_AVX512)
/* Rows by number have their codes gathered first, so many at a time, by plain loads: twice as fast as the gathering
 * instruction where codes are near, three times where each is a line of memory. */
#define GATHERED_ROWS 64

/* Where so many rows are so far apart, most codes are a line of memory each, and the next ones are asked for. */
#define LINE_EACH (16 * GATHERED_ROWS)

/* Sixteen rows at a time. Both stores write sixteen, of which the ones that are not meant stay within what is not
 * filled yet: while 32 rows are left to part, at least so much room lies between both ends. */
#define PARTITION_VECTORS(CODE)                                                                                        \
    {                                                                                                                  \
        const __m512i last_first = _mm512_set_epi32(0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15);             \
        const __m512i counted = _mm512_set_epi32(15, 14, 13, 12, 11, 10, 9, 8, 7, 6, 5, 4, 3, 2, 1, 0);                \
        const __m512i shifts = _mm512_set1_epi32((int)shift), limits = _mm512_set1_epi32((int)limit);                  \
        CODE gathered[GATHERED_ROWS];                                                                                  \
        for (; i + GATHERED_ROWS + 16 <= n; i += GATHERED_ROWS) {                                                      \
            const CODE *code = rows ? gathered : codes + begin + i;                                                    \
            if (rows && i + 2 * GATHERED_ROWS <= n && rows[i + GATHERED_ROWS - 1] - rows[i] > LINE_EACH)               \
                for (size_t j = 0; j < GATHERED_ROWS; j++)                                                             \
                    __builtin_prefetch(codes + rows[i + GATHERED_ROWS + j], 0, SECOND_LEVEL);                          \
            if (rows)                                                                                                  \
                for (size_t j = 0; j < GATHERED_ROWS; j++)                                                             \
                    gathered[j] = codes[rows[i + j]];                                                                  \
            for (size_t j = 0; j < GATHERED_ROWS; j += 16) {                                                           \
                __m512i row = rows ? _mm512_loadu_si512(rows + i + j)                                                  \
                                   : _mm512_add_epi32(counted, _mm512_set1_epi32((int)(begin + i + j)));               \
                __m512i code_of = sizeof(CODE) == 1                                                                    \
                                      ? _mm512_cvtepu8_epi32(_mm_loadu_si128((const void *)(code + j)))                \
                                      : _mm512_cvtepu16_epi32(_mm256_loadu_si256((const void *)(code + j)));           \
                __mmask16 goes_left = _mm512_cmple_epu32_mask(_mm512_sub_epi32(code_of, shifts), limits);              \
                int n_left = __builtin_popcount(goes_left);                                                            \
                _mm512_storeu_si512(to + left, _mm512_maskz_compress_epi32(goes_left, row));                           \
                left += n_left;                                                                                        \
                __m512i others = _mm512_maskz_compress_epi32((__mmask16)~goes_left, row);                              \
                _mm512_storeu_si512(to + right - 15, _mm512_permutexvar_epi32(last_first, others));                    \
                right -= 16 - n_left;                                                                                  \
            }                                                                                                          \
        }                                                                                                              \
    }
#else
#define PARTITION_VECTORS(CODE)
#endif

#define DEFINE_PARTITION(NAME, CODE)                                                                                   \
    static size_t NAME(const void *column, uint32_t code, uint32_t shift, const uint32_t *rows, size_t begin,          \
                       size_t n, uint32_t *to)                                                                         \
    {                                                                                                                  \
        const CODE *codes = (const CODE *)column;                                                                      \
        const uint32_t limit = code - shift;                                                                           \
        size_t left = 0, right = n - 1, i = 0;                                                                         \
        PARTITION_VECTORS(CODE)                                                                                        \
        for (; i < n; i++) {                                                                                           \
            uint32_t row = rows ? rows[i] : (uint32_t)(begin + i);                                                     \
            size_t goes_left = (uint32_t)codes[row] - shift <= limit;                                                  \
            to[left] = row;                                                                                            \
            to[right] = row;                                                                                           \
            left += goes_left;                                                                                         \
            right -= 1 - goes_left;                                                                                    \
        }                                                                                                              \
        return left;                                                                                                   \
    }

DEFINE_PARTITION(partition_u8, uint8_t)
DEFINE_PARTITION(partition_u16, uint16_t)
