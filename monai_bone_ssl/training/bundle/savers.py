"""What MONAI's engines write: handlers that gather results, and names and axes of saved maps."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, cast

import numpy as np
from ignite.engine import Engine, Events
from monai.data.folder_layout import FolderLayoutBase
from monai.data.image_writer import PILWriter
from monai.data.meta_tensor import MetaTensor
from monai.utils.misc import ImageMetaKey
from torch import distributed

from monai_bone_ssl.model.answer import Answer
from monai_bone_ssl.model.spec import ModelSpec
from monai_bone_ssl.training.bundle.network import split_map
from monai_bone_ssl.training.bundle.reader import SOURCE_SHAPE
from monai_bone_ssl.training.bundle.result import ImageResult, write_results
from monai_bone_ssl.training.data import LabelledDataset
from monai_bone_ssl.training.measure.evaluate_model import operating_points, write_evaluation

__all__ = ["EvaluationSaver", "FindingSaver", "MirroredLayout", "RowsFirstWriter"]


class FindingSaver:
    """Ignite handler: gathers each image's ``finding``, and writes predictions.csv and predictions.json.

    Parameters
    ----------
    output_dir
        Folder for the files.
    spec
        Specification of the model.
    refused
        Results of the files that the network did not see.
    """

    def __init__(self, output_dir: str, spec: ModelSpec, refused: Sequence[ImageResult]) -> None:
        self.output_dir = Path(output_dir)
        self.spec = spec
        self.refused = refused
        self._results: list[ImageResult] = []

    def attach(self, engine: Engine) -> None:
        """Follow an evaluator whose postprocessing has a :class:`Findingd`."""
        engine.add_event_handler(Events.STARTED, self._start)
        engine.add_event_handler(Events.ITERATION_COMPLETED, self._gather)
        engine.add_event_handler(Events.COMPLETED, self._write)

    def _start(self, _engine: Engine) -> None:
        self._results = list(self.refused)

    def _gather(self, engine: Engine) -> None:
        self._results.extend(item["finding"] for item in _items(engine))

    def _write(self, _engine: Engine) -> None:
        write_results(self._results, self.spec, self.output_dir)


class EvaluationSaver:
    """Ignite handler: gathers each image's answer from all processes; the first writes the figures.

    Parameters
    ----------
    dataset
        Labelled images to evaluate on.
    spec
        Specification of the model.
    output_dir
        Folder for metrics.json, predictions.csv and plots.
    """

    def __init__(self, dataset: LabelledDataset, spec: ModelSpec, output_dir: str) -> None:
        self.dataset = dataset
        self.spec = spec
        self.output_dir = Path(output_dir)
        self._parts = {str(image.path): image.part for image in dataset.images}
        self._answers: dict[str, Answer] = {}

    def attach(self, engine: Engine) -> None:
        """Follow an evaluator."""
        engine.add_event_handler(Events.STARTED, self._start)
        engine.add_event_handler(Events.ITERATION_COMPLETED, self._gather)
        engine.add_event_handler(Events.COMPLETED, self._write)

    def _start(self, _engine: Engine) -> None:
        self._answers = {}

    def _gather(self, engine: Engine) -> None:
        for item in _items(engine):
            image: MetaTensor = item["image"]
            path = str(image.meta[ImageMetaKey.FILENAME_OR_OBJ])
            scores = split_map(item["pred"].detach().cpu())
            shape = tuple(int(side) for side in image.meta[SOURCE_SHAPE])
            points = operating_points(self._parts[path], self.spec)
            patch_scores = np.asarray(scores.patch_scores)
            self._answers[path] = Answer.of(scores.logit, patch_scores, shape, points, self.spec)

    def _write(self, engine: Engine) -> None:
        shares = [self._answers]
        if distributed.is_initialized():
            shares = [{} for _ in range(distributed.get_world_size())]
            distributed.all_gather_object(shares, self._answers)
            if distributed.get_rank() > 0:
                return
        by_path = {path: answer for share in shares for path, answer in share.items()}
        answers = [by_path[str(image.path)] for image in self.dataset.images]
        engine.logger.info(write_evaluation(self.dataset, answers, self.spec, self.output_dir))


def _items(engine: Engine) -> list[dict[str, Any]]:
    """Dictionaries that an evaluator leaves after a batch, one an image where it decollates."""
    return cast(list[dict[str, Any]], engine.state.output)


class MirroredLayout(FolderLayoutBase):
    """Layout of saved files that repeats the sources' folders, and keeps the whole name of each source.

    MONAI's own layout cuts what follows the last dot: the UIDs that name DICOM files would become one name.

    Parameters
    ----------
    output_dir
        Folder for the files.
    dataset_dir
        Folder of the sources.
    postfix, extension
        Words put behind the source's name.
    """

    def __init__(self, output_dir: str, dataset_dir: str, postfix: str, extension: str) -> None:
        self.output_dir = Path(output_dir)
        self.dataset_dir = Path(dataset_dir)
        self.ending = f"_{postfix}{extension}"

    def filename(self, subject: str = "subject", **_: object) -> Path:
        """Path of the file for source ``subject``; the folder is made."""
        source = Path(subject).relative_to(self.dataset_dir)
        path = self.output_dir / source.parent / f"{source.name}{self.ending}"
        path.parent.mkdir(parents=True, exist_ok=True)
        return path


class RowsFirstWriter(PILWriter):
    """MONAI's writer of pictures for arrays [rows, columns], which the writer alone would transpose."""

    def write(self, filename: Any, verbose: bool = False, **options: Any) -> None:
        """Write the picture."""
        super().write(filename, verbose, reverse_indexing=False, **options)
