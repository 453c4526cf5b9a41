"""A timm Vision Transformer for grey radiographs of any size: created, read, run and written."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import timm
import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save
from timm.models.vision_transformer import VisionTransformer
from torch import Tensor, nn

from monai_bone_ssl.errors import ConfigError, ReasonCode
from monai_bone_ssl.files import write_atomically
from monai_bone_ssl.training.networks.weights import WeightsSource, download, normalisation, parse_source

__all__ = [
    "GreyViT",
    "bicubic_matrix",
    "create_backbone",
    "fold_normalisation",
    "load_backbone",
    "round_to_storage",
    "save_backbone",
]


class GreyViT(nn.Module):
    """A timm Vision Transformer with one class token, for one grey channel in [0, 1] and any patch grid.

    Parameters
    ----------
    vit
        timm network whose patch embedding takes one channel.

    Raises
    ------
    ValueError
        If the network has no class token, has other prefix tokens, or has no position embedding.
    """

    def __init__(self, vit: VisionTransformer) -> None:
        super().__init__()
        if vit.cls_token is None or vit.pos_embed is None or vit.num_prefix_tokens != 1:
            raise ValueError("expected a Vision Transformer with one class token and a position embedding")
        self.vit = vit
        # Computed here, because torch.jit.trace would take the shape for a tensor in forward.
        self._position_side = round((vit.pos_embed.shape[1] - 1) ** 0.5)

    @property
    def width(self) -> int:
        """Channels of a token (C)."""
        return int(self.vit.embed_dim)

    @property
    def depth(self) -> int:
        """Number of blocks."""
        return len(self.vit.blocks)

    @property
    def patch_size(self) -> int:
        """Side of a patch in pixels."""
        return int(self.vit.patch_embed.patch_size[0])

    @property
    def position(self) -> nn.Parameter:
        """Position embedding [1, 1 + N, C]: the class token's, then those of a square grid of N patches."""
        # Never None, see __init__; torch.jit.script takes neither casts nor a reason behind "ignore".
        return self.vit.pos_embed  # type: ignore[return-value]

    @property
    def class_token(self) -> nn.Parameter:
        """Class token [1, 1, C], without its position."""
        return self.vit.cls_token  # type: ignore[return-value]

    def forward(self, image: Tensor) -> Tensor:
        """Tokens [B, 1 + h * w, C] of images [B, 1, H, W], class token first, after the final norm."""
        return self.last_blocks(image, 1)[0]

    def last_blocks(self, image: Tensor, blocks: int) -> list[Tensor]:
        """Tokens [B, 1 + h * w, C] of each of the last ``blocks`` blocks, each after the final norm."""
        patches = self.embed_patches(image)
        grid = patches.shape[-2:]
        x = self.add_position(patches.flatten(2).transpose(1, 2), grid[0], grid[1])
        first = self.depth - blocks
        outputs = []
        for number, block in enumerate(self.vit.blocks):  # torch.jit.script knows no slices of modules
            x = block(x)
            if number >= first:
                outputs.append(self.vit.norm(x))
        return outputs

    def embed_patches(self, image: Tensor) -> Tensor:
        """Patch embeddings [B, C, h, w] of images [B, 1, H, W], sides multiples of the patch size."""
        patches: Tensor = self.vit.patch_embed.proj(image)
        return patches

    def add_position(self, patches: Tensor, height: int, width: int) -> Tensor:
        """Block input [B, 1 + h * w, C] from embedded patches [B, h * w, C] in row order."""
        embedding = self.position
        side = self._position_side
        square = embedding[:, 1:].transpose(1, 2).reshape(1, -1, side, side)
        # Resampled to any grid as DINOv2 does it: bicubic, without antialiasing. Two matrix products do it,
        # because onnxruntime's Resize takes a twentieth of the whole network's time.
        by_row = bicubic_matrix(height, side, square)
        by_column = bicubic_matrix(width, side, square)
        position = by_row @ square @ by_column.T
        x = patches + position.flatten(2).transpose(1, 2)
        first = (self.class_token + embedding[:, :1]).expand(x.shape[0], -1, -1)
        tokens: Tensor = self.vit.norm_pre(torch.cat((first, x), dim=1))
        return tokens

    def run_blocks(self, x: Tensor, start: int, stop: int) -> Tensor:
        """Tokens [B, 1 + N, C] after blocks ``start`` to ``stop``, the last one excluded; no final norm."""
        for block in self.vit.blocks[start:stop]:
            x = block(x)
        return x


def bicubic_matrix(target: int, source: int, like: Tensor) -> Tensor:
    """Weights that resample ``source`` values to ``target`` values.

    The cubic convolution of Keys 1981 with a = -0.75 and clamped borders, which is what
    ``torch.nn.functional.interpolate(mode="bicubic", align_corners=False)`` computes.

    Parameters
    ----------
    target, source
        Numbers of values.
    like
        Tensor that has the type and device of the weights to return.

    Returns
    -------
    Weights [target, source]; rows sum to 1.
    """
    centres = (torch.arange(target, dtype=like.dtype, device=like.device) + 0.5) * (source / target) - 0.5
    places = torch.arange(-2, source + 2, dtype=like.dtype, device=like.device)
    distance = (centres[:, None] - places).abs()
    near = (1.25 * distance - 2.25) * distance * distance + 1
    far = ((-0.75 * distance + 3.75) * distance - 6) * distance + 3
    weights = torch.where(distance < 1, near, torch.where(distance < 2, far, torch.zeros_like(far)))
    clamped = (places.clamp(0, source - 1)[:, None] == places[2:-2]).to(like.dtype)  # [source + 4, source]
    return weights @ clamped


def create_backbone(name: str, drop_path: float = 0.0) -> GreyViT:
    """A backbone with random weights.

    Parameters
    ----------
    name
        Architecture, as timm names it.
    drop_path
        Probability, 0 to 1, that training leaves out the last block for an image (stochastic depth, Huang et
        al. 2016, arXiv:1603.09382); earlier blocks have proportionally smaller ones.

    Raises
    ------
    ConfigError
        If timm has no such Vision Transformer.
    """
    if not timm.is_model(name):
        text = f"{name}: expected the name of a timm model, as vit_small_patch16_224"
        raise ConfigError(ReasonCode.INVALID_CONFIG, text)
    vit = timm.create_model(name, num_classes=0, in_chans=1, drop_path_rate=drop_path)
    if not isinstance(vit, VisionTransformer):
        raise ConfigError(ReasonCode.INVALID_CONFIG, f"{name}: expected a Vision Transformer")
    try:
        return GreyViT(vit)
    except ValueError as error:
        raise ConfigError(ReasonCode.INVALID_CONFIG, f"{name}: {error}") from error


def load_backbone(weights: str | Path, drop_path: float = 0.0) -> GreyViT:
    """Read a backbone.

    Parameters
    ----------
    weights
        State dict of a timm model, any float type, in a file ``<timm name>[.anything].safetensors``; or
        ``timm:NAME`` for timm's own weights. An RGB patch embedding is turned into a grey one, see
        :func:`fold_normalisation`; a grey one (:func:`save_backbone`) is read as it is.
    drop_path
        See :func:`create_backbone`.

    Returns
    -------
    Backbone in evaluation mode.

    Raises
    ------
    ConfigError
        If the file is missing, is not safetensors, or does not fit the architecture that its name states; or
        if timm's weights cannot be downloaded.
    """
    source = parse_source(weights)
    backbone = create_backbone(source.name, drop_path)
    try:
        state = download(source).state_dict() if source.file is None else load_file(source.file)
        state = _make_grey({key: value.float() for key, value in state.items()}, source)
        backbone.vit.load_state_dict(state)
    except (OSError, SafetensorError, RuntimeError, KeyError) as error:
        reason = str(error).splitlines()[0]
        text = f"{Path(weights).name}: not weights of {source.name} ({reason})"
        raise ConfigError(ReasonCode.INVALID_CONFIG, text) from error
    return backbone.eval()


def save_backbone(backbone: GreyViT, path: Path) -> None:
    """Write a backbone in float16, so that :func:`load_backbone` reads it; no part of a file is left behind.

    Raises
    ------
    ReportError
        If the file cannot be written.
    """
    state = {key: value.half().contiguous() for key, value in backbone.vit.state_dict().items()}
    write_atomically(path, save(state))


def _make_grey(state: dict[str, Tensor], source: WeightsSource) -> dict[str, Tensor]:
    weight, bias = "patch_embed.proj.weight", "patch_embed.proj.bias"
    if state[weight].shape[1] == 1:
        return state
    folded = fold_normalisation(state[weight], state[bias], *normalisation(source))
    return state | dict(zip((weight, bias), folded, strict=True))


def fold_normalisation(
    weight: Tensor, bias: Tensor, mean: Sequence[float], std: Sequence[float]
) -> tuple[Tensor, Tensor]:
    """Turn an RGB patch embedding with its mean and standard deviation into one for a grey image in [0, 1].

    The result is exact: a grey image has three equal channels, the embedding is linear, and no patch is
    padded. Two thirds of the embedding's work are saved, and no normalisation is left to get wrong.

    Parameters
    ----------
    weight
        Kernels [C, 3, p, p].
    bias
        Constants [C].
    mean, std
        Mean and standard deviation [3] of the three colours.

    Returns
    -------
    weight
        Kernels [C, 1, p, p].
    bias
        Constants [C].
    """
    shift, scale = (torch.tensor(values).view(1, -1, 1, 1) for values in (mean, std))
    scaled = weight / scale
    return scaled.sum(dim=1, keepdim=True), bias - (scaled * shift).sum(dim=(1, 2, 3))


@torch.no_grad()
def round_to_storage(backbone: GreyViT) -> None:
    """Round weights to what the model file stores: linear layers to 255 levels a row, positions to float16.

    Features are computed after rounding, so that the probe is fitted on exactly the network that ships.
    """
    position = backbone.position
    position.copy_(position.half().float())
    for module in backbone.modules():
        if isinstance(module, nn.Linear):
            module.weight.copy_(_rounded(module.weight))


def _rounded(weight: Tensor) -> Tensor:
    scale = weight.abs().amax(dim=1, keepdim=True).clamp_min(1e-12) / 127  # one scale a row [out, 1]
    return (weight / scale).round() * scale
