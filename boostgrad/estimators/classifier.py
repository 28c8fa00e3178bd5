"""Classification."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any, Self

import numpy as np
from sklearn.base import ClassifierMixin
from sklearn.utils.multiclass import check_classification_targets

from boostgrad import conformal
from boostgrad.data.containers import is_sparse
from boostgrad.estimators import initial
from boostgrad.estimators.base import documented
from boostgrad.estimators.calibrated import CalibratedBoostGrad
from boostgrad.inputs import (
    check_finite,
    checked_weight,
    label_family,
    label_indicators,
    plain_array,
    plain_labels,
    several_columns,
    target_column,
    target_numbers,
    target_table,
)
from boostgrad.losses import (
    BinaryLogLoss,
    CallableLoss,
    Focal,
    Loss,
    MultilabelLogLoss,
    MultinomialLogLoss,
    UnnamedLoss,
)
from boostgrad.losses.own import OwnLoss
from boostgrad.metrics.classes import class_metric, label_metric, soft_metric
from boostgrad.params import shown

# Labels are looked up in so many rows at a time, as their positions take more memory than they do.
BLOCK = 65_536


def _gives_probabilities(loss: Loss, n_classes: int) -> bool:
    """Whether predictions are a number in [0, 1] for each class, as far as some raw ones show."""
    raw = np.zeros((loss.n_outputs, 3)) + [-1.0, 0.0, 2.0]
    found = np.asarray(loss.inverse_link(raw))
    if found.shape != (n_classes, 3) or not ((found >= 0) & (found <= 1)).all():
        return False
    return bool((np.abs(found.sum(axis=0) - 1) < 1e-6).all())


def _class_scores(loss: Loss, raw: np.ndarray) -> np.ndarray:
    """By which the most probable class is found, the largest of several or whether the only one is above 0: raw
    predictions, unless a link that is not ours makes something else of them."""
    own = isinstance(loss, OwnLoss) and loss.inverse is not None and not isinstance(loss.inverse, Loss)
    if loss.ours and not own:
        return raw
    probability = loss.inverse_link(raw)
    return probability[1:] - probability[:1] if len(probability) == 2 else probability


@documented
class BoostGradClassifier(ClassifierMixin, CalibratedBoostGrad):
    """Gradient-boosted trees for classification.

    Parameters
    ----------
    loss : str, Loss or callable, default="log_loss"
        "log_loss": binary or multinomial, as the labels ask for, or one log loss a label where y has two dimensions;
        "focal": for two classes; "cross_entropy": for soft labels, which are the probability of class 1, in [0, 1],
        or of each label where y has two dimensions (an ``init`` without predict_proba predicts them as numbers). Or an
        instance of :class:`boostgrad.losses.Loss` with one output for two classes, or one a class. Or a function
        ``f(y, raw, sample_weight) -> (gradient, hessian)`` of class numbers and log odds, or scores of which softmax
        makes probabilities.
    {parameters}

    Attributes
    ----------
    conformity_scores_ : tuple of boostgrad.conformal.ConformityScores
        What prediction sets are made of, of all rows and of each class, only where rows were held out or
        :meth:`calibrate` was called.
    classes_ : ndarray of shape (n_classes,)
        Labels, sorted; of soft labels, 0 and 1. Where y has two dimensions: the numbers of its columns.
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
        class_weight=None,
    ):
        self._keep(locals())

    def decision_function(self, X: Any, offset: Any = None) -> np.ndarray:
        """Raw predictions: log odds of the second class, or one score a class.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
        offset : array-like of shape (n_samples,) or (n_samples, n_outputs), default=None
            Added to the raw predictions, as in :meth:`fit`. None: 0.

        Returns
        -------
        ndarray of float64, shape (n_samples,) for two classes, else (n_samples, n_classes)
        """
        return _by_row(self._raw(X, offset))

    def predict_proba(self, X: Any, offset: Any = None) -> np.ndarray:
        """Probabilities of the classes.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
        offset : array-like of shape (n_samples,) or (n_samples, n_outputs), default=None
            Added to the raw predictions, as in :meth:`fit`. None: 0.

        Returns
        -------
        ndarray of float64, shape (n_samples, n_classes)
            In the order of ``classes_``. Where y had two dimensions: of each label, independent of the others.
        """
        return self._probabilities(self._raw(X, offset))

    def predict_log_proba(self, X: Any, offset: Any = None) -> np.ndarray:
        """Natural logarithms of :meth:`predict_proba`."""
        with np.errstate(divide="ignore"):
            return np.log(self.predict_proba(X, offset))

    def predict(self, X: Any, offset: Any = None) -> np.ndarray:
        """The most probable class.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
        offset : array-like of shape (n_samples,) or (n_samples, n_outputs), default=None
            Added to the raw predictions, as in :meth:`fit`. None: 0.

        Returns
        -------
        ndarray of shape (n_samples,)
            Labels, of the dtype of ``classes_``. Where y had two dimensions: of shape (n_samples, n_labels), 1 for the
            labels that are more probable than not.
        """
        return self._labels(self._raw(X, offset))

    def score(self, X: Any, y: Any, sample_weight: Any = None, *, offset: Any = None) -> float:
        """Accuracy; where y has several labels a row, the share of the rows all of whose labels are right.

        With soft labels ("cross_entropy") it is the accuracy that is to be expected if labels are drawn with the
        probabilities y: the mean of y where class 1 is predicted and of 1 - y elsewhere, multiplied over the labels of
        a row.

        Parameters
        ----------
        X, y, sample_weight : array-like
            As in :meth:`fit`.
        offset : array-like
            As in :meth:`predict`.

        Returns
        -------
        float
        """
        if self._loss_is_soft():
            raw = self._raw(X, offset)
            weight = checked_weight(sample_weight, raw.shape[1], "sample_weight")
            y = self._check_target(y, raw.shape[1], "y")
            target = self._calibration_target(y, weight, self._target_attributes())
            return soft_metric("accuracy")(target.T, raw, lambda: self._loss.inverse_link(raw), weight)
        from sklearn.metrics import accuracy_score

        predicted = self.predict(X, offset)
        y = self._check_target(y, len(predicted), "y")
        return float(accuracy_score(y, predicted, sample_weight=sample_weight))

    def predict_set(
        self, X: Any, coverage: float = 0.9, *, class_conditional: bool = False, offset: Any = None
    ) -> np.ndarray:
        """Sets of classes that hold the class of a new row with a probability of ``coverage`` (conformal prediction).

        A set is made of the classes whose probability is not below a threshold: the smallest sets on average for their
        coverage where probabilities are right (Sadinle, Lei and Wasserman 2019). A set may be empty, where no class is
        as probable as the true one mostly is. The probability is over new rows of the kind that the model was
        calibrated with, not that of each row.

        Calibrated with n rows that neither fitted the model nor stopped it, the probability is at least ``coverage``,
        and, but for rows of equal probabilities, at most ``coverage`` + 1 / (n + 1) (a hundredth of 1 - ``coverage``
        more where n is large). Rows held out for early stopping chose the number of trees, too, which no theorem
        allows: of 1,500 and more it was not to be seen; a few dozen cover about one per cent less than they should.
        :meth:`calibrate` takes other rows.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
        coverage : float, default=0.9
            In (0, 1).
        class_conditional : bool, default=False
            Whether the coverage is that of the rows of each class rather than of all rows (Mondrian conformal
            prediction; Vovk, Gammerman and Shafer 2005): each class has a threshold of its own. Without it a rare class
            may be in no set at all. A class with too few calibration rows, fewer than coverage / (1 - coverage), is in
            every set.
        offset : array-like
            As in :meth:`predict`.

        Returns
        -------
        ndarray of bool, shape (n_samples, n_classes)
            In the order of ``classes_``.

        Raises
        ------
        ValueError
            If the model was fitted without rows held out for early stopping and :meth:`calibrate` was not called; if
            there are too few calibration rows; if y had several labels a row, or soft ones.

        Examples
        --------
        >>> from sklearn.datasets import load_iris
        >>> X, y = load_iris(return_X_y=True)
        >>> model = BoostGradClassifier(n_estimators=20, random_state=0).fit(X, y).calibrate(X, y, cv=5)
        >>> model.predict_set(X[:2])
        array([[ True, False, False],
               [ True, False, False]])
        """
        self._check_fitted()
        coverage = conformal.check_coverage(coverage)
        self._check_one_label("predict_set")
        calibrated = self._calibrated("predict_set")
        if not isinstance(class_conditional, bool | np.bool_):
            raise ValueError(f"class_conditional must be True or False. Got {class_conditional!r} instead.")
        if not class_conditional:
            conformal.check_finite_thresholds(calibrated[:1], coverage)
            thresholds = calibrated[0].threshold(coverage)
        else:
            thresholds = np.array([of_class.threshold(coverage) for of_class in calibrated[1:]])
        return conformal.class_set(self.predict_proba(X, offset), thresholds)

    def calibrate(self, X: Any, y: Any, sample_weight: Any = None, *, cv: Any = None, offset: Any = None) -> Self:
        """Calibrate :meth:`predict_set` with other rows than those that early stopping held out.

        Parameters
        ----------
        X, y : array-like
            As in :meth:`fit`. Rows that the model has not seen, or, with ``cv``, its training rows.
        sample_weight : array-like of shape (n_samples,), default=None
            Weights, not negative: the coverage is that of new rows that are as frequent as the weights say.
            ``class_weight`` changes nothing here.
        cv : int, scikit-learn splitter or iterable of (train, test), default=None
            Fold by fold a model with ``n_iter_`` iterations is fitted to the other folds of X and y, and the
            probabilities that it gives calibrate this model. An int: so many random folds, of equal shares of the
            classes. No theorem promises the coverage then; as these models have seen fewer rows than this one, it is
            rather above than below what is asked for.
        offset : array-like
            As in :meth:`fit`.

        Returns
        -------
        self

        Raises
        ------
        ValueError
            If something in the data is not what is accepted. The model stays as it was.
        """
        self._check_fitted()
        self._check_one_label("calibrate")
        return super().calibrate(X, y, sample_weight, cv=cv, offset=offset)

    def _check_one_label(self, method: str) -> None:
        if self._is_multilabel:
            raise ValueError(f"{method} needs a model of one label a row; this one was fitted with several.")
        if self._loss_is_soft():
            raise ValueError(f"{method} needs a model of labels; this one was fitted with probabilities (soft labels).")

    def _keeps_conformity(self, loss):
        return not (isinstance(loss, MultilabelLogLoss | UnnamedLoss) or loss.soft)

    def _row_scores(self, loss, target, raw, of=None):
        probability = np.ascontiguousarray(loss.inverse_link(raw).T)
        if of is not None:  # a model of a fold, whose rows may lack some classes
            probability = initial.over_classes(probability, of.classes_, self.classes_)
        return conformal.class_scores(probability, target.astype(np.intp))[None]

    def _conformity(self, scores, target, weight, fitted):
        return conformal.by_class(scores[0], target.astype(np.intp), weight, len(fitted["classes_"]))

    def _target_attributes(self):
        return {"classes_": self.classes_, "multilabel": self._is_multilabel, "soft": self._loss_is_soft()}

    def _unbalanced(self, samples, fitted):
        if "class weights" not in fitted:
            return samples.weight
        of_row = fitted["class weights"][samples.y.astype(np.intp)]
        weight = 1.0 if samples.weight is None else samples.weight  # the products may have come out as 1
        return np.divide(weight, of_row, out=np.zeros(len(samples)), where=of_row > 0)

    def _fold_strata(self, target):
        return target

    def _check_fold(self, number, target, given):
        missing = np.setdiff1d(np.arange(len(self.classes_)), target.astype(np.intp))
        fixed = "offset" if "offset" in given else "init" if "init_" in self.__dict__ else "loss"
        is_fixed = fixed == "offset" or (fixed == "init" and self.init_ is self.init) or not isinstance(self.loss, str)
        if len(missing) and is_fixed:
            label = self.classes_[missing].tolist()[0]
            raise ValueError(
                f"cv: class {label!r} does not occur in the training rows of fold {number}, but {fixed} is one of all "
                f"{len(self.classes_)} classes. Give folds that each have rows of all classes, or calibrate with other "
                "rows than those of fit."
            )

    def staged_decision_function(self, X: Any, offset: Any = None) -> Iterator[np.ndarray]:
        """:meth:`decision_function` after 1, 2, ... ``n_iter_`` iterations."""
        for raw in self._staged_raw(X, offset):
            yield _by_row(raw).copy()

    def staged_predict_proba(self, X: Any, offset: Any = None) -> Iterator[np.ndarray]:
        """:meth:`predict_proba` after 1, 2, ... ``n_iter_`` iterations."""
        for raw in self._staged_raw(X, offset):
            yield self._probabilities(raw)

    def staged_predict(self, X: Any, offset: Any = None) -> Iterator[np.ndarray]:
        """:meth:`predict` after 1, 2, ... ``n_iter_`` iterations."""
        for raw in self._staged_raw(X, offset):
            yield self._labels(raw)

    def _predicts_one_number(self):
        return False

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.classifier_tags.multi_label = True  # "multi_output" would be several targets of several classes each
        return tags

    @property
    def _is_multilabel(self) -> bool:
        return isinstance(self._loss, MultilabelLogLoss)

    def _loss_is_soft(self) -> bool:
        """Whether the model was fitted with soft labels."""
        self._check_fitted()
        return self._loss.soft

    def _wants_soft(self) -> bool:
        """Whether a fit takes y as soft labels."""
        if isinstance(self.loss, Loss):
            return self.loss.soft
        return isinstance(self.loss, str) and self.loss == "cross_entropy"

    def _probabilities(self, raw):
        if isinstance(self._loss, UnnamedLoss):
            raise ValueError(
                "this model was loaded from a file that could not hold its loss, so it has no probabilities; "
                "decision_function and predict work"
            )
        return np.ascontiguousarray(self._loss.inverse_link(raw).T)

    def _labels(self, raw):
        if self._is_multilabel:
            return np.ascontiguousarray((raw > 0).T).astype(np.int64)
        scores = _class_scores(self._loss, raw)
        return self.classes_[(scores[0] > 0).astype(np.intp) if len(scores) == 1 else scores.argmax(axis=0)]

    def _check_target(self, y, n_rows, name):
        if is_sparse(y) and y.shape[1] == 1:
            y = y.toarray()[:, 0]
        if self._wants_soft():
            y = y.toarray() if is_sparse(y) else y
            table = several_columns(y, name)
            if table is None:
                return target_numbers(y, n_rows, name, type(self).__name__)
            return target_table(table, n_rows, name)
        if isinstance(y, list | tuple):
            y = np.asarray(y, dtype=object)  # else numpy would make strings of ["a", 1]
        if is_sparse(y) or (len(getattr(y, "shape", ())) == 2 and y.shape[1] > 1):
            return label_indicators(plain_array(y, name), n_rows, name)
        y = target_column(y, n_rows, name, type(self).__name__)
        if y.dtype.kind == "O":
            y = plain_labels(y, name)
        if y.dtype.kind in "fmM":
            check_finite(y, name)
        # whole numbers and words need no check, which looks through all installed packages the first time
        if y.dtype.kind not in "biuU" and not (y.dtype.kind == "f" and (y == np.floor(y)).all()):
            check_classification_targets(y)
        return y

    def _encode_target(self, y):
        soft = self._wants_soft()
        if y.ndim == 2:
            return y, {"classes_": np.arange(y.shape[1]), "multilabel": True, "soft": soft}
        if soft:
            if y[0] in (0, 1) and (y == y[0]).all():
                raise ValueError(
                    f"{type(self).__name__} needs two classes of some probability in y (rows of weight 0 do not "
                    f"count): all rows are of class {y[0]:g}."
                )
            return y, {"classes_": np.array([0, 1]), "multilabel": False, "soft": True}
        classes = np.unique(y)
        if len(classes) < 2:
            raise ValueError(
                f"{type(self).__name__} needs at least two classes in y (rows of weight 0 do not count): there is only "
                f"one class, {classes.tolist()[0]!r}."
            )
        codes = np.empty(len(y))
        for begin in range(0, len(y), BLOCK):  # many times faster than return_inverse of unique
            codes[begin : begin + BLOCK] = np.searchsorted(classes, y[begin : begin + BLOCK])
        return codes, {"classes_": classes, "multilabel": False, "soft": False}

    def _target_of(self, scored, fitted):
        if fitted["multilabel"] or fitted["soft"]:
            return scored.y.copy()
        return fitted["classes_"][scored.y.astype(np.intp)]

    def _metric(self, name, known):
        labels, classes = known.fitted["multilabel"], known.fitted["classes_"]
        if known.fitted["soft"]:
            return self._metric_of_soft(name, known)
        if name == "roc_auc" and len(classes) > 2 and not labels:
            raise ValueError(
                f"scoring='roc_auc' cannot score this model: it is for two classes, and y has {len(classes)}; "
                "'roc_auc_ovr', 'roc_auc_ovr_weighted' and 'roc_auc_ovo' are for several."
            )
        metric = label_metric(name) if labels else class_metric(name, len(classes), _positive(classes))
        if metric is None:
            return None

        def bind(scored):
            codes = np.ascontiguousarray(scored.y.T) if labels else scored.y.astype(np.intp)
            if labels:
                return lambda raw: metric(codes, raw, lambda: known.loss.inverse_link(raw), scored.weight)
            return lambda raw: metric(
                codes, _class_scores(known.loss, raw), lambda: known.loss.inverse_link(raw), scored.weight
            )

        return bind

    def _metric_of_soft(self, name, known):
        labels = known.fitted["multilabel"]
        metric = soft_metric(name, labels)
        if metric is None:
            ours = "'loss' and 'accuracy'" if labels else "'loss', 'neg_log_loss' and 'accuracy'"
            raise ValueError(
                f"scoring={name!r} cannot score this model: it is for labels, and y holds probabilities (soft labels); "
                f"{ours} are for these, or a scorer of your own."
            )

        def bind(scored):
            y = np.ascontiguousarray(scored.y.T)
            return lambda raw: metric(y, raw, lambda: known.loss.inverse_link(raw), scored.weight)

        return bind

    def _encode_validation_target(self, y, fitted, name, rows=None):
        classes = fitted["classes_"]
        if fitted["multilabel"] != (y.ndim == 2) or (y.ndim == 2 and y.shape[1] != len(classes)):
            raise ValueError(f"{name} must have as many columns as y in fit.")
        if y.ndim == 2 or fitted["soft"]:
            return y
        if label_family(classes) != label_family(y):
            raise ValueError(f"Labels in {name} are {label_family(y)}, those in y of fit are {label_family(classes)}.")
        positions = np.clip(np.searchsorted(classes, y), 0, len(classes) - 1)
        unknown = np.flatnonzero(classes[positions] != y)
        if len(unknown):
            row = unknown[0] if rows is None else rows[unknown[0]]
            raise ValueError(f"{name}, row {row}: label {y[unknown].tolist()[0]!r} does not occur in y of fit.")
        return positions.astype(np.float64)

    def _raw_of_init(self, init, X, loss, fitted, training=None):
        known = fitted["classes_"]
        if loss.soft and not hasattr(init, "predict_proba"):  # few classifiers take soft labels, so regressors may, too
            n_numbers = len(known) if isinstance(loss, MultilabelLogLoss) else 1
            prediction = initial.counted(initial.numbers(init, X), n_numbers, loss, init)
            return initial.raw_of(initial.in_range(prediction, loss, fitted, training), loss, init)
        if isinstance(loss, MultilabelLogLoss):
            return initial.raw_of(initial.labels(init, X, len(known)), loss, init)
        return initial.probabilities_as_raw(initial.classes(init, X, known), loss, init)

    def _make_loss(self, fitted):
        n_classes = len(fitted["classes_"])
        if fitted["multilabel"]:
            return self._multilabel_loss(n_classes)
        log_loss = BinaryLogLoss() if n_classes == 2 else MultinomialLogLoss(n_classes)
        if isinstance(self.loss, Loss):
            return self._given_loss(n_classes, log_loss)
        if fitted["soft"]:
            return BinaryLogLoss(soft=True)
        if isinstance(self.loss, str) and self.loss == "focal" and n_classes == 2:
            return Focal()
        if callable(self.loss) and not isinstance(self.loss, type):
            return CallableLoss(self.loss, log_loss.n_outputs, inverse_link=log_loss)
        if not isinstance(self.loss, str) or self.loss != "log_loss":
            raise ValueError(
                f"The 'loss' parameter of {type(self).__name__} must be 'log_loss', 'focal' for two classes, "
                f"'cross_entropy' for soft labels, a function f(y, raw, sample_weight) -> (gradient, hessian), or a "
                f"boostgrad.losses.Loss. Got {shown(self.loss)} instead."
            )
        return log_loss

    def _given_loss(self, n_classes, log_loss):
        """The parameter, a loss; one of a function without a link has that of the log loss."""
        is_own = isinstance(self.loss, OwnLoss)
        loss = self.loss.linked(log_loss) if is_own else self.loss
        fits = loss.takes("numbers") and loss.n_outputs == log_loss.n_outputs
        if fits and _gives_probabilities(loss, n_classes):
            return loss
        remedy = f" Leave its inverse_link out, or give it as boostgrad.losses.{log_loss!r}." if fits and is_own else ""
        raise ValueError(
            f"The 'loss' parameter of {type(self).__name__} must have {log_loss.n_outputs} output(s) and predict "
            f"{n_classes} probabilities a row for {n_classes} classes, which {self.loss!r} does not.{remedy}"
        )

    def _multilabel_loss(self, n_labels):
        if isinstance(self.loss, str) and self.loss in ("log_loss", "cross_entropy"):
            return MultilabelLogLoss(n_labels, soft=self._wants_soft())
        raise ValueError(
            f"The 'loss' parameter of {type(self).__name__} must be 'log_loss' where y has two dimensions, or "
            f"'cross_entropy' for soft labels. Got {shown(self.loss)} instead."
        )

    def _weighted(self, samples, fitted):
        if self.class_weight is None:
            return samples
        if fitted["multilabel"]:
            raise ValueError("class_weight needs one label a row; y has two dimensions.")
        if "class weights" not in fitted:  # validation rows get those of the training rows
            fitted["class weights"] = self._class_weights(samples, fitted)
        weights = fitted["class weights"]
        if fitted["soft"]:  # as if each row were two, one of class 1 with the weight y and one of class 0
            of_second = weights[1] * samples.y
            of_row = of_second + weights[0] * (1 - samples.y)
            samples = replace(samples, y=np.divide(of_second, of_row, out=np.zeros(len(samples)), where=of_row > 0))
        else:
            of_row = weights[samples.y.astype(np.intp)]
        weight = of_row if samples.weight is None else of_row * samples.weight
        if not weight.any():
            raise ValueError("class_weight is zero for all rows.")
        return replace(samples, weight=weight)

    def _class_weights(self, samples, fitted):
        """The weight of each class."""
        classes = fitted["classes_"]
        if isinstance(self.class_weight, str):
            if fitted["soft"]:
                share = np.average(samples.y, weights=samples.weight)
                return 0.5 / np.array([1 - share, share])
            mass = np.bincount(samples.y.astype(np.intp), weights=samples.weight, minlength=len(classes))
            return mass.sum() / (len(classes) * mass)
        labels = classes.tolist()
        for label in self.class_weight:  # it may be absent from y, as rare labels are from a fold
            if isinstance(label, str) != isinstance(labels[0], str):
                are = "strings" if isinstance(labels[0], str) else "no strings"
                raise ValueError(f"class_weight: the labels in y are {are}. Got a weight of {label!r}.")
        return np.array([float(self.class_weight.get(label, 1.0)) for label in labels])

    def _strata(self, target):
        if target.ndim == 2 or self._wants_soft():
            return None
        _, counts = np.unique(target, return_counts=True)
        held_out = len(target) * self.validation_fraction
        return target if counts.min() >= 2 and min(held_out, len(target) - held_out) >= len(counts) else None


def _positive(classes: np.ndarray) -> int:
    """Of two classes: the one that scikit-learn's metrics of one class are about, label 1, or else the second."""
    labels = classes.tolist()
    return labels.index(1) if len(labels) == 2 and 1 in labels else 1


def _by_row(raw: np.ndarray) -> np.ndarray:
    return raw[0] if len(raw) == 1 else np.ascontiguousarray(raw.T)
