"""The scikit-learn faces, one a module, and what they share."""

from boostgrad.estimators.classifier import BoostGradClassifier
from boostgrad.estimators.ranker import BoostGradRanker
from boostgrad.estimators.regressor import BoostGradRegressor
from boostgrad.estimators.survival import BoostGradSurvival

__all__ = ["BoostGradClassifier", "BoostGradRanker", "BoostGradRegressor", "BoostGradSurvival"]
