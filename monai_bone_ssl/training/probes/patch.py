"""Patch probe: a score of each patch, fitted to outlines where there are any, and to image labels always."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn
from torch.nn.functional import binary_cross_entropy_with_logits
from torch.optim.lr_scheduler import OneCycleLR
from tqdm import tqdm

from monai_bone_ssl.training.data import LabelledDataset, LabelledImage, TrainTest, read_grey
from monai_bone_ssl.training.networks.network import PatchProbe
from monai_bone_ssl.training.networks.patch_tokens import Basis, PatchTokens

__all__ = [
    "HIDDEN",
    "HIGHEST",
    "PatchHead",
    "fit_patch_probe",
    "out_of_fold_scores",
    "outlined_share",
    "set_patch_probe",
    "top_means",
]

FloatArray = npt.NDArray[np.float32]
IntArray = npt.NDArray[np.int64]

#: Width of the probe's hidden layer.
HIDDEN = 64

#: Number of highest patch scores whose mean answers for the image.
HIGHEST = 5

_EPOCHS, _LEAST_STEPS = 8, 400
_BATCH = 16
_LEARNING_RATE, _WEIGHT_DECAY, _DROPOUT = 1e-3, 0.1, 0.3

# Negative images that an epoch draws for each positive one: there are enough of them, in every epoch others.
_NEGATIVE_IMAGES = 2

# Of an image's patches outside outlines, the loss counts the highest, which would be false regions, and as
# many at random; those inside outlines together weigh as much as all others five times.
_NEGATIVES = 24
_INSIDE_WEIGHT = 5.0
_RANDOM_WEIGHT = 0.5

# A patch belongs to an outline from this share on; one that is touched by less counts on neither side.
_INSIDE = 0.5


class PatchHead(nn.Module):
    """Scores of projected patch tokens, and an answer for the image from the mean of the highest.

    Parameters
    ----------
    width
        Number of components of a projected token (K).
    """

    def __init__(self, width: int) -> None:
        super().__init__()
        self.hidden = nn.Linear(width, HIDDEN)
        self.score = nn.Linear(HIDDEN, 1)
        self.log_slope = nn.Parameter(torch.zeros(()))  # so that a higher score never speaks against
        self.intercept = nn.Parameter(torch.zeros(()))

    def forward(self, tokens: Tensor) -> Tensor:
        """Scores [...] of projected tokens [..., K], in logit."""
        scores: Tensor = self.score(nn.functional.gelu(self.hidden(tokens)))[..., 0]
        return scores

    def answer(self, scores: Tensor) -> Tensor:
        """Logit of an image with patch scores [N]."""
        highest = scores.topk(min(HIGHEST, len(scores))).values
        logit: Tensor = self.log_slope.exp() * highest.mean() + self.intercept
        return logit


def fit_patch_probe(
    tokens: PatchTokens, dataset: LabelledDataset, train: IntArray, outlined: Sequence[FloatArray | None]
) -> PatchHead:
    """Fit the probe to the training images.

    Two losses are added: that of the image's answer, the mean of its highest scores, against its label; and
    that of patches, inside outlines against outside. All patches of a negative image are outside. In a
    positive image without outlines the highest patches of the moment are taken to be inside, and nothing to
    be outside: multiple-instance learning (mi-SVM, Andrews et al., NeurIPS 2002).

    Parameters
    ----------
    tokens
        Projected patch tokens of all n images.
    dataset
        n labelled images.
    train
        Indices of the images to learn from.
    outlined
        Share of each patch inside outlines [n], see :func:`outlined_share`.
    """
    generator = torch.Generator().manual_seed(0)
    labels = torch.from_numpy(dataset.labels).float()
    head = _new_head(tokens[int(train[0])].shape[-1])
    of_scores: dict[str, Any] = {"params": [*head.hidden.parameters(), *head.score.parameters()]}
    of_answer: dict[str, Any] = {"params": [head.log_slope, head.intercept], "weight_decay": 0.0}
    optimizer = torch.optim.AdamW([of_scores, of_answer], lr=_LEARNING_RATE, weight_decay=_WEIGHT_DECAY)
    positives, negatives = (train[dataset.labels[train] == label] for label in (1, 0))
    drawn = min(len(negatives), _NEGATIVE_IMAGES * len(positives))
    batch_size = min(_BATCH, len(positives) + drawn)
    steps = (len(positives) + drawn) // batch_size
    rates = [_LEARNING_RATE, 10 * _LEARNING_RATE]
    epochs = max(_EPOCHS, math.ceil(_LEAST_STEPS / steps))
    scheduler = OneCycleLR(optimizer, rates, total_steps=epochs * steps, pct_start=0.1)
    for _ in range(epochs):
        images = np.concatenate([positives, _shuffled(negatives, generator)[:drawn]])
        for batch in _shuffled(images, generator)[: steps * batch_size].reshape(steps, batch_size):
            rows = [torch.from_numpy(tokens[int(i)]).flatten(0, 1).float() for i in batch]
            # The same components of all patches are dropped: they repeat each other inside an image.
            kept = (torch.rand(rows[0].shape[1], generator=generator) >= _DROPOUT).float() / (1 - _DROPOUT)
            scores = head(torch.cat(rows) * kept).split([len(of_image) for of_image in rows])
            answers = torch.stack([head.answer(of_image) for of_image in scores])
            loss = binary_cross_entropy_with_logits(answers, labels[batch])
            pairs = zip(batch, scores, strict=True)
            losses = [_patch_loss(of_image, labels[i], outlined[i], generator) for i, of_image in pairs]
            loss = loss + torch.stack(losses).sum() / len(batch)
            optimizer.zero_grad()
            torch.autograd.backward(loss)
            optimizer.step()
            scheduler.step()
    return head.eval().requires_grad_(False)


def _shuffled(images: IntArray, generator: torch.Generator) -> IntArray:
    shuffled: IntArray = images[torch.randperm(len(images), generator=generator).numpy()]
    return shuffled


def _new_head(width: int) -> PatchHead:
    """A head whose first weights are the same in every run."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return PatchHead(width)


def _patch_loss(
    scores: Tensor, label: Tensor, share: FloatArray | None, generator: torch.Generator
) -> Tensor:
    """Loss of the patches of one image with scores [N]."""
    inside, outside = scores[:0], scores
    if share is not None:
        of_patches = torch.from_numpy(share).flatten()
        inside, outside = scores[of_patches > _INSIDE], scores[of_patches == 0]
    elif label > 0:
        inside, outside = scores.topk(min(HIGHEST, len(scores))).values, scores[:0]
    loss = scores.new_zeros(())
    if len(outside):
        hard = outside.topk(min(_NEGATIVES, len(outside))).values
        random = outside[torch.randint(len(outside), (_NEGATIVES,), generator=generator)]
        loss = loss + nn.functional.softplus(hard).mean()
        loss = loss + _RANDOM_WEIGHT * nn.functional.softplus(random).mean()
    if len(inside):
        loss = loss + _INSIDE_WEIGHT * nn.functional.softplus(-inside).mean()
    return loss


def out_of_fold_scores(
    tokens: PatchTokens,
    dataset: LabelledDataset,
    folds: Iterable[TrainTest],
    outlined: Sequence[FloatArray | None],
) -> list[FloatArray]:
    """Patch scores [h, w] of each of n images, from probes that did not learn from the image's fold.

    Parameters
    ----------
    tokens, dataset, outlined
        See :func:`fit_patch_probe`.
    folds
        Indices to learn from and indices to predict; every image is predicted in one of them.
    """
    scores: dict[int, FloatArray] = {}
    for train, test in tqdm(list(folds), desc="patch probe", unit="fold"):
        probe = fit_patch_probe(tokens, dataset, train, outlined)
        scores |= {int(i): probe(torch.from_numpy(tokens[int(i)]).float()).numpy() for i in test}
    return [scores[i] for i in range(len(dataset))]


def top_means(scores: Sequence[FloatArray]) -> FloatArray:
    """Mean of the highest scores of each image [n], of scores [h, w] of each."""
    return np.array([np.sort(of_image, axis=None)[-HIGHEST:].mean() for of_image in scores], dtype=np.float32)


def outlined_share(image: LabelledImage, grid: tuple[int, ...]) -> FloatArray | None:
    """Share of each patch [h, w] of a grid that lies in the boxes of an image; None for an image without."""
    if not image.boxes:
        return None
    rows, columns = read_grey(image.path).shape
    fine = np.zeros((grid[0] * _FINE, grid[1] * _FINE), dtype=np.bool_)
    for box in image.boxes:
        fine |= np.outer(
            _within(box.y, box.height, rows, len(fine)), _within(box.x, box.width, columns, fine.shape[1])
        )
    share: FloatArray = fine.reshape(grid[0], _FINE, grid[1], _FINE).mean(axis=(1, 3), dtype=np.float32)
    return share


# A patch's share is counted at so many points along each side.
_FINE = 8


def _within(start: float, length: float, pixels: int, points: int) -> npt.NDArray[np.bool_]:
    """Whether points [points], spread evenly over so many pixels, lie between start and its end."""
    places = (np.arange(points) + 0.5) / points * pixels
    return (start <= places) & (places < start + length)


@torch.no_grad()
def set_patch_probe(probe: PatchProbe, head: PatchHead, basis: Basis) -> None:
    """Give the network's probe the scores of a fitted head, in terms of tokens instead of projections.

    The hidden layer is rounded to float16, as the model file stores it.
    """
    weight, bias = basis.in_tokens(head.hidden.weight.numpy(), head.hidden.bias.numpy())
    probe.hidden.weight.copy_(torch.from_numpy(weight).half())
    probe.hidden.bias.copy_(torch.from_numpy(bias))
    probe.score.load_state_dict(head.score.state_dict())
