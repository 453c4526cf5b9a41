"""From labelled data and a frozen backbone to a model folder."""

from __future__ import annotations

from importlib.metadata import version as library_version
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from torch import nn

from monai_bone_ssl.findings import CodedConcept
from monai_bone_ssl.model.answer import Answer
from monai_bone_ssl.model.similar_cases import SimilarCases
from monai_bone_ssl.model.spec import (
    MODEL_SCHEMA_VERSION,
    BodyPartSpec,
    ModelSpec,
    OutOfDistribution,
    TrainingData,
)
from monai_bone_ssl.stats.calibration import MIN_CASES_TO_FIT, fix_operating_points
from monai_bone_ssl.training.data import PROTOCOL_SEEDS, LabelledDataset, load_dataset, read_grey, splits
from monai_bone_ssl.training.data.input_spec import input_spec
from monai_bone_ssl.training.measure.evaluate import evaluate
from monai_bone_ssl.training.measure.evaluate_model import operating_points
from monai_bone_ssl.training.networks.backbone import load_backbone
from monai_bone_ssl.training.networks.export import store_compactly, to_onnx, write_model
from monai_bone_ssl.training.networks.extractors import PRODUCT_BLOCKS, product_features
from monai_bone_ssl.training.networks.network import ProbedViT, TokenPooling
from monai_bone_ssl.training.networks.patch_tokens import extract_patch_tokens
from monai_bone_ssl.training.probes.body_part import body_part_accuracy, fit_body_part_probe
from monai_bone_ssl.training.probes.combination import (
    Combination,
    PatchValidation,
    combine_probes,
    cross_validate_patches,
)
from monai_bone_ssl.training.probes.cross_validation import auroc_figures, cross_validate
from monai_bone_ssl.training.probes.logistic import LinearProbe, fit_logistic
from monai_bone_ssl.training.probes.novelty import Novelty, fit_novelty, out_of_fold_distances
from monai_bone_ssl.training.probes.patch import HIDDEN, HIGHEST, fit_patch_probe, set_patch_probe, top_means
from monai_bone_ssl.training.probes.region_points import fix_patch_points

__all__ = ["fit"]

FloatArray = npt.NDArray[np.float32]

# An image without a tag is not analysed where the probability of its most probable part is below the first
# value; an image with a tag is refused where another part reaches the second.
_BODY_PART_CONFIDENCE = 0.9
_CONFLICT_CONFIDENCE = 0.9

# Share of training images whose distance is within the limit.
_ACCEPTED = 0.99

_LIBRARIES = ("torch", "timm", "scikit-learn", "onnx", "numpy", "pillow")


def fit(
    data: Path, backbone: Path, out: Path, *, name: str, version: str, long_side: int, cache: Path
) -> ModelSpec:
    """Fit the probes and write the model folder.

    Parameters
    ----------
    data
        Labelled radiographs, see :func:`~monai_bone_ssl.training.data.load_dataset`; only the training
        split is used where there is one.
    backbone
        File of weights, see :func:`~monai_bone_ssl.training.networks.backbone.load_backbone`.
    out
        Model folder to write.
    name, version
        Name and version of the model.
    long_side
        Longer side of the network's input in pixels; a multiple of the patch size.
    cache
        Folder for features, see :func:`~monai_bone_ssl.training.networks.features.extract_features`.

    Returns
    -------
    Content of model.json.

    Notes
    -----
    Where a part has operating points, ``out/validation`` gets the metrics, predictions and plots of
    :func:`~monai_bone_ssl.training.measure.evaluate.evaluate` for probes that did not see an image's group
    (``grouped_folds``) or acquisition range (``range_left_out``).

    Raises
    ------
    ConfigError
        If the data, the weights or ``long_side`` are not as expected.
    CorruptImage
        If an image cannot be read.
    ReportError
        If a folder cannot be written.
    """
    dataset = load_dataset(data).training()
    extractor = product_features(load_backbone(backbone))
    preprocessing = input_spec(long_side, extractor.stride)
    tokens = extract_patch_tokens(extractor, preprocessing, dataset.paths, cache)
    features = tokens.features
    judged = cross_validate(features, dataset)
    patches = cross_validate_patches(tokens, dataset)
    combined = combine_probes(judged, patches.answers, dataset)

    (probe,) = fit_logistic(features, dataset.labels, (judged.strength,))
    head = fit_patch_probe(tokens, dataset, np.arange(len(dataset)), patches.outlined)
    mean_tokens = extractor.pooling.last_mean(torch.from_numpy(features)).numpy()
    novelty = fit_novelty(mean_tokens)
    body_part = fit_body_part_probe(features, dataset)
    network = _assemble(extractor.pooling, combined.probe(probe), body_part, novelty)
    set_patch_probe(network.patch_probe, head, tokens.basis)
    spec = ModelSpec(
        schema_version=MODEL_SCHEMA_VERSION,
        name=name,
        version=version,
        architecture=f"{backbone.name.split('.')[0]}, mean and maximum of the last {PRODUCT_BLOCKS} blocks, "
        f"patch probe",
        preprocessing=preprocessing,
        target=dataset.target,
        body_parts=tuple(_body_part(part, dataset, combined) for part in dataset.known_parts),
        calibration=combined.calibration,
        out_of_distribution=_out_of_distribution(novelty, mean_tokens, dataset),
        patch_probe=fix_patch_points(dataset, patches.reference),
        training_data=(_training_data(dataset),),
        figures=auroc_figures(dataset, combined.logits)
        | {"body_part_accuracy": body_part_accuracy(features, dataset)},
        weights_sha256="0" * 64,  # write_model fills it in
        libraries={library: library_version(library) for library in _LIBRARIES},
    )
    height, width = preprocessing.size(5, 4)
    exported = store_compactly(to_onnx(network, height, width))
    everything = [head(torch.from_numpy(tokens[i]).float()).numpy() for i in range(len(tokens))]
    seen = np.column_stack([features, top_means(everything)])  # as the network gives them
    spec = write_model(exported, spec, out, _similar_cases(seen, dataset).encode())
    _measure(dataset, combined, patches, spec, out)
    return spec


def _measure(
    dataset: LabelledDataset, combined: Combination, patches: PatchValidation, spec: ModelSpec, out: Path
) -> None:
    """Write the answers to images that the probes had not learnt from, and their figures."""
    if all(part.operating_points is None for part in spec.body_parts):
        return
    logits = combined.logits
    runs = [("grouped_folds", logits.seeds[0], patches.seed)]
    if logits.ranges is not None and patches.ranges is not None:
        runs.append(("range_left_out", logits.ranges, patches.ranges))
    for name, of_images, scores in runs:
        answers = [
            Answer.of(
                float(logit), of_image, read_grey(image.path).shape, operating_points(image.part, spec), spec
            )
            for image, logit, of_image in zip(dataset.images, of_images, scores, strict=True)
        ]
        evaluate(dataset, answers, out / "validation" / name)


def _similar_cases(features: FloatArray, dataset: LabelledDataset) -> SimilarCases:
    """The training images among which similar cases are found, by number where their names are not public."""
    public = dataset.source.public_names
    names = [image.name if public else str(number) for number, image in enumerate(dataset.images, start=1)]
    return SimilarCases.fit(features, dataset.labels, dataset.parts, np.array(names))


def _body_part(name: str, dataset: LabelledDataset, judged: Combination) -> BodyPartSpec:
    part = dataset.known_parts[name]
    concept = CodedConcept(part.concept.value, part.concept.scheme_designator, part.concept.meaning)
    here = dataset.parts == name
    labels = dataset.labels[here]
    positives, negatives = int(labels.sum()), int((1 - labels).sum())
    if min(positives, negatives) < MIN_CASES_TO_FIT:
        found = f"only {positives} positive and {negatives} negative training images"
        return BodyPartSpec(
            name=name,
            concept=concept,
            terms=part.terms,
            operating_points=None,
            not_covered=f"{found}; {MIN_CASES_TO_FIT} are needed",
        )
    probabilities = judged.probabilities[:, here]
    points = fix_operating_points(probabilities.ravel(), np.tile(labels, len(probabilities)))
    return BodyPartSpec(name=name, concept=concept, terms=part.terms, operating_points=points)


@torch.no_grad()
def _assemble(
    pooling: TokenPooling, probe: LinearProbe, body_part: LinearProbe, novelty: Novelty
) -> ProbedViT:
    network = ProbedViT(
        pooling,
        hidden=HIDDEN,
        highest=HIGHEST,
        body_parts=len(body_part.bias),
        components=novelty.directions.shape[1],
    )
    for head, fitted in ((network.probe, probe), (network.body_part, body_part)):
        head.weight = nn.Parameter(torch.from_numpy(fitted.weight), requires_grad=False)
        head.bias = nn.Parameter(torch.from_numpy(fitted.bias), requires_grad=False)
    network.distance.mean.copy_(torch.from_numpy(novelty.mean))
    network.distance.directions.copy_(torch.from_numpy(novelty.directions))
    return network.eval()


def _out_of_distribution(
    novelty: Novelty, mean_tokens: FloatArray, dataset: LabelledDataset
) -> OutOfDistribution:
    """The limits of the gate, from mean tokens [n, C] and distances that were fitted without the image."""
    distances = out_of_fold_distances(mean_tokens, list(splits(dataset, seed=PROTOCOL_SEEDS[0])))
    return OutOfDistribution(
        distance=float(np.quantile(distances, _ACCEPTED)),
        body_part_confidence=_BODY_PART_CONFIDENCE,
        conflict_confidence=_CONFLICT_CONFIDENCE,
        method=novelty.method,
    )


def _training_data(dataset: LabelledDataset) -> TrainingData:
    return TrainingData(
        name=dataset.source.name,
        source=dataset.source.reference,
        licence=dataset.source.licence,
        n=len(dataset),
        n_positive=int(dataset.labels.sum()),
        n_groups=len(set(dataset.groups.tolist())),
    )
