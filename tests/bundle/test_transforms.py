"""What the bundle's preprocessing takes from other tools."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from dicom_factory import limb_pixels, make_radiograph
from monai.transforms import Compose, EnsureChannelFirstd, LoadImaged
from tiny_model import spec

from monai_bone_ssl.analysis import PreparedImage, prepare_file
from monai_bone_ssl.dicom.collect import Source
from monai_bone_ssl.errors import UnsupportedImage
from monai_bone_ssl.model.preprocessing import preprocess
from monai_bone_ssl.training.bundle.reader import RadiographReader
from monai_bone_ssl.training.bundle.transforms import PreprocessRadiographd

SPEC = spec(b"")


def test_one_grey_image_is_prepared_as_an_analysis_does():
    image = torch.rand(1, 90, 70)
    (prepared,) = PreprocessRadiographd("image", SPEC)({"image": image})["image"]
    assert torch.equal(
        torch.as_tensor(prepared), torch.from_numpy(preprocess(image[0].numpy(), SPEC.preprocessing))
    )


# MONAI's LoadImage says where a decoder for GPUs is not installed; it is not used here.
@pytest.mark.filterwarnings("ignore:NvImgCodecPydicomReader:UserWarning")
def test_a_file_is_prepared_inside_the_field_of_its_header(tmp_path):
    def shutter(dataset):
        dataset.ShutterShape = "CIRCULAR"
        dataset.CenterOfCircularShutter, dataset.RadiusOfCircularShutter = [48, 40], 36

    row, column = np.mgrid[1:97, 1:81]
    pixels = np.where(np.hypot(row - 48, column - 40) <= 36, limb_pixels(96, 80), 0).astype(np.uint16)
    path = make_radiograph(tmp_path / "x.dcm", pixels, edit=shutter)
    prepare = Compose(
        [
            LoadImaged("image", reader=RadiographReader(), image_only=True),
            EnsureChannelFirstd("image"),
            PreprocessRadiographd("image", SPEC),
        ]
    )
    core = prepare_file(Source(path), SPEC)
    assert isinstance(core, PreparedImage)
    prepared = np.asarray(prepare({"image": path})["image"])
    np.testing.assert_array_equal(prepared, core.batch[0])
    assert not prepared[0, :3, :3].any()


@pytest.mark.parametrize("shape", [(70, 90, 1), (3, 90, 70), (90, 70)])
def test_volumes_and_colours_are_refused(shape):
    """The first is what DICOMSeriesToVolumeOperator makes of a radiograph, columns before rows."""
    with pytest.raises(UnsupportedImage, match=r"expected one grey image \[1, rows, columns\]"):
        PreprocessRadiographd("image", SPEC)({"image": torch.rand(shape)})
