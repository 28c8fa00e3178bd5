"""The model as data: trees as structs of arrays, and the ensemble that holds them.

Nothing here computes anything: growers fill these arrays, predictors read them, ``boostgrad.io`` writes them down.

One tree of S splits has S + 1 leaves. Splits and leaves are numbered apart, the root is split 0, and a child points
at split ``c`` where ``c >= 0`` and at leaf ``~c`` where ``c < 0``::

        split 0                 left  = [ 1, -1]      leaf_value[0]: leaf ~(-1)
        /     \\                 right = [-3, -2]      leaf_value[1]: leaf ~(-2)
     split 1  leaf 2                                  leaf_value[2]: leaf ~(-3)
     /    \\
  leaf 0  leaf 1

A tree that is a single leaf has no splits: every row is in leaf 0.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from boostgrad.features import FeatureInfo, numbers


@dataclass(frozen=True, eq=False)
class TreeStatistics:
    """What was known of a tree when it was grown; traversal never reads it.

    Attributes
    ----------
    split_gain : ndarray of float64, shape (n_splits,)
        Gain of each split (see ``boostgrad.tree.splitter``).
    split_cover, leaf_cover : ndarray of float64, shape (n_splits,) and (n_leaves,)
        Sum of the hessians of the training rows that reached the node.
    split_count, leaf_count : ndarray of int64, shape (n_splits,) and (n_leaves,)
        Number of the training rows that reached the node.
    """

    split_gain: np.ndarray
    split_cover: np.ndarray
    split_count: np.ndarray
    leaf_cover: np.ndarray
    leaf_count: np.ndarray


@dataclass(frozen=True, eq=False)
class CategorySets:
    """The sets of levels that go left at the categorical splits of one tree.

    Level k is bit ``k % 32`` of word ``k // 32`` of its split's set; a set ends with the word of its last level, and
    whatever lies beyond is not in it. The words of all splits lie end to end::

        n_words   [  2  | -1 |  0 |  1  ]       split 1 is numeric, the set of split 2 is empty
        bits      [ w w |           | w ]

    Attributes
    ----------
    n_words : ndarray of int32, shape (n_splits,)
        Words of a split's set, -1 for a numeric split.
    bits : ndarray of uint32, shape (n,)
        n is the sum of the words that are there.
    """

    n_words: np.ndarray
    bits: np.ndarray

    @classmethod
    def of(cls, sets: dict[int, np.ndarray], n_splits: int) -> CategorySets | None:
        """From the words of each categorical split; None where there is none."""
        if not sets:
            return None
        n_words = np.full(n_splits, -1, dtype=np.int32)
        for split, words in sets.items():
            n_words[split] = len(words)
        return cls(n_words, np.concatenate([sets[split] for split in sorted(sets)], dtype=np.uint32))

    @property
    def is_categorical(self) -> np.ndarray:
        """Which splits are categorical."""
        return self.n_words >= 0

    def words(self) -> dict[int, np.ndarray]:
        """The words of each categorical split, by its number."""
        end = np.cumsum(np.maximum(self.n_words, 0), dtype=np.int64)
        return {int(s): self.bits[end[s] - self.n_words[s] : end[s]] for s in np.flatnonzero(self.n_words >= 0)}


@dataclass(frozen=True, eq=False)
class Tree:
    """One regression tree.

    A row goes left at a numeric split where ``x[feature] <= threshold``, at a categorical one where its level is in the
    split's set, and at either, where ``x[feature]`` is missing, where ``missing_left`` is set. Levels that the training
    rows of the node did not have are in no set: they go right.

    Attributes
    ----------
    feature : ndarray of int32, shape (n_splits,)
    threshold : ndarray of float64, shape (n_splits,)
        NaN for a categorical split.
    missing_left : ndarray of uint8, shape (n_splits,)
    left, right : ndarray of int32, shape (n_splits,)
        Children; see the picture in the module's docstring.
    leaf_value : ndarray of float64, shape (n_leaves, n_values)
        Shrinkage is already in it. ``n_values`` is 1 for a tree that adds to one output; leaves of a tree for several
        outputs are vectors.
    output : int
        The first output that the tree adds to: value v of a leaf is for output ``output + v``.
    statistics : TreeStatistics
    categories : CategorySets or None
        None where no split is categorical.
    """

    feature: np.ndarray
    threshold: np.ndarray
    missing_left: np.ndarray
    left: np.ndarray
    right: np.ndarray
    leaf_value: np.ndarray
    output: int
    statistics: TreeStatistics
    categories: CategorySets | None = None

    @property
    def n_splits(self) -> int:
        return len(self.feature)

    @property
    def n_leaves(self) -> int:
        return len(self.leaf_value)

    @property
    def n_values(self) -> int:
        """How many outputs the tree adds to."""
        return self.leaf_value.shape[1]


@dataclass(frozen=True, eq=False)
class Ensemble:
    """A trained model as data: raw prediction = ``base_score`` + the leaf values of all trees.

    Attributes
    ----------
    trees : list of Tree
        In the order of training: iteration by iteration, within one by output.
    base_score : ndarray of float64, shape (n_outputs,)
        Raw prediction before the first tree.
    n_features : int
        Number of model columns, which ``Tree.feature`` counts.
    feature_names : tuple of str or None
        Names of the model columns; None where the training data had no names.
    loss : str
        Registered name of the loss.
    loss_parameters : dict
        What the loss needs beside its name, as JSON would hold it.
    features : tuple of FeatureInfo, shape (n_features,)
        What the model columns are made of; left out, each is an input column of numbers.
    """

    trees: list[Tree]
    base_score: np.ndarray
    n_features: int
    feature_names: tuple[str, ...] | None
    loss: str
    loss_parameters: dict[str, Any] = field(default_factory=dict)
    features: tuple[FeatureInfo, ...] = ()

    def __post_init__(self):
        if not self.features:
            object.__setattr__(self, "features", numbers(self.n_features))

    @property
    def n_outputs(self) -> int:
        return len(self.base_score)

    @property
    def trees_per_iteration(self) -> int:
        """One, where each tree adds to all outputs, or one an output."""
        return self.n_outputs // self.trees[0].n_values if self.trees else self.n_outputs

    @property
    def n_iterations(self) -> int:
        return len(self.trees) // self.trees_per_iteration

    @property
    def input_names(self) -> tuple[str, ...] | None:
        """Names of the input columns."""
        if self.feature_names is None:
            return None
        return tuple(name for name, info in zip(self.feature_names, self.features, strict=True) if info.part is None)

    def first(self, n_iterations: int) -> Ensemble:
        """The ensemble as it was after its first ``n_iterations`` iterations (trees are shared, not copied)."""
        return replace(self, trees=self.trees[: n_iterations * self.trees_per_iteration])

    def iteration(self, number: int) -> Ensemble:
        """What one iteration, counted from 0, adds to the raw prediction."""
        trees = self.trees[number * self.trees_per_iteration : (number + 1) * self.trees_per_iteration]
        return replace(self, trees=trees, base_score=np.zeros_like(self.base_score))
