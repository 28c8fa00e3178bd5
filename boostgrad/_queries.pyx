"""Loops over queries, handed to the kernels on all threads."""

from libc.stdint cimport int64_t, uint32_t

import numpy as np

from boostgrad.native cimport (BG_RANK_MAP, BG_RANK_NDCG, BG_RANK_NEIGHBOURS, BG_RANK_NOISE_BITS, BG_RANK_PAIRS,
                               BG_RANK_SOFTMAX, BG_RANKING_SCRATCH, bg_kernels, bg_ranking, kernels, parallel_for)
from boostgrad.queries import discounts

KINDS = {
    "pairs": BG_RANK_PAIRS,
    "ndcg": BG_RANK_NDCG,
    "map": BG_RANK_MAP,
    "softmax": BG_RANK_SOFTMAX,
    "neighbours": BG_RANK_NEIGHBOURS,
}

# So many levels of noise there are.
NOISE_LEVELS = 1 << BG_RANK_NOISE_BITS


cdef struct Context:
    const bg_kernels *k
    bg_ranking ranking
    const int64_t *tasks
    double *scratch     # so many doubles a worker:
    size_t pitch
    double *largest     # two a task
    double *values      # one a query


cdef void gradients_of_task(void *context, int64_t task, int worker) noexcept nogil:
    cdef Context *c = <Context *> context
    cdef int64_t query
    for query in range(c.tasks[task], c.tasks[task + 1]):
        c.k.rank_query(&c.ranking, query, c.scratch + worker * c.pitch, c.largest + 2 * task)


cdef void values_of_task(void *context, int64_t task, int worker) noexcept nogil:
    cdef Context *c = <Context *> context
    cdef int64_t query
    for query in range(c.tasks[task], c.tasks[task + 1]):
        c.values[query] = c.k.value_query(&c.ranking, query, c.scratch + worker * c.pitch)


cdef class Ranking:
    """A ranking loss on some queries, ready for scores.

    Parameters
    ----------
    queries : Queries
    gain : ndarray of float64, shape (n_rows,)
        By place.
    query_factor : ndarray of float64, shape (n_queries,)
        Pairs of a query count so much; 0 for queries that say nothing.
    kind : {"pairs", "ndcg", "map", "softmax", "neighbours"}
    top : int or None
        Of a pair one document at least is among so many first ones. None: all pairs.
    steepness : float
        Of the sigmoid.
    by_gap, normalise : bool
        Whether a pair counts less the further apart its scores are, and whether a query with many pairs counts less.
    decay : float
        Of neighbours, those a place further down count so much of those before.
    noise : ndarray of float64, shape (NOISE_LEVELS,), or None
        Numbers, one of which is added to each score before neighbours are looked for.
    draws : int
        How often. Each call of :meth:`gradients` draws anew, the first one always the same.
    """

    cdef Context context
    cdef object queries, gain, query_factor, discount, noise

    def __init__(self, queries, gain, query_factor, kind, top=None, double steepness=1.0, by_gap=False,
                 normalise=False, decay=None, noise=None, int draws=0):
        cdef const int64_t[::1] begin = queries.begin, tasks = queries.tasks
        cdef const uint32_t[::1] row = queries.row
        cdef const double[::1] gain_view = gain, factor_view = query_factor, discount_view, noise_view
        longest = int(queries.sizes.max())
        self.queries, self.gain, self.query_factor = queries, gain, query_factor
        self.discount = discounts(longest) if decay is None else decay ** np.arange(longest, dtype=np.float64)
        discount_view = self.discount
        self.noise = np.zeros(NOISE_LEVELS) if noise is None else noise
        noise_view = self.noise
        self.context.ranking = bg_ranking(
            begin=&begin[0], row=&row[0], gain=&gain_view[0], discount=&discount_view[0], noise=&noise_view[0],
            query_factor=&factor_view[0], raw=NULL, weight=NULL, pairs=NULL,
            n_top=longest if top is None else top, n_draws=draws, turn=0, steepness=steepness, kind=KINDS[kind],
            by_gap=by_gap, normalise=normalise,
        )
        self.context.tasks = &tasks[0]
        self.context.pitch = BG_RANKING_SCRATCH(longest) // 8 * 8 + 8

    def gradients(self, const double[::1] raw, weight, out, int n_threads):
        """OUT out.pairs, out.largest; weight: by row, or None."""
        cdef Context context = self.context
        cdef const double[::1] weight_view
        cdef double[:, :, ::1] pairs = out.pairs
        cdef int64_t n_tasks = len(self.queries.tasks) - 1
        largest, scratch = np.zeros((n_tasks, 2)), np.empty(n_threads * context.pitch)
        cdef double[:, ::1] largest_view = largest
        cdef double[::1] scratch_view = scratch
        context.k = kernels()
        context.ranking.raw = &raw[0]
        if weight is not None:
            weight_view = weight
            context.ranking.weight = &weight_view[0]
        context.ranking.pairs = &pairs[0, 0, 0]
        context.largest = &largest_view[0, 0]
        context.scratch = &scratch_view[0]
        with nogil:
            parallel_for(gradients_of_task, &context, n_tasks, n_threads)
        out.largest[:] = largest.max(axis=0)
        self.context.ranking.turn += 1

    def values(self, const double[::1] raw, int n_threads=1):
        """The loss of each query."""
        cdef Context context = self.context
        cdef int64_t n_tasks = len(self.queries.tasks) - 1
        values, scratch = np.empty(len(self.queries)), np.empty(n_threads * context.pitch)
        cdef double[::1] values_view = values, scratch_view = scratch
        context.k = kernels()
        context.ranking.raw = &raw[0]
        context.values = &values_view[0]
        context.scratch = &scratch_view[0]
        with nogil:
            parallel_for(values_of_task, &context, n_tasks, n_threads)
        return values
