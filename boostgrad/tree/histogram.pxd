from libc.stdint cimport int64_t, uint32_t

from boostgrad.native cimport bg_kernels
from boostgrad.tree.records cimport RowRecords, Tile

cdef struct BuildContext:
    void *pool
    int slot
    const uint32_t *rows
    int64_t begin
    int64_t n
    int64_t rows_per_chunk


cdef class HistogramPool:
    cdef const bg_kernels *k
    cdef RowRecords records
    cdef object matrix
    cdef const uint32_t *n_codes
    cdef readonly int n_features
    cdef int n_threads
    cdef int64_t n_rows
    cdef size_t *offset          # records before a feature in a slot
    cdef size_t slot_records, tile_records  # records of a slot, and of the largest tile
    cdef readonly int lanes      # int64 a record: 2 wide, 1 narrow
    cdef int64_t **slots
    cdef int *free_slots
    cdef int n_slots, n_free
    cdef public int max_slots    # from the first tree on
    cdef int64_t **scratch       # one a helper thread
    cdef int64_t **compact       # one a thread: compact records of one tile, zero between two uses
    cdef char *touched           # which threads have added to the node that is being built

    cdef int start_tree(self) except -1
    cdef void release(self) noexcept
    cdef int64_t *allocate(self) noexcept nogil
    cdef void clear(self, int64_t *target, const Tile *tile) noexcept nogil
    cdef void add_rows(self, int64_t *target, const uint32_t *rows, int64_t begin, int64_t n, const Tile *tile,
                       int worker, bint fresh) noexcept nogil
    cdef void build_tile(self, int slot, const Tile *tile, const uint32_t *rows, int64_t begin, int64_t n,
                         int worker) noexcept nogil
    cdef void add_chunk(self, const BuildContext *c, int64_t chunk, int worker) noexcept nogil
    cdef int take(self) noexcept nogil
    cdef bint is_full(self) noexcept nogil
    cdef bint has_room(self, int n) noexcept nogil
    cdef void give(self, int slot) noexcept nogil
    cdef int64_t *at(self, int slot, int feature) noexcept nogil
    cdef void build_alone(self, int slot, const uint32_t *rows, int64_t n, int worker) noexcept nogil
    cdef bint shares_rows(self, int64_t n) noexcept nogil
    cdef int build(self, int slot, const uint32_t *rows, int64_t begin, int64_t n) noexcept nogil
    cdef void merge(self, int slot, int feature) noexcept nogil
    cdef void total(self, int slot, int64_t *out) noexcept nogil
    cdef void subtract(self, int slot, int feature, int smaller) noexcept nogil
