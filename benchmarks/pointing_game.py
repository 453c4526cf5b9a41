"""Does the evidence peak at the fracture? Pointing game on out-of-fold probes.

Figures of the shipped probe on its own training images would be too good, so that each fractured image is
explained by the probe of the fold that did not see its group. The share of peaks inside an annotated box is
printed beside those of two other points: a random one, and the centre of the image.

    python -m benchmarks.pointing_game FRACATLAS WEIGHTS
"""

from __future__ import annotations

import numpy as np
import torch
from tqdm import tqdm

from benchmarks.shipped import parse
from monai_bone_ssl.model.answer import peak_box
from monai_bone_ssl.model.preprocessing import preprocess
from monai_bone_ssl.training.data import PROTOCOL_SEEDS, read_grey, splits
from monai_bone_ssl.training.measure.localisation import covered_share, pointing_game
from monai_bone_ssl.training.probes.cross_validation import PRODUCT_STRENGTHS, best_choice
from monai_bone_ssl.training.probes.logistic import fit_logistic, out_of_fold_logits


def main() -> None:
    """Print the pointing game of out-of-fold probes."""
    shipped = parse(__doc__)
    dataset, pooling, features = shipped.dataset, shipped.pooling, shipped.features
    spec = shipped.model.spec.preprocessing
    folds = list(splits(dataset, seed=PROTOCOL_SEEDS[0]))
    logits = out_of_fold_logits(features, dataset.labels, folds, PRODUCT_STRENGTHS)
    strength = PRODUCT_STRENGTHS[best_choice(logits, dataset)]

    hits, central, covered, groups = [], [], [], []
    for train, test in folds:
        (probe,) = fit_logistic(features[train], dataset.labels[train], (strength,))
        weight = torch.from_numpy(probe.weight[0])
        outlined = [dataset.images[i] for i in test if dataset.images[i].boxes]
        for image in tqdm(outlined, desc="explaining", unit="image"):
            pixels = read_grey(image.path)
            with torch.inference_mode():
                tokens = pooling(torch.from_numpy(preprocess(pixels, spec))[None, None]).tokens
                evidence = pooling.attribute(tokens, weight)[0].numpy()
            peak = peak_box(evidence, pixels.shape).centre
            middle = (pixels.shape[0] // 2, pixels.shape[1] // 2)
            hits.append(any(box.contains(peak.row, peak.column) for box in image.boxes))
            central.append(any(box.contains(*middle) for box in image.boxes))
            covered.append(covered_share(image, pixels.shape))
            groups.append(image.group)
    outcome = pointing_game(np.array(hits), np.array(covered), np.array(groups))
    print(
        f"peak in a box: {outcome.pointing_game:.3f} ({outcome.ci_low:.3f} to {outcome.ci_high:.3f}) "
        f"of {outcome.n} fractured images; random point {outcome.chance:.3f}, "
        f"centre of the image {np.mean(central):.3f}"
    )


if __name__ == "__main__":
    main()
