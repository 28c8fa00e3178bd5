"""What may happen between two iterations: early stopping, progress, records of one's own."""

from __future__ import annotations

import math
import sys
from dataclasses import dataclass, field
from typing import Any


@dataclass
class IterationState:
    """What a callback sees.

    Attributes
    ----------
    n_estimators : int
        Iterations at most.
    iteration : int
        Iterations done.
    train_scores, validation_scores : list of float
        Negative mean losses, or what ``scoring`` says, after 0, 1, ... iterations: the higher, the better. Empty
        without validation data.
    scoring : str
        What the scores are: "loss", or the name of the scorer.
    validation_raw : ndarray of float64, shape (n_outputs, n_rows), or None
        Raw predictions for the validation rows, which the next iteration changes: to be read.
    """

    n_estimators: int
    iteration: int = 0
    train_scores: list[float] = field(default_factory=list)
    validation_scores: list[float] = field(default_factory=list)
    scoring: str = "loss"
    validation_raw: Any = None

    def add(self, train_score: float, validation_score: float) -> None:
        """Keep the scores of one more iteration."""
        self.train_scores.append(train_score)
        self.validation_scores.append(validation_score)

    @property
    def last_score(self) -> str:
        """The latest validation score in words; empty where there is none."""
        if not self.validation_scores:
            return ""
        sign = -1 if self.scoring == "loss" else 1
        return f"validation {self.scoring} {sign * self.validation_scores[-1]:.6g}"


class Callback:
    """Base of all callbacks; every method may be left as it is."""

    def before_training(self, state: IterationState) -> None:
        """Called once, before the first iteration."""

    def after_iteration(self, state: IterationState) -> bool:
        """Called after each iteration; True stops the training."""
        return False

    def after_training(self, state: IterationState) -> None:
        """Called once at the end, also when training ends by an exception or Ctrl-C."""


class EarlyStopping(Callback):
    """Stop after some iterations without improvement of the validation score.

    Parameters
    ----------
    n_iter_no_change : int
    tol : float
        An improvement of no more than this does not count. Any score is an improvement of one that is NaN.

    Attributes
    ----------
    best_iteration : int
        Iterations up to the last improvement that counted.
    """

    def __init__(self, n_iter_no_change: int = 10, tol: float = 1e-7):
        self.n_iter_no_change = n_iter_no_change
        self.tol = tol
        self.best_iteration = 0

    def before_training(self, state):
        self.best_iteration = 0

    def after_iteration(self, state):
        scores = state.validation_scores
        if not scores:
            return False
        score, best = scores[state.iteration], scores[self.best_iteration]
        undefined = math.isnan(best) and not math.isnan(score)  # a correlation is, as long as predictions are constant
        if undefined or score > best + self.tol:
            self.best_iteration = state.iteration
        return state.iteration - self.best_iteration >= self.n_iter_no_change


class BestPredictions(Callback):
    """Keep the raw predictions for the validation rows that the model up to the best iteration gives.

    Parameters
    ----------
    stopping : EarlyStopping or None
        A callback before this one. None: the last iteration is the best.

    Attributes
    ----------
    raw : ndarray of float64, shape (n_outputs, n_rows), or None
    """

    def __init__(self, stopping: EarlyStopping | None):
        self.stopping = stopping
        self.raw: Any = None

    def before_training(self, state):
        self.raw = None

    def after_iteration(self, state):
        if self.stopping is None or state.validation_raw is None:
            self.raw = state.validation_raw
        elif self.raw is None:
            self.raw = state.validation_raw.copy()
        elif self.stopping.best_iteration == state.iteration:
            self.raw[:] = state.validation_raw
        return False


class Progress(Callback):
    """A progress bar on stderr: tqdm's where it is installed, else a line for every tenth of the way."""

    _bar = None

    def before_training(self, state):
        try:
            from tqdm import tqdm
        except ImportError:
            pass
        else:
            self._bar = tqdm(total=state.n_estimators, desc="boostgrad", unit="iteration", file=sys.stderr)

    def after_iteration(self, state):
        words = state.last_score
        if self._bar is not None:
            self._bar.set_postfix_str(words, refresh=False)
            self._bar.update()
        elif state.iteration % max(1, state.n_estimators // 10) == 0:
            print(f"boostgrad: iteration {state.iteration} of {state.n_estimators} {words}".rstrip(), file=sys.stderr)
        return False

    def after_training(self, state):
        if self._bar is not None:
            self._bar.close()
            self._bar = None  # a closed one could not be pickled
