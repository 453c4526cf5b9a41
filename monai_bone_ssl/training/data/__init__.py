"""Labelled radiographs from MURA, a FracAtlas-style folder, a DICOM tree or a CSV; and unlabelled ones."""

from monai_bone_ssl.training.data.dataset import AnnotatedBox, DataSource, LabelledDataset, LabelledImage
from monai_bone_ssl.training.data.folds import (
    PROTOCOL_FOLDS,
    PROTOCOL_SEEDS,
    TrainTest,
    range_splits,
    splits,
)
from monai_bone_ssl.training.data.image_files import read_exposed, read_grey, read_input
from monai_bone_ssl.training.data.kinds import load_dataset

__all__ = [
    "PROTOCOL_FOLDS",
    "PROTOCOL_SEEDS",
    "AnnotatedBox",
    "DataSource",
    "LabelledDataset",
    "LabelledImage",
    "TrainTest",
    "load_dataset",
    "range_splits",
    "read_exposed",
    "read_grey",
    "read_input",
    "splits",
]
