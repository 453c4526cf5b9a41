"""Score of features while pre-training goes on: body parts told by nearest neighbours.

Epochs are compared by body part and never by a diagnosis: what is fitted later on diagnostic labels must not
have been chosen by them. The images are those of the pre-training.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from torch.nn.functional import interpolate, normalize

from monai_bone_ssl.model.preprocessing import PreprocessSpec
from monai_bone_ssl.stats.grouped_folds import grouped_folds
from monai_bone_ssl.training.compute.distributed import Process, sum_over_processes
from monai_bone_ssl.training.compute.image_cache import ImageCache
from monai_bone_ssl.training.data.fracatlas import MIXED
from monai_bone_ssl.training.data.unlabelled import ImageSources, UnlabelledImage
from monai_bone_ssl.training.networks.backbone import GreyViT
from monai_bone_ssl.training.probes.knn import TEMPERATURE, knn_probabilities

__all__ = ["BodyPartKNN", "whole_image_features"]

IntArray = npt.NDArray[np.int64]

_NEIGHBOURS = 20
_FOLDS = 5
# Enough to rank epochs: more images of a common part would only take time, for parts count alike.
_IMAGES_PER_PART = 250
# A part with fewer images is left out: they say little about it.
_LEAST_IMAGES_PER_PART = 10
_BATCH = 32


class BodyPartKNN:
    """Balanced accuracy of body parts by k-NN (k = 20, T = 0.07) across grouped folds.

    Parameters
    ----------
    sources
        All images of the pre-training.
    cache
        Pixels of the images.
    spec
        Input size of the whole images.
    seed
        Seed of the choice of images of a common part, and of the folds.
    """

    def __init__(self, sources: ImageSources, cache: ImageCache, spec: PreprocessSpec, seed: int) -> None:
        self.cache = cache
        self.spec = spec
        images = sources.images
        chosen = _choose(images, cache.usable, np.random.default_rng(seed))
        parts, labels = np.unique([str(images[i].part) for i in chosen], return_inverse=True)
        # Groups are unique within a source only.
        groups = [f"{sources.source_of[i]} {images[i].group}" for i in chosen]
        self.chosen: IntArray = chosen
        self.parts: list[str] = parts.tolist()
        self.labels: IntArray = labels
        self.folds: list[tuple[IntArray, IntArray]] = []
        folds = min(_FOLDS, len(set(groups)))
        if len(self.parts) > 1 and folds > 1:
            fold_of = grouped_folds(labels, np.array(groups), folds, seed)
            self.folds = [
                (np.flatnonzero(fold_of != k), np.flatnonzero(fold_of == k)) for k in np.unique(fold_of)
            ]

    @property
    def possible(self) -> bool:
        """Whether the images have parts to tell: two or more, in two groups or more."""
        return bool(self.folds)

    def __call__(self, backbone: GreyViT, process: Process) -> float:
        """Mean over parts of the share of images whose part the images of other groups tell, 0 to 1.

        Each process computes the features of its share of the images; all get the same score.
        """
        features = torch.zeros(len(self.chosen), 2 * backbone.width, device=process.device)
        mine = slice(process.rank, None, process.count)
        pixels = [self.cache[index] for index in self.chosen[mine].tolist()]
        features[mine] = whole_image_features(backbone, pixels, self.spec, process.device)
        return self.score(sum_over_processes(features).cpu())

    def score(self, features: Tensor) -> float:
        """Balanced accuracy with features [len(chosen), D]."""
        labels = torch.from_numpy(self.labels)
        predicted = torch.empty_like(labels)
        for train, test in self.folds:
            probabilities = knn_probabilities(
                features[train], labels[train], features[test], _NEIGHBOURS, TEMPERATURE, len(self.parts)
            )
            predicted[test] = probabilities.argmax(dim=1)
        right = (predicted == labels).double()
        recalls = [right[labels == part].mean() for part in range(len(self.parts))]
        return float(torch.stack(recalls).mean())


def _choose(images: Sequence[UnlabelledImage], usable: IntArray, random: np.random.Generator) -> IntArray:
    """Up to a number of images of each part, in the order of the list."""
    candidates = [i for i in usable.tolist() if images[i].group and images[i].part not in (None, MIXED)]
    chosen = []
    for part in sorted({str(images[i].part) for i in candidates}):
        members = np.array([i for i in candidates if images[i].part == part])
        if len(members) >= _LEAST_IMAGES_PER_PART:
            chosen.extend(random.permutation(members)[:_IMAGES_PER_PART].tolist())
    return np.array(sorted(chosen), dtype=np.int64)


@torch.inference_mode()
def whole_image_features(
    backbone: GreyViT, images: Sequence[npt.NDArray[np.uint8]], spec: PreprocessSpec, device: torch.device
) -> Tensor:
    """Class token beside the patch tokens' mean [N, 2 * C], each of unit length, of images uint8 [H, W].

    Images are resampled to ``spec``'s input size; those of one size go through the network together.
    """
    training = backbone.training
    backbone.eval()
    features = torch.zeros(len(images), 2 * backbone.width, device=device)
    sizes = [spec.size(*image.shape) for image in images]
    for size in sorted(set(sizes)):
        same = [index for index, other in enumerate(sizes) if other == size]
        for start in range(0, len(same), _BATCH):
            rows = same[start : start + _BATCH]
            batch = torch.cat([_resized(images[row], size, device) for row in rows])
            with torch.compiler.set_stance("force_eager"):  # else it would compile anew for every size
                tokens = backbone(batch).float()  # [B, 1 + h * w, C]
            both = (normalize(tokens[:, 0], dim=1), normalize(tokens[:, 1:].mean(dim=1), dim=1))
            features[rows] = torch.cat(both, dim=1)
    backbone.train(training)
    return features


def _resized(image: npt.NDArray[np.uint8], size: tuple[int, int], device: torch.device) -> Tensor:
    pixels = torch.from_numpy(image.astype(np.float32)).to(device)[None, None] / 255
    return interpolate(pixels, size=size, mode="bilinear", antialias=True)
