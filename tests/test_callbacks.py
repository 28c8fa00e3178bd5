"""What happens between two iterations."""

import pickle
import sys

import numpy as np
import pytest
from sklearn.base import clone

from boostgrad import BoostGradRegressor
from boostgrad.callbacks import BestPredictions, Callback, EarlyStopping, IterationState, Progress

NAN, INF = float("nan"), float("inf")


def stopped_at(stopping, scores):
    """Iteration at which the callback stops, or None, when the validation scores are these."""
    state = IterationState(len(scores) - 1, validation_scores=scores[:1])
    stopping.before_training(state)
    for state.iteration in range(1, len(scores)):
        state.validation_scores = scores[: state.iteration + 1]
        if stopping.after_iteration(state):
            return state.iteration
    return None


@pytest.mark.parametrize(
    "scores, patience, tol, stop, best",
    [
        ([0, 1, 2, 3, 4], 2, 0, None, 4),
        ([0, 1, 2, 2, 2, 2], 2, 0, 4, 2),  # an equal score is no improvement
        ([0, -1, -2, -3], 3, 0, 3, 0),
        ([0, 1, 0.5, 1.5, 1, 1], 2, 0, 5, 3),
        ([0, 1, 1.05, 1.1, 1.15, 1.2], 3, 0.1, None, 4),  # small steps add up
        ([0, 0.1, 0.14], 1, 0.5, 2, 1),  # the first improvement counts, 0.04 is less than half of 0.1
        ([0, 1e-30, 1.1e-30, 1.2e-30, 1.3e-30], 1, 0.05, None, 4),
        ([1e9, 1e9 + 2, 1e9 + 3, 1e9 + 4], 1, 0.3, None, 3),
        ([0, NAN, NAN], 2, 0, 2, 0),
        ([NAN, NAN, -9, -8, -7.9, -7.8], 2, 0.5, 5, 3),  # gained since -9
        ([NAN, -INF, -9, -8, -7.9, -7.8], 2, 0.5, 5, 3),
        ([-INF, -INF, 3, 4, 4, 4], 2, 0, 5, 3),
        ([-INF, INF, INF, INF], 2, 0.1, 3, 1),
    ],
)
def test_early_stopping(scores, patience, tol, stop, best):
    stopping = EarlyStopping(patience, tol)
    for _ in range(2):  # a callback may be used again
        assert stopped_at(stopping, scores) == stop
        assert stopping.best_iteration == best


@pytest.mark.parametrize("unit", [2.0**-60, 1.0, 2.0**60])
@pytest.mark.parametrize("shift", [0.0, -1024.0, 1024.0])
def test_neither_unit_nor_shift_of_scores_matters(unit, shift, seed):
    """Of dyadic scores, so that products and sums are exact."""
    rng = np.random.default_rng(seed)
    scores = np.cumsum(rng.integers(-16, 24, 200) * 2.0 ** -rng.integers(0, 10, 200))
    moved = unit * (scores + shift)
    for tol in (0.0, 2.0**-7, 0.25):
        known, found = EarlyStopping(8, tol), EarlyStopping(8, tol)
        assert stopped_at(known, scores.tolist()) == stopped_at(found, moved.tolist())
        assert known.best_iteration == found.best_iteration


def test_early_stopping_without_scores_never_stops():
    stopping = EarlyStopping(1)
    state = IterationState(5, iteration=5)
    assert stopping.after_iteration(state) is False and stopping.best_iteration == 0


@pytest.mark.parametrize("scores, kept", [([0, 1, 3, 2, 1], 2), ([0, -1, -2, -3], 1), ([0, 1, 2, 3], 3)])
def test_predictions_of_the_best_iteration(scores, kept):
    stopping = EarlyStopping(5)
    best, last = BestPredictions(stopping), BestPredictions(None)
    for _ in range(2):
        state = IterationState(len(scores) - 1, validation_scores=scores, validation_raw=np.zeros((1, 2)))
        for callback in (stopping, best, last):
            callback.before_training(state)
        for state.iteration in range(1, len(scores)):
            state.validation_raw += 1.0  # in place, as the loop does
            assert not any([callback.after_iteration(state) for callback in (stopping, best, last)])
        assert best.raw.tolist() == [[kept, kept]] and (last.raw == len(scores) - 1).all()


def test_base_class_does_nothing():
    callback, state = Callback(), IterationState(3)
    assert callback.before_training(state) is None
    assert callback.after_iteration(state) is False
    assert callback.after_training(state) is None


def fit(**parameters):
    X = [[float(i)] for i in range(100)]
    return BoostGradRegressor(n_estimators=20, **parameters).fit(X, [float(i % 7) for i in range(100)])


class Recorder(Callback):
    def __init__(self, stop_at=None):
        self.calls = []
        self.stop_at = stop_at

    def before_training(self, state):
        self.calls.append(("before", state.iteration))

    def after_iteration(self, state):
        self.calls.append(("after", state.iteration))
        assert len(state.train_scores) == len(state.validation_scores)
        return state.iteration == self.stop_at

    def after_training(self, state):
        self.calls.append(("end", state.iteration))


def test_callbacks_of_an_estimator():
    first, second = Recorder(stop_at=3), Recorder()
    model = fit(callbacks=[first, second])
    assert model.n_iter_ == 3
    assert first.calls == second.calls == [("before", 0), ("after", 1), ("after", 2), ("after", 3), ("end", 3)]


def test_early_stopping_as_ones_own_callback():
    stopping = EarlyStopping(n_iter_no_change=2, tol=1e9)
    X = [[float(i)] for i in range(100)]
    model = BoostGradRegressor(early_stopping=False, callbacks=[stopping])
    model.fit(X, range(100), X_val=X, y_val=range(100))
    assert model.n_iter_ == 3 and stopping.best_iteration == 1


def test_progress_with_tqdm(capsys):
    pytest.importorskip("tqdm")
    fit(verbose=1, early_stopping=True)
    captured = capsys.readouterr()
    assert captured.out == "" and "boostgrad" in captured.err and "validation loss" in captured.err


def test_progress_without_tqdm(capsys, monkeypatch):
    monkeypatch.setitem(sys.modules, "tqdm", None)
    fit(verbose=1)
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 10 and lines[0] == "boostgrad: iteration 2 of 20" and lines[-1].endswith("20 of 20")
    fit(verbose=True, early_stopping=True, n_iter_no_change=100)
    assert "iteration 20 of 20 validation loss " in capsys.readouterr().err
    fit(verbose=0)
    assert capsys.readouterr().err == ""


def test_progress_can_be_copied_after_use():
    model = fit(callbacks=[Progress()])
    pickle.dumps(model)
    clone(model).fit([[1.0], [2.0]], [1.0, 2.0])


def test_progress_that_never_began_can_end():
    Progress().after_training(IterationState(3))
