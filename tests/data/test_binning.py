"""From values to bins."""

import tracemalloc

import numpy as np
import pytest
import reference

from boostgrad.data.binning import BinMapper
from boostgrad.data.columns import Columns, as_columns
from boostgrad.data.quantiles import quantile_edges
from boostgrad.data.sampling import SAMPLE_ROWS, sample_rows

REAL = ["?", "i1", "u1", "i2", "u2", "i4", "u4", "i8", "u8", "f2", "f4", "f8"]
NONE = np.empty(0)


def fit(X, **options):
    return BinMapper.fit(as_columns(X), **options)


def random_column(dtype, n, rng):
    dtype = np.dtype(dtype)
    if dtype.kind == "b":
        return rng.random(n) < 0.3
    if dtype.kind == "f":
        with np.errstate(over="ignore"):
            x = (rng.standard_normal(n) * 100).astype(dtype)
        x[rng.random(n) < 0.1] = np.nan
        x[:4] = [np.inf, -np.inf, 0.0, -0.0]
        return x
    info = np.iinfo(dtype)
    x = rng.integers(info.min, info.max, n, dtype=dtype, endpoint=True)
    x[:2] = [info.min, info.max]
    return x


def assert_codes(matrix, X, mapper, rows=None):
    X = np.asarray(X) if rows is None else np.asarray(X)[rows]
    for j, edges in enumerate(mapper.edges):
        np.testing.assert_array_equal(matrix.by_row[:, j], reference.codes_of(X[:, j], edges), err_msg=f"column {j}")
        assert matrix.n_codes[j] == len(edges) + 2
    np.testing.assert_array_equal(matrix.by_row, matrix.by_column.T)
    assert matrix.by_column.flags.c_contiguous
    assert (matrix.by_row < matrix.n_codes).all()


# ---- edges -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("max_bins", [2, 3, 10, 255, 300])
@pytest.mark.parametrize("seed", range(6))
def test_edges_are_sane_on_random_masses(seed, max_bins):
    rng = np.random.default_rng(seed)
    values = rng.geometric(0.5 / (seed + 1) ** 2, 3000) if seed % 2 else rng.standard_normal(3000)
    values = np.sort(values).astype(float)
    reference.assert_valid_edges(quantile_edges(values, NONE, max_bins), values, max_bins)


@pytest.mark.parametrize("n_distinct", [1, 2, 3, 17, 254, 255])
def test_few_distinct_values_have_a_bin_each(n_distinct):
    rng = np.random.default_rng(n_distinct)
    distinct = np.sort(rng.choice(10_000, n_distinct, replace=False)) / 7
    values = np.sort(np.concatenate([distinct, rng.choice(distinct, 500)]))
    edges = quantile_edges(values, NONE, 255)
    np.testing.assert_array_equal(reference.codes_of(distinct, edges), np.arange(n_distinct) + 1)
    np.testing.assert_allclose(edges, (distinct[1:] + distinct[:-1]) / 2, rtol=1e-12)


def test_even_bins_on_a_continuous_column():
    values = np.sort(np.random.default_rng(0).standard_normal(50_000))
    edges = quantile_edges(values, NONE, 50)
    assert len(edges) == 49
    mass = np.bincount(reference.codes_of(values, edges))[1:]
    assert mass.min() >= 900 and mass.max() <= 1100  # 1000 each


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("max_bins", [3, 16, 64, 255])
def test_weights_are_repetition(seed, max_bins):
    rng = np.random.default_rng(seed)
    values = np.sort(rng.standard_normal(800).round(2))
    weight = rng.integers(1, 5, len(values))
    weighted = quantile_edges(values, weight.astype(float), max_bins)
    np.testing.assert_array_equal(weighted, quantile_edges(np.repeat(values, weight), NONE, max_bins))
    np.testing.assert_array_equal(weighted, quantile_edges(values, 4.0 * weight, max_bins))


def test_weights_are_repetition_through_fit():
    rng = np.random.default_rng(0)
    X = rng.standard_normal((700, 3))
    X[rng.random(X.shape) < 0.1] = np.nan
    weight = rng.integers(1, 4, len(X))
    weighted = fit(X, weight=weight.astype(float), max_bins=20)
    for a, b in zip(weighted.edges, fit(np.repeat(X, weight, axis=0), max_bins=20).edges, strict=True):
        np.testing.assert_array_equal(a, b)
    for a, b in zip(fit(X, weight=np.full(len(X), 3.0), max_bins=20).edges, fit(X, max_bins=20).edges, strict=True):
        np.testing.assert_array_equal(a, b)


@pytest.mark.parametrize("max_bins", [3, 4, 10, 255])
@pytest.mark.parametrize("place", ["low", "middle", "high"])
@pytest.mark.parametrize("share", [0.5, 0.9, 0.999])
def test_a_dominating_value_owns_its_bin(max_bins, place, share):
    rng = np.random.default_rng(1)
    n = 20_000
    values = rng.random(n)
    heavy = {"low": -1.0, "middle": 0.5, "high": 2.0}[place]
    values[: int(share * n)] = heavy
    edges = quantile_edges(np.sort(values), NONE, max_bins)
    codes = reference.codes_of(values, edges)
    owned = codes == reference.codes_of([heavy], edges)[0]
    np.testing.assert_array_equal(owned, values == heavy)
    assert len(edges) == max_bins - 1 or len(np.unique(values)) < max_bins


@pytest.mark.parametrize(("max_bins", "n_heavy"), [(16, 3), (64, 10), (255, 30)])
def test_heavy_values_among_light_ones_own_their_bins(max_bins, n_heavy):
    for seed in range(60):
        rng = np.random.default_rng(seed)
        values, heavy = rng.standard_normal(5000), rng.standard_normal(n_heavy)
        values[:3000] = np.repeat(heavy, 3000 // n_heavy)  # each weighs more than three even shares
        codes = reference.codes_of(values, quantile_edges(np.sort(values), NONE, max_bins))
        for value in heavy:
            shared = (codes == codes[values == value][0]) & (values != value)
            assert not shared.any(), f"seed {seed}: {shared.sum()} other rows are in the bin of {value}"


def test_several_heavy_values_leave_the_rest_of_the_bins_to_the_others():
    rng = np.random.default_rng(2)
    values = rng.random(10_000)
    values[:3000], values[3000:6000] = 0.25, 0.75
    edges = quantile_edges(np.sort(values), NONE, 64)
    mass = np.bincount(reference.codes_of(values, edges))[1:]
    light = np.sort(mass)[:-2]
    assert len(mass) >= 60
    assert light.max() <= 3 * np.median(light)


@pytest.mark.parametrize(
    "values",
    [
        [-np.inf, np.inf],
        [-np.inf, 0.0, np.inf],
        [-np.inf, -1.7e308, 1.7e308, np.inf],
        [0.0, 5e-324],
        [5e-324, 1e-323],
        [1.0, np.nextafter(1.0, 2)],
        [-1.7976931348623157e308, 1.7976931348623157e308],
    ],
)
def test_edges_part_neighbours_that_no_middle_parts(values):
    edges = quantile_edges(np.array(values), NONE, 255)
    reference.assert_valid_edges(edges, values, 255)
    np.testing.assert_array_equal(reference.codes_of(values, edges), np.arange(len(values)) + 1)


@pytest.mark.parametrize("max_bins", [2, 3, 254, 255, 256, 257, 1000, 65_535])
def test_max_bins_and_the_width_of_codes(max_bins):
    rng = np.random.default_rng(0)
    X = rng.permutation(70_000).astype(np.float64)[:, None]
    mapper = fit(X, max_bins=max_bins)
    assert len(mapper.edges[0]) == max_bins - 1
    matrix = mapper.transform(as_columns(X))
    assert matrix.by_row.dtype == (np.uint8 if max_bins <= 255 else np.uint16)
    assert matrix.by_row.min() == 1 and matrix.by_row.max() == max_bins
    assert_codes(matrix, X, mapper)


def test_one_wide_feature_makes_all_codes_wide():
    X = np.column_stack([np.arange(1000.0), np.arange(1000) % 2])
    matrix = fit(X, max_bins=500).transform(as_columns(X))
    assert matrix.by_row.dtype == np.uint16
    assert matrix.n_codes.tolist() == [501, 3]


# ---- every dtype, every memory order ---------------------------------------------------------------------------------


@pytest.mark.parametrize("max_bins", [10, 255, 1000])
@pytest.mark.parametrize("dtype", REAL)
def test_every_dtype(dtype, max_bins):
    rng = np.random.default_rng(5)
    X = np.column_stack([random_column(dtype, 3000, rng) for _ in range(3)])
    assert X.dtype == np.dtype(dtype)
    mapper = fit(X, max_bins=max_bins)
    for j, edges in enumerate(mapper.edges):
        reference.assert_valid_edges(edges, X[:, j].astype(np.float64), max_bins)
    assert_codes(mapper.transform(as_columns(X)), X.astype(np.float64), mapper)


def test_every_half():
    halves = np.arange(65_536, dtype=np.uint16).view(np.float16)  # subnormals, infinities and all NaNs
    edges = np.unique(np.concatenate([np.linspace(-1e-6, 1e-6, 100), [-65504, 65504, 5.9604645e-08, 6.0975552e-05]]))
    mapper = BinMapper([edges])
    matrix = mapper.transform(as_columns(halves[:, None]))
    np.testing.assert_array_equal(matrix.by_row[:, 0], reference.codes_of(halves.astype(np.float64), edges))


@pytest.mark.parametrize("dtype", ["f2", "f4", "f8", "i2", "i8", "?"])
@pytest.mark.parametrize("order", ["C", "F", "strided", "negative", "read-only", "memmap", "unaligned", "columns"])
def test_every_memory_order(dtype, order, tmp_path):
    rng = np.random.default_rng(7)
    plain = np.ascontiguousarray(np.column_stack([random_column(dtype, 2500, rng) for _ in range(4)]))
    X = plain
    if order == "F":
        X = np.asfortranarray(plain)
    elif order == "strided":
        room = np.zeros((2 * plain.shape[0], 3 * plain.shape[1]), dtype=dtype)
        X = room[::2, ::3]
        X[:] = plain
    elif order == "negative":
        X = np.ascontiguousarray(plain[::-1, ::-1])[::-1, ::-1]
    elif order == "read-only":
        X = plain.copy()
        X.flags.writeable = False
    elif order == "memmap":
        plain.tofile(tmp_path / "table")
        X = np.memmap(tmp_path / "table", dtype=dtype, mode="r", shape=plain.shape)
    elif order == "unaligned":
        room = np.zeros(plain.nbytes + 1, dtype=np.uint8)
        X = room[1:].view(dtype).reshape(plain.shape)
        X[:] = plain
    columns = as_columns(X)
    if order == "columns":
        columns = Columns([plain[:, j] for j in range(4)], len(plain), None)
    mapper = BinMapper.fit(columns, max_bins=100)
    expected = fit(plain, max_bins=100)
    for a, b in zip(mapper.edges, expected.edges, strict=True):
        np.testing.assert_array_equal(a, b)
    assert_codes(mapper.transform(columns), plain.astype(np.float64), mapper)


@pytest.mark.parametrize("dtype", [">f8", ">f4", ">i2", "g", "q", "Q"])
def test_foreign_byte_order_longdouble_and_other_names_of_dtypes(dtype):
    X = np.random.default_rng(0).integers(0, 1000, (500, 2)).astype(dtype)
    mapper = fit(X, max_bins=50)
    assert_codes(mapper.transform(as_columns(X)), X.astype(np.float64), mapper)


def test_columns_of_different_dtypes():
    rng = np.random.default_rng(0)
    arrays = [random_column(dtype, 5000, rng) for dtype in REAL]
    columns = Columns(arrays, 5000, None)
    mapper = BinMapper.fit(columns, max_bins=255)
    matrix = mapper.transform(columns, n_threads=2)
    for j, array in enumerate(arrays):
        np.testing.assert_array_equal(matrix.by_row[:, j], reference.codes_of(array.astype(float), mapper.edges[j]))


def test_missing_constant_and_infinite_columns():
    X = np.full((50, 5), np.nan)
    X[:, 1] = 3.0
    X[::2, 2] = 3.0
    X[:, 3] = np.where(np.arange(50) % 2, np.inf, -np.inf)
    X[:20, 4] = np.inf
    mapper = fit(X)
    assert [len(e) for e in mapper.edges] == [0, 0, 0, 1, 0]
    matrix = mapper.transform(as_columns(X))
    assert_codes(matrix, X, mapper)
    assert (matrix.by_row[:, 0] == 0).all() and (matrix.by_row[:, 1] == 1).all()
    assert matrix.n_codes.tolist() == [2, 2, 2, 3, 2]


# ---- the search ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("n_edges", [0, 1, 2, 3, 7, 8, 9, 254, 255, 256, 1000])
@pytest.mark.parametrize("n_rows", [1, 15, 16, 17, 2047, 2048, 2049, 5000])
def test_search_is_searchsorted(n_edges, n_rows):
    rng = np.random.default_rng(n_edges * 7 + n_rows)
    edges = np.unique(rng.standard_normal(n_edges))
    x = rng.standard_normal(n_rows)
    x[rng.random(n_rows) < 0.1] = np.nan
    if n_edges:
        x[rng.random(n_rows) < 0.3] = rng.choice(edges)  # a value on an edge belongs to the bin below
    mapper = BinMapper([edges])
    expected = reference.codes_of(x, edges)
    np.testing.assert_array_equal(mapper.transform(as_columns(x[:, None])).by_row[:, 0], expected)
    x32 = x.astype(np.float32)
    got = mapper.transform(as_columns(x32[:, None])).by_row[:, 0]
    np.testing.assert_array_equal(got, reference.codes_of(x32.astype(np.float64), edges))
    np.testing.assert_array_equal(got, mapper.transform(as_columns(x32[:, None].astype(np.float64))).by_row[:, 0])


def test_float32_search_around_edges_that_no_float32_is():
    rng = np.random.default_rng(3)
    near = rng.standard_normal(300).astype(np.float32)
    edges = np.unique(
        np.concatenate(
            [
                near.astype(np.float64),
                np.nextafter(near.astype(np.float64), np.inf),
                np.nextafter(near.astype(np.float64), -np.inf),
                [1e300, -1e300, 1e-300, -1e-300, 3.5e38, -3.5e38, 1e-46, -1e-46, -np.inf],
            ]
        )
    )
    limits = np.finfo(np.float32)
    special = [np.inf, -np.inf, 0, -0.0, limits.max, limits.min, limits.tiny, -limits.tiny, 1e-45, -1e-45, np.nan]
    x = np.concatenate(
        [near, np.nextafter(near, np.float32(np.inf)), np.nextafter(near, -np.float32(np.inf)), special]
    ).astype(np.float32)
    mapper = BinMapper([edges])
    narrow = mapper.transform(as_columns(x[:, None])).by_row[:, 0]
    np.testing.assert_array_equal(narrow, mapper.transform(as_columns(x[:, None].astype(np.float64))).by_row[:, 0])
    np.testing.assert_array_equal(narrow, reference.codes_of(x, edges))


@pytest.mark.parametrize("n_threads", [1, 2, 3, 5])
def test_any_number_of_threads(n_threads):
    rng = np.random.default_rng(0)
    X = rng.standard_normal((30_000, 5)).astype(np.float32)
    X[rng.random(X.shape) < 0.05] = np.nan
    weight = rng.random(len(X)) + 0.5
    for options in ({}, {"weight": weight}):
        one, many = fit(X, **options), fit(X, n_threads=n_threads, **options)
        for a, b in zip(one.edges, many.edges, strict=True):
            np.testing.assert_array_equal(a, b)
    matrix = many.transform(as_columns(X), n_threads=n_threads)
    np.testing.assert_array_equal(matrix.by_row, one.transform(as_columns(X)).by_row)
    assert_codes(matrix, X, many)


@pytest.mark.parametrize("dtype", REAL)
def test_rows(dtype):
    rng = np.random.default_rng(0)
    X = np.column_stack([random_column(dtype, 6000, rng) for _ in range(2)])
    rows = rng.permutation(6000)[:4000]
    mapper = fit(X, rows=rows, max_bins=30)
    for a, b in zip(mapper.edges, fit(X[rows], max_bins=30).edges, strict=True):
        np.testing.assert_array_equal(a, b)
    assert_codes(mapper.transform(as_columns(X), rows=rows, n_threads=2), X.astype(np.float64), mapper, rows)


def test_no_rows():
    mapper = fit(np.arange(10.0)[:, None])
    assert mapper.transform(as_columns(np.empty((0, 1)), min_rows=0)).by_row.shape == (0, 1)
    assert mapper.transform(as_columns(np.zeros((3, 1))), rows=np.empty(0, dtype=np.int64)).n_rows == 0


def test_the_table_is_never_changed():
    rng = np.random.default_rng(0)
    X = np.asfortranarray(rng.standard_normal((2000, 3)))
    before = X.copy()
    fit(X, weight=rng.random(2000)).transform(as_columns(X))
    fit(X).transform(as_columns(X))
    np.testing.assert_array_equal(X, before)


# ---- long columns ----------------------------------------------------------------------------------------------------


def test_long_columns_are_sampled():
    X = np.random.default_rng(0).standard_normal((SAMPLE_ROWS + 50_000, 1)).astype(np.float32)
    edges = BinMapper.fit(as_columns(X)).edges[0]
    np.testing.assert_array_equal(edges, BinMapper.fit(as_columns(X[sample_rows(len(X))])).edges[0])
    assert not np.array_equal(edges, BinMapper.fit(as_columns(X[:SAMPLE_ROWS])).edges[0])
    mass = np.bincount(reference.codes_of(X[:, 0], edges))[1:] / len(X)
    assert len(mass) == 255 and mass.max() < 2 / 255 and mass.min() > 0.5 / 255


@pytest.mark.parametrize("order", ["C", "F"])
@pytest.mark.parametrize("dtype", ["f4", "i2", "f8"])
def test_no_copy_of_the_table(dtype, order):
    # numpy reports its allocations to tracemalloc; the edge tables and 2,048-row buffers of the loops are small
    X = np.asarray(np.random.default_rng(0).standard_normal((120_000, 40)) * 100, dtype=dtype, order=order)
    columns = as_columns(X)
    tracemalloc.start()
    try:
        mapper = BinMapper.fit(columns)
        assert tracemalloc.get_traced_memory()[1] < 40 * len(X)  # a few columns at a time
        tracemalloc.reset_peak()
        matrix = mapper.transform(columns)
        codes = matrix.by_column.nbytes
        assert tracemalloc.get_traced_memory()[1] < codes + 2_000_000
    finally:
        tracemalloc.stop()


def test_columns_are_made_one_by_one():
    # as those of frames are that have to be converted; one takes a fortieth of the table
    X = np.random.default_rng(0).standard_normal((40, 120_000))
    levels = np.random.default_rng(0).integers(-1, 9, 120_000, dtype=np.int32)

    def maker_of(column):
        return lambda rows=slice(None): column[rows].copy()

    makers = [maker_of(X[j] if j % 2 else levels) for j in range(40)]
    columns = Columns(makers, 120_000, None, (9, 0) * 20)
    tracemalloc.start()
    try:
        mapper = BinMapper.fit(columns)
        assert tracemalloc.get_traced_memory()[1] < X.nbytes / 10
        tracemalloc.reset_peak()
        matrix = mapper.transform(columns)
        assert tracemalloc.get_traced_memory()[1] < matrix.by_column.nbytes + X.nbytes / 10
    finally:
        tracemalloc.stop()
    at_once = mapper.transform(Columns([maker() for maker in makers], 120_000, None, (9, 0) * 20))
    np.testing.assert_array_equal(matrix.by_column, at_once.by_column)


# ---- categorical columns ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("n_levels", [1, 2, 254, 255, 60_000, 65_534])
@pytest.mark.parametrize("n_threads", [1, 2])
def test_levels_are_codes(n_levels, n_threads):
    rng = np.random.default_rng(n_levels)
    level = rng.integers(-1, n_levels, 5000).astype(np.int32)
    level[:4] = -1, 0, n_levels - 1, -5
    columns = Columns([level, rng.standard_normal(5000), level[::-1]], 5000, None, (n_levels, 0, n_levels))
    mapper = BinMapper.fit(columns, n_threads=n_threads)
    matrix = mapper.transform(columns, n_threads=n_threads)
    assert matrix.by_row.dtype == (np.uint8 if n_levels <= 254 else np.uint16)
    assert matrix.n_codes[0] == matrix.n_codes[2] == n_levels + 2
    assert matrix.categorical.tolist() == [True, False, True]
    expected = np.maximum(level, -1).astype(int) + 1
    np.testing.assert_array_equal(matrix.by_row[:, 0], expected)
    np.testing.assert_array_equal(matrix.by_column[2], expected[::-1])
    rows = rng.integers(0, 5000, 300)
    np.testing.assert_array_equal(mapper.transform(columns, rows=rows).by_row[:, 0], expected[rows])


def test_levels_that_come_later_have_one_code():
    mapper = BinMapper([np.empty(0)], (3,))
    level = np.array([-1, 0, 2, 3, 4, 2**31 - 1, -(2**31)], dtype=np.int32)
    matrix = mapper.transform(Columns([level], 7, None, (4,)))
    assert matrix.by_row[:, 0].tolist() == [0, 1, 3, 4, 4, 4, 0]
    assert matrix.n_codes.tolist() == [5]


def test_too_many_levels():
    columns = Columns([np.zeros(3, np.int32)] * 2, 3, ("a", "street"), (65_534, 65_535))
    with pytest.raises(ValueError, match=r"column 'street' has 65535 levels; .* at most 65534"):
        BinMapper.fit(columns)


def test_kinds_must_be_those_of_the_fit():
    level, number = np.zeros(3, np.int32), np.zeros(3)
    mapper = BinMapper.fit(Columns([level, number], 3, None, (2, 0)))
    with pytest.raises(ValueError, match="column 0 was categorical when the model was trained and is numeric here"):
        mapper.transform(Columns([level, number], 3, None))
    with pytest.raises(ValueError, match="column 1 was numeric when the model was trained and is categorical here"):
        mapper.transform(Columns([level, level], 3, None, (2, 2)))
    with pytest.raises(ValueError, match="column 0: levels must be int32, not float64"):
        mapper.transform(Columns([number, number], 3, None, (2, 0)))


def test_numeric_tables_have_no_categorical_feature():
    columns = as_columns(np.zeros((3, 2)))
    assert columns.n_levels is None
    assert BinMapper.fit(columns).transform(columns).categorical.tolist() == [False, False]
