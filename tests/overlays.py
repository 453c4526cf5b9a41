"""Overlays of made-up findings, and the colour in their pixels."""

from __future__ import annotations

import msgspec
import numpy as np
from tiny_model import POINTS, spec

from monai_bone_ssl.findings import FRACTURE, Answered, BodyPart, Peak, decide
from monai_bone_ssl.show.overlay import draw_overlay


def finding(probability, points, regions):
    return Answered(
        path="a/b.dcm",
        body_part=BodyPart("hand", "image", 0.93),
        probability=probability,
        decision=decide(probability, points),
        peak=Peak(0, 0),
        regions=tuple(regions),
        seconds=0.4,
    )


def draw(
    pixels,
    evidence,
    probability=0.9,
    regions=(),
    points=POINTS,
    target=FRACTURE,
    model_name="model",
):
    """An overlay; without regions nothing is framed."""
    return draw_overlay(
        pixels.astype(np.float32),
        np.asarray(evidence, dtype=np.float32),
        finding(probability, points, regions),
        points,
        msgspec.structs.replace(spec(b""), target=target, name=model_name, version="1.0.0"),
    )


def flat(rows, columns, grey=0.5):
    return np.full((rows, columns), grey, dtype=np.float32)


def chroma(rgb):
    return rgb.max(axis=-1) - rgb.min(axis=-1)
