"""Predictions from raw values, against a walk of one row at a time."""

import numpy as np
import pytest
import reference

from boostgrad.data.columns import Columns, as_columns
from boostgrad.tree.model import Ensemble
from boostgrad.tree.predictor import Predictor


def random_ensemble(seed, sizes, n_outputs=1, n_features=4, n_thresholds=20):
    rng = np.random.default_rng(seed)
    thresholds = np.append(rng.standard_normal(n_thresholds), np.inf)
    trees = [reference.random_tree(rng, size, thresholds, n_features, t % n_outputs) for t, size in enumerate(sizes)]
    ensemble = Ensemble(trees, rng.standard_normal(n_outputs), n_features, None, "squared_error")
    return ensemble, thresholds


def random_rows(seed, n, n_features, thresholds, dtype=np.float64):
    rng = np.random.default_rng(seed)
    X = rng.standard_normal((n, n_features))
    X[rng.random(X.shape) < 0.3] = rng.choice(thresholds)  # on a threshold
    for value in (np.nan, np.inf, -np.inf):
        X[rng.random(X.shape) < 0.1] = value
    return X.astype(dtype)


def assert_predicts(ensemble, X, n_threads=1):
    predictor = Predictor(ensemble)
    columns = as_columns(X, min_rows=0)
    np.testing.assert_array_equal(predictor.raw(columns, n_threads), reference.predict(ensemble, X))
    np.testing.assert_array_equal(predictor.leaves(columns, n_threads), reference.leaves(ensemble, X))


@pytest.mark.parametrize("size", [1, 2, 3, 31, 32, 33, 63, 64, 65, 66, 200])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_sizes_of_trees(size, dtype):
    ensemble, thresholds = random_ensemble(size, [size] * 5)
    assert_predicts(ensemble, random_rows(size, 300, 4, thresholds, dtype))


@pytest.mark.parametrize("n", [0, 1, 2, 15, 16, 17, 31, 32, 33, 255, 256, 257, 287, 288, 511, 512, 513, 600])
def test_numbers_of_rows(n):
    ensemble, thresholds = random_ensemble(1, [1, 8, 64, 70, 2])
    assert_predicts(ensemble, random_rows(n, n, 4, thresholds))


@pytest.mark.parametrize("n_outputs", [1, 2, 5])
def test_outputs(n_outputs):
    ensemble, thresholds = random_ensemble(2, [5, 9, 70, 3, 2] * n_outputs, n_outputs)
    assert_predicts(ensemble, random_rows(3, 300, 4, thresholds))


@pytest.mark.parametrize("n_thresholds", [252, 253, 254, 255, 600])
@pytest.mark.parametrize("size", [64, 400])
def test_many_thresholds_of_one_feature(n_thresholds, size):
    rng = np.random.default_rng(n_thresholds)
    ensemble, thresholds = random_ensemble(n_thresholds, [size] * 30, n_features=1, n_thresholds=n_thresholds)
    used = np.unique(np.concatenate([tree.threshold for tree in ensemble.trees]))
    assert len(used) > 250
    X = np.concatenate([used, np.nextafter(used, np.inf), np.nextafter(used, -np.inf), [np.nan, np.inf, -np.inf]])
    assert_predicts(ensemble, rng.permutation(X)[:350, None])


@pytest.mark.parametrize("n_threads", [2, 3, 5])
def test_any_number_of_threads(n_threads):
    ensemble, thresholds = random_ensemble(4, [31, 100, 64] * 4, 3)
    columns = as_columns(random_rows(0, 20_001, 4, thresholds))
    predictor = Predictor(ensemble)
    assert predictor.raw(columns, n_threads).tobytes() == predictor.raw(columns, 1).tobytes()
    assert predictor.leaves(columns, n_threads).tobytes() == predictor.leaves(columns, 1).tobytes()


@pytest.mark.parametrize("dtype", ["?", "i1", "u2", "i4", "i8", "f2", "f4"])
def test_dtypes_and_memory_orders(dtype):
    ensemble, _ = random_ensemble(5, [20, 80])
    X = (np.random.default_rng(0).standard_normal((300, 4)) * 2).astype(dtype)
    for view in (X, np.asfortranarray(X), np.repeat(X, 2, axis=0)[::2], X[::-1, ::-1]):
        assert_predicts(ensemble, view)
    columns = Columns([X[:, 0], X[:, 1].astype(np.float64), X[:, 2], X[:, 3].astype(np.float32)], 300, None)
    np.testing.assert_array_equal(Predictor(ensemble).raw(columns), reference.predict(ensemble, X.astype(float)))


def test_leaves_in_another_order_are_walked():
    """Masks need leaves from left to right; a tree that has them otherwise is predicted all the same."""
    ensemble, thresholds = random_ensemble(6, [12])
    tree = ensemble.trees[0]
    turn = np.random.default_rng(0).permutation(12)
    for side in (tree.left, tree.right):
        leaf = side < 0
        side[leaf] = ~turn[~side[leaf]]
    assert_predicts(ensemble, random_rows(1, 300, 4, thresholds))


def test_no_trees_and_no_splits():
    empty = Ensemble([], np.array([1.5, -2.0]), 3, None, "squared_error")
    raw = Predictor(empty).raw(as_columns(np.zeros((40, 3))))
    np.testing.assert_array_equal(raw, np.repeat([[1.5], [-2.0]], 40, axis=1))
    assert Predictor(empty).leaves(as_columns(np.zeros((40, 3)))).shape == (40, 0)
    ensemble, thresholds = random_ensemble(7, [1, 1, 1])
    assert_predicts(ensemble, random_rows(1, 50, 4, thresholds))
