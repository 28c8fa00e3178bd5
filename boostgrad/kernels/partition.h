/* The rows of a node, parted by one column of codes:
 *
 *   rows  [ 4 7 9 12 15 ]   codes of the column: L R L L R
 *   to    [ 4 9 12 | 15 7 ]     left ones from the front, right ones from the back
 */
#define DEFINE_PARTITION(NAME, CODE)                                                                                   \
    static size_t NAME(const void *column, uint32_t code, uint32_t shift, const uint32_t *rows, size_t n,              \
                       uint32_t *to)                                                                                   \
    {                                                                                                                  \
        const CODE *codes = (const CODE *)column;                                                                      \
        const uint32_t limit = code - shift;                                                                           \
        size_t left = 0, right = n - 1;                                                                                \
        for (size_t i = 0; i < n; i++) {                                                                               \
            uint32_t row = rows[i];                                                                                    \
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
