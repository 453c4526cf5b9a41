"""A timm Vision Transformer's attention as one operator of onnxruntime, for the exported file."""

from __future__ import annotations

import copy

import torch
from timm.layers.attention import Attention
from torch import Tensor, nn

__all__ = ["FusedAttention", "with_fused_attention"]


class FusedAttention(nn.Module):
    """Self-attention with onnxruntime's ``com.microsoft.MultiHeadAttention``; it can only be exported.

    Written out, attention takes four passes over [heads, N, N] numbers. The operator works block by block
    and never holds them.

    Parameters
    ----------
    attention
        Whose weights it shares, under the same names.
    """

    def __init__(self, attention: Attention) -> None:
        super().__init__()
        self.heads = attention.num_heads
        self.qkv = attention.qkv
        self.proj = attention.proj

    def forward(self, x: Tensor, attn_mask: None = None, is_causal: bool = False) -> Tensor:
        """Tokens [B, N, C] to tokens [B, N, C]; timm's blocks name the other two and leave them out."""
        if attn_mask is not None or is_causal:
            raise ValueError("every token attends to every token")
        query, key, value = self.qkv(x).chunk(3, dim=-1)
        attended = torch.onnx.ops.symbolic(
            "com.microsoft::MultiHeadAttention",
            (query, key, value),
            {"num_heads": self.heads},
            dtype=query.dtype,
            shape=query.shape,
            version=1,
        )
        projected: Tensor = self.proj(attended)
        return projected


def with_fused_attention(network: nn.Module) -> nn.Module:
    """A copy of a network in which each plain attention of timm is a :class:`FusedAttention`.

    Attention with more to it, as some architectures have, stays as it is.
    """
    network = copy.deepcopy(network)
    for module in list(network.modules()):
        attention = getattr(module, "attn", None)
        if isinstance(attention, Attention) and _is_plain(attention):
            module.attn = FusedAttention(attention)
    return network


def _is_plain(attention: Attention) -> bool:
    """Whether it is nothing but projections and softmax: no norm and no gate, which newer timm may have."""
    extras = (getattr(attention, name, None) for name in ("q_norm", "k_norm", "norm", "gate"))
    return all(extra is None or isinstance(extra, nn.Identity) for extra in extras)
