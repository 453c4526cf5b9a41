"""Supervised fine-tuning of a whole network: the baseline for linear probes on frozen features."""

from __future__ import annotations

import math
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from sklearn.metrics import roc_auc_score
from torch import Tensor, nn
from torch.nn.functional import binary_cross_entropy_with_logits
from torch.nn.modules.batchnorm import _BatchNorm
from torch.optim.lr_scheduler import LambdaLR
from tqdm import trange

from monai_bone_ssl.errors import ConfigError, ReasonCode
from monai_bone_ssl.model.preprocessing import PreprocessSpec
from monai_bone_ssl.stats.calibration import fit_calibration
from monai_bone_ssl.training.compute.distributed import computing_device
from monai_bone_ssl.training.compute.image_cache import ImageCache, default_image_cache, open_image_cache
from monai_bone_ssl.training.data import LabelledDataset, splits
from monai_bone_ssl.training.data.augmentation import augment
from monai_bone_ssl.training.networks.cnn import load_cnn
from monai_bone_ssl.training.networks.extractors import ClassTokens, CNNFeatures, is_vit, load_vit
from monai_bone_ssl.training.probes.nested import INNER_FOLDS

__all__ = ["finetune_and_predict"]

IntArray = npt.NDArray[np.int64]

_WEIGHT_DECAY = 0.01
_WARM_UP = 0.1  # share of the steps
_NORM_MOMENTUM = 0.1


class Classifier(nn.Module):
    """An encoder and a linear head that starts at the class balance of the training images.

    Parameters
    ----------
    encoder
        Network that gives features.
    prevalence
        Share of positive images among the training images, 0 to 1.
    """

    def __init__(self, encoder: ClassTokens | CNNFeatures, prevalence: float) -> None:
        super().__init__()
        self.encoder = encoder
        self.head = nn.Linear(encoder.width, 1)
        nn.init.zeros_(self.head.weight)
        nn.init.constant_(self.head.bias, math.log(prevalence / (1 - prevalence)))

    def forward(self, image: Tensor) -> Tensor:
        """Logits [B] of images [B, 1, H, W] in [0, 1].

        In evaluation mode they are averaged over image and mirror image, as frozen features are.
        """
        logits: Tensor = self.head(self.encoder(image))[:, 0]
        if self.training:
            return logits
        mirrored: Tensor = self.head(self.encoder(image.flip(3)))[:, 0]
        return (logits + mirrored) / 2


class Canvases:
    """Images centred on a black square.

    Parameters
    ----------
    images
        Decoded images.
    side
        Side of the square in pixels (S).
    """

    def __init__(self, images: ImageCache, side: int) -> None:
        self._images = images
        self._side = side

    def __getitem__(self, indices: IntArray) -> Tensor:
        """Images [B, 1, S, S] in [0, 1], on the device to compute on."""
        canvases = torch.zeros(len(indices), 1, self._side, self._side, dtype=torch.uint8)
        for canvas, index in zip(canvases, indices, strict=True):
            image = torch.tensor(self._images[int(index)])
            top, left = ((self._side - side) // 2 for side in image.shape)
            canvas[0, top : top + image.shape[0], left : left + image.shape[1]] = image
        return canvases.to(computing_device()).float() / 255


def finetune_and_predict(
    weights: str,
    dataset: LabelledDataset,
    train: IntArray,
    test: IntArray,
    *,
    spec: PreprocessSpec,
    epochs: int,
    seed: int,
    image_cache: Path | None = None,
    learning_rate: float = 3e-4,
    batch_size: int = 16,
) -> npt.NDArray[np.float64]:
    """Fine-tune a network on the training images and predict the test images.

    One network serves all parts. A fifth of the training groups chooses the epoch (by AUROC) and fits the
    calibration (Platt); the network learns from the rest. Labels of test images are not read.

    The loss is the plain binary cross-entropy. Weights for the classes would shift every probability, on
    which accuracy and calibration are measured, and AUROC does not need them.

    Parameters
    ----------
    weights
        CNN or Vision Transformer, named as for
        :func:`~monai_bone_ssl.training.networks.extractors.load_extractor`.
    dataset
        Labelled images.
    train, test
        Indices of the images to learn from, and of those to predict; no group in both.
    spec
        Preprocessing. Images are then centred on a black square of ``spec.long_side`` pixels.
    epochs
        Number of passes over the training images; the learning rate falls to 0 over all of them (cosine).
    seed
        Seed of the inner split, the order of images and their augmentation. On one machine without a GPU, and
        with one number of threads, the same seed gives the same probabilities bit for bit.
    image_cache
        Folder for decoded images (default: the user's cache folder), see
        :func:`~monai_bone_ssl.training.compute.image_cache.open_image_cache`.
    learning_rate
        Learning rate of AdamW after the warm-up.
    batch_size
        Number of images in a step. The last, incomplete batch of an epoch is left out, because batch
        normalisation would compute its statistics from too few images.

    Returns
    -------
    Calibrated probabilities [len(test)].

    Raises
    ------
    ConfigError
        If there are no such weights, an image cannot be used, a class has too few groups to choose the epoch
        on, or the loss is no longer finite.
    """
    if epochs < 1:
        raise ConfigError(ReasonCode.INVALID_CONFIG, f"epochs is {epochs}, expected at least 1")
    fitting, choosing = _inner_split(dataset, train, seed)
    canvases = Canvases(_open_all(dataset, spec, image_cache or default_image_cache()), spec.long_side)
    labels = dataset.labels
    network = Classifier(_encoder(weights), prevalence=float(labels[fitting].mean()))
    _prepare_for_training(network)
    best_auroc, best_state = -math.inf, network.state_dict()
    epochs_done = _epochs(
        network,
        canvases,
        labels,
        fitting,
        epochs=epochs,
        seed=seed,
        learning_rate=learning_rate,
        batch_size=batch_size,
    )
    for _ in epochs_done:
        auroc = float(roc_auc_score(labels[choosing], _logits(network, canvases, choosing, batch_size)))
        if auroc > best_auroc:
            best_auroc, best_state = auroc, {name: v.clone() for name, v in network.state_dict().items()}
    network.load_state_dict(best_state)

    calibration = fit_calibration(_logits(network, canvases, choosing, batch_size), labels[choosing])
    return calibration.probabilities(_logits(network, canvases, test, batch_size))


def _epochs(
    network: Classifier,
    canvases: Canvases,
    labels: IntArray,
    fitting: IntArray,
    *,
    epochs: int,
    seed: int,
    learning_rate: float,
    batch_size: int,
) -> Iterator[int]:
    """Train the network on the images at ``fitting``; the number of each epoch, when it has ended."""
    decayed = [parameter for parameter in network.parameters() if parameter.ndim > 1]
    others = [parameter for parameter in network.parameters() if parameter.ndim <= 1]  # biases and norms
    groups = [{"params": decayed, "weight_decay": _WEIGHT_DECAY}, {"params": others, "weight_decay": 0.0}]
    optimizer = torch.optim.AdamW(groups, lr=learning_rate)
    batch_size = min(batch_size, len(fitting))
    steps = len(fitting) // batch_size
    scheduler = LambdaLR(optimizer, partial(_rate, steps=epochs * steps))
    generator = torch.Generator().manual_seed(seed)
    progress = trange(epochs, desc="fine-tuning", unit="epoch")
    for epoch in progress:
        order = fitting[torch.randperm(len(fitting), generator=generator).numpy()]
        network.train()
        for batch in order[: steps * batch_size].reshape(steps, batch_size):
            images = augment(canvases[batch], generator)
            loss = binary_cross_entropy_with_logits(network(images), torch.tensor(labels[batch]).to(images))
            if not loss.isfinite():
                text = "fine-tuning diverged: the loss is not finite; try a lower learning rate"
                raise ConfigError(ReasonCode.INVALID_CONFIG, text)
            optimizer.zero_grad()
            torch.autograd.backward(loss)
            optimizer.step()
            scheduler.step()
        progress.set_postfix(loss=loss.item())
        yield epoch


def _inner_split(dataset: LabelledDataset, train: IntArray, seed: int) -> tuple[IntArray, IntArray]:
    """Indices to fit on and to choose the epoch on: the first of five grouped folds of ``train``."""
    fitting, choosing = next(splits(dataset.take(train), n_splits=INNER_FOLDS, seed=seed))
    for part in (fitting, choosing):
        if len(set(dataset.labels[train[part]])) < 2:
            text = f"{dataset.source.name}: too few groups of a class to choose the epoch on"
            raise ConfigError(ReasonCode.INVALID_DATA, text)
    return train[fitting], train[choosing]


def _open_all(dataset: LabelledDataset, spec: PreprocessSpec, cache: Path) -> ImageCache:
    # The cache holds all images of the data set and not only those of this fold, so that every fold uses it.
    images = open_image_cache(dataset.paths, spec, cache)
    if images.left_out:
        raise ConfigError(ReasonCode.INVALID_DATA, images.left_out[0])
    return images


def _encoder(weights: str) -> ClassTokens | CNNFeatures:
    if is_vit(weights):
        return ClassTokens(load_vit(weights), 1)
    return CNNFeatures(load_cnn(weights))


def _prepare_for_training(network: Classifier) -> None:
    network.to(computing_device())
    network.to(memory_format=torch.channels_last)  # halves the time of convolutions on a CPU
    for module in network.modules():
        if isinstance(module, _BatchNorm):
            # With 0.01, as weights from TensorFlow have it, the statistics would lag behind the weights for
            # most of a short run.
            module.momentum = _NORM_MOMENTUM


def _rate(step: int, steps: int) -> float:
    """Share of the learning rate: linear warm-up, then half a cosine to 0."""
    warm_up = max(1, round(_WARM_UP * steps))
    if step < warm_up:
        return (step + 1) / warm_up
    return (1 + math.cos(math.pi * (step - warm_up) / max(1, steps - warm_up))) / 2


@torch.inference_mode()
def _logits(
    network: Classifier, canvases: Canvases, indices: IntArray, batch_size: int
) -> npt.NDArray[np.float32]:
    """Logits [n] of the images at the indices [n]."""
    network.eval()
    batches = np.split(indices, range(batch_size, len(indices), batch_size))
    return np.concatenate([network(canvases[batch]).cpu().numpy() for batch in batches])
