"""Labelled radiographs from MURA, a FracAtlas-style folder, a DICOM tree or a CSV; and unlabelled ones."""

from monai_bone_ssl.training.data.dataset import (
    PROTOCOL_FOLDS,
    PROTOCOL_SEEDS,
    AnnotatedBox,
    DataSource,
    LabelledDataset,
    LabelledImage,
    splits,
)
from monai_bone_ssl.training.data.image_files import read_grey
from monai_bone_ssl.training.data.kinds import load_dataset
from monai_bone_ssl.training.data.unlabelled import UnlabelledImage, list_images

__all__ = [
    "PROTOCOL_FOLDS",
    "PROTOCOL_SEEDS",
    "AnnotatedBox",
    "DataSource",
    "LabelledDataset",
    "LabelledImage",
    "UnlabelledImage",
    "list_images",
    "load_dataset",
    "read_grey",
    "splits",
]
