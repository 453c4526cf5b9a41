"""Masked autoencoder (He et al. 2021, arXiv:2111.06377): the second way of self-supervised pre-training."""

from __future__ import annotations

import torch
from timm.layers.pos_embed_sincos import build_sincos2d_pos_embed
from timm.models.vision_transformer import Block
from torch import Tensor, nn

from monai_bone_ssl.training.networks.backbone import GreyViT
from monai_bone_ssl.training.ssl.method import MethodOutput

__all__ = ["MaskedAutoencoder", "patchify"]

_HEAD_WIDTH = 32  # of the decoder's attention, as in the paper: 512 / 16
_EPS = 1e-6


class MaskedAutoencoder(nn.Module):
    """The backbone encodes the visible patches only, a light decoder paints the masked ones.

    After training ``backbone`` is kept.

    Parameters
    ----------
    backbone
        Encoder of width C.
    decoder_width
        Width of the decoder (D), a multiple of 32.
    decoder_depth
        Number of the decoder's blocks.
    mask_ratio
        Share of the patches that the encoder does not see, 0 to 1.
    """

    def __init__(
        self, backbone: GreyViT, decoder_width: int = 512, decoder_depth: int = 8, mask_ratio: float = 0.75
    ) -> None:
        super().__init__()
        self.backbone = backbone
        self.mask_ratio = mask_ratio
        self.embed = nn.Linear(backbone.width, decoder_width)
        self.mask_token = nn.Parameter(torch.empty(decoder_width).normal_(std=0.02))
        heads = decoder_width // _HEAD_WIDTH
        self.blocks = nn.ModuleList(Block(decoder_width, heads, qkv_bias=True) for _ in range(decoder_depth))
        self.norm = nn.LayerNorm(decoder_width)
        self.predict = nn.Linear(decoder_width, backbone.patch_size**2)
        for layer in (self.embed, *self.blocks.modules(), self.predict):
            if isinstance(layer, nn.Linear):
                nn.init.xavier_uniform_(layer.weight)
                nn.init.zeros_(layer.bias)

    def forward(self, image: Tensor, noise: Tensor) -> MethodOutput:
        """Mean squared error of the masked patches' pixels, each patch normalised by its mean and deviation.

        Parameters
        ----------
        image
            Images [B, 1, H, W] in [0, 1], sides multiples of the patch size.
        noise
            Random numbers [B, h * w]: the patches with an image's lowest numbers stay visible.
        """
        grid = image.shape[2] // self.backbone.patch_size, image.shape[3] // self.backbone.patch_size
        visible = self.visible(noise)
        prediction = self.decode(self.encode(image, visible), visible, grid).float()
        error = (prediction - _normalised(patchify(image, self.backbone.patch_size))).square().mean(dim=2)
        mask = torch.ones_like(error).scatter(1, visible, 0.0)  # [B, h * w]
        loss = (error * mask).sum() / mask.sum()
        return MethodOutput(loss, {"reconstruction": loss.detach()})

    def visible(self, noise: Tensor) -> Tensor:
        """Indices [B, V] of the patches that stay, from noise [B, h * w]; at least one."""
        kept = max(1, int(noise.shape[1] * (1 - self.mask_ratio)))
        return noise.argsort(dim=1, stable=True)[:, :kept]

    def encode(self, image: Tensor, visible: Tensor) -> Tensor:
        """The backbone's final tokens [B, 1 + V, C] of the class token and the visible patches alone."""
        embedded = self.backbone.embed_patches(image)  # [B, C, h, w]
        height, width = embedded.shape[2:]
        tokens = self.backbone.add_position(embedded.flatten(2).transpose(1, 2), height, width)
        patches = tokens[:, 1:].gather(1, visible[:, :, None].expand(-1, -1, tokens.shape[2]))
        x = torch.cat((tokens[:, :1], patches), dim=1)
        encoded: Tensor = self.backbone.vit.norm(self.backbone.run_blocks(x, 0, self.backbone.depth))
        return encoded

    def decode(self, encoded: Tensor, visible: Tensor, grid: tuple[int, int]) -> Tensor:
        """Pixels [B, h * w, p * p] of all patches of a grid (h, w), from the tokens of the visible ones."""
        x = self.embed(encoded)  # [B, 1 + V, D]
        batch, _, width = x.shape
        patches = self.mask_token.to(x.dtype).expand(batch, grid[0] * grid[1], width)
        patches = patches.scatter(1, visible[:, :, None].expand(-1, -1, width), x[:, 1:])
        position = build_sincos2d_pos_embed(list(grid), width, device=x.device)  # [h * w, D]
        x = torch.cat((x[:, :1], patches + position.to(x.dtype)), dim=1)
        for block in self.blocks:
            x = block(x)
        pixels: Tensor = self.predict(self.norm(x[:, 1:]))
        return pixels


def patchify(image: Tensor, patch_size: int) -> Tensor:
    """Pixels [B, h * w, p * p] of an image's patches [B, 1, h * p, w * p], all in row order."""
    batch, _, height, width = image.shape
    rows, columns = height // patch_size, width // patch_size
    patches = image.reshape(batch, rows, patch_size, columns, patch_size)  # [B, h, p, w, p]
    return patches.transpose(2, 3).reshape(batch, rows * columns, patch_size**2)


def _normalised(patches: Tensor) -> Tensor:
    variance, mean = torch.var_mean(patches, dim=2, keepdim=True)
    return (patches - mean) / (variance + _EPS).sqrt()
