"""Counting pairs in order, by a Fenwick tree over the ranks of the risks."""

from libc.stdint cimport int64_t

import numpy as np


cdef void add(double[::1] tree, int64_t at, double weight) noexcept nogil:
    at += 1
    while at < tree.shape[0]:
        tree[at] += weight
        at += at & -at


cdef double below(const double[::1] tree, int64_t end) noexcept nogil:
    """What was added at 0 .. end - 1."""
    cdef double sum = 0
    while end > 0:
        sum += tree[end]
        end -= end & -end
    return sum


def orders_of(lower, upper):
    """What :func:`pairs_in_order` goes through: the rows as second ones of a pair, and as first ones, latest first."""
    # of those with equal bounds the ones that are not observed come first
    second = np.lexsort((np.equal(lower, upper), np.negative(lower))).astype(np.int64)
    return second, np.argsort(np.negative(upper), kind="stable").astype(np.int64)


def pairs_in_order(const double[::1] lower, const double[::1] upper, const int64_t[::1] rank, int64_t n_ranks, weight,
                   orders):
    """Weight of pairs by the order of their risks.

    Of two rows the first certainly has its event before the second if ``upper[first] < lower[second]``, or if they are
    equal and the second one's time is not observed.

    Parameters
    ----------
    lower, upper : ndarray of float64
        Bounds of the times; equal where the time is observed.
    rank : ndarray of int64
        Of the risks, from 0; equal risks have equal ranks.
    n_ranks : int
    weight : ndarray of float64 or None
    orders : tuple of ndarray
        Of :func:`orders_of` of these bounds.

    Returns
    -------
    concordant, tied, discordant : float
    """
    cdef const double[::1] w = np.ones(lower.shape[0]) if weight is None else weight
    cdef double[::1] tree = np.zeros(n_ranks + 1)
    cdef const int64_t[::1] second = orders[0], first = orders[1]
    cdef int64_t k, i, j, added = 0, n = lower.shape[0]
    cdef double all_added = 0, less, at_most, concordant = 0, tied = 0, discordant = 0
    with nogil:
        for k in range(n):
            i = first[k]
            while added < n:
                j = second[added]
                if not (lower[j] > upper[i] or (lower[j] == upper[i] and lower[j] != upper[j])):
                    break
                add(tree, rank[j], w[j])
                all_added += w[j]
                added += 1
            less, at_most = below(tree, rank[i]), below(tree, rank[i] + 1)
            concordant += w[i] * less
            tied += w[i] * (at_most - less)
            discordant += w[i] * (all_added - at_most)
    return concordant, tied, discordant
