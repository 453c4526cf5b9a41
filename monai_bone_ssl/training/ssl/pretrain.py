"""Self-supervised pre-training, from image folders to a backbone."""

from __future__ import annotations

import hashlib
import logging
import sys
from collections.abc import Sequence
from pathlib import Path

import msgspec
import numpy as np
import torch
from ignite.engine import Events
from ignite.handlers import EarlyStopping, ProgressBar
from monai.engines.trainer import Trainer
from monai.handlers.checkpoint_loader import CheckpointLoader
from monai.handlers.checkpoint_saver import CheckpointSaver
from monai.handlers.stats_handler import StatsHandler
from monai.handlers.tensorboard_handlers import TensorBoardStatsHandler
from tqdm import tqdm

from monai_bone_ssl.errors import ConfigError, ReasonCode
from monai_bone_ssl.preprocessing import PreprocessSpec
from monai_bone_ssl.training.backbone import GreyViT, create_backbone, load_backbone
from monai_bone_ssl.training.ssl.batches import Batches, BatchPlan
from monai_bone_ssl.training.ssl.checkpoints import check_same_run, checkpoints, newest_checkpoint
from monai_bone_ssl.training.ssl.collapse import CollapseGuard
from monai_bone_ssl.training.ssl.distributed import Process, join_processes, wait_for_all
from monai_bone_ssl.training.ssl.epoch_monitor import KEY_METRIC, EpochMonitor, TimeBudget
from monai_bone_ssl.training.ssl.frameworks import Framework, make_framework
from monai_bone_ssl.training.ssl.image_cache import ImageCache, open_image_cache
from monai_bone_ssl.training.ssl.online_knn import BodyPartKNN
from monai_bone_ssl.training.ssl.recipe import Recipe
from monai_bone_ssl.training.ssl.run_folder import RunFolder, RunRecord, SourceCounts, software
from monai_bone_ssl.training.ssl.sources import ImageSources, read_sources
from monai_bone_ssl.training.ssl.training_step import TrainingStep, compile_blocks, make_optimizer, seeded
from monai_bone_ssl.training.weights_source import parse_source

__all__ = ["Pretrainer", "make_trainer", "pretrain"]

# As the product sees images; fit.py chose it by cross-validation.
_PERCENTILES = (1.0, 99.0)
# Steps between points of the curves in TensorBoard.
_LOG_EVERY = 10


def pretrain(
    data: Sequence[Path],
    out: Path,
    backbone: Path | str,
    recipe: Recipe,
    *,
    cache: Path,
    minutes: float | None = None,
) -> None:
    """Pre-train a backbone on images without labels; called again, an interrupted run goes on.

    Under torchrun the processes share each batch; ``out`` and ``cache`` then have to be the same folders for
    all of them.

    Parameters
    ----------
    data
        Sources of images, see :func:`~monai_bone_ssl.training.ssl.sources.read_sources`.
    out
        Folder of the run: ``<timm name>.last.safetensors`` and ``.best.safetensors`` (float16, for
        :func:`~monai_bone_ssl.training.backbone.load_backbone`), run.json, log.jsonl, checkpoints/,
        tensorboard/.
    backbone
        Weights to begin from, or the timm name of a network that begins with random ones.
    recipe
        All else that the result depends on.
    cache
        Folder for decoded images.
    minutes
        End after the last epoch that can be expected to fit in; the schedules stay those of all epochs.

    Raises
    ------
    ConfigError
        If an argument or a source is not what was expected, or ``out`` holds a run with other arguments.
    TrainingError
        If the loss is no number any more, or the network collapsed.
    ReportError
        If a folder cannot be written.
    """
    with join_processes() as process:
        make_trainer(data, out, backbone, recipe, process, cache=cache, minutes=minutes).run()


def make_trainer(
    data: Sequence[Path],
    out: Path,
    backbone: Path | str,
    recipe: Recipe,
    process: Process,
    *,
    cache: Path,
    minutes: float | None = None,
) -> Pretrainer:
    """The engine that :func:`pretrain` runs; errors, and parameters not listed here, are the same.

    Parameters
    ----------
    process
        As :func:`~monai_bone_ssl.training.ssl.distributed.join_processes` gives it; its block has to last
        until the engine has run.
    """
    if recipe.batch_size % process.count:
        text = f"batch of {recipe.batch_size}: expected a multiple of the {process.count} processes"
        raise ConfigError(ReasonCode.INVALID_CONFIG, text)
    with seeded(recipe.seed, process.device):  # random first weights come from torch's global stream
        vit = _first_backbone(backbone, recipe.drop_path)
        sources = read_sources(data)
        images = _decoded(sources, _spec(recipe.long_side, vit), cache, process)
        partners = sources.study_partners(images.usable) if recipe.study_partners else {}
        plan = BatchPlan(sources.by_source(images.usable), partners, recipe.batch_size, recipe.seed)
        framework = make_framework(vit, recipe, plan.steps)
    folder = RunFolder(out, _name(backbone))
    record = _record(backbone, recipe, sources, images, plan, process)
    before = folder.read()
    if before is not None:
        check_same_run(before.arguments, record.arguments, out)
    spec = _spec(recipe.size, framework.exported)
    knn = BodyPartKNN(sources.images, sources.source_of, images, spec, recipe.seed)
    batches = Batches(images, plan, side=recipe.long_side, rank=process.rank, processes=process.count)
    return Pretrainer(framework, batches, knn, recipe, folder, record, process, minutes)


class Pretrainer(Trainer):
    """MONAI's engine of a pre-training run; made by :func:`make_trainer`.

    Nothing is written to the run's folder before :meth:`run`, which is called once.
    """

    def __init__(
        self,
        framework: Framework,
        batches: Batches,
        knn: BodyPartKNN,
        recipe: Recipe,
        folder: RunFolder,
        record: RunRecord,
        process: Process,
        minutes: float | None,
    ) -> None:
        framework.module.to(process.device)
        if process.device.type == "cuda":
            compile_blocks(framework.module)
        optimizer = make_optimizer(framework.module, process.device)
        # Networks with random weights begin near collapse, so the warm-up is let pass.
        guard = CollapseGuard(patience=max(2, recipe.warmup_epochs))
        steps = batches.plan.steps
        super().__init__(
            process.device,
            max_epochs=recipe.epochs,
            data_loader=batches,
            epoch_length=steps,
            iteration_update=TrainingStep(framework, optimizer, guard, recipe, steps, process),
            decollate=False,
        )
        self.logger = _quiet_logger()
        self.framework = framework
        self.batches = batches
        self.folder = folder
        self.record = record
        self.process = process
        self.minutes = minutes
        EpochMonitor(framework, guard, knn, process, steps * recipe.batch_size).attach(self)
        self.checkpointed = {
            "module": framework.module,
            "optimizer": optimizer,
            "trainer": self,
            "guard": guard,
        }
        if recipe.early_stop is not None and knn.possible:
            # MONAI's EarlyStopHandler would begin to count anew in a resumed run; this one is checkpointed.
            stopping = EarlyStopping(recipe.early_stop, lambda engine: engine.state.metrics[KEY_METRIC], self)
            self.add_event_handler(Events.EPOCH_COMPLETED, stopping)
            self.checkpointed["early_stopping"] = stopping

    def run(self) -> None:  # type: ignore[override]  # MONAI's Trainer takes no arguments either
        """Train to the end from where an earlier run was interrupted; a finished run is left alone."""
        before = self.folder.read()
        if before is not None and before.finished:
            text = f"{self.folder.path}: nothing to do, this run is finished ({before.finished})"
            _say(self.process, text)
            return
        self._resume()
        if self.process.rank == 0:
            _attach_writers(self, self.framework, self.folder, self.record)
            for outdated in checkpoints(self.folder.checkpoints)[:-1]:
                outdated.unlink()
        # Two, so that one is whole while the other is being written. All processes meet in it, the first
        # writes.
        saver = CheckpointSaver(str(self.folder.checkpoints), self.checkpointed, save_interval=1, n_saved=2)
        saver.attach(self)
        if self.minutes is not None:
            TimeBudget(self.minutes, self.process).attach(self)
        self.add_event_handler(Events.EXCEPTION_RAISED, _raise)
        super().run()

    def _resume(self) -> None:
        newest = newest_checkpoint(self.folder.checkpoints)
        if newest is not None:
            # The first process saved it; by way of the CPU no other process lands on the first one's GPU.
            CheckpointLoader(str(newest), self.checkpointed, map_location={"cuda:0": "cpu"})(self)
            self.batches.first_epoch = self.state.epoch
            _say(self.process, f"going on after epoch {self.state.epoch} of {self.state.max_epochs}")
        wait_for_all()  # nobody looks for checkpoints any more: the first process may write some


def _attach_writers(trainer: Trainer, framework: Framework, folder: RunFolder, record: RunRecord) -> None:
    """Progress, curves, log and backbones; the checkpoint comes after them."""
    ProgressBar(persist=True).attach(trainer)
    TensorBoardStatsHandler(
        log_dir=str(folder.tensorboard), iteration_log=_LOG_EVERY, output_transform=lambda output: output
    ).attach(trainer)
    stats = StatsHandler(iteration_log=False)
    stats.attach(trainer)
    # It would print the trace of an error that the command line tells in a line.
    trainer.remove_event_handler(stats.exception_raised, Events.EXCEPTION_RAISED)
    trainer.add_event_handler(Events.EPOCH_COMPLETED, folder.write_epoch, framework.exported, record)


def _raise(_engine: Trainer, error: BaseException) -> None:
    """Last of the handlers of an exception: the progress bar's alone would swallow it."""
    raise error


def _first_backbone(backbone: Path | str, drop_path: float) -> GreyViT:
    if isinstance(backbone, Path):
        return load_backbone(backbone, drop_path)
    return create_backbone(backbone, drop_path)


def _spec(long_side: int, backbone: GreyViT) -> PreprocessSpec:
    try:
        return PreprocessSpec(long_side, backbone.patch_size, *_PERCENTILES)
    except ValueError as error:
        raise ConfigError(ReasonCode.INVALID_CONFIG, str(error)) from error


def _decoded(sources: ImageSources, spec: PreprocessSpec, cache: Path, process: Process) -> ImageCache:
    if process.local_rank == 0:  # each machine's first process makes it, the others then find it
        open_image_cache(sources.paths, spec, cache)
    wait_for_all()
    images = open_image_cache(sources.paths, spec, cache)
    left_out = images.left_out
    if left_out:
        _say(process, f"{len(left_out)} of {len(sources.images)} images left out: {', '.join(left_out[:5])}")
    return images


def _record(
    backbone: Path | str,
    recipe: Recipe,
    sources: ImageSources,
    images: ImageCache,
    plan: BatchPlan,
    process: Process,
) -> RunRecord:
    weights = hashlib.sha256(backbone.read_bytes()).hexdigest() if isinstance(backbone, Path) else "random"
    arguments = {"architecture": _name(backbone), "weights": weights, "images": images.key}
    listed = np.bincount(sources.source_of)
    used = np.bincount(np.array(sources.source_of)[images.usable], minlength=len(listed))
    return RunRecord(
        # As it is read back from JSON: tuples become lists.
        arguments=arguments | msgspec.json.decode(msgspec.json.encode(recipe)),
        sources=[
            SourceCounts(name=name, listed=int(listed[number]), used=int(used[number]))
            for number, name in enumerate(sources.names)
        ],
        images_an_epoch=plan.steps * recipe.batch_size,
        software=software(),
        device=torch.cuda.get_device_name() if process.device.type == "cuda" else "cpu",
        processes=process.count,
    )


def _name(backbone: Path | str) -> str:
    return parse_source(backbone).name if isinstance(backbone, Path) else backbone


def _quiet_logger() -> logging.Logger:
    """Silent unless the caller sets up logging: the engine would tell each error twice."""
    logger = logging.getLogger("monai_bone_ssl.pretrain")
    if not logger.handlers:
        logger.addHandler(logging.NullHandler())
    return logger


def _say(process: Process, text: str) -> None:
    if process.rank == 0:
        tqdm.write(text, file=sys.stderr)
