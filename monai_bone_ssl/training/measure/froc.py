"""Do the regions mark the outlined findings, and how often do they mark anything else: FROC analysis.

Lesion-level free-response ROC (Chakraborty, Medical Physics 16, 1989): sensitivity is the share of outlined
findings that a region hits, against the mean number of false regions an image over all images, positive and
negative alike.

A region hits an outline where the centre of the region lies inside the outline's box, as readers use a mark;
a second rule, an intersection over union (IoU) of at least 0.3, asks for the size of the mark too. A region
that hits no outline is false; one that hits an outline that a higher region hit already is neither. Images
with a positive label and no outline are left out: whether a region is false there, nobody knows.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import msgspec
import numpy as np
from numpy.typing import NDArray

from monai_bone_ssl.findings import Region
from monai_bone_ssl.stats.bootstrap import cluster_bootstrap, percentile_interval, ratio, weighted_hits
from monai_bone_ssl.training.data import AnnotatedBox, LabelledImage
from monai_bone_ssl.training.measure.estimates import Estimate, estimate

__all__ = ["FALSE_REGIONS", "MIN_IOU", "RegionFigures", "froc", "overlap"]

Floats = NDArray[np.float64]
_Rule = Callable[[Region, AnnotatedBox], bool]

#: Mean numbers of false regions an image at which the sensitivity is given.
FALSE_REGIONS = (0.1, 0.5, 1.0)

#: Intersection over union from which on a region hits an outline's box, by the second rule.
MIN_IOU = 0.3


class RegionFigures(msgspec.Struct, frozen=True, kw_only=True):
    """Lesion-level FROC (Chakraborty, Medical Physics 16, 1989) of regions against outlined findings."""

    n_images: int
    """Number of images: all but positive ones without outlines."""
    n_outlines: int
    """Number of outlined findings."""
    outlines_hit: Estimate
    """Share of the outlined findings with the centre of any region inside their box."""
    chance: float
    """Expected share of outlined findings hit if each region's centre were drawn at random in its image."""
    false_regions: Estimate
    """Mean number of regions an image whose centre lies in no outline's box."""
    sensitivity_at_false_regions: dict[str, Estimate]
    """Share of the outlined findings hit by the regions above the lowest probability that lets in at most so
    many false regions an image: 0.1, 0.5 and 1."""
    sensitivity_at_false_regions_iou_30: dict[str, Estimate]
    """The same where a region hits an outline by an intersection over union of at least 0.3."""


def froc(
    images: Sequence[LabelledImage],
    regions: Sequence[Sequence[Region]],
    shapes: Sequence[tuple[int, ...] | None],
) -> RegionFigures:
    """Hold the regions of images against the outlined findings.

    Parameters
    ----------
    images
        Labelled images [n]; at least one is positive and has outlines.
    regions
        Regions of each image [n].
    shapes
        Rows and columns of each image [n]; None for an image without outlines.
    """
    counted = [i for i, image in enumerate(images) if image.boxes or not image.label]
    pairs = [(images[i], regions[i]) for i in counted]
    by_centre = _Events.of(pairs, lambda region, box: box.is_hit_by(region))
    hit, false, *at = by_centre.estimates()
    _, _, *at_overlap = _Events.of(pairs, lambda region, box: overlap(region, box) >= MIN_IOU).estimates()
    names = [f"{limit:g}" for limit in FALSE_REGIONS]
    return RegionFigures(
        n_images=len(counted),
        n_outlines=by_centre.n_outlines,
        outlines_hit=hit,
        chance=_chance(images, regions, shapes),
        false_regions=false,
        sensitivity_at_false_regions=dict(zip(names, at, strict=True)),
        sensitivity_at_false_regions_iou_30=dict(zip(names, at_overlap, strict=True)),
    )


@dataclass(frozen=True, eq=False)
class _Events:
    """Images, outlines and false regions as rows of one list, so that a resample draws each by its group."""

    groups: NDArray[np.str_]
    """Group of each row [n_images + n_outlines + n_false], in this order."""
    n_images: int
    n_outlines: int
    scores: Floats
    """Probability of the highest region that hits each outline, NaN where none does, and of each false
    region [n_outlines + n_false]."""

    @classmethod
    def of(cls, pairs: Sequence[tuple[LabelledImage, Sequence[Region]]], hits: _Rule) -> _Events:
        best, false, groups_of_outlines, groups_of_false = [], [], [], []
        for image, regions in pairs:
            for box in image.boxes:
                scores = [region.probability for region in regions if hits(region, box)]
                best.append(max(scores, default=np.nan))
                groups_of_outlines.append(image.group)
            wrong = [region for region in regions if not any(hits(region, box) for box in image.boxes)]
            false += [region.probability for region in wrong]
            groups_of_false += [image.group] * len(wrong)
        groups = [image.group for image, _ in pairs] + groups_of_outlines + groups_of_false
        return cls(np.array(groups), len(pairs), len(best), np.array(best + false))

    def estimates(self) -> list[Estimate]:
        """Share of outlines hit, false regions an image, and the sensitivity at each of FALSE_REGIONS."""
        values = self._figures(np.ones((1, len(self.groups))))[0]
        low, high = percentile_interval(cluster_bootstrap(self._figures, self.groups))
        return [estimate(*figure, "no outlined finding") for figure in zip(values, low, high, strict=True)]

    def _figures(self, weights: Floats) -> Floats:
        """Figures [b, 2 + len(FALSE_REGIONS)] for weights [b, rows]."""
        drawn = weights[:, : self.n_images].sum(axis=1)
        n_outlines = weights[:, self.n_images : self.n_images + self.n_outlines].sum(axis=1)
        marked = np.flatnonzero(~np.isnan(self.scores))
        is_hit = marked < self.n_outlines
        events = weights[:, self.n_images + marked]
        columns = [
            ratio(events[:, is_hit].sum(axis=1), n_outlines),
            ratio(events[:, ~is_hit].sum(axis=1), drawn),
        ]
        most_false = drawn[:, None] * np.array(FALSE_REGIONS)
        hits = weighted_hits(events, is_hit, self.scores[marked], most_false)
        return np.stack([*columns, *(ratio(at_limit, n_outlines) for at_limit in hits.T)], axis=1)


def overlap(region: Region, box: AnnotatedBox) -> float:
    """Intersection over union of a region and an outline's box, 0 to 1."""
    wide = min(region.column + region.width, box.x + box.width) - max(region.column, box.x)
    tall = min(region.row + region.height, box.y + box.height) - max(region.row, box.y)
    shared = max(0.0, wide) * max(0.0, tall)
    return shared / (region.width * region.height + box.width * box.height - shared)


def _chance(
    images: Sequence[LabelledImage],
    regions: Sequence[Sequence[Region]],
    shapes: Sequence[tuple[int, ...] | None],
) -> float:
    """Mean over the outlines of 1 - (1 - share of the image that the box covers) ** number of regions."""
    return float(
        np.mean(
            [
                1 - (1 - box.width * box.height / (shape[0] * shape[1])) ** len(marks)
                for image, marks, shape in zip(images, regions, shapes, strict=True)
                if shape is not None
                for box in image.boxes
            ]
        )
    )
