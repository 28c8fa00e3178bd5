"""The scikit-learn faces: check what comes in, bin it, boost, and keep the ensemble."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import fields, replace
from typing import Any, ClassVar, Self

import numpy as np
from sklearn.base import BaseEstimator

from boostgrad import params as parameters
from boostgrad.boosting import Rows, Trained, pairs_at_start, train
from boostgrad.callbacks import BestPredictions, EarlyStopping, Progress
from boostgrad.data.binning import BinMapper
from boostgrad.data.columns import Columns, as_columns
from boostgrad.data.containers import in_order
from boostgrad.data.levels import MAX_LEVELS
from boostgrad.data.schema import TableSchema
from boostgrad.data.statistics import TargetStatistics, columns_with_statistics
from boostgrad.dataset import BoostGradDataset
from boostgrad.estimators import initial
from boostgrad.estimators.fitted import SEVERAL_SCORES, FittedState, ensemble_of
from boostgrad.estimators.samples import Given, Samples
from boostgrad.estimators.scoring import (
    Known,
    Metric,
    Scored,
    by_loss,
    check_defined,
    check_scoring,
    is_several,
    named,
    scores_of,
)
from boostgrad.estimators.splitting import split
from boostgrad.estimators.tables import BinnedFrame, GuidedDataset
from boostgrad.inputs import checked_groups, checked_weight, smallest
from boostgrad.losses import BadTarget, CallableLoss, Loss, UnnamedLoss, get_loss, losses_of
from boostgrad.params import TreeParams, shown
from boostgrad.runtime import effective_threads, seed_of, stream
from boostgrad.tree.model import Ensemble
from boostgrad.tree.predictor import Predictor
from boostgrad.tree.row_predictor import RowPredictor

# Early stopping "auto" is on above this many rows.
AUTO_EARLY_STOPPING_ROWS = 10_000

# multi_strategy "auto" is one tree for all outputs above this many; benchmarks/results/NOTES.md has the tables.
AUTO_VECTOR_OUTPUTS = 30

# Fewer rows are predicted by one thread.
SERIAL_ROWS = 1024


class BoostGrad(FittedState, BaseEstimator):
    """What all faces share."""

    def _keep(self, arguments: dict[str, Any]) -> None:
        """Store the arguments of the constructor as they are, as scikit-learn asks for."""
        for name in self._get_param_names():
            setattr(self, name, arguments[name])

    # -- fit ----------------------------------------------------------------------------------------------------------

    def fit(
        self,
        X: Any,
        y: Any = None,
        sample_weight: Any = None,
        *,
        groups: Any = None,
        X_val: Any = None,
        y_val: Any = None,
        sample_weight_val: Any = None,
        offset: Any = None,
        offset_val: Any = None,
    ) -> Self:
        """Fit the model.

        Parameters
        ----------
        X : array-like or data frame of shape (n_samples, n_features), or BoostGradDataset
            A numpy array, lists of rows, or a data frame of pandas, polars, pyarrow or another library that narwhals or
            the Arrow PyCapsule interface can read, or a sparse matrix or array of scipy, in which what is not stored
            is 0. Columns of numbers, bools, text, categories, dates and durations;
            NaN, None and the missing values of the container are missing, infinities are numbers. It is read column by
            column and never copied as a whole. A :class:`boostgrad.BoostGradDataset` has bins, target and weights
            already.
        y : array-like, series or one-column data frame of shape (n_samples,)
            Target: finite numbers for a regressor, labels of any kind for a classifier. For several targets, or several
            labels (0 and 1, which may be a sparse matrix), of shape (n_samples, n_outputs).
        sample_weight : array-like of shape (n_samples,), default=None
            Weights, not negative; a row of weight 0 is as if it were not there, one of weight 2 as if it were there
            twice (but for ``min_samples_leaf``, which counts rows).
        groups : array-like of shape (n_samples,), default=None
            What belongs together, such as the patient that each row is of: numbers or strings, in any order. Early
            stopping sets whole groups aside, and a splitter as ``validation_fraction`` is given them. They change
            nothing else.
        X_val, y_val, sample_weight_val : as X, y, sample_weight, default=None
            Validation data for early stopping, in place of a part of X.
        offset : array-like of shape (n_samples,), or (n_samples, n_outputs) for several, default=None
            Raw predictions to start from: the model learns what to add to them. The predicting methods take an
            ``offset``, too; where it is not given there, it is 0.
        offset_val : as offset, default=None
            Of the validation data; needed where there are an offset and X_val.

        Returns
        -------
        self

        Raises
        ------
        ValueError
            If a parameter, or something in the data, is not what is accepted; the message says what and where. The
            estimator stays as it was.
        """
        return self._fit(
            Given(X, y, sample_weight, offset, groups=groups),
            Given(X_val, y_val, sample_weight_val, offset_val, suffix="_val"),
        )

    def _fit(self, given: Given, given_val: Given) -> Self:
        self._check_parameters()
        given, given_val = given.unpacked(), given_val.unpacked()
        if self._starts_from_estimator() and any(isinstance(part.X, BoostGradDataset) for part in (given, given_val)):
            raise ValueError(
                "init needs the data, of which a BoostGradDataset holds bins; pass its predictions as offset."
            )
        samples = self._samples(given).with_weight()
        given_val.check_complete(given)
        seed = seed_of(self.random_state)
        n_threads = effective_threads(self.n_jobs)

        target, fitted = self._encode_target(samples.y)
        loss = self._make_loss(fitted)
        samples = replace(samples.with_offset(given.start(samples.columns.n_rows, loss)), y=target)
        del target  # which is not needed beside the samples
        check_target(loss, samples.y, samples.rows, "y")
        samples, held_out = self._weighted(samples, fitted).with_weight(), None
        stops = self._stops_early(samples, given_val, loss)
        if stops and given_val.X is None:
            samples, held_out = self._split(samples, seed)
            check_target(loss, samples.y, samples.rows, "y, without the rows held out for early stopping")
        if self._starts_from_estimator():
            samples, held_out = self._started(given, samples, held_out, loss, fitted)
        loss = self._adapted(loss, samples)
        if loss.small_targets and samples.y is not given.y:
            samples = replace(samples, y=smallest(samples.y))

        table = self._table(samples, loss, seed, n_threads)
        if given_val.X is not None:
            held_out = self._validation_samples(given_val, table, loss, fitted, n_threads)
        elif held_out is not None:
            held_out = replace(held_out, columns=table)
        samples = replace(samples, columns=table)
        training = replace(_binned(samples, loss), constant=not self._starts_from_zero())
        validation = None if held_out is None else _binned(held_out, loss)

        stopping = [EarlyStopping(self.n_iter_no_change, self.tol)] if stops else []
        keeps = self._keeps_conformity(loss), self._completes_by_held_out(loss)
        best = [BestPredictions(*stopping or [None])] if held_out is not None and any(keeps) else []
        progress = [Progress()] if self.verbose else []
        trained = train(
            training,
            table.mapper.edges,
            loss,
            TreeParams(**{f.name: getattr(self, f.name) for f in fields(TreeParams)}),
            self.n_estimators,
            validation=validation,
            scores=held_out
            and scores_of(
                self,
                Scored(samples, given),
                Scored(held_out, given if given_val.X is None else given_val),
                Known(table.schema, loss, fitted, seed, n_threads),
                (training, validation),
            ),
            callbacks=[*stopping, *best, *progress, *(self.callbacks or [])],
            n_threads=n_threads,
            seed=seed,
            n_values=self._outputs_a_tree(loss),
            redraws=table.redraws(training.matrix),
        )
        n_iter = trained.state.iteration
        if stops:
            n_iter = max(1, stopping[0].best_iteration)
            check_defined(trained.state.scoring, trained.state.validation_scores)
        if best and keeps[0]:
            fitted["conformity_scores_"] = self._conformity_of(held_out, best[0].raw, loss, fitted)
        unseen = (held_out, best[0].raw) if best and keeps[1] else None
        self._keep_model(trained, n_iter, table.schema, loss, fitted, samples, n_threads, unseen)
        return self

    def _keep_model(
        self,
        trained: Trained,
        n_iter: int,
        schema: TableSchema,
        loss: Loss,
        fitted: dict[str, Any],
        samples: Samples,
        n_threads: int,
        unseen: tuple[Samples, np.ndarray] | None,
    ) -> None:
        ensemble = ensemble_of(trained.trees, trained.base_score, schema, loss).first(n_iter)
        loss = self._completed(loss, samples, lambda: _raw_of_samples(ensemble, samples, n_threads), fitted, unseen)
        ensemble = replace(ensemble, loss_parameters=loss.parameters())
        fitted["train_score_"] = np.array(trained.state.train_scores[: n_iter + 1])
        fitted["validation_score_"] = np.array(trained.state.validation_scores[: n_iter + 1])
        if is_several(self.scoring):
            for k, attribute in enumerate(SEVERAL_SCORES):
                kept = {name: trained.state.scores.get(name, ([], []))[k] for name in named(self.scoring)}
                fitted[attribute] = {name: np.array(scores[: n_iter + 1]) for name, scores in kept.items()}
        self._set_fitted(ensemble, loss, {name: value for name, value in fitted.items() if name.endswith("_")})

    def _statistics(self, columns, rows, samples, loss, seed, n_threads) -> TargetStatistics | None:
        """Target statistics of the columns that get some; the samples are these rows of the columns."""
        which = columns_with_statistics(columns, len(samples), self.target_statistics)
        if not which:
            return None
        prepared = loss.prepare(samples.y, samples.weight, samples.groups)
        known = Rows(None, prepared, samples.weight, samples.offset, constant=not self._starts_from_zero())
        start = pairs_at_start(known, len(samples), loss, n_threads)
        return TargetStatistics(columns, which, rows, start, int(stream(seed, "statistics").integers(2**62)))

    def _samples(self, given: Given, columns: BinnedFrame | None = None) -> Samples:
        """What was given, checked; the columns are those of X, as they came, unless they are given."""
        if columns is None:
            columns = given.X if isinstance(given.X, BoostGradDataset) else as_columns(given.X)
        n_rows = columns.n_rows
        return Samples(
            columns,
            rows=None,
            y=self._check_target(given.y, n_rows, f"y{given.suffix}"),
            weight=checked_weight(given.sample_weight, n_rows, f"sample_weight{given.suffix}"),
            groups=checked_groups(given.groups, n_rows, f"groups{given.suffix}"),
        )

    def _started(self, given: Given, samples: Samples, held_out: Samples | None, loss: Loss, fitted: dict[str, Any]):
        """Training and validation samples with the predictions of ``init`` in their offsets."""
        init = fitted["init_"] = initial.fitted_init(self.init, given, samples, loss)
        raw = self._raw_of_init(init, given.X, loss, fitted, training=samples)
        return tuple(part and part.with_offset(raw) for part in (samples, held_out))

    def _stops_early(self, samples: Samples, given_val: Given, loss: Loss) -> bool:
        if not loss.scored and any(map(by_loss, named(self.scoring).values())):
            if self.early_stopping is True or given_val.X is not None or not by_loss(self.scoring):
                raise ValueError(
                    f"early stopping and validation data need a loss with values, which {loss!r} has not, or another "
                    "scoring."
                )
            return False
        if self.early_stopping == "auto":
            many = len(samples) > AUTO_EARLY_STOPPING_ROWS
            return given_val.X is not None or (many and not self._is_one_group(samples))
        return self.early_stopping

    def _check_parameters(self) -> None:
        for name in filter(parameters.ALL.__contains__, self._get_param_names()):
            parameters.check(type(self).__name__, name, getattr(self, name))
        if isinstance(self.loss, UnnamedLoss):
            self.loss.check_trains()
        for scoring in named(self.scoring).values():
            check_scoring(type(self).__name__, scoring, self._own_metrics)

    def _starts_from_zero(self) -> bool:
        return isinstance(self.init, str)

    def _starts_from_estimator(self) -> bool:
        return self.init is not None and not self._starts_from_zero()

    def _outputs_a_tree(self, loss: Loss) -> int:
        """How many outputs each tree of an iteration is for."""
        if self.multi_strategy == "auto":
            return loss.n_outputs if loss.n_outputs > AUTO_VECTOR_OUTPUTS else loss.joint_outputs
        return loss.n_outputs if self.multi_strategy == "multi_output_tree" else 1

    def _split(self, samples: Samples, seed: int) -> tuple[Samples, Samples]:
        """Those to train on and those to validate with."""
        if self._is_one_group(samples):
            raise ValueError(
                "early_stopping sets whole groups aside, and there is only one: give fit several (for a ranker: the "
                "queries) as groups, or validation data as X_val and y_val, or set early_stopping=False."
            )
        target = self._split_target(samples.y)
        return split(samples, self.validation_fraction, target, self._strata, seed % 2**32)

    def _table(
        self, samples: Samples, loss: Loss, seed: int, n_threads: int
    ) -> BoostGradDataset | BinnedFrame | GuidedDataset:
        """The table of the samples with bins; these are learned from the samples unless it has them."""
        if isinstance(samples.columns, BoostGradDataset):
            return self._table_of_dataset(samples.columns, samples, loss, seed, n_threads)
        schema = TableSchema.learn(
            samples.columns,
            categorical_features=self.categorical_features,
            date_parts=self.date_parts,
            rows=samples.rows,
            most_levels=MAX_LEVELS if self.target_statistics == "never" else None,  # statistics know no limit
        )
        # rows set aside are the user's training data too: what is unknown in them is no error
        unknown = "missing" if self.unknown_category == "error" else self.unknown_category
        columns = schema.apply(samples.columns, unknown_category=unknown)
        statistics = self._statistics(columns, samples.rows, samples, loss, seed, n_threads)
        if statistics is not None:
            schema = statistics.schema(schema)
            columns = statistics.first(schema.apply(samples.columns, unknown_category=unknown), n_threads)
        mapper = BinMapper.fit(
            columns, rows=samples.rows, weight=samples.weight, max_bins=self.max_bins, n_threads=n_threads
        )
        return BinnedFrame(schema, mapper, columns, n_threads, statistics)

    def _table_of_dataset(
        self, dataset: BoostGradDataset, samples: Samples, loss: Loss, seed: int, n_threads: int
    ) -> BoostGradDataset | GuidedDataset:
        dataset.check_fits(self)
        rows = dataset.positions(samples.rows)
        statistics = self._statistics(dataset.levels(), rows, samples, loss, seed, n_threads)
        if statistics is None:
            return dataset
        return GuidedDataset.of(dataset, statistics, samples.weight, dataset.max_bins, n_threads)

    def _validation_samples(
        self,
        given: Given,
        table: BoostGradDataset | BinnedFrame | GuidedDataset,
        loss: Loss,
        fitted: dict[str, Any],
        n_threads: int,
    ) -> Samples:
        """Those of the validation data, with the bins of the table."""
        if isinstance(given.X, BoostGradDataset):
            guided = isinstance(table, GuidedDataset)
            given.X.check_bins(table.dataset if guided else table, self)
            samples = self._samples(given)
            if guided:
                samples = replace(samples, columns=table.of_validation(given.X))
        else:
            columns = table.schema.apply(
                as_columns(given.X), unknown_category=self.unknown_category, owner=type(self).__name__, what="X_val"
            )
            samples = self._samples(given, BinnedFrame(table.schema, table.mapper, columns, n_threads))
        samples = samples.with_offset(given.start(samples.columns.n_rows, loss)).with_weight()
        target = self._encode_validation_target(samples.y, fitted, "y_val", samples.rows)
        check_target(loss, target, samples.rows, "y_val")
        if "init_" in fitted:
            X = in_order(given.X, table.schema.names)
            samples = samples.with_offset(self._raw_of_init(fitted["init_"], X, loss, fitted))
        return self._weighted(replace(samples, y=target), fitted).with_weight()

    # -- predict ------------------------------------------------------------------------------------------------------

    def _columns(self, X) -> Columns:
        self._check_fitted()
        if isinstance(X, BoostGradDataset):
            raise TypeError("X is a BoostGradDataset, which holds bins and no data: predict from frames or batches.")
        return self._schema.apply(
            as_columns(X), unknown_category=self.unknown_category, owner=type(self).__name__, what="X"
        )

    def _threads(self, columns: Columns) -> int:
        """Threads of a prediction; to ask what the process may use takes longer than a few rows do."""
        return 1 if columns.n_rows < SERIAL_ROWS else effective_threads(self.n_jobs)

    def _raw(self, X: Any, offset: Any = None, exposure: Any = None) -> np.ndarray:
        """Raw predictions, shape (n_outputs, n_rows)."""
        columns = self._columns(X)
        start = self._start(X, offset, exposure, columns.n_rows)
        raw = self._predictor().raw(columns, self._threads(columns))
        if start is not None:
            raw += start
        return raw

    def _start(self, X: Any, offset: Any, exposure: Any, n_rows: int) -> np.ndarray | None:
        """What a prediction starts from, ``init``, offset and exposure together, shape (n_outputs, n_rows)."""
        start = None
        if offset is not None or exposure is not None:  # what predicts row by row would notice the time
            start = Given(None, None, offset=offset, exposure=exposure).start(n_rows, self._loss)
        if "init_" in self.__dict__:
            raw = self._raw_of_init(self.init_, in_order(X, self._schema.names), self._loss, self.__dict__)
            start = raw if start is None else start + raw
        return start

    def _staged_raw(self, X: Any, offset: Any = None, exposure: Any = None) -> Iterator[np.ndarray]:
        columns = self._columns(X)
        n_threads = self._threads(columns)
        raw = np.repeat(self.ensemble_.base_score[:, None], columns.n_rows, axis=1)
        start = self._start(X, offset, exposure, columns.n_rows)
        if start is not None:
            raw += start
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
        if "init_" in self.__dict__:
            raise ValueError("predictor() knows nothing of init; use predict")
        for feature in self.ensemble_.features:
            if feature.kind != "number":
                name = feature.source if self._schema.names is None else repr(self._schema.names[feature.source])
                kind = "category" if feature.kind == "statistic" else feature.kind
                raise ValueError(f"predictor() takes rows of numbers, but column {name} is a {kind}; use predict")
        return RowPredictor(self.ensemble_, self._row_link(), self._predicts_one_number())

    def _row_link(self) -> Callable[[np.ndarray], np.ndarray]:
        """From the raw predictions of a row, shape (n_outputs,), to what :meth:`predictor` gives."""
        return self._loss.inverse_link_row

    def apply(self, X: Any) -> np.ndarray:
        """Leaf that each row reaches in each tree.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)

        Returns
        -------
        ndarray of int32, shape (n_samples, n_iter_), or (n_samples, n_iter_, n_trees) where an iteration has several
            Leaves are numbered from 0, left to right, tree by tree. The trees of an iteration are those of each class
            of more than two, each label or each target, in their order; with ``multi_strategy="one_output_per_tree"``,
            those of each quantile of a target, or parameter of its distribution, which otherwise share a tree. It is
            one tree with "multi_output_tree", which is what "auto" means above 30 raw predictions.
        """
        columns = self._columns(X)
        leaves = self._predictor().leaves(columns, self._threads(columns))
        if self.ensemble_.trees_per_iteration > 1:
            leaves = leaves.reshape(columns.n_rows, self.n_iter_, self.ensemble_.trees_per_iteration)
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

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.input_tags.allow_nan = True
        tags.input_tags.sparse = True
        tags.target_tags.required = True
        return tags

    # -- what the faces differ in -------------------------------------------------------------------------------------

    def _check_target(self, y, n_rows: int, name: str) -> np.ndarray:
        raise NotImplementedError

    def _encode_target(self, y: np.ndarray) -> tuple[np.ndarray, dict[str, Any]]:
        """The target in float64, and what says how it was coded: attributes, whose names end in "_", and what only
        the fit needs."""
        raise NotImplementedError

    def _encode_validation_target(
        self, y: np.ndarray, fitted: dict[str, Any], name: str, rows: np.ndarray | None = None
    ) -> np.ndarray:
        """The target as :meth:`_encode_target` coded that of training. It is that of some rows (None: all) of what has
        the name, in whose numbers errors name rows."""
        raise NotImplementedError

    def _make_loss(self, fitted: dict[str, Any]) -> Loss:
        raise NotImplementedError

    def _loss_of(self, target: str) -> Loss:
        """The loss that the parameter asks for, of one raw prediction and such targets; see ``Loss.target``."""
        loss = self.loss
        if isinstance(loss, str) and loss in losses_of(target):
            return get_loss(loss)
        if callable(loss) and not isinstance(loss, type | Loss):
            return CallableLoss(loss)
        if isinstance(loss, Loss) and loss.takes(target) and loss.n_outputs == 1:
            return loss
        raise ValueError(
            f"The 'loss' parameter of {type(self).__name__} must be one of {losses_of(target)}, a function "
            f"f(y, raw, sample_weight) -> (gradient, hessian), or a boostgrad.losses.Loss of {target} with one raw "
            f"prediction. Got {shown(loss)} instead."
        )

    def _raw_of_init(
        self, init: Any, X: Any, loss: Loss, fitted: dict[str, Any], training: Samples | None = None
    ) -> np.ndarray:
        """What a fitted ``init`` predicts, as raw predictions, shape (n_outputs, n_rows); at first of the table that
        has the training samples, which say within what it counts."""
        prediction = initial.numbers(init, X)
        return initial.raw_of(initial.in_range(prediction, loss, fitted, training), loss, init)

    def _adapted(self, loss: Loss, samples: Samples) -> Loss:
        """The loss to train with, once the training samples are known."""
        return loss

    def _completed(
        self,
        loss: Loss,
        samples: Samples,
        raw: Callable[[], np.ndarray],
        fitted: dict[str, Any],
        unseen: tuple[Samples, np.ndarray] | None = None,
    ) -> Loss:
        """The loss to keep, once the model is known, whose raw predictions for the training samples ``raw()`` gives;
        ``unseen`` are samples that trees were not grown by, and predictions for them, where there are any. More fitted
        attributes may be added to ``fitted``."""
        return loss

    def _completes_by_held_out(self, loss: Loss) -> bool:
        """Whether :meth:`_completed` looks at ``unseen``."""
        return False

    def _keeps_conformity(self, loss: Loss) -> bool:
        """Whether a fit keeps what prediction intervals or sets need of the rows that are held out."""
        return False

    def _conformity_of(self, held_out: Samples, raw: np.ndarray, loss: Loss, fitted: dict[str, Any]) -> Any:
        """What they need, of the raw predictions for these rows."""
        raise NotImplementedError

    # names of metrics that scikit-learn has no scorer of; "@k" stands for "@" and a number
    _own_metrics: ClassVar[tuple[str, ...]] = ()

    def _metric(self, name: str, known: Known) -> Callable[[Scored], Metric] | None:
        """What binds the metric of that name to some rows; None where boostgrad has none for this model."""
        return None

    def _target_of(self, scored: Scored, fitted: dict[str, Any]) -> Any:
        """A copy of the target of some rows, as a scorer gets it."""
        return np.array(scored.y, dtype=np.float64)

    def _predicts_one_number(self) -> bool:
        """Whether the prediction of a row is one number rather than an array."""
        raise NotImplementedError

    def _weighted(self, samples: Samples, fitted: dict[str, Any]) -> Samples:
        """The samples with the weights that training gives them; ``fitted`` may keep what validation rows need."""
        return samples

    def _is_one_group(self, samples: Samples) -> bool:
        """Whether nothing can be set aside, as a group is never torn apart."""
        return samples.groups is not None and bool(samples.groups.min() == samples.groups.max())

    def _split_target(self, target: np.ndarray) -> np.ndarray:
        """The target as a splitter gets it."""
        return target

    def _strata(self, target: np.ndarray) -> np.ndarray | None:
        """What the split of validation rows keeps the shares of."""
        return None


def _binned(samples: Samples, loss: Loss) -> Rows:
    return Rows(
        samples.columns.binned(samples.rows),
        loss.prepare(samples.y, samples.weight, samples.groups),
        samples.weight,
        samples.offset,
    )


def _raw_of_samples(ensemble: Ensemble, samples: Samples, n_threads: int) -> np.ndarray:
    """Raw predictions for samples of a table that is not a dataset, offsets included."""
    raw = Predictor(ensemble).raw(samples.columns.columns, n_threads)
    raw = raw if samples.rows is None else np.ascontiguousarray(raw[:, samples.rows])
    return raw if samples.offset is None else raw + samples.offset


def check_target(loss: Loss, y: np.ndarray, rows: np.ndarray | None, name: str) -> None:
    """Raise unless the loss takes these targets, which are those of some rows (None: all) of what has the name.

    Raises
    ------
    ValueError
    """
    try:
        loss.check_target(y)
    except BadTarget as error:
        raise ValueError(f"{name}: {error.among(rows)}") from None
    except ValueError as error:
        among = "" if rows is None else f" (rows counted among the {len(rows)} that are left of it)"
        raise ValueError(f"{name}{among}: {error}") from None


ATTRIBUTES = """ensemble_ : Ensemble
    The model as data.
n_features_in_ : int
    Number of columns of X.
feature_names_in_ : ndarray of str, shape (n_features_in_,)
    Their names, only where X had names.
n_iter_ : int
    Iterations of the model: all, or those up to the best one where early stopping was on.
init_ : estimator
    What boosting started from, fitted; only where ``init`` is an estimator.
init_range_ : ndarray of float64, shape (n_predictions, 2)
    Predictions of ``init_`` count as no smaller and no larger; only where the loss needs them in some range, such as
    above 0.
train_score_, validation_score_ : ndarray of float64, shape (n_iter_ + 1,) or (0,)
    Scores of the model after 0, 1, ... iterations, the higher the better: negative mean losses, or what ``scoring``
    says. They have the weights that training had, those of ``class_weight`` included. Empty where there was no
    validation data. With a ``scoring`` other than "loss", of more than 50,000 training rows (10,000 where a scorer of
    scikit-learn is called) so many are scored.
train_scores_, validation_scores_ : dict of str to ndarray of float64
    Likewise each of several scores by name, the first of them again included; only where ``scoring`` is a list or a
    dict.
feature_importances_ : ndarray of float64, shape (n_features_in_,)
    Shares of the columns of X in the total split gain."""


def documented(face: type[BoostGrad]) -> type[BoostGrad]:
    """Class decorator: put parameters and attributes, which are described once, into the docstring of a face."""
    if face.__doc__:  # python -O2 has none
        words = parameters.documented([name for name in face._get_param_names() if name in parameters.ALL])
        face.__doc__ = face.__doc__.replace("{parameters}", words.replace("\n", "\n    ")).replace(
            "{attributes}", ATTRIBUTES.replace("\n", "\n    ")
        )
    return face
