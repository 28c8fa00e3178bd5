"""Models that know the conformity scores of rows they were not trained on: those that were held out, or others."""

from __future__ import annotations

import warnings
from collections.abc import Iterable
from numbers import Integral
from typing import Any, Self

import numpy as np
from sklearn.base import clone

from boostgrad import params
from boostgrad.conformal import ConformityScores
from boostgrad.data.containers import taken
from boostgrad.estimators.base import BoostGrad, check_target
from boostgrad.estimators.samples import Given, Samples
from boostgrad.inputs import checked_weight
from boostgrad.losses import Loss
from boostgrad.runtime import seed_of

SPLITTER = params.Having("a scikit-learn splitter", ("split", "get_n_splits"))


class CalibratedBoostGrad(BoostGrad):
    """What the faces with prediction intervals or prediction sets share."""

    conformity_scores_: tuple[ConformityScores, ...]

    def calibrate(
        self, X: Any, y: Any, sample_weight: Any = None, *, cv: Any = None, offset: Any = None, exposure: Any = None
    ) -> Self:
        columns = self._columns(X)
        n_rows = columns.n_rows
        fitted = self._target_attributes()
        weight = checked_weight(sample_weight, n_rows, "sample_weight")
        target = self._calibration_target(self._check_target(y, n_rows, "y"), weight, fitted)
        if cv is None:
            scores = self._row_scores(self._loss, target, self._raw(X, offset, exposure))
        else:
            Given(X, y, offset=offset, exposure=exposure).start(n_rows, self._loss)  # which checks all rows at once
            folds = self._folds(cv, target)
            given = {"sample_weight": sample_weight, "offset": offset, "exposure": exposure}
            given = {name: value for name, value in given.items() if value is not None}
            scores, rows = self._out_of_fold(folds, X, y, target, given)
            target, weight = target[rows], None if weight is None else weight[rows]
        self.conformity_scores_ = self._conformity(scores, target, weight, fitted)
        return self

    def _calibration_target(self, y: np.ndarray, weight: np.ndarray | None, fitted: dict[str, Any]) -> np.ndarray:
        """The target of all rows as training coded it; rows of weight 0 do not count, whatever they hold."""
        rows = None if weight is None or weight.all() else np.flatnonzero(weight)
        coded = self._encode_validation_target(y if rows is None else y[rows], fitted, "y", rows)
        check_target(self._loss, coded, rows, "y")
        if rows is None:
            return coded
        target = np.repeat(coded[:1], len(y), axis=0)
        target[rows] = coded
        return target

    def _out_of_fold(
        self,
        folds: Iterable[tuple[np.ndarray, np.ndarray]],
        X: Any,
        y: Any,
        target: np.ndarray,
        given: dict[str, Any],
    ) -> tuple[np.ndarray, np.ndarray]:
        """Scores of rows by models that were fitted to other rows, and which rows these are."""
        model = clone(self).set_params(n_estimators=self.n_iter_, early_stopping=False, callbacks=None, verbose=0)
        model.init = self.init  # one that is fitted stays fitted, as in fit; clone would forget what it learned
        if self.__dict__.get("init_") is self.init is not None:
            warnings.warn(
                "init was fitted before and is the same in all folds: where it was fitted to rows that this model is "
                "calibrated with, less is covered than is asked for. Give an init that is not fitted, or other rows.",
                stacklevel=4,  # the caller of calibrate
            )
        scores, rows = [], []
        for number, (train, test) in enumerate(folds):
            self._check_fold(number, target[train], given)
            model.fit(taken(X, train, "X"), taken(y, train, "y"), **_each(given, train))
            start = {name: value for name, value in given.items() if name != "sample_weight"}
            raw = model._raw(taken(X, test, "X"), **_each(start, test))
            scores.append(self._row_scores(model._loss, target[test], raw, model))
            rows.append(test)
        return _once(np.concatenate(scores, axis=1), np.concatenate(rows))

    def _folds(self, cv: Any, target: np.ndarray) -> Iterable[tuple[np.ndarray, np.ndarray]]:
        """Pairs of training and test rows."""
        from sklearn.model_selection import KFold, StratifiedKFold

        if SPLITTER.accepts(cv):
            return cv.split(np.zeros((len(target), 1)), None if target.ndim == 2 else target)
        if isinstance(cv, Iterable) and not isinstance(cv, str):
            folds = [_pair(number, pair, len(target)) for number, pair in enumerate(cv)]
            if not folds:
                raise ValueError(f"cv holds no pairs of rows to train on and to test with. Got {params.shown(cv)}.")
            return folds
        if not params.Number(Integral, 2, len(target)).accepts(cv):
            raise ValueError(
                "cv must be None, a number of folds from 2 to the number of rows, a scikit-learn splitter, or pairs of "
                f"numbers of rows to train on and to test with. Got {params.shown(cv)} instead."
            )
        seed = seed_of(self.random_state) % 2**32
        strata = self._fold_strata(target)
        if strata is not None and np.unique(strata, return_counts=True)[1].min() >= cv:
            return StratifiedKFold(cv, shuffle=True, random_state=seed).split(strata, strata)
        return KFold(cv, shuffle=True, random_state=seed).split(target)

    def _conformity(
        self, scores: np.ndarray, target: np.ndarray, weight: np.ndarray | None, fitted: dict[str, Any]
    ) -> tuple[ConformityScores, ...]:
        """From scores of shape (n_kinds, n_rows), NaN where a row has none."""
        several = []
        for of_kind in scores:
            there = ~np.isnan(of_kind)
            several.append(ConformityScores.of(of_kind[there], None if weight is None else weight[there]))
        return tuple(several)

    def _conformity_of(self, held_out, raw, loss, fitted):
        scores = self._row_scores(loss, held_out.y, raw)
        return self._conformity(scores, held_out.y, self._unbalanced(held_out, fitted), fitted)

    def _calibrated(self, method: str) -> tuple[ConformityScores, ...]:
        """The conformity scores.

        Raises
        ------
        ValueError
            If there are none; the message says how to get them.
        """
        if "conformity_scores_" not in self.__dict__:
            raise ValueError(
                f"{method} needs rows that the model was not trained on, and this one was fitted without any: fit it "
                "with early_stopping=True or validation data, or call calibrate(X, y) with other rows, or "
                "calibrate(X, y, cv=5) with the training rows."
            )
        return self.conformity_scores_

    # -- what the faces differ in -------------------------------------------------------------------------------------

    def _target_attributes(self) -> dict[str, Any]:
        """What ``_encode_target`` said of the training target, as far as ``_encode_validation_target`` needs it."""
        raise NotImplementedError

    def _row_scores(self, loss: Loss, target: np.ndarray, raw: np.ndarray, of: BoostGrad | None = None) -> np.ndarray:
        """Conformity scores, shape (n_kinds, n_rows). ``of`` is the model that predicted ``raw`` where it is not this
        one."""
        raise NotImplementedError

    def _unbalanced(self, samples: Samples, fitted: dict[str, Any]) -> np.ndarray | None:
        """The weights that fit was given, without what training made of them."""
        return samples.weight

    def _fold_strata(self, target: np.ndarray) -> np.ndarray | None:
        """What folds keep the shares of."""
        return None

    def _check_fold(self, number: int, target: np.ndarray, given: dict[str, Any]) -> None:
        """Whether a model can be fitted to the rows of a fold with these targets."""


def _pair(number: int, pair: Any, n_rows: int) -> tuple[np.ndarray, np.ndarray]:
    """Numbers of the rows to train on and to test with, given as such or as masks."""
    try:
        parts = tuple(np.asarray(part) for part in pair)
        good = len(parts) == 2
    except (TypeError, ValueError):
        good = False
    if not good:
        raise ValueError(
            f"cv, pair {number}, must be rows to train on and rows to test with. Got {params.shown(pair)}."
        )
    found = []
    for part, what in zip(parts, ("train on", "test with"), strict=True):
        if part.dtype == bool and part.shape == (n_rows,):
            part = np.flatnonzero(part)
        inside = part.dtype.kind in "iu" and part.ndim == 1 and len(part) and -n_rows <= part.min()
        if not (inside and part.max() < n_rows):
            raise ValueError(
                f"cv, pair {number}: the rows to {what} must be numbers of some of the {n_rows} rows, or a mask of "
                f"all. Got {params.shown(part)}."
            )
        found.append(part.astype(np.intp) % n_rows)
    return found[0], found[1]


def _once(scores: np.ndarray, rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Mean scores of rows that were in several folds: they do not count as so many."""
    each, of_row, counts = np.unique(rows, return_inverse=True, return_counts=True)
    if len(each) == len(rows):
        return scores, rows
    sums = np.stack([np.bincount(of_row, weights=of_kind, minlength=len(each)) for of_kind in scores])
    return sums / counts, each


def _each(given: dict[str, Any], rows: np.ndarray) -> dict[str, Any]:
    """Some rows of each; a number is that of all rows."""
    return {name: value if np.isscalar(value) else taken(value, rows, name) for name, value in given.items()}
