"""Colours of evidence and decisions, as eyes take them."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from monai_bone_ssl.show.colours import DECISION_COLOURS, LEAST_SHOWN, colour_evidence, colour_table


def test_colour_grows_with_evidence():
    evidence = np.linspace(LEAST_SHOWN, 1, 20, dtype=np.float32)[None]
    colour = colour_evidence(np.zeros_like(evidence), evidence)[0]
    lightness = colour @ np.array([0.2126, 0.7152, 0.0722])
    assert lightness[0] > 0
    assert (np.diff(lightness) > 0).all(), "the order is read from lightness alone"


def test_faint_evidence_has_no_colour():
    grey = np.full((1, 3), 0.4, dtype=np.float32)
    faint = np.array([[0, 0.01, np.nextafter(np.float32(LEAST_SHOWN), np.float32(0))]], dtype=np.float32)
    np.testing.assert_array_equal(colour_evidence(grey, faint), grey[..., None].repeat(3, axis=2))


def test_anatomy_shows_through_full_colour():
    grey = np.array([[0.2, 0.5, 0.9]], dtype=np.float32)
    colour = colour_evidence(grey, np.ones_like(grey))
    assert (np.diff(colour, axis=1) > 0.08).all()


# Machado, Oliveira, Fernandes 2009, doi 10.1109/TVCG.2009.113, severity 1.0, on linear RGB.
COLOUR_BLINDNESS = {
    "none": np.eye(3),
    "protanopia": [
        [0.152286, 1.052583, -0.204868],
        [0.114503, 0.786281, 0.099216],
        [-0.003882, -0.048116, 1.051998],
    ],
    "deuteranopia": [
        [0.367322, 0.860646, -0.227968],
        [0.280085, 0.672501, 0.047413],
        [-0.011820, 0.042940, 0.968881],
    ],
    "tritanopia": [
        [1.255528, -0.076749, -0.178779],
        [-0.078411, 0.930809, 0.147602],
        [0.004733, 0.691367, 0.303900],
    ],
}


def lab(rgb, matrix):
    """CIE L*a*b* (D65) of an sRGB colour as seen with a colour vision deficiency."""
    value = np.array(rgb) / 255
    linear = np.where(value <= 0.04045, value / 12.92, ((value + 0.055) / 1.055) ** 2.4)
    seen = np.clip(np.array(matrix) @ linear, 0, 1)
    to_xyz = [[0.4124, 0.3576, 0.1805], [0.2126, 0.7152, 0.0722], [0.0193, 0.1192, 0.9505]]
    t = np.array(to_xyz) @ seen / [0.9505, 1.0, 1.089]
    x, y, z = np.where(t > 0.008856, np.cbrt(t), 7.787 * t + 16 / 116)
    return np.array([116 * y - 16, 500 * (x - y), 200 * (y - z)])


@pytest.mark.parametrize("vision", COLOUR_BLINDNESS)
def test_zones_differ_for_every_colour_vision(vision):
    matrix = COLOUR_BLINDNESS[vision]
    for one, other in itertools.combinations(DECISION_COLOURS.values(), 2):
        assert np.linalg.norm(lab(one, matrix) - lab(other, matrix)) > 20  # 2 is just noticeable


def test_a_viewer_that_blends_the_colour_table_itself_draws_the_same() -> None:
    table = colour_table()
    rng = np.random.default_rng(0)
    grey = rng.random((5, 7), dtype=np.float32)
    evidence = rng.uniform(LEAST_SHOWN, 1, (5, 7)).astype(np.float32)
    rows = table[np.rint(evidence * 255).astype(int)]
    blended = grey[..., None] * (1 - rows[..., 3:]) + rows[..., :3] * rows[..., 3:]
    np.testing.assert_allclose(colour_evidence(grey, evidence), blended, atol=1e-6)
    assert table[0, 3] == 0
    assert (np.diff(table[:, 3]) > 0).all()
