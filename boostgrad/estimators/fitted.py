"""What an estimator is once it is fitted, and how that goes into files and pickles."""

from __future__ import annotations

import os
import sys
import warnings
from dataclasses import replace
from typing import Any, Self

import numpy as np
from sklearn.exceptions import NotFittedError

from boostgrad import conformal
from boostgrad.data.schema import TableSchema
from boostgrad.io import native
from boostgrad.losses import Loss, MultiOutput, get_loss, registered_losses
from boostgrad.losses.own import UNNAMED
from boostgrad.tree.model import Ensemble, Tree
from boostgrad.tree.predictor import Predictor


class PreparedOnce:
    """The predictor of an ensemble, made when it is first called for: a small fit takes less time than its tables."""

    def __init__(self, ensemble: Ensemble):
        self._ensemble = ensemble
        self._made: Predictor | None = None

    def __call__(self) -> Predictor:
        if self._made is None:
            self._made = Predictor(self._ensemble)  # two threads may both make one; they are the same
        return self._made


def ensemble_of(trees: list[Tree], base_score: np.ndarray, schema: TableSchema, loss: Loss) -> Ensemble:
    """The trees with what else a model needs."""
    return Ensemble(
        trees=trees,
        base_score=base_score,
        n_features=len(schema.features),
        feature_names=schema.feature_names,
        features=schema.features,
        loss=loss.name,
        loss_parameters=loss.parameters(),
    )


# Scores by name, where there are several.
SEVERAL_SCORES = ("train_scores_", "validation_scores_")


# What only a pickle holds.
NOT_IN_FILES = ("init_", "init_range_")


class FittedState:
    """The part of an estimator that holds the model."""

    # those of them that are arrays, which a file holds as they are
    _FITTED_ARRAYS: tuple[str, ...] = ("train_score_", "validation_score_")
    _FITTED: tuple[str, ...] = (
        "ensemble_",
        "n_features_in_",
        "feature_names_in_",
        "n_iter_",
        "classes_",
        "init_",
        "init_range_",
        "train_score_",
        "validation_score_",
        *SEVERAL_SCORES,
        "conformity_scores_",
        "_loss",
        "_schema",
        "_predictor",
    )

    def _set_fitted(self, ensemble: Ensemble, loss: Loss | None, more: dict[str, Any]) -> None:
        schema = TableSchema(ensemble.features, ensemble.input_names)
        for name in self._FITTED:
            self.__dict__.pop(name, None)
        self.ensemble_ = ensemble
        self.n_features_in_ = schema.n_inputs
        if schema.names is not None:
            self.feature_names_in_ = np.array(schema.names, dtype=object)
        self.n_iter_ = ensemble.n_iterations
        self._loss = loss
        self._schema = schema
        self._predictor = PreparedOnce(ensemble)
        for name, value in more.items():
            setattr(self, name, value)

    def __sklearn_is_fitted__(self) -> bool:
        return "ensemble_" in self.__dict__

    def _check_fitted(self) -> None:
        """As scikit-learn's check_is_fitted, which takes longer than a small prediction does."""
        if not self.__sklearn_is_fitted__():
            raise NotFittedError(
                f"This {type(self).__name__} instance is not fitted yet. Call 'fit' with appropriate arguments before "
                "using this estimator."
            )

    def _stored(self) -> dict[str, Any]:
        """The fitted state as the file format takes it, without what differs between a file and a pickle."""
        arrays = {name: getattr(self, name) for name in self._FITTED_ARRAYS}
        if "conformity_scores_" in self.__dict__:
            arrays |= conformal.packed(self.conformity_scores_)
        estimator = {"class": type(self).__name__}
        if SEVERAL_SCORES[0] in self.__dict__:  # their names are anything, and not all names can be those of arrays
            estimator["scores"] = list(self.train_scores_)
            arrays |= {name: np.array(list(getattr(self, name).values())) for name in SEVERAL_SCORES}
        return {"ensemble": self.ensemble_, "estimator": estimator, "arrays": arrays}

    def _restore(self, stored: native.StoredModel, classes: np.ndarray | None) -> None:
        more = {name: stored.arrays[name] for name in self._FITTED_ARRAYS if name in stored.arrays}
        if set(conformal.PACKED) <= stored.arrays.keys():
            more["conformity_scores_"] = conformal.unpacked(stored.arrays)
        names = stored.estimator.get("scores")
        if names is not None and set(SEVERAL_SCORES) <= stored.arrays.keys():
            more |= {name: dict(zip(names, stored.arrays[name], strict=True)) for name in SEVERAL_SCORES}
        if classes is not None:
            more["classes_"] = classes
        self._set_fitted(stored.ensemble, get_loss(stored.ensemble.loss, **stored.ensemble.loss_parameters), more)

    def __getstate__(self):
        state = dict(super().__getstate__())
        state.pop("_raw", None)  # of a stand-in, which answers in the middle of a fit
        if "ensemble_" in state and self._loss_is_registered() and native.holds_levels(self.ensemble_):
            for name in self._FITTED:
                if name not in ("classes_", *NOT_IN_FILES):  # labels may be of any type, and pickle takes any
                    state.pop(name, None)
            state["_stored_model"] = native.dump_bytes(**self._stored())
        elif (
            "ensemble_" in state
        ):  # a loss or levels of one's own: pickle knows where their classes are, a file does not
            state.pop("_predictor")
        return state

    def __setstate__(self, state):
        # text as Python has it in its own code, so that what is pickled again has the same bytes
        state = {name: sys.intern(value) if type(value) is str else value for name, value in state.items()}
        stored = state.pop("_stored_model", None)
        super().__setstate__(state)
        if stored is not None:
            self._restore(native.load_bytes(stored, "the pickled model"), state.get("classes_"))
            for name in NOT_IN_FILES:
                if name in state:
                    setattr(self, name, state[name])
        elif "ensemble_" in self.__dict__:
            self._predictor = PreparedOnce(self.ensemble_)

    def _loss_is_registered(self) -> bool:
        return registered_losses().get(self._loss.name) is type(self._loss)

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the model to one file, whole or not at all.

        The file holds numbers and names only: loading it runs no code from it. Parameters that are objects
        (callbacks, a scorer, a splitter, a RandomState) are not in it. Neither is a loss without a registered name: a
        warning says so, and the model that is loaded predicts raw values.

        Parameters
        ----------
        path : str or path-like

        Raises
        ------
        NotFittedError
            If the estimator is not fitted.
        ValueError
            If boosting started from an estimator, ``init``.
        TypeError
            If class labels, or levels of a category, are neither numbers, bools nor strings.
        """
        self._check_fitted()
        if "init_" in self.__dict__:
            raise ValueError("a file cannot hold the estimator that init started from; use pickle")
        stored = self._stored()
        if not self._loss_is_registered():
            warnings.warn(
                f"loss {type(self._loss).__name__} has no registered name by which a file could refer to it: the file "
                f"holds {UNNAMED!r} in its place, and the model that is loaded from it predicts raw values; register "
                "it with boostgrad.losses.register, or use pickle",
                stacklevel=2,
            )
            was = {"n_outputs": self._loss.n_outputs, "was": repr(self._loss)}
            stored["ensemble"] = replace(self.ensemble_, loss=UNNAMED, loss_parameters=was)
        plain = {name: _plain(value) for name, value in self.get_params(deep=False).items()}
        stored["estimator"]["parameters"] = {name: value for name, value in plain.items() if value is not _NOT_PLAIN}
        classes = getattr(self, "classes_", None)
        if classes is not None and classes.dtype.kind == "O":
            stored["estimator"]["object_classes"] = classes.tolist()  # all of them are strings
        elif classes is not None:
            stored["arrays"]["classes_"] = classes
        native.save(path, **stored)

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> Self:
        """Read a model that :meth:`save` wrote.

        Parameters
        ----------
        path : str or path-like

        Returns
        -------
        BoostGradRegressor or BoostGradClassifier

        Raises
        ------
        boostgrad.io.native.ModelFormatError
            If the file is truncated, altered or not a boostgrad model (a ValueError).
        ValueError
            If the file holds a model of another class.
        """
        stored = native.load(path)
        if stored.estimator.get("class") != cls.__name__:
            raise ValueError(
                f"{str(path)!r} holds a {stored.estimator.get('class', 'bare ensemble')}, not a {cls.__name__}"
            )
        classes = stored.arrays.get("classes_")
        if "object_classes" in stored.estimator:
            classes = np.array(stored.estimator["object_classes"], dtype=object)
        values = {name: _from_plain(value) for name, value in stored.estimator.get("parameters", {}).items()}
        model = cls(**{name: values[name] for name in cls._get_param_names() if name in values})
        model._restore(stored, classes)
        if "loss" not in values:  # it was an object, which fit may have repeated for several targets
            model.loss = model._loss.loss if isinstance(model._loss, MultiOutput) else model._loss
        return model


_NOT_PLAIN = object()

# What a file holds the keys and values of a dict under.
_ITEMS = "items"


def _plain(value: Any) -> Any:
    """The value as JSON holds it, or _NOT_PLAIN."""
    if isinstance(value, np.generic | np.ndarray):
        value = value.tolist()
    if isinstance(value, list | tuple):
        items = [_plain(item) for item in value]
        return _NOT_PLAIN if any(item is _NOT_PLAIN for item in items) else items
    if isinstance(value, dict):  # whose keys need not be text
        items = [[_plain(key), _plain(of_key)] for key, of_key in value.items()]
        return _NOT_PLAIN if any(part is _NOT_PLAIN for item in items for part in item) else {_ITEMS: items}
    return value if value is None or isinstance(value, bool | int | float | str) else _NOT_PLAIN


def _from_plain(value: Any) -> Any:
    """The way back from :func:`_plain`."""
    if isinstance(value, list):
        return [_from_plain(item) for item in value]
    return {key: _from_plain(of_key) for key, of_key in value[_ITEMS]} if isinstance(value, dict) else value
