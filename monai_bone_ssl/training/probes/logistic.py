"""L2-regularised logistic regression with two classes, for many strengths and folds at the same time.

scikit-learn fits one strength after the other, and each of its steps multiplies the features by one vector,
which a processor does at the speed of its memory. Here every strength and fold is a column of a matrix, and
all columns take each step together; see :mod:`~monai_bone_ssl.training.probes.lbfgs`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from monai_bone_ssl.errors import ConfigError, ReasonCode
from monai_bone_ssl.training.data import TrainTest
from monai_bone_ssl.training.probes.lbfgs import Regressions, minimise

__all__ = ["LinearProbe", "fit_logistic", "out_of_fold_logits"]

FloatArray = npt.NDArray[np.float32]
IntArray = npt.NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class LinearProbe:
    """Logits are ``features @ weight.T + bias``; the features' standardisation is folded in."""

    weight: FloatArray
    """Weights [K, D] of D features; K = 1 for two classes."""
    bias: FloatArray
    """Constants [K]."""

    def logits(self, features: FloatArray) -> FloatArray:
        """Logits [N, K] of features [N, D]."""
        return features @ self.weight.T + self.bias


def fit_logistic(
    features: FloatArray | Tensor, labels: IntArray | Tensor, strengths: Sequence[float]
) -> tuple[LinearProbe, ...]:
    """Fit standardised features for each strength C: minimise C * sum of log-losses + ||w||^2 / 2.

    Parameters
    ----------
    features
        Features of the images [N, D], on the device to compute on.
    labels
        Labels [N], 0 or 1.
    strengths
        Inverse L2 strengths (scikit-learn's C), above 0. The intercept is not regularised.

    Returns
    -------
    One probe for each strength.

    Raises
    ------
    ConfigError
        With code ``invalid_data`` where the labels are of one class or the features are not finite.
    """
    one_set = torch.ones(len(labels), 1, dtype=torch.bool)
    weight, bias = _fit(features, labels, one_set, strengths)
    return tuple(
        LinearProbe(w[None], b[None]) for w, b in zip(_float32(weight[0]), _float32(bias[0]), strict=True)
    )


def out_of_fold_logits(
    features: FloatArray | Tensor,
    labels: IntArray | Tensor,
    folds: Sequence[TrainTest],
    strengths: Sequence[float],
) -> FloatArray:
    """Logits [len(strengths), N] of each image from the fit that did not see its fold, all fitted together.

    Parameters
    ----------
    features, labels, strengths
        See :func:`fit_logistic`; each fold is standardised by its own training rows.
    folds
        Folds of the N rows; each row is in the test rows of one of them.

    Raises
    ------
    ConfigError
        As :func:`fit_logistic`, for the training rows of any fold.
    """
    members = torch.zeros(len(labels), len(folds), dtype=torch.bool)
    for column, (train, _) in enumerate(folds):
        members[torch.from_numpy(train), column] = True
    weight, bias = _fit(features, labels, members, strengths)
    rows = torch.as_tensor(features)
    logits = np.empty((len(strengths), len(labels)), dtype=np.float32)
    for (_, test), w, b in zip(folds, weight, bias, strict=True):
        tested = rows[torch.from_numpy(test).to(rows.device)].double()
        logits[:, test] = _float32(w @ tested.T + b[:, None])
    return logits


def _float32(tensor: Tensor) -> FloatArray:
    array: FloatArray = tensor.float().cpu().numpy()
    return array


def _fit(
    features: FloatArray | Tensor, labels: IntArray | Tensor, members: Tensor, strengths: Sequence[float]
) -> tuple[Tensor, Tensor]:
    """Weights [F, S, D] and biases [F, S] of F sets of rows (members [N, F]) and S strengths, in float64."""
    rows = torch.as_tensor(features).double()
    targets = torch.as_tensor(labels).to(rows)[:, None]  # [N, 1]
    inside = members.to(rows)
    _check(rows, targets, inside, strengths)
    # Standardised over all rows first, which float32 then holds well, and each fold over its own from there.
    shift, unit = rows.mean(0), _or_infinite(rows.std(0, correction=0), rows.abs().amax(0))  # [D]
    rows = (rows - shift) / unit
    mean, scale = _moments(rows, inside)  # [D, F]

    n_folds, n_strengths = members.shape[1], len(strengths)
    problem = Regressions(
        rows=rows.float(),
        columns=rows.T.float().contiguous(),
        targets=targets,
        inside=inside.repeat_interleave(n_strengths, 1),
        mean=mean.repeat_interleave(n_strengths, 1),
        scale=scale.repeat_interleave(n_strengths, 1),
        ridge=1 / torch.tensor(strengths, dtype=rows.dtype, device=rows.device).repeat(n_folds),
    )
    solution = minimise(problem)  # [D + 1, F * S]
    weight = solution[:-1] / problem.scale
    bias = solution[-1] - (weight * problem.mean).sum(0)
    weight = weight / unit[:, None]
    bias = bias - shift @ weight
    return weight.T.reshape(n_folds, n_strengths, -1), bias.reshape(n_folds, n_strengths)


def _check(rows: Tensor, targets: Tensor, inside: Tensor, strengths: Sequence[float]) -> None:
    if min(strengths) <= 0:
        text = f"inverse L2 strength {min(strengths):g}, expected a number above 0"
        raise ConfigError(ReasonCode.INVALID_CONFIG, text)
    if not rows.isfinite().all():
        raise ConfigError(ReasonCode.INVALID_DATA, "features hold NaN or infinity, expected finite numbers")
    positives = (inside * targets).sum(0)
    if (positives == 0).any() or (positives == inside.sum(0)).any():
        text = "the training labels are of one class, expected positive and negative ones"
        raise ConfigError(ReasonCode.INVALID_DATA, text)


def _moments(rows: Tensor, inside: Tensor) -> tuple[Tensor, Tensor]:
    """Mean and standard deviation [D, F] of rows [N, D] over each set of them (inside [N, F])."""
    count = inside.sum(0)
    mean = (inside.T @ rows).T / count
    variance = (inside.T @ rows.square()).T / count - mean.square()
    return mean, _or_infinite(variance.clamp_min(0).sqrt(), mean.abs() + 1)


def _or_infinite(deviation: Tensor, size: Tensor) -> Tensor:
    """Standard deviations; infinite for constant features (0 but for rounding), which then get no weight."""
    return torch.where(deviation > 1e-7 * size, deviation, torch.inf)
