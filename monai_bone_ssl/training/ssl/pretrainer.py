"""MONAI's engine of a pre-training run, with the handlers that watch, write and resume it."""

from __future__ import annotations

import logging

from ignite.engine import Events
from ignite.handlers import EarlyStopping, ProgressBar
from monai.engines.trainer import Trainer
from monai.handlers.checkpoint_loader import CheckpointLoader
from monai.handlers.checkpoint_saver import CheckpointSaver
from monai.handlers.stats_handler import StatsHandler
from monai.handlers.tensorboard_handlers import TensorBoardStatsHandler

from monai_bone_ssl.training.compute.distributed import Process, say, wait_for_all
from monai_bone_ssl.training.ssl.batches import Batches
from monai_bone_ssl.training.ssl.collapse import CollapseGuard
from monai_bone_ssl.training.ssl.epoch_monitor import KEY_METRIC, EpochMonitor, TimeBudget
from monai_bone_ssl.training.ssl.frameworks import Framework
from monai_bone_ssl.training.ssl.online_knn import BodyPartKNN
from monai_bone_ssl.training.ssl.recipe import Recipe
from monai_bone_ssl.training.ssl.run_folder import RunFolder, RunRecord
from monai_bone_ssl.training.ssl.training_step import TrainingStep, compile_blocks, make_optimizer

__all__ = ["Pretrainer"]

# Silent unless the caller sets up logging: the engine would tell each error twice.
_LOGGER = logging.getLogger("monai_bone_ssl.pretrain")
_LOGGER.addHandler(logging.NullHandler())
# Number of steps between points of the curves in TensorBoard.
_LOG_EVERY = 10


class Pretrainer(Trainer):
    """MONAI's engine of a run; made by :func:`~monai_bone_ssl.training.ssl.pretrain.make_pretrainer`.

    The framework is moved to the process's device. The run's folder is not written to before :meth:`run`,
    which is called once; ``record`` is the content of run.json as the run begins.
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
        self.logger = _LOGGER
        self.framework = framework
        self.batches = batches
        self.folder = folder
        self.record = record
        self.process = process
        self.minutes = minutes
        EpochMonitor(framework, guard, knn, process, steps * recipe.batch_size).attach(self)
        states = {"module": framework.module, "optimizer": optimizer, "trainer": self, "guard": guard}
        self.checkpointed: dict[str, object] = states
        if recipe.early_stop is not None and knn.possible:
            self._stop_early(recipe.early_stop)

    def _stop_early(self, epochs: int) -> None:
        # MONAI's EarlyStopHandler would begin to count anew in a resumed run; this one is checkpointed.
        stopping = EarlyStopping(epochs, lambda engine: engine.state.metrics[KEY_METRIC], self)
        self.add_event_handler(Events.EPOCH_COMPLETED, stopping)
        self.checkpointed["early_stopping"] = stopping

    def run(self) -> None:  # type: ignore[override]  # MONAI's Trainer takes no arguments either
        """Train to the end from where an earlier run was interrupted; a finished run is left alone."""
        earlier = self.folder.read()
        if earlier is not None and earlier.finished:
            say(self.process, f"{self.folder.path}: nothing to do, this run is finished ({earlier.finished})")
            return
        self._resume()
        if self.process.rank == 0:
            self._attach_writers()
            for outdated in self.folder.checkpoints()[:-1]:
                outdated.unlink()
        # Two checkpoints stay, so that one is whole while the other is being written. All processes call the
        # saver, the first one writes.
        folder = str(self.folder.checkpoint_folder)
        CheckpointSaver(folder, self.checkpointed, save_interval=1, n_saved=2).attach(self)
        if self.minutes is not None:
            TimeBudget(self.minutes, self.process).attach(self)
        self.add_event_handler(Events.EXCEPTION_RAISED, _raise)
        super().run()

    def _attach_writers(self) -> None:
        """Progress, curves, log and backbones; the checkpoint comes after them."""
        ProgressBar(persist=True).attach(self)
        TensorBoardStatsHandler(
            log_dir=str(self.folder.tensorboard),
            iteration_log=_LOG_EVERY,
            output_transform=lambda output: output,
        ).attach(self)
        stats = StatsHandler(iteration_log=False)
        stats.attach(self)
        # This handler would print the trace of an error that the command line tells in a line.
        self.remove_event_handler(stats.exception_raised, Events.EXCEPTION_RAISED)
        write = self.folder.write_epoch
        self.add_event_handler(Events.EPOCH_COMPLETED, write, self.framework.exported, self.record)

    def _resume(self) -> None:
        newest = self.folder.newest_checkpoint()
        if newest is not None:
            # The first process saved it: by way of the CPU, lest the others load it on the first one's GPU.
            CheckpointLoader(str(newest), self.checkpointed, map_location={"cuda:0": "cpu"})(self)
            self.batches.first_epoch = self.state.epoch
            say(self.process, f"going on after epoch {self.state.epoch} of {self.state.max_epochs}")
        wait_for_all()  # nobody looks for checkpoints any more: the first process may write some


def _raise(_engine: Trainer, error: BaseException) -> None:
    """Last of the handlers of an exception; with the progress bar's alone the error would be swallowed."""
    raise error
