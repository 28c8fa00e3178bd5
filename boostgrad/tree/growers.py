"""Which grower a fit takes."""

from __future__ import annotations

from boostgrad.data.matrix import BinnedMatrix, SparseBinnedMatrix
from boostgrad.params import CategoryParams, TreeParams
from boostgrad.tree.grower import SparseTreeGrower, TreeGrower
from boostgrad.tree.vector import VectorTreeGrower


def grower_for(
    matrix: BinnedMatrix | SparseBinnedMatrix,
    edges: list,
    params: TreeParams,
    n_threads: int,
    seed: int,
    categories: CategoryParams | None = None,
    n_values: int = 1,
) -> TreeGrower:
    """A TreeGrower for the kind of table that it is, and for trees whose leaves have so many values.

    Raises
    ------
    ValueError
        If leaves of several values are asked for on a sparse table.
    """
    if isinstance(matrix, SparseBinnedMatrix):
        if n_values > 1:
            raise ValueError(
                "multi_strategy='multi_output_tree' is not for sparse X; use 'one_output_per_tree' or 'auto', or make X "
                "dense"
            )
        return SparseTreeGrower(matrix, edges, params, n_threads, seed, categories)
    kind = VectorTreeGrower if n_values > 1 else TreeGrower
    return kind(matrix, edges, params, n_threads, seed, categories, n_values)
