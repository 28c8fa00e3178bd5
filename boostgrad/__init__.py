"""boostgrad: gradient-boosted decision trees."""

from importlib.metadata import PackageNotFoundError, version

from boostgrad.dataset import BoostGradDataset
from boostgrad.estimators import BoostGradClassifier, BoostGradRanker, BoostGradRegressor, BoostGradSurvival

try:
    __version__ = version("boostgrad")
except PackageNotFoundError:  # a source tree that was built in place
    __version__ = "0+unknown"

__all__ = ["BoostGradClassifier", "BoostGradDataset", "BoostGradRanker", "BoostGradRegressor", "BoostGradSurvival"]
