"""The scikit-learn faces: check what comes in, bin it, boost, and keep the ensemble."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import fields
from typing import Any, Self

import numpy as np
from sklearn.base import BaseEstimator, ClassifierMixin, RegressorMixin
from sklearn.exceptions import NotFittedError
from sklearn.utils.multiclass import check_classification_targets

from boostgrad import params as parameters
from boostgrad.boosting import Rows, train
from boostgrad.callbacks import EarlyStopping, Progress
from boostgrad.data.binning import BinMapper
from boostgrad.data.columns import Columns, as_columns
from boostgrad.data.schema import TableSchema
from boostgrad.inputs import (
    check_finite,
    check_size,
    checked_weight,
    label_family,
    plain_labels,
    smallest,
    target_column,
    weights_of,
)
from boostgrad.io import native
from boostgrad.losses import BinaryLogLoss, Loss, MultinomialLogLoss, get_loss, registered_losses
from boostgrad.params import TreeParams
from boostgrad.runtime import effective_threads, seed_of, stream
from boostgrad.tree.model import Ensemble
from boostgrad.tree.predictor import Predictor
from boostgrad.tree.row_predictor import RowPredictor

# Early stopping "auto" is on above this many rows.
AUTO_EARLY_STOPPING_ROWS = 10_000

# Fewer rows are predicted by one thread.
SERIAL_ROWS = 1024


class _BoostGrad(BaseEstimator):
    """What all faces share."""

    def __init__(
        self,
        loss,
        *,
        learning_rate,
        n_estimators,
        max_leaf_nodes,
        max_depth,
        min_samples_leaf,
        min_child_weight,
        min_split_gain,
        l1_regularization,
        l2_regularization,
        max_delta_step,
        grow_policy,
        max_bins,
        categorical_features,
        unknown_category,
        date_parts,
        early_stopping,
        validation_fraction,
        n_iter_no_change,
        tol,
        callbacks,
        n_jobs,
        verbose,
        random_state,
    ):
        self.loss = loss
        self.learning_rate = learning_rate
        self.n_estimators = n_estimators
        self.max_leaf_nodes = max_leaf_nodes
        self.max_depth = max_depth
        self.min_samples_leaf = min_samples_leaf
        self.min_child_weight = min_child_weight
        self.min_split_gain = min_split_gain
        self.l1_regularization = l1_regularization
        self.l2_regularization = l2_regularization
        self.max_delta_step = max_delta_step
        self.grow_policy = grow_policy
        self.max_bins = max_bins
        self.categorical_features = categorical_features
        self.unknown_category = unknown_category
        self.date_parts = date_parts
        self.early_stopping = early_stopping
        self.validation_fraction = validation_fraction
        self.n_iter_no_change = n_iter_no_change
        self.tol = tol
        self.callbacks = callbacks
        self.n_jobs = n_jobs
        self.verbose = verbose
        self.random_state = random_state

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
            rng=stream(seed, "bins"),
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
        return self._predictor.raw(columns, self._threads(columns))

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
        leaves = self._predictor.leaves(columns, self._threads(columns))
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
        predictor = Predictor(ensemble)
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
        self._predictor = predictor
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
            self._predictor = Predictor(self.ensemble_)

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


class BoostGradRegressor(RegressorMixin, _BoostGrad):
    """Gradient-boosted trees for regression.

    Parameters
    ----------
    loss : str or Loss, default="squared_error"
        Name of a registered loss with one output, or an instance of :class:`boostgrad.losses.Loss`.
    {parameters}

    Attributes
    ----------
    {attributes}

    Examples
    --------
    >>> from sklearn.datasets import load_diabetes
    >>> X, y = load_diabetes(return_X_y=True)
    >>> BoostGradRegressor(random_state=0).fit(X, y).predict(X[:2]).shape
    (2,)
    """

    def __init__(
        self,
        loss="squared_error",
        *,
        learning_rate=0.1,
        n_estimators=100,
        max_leaf_nodes=31,
        max_depth=None,
        min_samples_leaf=20,
        min_child_weight=1e-3,
        min_split_gain=0.0,
        l1_regularization=0.0,
        l2_regularization=0.0,
        max_delta_step=0.0,
        grow_policy="leafwise",
        max_bins=255,
        categorical_features="from_dtype",
        unknown_category="missing",
        date_parts=None,
        early_stopping="auto",
        validation_fraction=0.1,
        n_iter_no_change=10,
        tol=1e-7,
        callbacks=None,
        n_jobs=None,
        verbose=0,
        random_state=None,
    ):
        super().__init__(
            loss,
            learning_rate=learning_rate,
            n_estimators=n_estimators,
            max_leaf_nodes=max_leaf_nodes,
            max_depth=max_depth,
            min_samples_leaf=min_samples_leaf,
            min_child_weight=min_child_weight,
            min_split_gain=min_split_gain,
            l1_regularization=l1_regularization,
            l2_regularization=l2_regularization,
            max_delta_step=max_delta_step,
            grow_policy=grow_policy,
            max_bins=max_bins,
            categorical_features=categorical_features,
            unknown_category=unknown_category,
            date_parts=date_parts,
            early_stopping=early_stopping,
            validation_fraction=validation_fraction,
            n_iter_no_change=n_iter_no_change,
            tol=tol,
            callbacks=callbacks,
            n_jobs=n_jobs,
            verbose=verbose,
            random_state=random_state,
        )

    def predict(self, X: Any) -> np.ndarray:
        """Predict the target.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)

        Returns
        -------
        ndarray of float64, shape (n_samples,)
        """
        raw = self._raw(X)
        return self._loss.inverse_link(raw)[0]

    def staged_predict(self, X: Any) -> Iterator[np.ndarray]:
        """Predictions after 1, 2, ... ``n_iter_`` iterations, as :meth:`predict` gives them."""
        for raw in self._staged_raw(X):
            yield self._loss.inverse_link(raw)[0].copy()

    def _check_target(self, y, n_rows, name):
        y = target_column(y, n_rows, name, type(self).__name__)
        if y.dtype.kind == "c":
            raise ValueError(f"Complex data not supported: {name} must hold real numbers.")
        if y.dtype.kind in "mM":
            raise ValueError(f"{name} must hold numbers, not dates or times ({y.dtype}).")
        try:
            y = np.ascontiguousarray(y, dtype=np.float64)
        except (TypeError, ValueError):
            for row, value in enumerate(y.tolist()):
                try:
                    float(value)
                except (TypeError, ValueError):
                    raise ValueError(f"{name} must hold numbers: row {row} is {value!r}.") from None
            raise
        check_finite(y, name)
        check_size(y, name)
        return y

    def _encode_target(self, y):
        return y, {}

    def _encode_validation_target(self, y, fitted):
        return y

    def _make_loss(self, fitted):
        if isinstance(self.loss, Loss):
            loss = self.loss
        elif isinstance(self.loss, str) and self.loss in _regression_losses():
            loss = get_loss(self.loss)
        else:
            raise ValueError(
                f"The 'loss' parameter of {type(self).__name__} must be one of {_regression_losses()}, or a "
                f"boostgrad.losses.Loss. Got {self.loss!r} instead."
            )
        if loss.n_outputs != 1 or _n_predictions(loss) != 1:
            raise ValueError(
                f"The 'loss' parameter of {type(self).__name__} must predict one number a row, which {loss!r} does not."
            )
        return loss


class BoostGradClassifier(ClassifierMixin, _BoostGrad):
    """Gradient-boosted trees for classification.

    Parameters
    ----------
    loss : str or Loss, default="log_loss"
        "log_loss": binary or multinomial, as the labels ask for. Or an instance of :class:`boostgrad.losses.Loss` with
        one output for two classes, or one a class.
    {parameters}

    Attributes
    ----------
    classes_ : ndarray of shape (n_classes,)
        Labels, sorted.
    {attributes}

    Examples
    --------
    >>> from sklearn.datasets import load_iris
    >>> X, y = load_iris(return_X_y=True)
    >>> BoostGradClassifier(random_state=0).fit(X, y).predict_proba(X[:2]).shape
    (2, 3)
    """

    def __init__(
        self,
        loss="log_loss",
        *,
        learning_rate=0.1,
        n_estimators=100,
        max_leaf_nodes=31,
        max_depth=None,
        min_samples_leaf=20,
        min_child_weight=1e-3,
        min_split_gain=0.0,
        l1_regularization=0.0,
        l2_regularization=0.0,
        max_delta_step=0.0,
        grow_policy="leafwise",
        max_bins=255,
        categorical_features="from_dtype",
        unknown_category="missing",
        date_parts=None,
        early_stopping="auto",
        validation_fraction=0.1,
        n_iter_no_change=10,
        tol=1e-7,
        callbacks=None,
        n_jobs=None,
        verbose=0,
        random_state=None,
    ):
        super().__init__(
            loss,
            learning_rate=learning_rate,
            n_estimators=n_estimators,
            max_leaf_nodes=max_leaf_nodes,
            max_depth=max_depth,
            min_samples_leaf=min_samples_leaf,
            min_child_weight=min_child_weight,
            min_split_gain=min_split_gain,
            l1_regularization=l1_regularization,
            l2_regularization=l2_regularization,
            max_delta_step=max_delta_step,
            grow_policy=grow_policy,
            max_bins=max_bins,
            categorical_features=categorical_features,
            unknown_category=unknown_category,
            date_parts=date_parts,
            early_stopping=early_stopping,
            validation_fraction=validation_fraction,
            n_iter_no_change=n_iter_no_change,
            tol=tol,
            callbacks=callbacks,
            n_jobs=n_jobs,
            verbose=verbose,
            random_state=random_state,
        )

    def decision_function(self, X: Any) -> np.ndarray:
        """Raw predictions: log odds of the second class, or one score a class.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)

        Returns
        -------
        ndarray of float64, shape (n_samples,) for two classes, else (n_samples, n_classes)
        """
        return _by_row(self._raw(X))

    def predict_proba(self, X: Any) -> np.ndarray:
        """Probabilities of the classes.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)

        Returns
        -------
        ndarray of float64, shape (n_samples, n_classes)
            In the order of ``classes_``.
        """
        return self._probabilities(self._raw(X))

    def predict_log_proba(self, X: Any) -> np.ndarray:
        """Natural logarithms of :meth:`predict_proba`."""
        with np.errstate(divide="ignore"):
            return np.log(self.predict_proba(X))

    def predict(self, X: Any) -> np.ndarray:
        """The most probable class.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)

        Returns
        -------
        ndarray of shape (n_samples,)
            Labels, of the dtype of ``classes_``.
        """
        return self._labels(self._raw(X))

    def staged_decision_function(self, X: Any) -> Iterator[np.ndarray]:
        """:meth:`decision_function` after 1, 2, ... ``n_iter_`` iterations."""
        for raw in self._staged_raw(X):
            yield _by_row(raw).copy()

    def staged_predict_proba(self, X: Any) -> Iterator[np.ndarray]:
        """:meth:`predict_proba` after 1, 2, ... ``n_iter_`` iterations."""
        for raw in self._staged_raw(X):
            yield self._probabilities(raw)

    def staged_predict(self, X: Any) -> Iterator[np.ndarray]:
        """:meth:`predict` after 1, 2, ... ``n_iter_`` iterations."""
        for raw in self._staged_raw(X):
            yield self._labels(raw)

    def _probabilities(self, raw):
        return np.ascontiguousarray(self._loss.inverse_link(raw).T)

    def _labels(self, raw):
        return self.classes_[(raw[0] > 0).astype(np.intp) if len(raw) == 1 else raw.argmax(axis=0)]

    def _check_target(self, y, n_rows, name):
        if isinstance(y, list | tuple):
            y = np.asarray(y, dtype=object)  # else numpy would make strings of ["a", 1]
        y = target_column(y, n_rows, name, type(self).__name__)
        if y.dtype.kind == "O":
            y = plain_labels(y, name)
        if y.dtype.kind in "fmM":
            check_finite(y, name)
        check_classification_targets(y)
        return y

    def _encode_target(self, y):
        classes = np.unique(y)
        if len(classes) < 2:
            raise ValueError(
                f"{type(self).__name__} needs at least two classes in y (rows of weight 0 do not count): there is only "
                f"one class, {classes.tolist()[0]!r}."
            )
        codes = np.searchsorted(classes, y)  # many times faster than return_inverse of unique
        return codes.astype(np.float64), {"classes_": classes}

    def _encode_validation_target(self, y, fitted):
        classes = fitted["classes_"]
        if label_family(classes) != label_family(y):
            raise ValueError(f"Labels in y_val are {label_family(y)}, those in y are {label_family(classes)}.")
        positions = np.clip(np.searchsorted(classes, y), 0, len(classes) - 1)
        unknown = np.flatnonzero(classes[positions] != y)
        if len(unknown):
            raise ValueError(f"y_val, row {unknown[0]}: label {y[unknown].tolist()[0]!r} does not occur in y.")
        return positions.astype(np.float64)

    def _make_loss(self, fitted):
        n_classes = len(fitted["classes_"])
        if isinstance(self.loss, Loss):
            n_outputs = 1 if n_classes == 2 else n_classes
            if self.loss.n_outputs != n_outputs or _n_predictions(self.loss) != n_classes:
                raise ValueError(
                    f"The 'loss' parameter of {type(self).__name__} must have {n_outputs} output(s) and predict "
                    f"{n_classes} probabilities a row for {n_classes} classes, which {self.loss!r} does not."
                )
            return self.loss
        if not isinstance(self.loss, str) or self.loss != "log_loss":
            raise ValueError(
                f"The 'loss' parameter of {type(self).__name__} must be 'log_loss', or a boostgrad.losses.Loss. "
                f"Got {self.loss!r} instead."
            )
        return BinaryLogLoss() if n_classes == 2 else MultinomialLogLoss(n_classes)

    def _strata(self, target):
        _, counts = np.unique(target, return_counts=True)
        held_out = len(target) * self.validation_fraction
        return target if counts.min() >= 2 and min(held_out, len(target) - held_out) >= len(counts) else None


_ATTRIBUTES = """ensemble_ : Ensemble
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

for _face in (BoostGradRegressor, BoostGradClassifier):
    if _face.__doc__:  # python -O2 has none
        _face.__doc__ = _face.__doc__.replace(
            "{parameters}", parameters.documented(list(parameters.ALL)).replace("\n", "\n    ")
        ).replace("{attributes}", _ATTRIBUTES.replace("\n", "\n    "))


def _regression_losses() -> list[str]:
    """Names of the registered losses that a regressor can make without being told more."""
    return [
        name
        for name, cls in registered_losses().items()
        if cls.n_outputs == 1 and cls is not BinaryLogLoss and cls is not MultinomialLogLoss
    ]


def _n_predictions(loss: Loss) -> int:
    """How many numbers a row the loss predicts."""
    return len(loss.inverse_link(np.zeros((loss.n_outputs, 1))))


def _by_row(raw: np.ndarray) -> np.ndarray:
    return raw[0] if len(raw) == 1 else np.ascontiguousarray(raw.T)


_NOT_PLAIN = object()


def _plain(value: Any) -> Any:
    """The value as JSON holds it, or _NOT_PLAIN."""
    if isinstance(value, np.generic | np.ndarray):
        value = value.tolist()
    if isinstance(value, list | tuple):
        items = [_plain(item) for item in value]
        return _NOT_PLAIN if any(item is _NOT_PLAIN for item in items) else items
    return value if value is None or isinstance(value, bool | int | float | str) else _NOT_PLAIN
