"""Regression."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, Self

import numpy as np
from sklearn.base import RegressorMixin

from boostgrad.conformal import check_coverage
from boostgrad.estimators.base import documented
from boostgrad.estimators.calibrated import CalibratedBoostGrad
from boostgrad.estimators.intervals import has_intervals, intervals_of
from boostgrad.estimators.samples import Given
from boostgrad.inputs import checked_weight, several_columns, target_numbers, target_table, weights_of
from boostgrad.losses import (
    CallableLoss,
    DistributionLoss,
    Loss,
    MultiOutput,
    Quantiles,
    UnnamedLoss,
    get_loss,
    n_predictions,
    registered_losses,
)
from boostgrad.metrics.numbers import NUMBER_METRICS
from boostgrad.params import shown


@documented
class BoostGradRegressor(RegressorMixin, CalibratedBoostGrad):
    """Gradient-boosted trees for regression.

    Parameters
    ----------
    loss : str, Loss or callable, default="squared_error"
        "squared_error", "absolute_error", "quantile", "huber", "fair", "log_cosh", "expectile", "mape",
        "squared_log_error", "poisson", "gamma", "tweedie", "cross_entropy" (targets in [0, 1]), or the name of another
        registered loss with one output; or an instance of :class:`boostgrad.losses.Loss`, such as
        ``Tweedie(power=1.7)`` or ``Huber(delta=10)``; or a function ``f(y, raw, sample_weight) -> (gradient, hessian)``
        of whole arrays, see :class:`boostgrad.losses.CallableLoss`.
        "normal_nll", "lognormal_nll", "gamma_nll", "poisson_nll" and "negative_binomial_nll" predict a distribution:
        its mean is the prediction, and :meth:`predict_distribution` gives all of it. Where y has several columns, a
        loss of one target (all of these, and functions) is repeated for each of them; missing targets (NaN) are left
        out then. A loss of one's own with several raw predictions (``CallableLoss(f, n_outputs=2)``, say) gets y as it
        is, of one column or of several, and the model predicts what its ``inverse_link`` gives: a column for each raw
        prediction, where there is none.
    {parameters}

    Attributes
    ----------
    conformity_scores_ : tuple of boostgrad.conformal.ConformityScores
        What prediction intervals are made of, only where rows were held out or :meth:`calibrate` was called.
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
        target_statistics="auto",
        date_parts=None,
        early_stopping="auto",
        validation_fraction=0.1,
        n_iter_no_change=10,
        tol=1e-7,
        scoring="loss",
        multi_strategy="auto",
        init=None,
        callbacks=None,
        n_jobs=None,
        verbose=0,
        random_state=None,
        quantile=None,
    ):
        self._keep(locals())

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
        exposure: Any = None,
        exposure_val: Any = None,
    ) -> Self:
        """Fit the model.

        Parameters
        ----------
        X, y, sample_weight, groups, X_val, y_val, sample_weight_val, offset, offset_val : array-like
            As in :meth:`BoostGrad.fit`.
        exposure : array-like of shape (n_samples,), default=None
            For losses with a logarithmic link, and distributions of amounts and counts: how much each row was exposed
            to what y counts (insured years, say). The model predicts per unit of exposure; its logarithm is added to
            ``offset``, for all targets and, of a distribution, for the parameter that is the mean or, of
            "lognormal_nll", the mean of the logarithm. Positive.
        exposure_val : as exposure, default=None
            Of the validation data; needed where there are an exposure and X_val.

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
            Given(X, y, sample_weight, offset, exposure, groups),
            Given(X_val, y_val, sample_weight_val, offset_val, exposure_val, suffix="_val"),
        )

    def predict(self, X: Any, offset: Any = None, exposure: Any = None) -> np.ndarray:
        """Predict the target.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
        offset : array-like of shape (n_samples,), default=None
            Added to the raw predictions, as in :meth:`fit`. None: 0.
        exposure : array-like of shape (n_samples,), default=None
            As in :meth:`fit`. None: 1, so that the prediction is one per unit of exposure.

        Returns
        -------
        ndarray of float64, shape (n_samples,), or (n_samples, n_targets) where y had several columns,
            or (n_samples, n_quantiles), in ascending order, for several quantiles
        """
        return self._predictions(self._raw(X, offset, exposure))

    def staged_predict(self, X: Any, offset: Any = None, exposure: Any = None) -> Iterator[np.ndarray]:
        """Predictions after 1, 2, ... ``n_iter_`` iterations, as :meth:`predict` gives them."""
        for raw in self._staged_raw(X, offset, exposure):
            yield self._predictions(raw)

    def predict_distribution(self, X: Any, offset: Any = None, exposure: Any = None) -> Any:
        """The distribution of the target of each row, where the loss is the likelihood of one.

        Parameters
        ----------
        X, offset, exposure : array-like
            As in :meth:`predict`; an offset has a column for each parameter of the distribution, target by target.

        Returns
        -------
        scipy.stats frozen distribution
            With parameters of shape (n_samples,), or (n_samples, n_targets) where y had several columns: ``mean()``,
            ``std()``, ``ppf(q)``, ``cdf(y)`` and so on are arrays.

        Raises
        ------
        AttributeError
            If the loss is not that of a distribution.
        """
        self._check_fitted()
        one = self._loss.loss if isinstance(self._loss, MultiOutput) else self._loss
        if not isinstance(one, DistributionLoss):
            raise AttributeError(
                f"predict_distribution needs a loss that is the likelihood of a distribution, such as 'normal_nll'; "
                f"this model was fitted with {self._loss.name!r}."
            )
        raw = self._raw(X, offset, exposure)
        if one is not self._loss:  # (n_targets * n_parameters, n_rows) to (n_parameters, n_rows, n_targets)
            raw = raw.reshape(self._loss.n_targets, one.n_outputs, -1).transpose(1, 2, 0)
        return one.distribution(raw)

    def predict_interval(self, X: Any, coverage: float = 0.9, offset: Any = None, exposure: Any = None) -> np.ndarray:
        """Intervals that hold the target of a new row with a probability of ``coverage`` (conformal prediction).

        The probability is over new rows of the kind that the model was calibrated with, not that of each row:
        intervals of some rows may hold their targets more often than those of others. What they look like depends on
        the loss:

        - several quantiles (``loss="quantile", quantile=[0.05, 0.95]``): quantiles that are moved out or in
          (conformalised quantile regression; Romano, Patterson and Candes 2019), of the pair that is meant to cover
          what is asked for, or nearest to it. Their width follows the noise of the row; prefer them where noise differs
          from row to row.
        - distributions ("normal_nll", ...): quantiles of the predicted distribution, with levels that are calibrated.
        - others: the prediction plus and minus a quantile of absolute residuals, in units of mean^(power / 2) for
          "poisson", "gamma" and "tweedie" and of the prediction's size for "mape" and "squared_log_error".

        Calibrated with n rows that neither fitted the model nor stopped it, the probability is from ``coverage`` to
        ``coverage`` + 1 / (n + 1) (a hundredth of 1 - ``coverage`` more where n is large). It is larger where many rows
        have the same score: predicted quantiles of a target of few values are often equal to it, so that such a target
        is better off with another loss. Rows held out for early stopping chose the number of trees, too, which no
        theorem allows: of 1,500 and more it was not to be seen, in a hard case 100 rows covered 0.896 and 50 rows 0.891
        in place of 0.9. :meth:`calibrate` takes other rows.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
        coverage : float, default=0.9
            In (0, 1).
        offset, exposure : array-like
            As in :meth:`predict`.

        Returns
        -------
        ndarray of float64, shape (n_samples, 2), or (n_samples, n_targets, 2) where y had several columns
            Lower and upper ends, which belong to the interval. Each target has intervals of its own, with the coverage
            of its own.

        Raises
        ------
        ValueError
            If the model was fitted without rows held out for early stopping and :meth:`calibrate` was not called; if
            there are too few calibration rows, fewer than coverage / (1 - coverage); if the loss is that of one
            quantile other than the median.

        Examples
        --------
        >>> from sklearn.datasets import load_diabetes
        >>> X, y = load_diabetes(return_X_y=True)
        >>> model = BoostGradRegressor(n_estimators=20, random_state=0).fit(X, y).calibrate(X, y, cv=5)
        >>> model.predict_interval(X[:3], coverage=0.8).shape
        (3, 2)
        """
        self._check_fitted()
        coverage = check_coverage(coverage)
        intervals = intervals_of(self._loss)
        calibrated = self._calibrated("predict_interval")
        return intervals.interval(self._raw(X, offset, exposure), calibrated, coverage)

    def calibrate(
        self, X: Any, y: Any, sample_weight: Any = None, *, cv: Any = None, offset: Any = None, exposure: Any = None
    ) -> Self:
        """Calibrate :meth:`predict_interval` with other rows than those that early stopping held out.

        Parameters
        ----------
        X, y : array-like
            As in :meth:`fit`. Rows that the model has not seen, or, with ``cv``, its training rows.
        sample_weight : array-like of shape (n_samples,), default=None
            Weights, not negative: the coverage is that of new rows that are as frequent as the weights say.
        cv : int, scikit-learn splitter or iterable of (train, test), default=None
            Fold by fold a model with ``n_iter_`` iterations is fitted to the other folds of X and y, and the residuals
            of its predictions calibrate this model. An int: so many random folds. No theorem promises the coverage then
            (it does for jackknife+ and CV+, which need the models of all folds to predict; Barber et al. 2021). As
            these models have seen fewer rows than this one, it is rather above than below what is asked for.
        offset, exposure : array-like
            As in :meth:`fit`.

        Returns
        -------
        self

        Raises
        ------
        ValueError
            If something in the data is not what is accepted, or the loss has no intervals. The model stays as it was.
        """
        self._check_fitted()
        intervals_of(self._loss)
        return super().calibrate(X, y, sample_weight, cv=cv, offset=offset, exposure=exposure)

    def score(self, X: Any, y: Any, sample_weight: Any = None, *, offset: Any = None, exposure: Any = None) -> float:
        """How good the predictions are, the higher the better; 1 is best, and a constant has 0 at most.

        R^2, or, of a model of several quantiles, D^2: 1 minus the pinball loss divided by that of the best constant,
        the mean over the levels (:func:`sklearn.metrics.d2_pinball_score` of each).

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
        y : array-like of shape (n_samples,) or (n_samples, n_targets)
            Where there are several targets, the score is the mean of theirs, each of the rows that have it (not NaN).
        sample_weight : array-like of shape (n_samples,), default=None
        offset, exposure : array-like
            As in :meth:`predict`.

        Returns
        -------
        float
        """
        predictions = self.predict(X, offset, exposure)
        n_rows = len(predictions)
        y = self._check_target(y, n_rows, "y")
        weight = checked_weight(sample_weight, n_rows, "sample_weight")
        if isinstance(self._loss, Quantiles):
            return _quantile_score(y, predictions, self._loss.levels, weight)
        if y.shape != predictions.shape:
            raise ValueError(
                f"score needs a prediction for each target: y has shape {y.shape}, and what the model predicts has "
                f"shape {predictions.shape}."
            )
        return _mean_of_targets(NUMBER_METRICS["r2"], list(_targets(y, weight)), predictions.reshape(n_rows, -1).T)

    def _keeps_conformity(self, loss):
        return has_intervals(loss)

    def _row_scores(self, loss, target, raw, of=None):
        return intervals_of(loss).scores(target, raw)

    def _target_attributes(self):
        return {"shape": (self._loss.n_targets,) if isinstance(self._loss, MultiOutput) else ()}

    def _predictions(self, raw):
        predictions = self._loss.inverse_link(raw)
        one = len(predictions) == 1 and not isinstance(self._loss, Quantiles)
        return predictions[0].copy() if one else np.ascontiguousarray(predictions.T)

    def _predicts_one_number(self):
        return n_predictions(self._loss) == 1 and not isinstance(self._loss, Quantiles)

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        several = hasattr(self.quantile, "__len__") or isinstance(self.loss, Quantiles)
        tags.target_tags.multi_output = not several  # several quantiles are of one target
        return tags

    def _check_target(self, y, n_rows, name):
        table = several_columns(y, name)
        if table is not None:
            return target_table(table, n_rows, name)
        return target_numbers(y, n_rows, name, type(self).__name__)

    def _encode_target(self, y):
        return y, {"shape": y.shape[1:], "has_missing": y.ndim == 2 and bool(np.isnan(y).any())}

    def _encode_validation_target(self, y, fitted, name, rows=None):
        if y.shape[1:] != fitted["shape"]:
            raise ValueError(f"{name} must have as many columns as y in fit: it has shape {y.shape}.")
        return y

    def _metric(self, name, known):
        metric = NUMBER_METRICS.get(name)
        n_targets = int(np.prod(known.fitted["shape"], dtype=int))
        if metric is None or isinstance(known.loss, Quantiles) or n_predictions(known.loss) != n_targets:
            return None

        def bind(scored):
            targets = list(_targets(scored.y, scored.weight))
            return lambda raw: _mean_of_targets(metric, targets, known.loss.inverse_link(raw))

        return bind

    def _make_loss(self, fitted):
        names = _regression_losses()
        takes_quantile = self.loss in ("quantile", "expectile") if isinstance(self.loss, str) else False
        if takes_quantile != (self.quantile is not None):
            need = "is needed by" if takes_quantile else "must be None for"
            raise ValueError(f"The 'quantile' parameter of {type(self).__name__} {need} loss {shown(self.loss)}.")
        if isinstance(self.loss, Loss):
            loss = self.loss
        elif isinstance(self.loss, str) and self.loss in names:
            loss = self._quantile_loss(fitted) if takes_quantile else get_loss(self.loss)
        elif callable(self.loss) and not isinstance(self.loss, type):
            loss = CallableLoss(self.loss)
        else:
            raise ValueError(
                f"The 'loss' parameter of {type(self).__name__} must be one of {names}, a function "
                f"f(y, raw, sample_weight) -> (gradient, hessian), or a boostgrad.losses.Loss. "
                f"Got {shown(self.loss)} instead."
            )
        fits = loss.takes("numbers") and not loss.for_classes and not isinstance(loss, MultiOutput)
        if not fits or (loss.n_outputs == 1 and n_predictions(loss) != 1):
            raise ValueError(
                f"The 'loss' parameter of {type(self).__name__} must predict one number a row, or numbers from several "
                f"raw predictions, which {loss!r} does not."
            )
        if not fitted["shape"]:
            return loss
        if isinstance(loss, Quantiles):
            raise ValueError(
                f"The 'loss' parameter of {type(self).__name__} must be for y of several columns, which {loss!r} is "
                "not: several quantiles are of one target."
            )
        if loss.n_outputs == 1 or isinstance(loss, DistributionLoss):
            return MultiOutput.of(loss, fitted["shape"][0], fitted["has_missing"])
        return loss  # of several raw predictions, which gets all columns of y

    def _quantile_loss(self, fitted):
        if np.ndim(self.quantile) == 0:
            return get_loss(self.loss, quantile=float(self.quantile))
        if self.loss != "quantile" or fitted["shape"]:
            raise ValueError(
                f"The 'quantile' parameter of {type(self).__name__} takes several levels for loss 'quantile' and one "
                f"target only. Got {shown(self.quantile)} instead."
            )
        return Quantiles(self.quantile)


def _targets(y: np.ndarray, weight: np.ndarray | None) -> Iterator[tuple[int, Any, np.ndarray, np.ndarray | None]]:
    """Of each target that some row has: its number, the rows that have it, their values and weights."""
    for k, of_target in enumerate(y.reshape(len(y), -1).T):
        there = np.flatnonzero(~np.isnan(of_target))
        if len(there) == len(of_target):
            yield k, slice(None), of_target, weight
        elif len(there):
            yield k, there, of_target[there], weights_of(weight, there)


def _mean_of_targets(metric: Callable[..., float], targets: list, predictions: np.ndarray) -> float:
    each = [metric(y, predictions[k, rows], weight) for k, rows, y, weight in targets]
    return float(np.mean(each)) if each else float("nan")


def _quantile_score(y: np.ndarray, predictions: np.ndarray, levels: list[float], weight: np.ndarray | None) -> float:
    from sklearn.metrics import d2_pinball_score

    each = zip(levels, predictions.T, strict=True)
    return float(np.mean([d2_pinball_score(y, of, alpha=level, sample_weight=weight) for level, of in each]))


def _regression_losses() -> list[str]:
    """Names of the registered losses that a regressor can make without being told more."""
    return [
        name
        for name, cls in registered_losses().items()
        if cls.target == "numbers" and not cls.for_classes and cls not in (MultiOutput, Quantiles, UnnamedLoss)
    ]
