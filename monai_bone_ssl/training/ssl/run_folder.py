"""Folder of a pre-training run: its record, log, backbones and checkpoints."""

from __future__ import annotations

import re
import zipfile
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
    """Numbers of images of one source."""

    name: str
    """Name of the source."""
    listed: int
    """Number of images that the source holds."""
    used: int
    """Number of images that could be decoded."""


class RunRecord(msgspec.Struct, frozen=True, kw_only=True):
    """Content of run.json."""

    arguments: Mapping[str, Any]
    """Values that the result depends on; a run is only continued with the same."""
    sources: Sequence[SourceCounts]
    """Numbers of images, source by source."""
    images_an_epoch: int
    """Number of images that an epoch learns from, whole batches of them."""
    note: str = _NOTE
    """Images that the network has seen, for readers of figures measured with it."""
    software: Mapping[str, str]
    """Versions by distribution."""
    device: str
    """Name of the GPU, or cpu."""
    processes: int
    """Number of processes that shared each batch."""
    finished: str | None = None
    """Why the run ended; None while it can go on."""
    seconds: float = 0.0
    """Duration of all epochs together."""
    best_epoch: int | None = None
    """Number of the epoch that told body parts best, from 1; None before any was scored."""
    history: Sequence[Mapping[str, float]] = ()
    """Measures of each epoch."""


class RunFolder:
    """Writes a run's record, log and backbones; each file whole or not at all.

    The names of the backbones' files begin with the timm name of the ``architecture``.
    """

    def __init__(self, path: Path, architecture: str) -> None:
        self.path = path
        self.architecture = architecture
        self.checkpoint_folder = path / "checkpoints"
        self.tensorboard = path / "tensorboard"

    def read(self) -> RunRecord | None:
        """The record of a run that was begun here; None where none was.

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

    def check_same_run(self, arguments: Mapping[str, object]) -> None:
        """Refuse to go on with other arguments than the run here began with.

        Raises
        ------
        ConfigError
            Naming the first argument that differs, and both values; or if run.json cannot be read.
        """
        record = self.read()
        if record is None:
            return
        for name in dict.fromkeys((*record.arguments, *arguments)):
            before, now = record.arguments.get(name), arguments.get(name)
            if before != now:
                raise ConfigError(
                    ReasonCode.INVALID_CONFIG,
                    f"{self.path}: the run there began with {name.replace('_', ' ')} {before}, now it is "
                    f"{now}; expected the same arguments to go on with it, or another folder",
                )

    def checkpoints(self) -> list[Path]:
        """The checkpoints that MONAI's ``CheckpointSaver`` wrote, the oldest first."""
        numbered = [
            (int(match[1]), path)
            for path in self.checkpoint_folder.glob("*.pt")
            if (match := re.fullmatch(r"checkpoint_epoch=(\d+)\.pt", path.name))
        ]
        return [path for _, path in sorted(numbered)]

    def newest_checkpoint(self) -> Path | None:
        """The newest whole checkpoint; None where there is none.

        The saver writes in place, so a run that was killed may leave half a file: its end, where a zip
        archive keeps its directory, is missing then.
        """
        return next(filter(zipfile.is_zipfile, reversed(self.checkpoints())), None)

    def write_epoch(self, engine: Workflow, backbone: GreyViT, record: RunRecord) -> None:
        """Write what an epoch changed: the last backbone, the best one where this is it, record and log.

        Parameters
        ----------
        engine
            Engine with the history and the best epoch in its state.
        backbone
            Backbone to keep.
        record
            Record of the run, as it began.
        """
        state = engine.state
        self._save(backbone, "last")
        if state.best_metric_epoch == state.epoch:
            self._save(backbone, "best")
        finished = None
        if state.epoch == state.max_epochs:
            finished = "all epochs done"
        elif engine.should_terminate:
            finished = "stopped early"
        lines = [msgspec.json.encode(epoch) + b"\n" for epoch in state.history]
        write_atomically(self.path / "log.jsonl", b"".join(lines))
        record = msgspec.structs.replace(
            record,
            finished=finished,
            seconds=sum(epoch["seconds"] for epoch in state.history),
            best_epoch=state.best_metric_epoch if state.best_metric_epoch > 0 else None,
            history=state.history,
        )
        write_atomically(self.path / "run.json", msgspec.json.format(msgspec.json.encode(record), indent=1))

    def _save(self, backbone: GreyViT, kind: str) -> None:
        """Write a backbone in float16; ``kind`` is last or best."""
        save_backbone(backbone, self.path / f"{self.architecture}.{kind}.safetensors")
