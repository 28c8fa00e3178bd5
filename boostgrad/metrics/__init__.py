"""Metrics of arrays, fast enough to be asked after each iteration.

Those of classes and numbers bear the names of scikit-learn's scorers and have their values; they are what ``scoring``
of the estimators means by such a name. Those of the order within queries and of survival times scikit-learn lacks.
"""

from boostgrad.metrics.numbers import NUMBER_METRICS
from boostgrad.metrics.order import (
    NDCG,
    Concordance,
    MeanAveragePrecision,
    concordance_index,
    mean_average_precision,
    ndcg,
)
from boostgrad.metrics.ranks import average_precision, roc_auc

__all__ = [
    "NDCG",
    "NUMBER_METRICS",
    "Concordance",
    "MeanAveragePrecision",
    "average_precision",
    "concordance_index",
    "mean_average_precision",
    "ndcg",
    "roc_auc",
]
