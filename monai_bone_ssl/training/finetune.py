"""Supervised fine-tuning of a whole network: the baseline for linear probes on frozen features."""

from __future__ import annotations

import math
from functools import partial
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from ignite.engine import Engine, Events
from ignite.handlers import ProgressBar
from monai.engines.evaluator import SupervisedEvaluator
from monai.engines.trainer import SupervisedTrainer
from monai.handlers.roc_auc import ROCAUC
from monai.handlers.validation_handler import ValidationHandler
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.optim.lr_scheduler import LambdaLR
from torch.utils.data import BatchSampler, DataLoader, Dataset, RandomSampler, SequentialSampler

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
Batch = tuple[Tensor, Tensor]

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
        """Logits [B, 1] of images [B, 1, H, W] in [0, 1].

        In evaluation mode they are averaged over image and mirror image, as frozen features are.
        """
        logits: Tensor = self.head(self.encoder(image))
        if self.training:
            return logits
        mirrored: Tensor = self.head(self.encoder(image.flip(3)))
        return (logits + mirrored) / 2


class BestEpoch:
    """Keeps the network's weights at the epoch with the best validation AUROC, in memory.

    Parameters
    ----------
    network
        Network in training.
    """

    def __init__(self, network: nn.Module) -> None:
        self._network = network
        self._auroc = -math.inf
        self._state: dict[str, Tensor] = {}

    def attach(self, engine: Engine) -> None:
        """Compare AUROCs whenever an evaluator has run."""
        engine.add_event_handler(Events.COMPLETED, self._keep)

    def restore(self) -> None:
        """Give the network the weights of the best epoch."""
        self._network.load_state_dict(self._state)

    def _keep(self, engine: Engine) -> None:
        if engine.state.metrics["auroc"] > self._auroc:
            self._auroc = engine.state.metrics["auroc"]
            self._state = {name: value.clone() for name, value in self._network.state_dict().items()}


class Canvases(Dataset[Batch]):
    """Images centred on a black square, addressed by whole batches.

    Parameters
    ----------
    images
        Decoded images.
    indices
        Indices [n] of the images to use.
    labels
        Labels [n] of the images to use, 0 or 1.
    side
        Side of the square in pixels.
    """

    def __init__(self, images: ImageCache, indices: IntArray, labels: IntArray, side: int) -> None:
        self._images = images
        self._indices = indices
        self._labels = torch.from_numpy(labels).float()[:, None]
        self._side = side

    def __len__(self) -> int:
        return len(self._indices)

    def __getitem__(self, batch: list[int]) -> Batch:
        """Canvases uint8 [B, 1, S, S] and labels float [B, 1]."""
        canvases = torch.zeros(len(batch), 1, self._side, self._side, dtype=torch.uint8)
        for canvas, index in zip(canvases, self._indices[batch], strict=True):
            image = torch.tensor(self._images[int(index)])
            top, left = ((self._side - side) // 2 for side in image.shape)
            canvas[0, top : top + image.shape[0], left : left + image.shape[1]] = image
        return canvases, self._labels[batch]


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
    images = _open_all(dataset, spec, image_cache or default_image_cache())
    labels = dataset.labels
    load = partial(_loader, images, side=spec.long_side)
    held_out = load(choosing, labels[choosing], batch_size)

    network = Classifier(_encoder(weights), prevalence=float(labels[fitting].mean()))
    _prepare_for_training(network)
    generator = torch.Generator().manual_seed(seed)
    drawn = load(fitting, labels[fitting], min(batch_size, len(fitting)), generator)
    _train(network, drawn, held_out, epochs=epochs, learning_rate=learning_rate, generator=generator)

    calibration = fit_calibration(_logits(network, held_out), labels[choosing])
    unlabelled = np.zeros(len(test), dtype=np.int64)
    return calibration.probabilities(_logits(network, load(test, unlabelled, batch_size)))


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


def _train(
    network: Classifier,
    drawn: DataLoader[Batch],
    held_out: DataLoader[Batch],
    *,
    epochs: int,
    learning_rate: float,
    generator: torch.Generator,
) -> None:
    """Train the network, and give it the weights of the epoch that ranks the held-out images best."""
    decayed = [parameter for parameter in network.parameters() if parameter.ndim > 1]
    others = [parameter for parameter in network.parameters() if parameter.ndim <= 1]  # biases and norms
    groups = [{"params": decayed, "weight_decay": _WEIGHT_DECAY}, {"params": others, "weight_decay": 0.0}]
    optimizer = torch.optim.AdamW(groups, lr=learning_rate)
    scheduler = LambdaLR(optimizer, partial(_rate, steps=epochs * len(drawn)))
    best = BestEpoch(network)
    evaluator = SupervisedEvaluator(
        device=computing_device(),
        val_data_loader=held_out,
        network=network,
        prepare_batch=_prepare_batch,
        key_val_metric={"auroc": ROCAUC(output_transform=_prediction_and_label)},
        val_handlers=[best],
        decollate=False,
    )
    trainer = SupervisedTrainer(
        device=computing_device(),
        max_epochs=epochs,
        train_data_loader=drawn,
        network=network,
        optimizer=optimizer,
        loss_function=nn.BCEWithLogitsLoss(),
        prepare_batch=partial(_augmented_batch, generator=generator),
        train_handlers=[ValidationHandler(interval=1, validator=evaluator)],
        decollate=False,
    )
    trainer.add_event_handler(Events.ITERATION_COMPLETED, lambda _: scheduler.step())
    trainer.add_event_handler(Events.ITERATION_COMPLETED, _stop_on_nan)
    ProgressBar(desc="fine-tuning").attach(trainer, output_transform=lambda output: {"loss": output["loss"]})
    trainer.run()
    best.restore()


def _stop_on_nan(engine: Engine) -> None:
    if not math.isfinite(engine.state.output["loss"].item()):  # type: ignore[index] # Any | None
        text = "fine-tuning diverged: the loss is not finite; try a lower learning rate"
        raise ConfigError(ReasonCode.INVALID_CONFIG, text)


def _rate(step: int, steps: int) -> float:
    """Share of the learning rate: linear warm-up, then half a cosine to 0."""
    warm_up = max(1, round(_WARM_UP * steps))
    if step < warm_up:
        return (step + 1) / warm_up
    return (1 + math.cos(math.pi * (step - warm_up) / max(1, steps - warm_up))) / 2


@torch.inference_mode()
def _logits(network: Classifier, batches: DataLoader[Batch]) -> npt.NDArray[np.float32]:
    """Logits [n] of the images in the loader's order."""
    network.eval()
    parts = [network(_prepare_batch(batch, computing_device())[0]) for batch in batches]
    return np.asarray(torch.cat(parts)[:, 0].cpu().numpy())


def _loader(
    images: ImageCache,
    indices: IntArray,
    labels: IntArray,
    batch_size: int,
    shuffle: torch.Generator | None = None,
    *,
    side: int,
) -> DataLoader[Batch]:
    """All batches in order; where ``shuffle`` is given, full batches in a random order."""
    data = Canvases(images, indices, labels, side)
    order = SequentialSampler(data) if shuffle is None else RandomSampler(data, generator=shuffle)
    batches = BatchSampler(order, batch_size, drop_last=shuffle is not None)
    return DataLoader(data, sampler=batches, batch_size=None, generator=shuffle)


def _prepare_batch(batch: Batch, device: torch.device, non_blocking: bool = False) -> Batch:
    canvases, labels = (tensor.to(device, non_blocking=non_blocking) for tensor in batch)
    return canvases.float() / 255, labels


def _augmented_batch(
    batch: Batch, device: torch.device, non_blocking: bool, generator: torch.Generator
) -> Batch:
    images, labels = _prepare_batch(batch, device, non_blocking)
    return augment(images, generator), labels


def _prediction_and_label(output: dict[str, Tensor]) -> tuple[Tensor, Tensor]:
    return output["pred"], output["label"]
