"""Losses of queries: against a numpy twin, finite differences where the loss is one, and invariances."""

import numpy as np
import pytest
import reference
from scipy import special, stats

from boostgrad import native
from boostgrad.losses import CrossEntropyNDCG, LambdaRank, Pairwise, RankMAP, YetiRank, get_loss, losses_of

SIZES = [1, 2, 7, 8, 9, 10, 17, 33, 64, 65, 130, 1, 300]


def problem(seed=0, sizes=SIZES, levels=5):
    """Relevance, scores and groups whose rows lie scattered."""
    rng = np.random.default_rng(seed)
    groups = rng.permutation(np.repeat(np.arange(len(sizes)), sizes))
    relevance = rng.integers(0, levels, len(groups)).astype(float)
    return relevance, rng.standard_normal((1, len(groups))), groups


def derivatives(loss, y, raw, groups, weight=None, n_threads=1):
    pairs = loss.pairs(len(y), weighted=weight is not None)
    pairs.largest[:] = 0
    loss.gradients(loss.prepare(y, weight, groups), raw, weight, pairs, n_threads)
    return pairs


LOSSES = [
    LambdaRank(),
    LambdaRank(truncation=5, label_gain="linear", normalise=False),
    LambdaRank(truncation=None, steepness=2.0),
    LambdaRank(label_gain=[0, 1, 3, 4, 20]),
    RankMAP(),
    RankMAP(truncation=3, normalise=False),
    Pairwise(),
    CrossEntropyNDCG(),
    YetiRank(),
    YetiRank(draws=7, decay=0.5, noise=3.0),
]
OF_PAIRS = [loss for loss in LOSSES if loss.kind in ("ndcg", "map", "pairs")]
each_loss = pytest.mark.parametrize("loss", LOSSES, ids=lambda loss: f"{loss.name}-{LOSSES.index(loss)}")


def test_all_are_here():
    assert set(losses_of("queries")) == {loss.name for loss in LOSSES}


@pytest.mark.parametrize("loss", OF_PAIRS, ids=lambda loss: f"{loss.name}-{LOSSES.index(loss)}")
def test_pairs_are_those_of_the_twin(loss):
    y, raw, groups = problem()
    pairs = derivatives(loss, y, raw, groups).pairs[0]
    options = {"top": None, "steepness": 1.0, "by_gap": False, "normalise": False} | loss.options()
    for query in range(len(SIZES)):
        rows = np.flatnonzero(groups == query)
        gains = loss.gains(y[rows])
        if loss.kind == "ndcg":
            best = np.sort(gains)[::-1][: options["top"]]
            dcg = (best / np.log2(np.arange(len(best)) + 2.0)).sum()
            factor = 1 / dcg if dcg > 0 else 0.0
        else:
            factor = 1 / len(rows)
        if len(np.unique(gains)) < 2:
            factor = 0.0
        expected = reference.ranked_pairs(raw[0, rows], gains, loss.kind, factor=factor, **options)
        np.testing.assert_allclose(pairs[rows].T, expected, rtol=1e-9, atol=1e-13)


@pytest.mark.parametrize("loss", [YetiRank(), YetiRank(draws=7, decay=0.5, noise=3.0)], ids=repr)
def test_neighbours_are_those_of_the_twin(loss):
    y, raw, groups = problem()
    target, pairs, options = loss.prepare(y, None, groups), loss.pairs(len(y), weighted=False), loss.options()
    for turn in range(3):
        loss.gradients(target, raw, None, pairs)
        for query in range(len(SIZES)):
            rows = np.flatnonzero(groups == query)
            rows = rows[np.argsort(y[rows], kind="stable")]
            expected = reference.neighbours(
                raw[0, rows], y[rows], query, turn, loss.draws, loss.decay, options["noise"]
            )
            np.testing.assert_allclose(pairs.pairs[0, rows].T, expected, rtol=1e-9, atol=1e-13)


def test_noise_of_neighbours_is_logistic_and_drawn_anew_for_each_tree():
    loss = YetiRank(draws=1000, decay=0.99, noise=2.0)
    noise = loss.options()["noise"]
    assert stats.kstest(noise, stats.logistic(scale=2.0).cdf).pvalue > 0.99
    # of two rows the better one is first as often as the distribution of the difference of two such numbers says;
    # either way round they are neighbours, and the gradient is the slope of the logistic loss
    y, raw, groups = np.array([1.0, 0.0]), np.array([[0.3, 0.0]]), np.zeros(2, int)
    pairs = derivatives(loss, y, raw, groups).pairs[0]
    np.testing.assert_allclose(pairs, [[-special.expit(-0.3), 0.5], [special.expit(-0.3), 0.5]], rtol=1e-12)
    # rows that all are equally good as far as the scores know: each is beside each equally often
    y, groups = np.r_[1.0, np.zeros(4)], np.zeros(5, int)
    target, found = loss.prepare(y, None, groups), []
    for _ in range(20):
        pairs = loss.pairs(5, weighted=False)
        loss.gradients(target, np.zeros((1, 5)), None, pairs)
        found.append(pairs.pairs[0, 1:, 0].copy())
    found = np.array(found)
    assert len(np.unique(found[:, 0])) > 10
    assert np.abs(found.mean(axis=0) / found.mean() - 1).max() < 0.05


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"draws": 0}, "draws of YetiRank must be an integer in"),
        ({"draws": 2.5}, "draws of YetiRank"),
        ({"draws": "a"}, "draws of YetiRank"),
        ({"decay": 1.0}, r"decay of YetiRank must be a number in \(0, 1\)"),
        ({"decay": "a"}, "decay of YetiRank"),
        ({"noise": 0}, "noise of YetiRank must be a number in"),
    ],
)
def test_parameters_of_neighbours_are_checked(arguments, message):
    with pytest.raises(ValueError, match=message):
        YetiRank(**arguments)


@pytest.mark.parametrize("loss", [Pairwise(), CrossEntropyNDCG()], ids=lambda loss: loss.name)
def test_gradients_are_the_slope_of_the_values(loss):
    y, raw, groups = problem(sizes=[1, 2, 9, 30])
    target = loss.prepare(y, None, groups)
    pairs = derivatives(loss, y, raw, groups).pairs[0]
    for row in range(len(y)):
        up, down = raw.copy(), raw.copy()
        up[0, row] += 1e-4
        down[0, row] -= 1e-4
        at, above, below = (loss.values(target, r).sum() for r in (raw, up, down))
        assert pairs[row, 0] == pytest.approx((above - below) / 2e-4, abs=1e-7)
        assert pairs[row, 1] == pytest.approx((above - 2 * at + below) / 1e-8, abs=1e-5)


def test_cross_entropy_is_scipys():
    y, raw, groups = problem(sizes=[12])
    gains = 2**y - 0.5
    expected = -(gains / gains.sum()) @ special.log_softmax(raw[0])
    loss = CrossEntropyNDCG()
    assert loss.values(loss.prepare(y, None, groups), raw) == pytest.approx([expected])


@each_loss
def test_gradients_of_a_query_cancel_and_a_shift_changes_nothing(loss):
    y, raw, groups = problem()
    pairs = derivatives(loss, y, raw, groups).pairs[0]
    np.testing.assert_allclose(np.bincount(groups, pairs[:, 0]), 0, atol=1e-12)
    assert (pairs[:, 1] >= 0).all()
    shifted = derivatives(loss, y, raw + groups * 0.25, groups).pairs[0]
    np.testing.assert_allclose(shifted, pairs, rtol=1e-7, atol=1e-12)


@each_loss
def test_order_and_names_of_queries_and_rows_do_not_matter(loss):
    y, raw, groups = problem()
    pairs = derivatives(loss, y, raw, groups).pairs[0]
    order = np.random.default_rng(1).permutation(len(y))
    # of neighbours, the number of a query among the others is one of the things that decide on its noise
    names = 3 * groups - 100 if loss.kind == "neighbours" else 100 - 3 * groups
    moved = derivatives(loss, y[order], np.ascontiguousarray(raw[:, order]), names[order]).pairs[0]
    np.testing.assert_allclose(moved, pairs[order], rtol=1e-12, atol=1e-15)
    target, again = loss.prepare(y, None, groups), loss.prepare(y[order], None, names[order])
    assert loss.mean(target, raw, None) == pytest.approx(
        loss.mean(again, np.ascontiguousarray(raw[:, order]), None), rel=1e-12
    )


@each_loss
@pytest.mark.parametrize("weighted", [False, True])
def test_threads_and_instruction_sets_change_no_byte(loss, weighted):
    y, raw, groups = problem(sizes=SIZES * 12)
    raw[0, ::3] = np.round(raw[0, ::3])  # ties
    weight = np.random.default_rng(2).random(len(y)) + 0.1 if weighted else None
    one = derivatives(loss, y, raw, groups, weight)
    for n_threads in (2, 3, 5):
        many = derivatives(loss, y, raw, groups, weight, n_threads)
        assert many.pairs.tobytes() == one.pairs.tobytes() and many.largest.tobytes() == one.largest.tobytes()
    used = native.isa()
    try:
        for isa in native.available_isas():
            native.use_isa(isa)
            assert derivatives(loss, y, raw, groups, weight).pairs.tobytes() == one.pairs.tobytes()
    finally:
        native.use_isa(used)
    np.testing.assert_array_equal(one.largest[0], np.abs(one.pairs[0]).max(axis=0))


@each_loss
def test_weights_multiply(loss):
    y, raw, groups = problem()
    weight = np.random.default_rng(2).random(len(y)) + 0.1
    plain, weighted = (derivatives(loss, y, raw, groups, w).pairs[0] for w in (None, weight))
    np.testing.assert_allclose(weighted, plain * weight[:, None], rtol=1e-12)
    of_query = np.random.default_rng(3).random(len(SIZES))
    target = loss.prepare(y, of_query[groups], groups)
    assert loss.mean(target, raw, of_query[groups]) == pytest.approx(
        np.average(loss.values(target, raw), weights=of_query)
    )


@each_loss
def test_queries_that_say_nothing(loss):
    groups = np.array([0, 1, 1, 1, 2, 2])
    y = np.array([3.0, 2, 2, 2, 0, 0])
    pairs = derivatives(loss, y, np.arange(6.0)[None, :], groups).pairs
    assert not pairs.any()
    assert loss.mean(loss.prepare(y, None, groups), np.arange(6.0)[None, :], None) == 0
    assert loss.init_raw(loss.prepare(y, None, groups), None).tolist() == [0.0]


@each_loss
@pytest.mark.parametrize("size", [40.0, 800.0, 1e8])
def test_extreme_scores(loss, size):
    y, raw, groups = problem()
    raw = np.where(raw > 0, size, -size)
    pairs = derivatives(loss, y, raw, groups)
    assert np.isfinite(pairs.pairs).all() and (pairs.pairs[0, :, 1] >= 0).all()
    assert np.isfinite(loss.mean(loss.prepare(y, None, groups), raw, None))


@each_loss
def test_scores_that_are_not_finite_are_noticed(loss):
    y, raw, groups = problem()
    for bad in (np.nan, np.inf, -np.inf):
        raw[0, np.flatnonzero(groups == 4)[2]] = bad
        assert np.isnan(derivatives(loss, y, raw, groups).largest).any()
        assert np.isnan(loss.mean(loss.prepare(y, None, groups), raw, None))


@each_loss
def test_parameters_make_the_same_loss(loss):
    assert get_loss(loss.name, **loss.parameters()).parameters() == loss.parameters()


def test_map_is_one_minus_average_precision():
    y, raw, groups = problem(levels=2)
    values = RankMAP().values(RankMAP().prepare(y, None, groups), raw)
    for query in range(len(SIZES)):
        rows = np.flatnonzero(groups == query)
        if 0 < y[rows].sum() < len(rows):
            expected = 1 - reference.average_precision(y[rows][np.argsort(-raw[0, rows])])
            assert values[query] == pytest.approx(expected)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"truncation": 0}, "truncation must be an integer >= 1"),
        ({"truncation": 1.5}, "truncation must be"),
        ({"label_gain": "cubic"}, "label_gain must be 'exponential'"),
        ({"label_gain": [2, 1]}, "ascending"),
        ({"truncation": "a"}, "truncation must be"),
        ({"truncation": np.nan}, "truncation must be"),
        ({"truncation": np.inf}, "truncation must be"),
        ({"label_gain": None}, "label_gain must be 'exponential'"),
        ({"label_gain": ["a"]}, "label_gain must be 'exponential'"),
        ({"label_gain": []}, "label_gain must be 'exponential'"),
        ({"label_gain": [0, np.nan]}, "ascending"),
        ({"label_gain": [0, np.inf]}, "ascending"),
        ({"steepness": 0}, "steepness of LambdaRank must be a number in"),
        ({"steepness": "a"}, "steepness of LambdaRank must be a number in"),
    ],
)
def test_bad_parameters(arguments, message):
    with pytest.raises(ValueError, match=message):
        LambdaRank(**arguments)


def test_bad_relevances_name_their_row():
    with pytest.raises(ValueError, match="at least 0; row 1 has -1"):
        LambdaRank().check_target(np.array([0.0, -1]))
    with pytest.raises(ValueError, match="at most 31; row 0 has 32"):
        LambdaRank().check_target(np.array([32.0, 1]))
    with pytest.raises(ValueError, match="at most 31; row 0 has 32"):
        CrossEntropyNDCG().check_target(np.array([32.0, 1]))
    with pytest.raises(ValueError, match="label_gain has 2 entries.*row 1 has 2"):
        LambdaRank(label_gain=[0, 1]).check_target(np.array([1.0, 2]))
    LambdaRank(label_gain="linear").check_target(np.array([1e5, 0.5]))
