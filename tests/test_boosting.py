"""The boosting loop."""

from dataclasses import replace

import numpy as np
import pytest

from boostgrad import BoostGradRegressor
from boostgrad.boosting import Rows, train
from boostgrad.callbacks import Callback
from boostgrad.data.binning import BinMapper
from boostgrad.data.columns import as_columns
from boostgrad.losses import BinaryLogLoss, MultinomialLogLoss, SquaredError
from boostgrad.params import TreeParams
from boostgrad.tree.model import Ensemble
from boostgrad.tree.predictor import Predictor

LOSSES = [SquaredError(), BinaryLogLoss(), MultinomialLogLoss(3)]
PARAMS = TreeParams(min_samples_leaf=5, max_leaf_nodes=8, learning_rate=0.3)


class Data:
    """Training and validation rows, binned alike, with a target for the loss."""

    def __init__(self, loss, weighted=False):
        rng = np.random.default_rng(0)
        X = rng.normal(size=(400, 3))
        X[rng.random(X.shape) < 0.1] = np.nan
        score = np.nan_to_num(X[:, 0]) + np.nan_to_num(X[:, 1]) ** 2
        y = score if loss.name == "squared_error" else np.digitize(score, [1.0, 2.0][: max(1, loss.n_outputs - 1)])
        y, weight = y.astype(float), rng.random(400) + 0.1
        self.columns = as_columns(X)
        mapper = BinMapper.fit(as_columns(X[:300]), max_bins=63, n_threads=1)
        self.edges = mapper.edges
        parts = []
        for rows in (np.arange(300), np.arange(300, 400)):
            matrix = mapper.transform(self.columns, rows=rows, n_threads=1)
            parts.append(Rows(matrix, y[rows], weight[rows] if weighted else None))
        self.training, self.validation = parts


def ensemble(trained, loss):
    return Ensemble(trained.trees, trained.base_score, 3, None, loss.name, loss.parameters())


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("loss", LOSSES, ids=lambda loss: loss.name)
def test_scores_are_those_of_the_model(loss, weighted):
    data = Data(loss, weighted)
    trained = train(data.training, data.edges, loss, PARAMS, 10, validation=data.validation, n_threads=2)
    state = trained.state
    assert state.iteration == state.n_estimators == 10
    assert len(trained.trees) == 10 * loss.n_outputs
    assert [tree.output for tree in trained.trees] == list(range(loss.n_outputs)) * 10
    assert len(state.train_scores) == len(state.validation_scores) == 11
    assert np.all(np.diff(state.train_scores) > 0) and state.validation_scores[-1] > state.validation_scores[0]
    for n in (0, 4, 10):
        raw = Predictor(ensemble(trained, loss).first(n)).raw(data.columns, 1)
        for part, rows, score in (
            (data.training, slice(0, 300), state.train_scores[n]),
            (data.validation, slice(300, 400), state.validation_scores[n]),
        ):
            np.testing.assert_allclose(-score, loss.mean(part.y, raw[:, rows], part.weight), rtol=1e-10)


@pytest.mark.parametrize("loss", LOSSES, ids=lambda loss: loss.name)
def test_validation_changes_nothing(loss):
    data = Data(loss)
    plain = train(data.training, data.edges, loss, PARAMS, 5)
    watched = train(data.training, data.edges, loss, PARAMS, 5, validation=data.validation)
    assert plain.state.train_scores == plain.state.validation_scores == []
    for one, other in zip(plain.trees, watched.trees, strict=True):
        np.testing.assert_array_equal(one.leaf_value, other.leaf_value)
        np.testing.assert_array_equal(one.threshold, other.threshold)


def test_base_score_is_the_optimum_of_a_constant():
    data = Data(SquaredError(), weighted=True)
    trained = train(data.training, data.edges, SquaredError(), PARAMS, 1)
    np.testing.assert_allclose(trained.base_score, np.average(data.training.y, weights=data.training.weight))


class Recorder(Callback):
    def __init__(self, stop_at=None, error=None):
        self.stop_at = stop_at
        self.error = error
        self.calls = []

    def before_training(self, state):
        self.calls.append("before")

    def after_iteration(self, state):
        self.calls.append(state.iteration)
        if self.error is not None:
            raise self.error
        return state.iteration == self.stop_at

    def after_training(self, state):
        self.calls.append("end")


def test_any_callback_stops_and_all_are_called():
    data = Data(SquaredError())
    callbacks = [Recorder(), Recorder(stop_at=2), Recorder()]
    trained = train(data.training, data.edges, SquaredError(), PARAMS, 10, callbacks=callbacks)
    assert len(trained.trees) == trained.state.iteration == 2
    assert all(callback.calls == ["before", 1, 2, "end"] for callback in callbacks)


@pytest.mark.parametrize("error", [KeyboardInterrupt, ValueError])
def test_training_that_fails_ends_for_all_callbacks(error):
    data = Data(SquaredError())
    callbacks = [Recorder(), Recorder(error=error())]
    with pytest.raises(error):
        train(data.training, data.edges, SquaredError(), PARAMS, 10, callbacks=callbacks)
    assert all(callback.calls == ["before", 1, "end"] for callback in callbacks)


@pytest.mark.parametrize("bad, words", [(np.nan, "gradient of loss 'bad' is nan"), (-np.inf, "is -inf")])
def test_gradients_that_are_not_finite_are_named(bad, words):
    class Bad(SquaredError):
        name = "bad"

        def gradients(self, y, raw, weight, out, n_threads=1):
            gradient = raw[0] - y
            gradient[17] = bad
            out.fill(0, gradient, None)

    data = Data(SquaredError())
    with pytest.raises(ValueError, match=f"{words} at training row 17: y or sample_weight is too large"):
        train(data.training, data.edges, Bad(), PARAMS, 3)


@pytest.mark.parametrize("ours", [False, True])
def test_predictions_that_run_away_are_told_from_bad_targets(ours):
    """Of a loss whose hessian is too small, which a bound of the steps keeps finite."""

    class Steep(SquaredError):
        name = "steep"

        def gradients(self, y, raw, weight, out, n_threads=1):
            with np.errstate(over="ignore"):
                out.fill(0, np.sinh(raw[0] - y), None)

    Steep.ours = ours
    data = Data(SquaredError())
    hessian = "" if ours else ", or a larger hessian"
    words = rf"at training row \d+ in iteration [2-9]: .* learning_rate or .* max_delta_step{hessian}, keeps"
    with pytest.raises(ValueError, match=words):
        train(data.training, data.edges, Steep(), replace(PARAMS, learning_rate=20.0), 9)
    bounded = train(data.training, data.edges, Steep(), replace(PARAMS, learning_rate=20.0, max_delta_step=0.01), 9)
    assert len(bounded.trees) == 9


def test_a_mean_of_ones_own_need_not_know_of_threads():
    class Own(SquaredError):
        def mean(self, y, raw, weight):
            return float(np.mean(self.values(y, raw)))

    rng = np.random.default_rng(0)
    X = rng.random((200, 2))
    model = BoostGradRegressor(Own(), n_estimators=5, early_stopping=True, random_state=0).fit(X, X[:, 0])
    assert model.validation_score_[-1] > model.validation_score_[0]
