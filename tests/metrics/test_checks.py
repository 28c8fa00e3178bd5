"""What metrics refuse: loops in C would read past the end of what is too short."""

import numpy as np
import pytest

from boostgrad.metrics import average_precision, concordance_index, mean_average_precision, ndcg, roc_auc

TIMES = np.column_stack([np.arange(1.0, 601), np.arange(1.0, 601)])
GRADES, SCORE = np.arange(600) % 4, np.arange(600.0)
POSITIVE = GRADES > 1
NAN = np.where(SCORE == 7, np.nan, SCORE)


@pytest.mark.parametrize("metric", [ndcg, mean_average_precision])
@pytest.mark.parametrize(
    "more, message",
    [
        ({"score": SCORE[:5]}, r"score must have the shape \(600,\). Got \(5,\) instead"),
        ({"score": NAN}, "score must not be NaN, which it is in row 7"),
        ({"score": SCORE[:, None]}, r"score must have the shape \(600,\). Got \(600, 1\) instead"),
        ({"score": ["a"] * 600}, "score must hold numbers"),
        ({"groups": np.arange(10)}, r"groups must have the shape \(600,\). Got \(10,\) instead"),
        ({"k": 0}, "k must be an integer >= 1, or None. Got 0 instead"),
        ({"k": -1}, "k must be an integer >= 1, or None. Got -1 instead"),
        ({"k": 2.5}, "k must be an integer >= 1, or None. Got 2.5 instead"),
        ({"sample_weight": np.ones(3)}, r"sample_weight must have the shape \(600,\)"),
        ({"sample_weight": -SCORE}, "sample_weight must be finite and not negative. Got -1.0 in row 1"),
        ({"relevance": []}, "relevance must have the shape"),
        ({"relevance": NAN}, "relevance must not be NaN, which it is in row 7"),
    ],
)
def test_queries(metric, more, message):
    assert 0 < metric(GRADES, SCORE, k=np.int64(10**9)) <= 1
    with pytest.raises(ValueError, match=message):
        metric(**{"relevance": GRADES, "score": SCORE} | more)


def test_numbers_of_any_kind():
    expected = ndcg(GRADES, SCORE)
    assert ndcg(GRADES.astype(object), SCORE.astype(object)) == ndcg(GRADES.tolist(), SCORE.astype(int)) == expected
    assert roc_auc(POSITIVE.tolist(), SCORE.tolist()) == roc_auc(POSITIVE, SCORE)
    with pytest.raises(ValueError, match="score must hold numbers"):
        ndcg(GRADES, SCORE + 1j)


def test_gains():
    with pytest.raises(ValueError, match="gain must be 'exponential' or 'linear'. Got 'foo' instead"):
        ndcg(GRADES, SCORE, gain="foo")
    with pytest.raises(ValueError, match="relevance must be finite and not negative. Got -1.0 in row 0"):
        ndcg([-1, 2], [1, 2])


@pytest.mark.parametrize(
    "arguments, message",
    [
        ((TIMES, SCORE[:5]), r"risk must have the shape \(600,\). Got \(5,\) instead"),
        ((TIMES, NAN), "risk must not be NaN, which it is in row 7"),
        ((TIMES, SCORE, np.ones(5)), r"sample_weight must have the shape \(600,\)"),
        ((TIMES[:, 0], SCORE), r"bounds must have the shape \(n_rows, 2\)"),
        ((TIMES * np.nan, SCORE), "column 0 of bounds must not be NaN"),
        ((TIMES[:0], SCORE[:0]), "column 0 of bounds must have the shape"),
    ],
)
def test_times(arguments, message):
    with pytest.raises(ValueError, match=message):
        concordance_index(*arguments)


@pytest.mark.parametrize("metric", [roc_auc, average_precision])
@pytest.mark.parametrize(
    "arguments, message",
    [
        ((POSITIVE, SCORE[:5]), r"positive must have the shape \(5,\), as score. Got \(600,\) instead"),
        ((POSITIVE, NAN), "score must not be NaN"),
        ((POSITIVE, SCORE, np.ones(5)), r"sample_weight must have the shape \(600,\)"),
        ((POSITIVE[:0], SCORE[:0]), "score must have the shape"),
    ],
)
def test_two_classes(metric, arguments, message):
    with pytest.raises(ValueError, match=message):
        metric(*arguments)
