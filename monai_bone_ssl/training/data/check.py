"""Labelled data held against their files: whatever would spoil a figure measured on them, in one pass."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from enum import StrEnum
from pathlib import Path

import msgspec

from monai_bone_ssl.errors import CorruptImage, ReasonCode
from monai_bone_ssl.training.data.dataset import LabelledDataset, LabelledImage, check_images
from monai_bone_ssl.training.data.kinds import read_listing
from monai_bone_ssl.training.data.scan import (
    ImageScan,
    look_inverted,
    same_pictures,
    scan_images,
    similar_pictures,
)

__all__ = ["DataCheck", "ImageCounts", "Problem", "ProblemKind", "Sizes", "check_data"]


class ProblemKind(StrEnum):
    """Kinds of problems, in the order of the report."""

    PATIENT_IN_BOTH_SPLITS = "patient_in_both_splits"
    CONTRADICTION = "contradiction"
    LISTED_TWICE = "listed_twice"
    MISSING = "missing"
    UNREADABLE = "unreadable"
    BLANK = "blank"
    COLOUR = "colour"
    UNSUPPORTED = "unsupported"
    INVERTED = "inverted"
    SAME_PICTURE = "same_picture"
    SIMILAR_PICTURE = "similar_picture"
    STUDY_LABELS_DIFFER = "study_labels_differ"


class Problem(msgspec.Struct, frozen=True, omit_defaults=True):
    """One thing that is wrong. Images are named, patients never."""

    kind: ProblemKind
    """Kind of the problem."""
    text: str
    """The problem in words."""
    images: tuple[str, ...] = ()
    """Names of the images concerned."""
    across: tuple[str, ...] = ()
    """In what the images of one picture differ: ``groups``, ``splits``, ``labels``, ``parts``."""
    note: bool = False
    """Whether the problem is a note only: good to know, and in order in many data sets."""


class ImageCounts(msgspec.Struct, frozen=True):
    """Numbers of images, studies and groups (patients) of one part, split and label.

    Split and studies are None where the data state none.
    """

    part: str
    split: str | None
    label: int
    images: int
    studies: int | None
    groups: int


class Sizes(msgspec.Struct, frozen=True):
    """Rows and columns of three images that can be decoded, and the number of different sizes.

    The median is the size of the image in the middle, by number of pixels.
    """

    smallest: tuple[int, int]
    median: tuple[int, int]
    largest: tuple[int, int]
    distinct: int


class DataCheck(msgspec.Struct, frozen=True):
    """Result of :func:`check_data`."""

    source: str
    """Name of the data."""
    images: int
    """Number of images listed."""
    groups: int
    """Number of patients, or of what stands for them."""
    counts: tuple[ImageCounts, ...]
    """Numbers of each part, split and label, in this order."""
    sizes: Sizes | None
    """Sizes of the images; None where no image can be decoded."""
    problems: tuple[Problem, ...]
    """Problems and notes, in the order of :class:`ProblemKind`."""

    @property
    def is_clean(self) -> bool:
        """Whether there are notes at most."""
        return all(problem.note for problem in self.problems)


def check_data(path: Path) -> tuple[DataCheck, LabelledDataset]:
    """Read every list and decode every image of labelled data.

    Parameters
    ----------
    path
        Labelled data of a kind that :func:`~monai_bone_ssl.training.data.load_dataset` reads; contradictions
        that it refuses are reported here with all the rest, as far as the lists can be read at all.

    Raises
    ------
    ConfigError
        Where the data are of no known kind, a list cannot be read, or no image is listed.
    """
    dataset, contradictions = read_listing(path)
    if not dataset.images:
        check_images(dataset.images, path.resolve().name)
    present = list({image.name: image for image in dataset.images if image.path.is_file()}.values())
    scans = scan_images([image.path for image in present])
    problems = [Problem(ProblemKind.CONTRADICTION, text) for text in contradictions]
    for look_at_lists in (_leaked_patients, _listed_twice, _missing, _study_labels_differ):
        problems += look_at_lists(dataset.images)
    for look_at_pixels in (_undecodable, _inverted, _same, _similar):
        problems += look_at_pixels(present, scans)
    order = list(ProblemKind)
    check = DataCheck(
        source=dataset.source.name,
        images=len(dataset),
        groups=len(set(dataset.groups)),
        counts=_counts(dataset.images),
        sizes=_sizes(scans),
        problems=tuple(sorted(problems, key=lambda problem: order.index(problem.kind))),
    )
    return check, dataset


# --- what the lists tell -----------------------------------------------------------------------------------


def _counts(images: Sequence[LabelledImage]) -> tuple[ImageCounts, ...]:
    cells: dict[tuple[str, str, int], list[LabelledImage]] = defaultdict(list)
    for image in images:
        cells[image.part, image.split or "", image.label].append(image)
    return tuple(
        ImageCounts(
            part=part,
            split=split or None,
            label=label,
            images=len(cell),
            studies=len({image.study for image in cell}) if cell[0].study is not None else None,
            groups=len({image.group for image in cell}),
        )
        for (part, split, label), cell in sorted(cells.items())
    )


def _leaked_patients(images: Sequence[LabelledImage]) -> Iterator[Problem]:
    for of_group in _by(images, lambda image: image.group):
        n_train, n_valid = (sum(image.split == split for image in of_group) for split in ("train", "valid"))
        if n_train and n_valid:
            text = f"one patient with images in train ({n_train}) and in valid ({n_valid})"
            yield Problem(ProblemKind.PATIENT_IN_BOTH_SPLITS, text, _names(of_group))


def _listed_twice(images: Sequence[LabelledImage]) -> Iterator[Problem]:
    for of_name in _by(images, lambda image: image.name):
        if len(of_name) > 1:
            across = _across(of_name)
            text = f"listed {len(of_name)} times{_differing(across)}"
            yield Problem(ProblemKind.LISTED_TWICE, text, (of_name[0].name,), across)


def _missing(images: Sequence[LabelledImage]) -> Iterator[Problem]:
    for image in images:
        if not image.path.is_file():
            yield Problem(ProblemKind.MISSING, "no such file", (image.name,))


def _study_labels_differ(images: Sequence[LabelledImage]) -> Iterator[Problem]:
    for of_study in _by([image for image in images if image.study is not None], lambda image: image.study):
        if len({image.label for image in of_study}) > 1:
            text = "one study with images of both labels"
            yield Problem(ProblemKind.STUDY_LABELS_DIFFER, text, _names(of_study), note=True)


# --- what the pixels tell ----------------------------------------------------------------------------------

_KIND_OF_ERROR = {ReasonCode.BLANK_IMAGE: ProblemKind.BLANK, ReasonCode.COLOUR: ProblemKind.COLOUR}


def _sizes(scans: Sequence[ImageScan]) -> Sizes | None:
    sizes = sorted((scan.size for scan in scans if scan.size is not None), key=lambda size: size[0] * size[1])
    if not sizes:
        return None
    return Sizes(sizes[0], sizes[len(sizes) // 2], sizes[-1], len(set(sizes)))


def _undecodable(images: Sequence[LabelledImage], scans: Sequence[ImageScan]) -> Iterator[Problem]:
    for image, error in zip(images, (scan.error for scan in scans), strict=True):
        if error is None:
            continue
        corrupt = isinstance(error, CorruptImage)
        kind = ProblemKind.UNREADABLE if corrupt else _KIND_OF_ERROR.get(error.code, ProblemKind.UNSUPPORTED)
        yield Problem(kind, error.text.removeprefix(f"{image.path.name}: "), (image.name,))


def _inverted(images: Sequence[LabelledImage], scans: Sequence[ImageScan]) -> Iterator[Problem]:
    for index in look_inverted(scans):
        text = "bright surround: black and white look exchanged"
        yield Problem(ProblemKind.INVERTED, text, (images[index].name,))


def _same(images: Sequence[LabelledImage], scans: Sequence[ImageScan]) -> Iterator[Problem]:
    for indices in same_pictures(scans):
        files = {scans[index].file_digest for index in indices}
        what = "the same file" if len(files) == 1 else "the same pixels in different files"
        copies = [images[index] for index in indices]
        yield _copies(ProblemKind.SAME_PICTURE, f"{what}, {len(indices)} times", copies)


def _similar(images: Sequence[LabelledImage], scans: Sequence[ImageScan]) -> Iterator[Problem]:
    for first, second, correlation in similar_pictures(scans):
        text = f"almost the same picture (correlation {correlation:.3f})"
        yield _copies(ProblemKind.SIMILAR_PICTURE, text, [images[first], images[second]])


def _copies(kind: ProblemKind, text: str, images: Sequence[LabelledImage]) -> Problem:
    """A problem where the images of one picture differ in anything, else a note."""
    across = _across(images)
    return Problem(kind, text + _differing(across), _names(images), across, note=not across)


def _by(
    images: Iterable[LabelledImage], key: Callable[[LabelledImage], str | None]
) -> Iterable[list[LabelledImage]]:
    """Images of one key together, in order."""
    groups: dict[str | None, list[LabelledImage]] = defaultdict(list)
    for image in images:
        groups[key(image)].append(image)
    return groups.values()


def _names(images: Sequence[LabelledImage]) -> tuple[str, ...]:
    return tuple(image.name for image in images)


def _across(images: Sequence[LabelledImage]) -> tuple[str, ...]:
    """In what images of one picture differ; each of these spoils a figure or a label."""
    distinct = {
        "groups": len({image.group for image in images}),
        "splits": len({image.split for image in images}),
        "labels": len({image.label for image in images}),
        "parts": len({image.part for image in images}),
    }
    return tuple(name for name, count in distinct.items() if count > 1)


def _differing(across: Sequence[str]) -> str:
    return f", in different {' and '.join(across)}" if across else ""
