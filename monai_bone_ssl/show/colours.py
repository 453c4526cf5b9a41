"""The colours of answers and of evidence, the same in every picture and viewer."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from monai_bone_ssl.findings import Decision

__all__ = ["DECISION_COLOURS", "Colour", "colour_evidence", "colour_table", "evidence_limit"]

Floats = npt.NDArray[np.float32]
Colour = tuple[int, int, int]

#: Blue, pale yellow, vermilion: apart in hue and in lightness, so also for colour-blind readers
#: (after Okabe and Ito, https://jfly.uni-koeln.de/color/), and never without the word beside them.
DECISION_COLOURS: dict[Decision, Colour] = {
    Decision.NEGATIVE: (86, 156, 214),
    Decision.INDETERMINATE: (232, 215, 140),
    Decision.POSITIVE: (232, 98, 44),
}

# Upper part of the inferno map (purple, red, orange, yellow): lightness rises with the value, also in grey
# and for colour-blind readers. The black end is left out: it would look like a shadow on the bone.
_ANCHORS = np.array([(110, 30, 130), (190, 45, 100), (232, 88, 45), (250, 155, 20), (252, 235, 120)]) / 255
_LEVELS = 256
_STRENGTH = np.linspace(0, 1, _LEVELS)
# At full colour a third of the radiograph still shows through. Opacity rises a little faster than linear, so
# that moderate evidence is seen on white bone; a square root would draw an edge around every faint patch.
_ALPHA = (0.68 * _STRENGTH**0.8)[:, None]
_TRANSPARENCY = (1 - _ALPHA).astype(np.float32)
_STOPS = np.linspace(0, 1, len(_ANCHORS))
_INK = (_ALPHA * np.stack([np.interp(_STRENGTH, _STOPS, c) for c in _ANCHORS.T], axis=1)).astype(np.float32)


def colour_evidence(grey: Floats, evidence: Floats, limit: float) -> Floats:
    """Lay positive evidence as colour over a radiograph.

    Hue and opacity both grow with the evidence, so that nothing is hidden where there is little of it.

    Parameters
    ----------
    grey
        Radiograph [H, W] in [0, 1].
    evidence
        Evidence at each pixel [H, W], in logit a patch.
    limit
        Evidence at full colour, in logit a patch.

    Returns
    -------
    Red, green and blue [H, W, 3] in [0, 1]; where the evidence is not positive, grey as before.
    """
    coloured = evidence > 0
    level = np.rint(np.minimum(evidence[coloured] / limit, 1) * (_LEVELS - 1)).astype(np.intp)
    blended = np.repeat(grey[..., None], 3, axis=-1)
    blended[coloured] = grey[coloured][:, None] * _TRANSPARENCY[level] + _INK[level]
    return blended


def colour_table() -> Floats:
    """Colours of :func:`colour_evidence`, for viewers that blend themselves.

    Returns
    -------
    Red, green, blue and opacity [256, 4] in [0, 1], the colours not multiplied by the opacity. The first row
    is for evidence 0, the last one for ``limit`` and more; the others lie evenly between.
    """
    colours = np.stack([np.interp(_STRENGTH, _STOPS, channel) for channel in _ANCHORS.T], axis=1)
    return np.concatenate([colours, _ALPHA], axis=1).astype(np.float32)


def evidence_limit(peaks: Sequence[float]) -> float:
    """Evidence at full colour, from the largest patch evidence of each of n images with the target.

    Nearly all of these images then use the whole scale, and an image without the target stays nearly grey.
    """
    return float(np.quantile(peaks, 0.95))
