"""From predictions to raw ones, by the names of links."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

# Probabilities and means stay this far from where their logarithms end.
TINY = 1e-15


def log_of_means(mean: np.ndarray) -> np.ndarray:
    return np.log(np.maximum(mean, TINY))


def log_odds(p: np.ndarray) -> np.ndarray:
    p = np.clip(p, TINY, 1 - TINY)
    return np.log(p) - np.log1p(-p)


def log_odds_of_second(p: np.ndarray) -> np.ndarray:
    """Of two classes, from the probabilities of both, shape (2, n_rows); shape (1, n_rows)."""
    log_p = np.log(np.clip(p, TINY, 1.0))
    return log_p[1:] - log_p[:1]


def centred_log(p: np.ndarray) -> np.ndarray:
    """Scores whose softmax the probabilities are, with mean 0."""
    log_p = np.log(np.clip(p, TINY, 1.0))
    return log_p - log_p.mean(axis=0)


# Between what predictions must lie for them; anywhere for others.
RANGES = {"log": (0.0, np.inf), "log1p": (-1.0, np.inf), "logit": (0.0, 1.0)}

# From predictions to raw ones.
LINKS: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    "identity": np.array,
    "log": log_of_means,
    "log1p": lambda prediction: np.log1p(np.maximum(prediction, TINY - 1)),
    "logit": log_odds,
    "multinomial_logit": centred_log,
}
