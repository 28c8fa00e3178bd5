"""Losses: what is minimised, told to the grower as a gradient and a hessian a row."""

from boostgrad.losses.autodiff import AutodiffLoss
from boostgrad.losses.base import (
    BadTarget,
    Loss,
    get_loss,
    losses_of,
    n_predictions,
    refuse,
    register,
    registered_losses,
)
from boostgrad.losses.distributions import (
    DistributionLoss,
    GammaNLL,
    LogNormalNLL,
    NegativeBinomialNLL,
    NormalNLL,
    PoissonNLL,
)
from boostgrad.losses.multi import MultiOutput
from boostgrad.losses.own import CallableLoss, UnnamedLoss
from boostgrad.losses.pairs import GradientPairs, RowsByLeaf
from boostgrad.losses.pointwise import BinaryLogLoss, MultilabelLogLoss, MultinomialLogLoss, SquaredError
from boostgrad.losses.quantiles import Quantiles
from boostgrad.losses.ranking import CrossEntropyNDCG, LambdaRank, Pairwise, RankMAP, YetiRank
from boostgrad.losses.regression import (
    AbsoluteError,
    CrossEntropy,
    Expectile,
    Fair,
    Focal,
    Gamma,
    Huber,
    LogCosh,
    Poisson,
    Quantile,
    RelativeError,
    SquaredLogError,
    Tweedie,
)
from boostgrad.losses.survival import AFT, Cox

__all__ = [
    "AFT",
    "Cox",
    "CrossEntropyNDCG",
    "LambdaRank",
    "Pairwise",
    "RankMAP",
    "losses_of",
    "AbsoluteError",
    "AutodiffLoss",
    "BadTarget",
    "BinaryLogLoss",
    "CallableLoss",
    "CrossEntropy",
    "DistributionLoss",
    "Expectile",
    "Fair",
    "Focal",
    "Gamma",
    "GammaNLL",
    "GradientPairs",
    "Huber",
    "LogCosh",
    "LogNormalNLL",
    "Loss",
    "MultiOutput",
    "MultilabelLogLoss",
    "MultinomialLogLoss",
    "NegativeBinomialNLL",
    "NormalNLL",
    "Poisson",
    "PoissonNLL",
    "Quantile",
    "Quantiles",
    "RelativeError",
    "RowsByLeaf",
    "SquaredError",
    "SquaredLogError",
    "Tweedie",
    "UnnamedLoss",
    "YetiRank",
    "get_loss",
    "n_predictions",
    "refuse",
    "register",
    "registered_losses",
]
