"""Self-supervised pre-training, from image folders to a backbone."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path

import msgspec
import numpy as np
import torch

from monai_bone_ssl.errors import ConfigError, ReasonCode
from monai_bone_ssl.model.preprocessing import PreprocessSpec
from monai_bone_ssl.training.compute.distributed import Process, join_processes, say, wait_for_all
from monai_bone_ssl.training.compute.image_cache import ImageCache, open_image_cache
from monai_bone_ssl.training.compute.software import software
from monai_bone_ssl.training.data.input_spec import input_spec
from monai_bone_ssl.training.data.unlabelled import ImageSources, read_sources
from monai_bone_ssl.training.networks.backbone import create_backbone, load_backbone
from monai_bone_ssl.training.networks.weights import parse_source
from monai_bone_ssl.training.ssl.batches import Batches, BatchPlan
from monai_bone_ssl.training.ssl.frameworks import make_framework
from monai_bone_ssl.training.ssl.online_knn import BodyPartKNN
from monai_bone_ssl.training.ssl.pretrainer import Pretrainer
from monai_bone_ssl.training.ssl.recipe import Recipe
from monai_bone_ssl.training.ssl.run_folder import RunFolder, RunRecord, SourceCounts
from monai_bone_ssl.training.ssl.training_step import seeded

__all__ = ["make_pretrainer", "pretrain"]

_LIBRARIES = ("torch", "timm", "monai", "pytorch-ignite", "numpy", "pillow")


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
        Sources of images, see :func:`~monai_bone_ssl.training.data.unlabelled.list_images`.
    out
        Folder of the run: ``<timm name>.last.safetensors`` and ``.best.safetensors`` (float16, for
        :func:`~monai_bone_ssl.training.networks.backbone.load_backbone`), run.json, log.jsonl, checkpoints/,
        tensorboard/.
    backbone
        Weights to begin from, or the timm name of a network that begins with random ones.
    recipe
        All else that the result depends on.
    cache
        Folder for decoded images.
    minutes
        Time for the run: it ends after the last epoch that can be expected to fit in. The schedules stay
        those of all epochs.

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
        make_pretrainer(data, out, backbone, recipe, process, cache=cache, minutes=minutes).run()


def make_pretrainer(
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
        This process, from :func:`~monai_bone_ssl.training.compute.distributed.join_processes`, whose block
        has to last until the engine has run.
    """
    if recipe.batch_size % process.count:
        text = f"batch of {recipe.batch_size}: expected a multiple of the {process.count} processes"
        raise ConfigError(ReasonCode.INVALID_CONFIG, text)
    with seeded(recipe.seed, process.device):  # random first weights come from torch's global stream
        if isinstance(backbone, Path):
            vit = load_backbone(backbone, recipe.drop_path)
        else:
            vit = create_backbone(backbone, recipe.drop_path)
        sources = read_sources(data)
        images = _decoded(sources, input_spec(recipe.long_side, vit.patch_size), cache, process)
        framework = make_framework(vit, recipe)
    partnered = recipe.study_partners and framework.views.show_partners
    partners = sources.study_partners(images.usable) if partnered else {}
    plan = BatchPlan(sources.by_source(images.usable), partners, recipe.batch_size, recipe.seed)
    folder = RunFolder(out, _name(backbone))
    record = _record(backbone, recipe, sources, images, plan, process)
    folder.check_same_run(record.arguments)
    spec = input_spec(recipe.size, framework.exported.patch_size)
    knn = BodyPartKNN(sources, images, spec, recipe.seed)
    batches = Batches(images, plan, recipe.long_side, process)
    return Pretrainer(framework, batches, knn, recipe, folder, record, process, minutes)


def _decoded(sources: ImageSources, spec: PreprocessSpec, cache: Path, process: Process) -> ImageCache:
    if process.local_rank == 0:  # each machine's first process decodes, the others then find the images
        open_image_cache(sources.paths, spec, cache)
    wait_for_all()
    images = open_image_cache(sources.paths, spec, cache)
    left_out = images.left_out
    if left_out:
        say(process, f"{len(left_out)} of {len(sources.images)} images left out: {', '.join(left_out[:5])}")
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
        # By way of JSON, so that they equal those read back: tuples become lists.
        arguments=arguments | msgspec.json.decode(msgspec.json.encode(recipe)),
        sources=[
            SourceCounts(name=name, listed=int(listed[number]), used=int(used[number]))
            for number, name in enumerate(sources.names)
        ],
        images_an_epoch=plan.steps * recipe.batch_size,
        software=software(*_LIBRARIES),
        device=torch.cuda.get_device_name() if process.device.type == "cuda" else "cpu",
        processes=process.count,
    )


def _name(backbone: Path | str) -> str:
    return parse_source(backbone).name if isinstance(backbone, Path) else backbone
