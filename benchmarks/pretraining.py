"""Images per second of this package's pre-training loop, against the plain loop of the published DINO recipe.

The plain loop follows DINO's public code (main_dino.py): every epoch decodes every file, each image is
augmented by itself with torchvision in DataLoader workers, crops of one size go through the network
together, gradients are clipped and the teacher is moved parameter by parameter, float16 under autocast on
CUDA. Colour jitter changes brightness and contrast of the grey images; flips and blur are DINO's. Network,
heads, batch, number and sizes of the crops are the same on both sides.

    python -m benchmarks.pretraining FRACATLAS --batch-size 64 --steps 20 --rounds 3
"""

from __future__ import annotations

import argparse
import copy
import statistics
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from tempfile import gettempdir

import torch
from PIL import Image
from torch import Tensor, nn
from torch.nn.functional import log_softmax, softmax
from torch.utils.data import DataLoader, Dataset
from torchvision import transforms

from benchmarks.speed.ratio import seconds, take_turns
from monai_bone_ssl.model.preprocessing import PreprocessSpec
from monai_bone_ssl.threads import available_cores
from monai_bone_ssl.training.compute.distributed import Process
from monai_bone_ssl.training.compute.image_cache import open_image_cache
from monai_bone_ssl.training.data.unlabelled import ImageSources, read_sources
from monai_bone_ssl.training.networks.backbone import create_backbone
from monai_bone_ssl.training.ssl.batches import Batches, BatchPlan
from monai_bone_ssl.training.ssl.collapse import CollapseGuard
from monai_bone_ssl.training.ssl.frameworks import make_framework
from monai_bone_ssl.training.ssl.recipe import Recipe
from monai_bone_ssl.training.ssl.self_distillation import DINOHead
from monai_bone_ssl.training.ssl.training_step import TrainingStep, compile_blocks, make_optimizer


class CroppedFiles(Dataset[list[Tensor]]):
    """Crops of each file, as DINO's DataAugmentationDINO makes them."""

    def __init__(self, paths: list[Path], recipe: Recipe, local_size: int) -> None:
        self.paths = paths
        self.local_views = recipe.local_views
        first, second = (self._crop(recipe.size, (0.32, 1.0), blur) for blur in (1.0, 0.1))
        self.global_crops = (first, second)
        self.local_crop = self._crop(local_size, (0.05, 0.32), 0.5)

    @staticmethod
    def _crop(size: int, scale: tuple[float, float], blur: float) -> transforms.Compose:
        bicubic = transforms.InterpolationMode.BICUBIC
        return transforms.Compose(
            [
                transforms.RandomResizedCrop(size, scale=scale, interpolation=bicubic),
                transforms.RandomHorizontalFlip(),
                transforms.RandomApply([transforms.ColorJitter(0.4, 0.4)], p=0.8),
                transforms.RandomApply([transforms.GaussianBlur(9, (0.1, 2.0))], p=blur),
                transforms.ToTensor(),
            ]
        )

    def __len__(self) -> int:
        return len(self.paths)

    def __getitem__(self, index: int) -> list[Tensor]:
        image = Image.open(self.paths[index]).convert("L")
        return [crop(image) for crop in self.global_crops] + [
            self.local_crop(image) for _ in range(self.local_views)
        ]


class PlainLoop:
    """The steps of train_one_epoch in DINO's main_dino.py."""

    def __init__(
        self, sources: ImageSources, name: str, recipe: Recipe, local_size: int, device: torch.device
    ):
        self.device = device
        backbone = create_backbone(name, recipe.drop_path)
        self.student = nn.ModuleList([backbone, DINOHead(backbone.width, recipe.prototypes)]).to(device)
        self.teacher = copy.deepcopy(self.student).requires_grad_(False).eval()
        self.centre = torch.zeros(recipe.prototypes, device=device)
        self.optimizer = torch.optim.AdamW(self.student.parameters(), lr=1e-6)
        self.scaler = torch.amp.GradScaler(device.type, enabled=device.type == "cuda")
        self.loader = DataLoader(
            CroppedFiles(sources.paths, recipe, local_size),
            batch_size=recipe.batch_size,
            shuffle=True,
            drop_last=True,
            num_workers=available_cores(),
            pin_memory=device.type == "cuda",
            persistent_workers=True,
        )
        self.batches = self._endless()

    def _endless(self) -> Iterator[list[Tensor]]:
        while True:
            yield from self.loader

    def step(self) -> None:
        """Update the networks once."""
        crops = [crop.to(self.device, non_blocking=True) for crop in next(self.batches)]
        with torch.autocast(self.device.type, torch.float16, enabled=self.device.type == "cuda"):
            with torch.no_grad():
                teacher = self._outputs(self.teacher, crops[:2])
            student = self._outputs(self.student, crops)
            loss = self._loss(student.float(), teacher.float(), len(crops[0]))
        self.optimizer.zero_grad()
        self.scaler.scale(loss).backward()
        self.scaler.unscale_(self.optimizer)
        for parameter in self.student.parameters():
            if parameter.grad is not None:
                coefficient = 3.0 / (parameter.grad.norm(2) + 1e-6)
                if coefficient < 1:
                    parameter.grad.mul_(coefficient)
        self.scaler.step(self.optimizer)
        self.scaler.update()
        with torch.no_grad():
            for mine, theirs in zip(self.student.parameters(), self.teacher.parameters(), strict=True):
                theirs.mul_(0.996).add_(0.004 * mine)

    @staticmethod
    def _outputs(network: nn.ModuleList, crops: list[Tensor]) -> Tensor:
        """Outputs of DINO's MultiCropWrapper: crops of one size share a forward pass, all share the head."""
        backbone, head = network
        groups = [torch.cat(crops[:2]), *([torch.cat(crops[2:])] if len(crops) > 2 else [])]
        outputs: Tensor = head(torch.cat([backbone(group)[:, 0] for group in groups]))
        return outputs

    def _loss(self, student: Tensor, teacher: Tensor, images: int) -> Tensor:
        targets = softmax((teacher - self.centre) / 0.04, dim=1).detach().split(images)
        guesses = (student / 0.1).split(images)
        losses = [
            torch.sum(-target * log_softmax(guess, dim=1), dim=1).mean()
            for t, target in enumerate(targets)
            for s, guess in enumerate(guesses)
            if s != t
        ]
        self.centre = self.centre * 0.9 + teacher.mean(dim=0) * 0.1
        return torch.stack(losses).mean()


class OurLoop:
    """The steps that ``bone-ssl pretrain`` runs."""

    def __init__(self, sources: ImageSources, name: str, recipe: Recipe, cache: Path, device: torch.device):
        backbone = create_backbone(name, recipe.drop_path)
        spec = PreprocessSpec(recipe.long_side, backbone.patch_size, 1.0, 99.0)
        images = open_image_cache(sources.paths, spec, cache)
        plan = BatchPlan(sources.by_source(images.usable), {}, recipe.batch_size, recipe.seed)
        framework = make_framework(backbone, recipe)
        framework.module.to(device)
        if device.type == "cuda":
            compile_blocks(framework.module)
        optimizer = make_optimizer(framework.module, device)
        process = Process(rank=0, count=1, local_rank=0, device=device)
        guard = CollapseGuard(patience=recipe.epochs)
        self.update = TrainingStep(framework, optimizer, guard, recipe, plan.steps, process)
        self.batches = iter(Batches(images, plan, recipe.long_side, process))

    def step(self) -> None:
        """Update the networks once."""
        self.update(None, next(self.batches))


def images_per_second(loop: PlainLoop | OurLoop, images: int, steps: int) -> float:
    """Rate of a loop over some steps with so many images each."""

    def run() -> None:
        for _ in range(steps):
            loop.step()
        if torch.cuda.is_available():
            torch.cuda.synchronize()

    return images * steps / seconds(run)


def main() -> None:
    """Print both sides and their ratio."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("data", type=Path, help="radiographs as PNG or JPEG files")
    parser.add_argument("--architecture", default="vit_small_patch16_224")
    parser.add_argument("--batch-size", type=int, default=64)
    parser.add_argument("--local-views", type=int, default=6)
    parser.add_argument("--size", type=int, default=224)
    parser.add_argument("--local-size", type=int, default=96)
    parser.add_argument("--steps", type=int, default=20, help="steps a round (default: %(default)s)")
    parser.add_argument("--rounds", type=int, default=3, help="rounds of each side (default: %(default)s)")
    parser.add_argument("--cache", type=Path, default=Path(gettempdir()) / "monai_bone_ssl_benchmark")
    arguments = parser.parse_args()

    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    recipe = Recipe(
        batch_size=arguments.batch_size,
        size=arguments.size,
        local_size=arguments.local_size,
        local_views=arguments.local_views,
        long_side=2 * arguments.size,
    )
    sources = read_sources([arguments.data])
    sides = (
        PlainLoop(sources, arguments.architecture, recipe, arguments.local_size, device),
        OurLoop(sources, arguments.architecture, recipe, arguments.cache, device),
    )
    measures = [partial(images_per_second, loop, recipe.batch_size, arguments.steps) for loop in sides]
    rates = take_turns(measures, arguments.rounds)
    plain, ours = (statistics.median(side) for side in rates)
    hardware = torch.cuda.get_device_name() if device.type == "cuda" else f"{available_cores()} CPU cores"
    print(
        f"{arguments.architecture}, batch {recipe.batch_size}, 2 + {recipe.local_views} crops, {hardware}: "
        f"plain DINO loop {plain:.2f} images/s, this package {ours:.2f} images/s, ratio {ours / plain:.2f} "
        f"(medians of {arguments.rounds} rounds: plain {_list(rates[0])}; ours {_list(rates[1])})"
    )


def _list(rates: list[float]) -> str:
    return ", ".join(f"{rate:.2f}" for rate in rates)


if __name__ == "__main__":
    main()
