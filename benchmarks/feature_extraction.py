"""Images per second of the whole feature extraction, against the bare forward pass of the network.

The first side reads files, preprocesses, runs the network, writes the cache and reads it back. The second has
the same images preprocessed in memory and only runs the network, in batches of the same size.

    python -m benchmarks.feature_extraction DATA WEIGHTS [--images 24] [--long-side 224] [--rounds 3]
"""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch

from benchmarks.speed.ratio import seconds, take_turns
from monai_bone_ssl.model.preprocessing import PreprocessSpec, preprocess
from monai_bone_ssl.training.data import load_dataset, read_grey
from monai_bone_ssl.training.data.input_spec import input_spec
from monai_bone_ssl.training.networks import features as extraction
from monai_bone_ssl.training.networks.extractors import FeatureExtractor, load_extractor
from monai_bone_ssl.training.networks.features import extract_features


def _bare(extractor: FeatureExtractor, spec: PreprocessSpec, paths: list[Path]) -> Callable[[], None]:
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    by_size: dict[tuple[int, ...], list[torch.Tensor]] = {}
    for path in paths:
        image = preprocess(read_grey(path), spec)
        by_size.setdefault(image.shape, []).append(torch.from_numpy(image)[None])
    size = extraction._BATCH_SIZE[device.type]
    batches = [
        torch.stack(images[start : start + size]).to(device)
        for images in by_size.values()
        for start in range(0, len(images), size)
    ]

    @torch.inference_mode()
    def run() -> None:
        extractor.to(device)
        for batch in batches:
            extractor(batch)
        if device.type == "cuda":
            torch.cuda.synchronize()

    return run


def _whole(extractor: FeatureExtractor, spec: PreprocessSpec, paths: list[Path]) -> None:
    with tempfile.TemporaryDirectory() as cache:
        extract_features(extractor, spec, paths, Path(cache))


def main() -> None:
    """Print both sides and the ratio of their medians."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("data", type=Path, help="labelled radiographs")
    parser.add_argument("weights", help="safetensors file, or timm:NAME")
    parser.add_argument("--images", type=int, default=24, help="number of images (default: %(default)s)")
    parser.add_argument("--long-side", type=int, default=224, help="input size (default: %(default)s)")
    parser.add_argument("--rounds", type=int, default=3, help="rounds of each side (default: %(default)s)")
    arguments = parser.parse_args()

    extractor = load_extractor(arguments.weights)
    spec = input_spec(arguments.long_side, extractor.stride)
    paths = [image.path for image in load_dataset(arguments.data).images[: arguments.images]]
    bare = _bare(extractor, spec, paths)
    sides = (lambda: _whole(extractor, spec, paths), bare)
    times = take_turns([lambda side=side: seconds(side) for side in sides], arguments.rounds)
    whole_rate, bare_rate = (len(paths) / float(np.median(side)) for side in times)
    print(f"extract_features {whole_rate:.2f} images/s, bare forward {bare_rate:.2f} images/s")
    print(f"medians of {arguments.rounds} rounds; ratio {whole_rate / bare_rate:.3f}")


if __name__ == "__main__":
    main()
