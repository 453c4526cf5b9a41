"""What a pre-training run leaves in its folder, beside the checkpoints."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import msgspec
from monai.engines.workflow import Workflow

from monai_bone_ssl.errors import ConfigError, ReasonCode
from monai_bone_ssl.files import write_atomically
from monai_bone_ssl.training.networks.backbone import GreyViT, save_backbone

__all__ = ["RunFolder", "RunRecord", "SourceCounts"]

_NOTE = (
    "No label was read. Of data with splits only the training split was used. Where all images of a source "
    "were used, figures that are cross-validated on these images are transductive: the network has seen "
    "them, without labels. Epochs were compared by body part, never by a diagnosis."
)


class SourceCounts(msgspec.Struct, frozen=True):
    """One source of images."""

    name: str
    """Of the source."""
    listed: int
    """Images that it holds."""
    used: int
    """Those that could be decoded."""


class RunRecord(msgspec.Struct, frozen=True, kw_only=True):
    """run.json."""

    arguments: Mapping[str, Any]
    """What the result depends on; a run is only continued with the same."""
    sources: Sequence[SourceCounts]
    images_an_epoch: int
    """Images that an epoch learns from, whole batches of them."""
    note: str = _NOTE
    software: Mapping[str, str]
    """Versions by distribution."""
    device: str
    """Name of the GPU, or cpu."""
    processes: int
    """How many shared each batch."""
    finished: str | None = None
    """Why the run ended; None while it can go on."""
    seconds: float = 0.0
    """Of all epochs together."""
    best_epoch: int | None = None
    """The one that told body parts best; None before any was scored."""
    history: Sequence[Mapping[str, float]] = ()
    """Measures of each epoch."""


class RunFolder:
    """Writes a run's record, log and backbones; each file whole or not at all.

    Parameters
    ----------
    path
        The folder.
    architecture
        timm name that the backbones' files begin with.
    """

    def __init__(self, path: Path, architecture: str) -> None:
        self.path = path
        self.architecture = architecture
        self.checkpoints = path / "checkpoints"
        self.tensorboard = path / "tensorboard"

    def read(self) -> RunRecord | None:
        """The record of a run that was begun here.

        Raises
        ------
        ConfigError
            If run.json is none of this version.
        """
        file = self.path / "run.json"
        if not file.is_file():
            return None
        try:
            return msgspec.json.decode(file.read_bytes(), type=RunRecord)
        except (OSError, msgspec.DecodeError) as error:
            text = f"{file}: expected the record of a pre-training run ({error})"
            raise ConfigError(ReasonCode.INVALID_CONFIG, text) from error

    def write_epoch(self, engine: Workflow, backbone: GreyViT, record: RunRecord) -> None:
        """Write what an epoch changed: the last backbone, the best one where this is it, record and log.

        Parameters
        ----------
        engine
            With the history and the best epoch in its state.
        backbone
            To keep.
        record
            Of the run, as it began.
        """
        done = engine.state
        self.save_backbone(backbone, "last")
        if done.best_metric_epoch == done.epoch:
            self.save_backbone(backbone, "best")
        finished = None
        if done.epoch == done.max_epochs:
            finished = "all epochs done"
        elif engine.should_terminate:
            finished = "stopped early"
        lines = [msgspec.json.encode(epoch) + b"\n" for epoch in done.history]
        write_atomically(self.path / "log.jsonl", b"".join(lines))
        record = msgspec.structs.replace(
            record,
            finished=finished,
            seconds=sum(epoch["seconds"] for epoch in done.history),
            best_epoch=done.best_metric_epoch if done.best_metric_epoch > 0 else None,
            history=done.history,
        )
        write_atomically(self.path / "run.json", msgspec.json.format(msgspec.json.encode(record), indent=1))

    def save_backbone(self, backbone: GreyViT, kind: str) -> None:
        """Write a backbone in float16; ``kind`` is last or best."""
        save_backbone(backbone, self.path / f"{self.architecture}.{kind}.safetensors")
