"""What a row of a comparison is, and the simplest one, which looks at no pixel.

On FracAtlas part and view flags alone reach an AUROC near 0.7: a result means little until it is read
against that row.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Protocol

import numpy as np
from numpy.typing import NDArray
from PIL import Image, UnidentifiedImageError
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from monai_bone_ssl.findings import Region
from monai_bone_ssl.training.data import LabelledDataset, read_grey

__all__ = ["MetadataBaseline", "Method"]

Ints = NDArray[np.int64]
Floats = NDArray[np.float64]


class Method(Protocol):
    """A named way from labelled images to probabilities of others.

    Whatever a method chooses (a strength, an epoch, a calibration), it chooses inside ``train``.
    """

    @property
    def name(self) -> str:
        """Short name, unique within a comparison."""

    @property
    def description(self) -> str:
        """What the method does, in a sentence."""

    @property
    def recipe(self) -> str:
        """All that predictions depend on besides the data, the fold and the software version, as a text."""

    @property
    def first_seed_only(self) -> bool:
        """Whether the method takes too long to be run under more than the protocol's first seed."""

    def predict(self, dataset: LabelledDataset, train: Ints, test: Ints, seed: int, /) -> Floats:
        """Probabilities of the target.

        Parameters
        ----------
        dataset
            All images.
        train, test
            Indices of the images to learn from [n] and to predict [m]; no group is in both.
        seed
            Seed of whatever is random in learning.

        Returns
        -------
        numpy.ndarray
            Probabilities of the test images, float64 [m] in [0, 1].
        """

    def contributions(
        self, dataset: LabelledDataset, train: Ints, images: Ints, /
    ) -> Mapping[int, NDArray[np.float32]] | None:
        """Contribution of each patch to the logit [h, w] by image index, as learnt from ``train``.

        None for a method without contributions.
        """

    def regions(
        self, dataset: LabelledDataset, train: Ints, images: Ints, /
    ) -> Mapping[int, Sequence[Region]] | None:
        """Regions that show signs of the target, in pixels of the image, by image index, as learnt from
        ``train``: as many as may be asked for, their probabilities tell how sure each is.

        None for a method that draws no regions.
        """


class MetadataBaseline:
    """Logistic regression on body part and image size, a :class:`Method`."""

    name = "metadata"
    description = "Looks at no pixel: logistic regression on body part and image size"
    recipe = description
    first_seed_only = False

    def predict(self, dataset: LabelledDataset, train: Ints, test: Ints, _seed: int, /) -> Floats:
        """See :meth:`Method.predict`."""
        table = _metadata(dataset)
        model = make_pipeline(StandardScaler(), LogisticRegression())
        model.fit(table[train], dataset.labels[train])
        probabilities: Floats = model.predict_proba(table[test])[:, 1]
        return probabilities

    def contributions(self, dataset: LabelledDataset, train: Ints, images: Ints, /) -> None:
        """None: no pixel has a share in the logit."""

    def regions(self, dataset: LabelledDataset, train: Ints, images: Ints, /) -> None:
        """None: no pixel is looked at."""


def _metadata(dataset: LabelledDataset) -> Floats:
    """One column a part, then the logarithms of rows, columns and aspect [n, parts + 3]."""
    parts = (dataset.parts[:, None] == np.unique(dataset.parts)).astype(np.float64)
    sizes = np.log([_size(image.path) for image in dataset.images])
    return np.column_stack((parts, sizes, sizes[:, 0] - sizes[:, 1]))


def _size(path: Path) -> tuple[int, int]:
    """Rows and columns; the pixels of a PNG or JPEG stay undecoded."""
    try:
        with Image.open(path, formats=("PNG", "JPEG")) as image:
            return image.height, image.width
    except UnidentifiedImageError:
        rows, columns = read_grey(path).shape
        return rows, columns
