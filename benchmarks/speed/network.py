"""Speed of the network alone, against the machine's matrix products and against torch."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import torch

from benchmarks.speed.ratio import Row, row, seconds, take_turns
from monai_bone_ssl.model.folder import default_model_folder
from monai_bone_ssl.model.inference import Model
from monai_bone_ssl.threads import available_cores
from monai_bone_ssl.training.networks.network import ProbedViT
from monai_bone_ssl.training.networks.torch_model import load_network

__all__ = ["network_rows"]

_ASPECT = (5, 4)  # height to width, a limb's usual
_VIEWS = 2  # the network sees each image and its mirror image
_MATRIX = 2048

Shape = tuple[int, int, int, int]


def network_rows(rounds: int) -> Iterator[Row]:
    """Rows 1 and 2 of the table."""
    threads = available_cores()
    torch.set_num_threads(threads)
    model, network = Model(default_model_folder()), load_network(default_model_folder())
    size = model.spec.preprocessing.size(*_ASPECT)
    for batch in (1, 4):
        yield _against_matrix_products(model, network, (batch, 1, *size), rounds, threads)
    yield from _against_torch(model, network, (1, 1, *size), rounds, threads)


def forward_flop(network: ProbedViT, height: int, width: int) -> float:
    """Floating-point operations in the matrix products for one image; a product and a sum count as two.

    Each block of a ViT of width C takes 12 C^2 products a token (queries, keys, values, projection, and an
    MLP of four times the width) and 2 N C for the attention over N tokens.
    """
    backbone = network.pooling.backbone
    channels, patch = backbone.width, backbone.patch_size
    patches = (height // patch) * (width // patch)
    tokens = patches + 1
    blocks = backbone.depth * tokens * (12 * channels**2 + 2 * tokens * channels)
    return 2.0 * _VIEWS * (blocks + patches * patch**2 * channels)


def _against_matrix_products(
    model: Model, network: ProbedViT, shape: Shape, rounds: int, threads: int
) -> Row:
    images = np.random.default_rng(0).random(shape, dtype=np.float32)
    batch, _, height, width = shape
    operations = batch * forward_flop(network, height, width) / 1e9
    left, right = torch.rand(2, _MATRIX, _MATRIX)
    repeats = max(1, round(operations * 1e9 / (2 * _MATRIX**3)))
    product = torch.empty(_MATRIX, _MATRIX)

    def multiply() -> None:
        for _ in range(repeats):
            torch.mm(left, right, out=product)

    ours, other = take_turns(
        [
            lambda: operations / seconds(lambda: model.predict(images)),
            lambda: repeats * 2 * _MATRIX**3 / 1e9 / seconds(multiply),
        ],
        rounds,
    )
    return row(
        f"model forward, batch {batch}",
        ("shipped model", ours),
        (f"float32 matrix product {_MATRIX} x {_MATRIX} (torch)", other),
        unit="GFLOP/s",
        aim="at least 1.0",
        limit=1.0,
        note=f"{threads} threads, {height} x {width} mirrored too: {operations / batch:.0f} GFLOP",
    )


def _against_torch(
    model: Model, network: ProbedViT, shape: Shape, rounds: int, threads: int
) -> Iterator[Row]:
    images = np.random.default_rng(0).random(shape, dtype=np.float32)
    tensor = torch.from_numpy(images)
    compiled = torch.compile(network, dynamic=False)

    @torch.inference_mode()
    def eager() -> None:
        network(tensor)

    @torch.inference_mode()
    def fused() -> None:
        compiled(tensor)

    measured = take_turns(
        [
            lambda: 1e3 * seconds(lambda: model.predict(images)),
            lambda: 1e3 * seconds(eager),
            lambda: 1e3 * seconds(fused),
        ],
        rounds,
    )
    for name, other in zip(("eager", "compile"), measured[1:], strict=True):
        yield row(
            f"model forward against torch {name}",
            (f"torch {name}, same timm network", other),
            ("shipped model", measured[0]),
            unit="ms an image",
            aim="at least 1.5",
            limit=1.5,
            note=f"{threads} threads, batch 1; times faster",
        )
