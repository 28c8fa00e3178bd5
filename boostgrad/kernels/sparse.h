/* Columns of which only some entries are stored: row numbers and codes side by side, the code of zero left out.
 *
 *   rows    3 8 9 15        hist[code] += record of the row
 *   codes   2 7 2  4
 */

/* OUT records: of rows first .. first + n, from the numbers that a histogram of this kind is made from; one lane or two
 * each. */
static void lay_records(int kind, const char *numbers, size_t number_bytes, bg_packing packing, size_t first, size_t n,
                        int64_t *records)
{
    two_lanes *restrict wide = (two_lanes *)records + first;
    int64_t *restrict narrow = records + first;
    numbers += first * number_bytes;
    switch (kind) {
    case BG_WIDE:
        for (size_t i = 0; i < n; i++)
            wide[i] = wide_record(numbers + i * number_bytes, packing);
        break;
    case BG_CONSTANT:
        for (size_t i = 0; i < n; i++)
            wide[i] = constant_record(numbers + i * number_bytes, packing);
        break;
    case BG_PAIRED:
        for (size_t i = 0; i < n; i++)
            wide[i] = paired_record(numbers + i * number_bytes, packing);
        break;
    case BG_NARROW:
        for (size_t i = 0; i < n; i++)
            narrow[i] = narrow_record(numbers + i * number_bytes, packing);
        break;
    default:
        for (size_t i = 0; i < n; i++)
            narrow[i] = single_record(numbers + i * number_bytes, packing);
    }
}

typedef int64_t four_lanes_anywhere __attribute__((vector_size(32), aligned(8)));

/* OUT hist: += the records of the entries; OUT sum: what they add up to. */
static void sparse_wide(const uint32_t *rows, const uint16_t *codes, size_t n, const int64_t *records, int64_t *hist,
                        int64_t *sum)
{
    const two_lanes *record = (const two_lanes *)records;
    two_lanes *to = (two_lanes *)hist, total = {0, 0};
    for (size_t i = 0; i < n; i++) {
        two_lanes here = record[rows[i]];
        to[codes[i]] += here;
        total += here;
    }
    sum[0] = total[0];
    sum[1] = total[1];
}

static void sparse_narrow(const uint32_t *rows, const uint16_t *codes, size_t n, const int64_t *records, int64_t *hist,
                          int64_t *sum)
{
    int64_t total = 0;
    for (size_t i = 0; i < n; i++) {
        int64_t here = records[rows[i]];
        hist[codes[i]] += here;
        total += here;
    }
    sum[0] = total;
}

/* Records of four lanes, those of vector.h; histograms may lie anywhere. */
static void sparse_vector(const uint32_t *rows, const uint16_t *codes, size_t n, const int64_t *records, int64_t *hist,
                          int64_t *sum)
{
    const four_lanes *record = (const four_lanes *)records;
    four_lanes_anywhere *to = (four_lanes_anywhere *)hist;
    four_lanes total = {0, 0, 0, 0};
    for (size_t i = 0; i < n; i++) {
        four_lanes here = record[rows[i]];
        to[codes[i]] += here;
        total += here;
    }
    *(four_lanes_anywhere *)sum = total;
}

/* OUT to_rows, to_codes: entries whose row is the owner's, in order, and from kept places on the others. The targets may
 * be the sources themselves; left_rows and left_codes are room for n entries. Returns how many are the owner's. */
static size_t sparse_part(const uint32_t *rows, const uint16_t *codes, size_t n, const uint32_t *owner_of,
                          uint32_t owner, uint32_t *to_rows, uint16_t *to_codes, uint32_t *left_rows,
                          uint16_t *left_codes)
{
    size_t kept = 0, left = 0, i = 0;
#if defined(BG_AVX512)
    /* Sixteen at a time; whole vectors are stored, never beyond what was read. */
    const __m512i owners = _mm512_set1_epi32((int)owner);
    for (; i + 16 <= n; i += 16) {
        __m512i row = _mm512_loadu_si512(rows + i);
        __m512i code = _mm512_cvtepu16_epi32(_mm256_loadu_si256((const void *)(codes + i)));
        __mmask16 stays = _mm512_cmpeq_epi32_mask(_mm512_i32gather_epi32(row, owner_of, 4), owners);
        __mmask16 leaves = (__mmask16)~stays;
        _mm512_storeu_si512(to_rows + kept, _mm512_maskz_compress_epi32(stays, row));
        _mm256_storeu_si256((void *)(to_codes + kept), _mm512_cvtepi32_epi16(_mm512_maskz_compress_epi32(stays, code)));
        _mm512_storeu_si512(left_rows + left, _mm512_maskz_compress_epi32(leaves, row));
        _mm256_storeu_si256((void *)(left_codes + left),
                            _mm512_cvtepi32_epi16(_mm512_maskz_compress_epi32(leaves, code)));
        kept += __builtin_popcount(stays);
        left += __builtin_popcount(leaves);
    }
#endif
    for (; i < n; i++) {
        uint32_t row = rows[i];
        uint16_t code = codes[i];
        size_t leaves = owner_of[row] != owner;
        to_rows[kept] = left_rows[left] = row;
        to_codes[kept] = left_codes[left] = code;
        left += leaves;
        kept += 1 - leaves;
    }
    memcpy(to_rows + kept, left_rows, left * sizeof *rows);
    memcpy(to_codes + kept, left_codes, left * sizeof *codes);
    return kept;
}
