"""Attentive probe: a learned query gathers patch tokens by cross-attention, a linear layer decides.

As CAE (Chen et al. 2022, arXiv:2202.03026) and V-JEPA (Bardes et al. 2024, arXiv:2404.08471) evaluate frozen
features whose class token was not trained to sum up the image.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn
from torch.nn.functional import binary_cross_entropy_with_logits, scaled_dot_product_attention

from monai_bone_ssl.training.data import LabelledDataset
from monai_bone_ssl.training.probes.nested import predict_with_choice

__all__ = ["LEARNING_RATES", "AttentiveProbe", "fit_attentive", "predict_held_out_attentive"]

FloatArray = npt.NDArray[np.float32]
IntArray = npt.NDArray[np.int64]

#: Of AdamW; chosen among inside the training images.
LEARNING_RATES = (3e-4, 1e-3, 3e-3)

_WEIGHT_DECAY = 0.05
_BATCH = 64
_HEAD_WIDTH = 64


class AttentiveProbe(nn.Module):
    """One query, one block of cross-attention, one linear layer.

    Parameters
    ----------
    width
        Channels of a token (C). Heads are 64 channels wide where 64 divides it, else there is one.
    generator
        Of the initial weights.
    """

    def __init__(self, width: int, generator: torch.Generator) -> None:
        super().__init__()
        self.heads = 1 if width % _HEAD_WIDTH else width // _HEAD_WIDTH
        self.norm = nn.LayerNorm(width)
        self.query = nn.Parameter(torch.empty(1, 1, width))
        self.key_value = nn.Linear(width, 2 * width)
        self.project = nn.Linear(width, width)
        self.decide = nn.Sequential(nn.LayerNorm(width), nn.Linear(width, 1))
        for parameter in self.parameters():
            if parameter.ndim > 1:
                nn.init.trunc_normal_(parameter, std=0.02, generator=generator)
        for module in self.modules():
            if isinstance(module, nn.Linear):
                nn.init.zeros_(module.bias)

    def forward(self, tokens: Tensor) -> Tensor:
        """Logits [B] of patch tokens [B, T, C], in whatever order these are."""
        batch, _, width = tokens.shape
        key, value = self._split(self.key_value(self.norm(tokens))).chunk(
            2, dim=1
        )  # [B, heads, T, C / heads]
        query = self._split(self.query.expand(batch, -1, -1))
        gathered = scaled_dot_product_attention(query, key, value)  # [B, heads, 1, C / heads]
        summary = self.query[:, 0] + self.project(gathered.reshape(batch, width))
        logits: Tensor = self.decide(summary)[:, 0]
        return logits

    def _split(self, channels: Tensor) -> Tensor:
        """[B, T, n * C] -> [B, n * heads, T, C / heads]."""
        batch, length, _ = channels.shape
        head_width = self.query.shape[2] // self.heads
        return channels.reshape(batch, length, -1, head_width).transpose(1, 2)


def predict_held_out_attentive(
    tokens: FloatArray,
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
    tokens
        Patch tokens [N, T, C].
    dataset, train, test
        See there.
    epochs, seed
        See :func:`fit_attentive`.
    """

    def candidates(known: IntArray, unseen: IntArray) -> FloatArray:
        rows = []
        for rate in LEARNING_RATES:
            probe = fit_attentive(tokens[known], dataset.labels[known], rate=rate, epochs=epochs, seed=seed)
            rows.append(_logits(probe, tokens[unseen]))
        return np.stack(rows)

    return predict_with_choice(dataset, train, test, candidates)


def fit_attentive(
    tokens: FloatArray, labels: IntArray, *, rate: float, epochs: int, seed: int
) -> AttentiveProbe:
    """Train by AdamW on tokens [N, T, C] and labels 0 or 1 [N], the rate falling to 0 as a cosine.

    ``seed`` is that of the initial weights and of the order.
    """
    generator = torch.Generator().manual_seed(seed)
    inputs, targets = torch.from_numpy(tokens), torch.from_numpy(labels).float()
    probe = AttentiveProbe(inputs.shape[2], generator)
    optimizer = torch.optim.AdamW(probe.parameters(), lr=rate, weight_decay=_WEIGHT_DECAY)
    n_steps = epochs * -(-len(inputs) // _BATCH)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, n_steps)
    for _ in range(epochs):
        for rows in torch.split(torch.randperm(len(inputs), generator=generator), _BATCH):
            loss = binary_cross_entropy_with_logits(probe(inputs[rows]), targets[rows])
            optimizer.zero_grad()
            torch.autograd.backward(loss)
            optimizer.step()
            schedule.step()
    return probe.eval()


@torch.inference_mode()
def _logits(probe: AttentiveProbe, tokens: FloatArray) -> FloatArray:
    chunks = [probe(chunk) for chunk in torch.split(torch.from_numpy(tokens), _BATCH)]
    logits: FloatArray = torch.cat(chunks).numpy()
    return logits
