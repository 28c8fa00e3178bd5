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
        without validation data. Of several scores, the first ones.
    scoring : str
        What the scores are: "loss", or the name of the scorer.
    scores : dict of str to a tuple of two lists of float
        All scores of the training and of the validation rows by name, in the order of ``scoring`` of the estimator; the
        first are ``train_scores`` and ``validation_scores``.
    validation_raw : ndarray of float64, shape (n_outputs, n_rows), or None
        Raw predictions for the validation rows, which the next iteration changes: to be read.
    """

    n_estimators: int
    iteration: int = 0
    train_scores: list[float] = field(default_factory=list)
    validation_scores: list[float] = field(default_factory=list)
    scoring: str = "loss"
    scores: dict[str, tuple[list[float], list[float]]] = field(default_factory=dict)
    validation_raw: Any = None

    def add(self, scores: dict[str, tuple[float, float]]) -> None:
        """Keep the scores of one more iteration: by name, of the training and of the validation rows."""
        if not self.scores:
            self.scoring, *others = scores
            self.scores = {self.scoring: (self.train_scores, self.validation_scores), **{o: ([], []) for o in others}}
        for name, of_parts in scores.items():
            for kept, score in zip(self.scores[name], of_parts, strict=True):
                kept.append(score)

    @property
    def last_score(self) -> str:
        """The latest validation scores in words; empty where there are none."""
        last = [(name, of_validation[-1]) for name, (_, of_validation) in self.scores.items()]
        words = [f"{name} {-score if name == 'loss' else score:.6g}" for name, score in last]
        return f"validation {', '.join(words)}" if words else ""


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
        An improvement of no more than this share of what was gained so far, over the score before the first iteration
        (or the first one that is finite), does not count: so it does not matter in which unit scores are, nor where
        they begin. The first improvement counts however small it is, and any score is an improvement of one that is
        NaN.

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
        if undefined or score > best + self.tol * self._gained(scores):
            self.best_iteration = state.iteration
        return state.iteration - self.best_iteration >= self.n_iter_no_change

    def _gained(self, scores: list[float]) -> float:
        """By how much the best score is above the first one that is finite; 0 where the best one is not."""
        best = scores[self.best_iteration]
        return best - next(filter(math.isfinite, scores)) if math.isfinite(best) else 0.0


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
