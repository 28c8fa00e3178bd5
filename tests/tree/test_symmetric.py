"""Symmetric trees: what they promise beside what all trees do; whole trees by brute force are in test_grower.py."""

from ctypes import byref
from dataclasses import replace

import numpy as np
import pytest
import reference

from benchmarks.kernels_h import ScanRule, ScanScratch, Unsplit, load_kernels
from boostgrad import BoostGradClassifier, BoostGradRanker, BoostGradRegressor, BoostGradSurvival, native
from boostgrad.io.native import dump_bytes
from boostgrad.losses import GradientPairs
from boostgrad.params import TreeParams
from boostgrad.tree.growers import grower_for

PARAMS = TreeParams(min_samples_leaf=3, min_child_weight=0.0, max_leaf_nodes=30, grow_policy="symmetric")
NAMES = ("feature", "threshold", "missing_left", "left", "right", "leaf_value")


def problem(seed=0, n=1500, n_features=6, n_codes=30, missing=0.1, n_outputs=1):
    """Codes, of which the last two features are categories, and gradients of each output."""
    rng = np.random.default_rng(seed)
    codes = rng.integers(1, n_codes, (n, n_features))
    effect = rng.standard_normal((n_outputs, n_codes))
    gradient = rng.standard_normal((n_outputs, n)) + effect[:, codes[:, -1]]
    gradient += (codes[:, 0] > n_codes / 3) + (codes[:, 1] > n_codes / 2) * (codes[:, 2] < n_codes / 4)
    codes[rng.random(codes.shape) < missing] = 0
    categorical = np.arange(n_features) >= n_features - 2
    return reference.binned(codes, n_codes + 1, None, categorical), reference.exact(gradient)


def pairs_of(gradient, hessian):
    pairs = GradientPairs.empty(len(gradient), gradient.shape[1], None if np.ndim(hessian) else float(hessian))
    for k in range(len(gradient)):
        pairs.fill(k, gradient[k], hessian[k] if np.ndim(hessian) else None)
    return pairs


def grow(matrix, gradient, hessian, params, n_threads=1, number=0):
    grower = grower_for(matrix, reference.edges_between(matrix), params, n_threads, 5, n_values=len(gradient))
    return grower.grow(pairs_of(gradient, hessian), 0, number)


def bytes_of(grown):
    found = [getattr(grown.tree, name).tobytes() for name in NAMES] + [grown.tree.statistics.split_gain.tobytes()]
    return b"".join([*found, b"" if grown.tree.categories is None else grown.tree.categories.bits.tobytes()])


def rules(grown, s):
    words = {} if grown.tree.categories is None else grown.tree.categories.words()
    return (int(grown.tree.feature[s]), int(grown.code[s]), bool(grown.tree.missing_left[s]), tuple(words.get(s, ())))


@pytest.mark.parametrize("wide", [True, False])
@pytest.mark.parametrize("missing", [0.0, 0.3])
@pytest.mark.parametrize("options", [{}, {"l1_regularization": 3.0, "max_delta_step": 0.1}, {"min_split_gain": 2.0}])
def test_the_kernel_adds_what_its_twin_does(wide, missing, options):
    """With each instruction set, to the same bits."""
    rng = np.random.default_rng(3)
    n, n_codes, scale, count_bits, found = 500, 37, 1024.0, 20, set()
    params = replace(PARAMS, l2_regularization=1.0, min_child_weight=2.0, **options)
    codes = rng.integers(1, n_codes, n) * (rng.random(n) >= missing)
    gradient = np.rint(scale * (rng.standard_normal(n) + (codes > 20))).astype(np.int64)
    hessian = rng.integers(1, 900, n) if wide else np.ones(n, dtype=np.int64)
    unit = 1 / scale if wide else 1.0
    g, h, count = (np.bincount(codes, weights=w, minlength=n_codes).astype(np.int64) for w in (gradient, hessian, None))
    hist = np.column_stack([g, (h << count_bits) + count]) if wide else (g << count_bits) + count
    total = np.ascontiguousarray(hist.sum(axis=0))
    plain = not params.l1_regularization
    rule = ScanRule(
        1 / scale, unit, params.l1_regularization, 1.0, params.max_delta_step, 2.0, 3, count_bits, wide, plain
    )
    score = float(reference.score(gradient.sum() / scale, hessian.sum() * unit, params))
    unsplit = Unsplit(score, params.min_split_gain, 1e-12)
    expected = reference.place_gains(codes, gradient / scale, hessian * unit, n_codes, params)
    assert max(map(np.max, expected)) > 0
    for isa in native.available_isas():
        room, gains = np.zeros((3, n_codes + 8), dtype=np.int64), np.ones((2, n_codes))
        scratch = ScanScratch(*(line.ctypes.data for line in room))
        load_kernels(isa).add_gains(
            hist.ctypes.data, n_codes, total.ctypes.data, byref(rule), byref(unsplit), byref(scratch),
            gains[0].ctypes.data, gains[1].ctypes.data,
        )  # fmt: skip
        np.testing.assert_allclose(gains[:, :-1] - 1, expected, rtol=1e-9, atol=1e-9)
        assert (gains[:, -1] == 1).all()
        found.add(gains.tobytes())
    assert len(found) == 1


@pytest.mark.parametrize("n_outputs", [1, 3, 9])
@pytest.mark.parametrize("seed", range(4))
def test_a_level_has_one_rule(seed, n_outputs):
    """Splits are numbered level by level, so equal rules follow each other."""
    matrix, gradient = problem(seed, n_outputs=n_outputs)
    for n_levels in (1, 2, 4, 6):
        grown = grow(matrix, gradient, 1.0, replace(PARAMS, max_leaf_nodes=None, max_depth=n_levels))
        made = [rules(grown, s) for s in range(grown.tree.n_splits)]
        changes = sum(a != b for a, b in zip(made, made[1:], strict=False))
        assert changes + 1 <= n_levels
    assert grown.tree.n_splits > changes + 1


@pytest.mark.parametrize("n_outputs", [1, 2, 5, 20])
@pytest.mark.parametrize("constant", [False, True])
@pytest.mark.parametrize("options", [{}, {"l1_regularization": 2.0, "max_delta_step": 0.2}, {"l2_regularization": 3.0}])
def test_one_level_is_the_split_of_the_other_policies(n_outputs, constant, options):
    rng = np.random.default_rng(n_outputs)
    matrix, gradient = problem(n_outputs, n_outputs=n_outputs)
    if n_outputs > 1:  # sets of levels are scored along one direction here, in the scan by all outputs once chosen
        matrix = reference.binned(matrix.by_row, matrix.n_codes)
    hessian = 0.5 if constant else reference.exact(rng.random(gradient.shape) + 0.1)
    params = replace(PARAMS, max_depth=1, **options)
    stumps = [grow(matrix, gradient, hessian, replace(params, grow_policy=p)) for p in ("symmetric", "leafwise")]
    assert stumps[0].tree.n_splits == 1
    assert rules(stumps[0], 0) == rules(stumps[1], 0)
    np.testing.assert_array_equal(stumps[0].tree.leaf_value, stumps[1].tree.leaf_value)
    gains = [stump.tree.statistics.split_gain for stump in stumps]
    np.testing.assert_allclose(gains[0], gains[1], rtol=1e-12)


@pytest.mark.parametrize("n_outputs", [2, 4, 6])
def test_vectors_have_the_largest_sum_of_gains(n_outputs):
    """By brute force, as far as the second level; with a constant hessian fields are the gradients."""
    matrix, gradient = problem(n_outputs, n=400, n_codes=12, n_outputs=n_outputs)
    matrix = reference.binned(matrix.by_row, matrix.n_codes)
    codes, params = matrix.by_row, replace(PARAMS, max_depth=2, l2_regularization=0.5)
    grown = grow(matrix, gradient, 1.0, params)

    def score(rows):
        return float(np.sum(gradient[:, rows].sum(axis=1) ** 2) / (rows.sum() + 0.5))

    def gain(node, left):
        sides = [node & left, node & ~left]
        enough = min(side.sum() for side in sides) >= params.min_samples_leaf
        return max(sum(map(score, sides)) - score(node), 0.0) if enough else 0.0

    level = [np.ones(len(codes), bool)]
    for depth in range(2):
        sums = {}
        for feature in range(codes.shape[1]):
            for code in range(1, int(matrix.n_codes[feature])):
                for missing_left in (False, True):
                    left = reference.goes_left(codes[:, feature], code, missing_left)
                    sums[feature, code, missing_left] = sum(gain(node, left) for node in level)
        s = 0 if depth == 0 else 1
        feature, code, missing_left, _ = rules(grown, s)
        assert sums[feature, code, missing_left] == pytest.approx(max(sums.values()), rel=1e-9)
        made = grown.tree.statistics.split_gain[s:][: 2**depth]
        assert made.sum() == pytest.approx(max(sums.values()), rel=1e-9)
        left = reference.goes_left(codes[:, feature], code, missing_left)
        level = [side for node in level for side in (node & left, node & ~left)]


@pytest.mark.parametrize("n_outputs", [1, 3, 40])
def test_threads_and_instruction_sets_do_not_matter(n_outputs):
    rng = np.random.default_rng(8)
    matrix, gradient = problem(3, n=30_000, n_codes=60, n_outputs=n_outputs)
    hessian = rng.random(gradient.shape) + 0.01
    used, found = native.isa(), set()
    try:
        for isa in native.available_isas():
            native.use_isa(isa)
            for n_threads in (1, 2, 3, 5):
                for h in (hessian, 1.0) if n_outputs == 1 else (hessian,):
                    found.add((np.ndim(h), bytes_of(grow(matrix, gradient + 0.1, h, PARAMS, n_threads))))
    finally:
        native.use_isa(used)
    assert len(found) == (2 if n_outputs == 1 else 1)


@pytest.mark.parametrize("n_outputs", [1, 4])
@pytest.mark.parametrize("n_slots", [4, 5, 6, 9, 16])
@pytest.mark.parametrize("n_threads", [1, 3])
def test_few_histograms_give_the_same_tree(n_slots, n_threads, n_outputs):
    """Nodes come in several turns then, and are built from their rows again."""
    matrix, gradient = problem(4, n_outputs=n_outputs)
    params = replace(PARAMS, max_leaf_nodes=60)
    edges = reference.edges_between(matrix)
    pairs = pairs_of(gradient, 1.0)
    free = grower_for(matrix, edges, params, 1, 5, n_values=n_outputs).grow(pairs, 0, 1)
    bounded = grower_for(matrix, edges, params, n_threads, 5, n_values=n_outputs)
    bounded.grow(pairs_of(np.zeros_like(gradient), 1.0), 0, 0)  # knows the size of a histogram from now on
    bounded.pool.max_slots = n_slots
    assert bytes_of(bounded.grow(pairs, 0, 1)) == bytes_of(free)
    assert free.tree.n_leaves == 60


def test_leaves_that_run_out_are_given_to_the_largest_gains():
    matrix, gradient = problem(6)
    for allowed in range(2, 40):
        grown = grow(matrix, gradient, 1.0, replace(PARAMS, max_leaf_nodes=allowed))
        more = grow(matrix, gradient, 1.0, replace(PARAMS, max_leaf_nodes=allowed + 1))
        assert grown.tree.n_leaves == allowed
        gains, larger = (sorted(g.tree.statistics.split_gain) for g in (grown, more))
        assert set(gains) <= set(larger)


def test_an_empty_child_is_no_veto():
    """The second level's rule splits one of two nodes; the other stays as it is, and is split by the third."""
    codes = np.array([[1, 1], [1, 2], [2, 1], [2, 1]]).repeat(10, axis=0)
    gradient = np.array([-9.0, -1.0, 4.0, 4.0]).repeat(10)
    gradient[30:] = 6.0
    codes = np.column_stack([codes, np.arange(40) // 5 % 2 * (codes[:, 0] == 2) + 1])
    gradient = reference.exact(gradient + (codes[:, 2] == 2))
    params = replace(PARAMS, max_depth=3)
    matrix = reference.binned(codes)
    grown = grow(matrix, gradient[None], 1.0, params)
    assert grown.tree.feature.tolist() == [0, 1, 2]
    assert grown.tree.statistics.split_count.tolist() == [40, 20, 20]
    reference.assert_same_tree(grown, matrix, gradient, 1.0, params)


def test_no_node_gains_less_than_it_must():
    matrix, gradient = problem(7)
    grown = grow(matrix, gradient, 1.0, replace(PARAMS, min_split_gain=9.0, max_leaf_nodes=None))
    assert grown.tree.n_splits > 3 and grown.tree.statistics.split_gain.min() > 9.0
    reference.assert_same_tree(
        grown, matrix, gradient[0], 1.0, replace(PARAMS, min_split_gain=9.0, max_leaf_nodes=None)
    )


SHAPE = {"grow_policy": "symmetric", "max_depth": 6, "max_leaf_nodes": 64, "random_state": 0}


@pytest.fixture(scope="module")
def table():
    rng = np.random.default_rng(1)
    X = rng.standard_normal((1200, 6))
    X[:, 4] = rng.integers(0, 30, 1200)
    X[rng.random(X.shape) < 0.05] = np.nan
    signal = np.nan_to_num(X[:, 0] * X[:, 1]) + (np.nan_to_num(X[:, 4]) % 5 > 2) + 0.3 * rng.standard_normal(1200)
    return X, signal


@pytest.mark.parametrize(
    "loss",
    [
        "squared_error", "absolute_error", "quantile", "mape", "huber", "fair", "log_cosh", "expectile",
        "squared_log_error", "poisson", "gamma", "tweedie", "cross_entropy", "normal_nll",
    ],
)  # fmt: skip
def test_the_loss_falls_with_each_tree(table, loss):
    X, signal = table
    y = {"cross_entropy": 1 / (1 + np.exp(-signal))}.get(loss, np.exp(signal))
    options = {"quantile": 0.7} if loss in ("quantile", "expectile") else {}
    model = BoostGradRegressor(
        loss, n_estimators=25, early_stopping=True, n_iter_no_change=25, categorical_features=[4], **options, **SHAPE
    )
    model.fit(X, y)
    scores = np.asarray(model.train_score_)
    assert (np.diff(scores) >= -1e-9 * np.abs(scores[0])).all() and scores[-1] > scores[0]


def test_faces_save_load_and_stop(table, tmp_path):
    X, signal = table
    groups = np.repeat(np.arange(60), 20)
    time = np.column_stack([np.exp(signal), signal > -1])
    classes = np.digitize(signal, [-0.5, 0.5])
    faces = [
        BoostGradClassifier(n_estimators=12, **SHAPE).fit(X, classes),
        BoostGradClassifier(n_estimators=12, multi_strategy="multi_output_tree", **SHAPE).fit(X, classes),
        BoostGradRegressor(n_estimators=400, early_stopping=True, n_iter_no_change=2, **SHAPE).fit(X, signal),
        BoostGradRegressor(n_estimators=12, **SHAPE).fit(X, np.column_stack([signal, signal**2])),
        BoostGradRanker(n_estimators=12, **SHAPE).fit(X, classes, groups=groups),
        BoostGradSurvival(n_estimators=12, **SHAPE).fit(X, time),
    ]
    for face in faces:
        face.save(tmp_path / "model")
        loaded = type(face).load(tmp_path / "model")
        np.testing.assert_array_equal(loaded.predict(X), face.predict(X))
        np.testing.assert_array_equal(loaded.apply(X), face.apply(X))
        assert dump_bytes(loaded.ensemble_) == dump_bytes(face.ensemble_)
    assert faces[2].n_iter_ < 400


@pytest.mark.parametrize("strategy", ["one_output_per_tree", "multi_output_tree"])
def test_rows_go_where_they_were_counted(table, strategy):
    """By sets of levels and by numbers, with missing values on either side."""
    X, signal = table
    classes = np.digitize(signal, [-0.5, 0.5])
    options = SHAPE | {"n_estimators": 10, "early_stopping": False, "min_samples_leaf": 7}
    model = BoostGradClassifier(categorical_features=[4], multi_strategy=strategy, **options).fit(X, classes)
    trees = model.ensemble_.trees
    leaves = model.apply(X).reshape(len(X), len(trees))
    for tree, column in zip(trees, leaves.T, strict=True):
        np.testing.assert_array_equal(np.bincount(column, minlength=tree.n_leaves), tree.statistics.leaf_count)
        assert tree.statistics.leaf_count.min() >= 7
    assert any(tree.categories is not None for tree in trees)
