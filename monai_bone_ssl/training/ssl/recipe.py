"""Recipe of a pre-training run: all that its result depends on, beside images and first weights."""

from __future__ import annotations

from typing import Literal

import msgspec

from monai_bone_ssl.errors import ConfigError, ReasonCode

__all__ = ["Recipe"]


class Recipe(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Everything but images and first weights that a run's result depends on; kept in run.json.

    Defaults are for a few thousand images: DINO's ViT-S recipe (arXiv:2104.14294, appendix D and its
    published code) with fewer prototypes, local views and epochs.

    Raises
    ------
    ConfigError
        For a value that makes no sense, naming it.
    """

    method: Literal["dino", "mae"] = "dino"
    """Framework of self-supervised learning."""
    epochs: int = 100
    """Number of passes over as many images as there are."""
    batch_size: int = 64
    """Number of images in a global batch, all processes together."""
    learning_rate: float = 5e-4
    """Peak for a batch of 256; scaled by batch / 256 (arXiv:1706.02677)."""
    warmup_epochs: int = 10
    """Number of epochs in which the learning rate rises from 0 to its peak."""
    weight_decay: tuple[float, float] = (0.04, 0.4)
    """First and last value; a cosine between."""
    drop_path: float = 0.1
    """Probability that the last block is left out (stochastic depth)."""
    trainable_blocks: int | None = None
    """Number of the last blocks that are trained; None for the whole network."""
    long_side: int = 448
    """Longer side of the decoded images in pixels."""
    size: int = 224
    """Side of the global views, and longer side of the whole images that k-NN sees."""
    local_size: int | None = None
    """Side of the local views in pixels; None for the multiple of the patch size nearest to DINO's 96."""
    local_views: int = 6
    """Number of views of an image that only the student sees."""
    prototypes: int = 8192
    """Number of outputs of a head. DINO takes 65,536 for 1.3 million images; a few thousand do not fill as
    many."""
    teacher_momentum: tuple[float, float] = (0.996, 1.0)
    """First and last share of the teacher that a step keeps; a cosine between."""
    teacher_temperature: tuple[float, float] = (0.04, 0.07)
    """Temperature of the teacher's softmax: a line from the first to the second value over the first 30 % of
    the epochs."""
    ibot_weight: float = 0.0
    """Weight of iBOT's masked patches beside DINO's loss; 0 leaves them out."""
    koleo_weight: float = 0.0
    """Weight of KoLeo's spread beside DINO's loss; 0 leaves it out."""
    study_partners: bool = True
    """Whether views of another image of the same study are positives; MAE has no positives."""
    early_stop: int | None = None
    """Number of epochs without a better k-NN score after which the run ends; None for no such end."""
    seed: int = 0
    """Seed of first weights, order, views and drop path."""

    def __post_init__(self) -> None:
        for name in ("epochs", "batch_size", "long_side", "size", "prototypes"):
            self._expect(name, getattr(self, name) >= 1, "1 or more")
        for name in ("warmup_epochs", "local_views", "ibot_weight", "koleo_weight", "seed"):
            self._expect(name, getattr(self, name) >= 0, "0 or more")
        self._expect("learning_rate", self.learning_rate > 0, "more than 0")
        self._expect("teacher_momentum", all(0 <= m <= 1 for m in self.teacher_momentum), "0 to 1")
        self._expect("drop_path", 0 <= self.drop_path < 1, "0 to less than 1")
        plain = self.trainable_blocks is None and self.ibot_weight == self.koleo_weight == 0
        expected = "dino: mae has no trainable blocks, iBOT or KoLeo"
        self._expect("method", self.method == "dino" or plain, expected)
        self._expect("early_stop", self.early_stop is None or self.early_stop >= 1, "1 or more")

    def _expect(self, name: str, holds: bool, expected: str) -> None:
        if not holds:
            text = f"{name.replace('_', ' ')} is {getattr(self, name)}, expected {expected}"
            raise ConfigError(ReasonCode.INVALID_CONFIG, text)

    @property
    def peak_learning_rate(self) -> float:
        """Peak of the learning rate for this run's batch."""
        return self.learning_rate * self.batch_size / 256
