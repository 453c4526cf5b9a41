"""Dictionary transforms around the network: the core's preprocessing before, its decision after it."""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from monai.config.type_definitions import KeysCollection
from monai.data.meta_tensor import MetaTensor
from monai.transforms.transform import MapTransform
from monai.utils.misc import ImageMetaKey

from monai_bone_ssl.dicom.collimation import ExposedField, Outline
from monai_bone_ssl.errors import ReasonCode, UnsupportedImage
from monai_bone_ssl.findings import Answered, BodyPart, OperatingPoints
from monai_bone_ssl.model.answer import Answer
from monai_bone_ssl.model.eligibility import Eligible, Ineligible, check_eligibility, tagged_body_part
from monai_bone_ssl.model.preprocessing import preprocess
from monai_bone_ssl.model.spec import ModelSpec
from monai_bone_ssl.show.overlay import draw_overlay
from monai_bone_ssl.training.bundle.network import Scores, split_map
from monai_bone_ssl.training.bundle.reader import BODY_PART, FIELD_OUTLINES, SOURCE_SHAPE
from monai_bone_ssl.training.bundle.result import ImageResult

__all__ = ["Findingd", "PreprocessRadiographd"]

FloatArray = npt.NDArray[np.float32]
Item = dict[Hashable, Any]


class PreprocessRadiographd(MapTransform):
    """The model's preprocessing of a grey image [1, H, W] in [0, 1], bright = dense; metadata are kept.

    Parameters
    ----------
    keys
        Keys of the images.
    spec
        Specification of the model.
    """

    def __init__(self, keys: KeysCollection, spec: ModelSpec) -> None:
        super().__init__(keys)
        self.spec = spec

    def __call__(self, data: Mapping[Hashable, Any]) -> Item:
        """Replace images by the network's inputs [1, H', W'].

        Raises
        ------
        UnsupportedImage
            If an image has not one channel first, as volumes have not, or is blank.
        """
        item = dict(data)
        for key in self.key_iterator(item):
            image = item[key]
            if image.ndim != 3 or image.shape[0] != 1:
                text = f"{key} of shape {list(image.shape)}: expected one grey image [1, rows, columns]"
                raise UnsupportedImage(ReasonCode.MULTI_FRAME, text)
            pixels = np.asarray(image[0], dtype=np.float32)
            meta = dict(image.meta) if isinstance(image, MetaTensor) else {}
            meta.setdefault(SOURCE_SHAPE, np.array(pixels.shape))
            field = _field(pixels, meta.pop(FIELD_OUTLINES, None))
            prepared = torch.from_numpy(preprocess(pixels, self.spec.preprocessing, field))[None]
            item[key] = MetaTensor(prepared, meta=meta)
        return item


def _field(pixels: FloatArray, outlines: list[Outline] | None) -> ExposedField | None:
    """Exposed field by the reader's outlines; None where another reader gave none."""
    return None if outlines is None else ExposedField(pixels.shape, tuple(map(np.asarray, outlines)))


class Findingd(MapTransform):
    """From the network's map to the finding of an image, by the rules of the core.

    Adds ``finding``, an :class:`~monai_bone_ssl.training.bundle.result.ImageResult`, and to an answered image
    ``evidence``, float32 [1, h, w], and ``overlay``, uint8 [3, rows, columns].

    Parameters
    ----------
    keys
        Keys of the maps that a :class:`~monai_bone_ssl.training.bundle.network.MapNetwork` computed.
    spec
        Specification of the model.
    image_key
        Key of the network's input, whose metadata name the file and the tagged body part.
    """

    def __init__(self, keys: KeysCollection, spec: ModelSpec, image_key: str = "image") -> None:
        super().__init__(keys)
        self.spec = spec
        self.image_key = image_key

    def __call__(self, data: Mapping[Hashable, Any]) -> Item:
        """Judge one image."""
        item = dict(data)
        image = item[self.image_key]
        meta = image.meta if isinstance(image, MetaTensor) else {}
        path = str(meta.get(ImageMetaKey.FILENAME_OR_OBJ, ""))
        for key in self.key_iterator(item):
            scores = split_map(item[key].detach().cpu())
            eligibility = self._judge(scores, meta.get(BODY_PART) or None)
            if isinstance(eligibility, Ineligible):
                item["finding"] = ImageResult.refused(path, eligibility.error, eligibility.body_part)
                continue
            part, points = eligibility.body_part, eligibility.covered.operating_points
            answer = _answer(scores, _shape(meta, image), points, self.spec)
            item["finding"] = ImageResult.answered(path, part, answer)
            source = {ImageMetaKey.FILENAME_OR_OBJ: path}
            item["evidence"] = MetaTensor(torch.from_numpy(answer.evidence)[None], meta=source)
            shown = np.asarray(image[0].cpu())
            picture = self._draw(shown, part, _answer(scores, shown.shape, points, self.spec))
            item["overlay"] = MetaTensor(torch.from_numpy(picture), meta=source)
        return item

    def _judge(self, scores: Scores, term: str | None) -> Eligible | Ineligible:
        tagged = tagged_body_part(term, self.spec)
        return check_eligibility(tagged, scores.distance, np.asarray(scores.body_part_logits), self.spec)

    def _draw(self, pixels: FloatArray, part: BodyPart, answer: Answer) -> npt.NDArray[np.uint8]:
        """The core's overlay [3, rows, columns], over the network's input; the answer is in its pixels."""
        finding = Answered(
            path="",  # neither path nor seconds are drawn
            body_part=part,
            probability=answer.probability,
            decision=answer.decision,
            peak=answer.peak_box.centre,
            regions=answer.regions,
            seconds=0.0,
        )
        picture = draw_overlay(pixels, answer.evidence, finding, answer.points, self.spec)
        return np.moveaxis(np.asarray(picture), 2, 0).copy()


def _shape(meta: Mapping[str, Any], image: torch.Tensor) -> tuple[int, ...]:
    """Rows and columns of the source image; of the network's input where the metadata lack them."""
    return tuple(int(side) for side in meta.get(SOURCE_SHAPE, image.shape[-2:]))


def _answer(scores: Scores, shape: tuple[int, ...], points: OperatingPoints, spec: ModelSpec) -> Answer:
    patch_scores = np.asarray(scores.patch_scores, dtype=np.float32)
    return Answer.of(scores.logit, patch_scores, shape, points, spec)
