"""Handlers of the engine that measure an epoch and end a run: by time, divergence or collapse."""

from __future__ import annotations

import math
import time
from collections import defaultdict
from dataclasses import dataclass

import torch
from ignite.engine import Events
from monai.engines.workflow import Workflow
from torch import Tensor

from monai_bone_ssl.errors import ReasonCode, TrainingError
from monai_bone_ssl.training.compute.distributed import Process, sum_over_processes
from monai_bone_ssl.training.ssl.collapse import CollapseGuard
from monai_bone_ssl.training.ssl.frameworks import Framework
from monai_bone_ssl.training.ssl.online_knn import BodyPartKNN

__all__ = ["KEY_METRIC", "EpochMonitor", "TimeBudget"]

#: Name of the measure that epochs are compared by.
KEY_METRIC = "body_part_knn"

# Number of steps between looks at the loss: each waits for the GPU.
_LOOK_EVERY = 10


@dataclass(eq=False)
class EpochMonitor:
    """Fills ``engine.state.metrics``, keeps the best epoch and the history; stops a run that went wrong.

    To be attached before the handlers that log and save. ``engine.state`` gets ``history``, and
    ``best_metric`` and ``best_metric_epoch`` (both -1 until a first k-NN score) as MONAI's engines have them.
    ``images`` is the number of an epoch's images, of all processes together.
    """

    framework: Framework
    guard: CollapseGuard
    knn: BodyPartKNN
    process: Process
    images: int

    def attach(self, engine: Workflow) -> None:
        """Listen to the engine."""
        engine.state.history = []
        engine.state.key_metric_name = KEY_METRIC if self.knn.possible else None
        engine.state_dict_user_keys.extend(["history", "best_metric", "best_metric_epoch"])
        engine.add_event_handler(Events.EPOCH_STARTED, self.epoch_started)
        engine.add_event_handler(Events.ITERATION_COMPLETED, self.iteration_completed)
        engine.add_event_handler(Events.EPOCH_COMPLETED, self.epoch_completed)

    def epoch_started(self, _engine: Workflow) -> None:
        """Begin the epoch's sums."""
        self._started = time.monotonic()
        self._sums: dict[str, Tensor] = defaultdict(lambda: torch.zeros((), device=self.process.device))

    def iteration_completed(self, engine: Workflow) -> None:
        """Add a step's losses; look at them from time to time."""
        for name, value in engine.state.output.items():
            self._sums[name] = self._sums[name] + value
        if engine.state.iteration % _LOOK_EVERY == 0:
            self._check_finite(engine)

    def epoch_completed(self, engine: Workflow) -> None:
        """Measure the epoch.

        Raises
        ------
        TrainingError
            If the loss is no number any more, or the network collapsed.
        """
        self._check_finite(engine)
        steps = engine.state.epoch_length * self.process.count
        measures = {name: float(sum_over_processes(total)) / steps for name, total in self._sums.items()}
        measures |= self.guard.finish_epoch()
        seconds = time.monotonic() - self._started
        if self.knn.possible:
            measures[KEY_METRIC] = self.knn(self.framework.exported, self.process)
            if engine.state.best_metric_epoch == -1 or measures[KEY_METRIC] > engine.state.best_metric:
                engine.state.best_metric = measures[KEY_METRIC]
                engine.state.best_metric_epoch = engine.state.epoch
        engine.state.metrics = measures
        timing = {"images_per_second": self.images / seconds, "seconds": time.monotonic() - self._started}
        engine.state.history.append({"epoch": engine.state.epoch, **measures, **timing})

    def _check_finite(self, engine: Workflow) -> None:
        # A sum with NaN or infinity in it stays so, and the sum over all processes decides for all alike.
        total = float(sum_over_processes(self._sums["loss"]))
        if not math.isfinite(total):
            raise TrainingError(
                ReasonCode.TRAINING_DIVERGED,
                f"training diverged: the loss became {total} in epoch {engine.state.epoch}, expected a "
                "finite number; try a lower learning rate or a longer warm-up",
            )


class TimeBudget:
    """Ends the run after the last epoch that can be expected to fit into ``minutes`` from now on.

    The first process's clock counts.
    """

    def __init__(self, minutes: float, process: Process) -> None:
        self.process = process
        self._began = time.monotonic()
        self._seconds = minutes * 60

    def attach(self, engine: Workflow) -> None:
        """Listen to the engine."""
        engine.add_event_handler(Events.EPOCH_COMPLETED, self.epoch_completed)

    def epoch_completed(self, engine: Workflow) -> None:
        """Stop if another epoch as long as the last would end too late."""
        next_end = time.monotonic() - self._began + engine.state.history[-1]["seconds"]
        over = self.process.rank == 0 and next_end > self._seconds
        if sum_over_processes(torch.tensor(float(over), device=self.process.device)) > 0:
            engine.terminate()
