"""Slow, obvious numpy twins of the kernels: what the fast code must agree with.

Codes are as everywhere in boostgrad: 0 is missing, 1 + bin otherwise. Sums are float64; give gradients that are
multiples of a power of two and every sum here, and every fixed-point sum there, is exact.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace

import numpy as np
from scipy.special import polygamma, psi

from boostgrad.data.matrix import BinnedMatrix
from boostgrad.losses import GradientPairs
from boostgrad.params import CategoryParams
from boostgrad.tree.model import CategorySets, Ensemble, Tree, TreeStatistics

# Gains closer than this, relative to the scores they are differences of, are a tie: either split may be made.
TIE = 1e-9

# ---- what the code under test takes, from plain arrays ---------------------------------------------------------------


def binned(codes, n_codes=None, dtype=None, categorical=None) -> BinnedMatrix:
    """A BinnedMatrix of a two-dimensional array of codes; ``categorical``: a mask of the features, None for none."""
    codes = np.asarray(codes)
    n_codes = np.maximum(codes.max(axis=0) + 1, 2) if n_codes is None else np.broadcast_to(n_codes, codes.shape[1])
    dtype = dtype or (np.uint8 if n_codes.max() <= 256 else np.uint16)
    codes = codes.astype(dtype)
    by_column = BinnedMatrix.room(codes.shape[1], codes.shape[0], dtype)
    by_column[:] = codes.T
    categorical = None if categorical is None else np.array(categorical, dtype=bool)
    return BinnedMatrix(by_column, np.ascontiguousarray(n_codes, dtype=np.uint32), categorical)


def edges_between(matrix: BinnedMatrix) -> list[np.ndarray]:
    """Edges such that the value of a code is the code itself: 1.5, 2.5, ...; none for a categorical feature."""
    return [
        np.empty(0) if categorical else np.arange(int(n) - 2) + 1.5
        for n, categorical in zip(matrix.n_codes, matrix.categorical, strict=True)
    ]


def values_of(codes) -> np.ndarray:
    """The table that :func:`edges_between` bins into these codes."""
    return np.where(np.asarray(codes) == 0, np.nan, np.asarray(codes, dtype=float))


def gradient_pairs(gradient, hessian) -> GradientPairs:
    """GradientPairs of one output; ``hessian`` is an array, or one number for all rows."""
    constant = None if np.ndim(hessian) else float(hessian)
    pairs = GradientPairs.empty(1, len(gradient), constant)
    pairs.fill(0, gradient, None if constant is not None else hessian)
    return pairs


def exact(values, bits=10) -> np.ndarray:
    """The values, rounded to multiples of 2^-bits: sums of them are exact."""
    return np.round(np.asarray(values, dtype=float) * 2.0**bits) / 2.0**bits


# ---- histogram, gain, best split -------------------------------------------------------------------------------------


def histogram(codes, gradient, hessian, n_codes):
    """Sums of gradients and hessians, and the number of rows, of each code of one feature."""
    g, h, count = np.zeros(n_codes), np.zeros(n_codes), np.zeros(n_codes, dtype=np.int64)
    for row in range(len(codes)):
        g[codes[row]] += gradient[row]
        h[codes[row]] += hessian[row]
        count[codes[row]] += 1
    return g, h, count


def _fast_histogram(codes, gradient, hessian, n_codes):
    """The same, for the many histograms of a tree."""
    return (
        np.bincount(codes, weights=gradient, minlength=n_codes),
        np.bincount(codes, weights=hessian, minlength=n_codes),
        np.bincount(codes, minlength=n_codes),
    )


def goes_left(codes, code, missing_left, left_codes=None):
    """The go-left rule; ``left_codes``: the codes in a categorical split's set, None for a numeric split."""
    codes = np.asarray(codes)
    inside = codes <= code if left_codes is None else np.isin(codes, sorted(left_codes))
    return np.where(codes == 0, bool(missing_left), inside)


def leaf_step(gradient, hessian, params):
    """The minimiser w of G w + 1/2 (H + l2) w^2 + l1 |w| within [-max_delta_step, max_delta_step]."""
    gradient, hessian = np.asarray(gradient, dtype=float), np.asarray(hessian, dtype=float)
    thresholded = np.sign(gradient) * np.maximum(np.abs(gradient) - params.l1_regularization, 0)
    curvature = hessian + params.l2_regularization
    step = np.divide(-thresholded, curvature, out=np.zeros(np.broadcast(gradient, hessian).shape), where=curvature > 0)
    if params.max_delta_step > 0:
        step = np.clip(step, -params.max_delta_step, params.max_delta_step)
    return step


def score(gradient, hessian, params):
    """Twice the decrease of the loss that the best step brings."""
    step = leaf_step(gradient, hessian, params)
    curvature = hessian + params.l2_regularization
    return -2 * (gradient * step + 0.5 * curvature * step**2 + params.l1_regularization * np.abs(step))


@dataclass(frozen=True)
class Split:
    feature: int
    code: int
    missing_left: bool
    gain: float
    score: float
    left_codes: frozenset | None = None  # of a categorical split


def gradient_variance(gradient, hessian) -> float:
    """Variance of a gradient per hessian."""
    return float(np.sum(np.square(gradient)) / np.sum(np.broadcast_to(hessian, np.shape(gradient))))


def category_entries(count, categories):
    """Lists of codes that are taken together, the list of the pooled rest, and whether there are few levels."""
    present = [code for code in range(1, len(count)) if count[code]]
    few = len(present) <= categories.few_levels
    rest = [] if few else [code for code in present if count[code] < categories.min_rows]
    return [[code] for code in present if code not in rest] + ([rest] if rest else []), rest, few


def shrunken_entries(entry_g, entry_h, noise, n_present):
    """What gradients of the entries count, and by what entries are ordered; see kernels/categories.h."""
    mean = sum(entry_g) / sum(entry_h) if sum(entry_h) > 0 else 0.0
    deviation = [eg - mean * eh for eg, eh in zip(entry_g, entry_h, strict=True)]
    if noise > 0:  # DerSimonian and Laird
        between = sum(d * d / eh if eh > 0 else 0.0 for d, eh in zip(deviation, entry_h, strict=True))
        room = sum(entry_h) - sum(eh * eh for eh in entry_h) / sum(entry_h) if sum(entry_h) > 0 else 0.0
        excess = between - (n_present - 1) * noise
        spread = excess / room if room > 0 and excess > 0 else 0.0
        deviation = [d * (eh * spread / (eh * spread + noise)) for d, eh in zip(deviation, entry_h, strict=True)]
        shift = mean - sum(deviation) / sum(entry_h) if sum(entry_h) > 0 else 0.0
        entry_g = [shift * eh + d for d, eh in zip(deviation, entry_h, strict=True)]
    return entry_g, [np.float32(d / eh) if eh > 0 else np.float32(0) for d, eh in zip(deviation, entry_h, strict=True)]


def category_splits(codes, gradient, hessian, n_codes, params, categories, variance, feature=0) -> list[Split]:
    """Of the splits of a categorical feature that are in question, those that the constraints allow and that are as
    good as the best one; see kernels/categories.h.

    Parameters
    ----------
    codes, gradient, hessian : ndarray, shape (n_rows of the node,)
    categories : CategoryParams
    variance : float
        Of the gradients of all rows, see :func:`gradient_variance`.
    """
    g, h, count = _fast_histogram(codes, gradient, hessian, n_codes)
    entries, rest, few = category_entries(count, categories)
    if not entries:
        return []
    entry_g, entry_h = ([sum(sums[code] for code in entry) for entry in entries] for sums in (g, h))
    noise = 0.0 if few else categories.noise * variance
    entry_g, key = shrunken_entries(entry_g, entry_h, noise, len(entries))
    order = sorted(range(len(entries)), key=lambda e: (key[e], entries[e] is rest, entries[e][0]))

    children = params
    if not few:
        children = replace(params, l2_regularization=params.l2_regularization + categories.extra_l2)
    total_g, total_h, total = gradient.sum(), hessian.sum(), len(gradient)
    unsplit = float(score(total_g, total_h, params))
    splits = []
    for missing_left in (False, True) if count[0] else (None,):
        left_g, left_h, left = (float(s[0]) if missing_left else 0.0 for s in (g, h, count))
        for place, e in enumerate(order):
            left_g, left_h, left = left_g + entry_g[e], left_h + entry_h[e], left + sum(count[c] for c in entries[e])
            enough = left >= params.min_samples_leaf and total - left >= params.min_samples_leaf
            enough &= left_h >= params.min_child_weight and total_h - left_h >= params.min_child_weight
            both = float(score(left_g, left_h, children) + score(total_g - left_g, total_h - left_h, children))
            if not (enough and left_h > 0 and total_h - left_h > 0):
                continue
            if both - unsplit <= max(params.min_split_gain, 1e-12 * both):
                continue
            before, after = order[: place + 1], order[place + 1 :]
            change = any(entries[i] is rest for i in before) if rest else 2 * left > total
            chosen = frozenset(c for i in (after if change else before) if entries[i] is not rest for c in entries[i])
            n_left = total - left if change else left
            direction = 2 * n_left >= total if missing_left is None else missing_left != change
            splits.append(Split(feature, 0, bool(direction), both - unsplit, both, chosen))
    best = max((split.score for split in splits), default=0.0)
    return [split for split in splits if split.score >= (1 - 4 * TIE) * best]


def best_splits(codes, gradient, hessian, n_codes, params, categorical=None, **category_options) -> list[Split]:
    """Of all splits of a node that the constraints allow, by brute force over feature, code and direction, the best
    one of each feature and direction, and those tied with it.

    Only places after a code that has rows count. Where no value is missing, missing ones go to the larger child.
    """
    total_g, total_h, total = gradient.sum(), hessian.sum(), len(gradient)
    unsplit = float(score(total_g, total_h, params))
    splits = []
    for feature in range(codes.shape[1]):
        if categorical is not None and categorical[feature]:
            of_node = (codes[:, feature], gradient, hessian, int(n_codes[feature]), params)
            splits += category_splits(*of_node, feature=feature, **category_options)
            continue
        g, h, count = _fast_histogram(codes[:, feature], gradient, hessian, int(n_codes[feature]))
        here = np.flatnonzero(count[1:]) + 1
        for missing_left in (False, True) if count[0] else (None,):
            with_missing = 1.0 if missing_left else 0.0
            left_g = np.cumsum(g[1:])[here - 1] + with_missing * g[0]
            left_h = np.cumsum(h[1:])[here - 1] + with_missing * h[0]
            left = np.cumsum(count[1:])[here - 1] + int(with_missing) * count[0]
            enough = (left >= params.min_samples_leaf) & (total - left >= params.min_samples_leaf)
            enough &= (left_h >= params.min_child_weight) & (total_h - left_h >= params.min_child_weight)
            enough &= (left_h > 0) & (total_h - left_h > 0)
            both = score(left_g, left_h, params) + score(total_g - left_g, total_h - left_h, params)
            enough &= both - unsplit > np.maximum(params.min_split_gain, 1e-12 * both)
            enough &= both >= (1 - 4 * TIE) * np.max(both, where=enough, initial=0.0)
            for place in np.flatnonzero(enough):
                direction = bool(2 * left[place] >= total) if missing_left is None else missing_left
                gain = float(both[place] - unsplit)
                splits.append(Split(feature, int(here[place]), direction, gain, float(both[place])))
    return splits


def best_split(codes, gradient, hessian, n_codes, params) -> Split | None:
    """The admissible split of the largest gain, the first one of several."""
    return max(best_splits(codes, gradient, hessian, n_codes, params), key=lambda s: s.gain, default=None)


# ---- a whole tree ----------------------------------------------------------------------------------------------------


@dataclass(eq=False)
class _Node:
    rows: np.ndarray
    depth: int
    splits: list[Split]
    parent: int = -1
    side: str = ""
    number: int = -1
    split: Split | None = None
    children: list = field(default_factory=list)

    @property
    def best(self) -> Split:
        return max(self.splits, key=lambda s: s.gain)


def grow(codes, n_codes, gradient, hessian, params, like=None, categorical=None, categories=None):
    """Grow a tree.

    Parameters
    ----------
    codes, n_codes : as in BinnedMatrix (by_row)
    gradient : ndarray, shape (n_rows,)
    hessian : ndarray, shape (n_rows,), or float
    params : TreeParams
    like : GrownTree or None
        Decides ties, and nothing but ties.
    categorical : ndarray of bool or None
    categories : CategoryParams or None

    Returns
    -------
    tree : Tree
        Its thresholds are those of :func:`edges_between`.
    code : ndarray
    """
    codes, gradient = np.asarray(codes).astype(np.int64), np.asarray(gradient, dtype=np.float64)
    hessian = np.broadcast_to(np.asarray(hessian, dtype=np.float64), gradient.shape)
    category_options = {
        "categorical": categorical,
        "categories": categories or CategoryParams(),
        "variance": gradient_variance(gradient, hessian) if np.any(hessian) else 0.0,
    }
    if params.grow_policy == "symmetric":
        return _grow_symmetric(codes, n_codes, gradient, hessian, params, like, **category_options)
    max_leaves = params.max_leaf_nodes or np.inf
    max_depth = params.max_depth or np.inf

    def node_of(rows, depth, parent=-1, side=""):
        splits = []
        if depth < max_depth:
            splits = best_splits(codes[rows], gradient[rows], hessian[rows], n_codes, params, **category_options)
        return _Node(rows, depth, splits, parent, side)

    root = node_of(np.arange(len(codes)), 0)
    open_nodes, made = [root], []
    while len(made) + 1 < max_leaves:
        candidates = [node for node in open_nodes if node.splits]
        if not candidates:
            break
        if params.grow_policy == "depthwise":
            shallowest = min(node.depth for node in candidates)
            candidates = [node for node in candidates if node.depth == shallowest]
        node = max(candidates, key=lambda n: n.best.gain)
        split = node.best
        if like is not None and len(made) < like.tree.n_splits:
            node, split = _settle_tie(candidates, node, like, len(made))
        node.split, node.number = split, len(made)
        left = goes_left(codes[node.rows, split.feature], split.code, split.missing_left, split.left_codes)
        for side, chosen in (("left", left), ("right", ~left)):
            node.children.append(node_of(node.rows[chosen], node.depth + 1, node.number, side))
        open_nodes.remove(node)
        open_nodes += node.children
        made.append(node)
    return _as_tree(root, made, gradient, hessian, params)


@dataclass(frozen=True)
class Rule:
    """How all nodes of a level might be split: codes of the left side, those of the right side, both as far as they are
    told apart; what each node gains, and by which scores."""

    feature: int
    code: int
    missing_left: bool
    left_codes: tuple | None  # of a categorical rule, and
    right_codes: tuple | None
    rest: int | None  # on which side levels are pooled: 0 left, 1 right
    gains: np.ndarray
    scores: np.ndarray

    @property
    def uncertainty(self) -> float:
        """Of the sum of the gains, by rounding."""
        return TIE * float(self.scores[self.gains > 0].sum())


def _gains_along(places, totals, params, children):
    """Gains and scores of a node at places with these (gradient, hessian, rows) to the left; 0: not to be split."""
    (left_g, left_h, left), (total_g, total_h, total) = places, totals
    enough = (left >= params.min_samples_leaf) & (total - left >= params.min_samples_leaf)
    enough &= (left_h >= params.min_child_weight) & (total_h - left_h >= params.min_child_weight)
    enough &= (left_h > 0) & (total_h - left_h > 0)
    both = score(left_g, left_h, children) + score(total_g - left_g, total_h - left_h, children)
    gain = both - float(score(total_g, total_h, params))
    return np.where(enough & (gain > np.maximum(params.min_split_gain, 1e-12 * both)), gain, 0.0), both


def place_gains(codes, gradient, hessian, n_codes, params):
    """What a node gains by a split after each code but 0: with missing values to the right, and to the left."""
    sums = _fast_histogram(codes, gradient, hessian, n_codes)
    totals = [s.sum() for s in sums]
    right = [np.cumsum(s[1:]) for s in sums]
    left = [along + s[0] for along, s in zip(right, sums, strict=True)]
    return tuple(_gains_along(places, totals, params, params)[0] for places in (right, left))


def _rules_of(feature, nodes, codes, n_codes, gradient, hessian, params, categorical, categories, variance):
    """All rules of a feature."""
    sums = [
        _fast_histogram(codes[node.rows, feature], gradient[node.rows], hessian[node.rows], n_codes) for node in nodes
    ]
    children, entries, rest, smoothed = params, [[code] for code in range(1, n_codes)], [], False
    if categorical:  # in the order of all rows
        whole = _fast_histogram(codes[:, feature], gradient, hessian, n_codes)
        entries, rest, few = category_entries(whole[2], categories)
        smoothed = not few
        noise = categories.noise * variance if smoothed else 0.0
        of_all = [[sum(s[code] for code in entry) for entry in entries] for s in whole[:2]]
        key = shrunken_entries(*of_all, noise, len(entries))[1]
        order = sorted(range(len(entries)), key=lambda e: (key[e], entries[e] is rest, entries[e][0]))
        entries = [entries[e] for e in order]
        if smoothed:
            children = replace(params, l2_regularization=params.l2_regularization + categories.extra_l2)
    rules = []
    for missing_left in (False, True):
        found = []
        for node, (g, h, count) in zip(nodes, sums, strict=True):
            entry_g, entry_h, entry_n = ([sum(s[code] for code in entry) for entry in entries] for s in (g, h, count))
            if smoothed:
                entry_g, _ = shrunken_entries(entry_g, entry_h, noise, sum(n > 0 for n in entry_n))
            missing = (g[0], h[0], count[0]) if missing_left else (0.0, 0.0, 0)
            places = [np.cumsum(e) + m for e, m in zip((entry_g, entry_h, entry_n), missing, strict=True)]
            totals = (gradient[node.rows].sum(), hessian[node.rows].sum(), len(node.rows))
            found.append(_gains_along(places, totals, params, children))
        for place in range(len(entries)):
            left, right = entries[: place + 1], entries[place + 1 :]
            rules.append(
                Rule(
                    feature,
                    0 if categorical else place + 1,
                    missing_left,
                    tuple(c for entry in left if entry is not rest for c in entry) if categorical else None,
                    tuple(c for entry in right if entry is not rest for c in entry) if categorical else None,
                    None if not rest else int(any(entry is rest for entry in right)),
                    np.array([gains[place] for gains, _ in found]),
                    np.array([scores[place] for _, scores in found]),
                )
            )
    return rules


def _splits_of(rule, nodes, codes, n_splits):
    """What a rule makes of each node: a Split or None."""
    order = sorted(np.flatnonzero(rule.gains > 0), key=lambda i: -rule.gains[i])[:n_splits]
    rows = np.concatenate([nodes[i].rows for i in order])
    column, left_codes, turned = codes[rows, rule.feature], rule.left_codes, False
    inside = goes_left(column, rule.code, rule.missing_left, left_codes)
    if left_codes is not None:
        if rule.rest == 0:
            turned = True
        elif rule.rest is None:
            turned = bool(2 * inside.sum() > len(rows))
        left_codes = frozenset(rule.right_codes if turned else rule.left_codes)
    direction = rule.missing_left != turned
    if not (column == 0).any():
        n_left = goes_left(column, rule.code, direction, left_codes).sum()
        direction = bool(2 * n_left >= len(rows))
    return [
        Split(rule.feature, rule.code, direction, rule.gains[i], rule.scores[i], left_codes) if i in order else None
        for i in range(len(nodes))
    ]


def _grow_symmetric(codes, n_codes, gradient, hessian, params, like, categorical, **category_options):
    """All nodes of a level by one rule, searched by brute force; see :func:`grow`."""
    root = _Node(np.arange(len(codes)), 0, [])
    level, made, depth = [root], [], 0
    max_leaves = params.max_leaf_nodes or np.inf
    data = (gradient, hessian, params)
    while len(made) + 1 < max_leaves and depth < (params.max_depth or np.inf):
        rules = []
        for feature in range(codes.shape[1]):
            of_levels = categorical is not None and bool(categorical[feature])
            rules += _rules_of(feature, level, codes, int(n_codes[feature]), *data, of_levels, **category_options)
        best = max(rules, key=lambda rule: rule.gains.sum(), default=None)
        if best is None or best.gains.sum() <= 0:
            break
        n_splits = int(min(max_leaves - 1 - len(made), len(level)))
        splits = _splits_of(best, level, codes, n_splits)
        if like is not None:  # follow the other tree where its next rule is as good
            least = best.gains.sum() - best.uncertainty
            tied = [_splits_of(r, level, codes, n_splits) for r in rules if 0 < r.gains.sum() >= least - r.uncertainty]
            same = [other for other in tied if _are_made(other, level, like, len(made))]
            splits = max(same, key=lambda other: sum(split is not None for split in other), default=splits)
        next_level = []
        for node, split in zip(level, splits, strict=True):
            if split is None:
                next_level.append(node)
                continue
            node.split, node.number = split, len(made)
            made.append(node)
            left = goes_left(codes[node.rows, split.feature], split.code, split.missing_left, split.left_codes)
            node.children = [_Node(node.rows[side], node.depth + 1, []) for side in (left, ~left)]
            next_level += node.children
        level, depth = next_level, depth + 1
    return _as_tree(root, made, gradient, hessian, params)


def _are_made(splits, nodes, like, first):
    """Whether the other tree's next splits are these, of the same nodes."""
    made = [(split, len(node.rows)) for split, node in zip(splits, nodes, strict=True) if split is not None]
    if first + len(made) > like.tree.n_splits:
        return False
    return all(
        n_rows == like.tree.statistics.split_count[first + i] and _is_made(split, like, first + i)
        for i, (split, n_rows) in enumerate(made)
    )


def _is_made(split, like, number):
    """Whether the other tree's split of that number is this one."""
    tree = like.tree
    words = {} if tree.categories is None else tree.categories.words()
    left_codes = frozenset(1 + np.flatnonzero(bits_of(words[number]))) if number in words else None
    return (split.feature, split.code, split.missing_left, split.left_codes) == (
        tree.feature[number],
        like.code[number],
        bool(tree.missing_left[number]),
        left_codes,
    )


def _settle_tie(candidates, node, like, number):
    """Follow the other tree where its next split is as good as the best one."""
    for other in candidates:
        if other.parent >= 0 and getattr(like.tree, other.side)[other.parent] != number:
            continue
        for split in other.splits:
            same = _is_made(split, like, number)
            best_here, best = other.best, node.best
            if (
                same
                and split.gain >= best_here.gain - TIE * best_here.score
                and best_here.gain >= best.gain - TIE * max(best.score, best_here.score)
            ):
                return other, split
    return node, node.best


def _as_tree(root, made, gradient, hessian, params):
    leaves = []

    def number_leaves(node):
        if node.split is None:
            node.number = ~len(leaves)
            leaves.append(node)
        for child in node.children:
            number_leaves(child)

    number_leaves(root)
    g = np.array([gradient[leaf.rows].sum() for leaf in leaves])
    h = np.array([hessian[leaf.rows].sum() for leaf in leaves])
    code = np.array([node.split.code for node in made], dtype=np.uint32)
    feature = np.array([node.split.feature for node in made], dtype=np.int32)
    tree = Tree(
        feature=feature,
        threshold=np.where([node.split.left_codes is None for node in made], code + 0.5, np.nan),
        missing_left=np.array([node.split.missing_left for node in made], dtype=np.uint8),
        left=np.array([node.children[0].number for node in made], dtype=np.int32),
        right=np.array([node.children[1].number for node in made], dtype=np.int32),
        leaf_value=params.learning_rate * leaf_step(g, h, params)[:, None],
        output=0,
        statistics=TreeStatistics(
            split_gain=np.array([node.split.gain for node in made]),
            split_cover=np.array([hessian[node.rows].sum() for node in made]),
            split_count=np.array([len(node.rows) for node in made], dtype=np.int64),
            leaf_cover=h,
            leaf_count=np.array([len(leaf.rows) for leaf in leaves], dtype=np.int64),
        ),
        categories=CategorySets.of(
            {s: words_of(node.split.left_codes) for s, node in enumerate(made) if node.split.left_codes is not None},
            len(made),
        ),
    )
    return tree, code


def words_of(left_codes) -> np.ndarray:
    """A set of codes as words of bits of levels."""
    words = np.zeros(max(((code - 1) // 32 + 1 for code in left_codes), default=0), dtype=np.uint32)
    for code in left_codes:
        words[(code - 1) // 32] |= np.uint32(1 << (code - 1) % 32)
    return words


def bits_of(words) -> np.ndarray:
    """For each level whether it is in the set."""
    return np.array([bool(word >> bit & 1) for word in words.tolist() for bit in range(32)], dtype=bool)


def assert_same_tree(grown, matrix, gradient, hessian, params, rtol=1e-9, categories=None):
    """Assert that a GrownTree is the one that :func:`grow` grows; returns that one."""
    data = (matrix.by_row, matrix.n_codes, gradient, hessian, params)
    expected, code = grow(*data, like=grown, categorical=matrix.categorical, categories=categories)
    tree = grown.tree
    assert tree.n_leaves == expected.n_leaves
    for name in ("feature", "missing_left", "left", "right"):
        np.testing.assert_array_equal(getattr(tree, name), getattr(expected, name), err_msg=name)
    np.testing.assert_array_equal(grown.code, code)
    last = code == matrix.n_codes[tree.feature] - 1 if len(code) else np.zeros(0, bool)
    last &= ~matrix.categorical[tree.feature]
    assert (tree.categories is None) == (expected.categories is None)
    if tree.categories is not None:
        np.testing.assert_array_equal(tree.categories.n_words, expected.categories.n_words)
        np.testing.assert_array_equal(tree.categories.bits, expected.categories.bits)
    np.testing.assert_array_equal(tree.threshold, np.where(last, np.inf, expected.threshold))
    np.testing.assert_array_equal(tree.statistics.split_count, expected.statistics.split_count)
    np.testing.assert_array_equal(tree.statistics.leaf_count, expected.statistics.leaf_count)
    for name in ("split_cover", "leaf_cover"):
        np.testing.assert_allclose(
            getattr(tree.statistics, name), getattr(expected.statistics, name), rtol=rtol, err_msg=name
        )
    np.testing.assert_allclose(tree.leaf_value, expected.leaf_value, rtol=rtol, atol=1e-14)
    np.testing.assert_allclose(tree.statistics.split_gain, expected.statistics.split_gain, rtol=rtol, atol=rtol)
    return expected


# ---- prediction ------------------------------------------------------------------------------------------------------


def leaf_of(tree: Tree, row) -> int:
    """The leaf that one row of raw values reaches; levels are numbers, and missing where negative."""
    words = {} if tree.categories is None else tree.categories.words()
    at = 0 if tree.n_splits else -1
    while at >= 0:
        x = float(row[tree.feature[at]])
        if at in words:
            bits = bits_of(words[at])
            left = bool(tree.missing_left[at]) if x < 0 else x < len(bits) and bits[int(x)]
        else:
            left = bool(tree.missing_left[at]) if np.isnan(x) else x <= tree.threshold[at]
        at = int(tree.left[at] if left else tree.right[at])
    return ~at


def leaves(ensemble: Ensemble, X) -> np.ndarray:
    """Leaf numbers, shape (n_rows, n_trees)."""
    found = np.zeros((len(X), len(ensemble.trees)), dtype=np.int32)
    for i in range(len(X)):
        for t, tree in enumerate(ensemble.trees):
            found[i, t] = leaf_of(tree, X[i])
    return found


def predict(ensemble: Ensemble, X) -> np.ndarray:
    """Raw predictions, shape (n_outputs, n_rows); sums in the order of the trees."""
    raw = np.repeat(np.asarray(ensemble.base_score, dtype=float)[:, None], len(X), axis=1)
    for tree, column in zip(ensemble.trees, leaves(ensemble, X).T, strict=True):
        raw[tree.output] += tree.leaf_value[column, 0]
    return raw


def random_tree(rng, n_leaves, thresholds, n_features, output=0):
    """A tree of random shape, numbered as growers number: splits as they are made, leaves from left to right."""
    n_splits = n_leaves - 1
    left, right = np.zeros(n_splits, np.int32), np.zeros(n_splits, np.int32)
    slots = [(None, None)]
    for s in range(n_splits):
        parent, side = slots.pop(rng.integers(len(slots)))
        if parent is not None:
            side[parent] = s
        slots += [(s, left), (s, right)]
    for parent, side in slots:
        if parent is not None:
            side[parent] = -1
    count = 0

    todo = [(0, left), (0, right)][::-1] if n_splits else []
    while todo:
        parent, side = todo.pop()
        if side[parent] < 0:
            side[parent] = ~count
            count += 1
        else:
            child = side[parent]
            todo += [(child, right), (child, left)]
    none = np.zeros(n_splits)
    return Tree(
        feature=rng.integers(0, n_features, n_splits).astype(np.int32),
        threshold=rng.choice(thresholds, n_splits).astype(float),
        missing_left=rng.integers(0, 2, n_splits).astype(np.uint8),
        left=left,
        right=right,
        leaf_value=rng.standard_normal((n_leaves, 1)),
        output=output,
        statistics=TreeStatistics(none, none, none.astype(int), np.zeros(n_leaves), np.zeros(n_leaves, int)),
    )


# ---- binning ---------------------------------------------------------------------------------------------------------


def codes_of(x, edges) -> np.ndarray:
    """Codes of a column of values: 0 for NaN, else 1 + the number of edges below the value."""
    x = np.asarray(x, dtype=np.float64)
    return np.where(np.isnan(x), 0, 1 + np.searchsorted(edges, x, side="left"))


def assert_valid_edges(edges, values, max_bins):
    """Edges rise, are not too many, and no bin is without a value."""
    values = np.asarray(values, dtype=np.float64)
    values = np.unique(values[~np.isnan(values)])
    assert edges.dtype == np.float64 and edges.ndim == 1
    assert len(edges) <= max_bins - 1
    assert not np.isnan(edges).any() and not np.isposinf(edges).any()
    assert (np.diff(edges) > 0).all()
    if len(values):
        assert len(np.unique(codes_of(values, edges))) == len(edges) + 1
        if len(values) <= max_bins:
            assert len(edges) == len(values) - 1
    else:
        assert len(edges) == 0


# ---- target statistics -----------------------------------------------------------------------------------------------


def splitmix(x: int) -> int:
    """splitmix64 of Steele et al. 2014."""
    mask = 2**64 - 1
    x = (x + 0x9E3779B97F4A7C15) & mask
    x = (x ^ (x >> 30)) * 0xBF58476D1CE4E5B9 & mask
    x = (x ^ (x >> 27)) * 0x94D049BB133111EB & mask
    return x ^ (x >> 31)


def ordered_statistics(levels, gradient, hessian, prior, seed, number) -> np.ndarray:
    """Row by row: minus the gradients of the rows of its level before it, over the prior and their hessians.

    ``hessian`` is an array; the result is NaN where the level is -1.
    """
    found = np.full(len(levels), np.nan)
    for level in range(max(levels, default=-1) + 1):
        rows = [row for row in range(len(levels)) if levels[row] == level]
        state = splitmix(splitmix(seed ^ splitmix(number)) ^ splitmix(level))
        order: list[int] = []
        for i, row in enumerate(rows):  # the new row takes a random place, whose row goes to the end
            place = (splitmix((state + i) % 2**64) >> 32) * (i + 1) >> 32
            order.append(row)
            order[i], order[place] = order[place], row
        sum_g, sum_h = 0.0, float(prior)
        for row in order:
            found[row] = -sum_g / sum_h
            sum_g += gradient[row]
            sum_h += hessian[row]
    return found


# ---- ranking and survival --------------------------------------------------------------------------------------------


def ranked_pairs(scores, gains, kind, top, steepness, by_gap, normalise, factor):
    """Gradients and hessians of one query, pair by pair; rows of equal score are ranked as they come."""
    n = len(scores)
    order = np.argsort(-scores, kind="stable")
    s, g = scores[order], gains[order]
    discount = 1 / np.log2(np.arange(n) + 2.0)
    gradient, hessian, total = np.zeros(n), np.zeros(n), 0.0
    for i in range(min(top or n, n)):
        for j in range(i + 1, n):
            if g[i] == g[j]:
                continue
            better, worse = (i, j) if g[i] > g[j] else (j, i)
            swapped = g.copy()
            swapped[[i, j]] = swapped[[j, i]]
            if kind == "ndcg":
                delta = factor * abs(swapped @ discount - g @ discount)
            elif kind == "map":
                delta = abs(average_precision(swapped) - average_precision(g))
            else:
                delta = factor
            if by_gap and s[0] != s[-1]:
                delta /= 0.01 + abs(s[i] - s[j])
            wrong = 1 / (1 + np.exp(steepness * (s[better] - s[worse])))
            pull = steepness * delta * wrong
            gradient[better] -= pull
            gradient[worse] += pull
            hessian[[i, j]] += steepness**2 * delta * wrong * (1 - wrong)
            total += 2 * pull
    if normalise and total > 0:
        gradient *= np.log2(1 + total) / total
        hessian *= np.log2(1 + total) / total
    out = np.empty((2, n))
    out[:, order] = gradient, hessian
    return out


def neighbours(scores, relevance, query, turn, draws, decay, noise):
    """Gradients and hessians of one query, order by order; ``noise`` has one number for each value of 12 bits."""
    n = len(scores)
    order = np.argsort(-scores, kind="stable")
    s, y = scores[order], relevance[order]
    stream = splitmix(splitmix(turn) ^ query)
    gradient, hessian = np.zeros(n), np.zeros(n)
    for draw in range(draws):
        chance = [splitmix((stream + draw // 5 * n + rank) % 2**64) >> 12 * (draw % 5) & 4095 for rank in range(n)]
        drawn = np.argsort(-(s + noise[chance]), kind="stable")
        for place, (a, b) in enumerate(zip(drawn, drawn[1:], strict=False)):
            if y[a] == y[b] or decay**place < 1e-3:
                continue
            better, worse = (a, b) if y[a] > y[b] else (b, a)
            weight = decay**place * (y[better] - y[worse]) / draws
            pull = weight / (1 + np.exp(s[better] - s[worse]))
            gradient[better] -= pull
            gradient[worse] += pull
            hessian[[a, b]] += weight / 2
    out = np.empty((2, n))
    out[:, order] = gradient, hessian
    return out


def average_precision(gains):
    """Of rows in this order."""
    relevant = gains > 0
    return (np.cumsum(relevant) / np.arange(1, len(gains) + 1))[relevant].sum() / relevant.sum()


def normal_derivatives(y, raw):
    """Of the mean and of the logarithm of the standard deviation: the slopes, and the Fisher information."""
    precision = np.exp(-2.0 * raw[1])
    d = raw[0] - y
    return [precision * d, 1.0 - precision * d * d], [precision, np.full(len(y), 2.0)]


def gamma_derivatives(y, raw):
    """Of the logarithms of mean and shape: the slopes, and the Fisher information."""
    k, ratio = np.exp(raw[1]), y * np.exp(-raw[0])
    small = np.minimum(k, 1e4)
    # the first terms of the series of psi where the difference of large numbers would lose digits
    less_log = np.where(k > 1e4, -0.5 / k - 1 / (12 * k**2), psi(small) - np.log(small))
    by_shape = np.where(k > 1e4, 0.5 + 1 / (6 * k), small**2 * polygamma(1, small) - small)
    return [k * (1 - ratio), k * (less_log - 1 + ratio - np.log(ratio))], [k, by_shape]


def efron(time, event, raw, weight):
    """Minus the log partial likelihood, by its definition."""
    power, total = weight * np.exp(raw), 0.0
    for t in np.unique(time[event]):
        tied = event & (time == t)
        d, mean = tied.sum(), weight[tied].mean()
        total -= (weight * raw)[tied].sum()
        for k in range(d):
            total += mean * np.log(power[time >= t].sum() - k / d * power[tied].sum())
    return total


def concordance(lower, upper, risk, weight):
    """Harrell's index, pair by pair."""
    right = total = 0.0
    for i in range(len(risk)):
        for j in range(len(risk)):
            if upper[i] < lower[j] or (upper[i] == lower[j] and lower[j] != upper[j]):
                w = weight[i] * weight[j]
                total += w
                right += w * (1.0 if risk[i] > risk[j] else 0.5 if risk[i] == risk[j] else 0.0)
    return right / total
