"""Images in batches: their order is balanced over sources, a pure function of seed and epoch."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import count
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from monai_bone_ssl.errors import ConfigError, ReasonCode
from monai_bone_ssl.threads import map_in_order
from monai_bone_ssl.training.compute.distributed import Process
from monai_bone_ssl.training.compute.image_cache import ByteImage, ImageCache

__all__ = ["Batch", "BatchPlan", "Batches", "collate"]

IntArray = npt.NDArray[np.int64]

# Purposes of random streams: the second word of a seed, so that no two purposes share numbers.
_SOURCE_ORDER, _EPOCH_ORDER, _PARTNERS = range(3)


class Batch(NamedTuple):
    """One process's share of a global batch."""

    epoch: int
    """Number of the epoch, from 0."""
    step: int
    """Number of the batch in its epoch, from 0."""
    canvases: Tensor
    """Images uint8 [B, 1, S, S], each in the top left corner."""
    sizes: Tensor
    """Height and width int64 [B, 2] of each image on its canvas."""
    partner_canvases: Tensor
    """Partners uint8 [B, 1, S, S]: another image of the same study, the image itself where there is none. The
    same tensor as ``canvases`` where all are their own partners."""
    partner_sizes: Tensor
    """Height and width int64 [B, 2] of each partner on its canvas."""


class _Place(NamedTuple):
    """Indices [B] of a batch's images and of their partners, before they are read."""

    epoch: int
    step: int
    images: IntArray
    partners: IntArray


class BatchPlan:
    """The order of images.

    A source gives images in proportion to the square root of its size. In proportion to the size itself,
    the largest source (one view, one contrast) would dominate; with equal shares, a small source would be
    repeated until it is known by heart. Within a source every image comes equally often: epochs take up its
    shuffled list where the epoch before left it.

    Parameters
    ----------
    sources
        Indices of the images of each source; none empty.
    partners
        Indices of the other images of the same study, for images that have any.
    batch_size
        Number of images in a global batch, all processes together (G).
    seed
        Seed of the order.

    Raises
    ------
    ConfigError
        If there are fewer images than a batch holds.
    """

    def __init__(
        self, sources: Sequence[IntArray], partners: dict[int, IntArray], batch_size: int, seed: int
    ) -> None:
        self.sources = sources
        self.partners = partners
        self.batch_size = batch_size
        self.seed = seed
        images = sum(len(source) for source in sources)
        roots = np.sqrt([len(source) for source in sources])
        self.draws = np.rint(images * roots / roots.sum()).astype(int)
        """Number of images of each source in an epoch."""
        self.steps = int(self.draws.sum()) // batch_size
        """Number of global batches in an epoch."""
        if self.steps == 0:
            text = f"{images} images: expected at least one batch of {batch_size} (batch size x processes)"
            raise ConfigError(ReasonCode.INVALID_CONFIG, text)

    def epoch(self, epoch: int) -> tuple[IntArray, IntArray]:
        """Indices of images and of their partners, each [steps, G]."""
        streams = [
            self._stream(number, epoch * draws, draws) for number, draws in enumerate(self.draws.tolist())
        ]
        order = self._random(_EPOCH_ORDER, epoch).permutation(np.concatenate(streams))
        images = order[: self.steps * self.batch_size]
        random = self._random(_PARTNERS, epoch)
        partners = [
            random.choice(self.partners[image]) if image in self.partners else image
            for image in images.tolist()
        ]
        shape = (self.steps, self.batch_size)
        return images.reshape(shape), np.array(partners, dtype=np.int64).reshape(shape)

    def _stream(self, number: int, start: int, length: int) -> IntArray:
        """A stretch of a source's endless list: its images shuffled, shuffled anew, and so on."""
        source = self.sources[number]
        first, last = start // len(source), (start + length - 1) // len(source)
        rounds = [
            self._random(_SOURCE_ORDER, number, turn).permutation(source) for turn in range(first, last + 1)
        ]
        begin = start - first * len(source)
        return np.concatenate(rounds)[begin : begin + length]

    def _random(self, *purpose: int) -> np.random.Generator:
        return np.random.default_rng([self.seed, *purpose])


class Batches:
    """Batches of one process, the next ones being made while one is used.

    Parameters
    ----------
    images
        Decoded images.
    plan
        Order of the images.
    side
        Side of a canvas in pixels (S).
    process
        This process, whose share of each global batch is B = G / ``process.count`` images.
    """

    def __init__(self, images: ImageCache, plan: BatchPlan, side: int, process: Process) -> None:
        self.images = images
        self.plan = plan
        self.side = side
        self.rows = process.rows(plan.batch_size // process.count)
        self.first_epoch = 0
        """Epoch in which the iteration begins; those before it were done by an earlier run."""

    def __iter__(self) -> Iterator[Batch]:
        """Batches from :attr:`first_epoch` on, without an end and without a pause between epochs."""
        return map_in_order(self._make, self._places(), threads=1)

    def _places(self) -> Iterator[_Place]:
        for epoch in count(self.first_epoch):
            for step, (images, partners) in enumerate(zip(*self.plan.epoch(epoch), strict=True)):
                yield _Place(epoch, step, images[self.rows], partners[self.rows])

    def _make(self, place: _Place) -> Batch:
        images = partners = self._collate(place.images)
        if not np.array_equal(place.images, place.partners):
            partners = self._collate(place.partners)
        return Batch(place.epoch, place.step, *images, *partners)

    def _collate(self, indices: IntArray) -> tuple[Tensor, Tensor]:
        return collate([self.images[index] for index in indices.tolist()], self.side)


def collate(images: Sequence[ByteImage], side: int) -> tuple[Tensor, Tensor]:
    """Images [H, W] of any sizes up to ``side`` as canvases [B, 1, S, S] and their sizes [B, 2]."""
    canvases = np.zeros((len(images), 1, side, side), dtype=np.uint8)
    for canvas, image in zip(canvases, images, strict=True):
        canvas[0, : image.shape[0], : image.shape[1]] = image
    sizes = torch.tensor([image.shape for image in images], dtype=torch.int64)
    return torch.from_numpy(canvases), sizes
