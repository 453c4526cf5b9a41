"""What a radiologist sees of our reports in the OHIF viewer: every study opens, with its words and places."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
from dicom_factory import limb_pixels, make_radiograph
from pydicom import Dataset, dcmread
from reports import (
    ALGORITHM,
    CREATED,
    WRIST,
    analysed,
    not_analysed,
    report_of,
    with_regions,
)

from monai_bone_ssl.findings import FRACTURE, UNVERIFIED, ImageAnalysis, PixelBox, Region
from monai_bone_ssl.report.derived_object import write_object
from monai_bone_ssl.review.reader import Reader
from monai_bone_ssl.review.verdict import Location, Reading, Verdict
from monai_bone_ssl.review.verified_content import ReviewedImage
from monai_bone_ssl.review.verified_report import verified_report
from pacs.ohif import VERSIONS, Viewer, opened
from pacs.orthanc import Orthanc

ROWS, COLUMNS = 640, 512
PEAK = PixelBox(top=160, left=300, bottom=230.5, right=390.25)
POSSIBLE = Region(row=120, column=60, height=120, width=90, probability=0.41, certainty="possible")
CERTAIN = Region(row=400, column=280, height=100, width=140, probability=0.92, certainty="certain")
ANSWERS = "Fracture analysis"

#: Study of an image, by name: what the algorithm said of each.
Say = Callable[[Dataset], ImageAnalysis]


def positive(header: Dataset) -> ImageAnalysis:
    return analysed(header, 0.93, peak_box=PEAK)


def marked(header: Dataset) -> ImageAnalysis:
    return with_regions(analysed(header, 0.95), POSSIBLE, CERTAIN)


def indeterminate(header: Dataset) -> ImageAnalysis:
    return analysed(header, 0.4, peak_box=PEAK)


def negative(header: Dataset) -> ImageAnalysis:
    return analysed(header, 0.03)


STUDIES: dict[str, tuple[Say, ...]] = {
    "positive": (positive,),
    "indeterminate": (indeterminate,),
    "negative": (negative,),
    "not_analysed": (not_analysed,),
    "positive_first": (positive, not_analysed, negative),
    "positive_last": (negative, not_analysed, positive),
    "regions": (marked, negative),
}
#: Of the image that is shown: its number, the words, and the corners of the rectangle.
SHOWN = {
    "positive": (1, "Suspected fracture", PEAK),
    "indeterminate": (1, "Indeterminate for fracture", PEAK),
    "negative": (1, "No sign of fracture", PixelBox(0, 0, ROWS, COLUMNS)),
    "not_analysed": (1, "Not analysed", PixelBox(0, 0, ROWS, COLUMNS)),
    "positive_first": (1, "Suspected fracture", PEAK),
    "positive_last": (3, "Suspected fracture", PEAK),
}
UIDS = {name: f"2.25.{number}" for number, name in enumerate((*STUDIES, "verified"), start=7001)}


def headers(folder: Path, name: str, count: int) -> list[Dataset]:
    """Headers of the images of a study, of which each is a series of its own."""
    uid = UIDS[name]
    paths = [
        make_radiograph(
            folder / f"{name}_{number}.dcm",
            limb_pixels(ROWS, COLUMNS, seed=number),
            study_uid=uid,
            series_uid=f"{uid}.{number}",
            sop_uid=f"{uid}.{number}.1",
            patient_id=name,
        )
        for number in range(1, count + 1)
    ]
    return [dcmread(path, stop_before_pixels=True) for path in paths]


def reading(header: Dataset, answer: Reading, *places: Location) -> ReviewedImage:
    verdict = Verdict(
        key="",
        sop_instance_uid=str(header.SOPInstanceUID),
        study_instance_uid=str(header.StudyInstanceUID),
        reading=answer,
        agreement=None,
        decision=None,
        locations=places,
        read_at="2026-02-03T04:05:06+00:00",
        seconds=3.0,
    )
    return ReviewedImage(header, verdict, WRIST, "L")


@pytest.fixture(scope="module")
def archive(orthanc: Orthanc, tmp_path_factory: pytest.TempPathFactory) -> Orthanc:
    """The archive with all studies and reports."""
    folder = tmp_path_factory.mktemp("studies")
    for name, images in STUDIES.items():
        said = [say(header) for say, header in zip(images, headers(folder, name, len(images)), strict=True)]
        write_object(report_of(*said, study=UIDS[name]), "SR", folder)
    first, second = headers(folder, "verified", 2)
    box = Location("box", ((300.0, 100.0), (360.0, 190.0)))
    read = [reading(first, Reading.NORMAL), reading(second, Reading.ABNORMAL, box)]
    reader = Reader("Doe^Anna", "City Hospital")
    write_object(verified_report(read, reader, None, FRACTURE, ALGORITHM, CREATED), "SR", folder)
    orthanc.upload(*folder.glob("*.dcm"))
    return orthanc


@pytest.fixture(scope="module", params=VERSIONS)
def viewer(
    request: pytest.FixtureRequest, archive: Orthanc, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Viewer]:
    with opened(request.param, archive, tmp_path_factory.mktemp("ohif")) as viewer:
        yield viewer


def assert_at(outline: list[list[float]], box: PixelBox) -> None:
    """The outline has the corners of the box, within a pixel."""
    corners = [(box.left, box.top), (box.right, box.top), (box.right, box.bottom), (box.left, box.bottom)]
    np.testing.assert_allclose(outline[:4], corners, atol=1.0)


@pytest.mark.parametrize("name", SHOWN)
def test_a_report_opens_with_its_answer_and_its_place(viewer: Viewer, name: str) -> None:
    viewer.open(UIDS[name], ANSWERS)
    drawn = viewer.drawn(1, name)
    number, answer, box = SHOWN[name]
    assert drawn.image == f"{UIDS[name]}.{number}.1"
    assert drawn.words[0] == f"{answer}: "
    assert (f"{UNVERIFIED}: " in drawn.words) is (name != "not_analysed")
    [outline] = drawn.outlines
    assert_at(outline, box)


def test_regions_are_drawn_and_can_be_taken_over_by_their_names(viewer: Viewer) -> None:
    viewer.open(UIDS["regions"], ANSWERS)
    drawn = viewer.drawn(3, "regions")
    assert "1 certain region, 1 possible: " in drawn.words
    assert {"Probability: 0.92 1", "Probability: 0.41 1"} <= set(drawn.words)
    outlines = sorted(drawn.outlines)
    for outline, region in zip(outlines[1:], (POSSIBLE, CERTAIN), strict=True):
        bottom, right = region.row + region.height, region.column + region.width
        assert_at(outline, PixelBox(region.row, region.column, bottom, right))
    if viewer.version == VERSIONS[0]:  # the older one takes over only what it has drawn itself
        assert sorted(viewer.track("regions_tracked")) == [
            "Certain region, probability of fracture 0.92",
            "Possible region, probability of fracture 0.41",
        ]


def test_a_verified_report_opens_with_the_reading_and_the_marked_place(viewer: Viewer) -> None:
    viewer.open(UIDS["verified"], "Fracture reading")
    drawn = viewer.drawn(2, "verified")
    assert drawn.image == f"{UIDS['verified']}.2.1"
    assert "Fracture: " in drawn.words
    assert_at(sorted(drawn.outlines)[1], PixelBox(300.5, 100.5, 360.5, 190.5))
