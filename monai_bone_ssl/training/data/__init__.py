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

__all__ = [
    "PROTOCOL_FOLDS",
    "PROTOCOL_SEEDS",
    "AnnotatedBox",
    "DataSource",
    "LabelledDataset",
    "LabelledImage",
    "load_dataset",
    "read_grey",
    "splits",
]
