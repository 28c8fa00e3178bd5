"""The scikit-learn faces: check what comes in, bin it, boost, and keep the ensemble."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import fields
from typing import Any, Self

import numpy as np
from sklearn.base import BaseEstimator
from sklearn.exceptions import NotFittedError

from boostgrad import params as parameters
from boostgrad.boosting import Rows, train
from boostgrad.callbacks import EarlyStopping, Progress
from boostgrad.data.binning import BinMapper
from boostgrad.data.columns import Columns, as_columns
from boostgrad.data.schema import TableSchema
from boostgrad.inputs import (
    checked_weight,
    smallest,
    weights_of,
)
from boostgrad.io import native
from boostgrad.losses import Loss, get_loss, registered_losses
from boostgrad.params import TreeParams
from boostgrad.runtime import effective_threads, seed_of, stream
from boostgrad.tree.model import Ensemble
from boostgrad.tree.predictor import Predictor
from boostgrad.tree.row_predictor import RowPredictor

# Early stopping "auto" is on above this many rows.
AUTO_EARLY_STOPPING_ROWS = 10_000

# Fewer rows are predicted by one thread.
SERIAL_ROWS = 1024


class PreparedOnce:
    """The predictor of an ensemble, made when it is first called for: a small fit takes less time than its tables."""

    def __init__(self, ensemble: Ensemble):
        self._ensemble = ensemble
        self._made: Predictor | None = None

    def __call__(self) -> Predictor:
        if self._made is None:
            self._made = Predictor(self._ensemble)  # two threads may both make one; they are the same
        return self._made


class BoostGrad(BaseEstimator):
    """What all faces share."""

    def _keep(self, arguments: dict[str, Any]) -> None:
        """Store the arguments of the constructor as they are, as scikit-learn asks for."""
        for name in self._get_param_names():
            setattr(self, name, arguments[name])

    # -- fit ----------------------------------------------------------------------------------------------------------

    def fit(
        self,
        X: Any,
        y: Any,
        sample_weight: Any = None,
        *,
        X_val: Any = None,
        y_val: Any = None,
        sample_weight_val: Any = None,
    ) -> Self:
        """Fit the model.

        Parameters
        ----------
        X : array-like or data frame of shape (n_samples, n_features)
            A numpy array, lists of rows, or a data frame of pandas, polars, pyarrow or another library that narwhals or
            the Arrow PyCapsule interface can read, or a sparse matrix or array of scipy, in which what is not stored
            is 0. Columns of numbers, bools, text, categories, dates and durations;
            NaN, None and the missing values of the container are missing, infinities are numbers. It is read column by
            column and never copied as a whole.
        y : array-like, series or one-column data frame of shape (n_samples,)
            Target: finite numbers for a regressor, labels of any kind for a classifier.
        sample_weight : array-like of shape (n_samples,), default=None
            Weights, not negative; a row of weight 0 is as if it were not there, one of weight 2 as if it were there
            twice (but for ``min_samples_leaf``, which counts rows).
        X_val, y_val, sample_weight_val : as X, y, sample_weight, default=None
            Validation data for early stopping, in place of a part of X.

        Returns
        -------
        self

        Raises
        ------
        ValueError
            If a parameter, or something in the data, is not what is accepted; the message says what and where. The
            estimator stays as it was.
        """
        self._check_parameters()
        columns = as_columns(X)
        given_y, y = y, self._check_target(y, columns.n_rows, "y")
        weight = checked_weight(sample_weight, columns.n_rows, "sample_weight")
        if (X_val is None) != (y_val is None):
            raise ValueError("X_val and y_val must be given together.")
        if sample_weight_val is not None and X_val is None:
            raise ValueError("sample_weight_val needs X_val and y_val.")
        seed = seed_of(self.random_state)
        n_threads = effective_threads(self.n_jobs)

        rows = None if weight is None or weight.all() else np.flatnonzero(weight)
        target, fitted = self._encode_target(y if rows is None else y[rows])
        loss = self._make_loss(fitted)
        stops = self.early_stopping is True or (
            self.early_stopping == "auto" and (X_val is not None or len(target) > AUTO_EARLY_STOPPING_ROWS)
        )
        held_out = None
        if stops and X_val is None:
            kept, held_out = self._split(target, seed)
            everything = np.arange(columns.n_rows) if rows is None else rows
            rows, held_out = everything[kept], (everything[held_out], target[held_out])
            target = target[kept]
        loss.check_target(target)
        if loss.small_targets and target is not given_y:
            target = smallest(target)
        del y
        row_weight = weights_of(weight, rows)

        schema = TableSchema.learn(
            columns, categorical_features=self.categorical_features, date_parts=self.date_parts, rows=rows
        )
        # rows set aside are the user's training data too: what is unknown in them is no error
        unknown = "missing" if self.unknown_category == "error" else self.unknown_category
        columns = schema.apply(columns, unknown_category=unknown)

        mapper = BinMapper.fit(
            columns,
            rows=rows,
            weight=row_weight,
            max_bins=self.max_bins,
            n_threads=n_threads,
        )
        training = Rows(mapper.transform(columns, rows=rows, n_threads=n_threads), target, row_weight)
        validation = None
        if held_out is not None:
            matrix = mapper.transform(columns, rows=held_out[0], n_threads=n_threads)
            validation = Rows(matrix, held_out[1], weights_of(weight, held_out[0]))
        elif X_val is not None:
            validation = self._validation_rows(X_val, y_val, sample_weight_val, schema, mapper, loss, fitted, n_threads)

        stopping = [EarlyStopping(self.n_iter_no_change, self.tol)] if stops else []
        progress = [Progress()] if self.verbose else []
        trained = train(
            training,
            mapper.edges,
            loss,
            TreeParams(**{f.name: getattr(self, f.name) for f in fields(TreeParams)}),
            self.n_estimators,
            validation=validation,
            callbacks=[*stopping, *progress, *(self.callbacks or [])],
            n_threads=n_threads,
            seed=seed,
        )
        n_iter = max(1, stopping[0].best_iteration) if stops else trained.state.iteration
        ensemble = Ensemble(
            trees=trained.trees,
            base_score=trained.base_score,
            n_features=columns.n_columns,
            feature_names=schema.feature_names,
            features=schema.features,
            loss=loss.name,
            loss_parameters=loss.parameters(),
        ).first(n_iter)
        fitted["train_score_"] = np.array(trained.state.train_scores[: n_iter + 1])
        fitted["validation_score_"] = np.array(trained.state.validation_scores[: n_iter + 1])
        self._set_fitted(ensemble, loss, fitted)
        return self

    def _check_parameters(self) -> None:
        for name in parameters.ALL:
            parameters.check(type(self).__name__, name, getattr(self, name))

    def _split(self, target: np.ndarray, seed: int) -> tuple[np.ndarray, np.ndarray]:
        """Numbers of the rows to train on and of those to validate with, both ascending."""
        from sklearn.model_selection import train_test_split

        everything = np.arange(len(target))
        if hasattr(self.validation_fraction, "split"):
            kept, held_out = next(iter(self.validation_fraction.split(everything[:, None], target)))
        else:
            try:
                kept, held_out = train_test_split(
                    everything,
                    test_size=self.validation_fraction,
                    random_state=seed % 2**32,
                    stratify=self._strata(target),
                )
            except ValueError as error:
                raise ValueError(
                    f"early_stopping: {len(target)} rows cannot be split with validation_fraction="
                    f"{self.validation_fraction!r}: {error}"
                ) from None
        if len(kept) == 0 or len(held_out) == 0:
            raise ValueError(f"validation_fraction={self.validation_fraction!r} leaves a part of the split empty.")
        if max(np.max(kept), np.max(held_out)) >= len(target):
            raise ValueError(
                f"validation_fraction={self.validation_fraction!r} splits more than the {len(target)} rows that there "
                "are (rows of weight 0 are left out before the split)."
            )
        return np.sort(kept), np.sort(held_out)

    def _validation_rows(self, X_val, y_val, sample_weight_val, schema, mapper, loss, fitted, n_threads) -> Rows:
        validation = schema.apply(
            as_columns(X_val), unknown_category=self.unknown_category, owner=type(self).__name__, what="X_val"
        )
        y_val = self._check_target(y_val, validation.n_rows, "y_val")
        weight = checked_weight(sample_weight_val, validation.n_rows, "sample_weight_val")
        target = self._encode_validation_target(y_val, fitted)
        loss.check_target(target)
        return Rows(mapper.transform(validation, n_threads=n_threads), target, weight)

    # -- predict ------------------------------------------------------------------------------------------------------

    def _columns(self, X) -> Columns:
        self._check_fitted()
        return self._schema.apply(
            as_columns(X), unknown_category=self.unknown_category, owner=type(self).__name__, what="X"
        )

    def _threads(self, columns: Columns) -> int:
        """Threads of a prediction; to ask what the process may use takes longer than a few rows do."""
        return 1 if columns.n_rows < SERIAL_ROWS else effective_threads(self.n_jobs)

    def _raw(self, X) -> np.ndarray:
        """Raw predictions, shape (n_outputs, n_rows)."""
        columns = self._columns(X)
        return self._predictor().raw(columns, self._threads(columns))

    def _staged_raw(self, X: Any) -> Iterator[np.ndarray]:
        columns = self._columns(X)
        n_threads = self._threads(columns)
        raw = np.repeat(self.ensemble_.base_score[:, None], columns.n_rows, axis=1)
        for iteration in range(self.n_iter_):
            raw += Predictor(self.ensemble_.iteration(iteration)).raw(columns, n_threads)
            yield raw

    def predictor(self) -> RowPredictor:
        """Prepare the model to predict single rows, for services that wait for them one by one.

        Returns
        -------
        callable
            ``p(row)`` gives what ``predict`` of a regressor, or ``predict_proba`` of a classifier, gives for a row of
            numbers, without looking at names or types of columns.

        Raises
        ------
        ValueError
            If the model was trained on columns that are not plain numbers.

        Examples
        --------
        >>> from sklearn.datasets import load_diabetes
        >>> from boostgrad import BoostGradRegressor
        >>> X, y = load_diabetes(return_X_y=True)
        >>> model = BoostGradRegressor(random_state=0).fit(X, y)
        >>> p = model.predictor()
        >>> p(X[0]) == model.predict(X[:1])[0]
        True
        """
        self._check_fitted()
        for feature in self.ensemble_.features:
            if feature.kind != "number":
                name = feature.source if self._schema.names is None else repr(self._schema.names[feature.source])
                raise ValueError(
                    f"predictor() takes rows of numbers, but column {name} is a {feature.kind}; use predict"
                )
        return RowPredictor(self.ensemble_, self._loss.inverse_link_row, not hasattr(self, "classes_"))

    def apply(self, X: Any) -> np.ndarray:
        """Leaf that each row reaches in each tree.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)

        Returns
        -------
        ndarray of int32, shape (n_samples, n_iter_), or (n_samples, n_iter_, n_classes) with more than two classes
            Leaves are numbered from 0, left to right, tree by tree.
        """
        columns = self._columns(X)
        leaves = self._predictor().leaves(columns, self._threads(columns))
        if self.ensemble_.n_outputs > 1:
            leaves = leaves.reshape(columns.n_rows, self.n_iter_, self.ensemble_.n_outputs)
        return leaves

    @property
    def feature_importances_(self) -> np.ndarray:
        """Total gain of the splits of each input column, as shares of 1; all zero where no tree was split.

        Like all importances from training data they favour features with many distinct values; see
        :func:`sklearn.inspection.permutation_importance` for an alternative.
        """
        self._check_fitted()
        total = np.zeros(self.n_features_in_)
        source = np.array([info.source for info in self.ensemble_.features])
        for tree in self.ensemble_.trees:
            np.add.at(total, source[tree.feature], tree.statistics.split_gain)
        return total / total.sum() if total.sum() > 0 else total

    # -- the fitted state ---------------------------------------------------------------------------------------------

    _FITTED = (
        "ensemble_",
        "n_features_in_",
        "feature_names_in_",
        "n_iter_",
        "classes_",
        "train_score_",
        "validation_score_",
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

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.input_tags.allow_nan = True
        tags.input_tags.sparse = True
        return tags

    def _stored(self) -> dict[str, Any]:
        """The fitted state as the file format takes it, without what differs between a file and a pickle."""
        return {
            "ensemble": self.ensemble_,
            "estimator": {"class": type(self).__name__},
            "arrays": {"train_score_": self.train_score_, "validation_score_": self.validation_score_},
        }

    def _restore(self, stored: native.StoredModel, classes: np.ndarray | None) -> None:
        more = {name: stored.arrays[name] for name in ("train_score_", "validation_score_") if name in stored.arrays}
        if classes is not None:
            more["classes_"] = classes
        self._set_fitted(stored.ensemble, get_loss(stored.ensemble.loss, **stored.ensemble.loss_parameters), more)

    def __getstate__(self):
        state = dict(super().__getstate__())
        if "ensemble_" in state and self._loss_is_registered() and native.holds_levels(self.ensemble_):
            for name in self._FITTED:
                if name != "classes_":  # labels may be of any type, and pickle takes any
                    state.pop(name, None)
            state["_stored_model"] = native.dump_bytes(**self._stored())
        elif (
            "ensemble_" in state
        ):  # a loss or levels of one's own: pickle knows where their classes are, a file does not
            state.pop("_predictor")
        return state

    def __setstate__(self, state):
        state = dict(state)
        stored = state.pop("_stored_model", None)
        super().__setstate__(state)
        if stored is not None:
            self._restore(native.load_bytes(stored, "the pickled model"), state.get("classes_"))
        elif "ensemble_" in self.__dict__:
            self._predictor = PreparedOnce(self.ensemble_)

    def _loss_is_registered(self) -> bool:
        return registered_losses().get(self._loss.name) is type(self._loss)

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the model to one file, whole or not at all.

        The file holds numbers and names only: loading it runs no code from it. Parameters that are objects
        (callbacks, a splitter, a RandomState) are not in it.

        Parameters
        ----------
        path : str or path-like

        Raises
        ------
        NotFittedError
            If the estimator is not fitted.
        ValueError
            If the loss has no registered name by which the file could refer to it.
        TypeError
            If class labels, or levels of a category, are neither numbers, bools nor strings.
        """
        self._check_fitted()
        if not self._loss_is_registered():
            raise ValueError(
                f"loss {type(self._loss).__name__} has no registered name, so a file cannot refer to it; register it "
                "with boostgrad.losses.register before fitting"
            )
        stored = self._stored()
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
        values = stored.estimator.get("parameters", {})
        model = cls(**{name: values[name] for name in cls._get_param_names() if name in values})
        model._restore(stored, classes)
        if "loss" not in values:  # it was an object
            model.loss = model._loss
        return model

    # -- what the faces differ in -------------------------------------------------------------------------------------

    def _check_target(self, y, n_rows: int, name: str) -> np.ndarray:
        raise NotImplementedError

    def _encode_target(self, y: np.ndarray) -> tuple[np.ndarray, dict[str, Any]]:
        """The target in float64, and the attributes that say how it was coded."""
        raise NotImplementedError

    def _encode_validation_target(self, y: np.ndarray, fitted: dict[str, Any]) -> np.ndarray:
        raise NotImplementedError

    def _make_loss(self, fitted: dict[str, Any]) -> Loss:
        raise NotImplementedError

    def _strata(self, target: np.ndarray) -> np.ndarray | None:
        return None


ATTRIBUTES = """ensemble_ : Ensemble
    The model as data.
n_features_in_ : int
    Number of columns of X.
feature_names_in_ : ndarray of str, shape (n_features_in_,)
    Their names, only where X had names.
n_iter_ : int
    Iterations of the model: all, or those up to the best one where early stopping was on.
train_score_, validation_score_ : ndarray of float64, shape (n_iter_ + 1,) or (0,)
    Negative mean losses of the model after 0, 1, ... iterations; empty where there was no validation data.
feature_importances_ : ndarray of float64, shape (n_features_in_,)
    Shares of the columns of X in the total split gain."""


def documented(face: type[BoostGrad]) -> type[BoostGrad]:
    """Class decorator: put parameters and attributes, which are described once, into the docstring of a face."""
    if face.__doc__:  # python -O2 has none
        words = parameters.documented(list(parameters.ALL))
        face.__doc__ = face.__doc__.replace("{parameters}", words.replace("\n", "\n    ")).replace(
            "{attributes}", ATTRIBUTES.replace("\n", "\n    ")
        )
    return face


def n_predictions(loss: Loss) -> int:
    """How many numbers a row the loss predicts."""
    return len(loss.inverse_link(np.zeros((loss.n_outputs, 1))))


_NOT_PLAIN = object()


def _plain(value: Any) -> Any:
    """The value as JSON holds it, or _NOT_PLAIN."""
    if isinstance(value, np.generic | np.ndarray):
        value = value.tolist()
    if isinstance(value, list | tuple):
        items = [_plain(item) for item in value]
        return _NOT_PLAIN if any(item is _NOT_PLAIN for item in items) else items
    return value if value is None or isinstance(value, bool | int | float | str) else _NOT_PLAIN
