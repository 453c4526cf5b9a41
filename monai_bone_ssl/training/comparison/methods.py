"""What a row of a comparison is: a named way from labelled images to probabilities of others."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from monai_bone_ssl.training.data import LabelledDataset

__all__ = ["Method"]

Ints = NDArray[np.int64]
Floats = NDArray[np.float64]


class Method(Protocol):
    """A row. Whatever it chooses (a strength, an epoch, a calibration), it chooses inside ``train``."""

    @property
    def name(self) -> str:
        """Short, unique within a comparison."""

    @property
    def description(self) -> str:
        """What it is, in a sentence."""

    @property
    def recipe(self) -> str:
        """Digest of all that predictions depend on besides the data, the fold and the software version."""

    @property
    def first_seed_only(self) -> bool:
        """Whether it is too dear to be run under more than the protocol's first seed."""

    def predict(self, dataset: LabelledDataset, train: Ints, test: Ints, seed: int, /) -> Floats:
        """Probabilities of the target.

        Parameters
        ----------
        dataset
            All images.
        train, test
            Indices of the images to learn from [n] and to predict [m]; no group is in both.
        seed
            Of whatever is random in learning.

        Returns
        -------
        numpy.ndarray
            Float64 [m] in [0, 1].
        """

    def evidence(
        self, dataset: LabelledDataset, train: Ints, images: Ints, /
    ) -> Mapping[int, NDArray[np.float32]] | None:
        """What each patch adds to the logit [h, w] of some images, by index, as learnt from ``train``.

        None for a method that cannot say.
        """
