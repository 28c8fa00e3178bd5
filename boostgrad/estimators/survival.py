"""Survival analysis."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Self

import numpy as np

from boostgrad.data.containers import taken
from boostgrad.dataset import BoostGradDataset
from boostgrad.estimators import initial
from boostgrad.estimators.base import BoostGrad, documented
from boostgrad.estimators.samples import Given
from boostgrad.inputs import checked_weight, survival_bounds
from boostgrad.losses import AFT, Cox, Loss
from boostgrad.metrics import Concordance, concordance_index
from boostgrad.params import shown

# Rows that are held out tell the scale of accelerated failure times where so many of them have an upper bound: to about
# a sixth, then, and the residuals of training rows are further off where there are few.
EVENTS_FOR_SCALE = 20


@documented
class BoostGradSurvival(BoostGrad):
    """Gradient-boosted trees for times until an event, some of which are censored.

    Parameters
    ----------
    loss : str, Loss or callable, default="cox"
        "cox": proportional hazards, for observed times and times censored on the right. "aft": accelerated failure
        time with normal noise of log(time), also for times censored on the left and to an interval; its scale is
        estimated, from the rows that early stopping looks at where there are enough. Or an instance, such as
        ``boostgrad.losses.AFT("logistic", scale=0.8)``, whose scale is kept. Or a function
        ``f(y, raw, sample_weight) -> (gradient, hessian)`` whose y has two columns, the lower and the upper bound of
        each time, whatever fit was given: they are the same where the event was observed, and the upper one is
        infinite where the time was censored on the right. ``raw`` is the prediction, and a risk where it is scored:
        the higher, the earlier the event. There are no survival functions then. See
        :class:`boostgrad.losses.CallableLoss`, which takes a function of values for early stopping, too; without one,
        ``scoring="concordance_index"`` says when to stop.
    {parameters}

    Attributes
    ----------
    event_times_ : ndarray of float64, shape (n_times,)
        Times at which an event was observed, ascending. For "aft", where no time was observed exactly, the finite
        bounds above 0 of the times.
    baseline_hazard_ : ndarray of float64, shape (n_times,) or (0,)
        For "cox": Breslow's cumulative hazard of a row whose raw prediction is 0, at these times.
    log_baseline_hazard_ : ndarray of float64, shape (n_times,) or (0,)
        Its logarithm, which is finite even where offsets were far from 0.
    {attributes}

    Examples
    --------
    >>> import numpy as np
    >>> rng = np.random.default_rng(0)
    >>> X = rng.random((300, 2))
    >>> time, end = rng.exponential(np.exp(-2 * X[:, 0])), rng.exponential(2.0, 300)
    >>> y = np.column_stack([np.minimum(time, end), time <= end])
    >>> model = BoostGradSurvival(n_estimators=20, random_state=0).fit(X, y)
    >>> model.predict_survival_function(X[:5], times=[0.1, 0.5]).shape
    (5, 2)
    """

    def __init__(
        self,
        loss="cox",
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
    ) -> Self:
        """Fit the model.

        Parameters
        ----------
        X, sample_weight, groups, X_val, sample_weight_val, offset, offset_val : array-like
            As in :meth:`BoostGrad.fit`; but for "cox" an event of weight 2 is not two tied ones, as in R's coxph.
        y : structured array of shape (n_samples,), or array or data frame of shape (n_samples, 2)
            One of

            - a structured array or data frame of a bool (whether the event was observed) and a time, in any order, as
              in scikit-survival;
            - two columns, the time and whether the event was observed (bool, or 0 and 1);
            - for ``loss="aft"`` two columns, a lower and an upper bound of the time. They are equal where the event
              was observed; the upper one is infinite where the time was censored on the right, the lower one 0 where
              it was on the left. A second column of nothing but 0 and 1 says whether events were observed.

            In data frames, and in structured arrays, names decide before types and order do, in upper or lower case:
            "time" or "duration", "event", "status" or "observed", "lower" and "upper".
        y_val : as y, default=None
            Of the validation data.

        Returns
        -------
        self

        Raises
        ------
        ValueError
            If a parameter, or something in the data, is not what is accepted; the message says what and where. The
            estimator stays as it was.
        """
        if isinstance(X, BoostGradDataset):
            raise ValueError(
                f"{type(self).__name__} needs X itself: baseline and scale come from predictions for its rows, and a "
                "BoostGradDataset holds bins."
            )
        return self._fit(
            Given(X, y, sample_weight, offset, groups=groups),
            Given(X_val, y_val, sample_weight_val, offset_val, suffix="_val"),
        )

    def predict(self, X: Any, offset: Any = None) -> np.ndarray:
        """Risks: the higher, the earlier the event.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
        offset : array-like of shape (n_samples,), default=None
            Added to the raw predictions, as in :meth:`fit`. None: 0.

        Returns
        -------
        ndarray of float64, shape (n_samples,)
            For "cox" the logarithm of the hazard relative to the baseline, for "aft" minus the logarithm of the median
            time (of the location of log(time), with an "extreme" distribution), for functions the raw prediction.
        """
        return _risk(self._raw(X, offset), self._loss)

    def staged_predict(self, X: Any, offset: Any = None) -> Iterator[np.ndarray]:
        """Risks after 1, 2, ... ``n_iter_`` iterations."""
        for raw in self._staged_raw(X, offset):
            yield _risk(raw, self._loss).copy()

    def predict_survival_function(self, X: Any, times: Any = None, offset: Any = None) -> np.ndarray:
        """Probability that the event is later than each of some times.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
        times : array-like of shape (n_times,), default=None
            Not negative. None: ``event_times_``, the times at which an event was observed, or, for "aft" where none
            was observed exactly, the finite bounds above 0 that the model was trained on.
        offset : array-like of shape (n_samples,), default=None
            As in :meth:`predict`.

        Returns
        -------
        ndarray of float64, shape (n_samples, n_times)
        """
        return np.exp(-self.predict_cumulative_hazard_function(X, times, offset))

    def predict_cumulative_hazard_function(self, X: Any, times: Any = None, offset: Any = None) -> np.ndarray:
        """Minus the logarithm of :meth:`predict_survival_function`."""
        self._check_fitted()
        if not isinstance(self._loss, AFT | Cox):
            raise ValueError(
                f"survival functions need loss 'cox' or 'aft'; this model was fitted with "
                f"{self._loss.name or repr(self._loss)!r}, which predicts risks alone."
            )
        raw = self._raw(X, offset)
        times = self.event_times_ if times is None else _checked_times(times)
        if isinstance(self._loss, AFT):
            return self._loss.cumulative_hazard(raw, times)
        steps = np.concatenate([[-np.inf], self.log_baseline_hazard_])
        with np.errstate(over="ignore"):  # a hazard without bound: nobody is left
            return np.exp(raw[0][:, None] + steps[np.searchsorted(self.event_times_, times, side="right")])

    def score(self, X: Any, y: Any, sample_weight: Any = None, *, offset: Any = None) -> float:
        """Harrell's concordance index; see :func:`boostgrad.metrics.concordance_index`.

        Parameters
        ----------
        X, y, sample_weight
            As in :meth:`fit`.
        offset
            As in :meth:`predict`.
        """
        risk = self.predict(X, offset)
        bounds = self._check_target(y, len(risk), "y")
        return concordance_index(bounds, risk, checked_weight(sample_weight, len(risk), "sample_weight"))

    _FITTED_ARRAYS = (*BoostGrad._FITTED_ARRAYS, "event_times_", "baseline_hazard_", "log_baseline_hazard_")
    _FITTED = (*BoostGrad._FITTED, "event_times_", "baseline_hazard_", "log_baseline_hazard_")

    def _restore(self, stored, classes):
        super()._restore(stored, classes)
        if "log_baseline_hazard_" not in stored.arrays:  # of an earlier version
            self.log_baseline_hazard_ = np.log(self.baseline_hazard_)

    def _check_target(self, y, n_rows, name):
        may_be_bounds = not (isinstance(self.loss, Cox) or (isinstance(self.loss, str) and self.loss == "cox"))
        return survival_bounds(y, n_rows, name, type(self).__name__, may_be_bounds)

    def _row_link(self):
        return lambda raw: _risk(raw[:, None], self._loss)

    def _predicts_one_number(self):
        return True

    def _encode_target(self, y):
        return y, {}

    def _encode_validation_target(self, y, fitted, name, rows=None):
        return y

    def _raw_of_init(self, init, X, loss, fitted, training=None):
        """Risks as they are, and for "aft" logarithms of times; what :meth:`predict` gives of such a model are none."""
        prediction = initial.numbers(init, X)
        if not isinstance(loss, AFT):
            return initial.counted(prediction, loss.n_outputs, loss, init)
        if isinstance(init, BoostGradSurvival):
            if isinstance(init._loss, AFT):
                return -prediction
            raise ValueError(
                f"init: a model with loss {init._loss.name!r} predicts risks, and 'aft' starts from times."
            )
        bad = np.argwhere(prediction <= 0)
        if len(bad):
            raise ValueError(
                f"init: {type(init).__name__} predicts {prediction[tuple(bad[0])]:g} for row {bad[0, 1]}, and 'aft' "
                "starts from times, which are positive."
            )
        return initial.raw_of(prediction, loss, init)

    def _make_loss(self, fitted):
        return self._loss_of("times")

    def _adapted(self, loss, samples):
        """For "aft": the scale of the times as they are; trees can only make it smaller."""
        if not isinstance(self.loss, str) or not isinstance(loss, AFT):
            return loss
        for _ in range(3):  # location and scale in turns
            target = loss.prepare(samples.y, samples.weight)
            raw = np.zeros((1, len(samples)))
            if not self._starts_from_zero():
                raw += loss.init_raw(target, samples.weight, samples.offset)[:, None]
            loss = loss.with_best_scale(target, raw if samples.offset is None else raw + samples.offset, samples.weight)
        return loss

    def _completes_by_held_out(self, loss):
        return isinstance(loss, AFT) and isinstance(self.loss, str)

    def _completed(self, loss, samples, raw, fitted, unseen=None):
        """Baseline hazard, at the predictions for the training rows, or scale: by rows that were held out where there
        are enough, for trees make the residuals of training rows too small."""
        fitted["event_times_"], log_baseline = _event_times(samples.y, isinstance(loss, AFT)), np.empty(0)
        if isinstance(loss, Cox):
            log_baseline = loss.prepare(samples.y, samples.weight).log_baseline(raw()[0])
        fitted.update(_hazards(log_baseline))
        if not isinstance(loss, AFT) or not isinstance(self.loss, str):
            return loss
        if unseen is not None and np.isfinite(unseen[0].y[:, 1]).sum() >= EVENTS_FOR_SCALE:
            return loss.with_best_scale(loss.prepare(unseen[0].y, unseen[0].weight), unseen[1], unseen[0].weight)
        return loss.with_best_scale(loss.prepare(samples.y, samples.weight), raw(), samples.weight)

    _own_metrics = ("concordance_index",)

    def _metric(self, name, known):
        if name not in self._own_metrics:
            return None

        def bind(scored):
            metric = Concordance(scored.y, scored.weight)
            return lambda raw: metric(_risk(raw, known.loss))

        return bind

    def _target_of(self, scored, fitted):
        """As it was given: metrics of other libraries want it in forms of their own."""
        return taken(scored.given.y, scored.samples.rows, f"y{scored.given.suffix}")

    def _split_target(self, target):
        """Whether there was an event, which splitters can keep the shares of."""
        return target[:, 0] == target[:, 1]

    def _strata(self, target):
        observed = self._split_target(target)
        return observed if min(observed.sum(), (~observed).sum()) >= 2 else None


def _event_times(bounds: np.ndarray, or_bounds: bool) -> np.ndarray:
    """Times at which an event was observed; where there are none, and if ``or_bounds``, what is known of times."""
    observed = bounds[:, 0] == bounds[:, 1]
    times = bounds[observed, 0]
    if or_bounds and not len(times):
        times = bounds[np.isfinite(bounds) & (bounds > 0)]
    return np.unique(times)


def _hazards(log_baseline: np.ndarray) -> dict[str, np.ndarray]:
    with np.errstate(over="ignore"):
        return {"baseline_hazard_": np.exp(log_baseline), "log_baseline_hazard_": log_baseline}


def _risk(raw: np.ndarray, loss: Loss) -> np.ndarray:
    return -raw[0] if isinstance(loss, AFT) else raw[0]


def _checked_times(times: Any) -> np.ndarray:
    try:
        times = np.atleast_1d(np.asarray(times, dtype=np.float64))
    except (TypeError, ValueError):
        raise ValueError(f"times must be numbers. Got {shown(times)} instead.") from None
    if times.ndim != 1:
        raise ValueError(f"times must be one-dimensional; it has shape {times.shape}.")
    bad = np.flatnonzero(~(times >= 0))
    if len(bad):
        raise ValueError(f"times must not be negative or NaN: entry {bad[0]} is {times[bad[0]]}.")
    return times
