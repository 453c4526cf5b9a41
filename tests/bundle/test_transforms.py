"""What the bundle's preprocessing takes from other tools."""

from __future__ import annotations

import pytest

torch = pytest.importorskip("torch", reason="needs the train extra")
pytest.importorskip("monai", reason="needs the train extra")
pytest.importorskip("timm", reason="needs the train extra")

from tiny_model import spec  # noqa: E402 - after the extra was found

from monai_bone_ssl.errors import UnsupportedImage  # noqa: E402
from monai_bone_ssl.preprocessing import preprocess  # noqa: E402
from monai_bone_ssl.training.bundle.transforms import PreprocessRadiographd  # noqa: E402

pytestmark = pytest.mark.train

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
