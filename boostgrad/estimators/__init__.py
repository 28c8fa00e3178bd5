"""The scikit-learn faces, one a module, and what they share."""

from boostgrad.estimators.classifier import BoostGradClassifier
from boostgrad.estimators.regressor import BoostGradRegressor

__all__ = ["BoostGradClassifier", "BoostGradRegressor"]
