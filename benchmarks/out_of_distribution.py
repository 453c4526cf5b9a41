"""How many pictures that are not limb radiographs does the gate refuse by their pixels alone?

Pixels of CT, MR, ultrasound and nuclear medicine frames (files of pydicom and pydicom-data), photographs
(scikit-learn) and noise are given to the shipped model as if their headers named a covered part. For
comparison: limb radiographs of FracAtlas.

    python -m benchmarks.out_of_distribution [FRACATLAS]
"""

from __future__ import annotations

import sys
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path

import data_store
import numpy as np
import numpy.typing as npt
import pydicom
from sklearn.datasets import load_sample_image

from monai_bone_ssl.errors import UnsupportedImage
from monai_bone_ssl.model.folder import default_model_folder
from monai_bone_ssl.model.inference import Model
from monai_bone_ssl.model.preprocessing import preprocess

FloatArray = npt.NDArray[np.float32]
MODALITIES = ("CT", "MR", "US", "NM")


def _stretched(pixels: npt.NDArray[np.generic]) -> FloatArray:
    values = pixels.astype(np.float32)
    return (values - values.min()) / max(float(np.ptp(values)), 1e-6)


def _dicom_frames() -> Iterator[tuple[str, FloatArray]]:
    """Modality and pixels of single frames that pydicom by itself can decode, each picture once."""
    seen = set()
    folders = (
        Path(pydicom.__file__).parent / "data" / "test_files",
        Path(data_store.__file__).parent / "data",
    )
    for path in sorted(path for folder in folders for path in folder.glob("*.dcm")):
        header = pydicom.dcmread(path, stop_before_pixels=True, force=True)
        if header.get("Modality") not in MODALITIES or header.get("NumberOfFrames", 1) != 1:
            continue
        try:
            pixels = pydicom.dcmread(path).pixel_array
        except (AttributeError, NotImplementedError, RuntimeError, ValueError):
            continue
        grey = pixels.mean(axis=-1) if pixels.ndim == 3 else pixels
        if grey.tobytes() not in seen and min(grey.shape) >= 64:
            seen.add(grey.tobytes())
            yield header.Modality, _stretched(grey)


def _pictures() -> Iterator[tuple[str, FloatArray]]:
    yield from _dicom_frames()
    for name in ("china.jpg", "flower.jpg"):
        yield "photograph", _stretched(load_sample_image(name).mean(axis=-1))
    rng = np.random.default_rng(0)
    for _ in range(10):
        yield "noise", rng.random((500, 400), dtype=np.float32)
        yield "noise", np.clip(rng.normal(0.5, 0.15, (500, 400)), 0, 1).astype(np.float32)


def main() -> None:
    """Print how many pictures of each kind are refused."""
    model = Model(default_model_folder())
    outcomes: dict[str, list[bool]] = defaultdict(list)
    for kind, pixels in _pictures():
        outcomes[kind].append(_is_refused(model, pixels))
    for folder in sys.argv[1:]:
        from monai_bone_ssl.training.data import load_dataset, read_grey

        for image in load_dataset(Path(folder)).images[::50]:
            outcomes[f"FracAtlas, {image.part}"].append(_is_refused(model, read_grey(image.path)))
    for kind, refused in outcomes.items():
        print(f"| {kind} | {len(refused)} | {sum(refused)} |")


def _is_refused(model: Model, pixels: FloatArray) -> bool:
    try:
        image = preprocess(pixels, model.spec.preprocessing)
    except UnsupportedImage:
        return True
    return float(model.predict(image[None, None]).distance[0]) > model.spec.out_of_distribution.distance


if __name__ == "__main__":
    main()
