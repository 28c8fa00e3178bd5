"""An estimator in the middle of its fit, for scorers that want to ask one."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np

from boostgrad.boosting import Current
from boostgrad.estimators.fitted import FittedState, PreparedOnce
from boostgrad.losses import Loss
from boostgrad.tree.model import Ensemble


class StandIn:
    """An estimator of the same class and parameters as the one that is fitted, with the trees that there are so far.

    For the table that is scored, the raw predictions that boosting has are its own, so whatever it predicts from them
    takes no walk through the trees; for any other table it predicts as an estimator does.

    Parameters
    ----------
    estimator : BoostGrad
        Is left as it is.
    ensemble : Ensemble
        With what does not change while trees are added.
    loss : Loss
    fitted : dict
        Attributes that the fit has found already.
    """

    def __init__(self, estimator: FittedState, ensemble: Ensemble, loss: Loss, fitted: dict[str, Any]):
        self._ensemble = ensemble
        self._model = object.__new__(type(estimator))
        own = {name: value for name, value in vars(estimator).items() if name not in estimator._FITTED}
        self._model.__dict__.update(own)
        scores = {"train_score_": np.empty(0), "validation_score_": np.empty(0)}
        self._model._set_fitted(ensemble, loss, {**scores, **fitted})
        self._model._raw = self._raw
        self._X: Any = None
        self._answer: np.ndarray | None = None

    def catch_up(self, current: Current, loss: Loss, more: dict[str, Any]) -> None:
        """Have the trees that there are now, and the loss and the attributes that are made of them."""
        model = self._model
        model.ensemble_ = replace(self._ensemble, trees=list(current.trees), base_score=current.base_score)
        model.n_iter_ = model.ensemble_.n_iterations
        model._predictor = PreparedOnce(model.ensemble_)
        model._loss = loss
        for name, value in more.items():
            setattr(model, name, value)

    def answering(self, X: Any, raw: np.ndarray) -> FittedState:
        """The estimator, whose raw predictions for this very X are these."""
        self._X, self._answer = X, raw
        return self._model

    def _raw(self, X: Any, offset: Any = None, exposure: Any = None) -> np.ndarray:
        if X is self._X and offset is None and exposure is None:
            return self._answer.copy()  # a scorer may write into what it gets
        return type(self._model)._raw(self._model, X, offset, exposure)
