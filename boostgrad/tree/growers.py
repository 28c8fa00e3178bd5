"""The trees of one iteration, grown side by side where there are enough of them.

A tree of its own keeps a thread busier than its share of a tree: small nodes are not worth waking a second thread for.
::

    2 threads   tree 0 [==== ==]  tree 1 [==== ==] ...      both threads on each tree: small nodes leave one idle
                tree 0 [============]  tree 2 ...           one thread a tree
                tree 1 [=============] tree 3 ...
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from queue import SimpleQueue
from typing import Any

from boostgrad.data.matrix import BinnedMatrix, SparseBinnedMatrix
from boostgrad.params import CategoryParams, TreeParams
from boostgrad.tree.grower import TreeGrower
from boostgrad.tree.sparse_grower import SparseTreeGrower
from boostgrad.tree.sparse_symmetric import SparseSymmetricTreeGrower
from boostgrad.tree.symmetric import SymmetricTreeGrower

# Each grower has a copy of the codes; all of them together take at most so much memory.
MOST_BYTES = 2**30

# Turns of all threads over trees, at most: of two threads with three trees one would be idle for long.
MOST_WASTE = 1.25

# By whether a table is sparse, and trees are symmetric.
KINDS: dict[tuple[bool, bool], type[TreeGrower]] = {
    (False, False): TreeGrower,
    (False, True): SymmetricTreeGrower,
    (True, False): SparseTreeGrower,
    (True, True): SparseSymmetricTreeGrower,
}


class Growers:
    """One grower with all threads, or one a thread; the trees are the same.

    Parameters
    ----------
    matrix, edges, params, seed, categories
        As for :class:`boostgrad.tree.grower.TreeGrower`.
    n_trees : int
        Trees of an iteration.
    n_threads : int
    n_values : int
        Values of a leaf.
    """

    def __init__(
        self, matrix, edges, params, n_trees: int, n_threads: int, seed: int, categories=None, n_values: int = 1
    ):
        n = n_threads if self.worth_it(n_trees, n_threads, matrix.nbytes) else 1
        self.threads_each = n_threads // n
        self.all = [grower_for(matrix, edges, params, self.threads_each, seed, categories, n_values) for _ in range(n)]
        self.idle: SimpleQueue[TreeGrower] = SimpleQueue()
        for grower in self.all:
            self.idle.put(grower)
        self.pool = ThreadPoolExecutor(n, "boostgrad") if n > 1 else None

    @staticmethod
    def worth_it(n_trees: int, n_threads: int, n_bytes: int) -> bool:
        """Whether trees side by side keep the threads busy, in memory that is bounded."""
        turns = -(-n_trees // n_threads) * n_threads
        return n_threads > 1 and turns <= MOST_WASTE * n_trees and n_threads * n_bytes <= MOST_BYTES

    def each(self, grow: Callable[[TreeGrower, int], Any], outputs: Sequence[int]) -> list[Any]:
        """``grow(grower, output)`` for each output, in turn or side by side; results in the order of the outputs."""
        if self.pool is None:
            return [grow(self.all[0], output) for output in outputs]

        def take_turn(output: int) -> Any:
            grower = self.idle.get()
            try:
                return grow(grower, output)
            finally:
                self.idle.put(grower)

        return list(self.pool.map(take_turn, outputs))

    def recode(self, features) -> None:
        """Read the codes of these features, which changed in the matrix, again (an array of int64)."""
        for grower in self.all:
            grower.recode(features)

    def close(self) -> None:
        """End the threads, once the trees that they have begun are done."""
        if self.pool is not None:
            self.pool.shutdown(cancel_futures=True)


def grower_for(
    matrix: BinnedMatrix | SparseBinnedMatrix,
    edges: list,
    params: TreeParams,
    n_threads: int,
    seed: int,
    categories: CategoryParams | None = None,
    n_values: int = 1,
) -> TreeGrower:
    """A TreeGrower for the kind of table that it is, and for the order of growth."""
    kind = KINDS[isinstance(matrix, SparseBinnedMatrix), params.grow_policy == "symmetric"]
    return kind(matrix, edges, params, n_threads, seed, categories, n_values)
