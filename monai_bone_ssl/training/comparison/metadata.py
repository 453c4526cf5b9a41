"""The row that looks at no pixel: what body part and image size alone give away.

On FracAtlas part and view flags alone reach an AUROC near 0.7: a result means little until it is read
against this row.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, UnidentifiedImageError
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from monai_bone_ssl.training.data import LabelledDataset, read_grey

__all__ = ["MetadataBaseline"]

Ints = NDArray[np.int64]
Floats = NDArray[np.float64]


@dataclass(frozen=True)
class MetadataBaseline:
    """Logistic regression on body part and image size."""

    name: str = "metadata"
    description: str = "Looks at no pixel: logistic regression on body part and image size"
    first_seed_only: bool = False

    @property
    def recipe(self) -> str:
        """See :class:`~monai_bone_ssl.training.comparison.methods.Method`."""
        return hashlib.sha256(self.description.encode()).hexdigest()

    def predict(self, dataset: LabelledDataset, train: Ints, test: Ints, _seed: int, /) -> Floats:
        """See :class:`~monai_bone_ssl.training.comparison.methods.Method`."""
        table = _columns(dataset)
        model = make_pipeline(StandardScaler(), LogisticRegression())
        model.fit(table[train], dataset.labels[train])
        probabilities: Floats = model.predict_proba(table[test])[:, 1]
        return probabilities

    def evidence(self, dataset: LabelledDataset, train: Ints, images: Ints, /) -> None:
        """See :class:`~monai_bone_ssl.training.comparison.methods.Method`."""


def _columns(dataset: LabelledDataset) -> Floats:
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
