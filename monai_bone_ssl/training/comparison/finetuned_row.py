"""The supervised row: a whole network trained on the labels, as the paper's CNNs are."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

import msgspec
import numpy as np
from numpy.typing import NDArray

from monai_bone_ssl.training.comparison.feature_rows import Network
from monai_bone_ssl.training.data import LabelledDataset
from monai_bone_ssl.training.finetune import finetune_and_predict

__all__ = ["FineTunedRow"]

Ints = NDArray[np.int64]
Floats = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class FineTunedRow:
    """All weights trained on the labels; under the protocol's first seed only, as it takes hours."""

    network: Network
    """What training starts from."""
    weights: str
    """The same, as :func:`~monai_bone_ssl.training.finetune.finetune_and_predict` reads it."""
    epochs: int

    first_seed_only = True

    @property
    def name(self) -> str:
        """The network's, fine-tuned."""
        return f"{self.network.name}, fine-tuned"

    @property
    def description(self) -> str:
        """In a sentence."""
        return (
            f"Supervised, all weights trained for {self.epochs} epochs on the labels, the best epoch chosen "
            "inside the training images"
        )

    @property
    def recipe(self) -> str:
        """Digest of the weights that it starts from, its input and its length."""
        return hashlib.sha256(
            msgspec.json.encode(["fine-tuned", self.network.recipe, self.epochs])
        ).hexdigest()

    def predict(self, dataset: LabelledDataset, train: Ints, test: Ints, seed: int, /) -> Floats:
        """See :class:`~monai_bone_ssl.training.comparison.methods.Method`."""
        return finetune_and_predict(
            self.weights, dataset, train, test, spec=self.network.spec, epochs=self.epochs, seed=seed
        )

    def evidence(self, dataset: LabelledDataset, train: Ints, images: Ints, /) -> None:
        """None: a fine-tuned network does not say."""
