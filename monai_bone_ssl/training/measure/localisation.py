"""Does a model point where the finding is: the pointing game, and regions against outlines."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec
import numpy as np
from numpy.typing import NDArray

from monai_bone_ssl.findings import Peak, Region
from monai_bone_ssl.stats.bootstrap import cluster_bootstrap, percentile_interval, ratio
from monai_bone_ssl.training.data import LabelledImage, read_grey
from monai_bone_ssl.training.measure.estimates import TOO_FEW_GROUPS, Estimate
from monai_bone_ssl.training.measure.froc import RegionFigures, froc

__all__ = ["Localisation", "covered_share", "localise", "pointing_game"]

Floats = NDArray[np.float64]


class Localisation(msgspec.Struct, frozen=True, kw_only=True):
    """Pointing game (Zhang et al. 2018, doi:10.1007/s11263-017-1059-x), without their 15 pixel tolerance."""

    pointing_game: float
    """Share of the positive images with boxes whose evidence peaks inside one of them."""
    ci_low: float | None
    """Lower end of the 95 % interval of the share; None where there are too few groups."""
    ci_high: float | None
    """Upper end of the 95 % interval of the share; None where there are too few groups."""
    n: int
    """Number of positive images with boxes."""
    chance: float
    """Expected share for a point drawn at random: the mean share of an image that boxes cover."""
    regions: RegionFigures | None = None
    """Regions against outlines, over all images; None where the model draws no regions."""

    def estimates(self) -> dict[str, Estimate]:
        """Figures by name: ``pointing_game``; of regions also ``outlines_hit``, ``false_regions``
        and ``sensitivity_at_0.5_false_regions``, and so for 0.1 and 1."""
        few = None if self.ci_low is not None else TOO_FEW_GROUPS
        figures = {"pointing_game": Estimate(self.pointing_game, self.ci_low, self.ci_high, few)}
        if self.regions is not None:
            figures["outlines_hit"] = self.regions.outlines_hit
            figures["false_regions"] = self.regions.false_regions
            for limit, at_limit in self.regions.sensitivity_at_false_regions.items():
                figures[f"sensitivity_at_{limit}_false_regions"] = at_limit
        return figures


def localise(
    images: Sequence[LabelledImage],
    peaks: Sequence[Peak | None],
    regions: Sequence[Sequence[Region]] | None,
) -> Localisation | None:
    """Play the pointing game on the positive images with boxes, and hold regions against all boxes.

    Parameters
    ----------
    images
        Labelled images [n].
    peaks
        Source pixel [n] at which the evidence of each image peaks; None where the image is no positive one
        with boxes and nobody looked.
    regions
        Regions of each image [n]; None for a model that draws none.

    Returns
    -------
    Outcome; None where no image has boxes.
    """
    shapes = [read_grey(i.path).shape if i.label and i.boxes else None for i in images]
    outlined = [
        (image, peak, shape)
        for image, peak, shape in zip(images, peaks, shapes, strict=True)
        if shape is not None and peak is not None
    ]
    if not outlined:
        return None
    outcome = pointing_game(
        hits=np.array([_is_hit(image, peak) for image, peak, _ in outlined]),
        covered=np.array([covered_share(image, shape) for image, _, shape in outlined]),
        groups=np.array([image.group for image, _, _ in outlined]),
    )
    if regions is None:
        return outcome
    return msgspec.structs.replace(outcome, regions=froc(images, regions, shapes))


def pointing_game(hits: NDArray[np.bool_], covered: Floats, groups: NDArray[np.str_]) -> Localisation:
    """Outcome of the pointing game on n positive images with boxes.

    Parameters
    ----------
    hits
        Whether the peak of the evidence lies in a box [n].
    covered
        Share of the image that boxes cover [n], 0 to 1.
    groups
        Groups of the images [n].
    """

    def share(weights: Floats) -> Floats:
        return ratio(weights @ hits.astype(np.float64), weights.sum(axis=1))

    low, high = percentile_interval(cluster_bootstrap(share, groups))
    return Localisation(
        pointing_game=float(hits.mean()),
        ci_low=None if np.isnan(low) else float(low),
        ci_high=None if np.isnan(high) else float(high),
        n=len(hits),
        chance=float(covered.mean()),
    )


def _is_hit(image: LabelledImage, peak: Peak) -> bool:
    return any(box.contains(peak.row, peak.column) for box in image.boxes)


def covered_share(image: LabelledImage, shape: tuple[int, ...]) -> float:
    """Share of an image's pixels, 0 to 1, whose centre lies in a box; shape is (rows, columns)."""
    rows, columns = shape
    covered = np.zeros((rows, columns), dtype=np.bool_)
    for box in image.boxes:
        covered |= _inside(box.y, box.height, rows)[:, None] & _inside(box.x, box.width, columns)
    return float(covered.mean())


def _inside(start: float, length: float, n: int) -> NDArray[np.bool_]:
    centres = np.arange(n) + 0.5
    return (start <= centres) & (centres < start + length)
