"""Learning to rank."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Self

import numpy as np

from boostgrad.estimators.base import BoostGrad, documented
from boostgrad.estimators.samples import Given
from boostgrad.estimators.scoring import is_own_metric
from boostgrad.inputs import checked_groups, checked_weight, target_numbers
from boostgrad.metrics import NDCG, MeanAveragePrecision, ndcg


@documented
class BoostGradRanker(BoostGrad):
    """Gradient-boosted trees for the order of the rows of a query.

    Parameters
    ----------
    loss : str, Loss or callable, default="lambdarank"
        "lambdarank" (NDCG), "yetirank" (neighbours in noisy orders; better where queries are few), "xendcg" (cross
        entropy of the gains), "rank_map" (mean average precision) or "pairwise" (RankNet), or an instance of a class in
        :mod:`boostgrad.losses`, such as ``LambdaRank(truncation=10)``. Or a function
        ``f(y, raw, sample_weight) -> (gradient, hessian)`` of relevances and scores, as they are given; one with a
        parameter ``groups`` gets the number of the query of each row, from 0. See
        :class:`boostgrad.losses.CallableLoss`, which takes a function of values for early stopping, too; without one,
        ``scoring="ndcg"`` says when to stop.
    {parameters}

    Attributes
    ----------
    {attributes}

    Examples
    --------
    >>> import numpy as np
    >>> rng = np.random.default_rng(0)
    >>> X, groups = rng.random((400, 3)), np.repeat(np.arange(40), 10)
    >>> relevance = np.floor(3 * X[:, 0])
    >>> model = BoostGradRanker(random_state=0).fit(X, relevance, groups=groups)
    >>> model.score(X, relevance, groups=groups) > 0.95
    True
    """

    def __init__(
        self,
        loss="lambdarank",
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
        groups_val: Any = None,
        offset: Any = None,
        offset_val: Any = None,
    ) -> Self:
        """Fit the model.

        Parameters
        ----------
        X, sample_weight, X_val, sample_weight_val, offset, offset_val : array-like
            As in :meth:`BoostGrad.fit`. The gradient of a row is multiplied by its weight; for weights of queries give
            all rows of a query the same.
        y : array-like of shape (n_samples,)
            Relevance, not negative, such as 0, 1, 2, 3, 4.
        groups : array-like of shape (n_samples,), default=None
            The query that each row belongs to: numbers or strings, in any order. Early stopping sets whole queries
            aside. None: all rows are of one query, of which nothing can be set aside.
        y_val, groups_val : as y, groups, default=None
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
        if X_val is not None and (groups is None) != (groups_val is None):
            raise ValueError("groups and groups_val must be given together: the queries of X and those of X_val.")
        return self._fit(
            Given(X, y, sample_weight, offset, groups=groups),
            Given(X_val, y_val, sample_weight_val, offset_val, groups=groups_val, suffix="_val"),
        )

    def predict(self, X: Any, offset: Any = None) -> np.ndarray:
        """Scores; within a query, rows of higher score come first.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
        offset : array-like of shape (n_samples,), default=None
            Added to the scores, as in :meth:`fit`. None: 0.

        Returns
        -------
        ndarray of float64, shape (n_samples,)
        """
        return self._raw(X, offset)[0]

    def staged_predict(self, X: Any, offset: Any = None) -> Iterator[np.ndarray]:
        """Scores after 1, 2, ... ``n_iter_`` iterations."""
        for raw in self._staged_raw(X, offset):
            yield raw[0].copy()

    def score(
        self,
        X: Any,
        y: Any,
        sample_weight: Any = None,
        *,
        groups: Any = None,
        k: int | None = None,
        offset: Any = None,
    ) -> float:
        """Mean NDCG of the queries, with gains ``2^relevance - 1``; see :func:`boostgrad.metrics.ndcg`.

        Parameters
        ----------
        X, y, sample_weight, groups
            As in :meth:`fit`.
        k : int, default=None
            Only so many first rows of a query count. None: all.
        offset : array-like of shape (n_samples,), default=None
            As in :meth:`predict`.
        """
        score = self.predict(X, offset)
        y = self._check_target(y, len(score), "y")
        weight = checked_weight(sample_weight, len(score), "sample_weight")
        there = np.ones(len(y), bool) if weight is None else weight > 0  # other rows would take ranks from these
        negative = np.flatnonzero((y < 0) & there)
        if len(negative):
            raise ValueError(f"y must hold relevances of at least 0: row {negative[0]} is {y[negative[0]]:g}.")
        if k is not None and (isinstance(k, bool) or not isinstance(k, int | np.integer) or k < 1):
            raise ValueError(f"k must be an integer >= 1, or None. Got {k!r} instead.")
        groups = checked_groups(groups, len(score), "groups")
        return ndcg(
            y[there],
            score[there],
            None if groups is None else groups[there],
            k=k,
            sample_weight=None if weight is None else weight[there],
        )

    def _is_one_group(self, samples):
        return samples.groups is None or super()._is_one_group(samples)

    def _check_target(self, y, n_rows, name):
        return target_numbers(y, n_rows, name, type(self).__name__)

    def _predicts_one_number(self):
        return True

    def _encode_target(self, y):
        return y, {}

    def _encode_validation_target(self, y, fitted, name, rows=None):
        return y

    _own_metrics = ("ndcg", "ndcg@k", "map", "map@k")

    def _metric(self, name, known):
        if not is_own_metric(name, self._own_metrics):
            return None
        which, _, k = name.partition("@")
        options = {"k": int(k) if k else None}

        def bind(scored):
            samples = scored.samples
            rows = (samples.y, samples.groups)
            if which == "map":
                precision = MeanAveragePrecision(*rows, **options, sample_weight=samples.weight)
                return lambda raw: precision(raw[0])
            gain = NDCG(*rows, **options, sample_weight=samples.weight)
            return lambda raw: gain(raw[0], known.n_threads)

        return bind

    def _make_loss(self, fitted):
        return self._loss_of("queries")
