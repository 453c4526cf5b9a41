"""The exported network in onnxruntime against the torch network that it comes from."""

from __future__ import annotations

import numpy as np
import onnxruntime as ort
import pytest
import torch

from monai_bone_ssl.training.networks.backbone import create_backbone
from monai_bone_ssl.training.networks.export import to_onnx
from monai_bone_ssl.training.networks.network import ProbedViT, TokenPooling


@pytest.mark.parametrize("plain", [True, False])
def test_float32_export_equals_torch_on_any_grid(plain):
    """With attention as one operator, and with one that is more than the operator can do."""
    torch.manual_seed(2)
    backbone = create_backbone("test_vit")
    blocks = backbone.vit.blocks = backbone.vit.blocks[:2]
    network = ProbedViT(TokenPooling(backbone, blocks=2), hidden=6, highest=3, body_parts=3, components=4)
    network = network.eval().requires_grad_(False)
    if not plain:
        for block in blocks:
            block.attn.q_norm = torch.nn.LayerNorm(block.attn.head_dim)
            torch.nn.init.normal_(block.attn.q_norm.weight)
    exported = to_onnx(network, 64, 48)
    fused = [node for node in exported.graph.node if node.op_type == "MultiHeadAttention"]
    assert len(fused) == (len(blocks) if plain else 0)
    session = ort.InferenceSession(exported.SerializeToString())
    for shape in ((1, 1, 64, 48), (3, 1, 48, 96)):
        image = torch.rand(*shape)
        image[..., :16, :32] = 0  # two patches that show nothing
        with torch.inference_mode():
            expected = network(image)
        found = session.run(None, {"image": image.numpy()})
        for one, other in zip(found, expected, strict=True):
            np.testing.assert_allclose(one, other.numpy(), atol=1e-4)
