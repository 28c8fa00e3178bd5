"""Sparse tables as columns, and their bins: what the dense table gives, from the stored entries alone."""

import tracemalloc

import numpy as np
import pytest
import reference
from scipy import sparse

from boostgrad.data.binning import BinMapper
from boostgrad.data.columns import SparseColumns, as_columns
from boostgrad.data.sampling import SAMPLE_ROWS
from boostgrad.data.schema import TableSchema

KINDS = [getattr(sparse, f"{kind}_{container}") for kind in ("csr", "csc", "coo") for container in ("matrix", "array")]


def table(n=400, d=7, density=0.2, seed=0, dtype=np.float64):
    rng = np.random.default_rng(seed)
    X = sparse.random(n, d, density, format="csr", random_state=seed, data_rvs=lambda k: rng.normal(size=k) * 20)
    return X.astype(dtype)


def rich_table(seed=0):
    """Missing values, infinities, explicit zeros of both signs, few and many distinct values, and columns of nothing,
    of explicit zeros, of missing values, and without any zero."""
    rng = np.random.default_rng(seed)
    X = table(600, 12, 0.3, seed).tolil()
    X[:, 3] = 0
    X[:, 4] = 0
    X[:, 5] = np.nan
    X[:, 6] = rng.normal(size=(600, 1)) + 10
    X[7] = 0
    X = X.tocsr()
    X.data[rng.random(X.nnz) < 0.1] = np.nan
    X.data[:40:4], X.data[1:40:4], X.data[2:40:4], X.data[3:40:4] = np.inf, -np.inf, 0.0, -0.0
    return X


def dense_codes(matrix):
    codes = np.repeat(matrix.default_code[:, None], matrix.n_rows, axis=1)
    for f in range(matrix.n_features):
        here = slice(matrix.column_begin[f], matrix.column_begin[f + 1])
        codes[f, matrix.rows[here]] = matrix.codes[here]
    return codes


def assert_same_bins(X, rows=None, weight=None, max_bins=255, n_threads=1):
    """Edges and codes are those of the dense table, and the entries are complete by row and by column."""
    given, dense = as_columns(X), as_columns(X.toarray())
    assert isinstance(given, SparseColumns)
    options = {"rows": rows, "weight": weight, "max_bins": max_bins, "n_threads": n_threads}
    mappers = [BinMapper.fit(columns, **options) for columns in (given, dense)]
    for ours, theirs in zip(mappers[0].edges, mappers[1].edges, strict=True):
        assert ours.tobytes() == theirs.tobytes()
    matrix = mappers[0].transform(given, rows=rows, n_threads=n_threads)
    expected = mappers[1].transform(dense, rows=rows)
    np.testing.assert_array_equal(matrix.n_codes, expected.n_codes)
    np.testing.assert_array_equal(dense_codes(matrix), expected.by_column)
    for f in range(matrix.n_features):
        here = slice(matrix.column_begin[f], matrix.column_begin[f + 1])
        assert (matrix.codes[here] != matrix.default_code[f]).all()
        assert len(np.unique(matrix.rows[here])) == here.stop - here.start
    row = np.repeat(np.arange(matrix.n_rows), np.diff(matrix.row_begin))
    column = np.repeat(np.arange(matrix.n_features), np.diff(matrix.column_begin))
    by_row = sorted(zip(row, matrix.row_features, matrix.row_codes, strict=True))
    assert by_row == sorted(zip(matrix.rows, column, matrix.codes, strict=True))
    return mappers[0]


# ---- bins ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("n_threads", [1, 3])
@pytest.mark.parametrize("max_bins", [2, 3, 20, 255, 1000])
@pytest.mark.parametrize("seed", range(3))
def test_bins_are_those_of_the_dense_table(seed, max_bins, n_threads):
    mapper = assert_same_bins(rich_table(seed), max_bins=max_bins, n_threads=n_threads)
    for column, edges in zip(rich_table(seed).toarray().T, mapper.edges, strict=True):
        reference.assert_valid_edges(edges, column, max_bins)


@pytest.mark.parametrize("max_bins", [5, 255])
@pytest.mark.parametrize("scale", [1.0, 1e-300, 1e55])
def test_weights_and_rows(max_bins, scale):
    rng = np.random.default_rng(0)
    X = table(3000, 5, 0.3)
    weight = (rng.random(3000) ** 8 + 1e-12) * scale
    rows = np.flatnonzero(rng.random(3000) < 0.5)
    assert_same_bins(X, None, weight, max_bins)
    assert_same_bins(X, rows, weight[rows], max_bins)
    assert_same_bins(X, rows, None, max_bins)


def test_long_columns_are_sampled_alike():
    X = table(SAMPLE_ROWS + 30_000, 3, 0.02)
    weight = np.random.default_rng(0).random(X.shape[0]) + 0.5
    assert_same_bins(X, max_bins=50)
    assert_same_bins(X, weight=weight, max_bins=50)


@pytest.mark.parametrize("dtype", ["?", "i1", "u1", "i2", "u2", "i4", "u4", "i8", "u8", "f4", "f8", "g"])
def test_dtypes(dtype):
    X = abs(table()) if dtype in ("?", "u1", "u2", "u4", "u8") else table()
    assert_same_bins(X.astype(dtype))


@pytest.mark.parametrize("shape", [(1, 1), (1, 5), (5, 1), (40, 3)])
def test_nothing_stored(shape):
    mapper = assert_same_bins(sparse.csr_matrix(shape))
    assert all(len(edges) == 0 for edges in mapper.edges)


# ---- containers ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("index", [np.int32, np.int64])
@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.__name__)
def test_containers(kind, index):
    X = kind(rich_table())
    for name in ("indices", "indptr", "row", "col"):
        if hasattr(X, name):
            try:
                setattr(X, name, getattr(X, name).astype(index))
            except AttributeError:  # coordinates of newer versions
                X.coords = tuple(c.astype(index) for c in X.coords)
    assert_same_bins(X)


@pytest.mark.parametrize("kind", ["bsr", "dia", "dok", "lil"])
def test_other_containers(kind):
    assert_same_bins(table(30, 5).asformat(kind))


@pytest.mark.parametrize("form", ["csr", "csc", "coo"])
def test_duplicates_are_summed_and_the_order_does_not_matter(form):
    rng = np.random.default_rng(0)
    row, column = rng.integers(0, 50, 800), rng.integers(0, 6, 800)
    value = rng.integers(-5, 6, 800).astype(float)  # some sums are zeros
    if form == "coo":
        X = sparse.coo_matrix((value, (row, column)), shape=(50, 6))
    else:
        major, minor, n = (row, column, 50) if form == "csr" else (column, row, 6)
        order = np.argsort(major, kind="stable")
        begin = np.searchsorted(major[order], np.arange(n + 1))
        kind = sparse.csr_matrix if form == "csr" else sparse.csc_matrix
        X = kind((value[order], minor[order], begin), shape=(50, 6))
    before = [array.copy() for array in (X.data, *(X.coords if form == "coo" else (X.indices, X.indptr)))]
    assert_same_bins(X)
    as_columns(X).by_row()
    after = [X.data, *(X.coords if form == "coo" else (X.indices, X.indptr))]
    for was, is_now in zip(before, after, strict=True):
        np.testing.assert_array_equal(was, is_now)


@pytest.mark.parametrize(
    ("X", "error", "words"),
    [
        (sparse.eye(3, format="csr").astype(complex), ValueError, "Complex data not supported"),
        (sparse.csr_matrix((0, 3)), ValueError, r"0 sample\(s\) \(shape=\(0, 3\)\)"),
        (sparse.csr_matrix((3, 0)), ValueError, r"0 feature\(s\) \(shape=\(3, 0\)\)"),
        (sparse.coo_array(np.ones(3)), ValueError, "got 1D array"),
    ],
)
def test_refused(X, error, words):
    with pytest.raises(error, match=words):
        as_columns(X)


def test_indices_out_of_range_are_refused():
    X = sparse.csc_matrix(np.eye(3))
    X.indices[1] = 7
    with pytest.raises(ValueError, match="indices"):
        as_columns(X).by_column()


def test_sparse_of_another_library_is_refused():
    class Other:
        nnz = 0

        def toarray(self):
            raise AssertionError

    with pytest.raises(TypeError, match="scipy"):
        as_columns(Other())


# ---- the schema ------------------------------------------------------------------------------------------------------


def test_columns_are_numbers():
    columns = as_columns(table())
    schema = TableSchema.learn(columns)
    assert schema.apply(columns) is columns
    assert [info.kind for info in schema.features] == ["number"] * 7
    for declared in ([2], [False, False, True, False, False, False, False]):
        with pytest.raises(ValueError, match="categorical_features declares column 2 a category, but X is sparse"):
            TableSchema.learn(columns, categorical_features=declared)


def test_a_model_with_categories_says_why_not():
    learned = TableSchema.learn(as_columns(np.array([["a", 1.0], ["b", 2.0]], dtype=object)))
    with pytest.raises(ValueError, match="X is sparse, but The model was fitted with a category in column 0"):
        learned.apply(as_columns(sparse.csr_matrix((2, 2))))
    with pytest.raises(ValueError, match="7 features, but The model is expecting 2"):
        learned.apply(as_columns(table()))


def test_memory_is_that_of_the_entries():
    X = table(50_000, 400, 0.002)
    tracemalloc.start()
    try:
        columns = as_columns(X)
        mapper = BinMapper.fit(columns, n_threads=2)
        mapper.transform(columns, n_threads=2)
        assert tracemalloc.get_traced_memory()[1] < 100 * X.nnz + 40 * sum(X.shape)  # a byte a cell were 20 MB
    finally:
        tracemalloc.stop()
