"""The rows as histograms read them: codes, and what the row adds to a histogram, side by side.

::

    loss     [ gradient 8 | hessian 8 ]                     double precision, for the values of leaves
    table    row 0  [ gradient 2 | hessian 2 | codes ]      for the choice of splits; with a constant hessian
             row 1  [ gradient 2 | hessian 2 | codes ]      [ gradient 4 | codes ]
    record   see bg_packing in kernels.h

A table of many features is cut into tiles, so that the histograms of one tile stay in the first-level cache, and has
its integers in an array of their own::

    tile 0   row 0  [ codes of features 0 .. 31 ]           tile 1   row 0  [ codes of features 32 .. 63 ]   ...
             row 1  [ codes of features 0 .. 31 ]                    row 1  [ codes of features 32 .. 63 ]

Codes of features with at most 256 codes take a byte. Others take two, and lie behind the bytes or in tables of their own,
in tiles of features with similarly many codes::

    places   [ feature 0 | feature 2 | feature 3 |  feature 4  |  feature 1  ]
               tile 0: 1 byte each                 tile 1: 700    tile 2: 20,000 codes

The rows of a node lie all over the table, and each costs a trip to memory. Small integers beside the codes make that
one trip where there were three, and they halve the histogram's records. They are rounded at random, which keeps all
sums unbiased (as in the quantized training of Shi et al. 2022, NeurIPS, with more bits), and their noise is far below
that of the data: they are used where a typical gradient is worth many steps of them, and not where outliers or a few
positives among many negatives leave too few. Small tables keep the precise numbers.
"""

from libc.math cimport fabs, frexp, ldexp
from libc.stdint cimport int32_t, int64_t, uint8_t, uint16_t, uint32_t
from libc.stdlib cimport calloc, free

import numpy as np

from boostgrad.data.matrix import row_array
from boostgrad.native cimport (BG_CONSTANT, BG_NARROW, BG_PAIRED, BG_PAIRED_GRADIENT_BITS,
                               BG_PAIRED_HESSIAN_BITS, BG_SINGLE, BG_WIDE, address_of, bg_kernels, kernels,
                               parallel_for)

# Fewer rows keep the numbers that the loss computed.
DEF INTEGER_ROWS = 50000

# Rows a task writes: they stay in the second-level cache.
DEF ROWS_PER_TASK = 4096

# Rows of one step of turning columns into rows: their piece of the table stays in the first-level cache.
DEF ROWS_PER_STEP = 256

# A row of so many bytes is not cut ...
DEF ROW_BYTES = 64
# ... and of longer ones each tile has at most so many.
DEF TILE_ROW_BYTES = 32

# A typical gradient and hessian is worth at least so many bits of small integers ...
DEF PAIRED_BITS = 4
# ... and a gradient so many of those of narrow histograms.
DEF NARROW_BITS = 8

# A gradient alone takes so many bits of an int32.
DEF SINGLE_BITS = 30


def cut(n_codes, may_be_one_row=True):
    """How rows are cut into tiles.

    Parameters
    ----------
    n_codes : ndarray of uint32, shape (n_features,)
    may_be_one_row : bool
        False: the integers are never in the table.

    Returns
    -------
    order : ndarray of int32
        The feature at each place: byte codes in the order of the features, the others from few codes to many.
    tiles : list of (first place, number of features, bytes of a code, bytes of a row, where in a row codes begin)
    one_row : bool
        Whether all tiles lie in one table, with the integers at the head of each row.
    """
    wide = n_codes > 256
    order = np.argsort(np.where(wide, n_codes, 0), kind="stable").astype(np.int32)
    n, n_narrow = len(n_codes), int((~wide).sum())
    wide_begin = 4 + (n_narrow + 1) // 2 * 2
    whole = wide_begin + 2 * (n - n_narrow) if n_narrow < n else 4 + n
    one_row = may_be_one_row and n > 0 and whole <= ROW_BYTES  # without features (a sparse table) there are the integers alone
    n_tiles = 1 if one_row else -(-n_narrow // TILE_ROW_BYTES)
    size = -(-n_narrow // n_tiles) if n_narrow else 0
    tiles = []
    for first in range(0, n_narrow, max(size, 1)):
        row = (row_size(whole), 4) if one_row else (row_size(size), 0)
        tiles.append((first, min(size, n_narrow - first), 1, *row))
    first = n_narrow
    while first < n:
        end = first + 1
        while end < n and n_codes[order[end]] <= 2 * n_codes[order[first]] and (
                one_row or 2 * (end + 1 - first) <= TILE_ROW_BYTES):
            end += 1
        row = (row_size(whole), wide_begin + 2 * (first - n_narrow)) if one_row else (row_size(2 * (end - first)), 0)
        tiles.append((first, end - first, 2, *row))
        first = end
    return order, tiles, one_row


def row_size(used):
    """Bytes of a row of so many used ones: a power of two, which keeps it within one line of the cache, unless that
    wastes too much."""
    even, padded = (used + 3) // 4 * 4, 4
    while padded < used:
        padded *= 2
    return padded if 3 * padded <= 4 * even else even


def stride_of(n_codes):
    """Records between the histograms of features with at most so many codes: never a multiple of 4096 bytes, for then
    the same bin of all features would compete for one set of the first-level cache."""
    stride = (n_codes + 3) // 4 * 4 + 4
    return stride + 4 if stride * 16 % 4096 == 0 else stride  # and then neither of records of 8 bytes


cdef class RowRecords:
    """The numbers of all rows, as the trees of one fit want them.

    Parameters
    ----------
    matrix : BinnedMatrix
    n_threads : int
    """

    def __cinit__(self, matrix, int n_threads):
        cdef size_t address, at = 0, table_bytes = 0, offset = 0
        cdef Tile *tile
        cdef int t
        self.k = kernels()
        self.n_rows = matrix.n_rows
        self.n_threads = n_threads
        self.columns = <const char *> address_of(matrix.by_column)
        self.code_bytes = matrix.by_column.itemsize
        self.n_features = matrix.n_features
        # a table in a file is not written to once it is there: its pages can then be dropped as they are
        order, tiles, one_row = cut(matrix.n_codes, matrix.directory is None)
        cdef const int32_t[::1] order_view = order
        self.feature_at = &order_view[0]
        self.n_tiles = len(tiles)
        self.tiles = <Tile *> calloc(self.n_tiles + 1, sizeof(Tile))
        if self.tiles == NULL:
            raise MemoryError()
        for t, (first, n, code_bytes, row_bytes, row_begin) in enumerate(tiles):
            n_codes = matrix.n_codes[order[first : first + n]]
            tile = &self.tiles[t]
            tile.first, tile.n, tile.code_bytes, tile.row_bytes = first, n, code_bytes, row_bytes
            tile.n_codes = int(n_codes.sum())
            tile.stride = stride_of(int(n_codes.max()))
            tile.offset = offset
            offset += tile.n * tile.stride
            if t == 0 or not one_row:
                at = table_bytes
                table_bytes += (self.n_rows * tile.row_bytes + 63) // 64 * 64
            tile.codes = <char *> <size_t> (at + <size_t> row_begin)
        table = row_array(table_bytes + 64, np.uint8, matrix.directory)
        address = (<size_t> address_of(table) + 63) // 64 * 64
        for t in range(self.n_tiles):
            self.tiles[t].codes = <char *> (address + <size_t> self.tiles[t].codes)
        integers = None
        if one_row:
            self.integers = <char *> address
            self.integer_bytes = self.tiles[0].row_bytes
        else:
            integers = row_array(self.n_rows, np.int32, matrix.directory)
            self.integers = <char *> address_of(integers)
            self.integer_bytes = 4
        self.held = (order, table, integers)
        with nogil:
            parallel_for(lay_down_rows, <void *> self, (self.n_rows + ROWS_PER_TASK - 1) // ROWS_PER_TASK, n_threads)

    def __dealloc__(self):
        free(self.tiles)

    def relay(self, features):
        """Take the codes of these features from the columns again.

        Parameters
        ----------
        features : ndarray of int64
        """
        wanted = np.zeros(self.n_features, dtype=np.uint8)
        wanted[features] = 1
        cdef const uint8_t[::1] view = wanted
        self.wanted = &view[0]
        with nogil:
            parallel_for(lay_down_rows, <void *> self, (self.n_rows + ROWS_PER_TASK - 1) // ROWS_PER_TASK,
                         self.n_threads)
        self.wanted = NULL

    cdef void lay_down(self, int64_t chunk) noexcept nogil:
        """Codes from columns to rows."""
        cdef int64_t begin = chunk * ROWS_PER_TASK, step, n, i, f
        cdef int64_t end = min(begin + ROWS_PER_TASK, self.n_rows)
        cdef const Tile *tile
        cdef size_t row_bytes
        cdef const uint8_t *column
        cdef const uint16_t *column16
        cdef char *row
        cdef int t, p
        for step in range(begin, end, ROWS_PER_STEP):
            n = min(<int64_t> ROWS_PER_STEP, end - step)
            for t in range(self.n_tiles):
                tile = &self.tiles[t]
                row_bytes = tile.row_bytes
                for p in range(tile.n):
                    f = self.feature_at[tile.first + p]
                    if self.wanted != NULL and not self.wanted[f]:
                        continue
                    row = tile.codes + step * row_bytes + p * tile.code_bytes
                    column = <const uint8_t *> self.columns + f * self.n_rows + step
                    column16 = <const uint16_t *> self.columns + f * self.n_rows + step
                    if self.code_bytes == 1:
                        for i in range(n):
                            (<uint8_t *> (row + i * row_bytes))[0] = column[i]
                    elif tile.code_bytes == 1:
                        for i in range(n):
                            (<uint8_t *> (row + i * row_bytes))[0] = <uint8_t> column16[i]
                    else:
                        for i in range(n):
                            (<uint16_t *> (row + i * row_bytes))[0] = column16[i]

    cdef int start_tree(self, const double *pairs, int pair_width, double constant_hessian, double largest_gradient,
                        double largest_hessian, uint32_t seed) except -1:
        """Choose kernels and scales; the scales are such that no sum over all rows leaves its field."""
        cdef int gradient_exponent = 0, hessian_exponent = 0, hessian_bits
        cdef int count_bits = int(self.n_rows).bit_length()
        cdef int room = 62 - 2 * count_bits
        cdef int64_t n_tasks = (self.n_rows + ROWS_PER_TASK - 1) // ROWS_PER_TASK
        self.pairs = pairs
        self.pair_width = pair_width
        self.seed = seed
        frexp(largest_gradient, &gradient_exponent)
        frexp(largest_hessian, &hessian_exponent)
        self.packing.count_bits = count_bits
        self.compact = False
        if pair_width == 2:
            hessian_bits = min(BG_PAIRED_HESSIAN_BITS, room)
            if (self.n_rows >= INTEGER_ROWS
                    and ldexp(self.typical(0), BG_PAIRED_GRADIENT_BITS - gradient_exponent) >= 1 << PAIRED_BITS
                    and ldexp(self.typical(1), hessian_bits - hessian_exponent) >= 1 << PAIRED_BITS):
                self.packing.gradient_scale = ldexp(1.0, min(1000, BG_PAIRED_GRADIENT_BITS - gradient_exponent))
                self.packing.hessian_scale = ldexp(1.0, min(1000, hessian_bits - hessian_exponent))
                self.negative = 0
                with nogil:
                    parallel_for(quantize_rows, <void *> self, n_tasks, self.n_threads)
                if not self.negative:
                    self.use(BG_PAIRED, 2)
                    self.compact = True
                    self.hessian_unit = 1.0 / self.packing.hessian_scale
                    return 0
            self.packing.gradient_scale = ldexp(1.0, min(1000, 62 - count_bits - gradient_exponent))
            self.packing.hessian_scale = ldexp(1.0, min(1000, room - hessian_exponent))
            self.use(BG_WIDE, 2)
            self.hessian_unit = 1.0 / self.packing.hessian_scale
            return 0
        self.hessian_unit = constant_hessian
        if self.n_rows >= INTEGER_ROWS:
            room = min(room, SINGLE_BITS)
        if ldexp(self.typical(0), room - gradient_exponent) < 1 << NARROW_BITS:
            self.packing.gradient_scale = ldexp(1.0, min(1000, 62 - count_bits - gradient_exponent))
            self.use(BG_CONSTANT, 2)
            return 0
        self.packing.gradient_scale = ldexp(1.0, min(1000, room - gradient_exponent))
        if self.n_rows < INTEGER_ROWS:
            self.use(BG_NARROW, 1)
            return 0
        with nogil:
            parallel_for(quantize_rows, <void *> self, n_tasks, self.n_threads)
        self.use(BG_SINGLE, 1)
        return 0

    cdef void use(self, int kind, int lanes) noexcept:
        self.kind = kind
        self.lanes = lanes
        if kind == BG_SINGLE or kind == BG_PAIRED:
            self.numbers = self.integers
            self.number_bytes = self.integer_bytes
        else:
            self.numbers = <const char *> self.pairs
            self.number_bytes = self.pair_width * sizeof(double)

    cdef double typical(self, int lane) noexcept:
        """Mean size of a sample of the numbers, without those above the sample's mean, among which outliers are."""
        cdef int64_t step = self.n_rows // 4096 + 1
        cdef int64_t apart = self.pair_width * step, sampled = (self.n_rows + step - 1) // step, i
        cdef double size, mean = 0, typical = 0
        cdef int n_typical = 0
        for i in range(sampled):
            mean += fabs(self.pairs[apart * i + lane])
        mean /= sampled
        for i in range(sampled):
            size = fabs(self.pairs[apart * i + lane])
            if size <= mean:
                typical += size
                n_typical += 1
        return typical / n_typical

    cdef void quantize(self, int64_t chunk) noexcept nogil:
        cdef int64_t first = chunk * ROWS_PER_TASK
        cdef int64_t n = min(<int64_t> ROWS_PER_TASK, self.n_rows - first)
        if self.pair_width == 1:
            self.k.quantize_gradients(self.pairs, first, n, self.packing, self.integers,
                                      self.integer_bytes)
        elif self.k.quantize_pairs(self.pairs, first, n, self.seed, self.packing, self.integers,
                                   self.integer_bytes):
            self.negative = 1


cdef void lay_down_rows(void *records, int64_t chunk, int worker) noexcept nogil:
    (<RowRecords> records).lay_down(chunk)


cdef void quantize_rows(void *records, int64_t chunk, int worker) noexcept nogil:
    (<RowRecords> records).quantize(chunk)
