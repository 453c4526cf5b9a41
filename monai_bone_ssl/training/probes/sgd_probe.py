"""Linear probes by stochastic gradient descent, many learning rates at once: DINOv2's linear evaluation.

Oquab et al. 2023, arXiv:2304.07193: every rate has its own linear layer, all see the same batches, and the
best rate is taken. There it is taken on the evaluation images; here inside the training images.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from monai_bone_ssl.training.data import LabelledDataset
from monai_bone_ssl.training.probes.logistic import LinearProbe
from monai_bone_ssl.training.probes.nested import predict_with_choice

__all__ = ["LEARNING_RATES", "fit_sgd", "predict_held_out_sgd"]

FloatArray = npt.NDArray[np.float32]
IntArray = npt.NDArray[np.int64]

#: DINOv2's, for batches of 256; a batch of another size scales them in proportion.
LEARNING_RATES = (1e-5, 2e-5, 5e-5, 1e-4, 2e-4, 5e-4, 1e-3, 2e-3, 5e-3, 1e-2, 2e-2, 5e-2, 0.1)

_BATCH = 128
_MOMENTUM = 0.9
_INITIAL_DEVIATION = 0.01


def predict_held_out_sgd(
    features: FloatArray,
    dataset: LabelledDataset,
    train: IntArray,
    test: IntArray,
    *,
    epochs: int,
    seed: int,
) -> npt.NDArray[np.float64]:
    """As ``nested.predict_held_out``; the choice is among the learning rates.

    Parameters
    ----------
    features, dataset, train, test
        See there.
    epochs, seed
        See :func:`fit_sgd`.
    """

    def candidates(known: IntArray, unseen: IntArray) -> FloatArray:
        probe = fit_sgd(features[known], dataset.labels[known], LEARNING_RATES, epochs=epochs, seed=seed)
        return probe.logits(features[unseen]).T

    return predict_with_choice(dataset, train, test, candidates)


def fit_sgd(
    features: FloatArray, labels: IntArray, rates: Sequence[float], *, epochs: int, seed: int
) -> LinearProbe:
    """One linear layer a learning rate on the same batches; momentum, cosine schedule, no weight decay.

    Parameters
    ----------
    features, labels
        [N, D], standardised here, and 0 or 1 [N].
    rates
        Learning rates for batches of 256 (R of them).
    epochs, seed
        Passes over the N images, and the seed of the start and the order.

    Returns
    -------
    K = R logits.
    """
    generator = torch.Generator().manual_seed(seed)
    inputs, targets = torch.from_numpy(features), torch.from_numpy(labels).float()
    mean = inputs.mean(dim=0)
    deviation = inputs.std(dim=0, correction=0)
    scale = torch.where(deviation > 1e-6 * (mean.abs() + 1e-6), deviation, 1.0)

    n_images, width = inputs.shape
    batch = min(_BATCH, n_images)
    scaled_rates = torch.tensor(rates) * batch / 256
    weight = torch.randn(len(rates), width, generator=generator) * _INITIAL_DEVIATION
    bias = torch.zeros(len(rates))
    weight_velocity, bias_velocity = torch.zeros_like(weight), torch.zeros_like(bias)
    n_batches = n_images // batch
    for step in range(epochs * n_batches):
        if step % n_batches == 0:
            order = torch.randperm(n_images, generator=generator)
        rows = order[step % n_batches * batch :][:batch]
        x = (inputs[rows] - mean) / scale  # [B, D]
        weight_gradient, bias_gradient = _gradients(x, targets[rows], weight, bias)
        weight_velocity = _MOMENTUM * weight_velocity + weight_gradient
        bias_velocity = _MOMENTUM * bias_velocity + bias_gradient
        rate = scaled_rates * (1 + np.cos(np.pi * step / (epochs * n_batches))) / 2  # [R]
        weight = weight - rate[:, None] * weight_velocity
        bias = bias - rate * bias_velocity
    folded = weight / scale
    return LinearProbe(folded.numpy(), (bias - folded @ mean).numpy())


def _gradients(x: Tensor, targets: Tensor, weight: Tensor, bias: Tensor) -> tuple[Tensor, Tensor]:
    """Of the mean log-loss of inputs [B, D] by weight [R, D] and bias [R]."""
    residual = (x @ weight.T + bias).sigmoid() - targets[:, None]  # [B, R]
    return residual.T @ x / len(x), residual.mean(dim=0)
