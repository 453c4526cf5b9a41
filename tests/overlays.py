"""Overlays of made-up findings, and the colour in their pixels."""

from __future__ import annotations

import numpy as np
from tiny_model import POINTS

from monai_bone_ssl.findings import FRACTURE, BodyPart, ImageFinding, Status, decide
from monai_bone_ssl.show.overlay import draw_overlay


def finding(probability=0.9, peak=None, points=POINTS):
    return ImageFinding(
        path="a/b.dcm",
        status=Status.ANALYSED,
        body_part=BodyPart("hand", "image", 0.93),
        probability=probability,
        decision=decide(probability, points),
        peak=peak,
        seconds=0.4,
    )


def draw(pixels, evidence, found=None, points=POINTS, target=FRACTURE, limit=0.1, model_name="model"):
    return draw_overlay(
        pixels.astype(np.float32),
        np.asarray(evidence, dtype=np.float32),
        found or finding(points=points),
        points,
        target,
        limit=limit,
        model_name=model_name,
        model_version="1.0.0",
    )


def flat(rows, columns, grey=0.5):
    return np.full((rows, columns), grey, dtype=np.float32)


def chroma(rgb):
    return rgb.max(axis=-1) - rgb.min(axis=-1)
