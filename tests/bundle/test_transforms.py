"""What the bundle's preprocessing takes from other tools."""

from __future__ import annotations

import pytest
import torch
from tiny_model import spec

from monai_bone_ssl.errors import UnsupportedImage
from monai_bone_ssl.model.preprocessing import preprocess
from monai_bone_ssl.training.bundle.transforms import PreprocessRadiographd

SPEC = spec(b"")


def test_one_grey_image_is_prepared_as_an_analysis_does():
    image = torch.rand(1, 90, 70)
    (prepared,) = PreprocessRadiographd("image", SPEC)({"image": image})["image"]
    assert torch.equal(
        torch.as_tensor(prepared), torch.from_numpy(preprocess(image[0].numpy(), SPEC.preprocessing))
    )


@pytest.mark.parametrize("shape", [(70, 90, 1), (3, 90, 70), (90, 70)])
def test_volumes_and_colours_are_refused(shape):
    """The first is what DICOMSeriesToVolumeOperator makes of a radiograph, columns before rows."""
    with pytest.raises(UnsupportedImage, match=r"expected one grey image \[1, rows, columns\]"):
        PreprocessRadiographd("image", SPEC)({"image": torch.rand(shape)})
