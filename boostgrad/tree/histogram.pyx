"""Histograms of the open leaves: built from rows, subtracted, reused.

A slot holds one node's histograms, tile by tile (see ``boostgrad.tree.records``). Those of one tile are ``stride`` records
apart, and that of a feature begins ``offset`` records into the slot::

    slot    [ feature 0: n_codes records | unused ][ feature 1: ... | unused ] ...
             <---------- stride --------->
"""

from libc.stdint cimport int64_t, uint32_t
from libc.stdlib cimport calloc, free, malloc
from libc.string cimport memset

from boostgrad.native cimport BG_COMPACT, BG_COMPACT_ROWS, address_of, bg_kernels, kernels, parallel_for, resize
from boostgrad.tree.records cimport RowRecords

# Updates (rows times features) that are worth waking another thread for.
DEF PARALLEL_UPDATES = 40000

# Rows a task takes at a time, about, where threads share the rows of a node.
DEF ROWS_PER_TASK = 8128

# Fewer rows are not worth the way through compact records: unpacking takes a pass over all codes.
DEF COMPACT_UPDATES_PER_CODE = 3

# Histograms kept for subtraction take at most so much memory; leaves beyond are built from their rows again.
DEF POOL_BYTES = 1073741824

cdef extern from "stdlib.h" nogil:
    int posix_memalign(void **, size_t, size_t)


cdef class HistogramPool:
    """Histograms for the trees of one fit.

    Parameters
    ----------
    matrix : BinnedMatrix
    records : RowRecords
        What the rows add.
    n_threads : int
    """

    def __cinit__(self, matrix, RowRecords records, int n_threads):
        cdef const Tile *tile
        cdef int t, p
        self.k = kernels()
        self.matrix = matrix
        self.records = records
        self.n_codes = <const uint32_t *> address_of(matrix.n_codes)
        self.n_features = matrix.n_features
        self.n_rows = matrix.n_rows
        self.n_threads = n_threads
        self.offset = <size_t *> calloc(self.n_features, sizeof(size_t))
        self.scratch = <int64_t **> calloc(n_threads, sizeof(int64_t *))
        self.compact = <int64_t **> calloc(n_threads, sizeof(int64_t *))
        self.touched = <char *> calloc(n_threads, 1)
        if self.scratch == NULL or self.compact == NULL or self.touched == NULL or self.offset == NULL:
            raise MemoryError()
        for t in range(records.n_tiles):
            tile = &records.tiles[t]
            for p in range(tile.n):
                self.offset[records.feature_at[tile.first + p]] = tile.offset + p * tile.stride
            self.slot_records += tile.n * tile.stride
            self.tile_records = max(self.tile_records, tile.n * tile.stride)

    def __dealloc__(self):
        self.release()
        free(self.scratch)
        free(self.compact)
        free(self.touched)
        free(self.offset)

    cdef void release(self) noexcept:
        cdef int i
        for i in range(self.n_slots):
            free(self.slots[i])
        if self.scratch != NULL:
            for i in range(self.n_threads):
                free(self.scratch[i])
                self.scratch[i] = NULL
        if self.compact != NULL:
            for i in range(self.n_threads):
                free(self.compact[i])
                self.compact[i] = NULL
        free(self.slots)
        free(self.free_slots)
        self.slots = NULL
        self.free_slots = NULL
        self.n_slots = self.n_free = 0

    cdef int start_tree(self) except -1:
        """All slots are free; the next histograms are made of the records as they are now."""
        cdef int i
        cdef size_t slot_bytes
        if self.records.lanes != self.lanes:
            self.release()
            self.lanes = self.records.lanes
            slot_bytes = self.slot_records * self.lanes * 8
            self.max_slots = max(4, <int> min(POOL_BYTES // slot_bytes, <size_t> 1000000))
        if self.records.compact:
            for i in range(self.n_threads):
                if self.compact[i] == NULL:
                    self.compact[i] = <int64_t *> calloc(self.tile_records, 8)
                    if self.compact[i] == NULL:
                        raise MemoryError()
        self.n_free = self.n_slots
        for i in range(self.n_slots):
            self.free_slots[i] = self.n_slots - 1 - i
        return 0

    cdef int64_t *allocate(self) noexcept nogil:
        cdef void *memory = NULL
        if posix_memalign(&memory, 64, self.slot_records * self.lanes * 8) != 0:
            return NULL
        return <int64_t *> memory

    cdef int take(self) noexcept nogil:
        """A free slot, or -1 where memory for one more is not to be had."""
        cdef int64_t *memory
        if self.n_free == 0:
            if self.n_slots == self.max_slots:
                return -1
            if (resize(<void **> &self.slots, (self.n_slots + 1) * sizeof(int64_t *)) != 0
                    or resize(<void **> &self.free_slots, (self.n_slots + 1) * sizeof(int)) != 0):
                return -1
            memory = self.allocate()
            if memory == NULL:
                return -1
            self.slots[self.n_slots] = memory
            self.free_slots[0] = self.n_slots
            self.n_slots += 1
            self.n_free = 1
        self.n_free -= 1
        return self.free_slots[self.n_free]

    cdef bint is_full(self) noexcept nogil:
        """Whether a leaf that waits should not keep its slot: two are always left for the nodes at work."""
        return self.n_free == 0 and self.n_slots + 2 > self.max_slots

    cdef bint has_room(self, int n) noexcept nogil:
        """Whether so many more slots may be taken before it is full."""
        return self.n_slots - self.n_free + n + 2 <= self.max_slots

    cdef void give(self, int slot) noexcept nogil:
        if slot >= 0:
            self.free_slots[self.n_free] = slot
            self.n_free += 1

    cdef int64_t *at(self, int slot, int feature) noexcept nogil:
        return self.slots[slot] + self.offset[feature] * self.lanes

    cdef void clear(self, int64_t *target, const Tile *tile) noexcept nogil:
        cdef int i
        for i in range(tile.n):
            memset(target + (tile.offset + i * tile.stride) * self.lanes, 0,
                   self.n_codes[self.records.feature_at[tile.first + i]] * self.lanes * 8)

    cdef void add_rows(self, int64_t *target, const uint32_t *rows, int64_t begin, int64_t n, const Tile *tile,
                       int worker, bint fresh) noexcept nogil:
        """OUT target: += records of the rows, features of one tile, or = them where it is fresh; rows NULL: rows
        begin .. begin + n.

        Compact records are added up in a place of their own, and unpacked to the target before they overflow.
        """
        cdef int64_t *compact = self.compact[worker]
        cdef int64_t done = 0, piece
        cdef int i
        if (not self.records.compact
                or min(n, <int64_t> BG_COMPACT_ROWS) * tile.n < COMPACT_UPDATES_PER_CODE * tile.n_codes):
            if fresh:
                self.clear(target, tile)
            self.k.histogram[self.records.kind][tile.code_bytes - 1](
                tile.codes, tile.row_bytes, self.records.numbers, self.records.number_bytes, rows, begin, n,
                self.records.packing, tile.n, tile.stride, target + tile.offset * self.lanes)
            return
        target += tile.offset * self.lanes
        while done < n:
            piece = min(<int64_t> BG_COMPACT_ROWS, n - done)
            self.k.histogram[BG_COMPACT][tile.code_bytes - 1](
                tile.codes, tile.row_bytes, self.records.numbers, self.records.number_bytes,
                rows + done if rows != NULL else NULL, begin + done, piece, self.records.packing, tile.n, tile.stride,
                compact)
            for i in range(tile.n):
                self.k.unpack_compact(compact + i * tile.stride,
                                      self.n_codes[self.records.feature_at[tile.first + i]],
                                      self.records.packing.count_bits, fresh and done == 0,
                                      target + i * tile.stride * self.lanes)
            done += piece

    cdef void build_tile(self, int slot, const Tile *tile, const uint32_t *rows, int64_t begin, int64_t n,
                         int worker) noexcept nogil:
        """Histograms of the features of one tile by the calling thread alone, complete at once."""
        self.add_rows(self.slots[slot], rows, begin, n, tile, worker, True)

    cdef void build_alone(self, int slot, const uint32_t *rows, int64_t n, int worker) noexcept nogil:
        """All tiles of these rows, by the calling thread alone."""
        cdef int t
        for t in range(self.records.n_tiles):
            self.build_tile(slot, &self.records.tiles[t], rows, 0, n, worker)

    cdef void add_chunk(self, const BuildContext *c, int64_t chunk, int worker) noexcept nogil:
        """A chunk of the rows, all features tile by tile, into the worker's own histogram; the first one's is the
        slot."""
        cdef int64_t begin = chunk * c.rows_per_chunk
        cdef int64_t n = min(c.rows_per_chunk, c.n - begin)
        cdef const uint32_t *rows = c.rows + begin if c.rows != NULL else NULL
        cdef int64_t *target = self.slots[c.slot] if worker == 0 else self.scratch[worker]
        cdef bint fresh = not self.touched[worker]
        cdef int t
        self.touched[worker] = True
        for t in range(self.records.n_tiles):
            self.add_rows(target, rows, c.begin + begin, n, &self.records.tiles[t], worker, fresh)

    cdef bint shares_rows(self, int64_t n) noexcept nogil:
        """Whether threads share so many rows of a node; not where there are tiles for all of them."""
        return (self.n_threads > 1 and n * self.n_features >= PARALLEL_UPDATES
                and self.records.n_tiles < 2 * self.n_threads)

    cdef int build(self, int slot, const uint32_t *rows, int64_t begin, int64_t n) noexcept nogil:
        """Histograms of rows[begin : begin + n], or of those numbers themselves where rows is NULL, by all threads.

        The slot is complete once :meth:`merge` was called for each feature. Returns -1 without memory.
        """
        cdef BuildContext context
        cdef int64_t n_chunks
        cdef int worker, t
        context.pool = <void *> self
        context.slot = slot
        context.rows = rows + begin if rows != NULL else NULL
        context.begin = begin
        context.n = n
        memset(self.touched, 0, self.n_threads)
        if not self.shares_rows(n):
            parallel_for(build_tile, &context, self.records.n_tiles,
                         self.n_threads if n * self.n_features >= PARALLEL_UPDATES else 1)
        else:
            for worker in range(1, self.n_threads):
                if self.scratch[worker] == NULL:
                    self.scratch[worker] = self.allocate()
                    if self.scratch[worker] == NULL:
                        return -1
            # an equal number of chunks for each thread
            n_chunks = self.n_threads * ((n + ROWS_PER_TASK * self.n_threads - 1) // (ROWS_PER_TASK * self.n_threads))
            context.rows_per_chunk = (n + n_chunks - 1) // n_chunks
            n_chunks = (n + context.rows_per_chunk - 1) // context.rows_per_chunk
            parallel_for(build_rows, &context, n_chunks, self.n_threads)
            if not self.touched[0]:  # the others were faster
                for t in range(self.records.n_tiles):
                    self.clear(self.slots[slot], &self.records.tiles[t])
        return 0

    cdef void merge(self, int slot, int feature) noexcept nogil:
        """Add what helper threads summed up for the feature to the slot that was built last."""
        cdef int worker
        for worker in range(1, self.n_threads):
            if self.touched[worker]:
                self.k.add(self.at(slot, feature), self.scratch[worker] + self.offset[feature] * self.lanes,
                           self.n_codes[feature] * self.lanes)

    cdef void total(self, int slot, int64_t *out) noexcept nogil:
        """OUT out: the node's packed sums, from the slot that was built last; any feature's records add up to them."""
        cdef uint32_t code
        cdef int lane, worker
        for code in range(self.n_codes[self.records.feature_at[0]]):  # the first in the slot
            for lane in range(self.lanes):
                out[lane] += self.slots[slot][self.lanes * code + lane]
                for worker in range(1, self.n_threads):
                    if self.touched[worker]:
                        out[lane] += self.scratch[worker][self.lanes * code + lane]

    cdef void subtract(self, int slot, int feature, int smaller) noexcept nogil:
        """The parent's slot becomes that of the larger child."""
        self.k.subtract(self.at(slot, feature), self.at(smaller, feature), self.n_codes[feature] * self.lanes)


cdef void build_tile(void *context, int64_t chunk, int worker) noexcept nogil:
    cdef BuildContext *c = <BuildContext *> context
    (<HistogramPool> c.pool).build_tile(c.slot, &(<HistogramPool> c.pool).records.tiles[chunk], c.rows, c.begin, c.n, worker)


cdef void build_rows(void *context, int64_t chunk, int worker) noexcept nogil:
    cdef BuildContext *c = <BuildContext *> context
    (<HistogramPool> c.pool).add_chunk(c, chunk, worker)
