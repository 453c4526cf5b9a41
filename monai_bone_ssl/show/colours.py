"""The colours of answers and of evidence, the same in every picture and viewer."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from monai_bone_ssl.findings import Decision

__all__ = ["DECISION_COLOURS", "LEAST_SHOWN", "Colour", "colour_evidence", "colour_table"]

Floats = npt.NDArray[np.float32]
Colour = tuple[int, int, int]

#: Blue, pale yellow, vermilion: apart in hue and in lightness, so also for colour-blind readers
#: (after Okabe and Ito, https://jfly.uni-koeln.de/color/), and never without the word beside them.
DECISION_COLOURS: dict[Decision, Colour] = {
    Decision.NEGATIVE: (86, 156, 214),
    Decision.INDETERMINATE: (232, 215, 140),
    Decision.POSITIVE: (232, 98, 44),
}

#: Probability of a patch below which it has no colour: a veil over the whole image would hide the few patches
#: that a reader has to look at.
LEAST_SHOWN = 0.05

# Upper part of the inferno map (purple, red, orange, yellow): lightness rises with the value, also in grey
# and for colour-blind readers. The black end is left out: it would look like a shadow on the bone.
_ANCHORS = np.array([(110, 30, 130), (190, 45, 100), (232, 88, 45), (250, 155, 20), (252, 235, 120)]) / 255
_LEVELS = 256
_STRENGTH = np.linspace(0, 1, _LEVELS)
# At full colour a third of the radiograph still shows through. Opacity rises a little faster than linear: a
# moderate probability is seen on white bone; a square root would draw an edge around every faint patch.
_ALPHA = (0.68 * _STRENGTH**0.8)[:, None]
_TRANSPARENCY = (1 - _ALPHA).astype(np.float32)
_STOPS = np.linspace(0, 1, len(_ANCHORS))
_INK = (_ALPHA * np.stack([np.interp(_STRENGTH, _STOPS, c) for c in _ANCHORS.T], axis=1)).astype(np.float32)


def colour_evidence(grey: Floats, evidence: Floats) -> Floats:
    """Lay evidence as colour over a radiograph.

    Hue and opacity both grow with the evidence, so that nothing is hidden where there is little of it. Full
    colour is probability 1 for every model and every image, or two pictures could not be compared.

    Parameters
    ----------
    grey
        Radiograph [H, W] in [0, 1].
    evidence
        Probability at each pixel [H, W], 0 to 1, that the pixel shows the target.

    Returns
    -------
    Red, green and blue [H, W, 3] in [0, 1]; where the evidence is below :data:`LEAST_SHOWN`, grey as before.
    """
    coloured = evidence >= LEAST_SHOWN
    level = np.rint(np.minimum(evidence[coloured], 1) * (_LEVELS - 1)).astype(np.intp)
    blended = np.repeat(grey[..., None], 3, axis=-1)
    blended[coloured] = grey[coloured][:, None] * _TRANSPARENCY[level] + _INK[level]
    return blended


def colour_table() -> Floats:
    """Colours of :func:`colour_evidence`, for viewers that blend themselves.

    Returns
    -------
    Red, green, blue and opacity [256, 4] in [0, 1], the colours not multiplied by the opacity. The first row
    is for probability 0, the last one for probability 1; the others lie evenly between.
    """
    colours = np.stack([np.interp(_STRENGTH, _STOPS, channel) for channel in _ANCHORS.T], axis=1)
    return np.concatenate([colours, _ALPHA], axis=1).astype(np.float32)
