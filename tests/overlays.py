"""Overlays of made-up findings, and the colour in their pixels."""

from __future__ import annotations

import msgspec
import numpy as np
from tiny_model import POINTS, spec

from monai_bone_ssl.findings import FRACTURE, Answered, BodyPart, Peak, decide
from monai_bone_ssl.show.overlay import draw_overlay


def finding(probability, peak, points=POINTS):
    return Answered(
        path="a/b.dcm",
        body_part=BodyPart("hand", "image", 0.93),
        probability=probability,
        decision=decide(probability, points),
        peak=peak,
        seconds=0.4,
    )


def draw(
    pixels,
    evidence,
    probability=0.9,
    peak=None,
    points=POINTS,
    target=FRACTURE,
    limit=0.1,
    model_name="model",
):
    """An overlay; by default the peak is in a corner, and not framed where the evidence there is 0."""
    return draw_overlay(
        pixels.astype(np.float32),
        np.asarray(evidence, dtype=np.float32),
        finding(probability, peak or Peak(0, 0), points),
        points,
        msgspec.structs.replace(
            spec(b""), target=target, evidence_limit=limit, name=model_name, version="1.0.0"
        ),
    )


def flat(rows, columns, grey=0.5):
    return np.full((rows, columns), grey, dtype=np.float32)


def chroma(rgb):
    return rgb.max(axis=-1) - rgb.min(axis=-1)
