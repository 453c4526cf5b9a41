"""Logistic regression of few columns, each with a penalty of its own, to the last digit."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from monai_bone_ssl.errors import ConfigError, ReasonCode

__all__ = ["fit_logistic_regression", "sigmoid"]

Floats = npt.NDArray[np.float64]

_MAX_STEPS = 100
_TOLERANCE = 1e-12  # gain of a further step, in loss an image, below which the fit ends


def fit_logistic_regression(design: Floats, labels: npt.NDArray[np.int64], ridge: Floats) -> Floats:
    """Minimise the sum of log-losses plus ``sum(ridge * coefficients ** 2) / 2`` by damped Newton steps.

    scikit-learn has one penalty for all columns but the intercept; here a column may go free beside others
    that are held back.

    Parameters
    ----------
    design
        Design matrix [n, k]; an intercept is a column of ones.
    labels
        Label of each row, 0 or 1 [n].
    ridge
        Penalty of each column [k], above 0; a tiny one leaves the column free, but the coefficient finite
        where the labels can be separated.

    Returns
    -------
    Coefficients [k].

    Raises
    ------
    ConfigError
        ``INVALID_DATA`` where the labels are of one class.
    """
    if labels.min() == labels.max():
        text = "the labels are of one class, expected positive and negative ones"
        raise ConfigError(ReasonCode.INVALID_DATA, text)
    coefficients = np.zeros(design.shape[1])
    loss = _loss(coefficients, design, labels, ridge)
    for _ in range(_MAX_STEPS):
        probabilities = sigmoid(design @ coefficients)
        gradient = design.T @ (probabilities - labels) + ridge * coefficients
        curvature = (design.T * (probabilities * (1 - probabilities))) @ design + np.diag(ridge)
        step = np.linalg.solve(curvature, gradient)
        gain = float(gradient @ step)
        if gain < _TOLERANCE * len(labels):
            break
        size = 1.0
        while (stepped := _loss(coefficients - size * step, design, labels, ridge)) > loss - size * gain / 4:
            size /= 2
            if size < 1e-9:  # rounding is all that is left
                return coefficients
        coefficients, loss = coefficients - size * step, stepped
    return coefficients


def sigmoid(logits: Floats) -> Floats:
    """Probabilities [...] of logits [...]; tiny ones keep all their digits."""
    return np.asarray(np.exp(-np.logaddexp(0, -logits)))


def _loss(coefficients: Floats, design: Floats, labels: npt.NDArray[np.int64], ridge: Floats) -> float:
    logits = design @ coefficients
    return float((np.logaddexp(0, logits) - labels * logits).sum() + ridge @ coefficients**2 / 2)
