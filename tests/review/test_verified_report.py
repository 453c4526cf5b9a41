"""The verified report, judged by validators and readers that share no code with the package's writer."""

from __future__ import annotations

import json
import subprocess
import sys
from copy import deepcopy
from datetime import datetime
from pathlib import Path

import msgspec
import numpy as np
import pytest
from highdicom.sr import srread
from pydicom import Dataset, dcmread
from pydicom.sr.codedict import codes
from validators import dciodvfy, pixelmed, run_tool

from monai_bone_ssl.errors import ReasonCode, ReportError
from monai_bone_ssl.findings import FRACTURE
from monai_bone_ssl.model.inference import Model
from monai_bone_ssl.pipeline import algorithm
from monai_bone_ssl.review.reader import Reader
from monai_bone_ssl.review.session import ReviewSession
from monai_bone_ssl.review.verdict import Location, Reading
from monai_bone_ssl.review.verified_content import ReviewedImage
from monai_bone_ssl.review.verified_report import SessionReports, verified_report, write_session_reports
from monai_bone_ssl.review.worklist import Worklist, case_header, worklist_from_paths

from .conftest import OTHER_STUDY, STUDY
from .reviews import ANNA, by_name, read

CREATED = datetime(2026, 11, 22, 10, 30, 15)


POINT = Location("point", ((10.0, 20.0),))


BOX = Location("box", ((30.0, 50.0), (10.0, 20.0)))


RULER = Location("ruler", ((0.0, 0.0), (3.0, 4.0)), 0.75)


UNSCALED = Location("ruler", ((0.0, 0.0), (3.0, 4.0)))


@pytest.fixture(scope="module")
def reports(
    analysed: Path, worklist: Worklist, tiny_folder: Path, tmp_path_factory: pytest.TempPathFactory
) -> tuple[SessionReports, Path]:
    """Of a reader of both studies, beside the algorithm's. Not to be changed."""
    folder = tmp_path_factory.mktemp("reports")
    with ReviewSession.open(folder / "review", ANNA, worklist) as session:
        read(session, worklist, {"0": Reading.NORMAL})
        read(session, worklist, {"1": Reading.ABNORMAL}, (POINT, BOX, RULER), "Schrägfraktur\n骨折")
        read(session, worklist, {"2": Reading.UNCERTAIN}, (UNSCALED,))
        read(session, worklist, {"3": Reading.NORMAL, "4": Reading.BAD_IMAGE})
        written = write_session_reports(session, worklist, folder / "sr", tiny_folder, analysed / "out")
    return written, folder


def of_study(reports: SessionReports, study: str) -> Path:
    (path,) = [path for path in reports.written if dcmread(path).StudyInstanceUID == study]
    return path


def groups(path: Path) -> list[Dataset]:
    """Measurement groups as plain data sets."""
    (measurements,) = [
        item
        for item in dcmread(path).ContentSequence
        if item.ConceptNameCodeSequence[0].CodeValue == "126010"
    ]
    return list(measurements.ContentSequence)


def items(group: Dataset, code: str) -> list[Dataset]:
    found = (i for i in group.ContentSequence if "ConceptNameCodeSequence" in i)
    return [item for item in found if item.ConceptNameCodeSequence[0].CodeValue == code]


@pytest.fixture(scope="module")
def plain(analysed: Path, tiny: Model, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A report of a study that no algorithm has seen."""
    folder = tmp_path_factory.mktemp("plain")
    unanalysed = worklist_from_paths([analysed / "in"], tiny.spec)
    with ReviewSession.open(folder / "review", ANNA, unanalysed) as session:
        read(session, unanalysed, {"3": Reading.NORMAL, "4": Reading.NORMAL})
        written = write_session_reports(session, unanalysed, folder / "sr", None)
    assert written.unread == (STUDY,)
    (path,) = written.written
    return path


@pytest.fixture(scope="module")
def partial(worklist: Worklist, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A report of a study of three images, two of them read."""
    folder = tmp_path_factory.mktemp("partial")
    images = reviewed(worklist, folder, "01")
    verified_report(images, ANNA, None, FRACTURE, None, CREATED).save_as(folder / "partial.dcm")
    return folder / "partial.dcm"


def test_validators_find_no_error(
    reports: tuple[SessionReports, Path], plain: Path, partial: Path, tmp_path: Path
) -> None:
    written = reports[0]
    assert (len(written.written), written.unread, dict(written.refused)) == (2, (), {})
    paths = [*written.written, plain, partial]
    for problems in pixelmed(paths, tmp_path).values():
        assert problems.errors == []
        assert all("Content Item not in template" in line for line in problems.warnings), problems.warnings
    for path in paths:
        assert dciodvfy(path).errors == []


def test_without_algorithm_there_is_no_predecessor(plain: Path) -> None:
    assert "PredecessorDocumentsSequence" not in dcmread(plain)


def test_dcmqi_reads_it(reports: tuple[SessionReports, Path]) -> None:
    written, folder = reports
    out = folder / "dcmqi.json"
    run = subprocess.run(
        [
            Path(sys.executable).with_name("tid1500reader"),
            "--inputDICOM",
            of_study(written, STUDY),
            "--outputMetadata",
            out,
        ],
        capture_output=True,
        text=True,
        check=False,
    )
    assert run.returncode == 0, run.stderr
    measured = json.loads(out.read_text())["Measurements"]
    by_name = {group["TrackingIdentifier"]: group for group in measured}
    assert set(by_name) == {f"Image {n} of 3" for n in (1, 2, 3)} | {
        f"Image 2 of 3, place {n}" for n in (1, 2)
    }
    answers = {
        name: [
            (e["conceptCode"]["CodeMeaning"], e["conceptValue"]["CodeMeaning"])
            for e in group["qualitativeEvaluations"]
            if isinstance(e["conceptValue"], dict)
        ]
        for name, group in by_name.items()
        if "place" not in name
    }
    assert answers == {
        "Image 1 of 3": [("Fracture", "Absent")],
        "Image 2 of 3": [("Fracture", "Present")],
        "Image 3 of 3": [("Fracture", "Undetermined")],
    }
    (length,) = by_name["Image 2 of 3"]["measurementItems"]
    assert (length["quantity"]["CodeMeaning"], length["value"], length["units"]["CodeValue"]) == (
        "Length",
        "0.75",
        "mm",
    )
    assert [name for name, group in by_name.items() if "Finding" in group] == [
        "Image 2 of 3",
        "Image 2 of 3, place 1",
        "Image 2 of 3, place 2",
    ]


def test_dcmtk_prints_it(reports: tuple[SessionReports, Path]) -> None:
    run = run_tool("dsrdump", "+Pl", of_study(reports[0], STUDY))
    assert run.returncode == 0, run.stderr
    for words in ("Doe^Anna", "City Hospital", "VERIFIED", "Fracture (3 of 3 images read)."):
        assert words.lower() in run.stdout.lower()


def test_who_verified_what_and_which_report_was_reviewed(
    reports: tuple[SessionReports, Path], analysed: Path
) -> None:
    report = dcmread(of_study(reports[0], STUDY))
    assert (report.VerificationFlag, report.CompletionFlag, report.PreliminaryFlag) == (
        "VERIFIED",
        "COMPLETE",
        "FINAL",
    )
    (observer,) = report.VerifyingObserverSequence
    assert (str(observer.VerifyingObserverName), observer.VerifyingOrganization) == (
        "Doe^Anna",
        "City Hospital",
    )
    (study,) = report.PredecessorDocumentsSequence
    (series,) = study.ReferencedSeriesSequence
    (reference,) = series.ReferencedSOPSequence
    (reviewed,) = [
        sr for sr in map(dcmread, (analysed / "out").glob("SR_*.dcm")) if sr.StudyInstanceUID == STUDY
    ]
    assert reference.ReferencedSOPInstanceUID == reviewed.SOPInstanceUID
    assert series.SeriesInstanceUID == reviewed.SeriesInstanceUID != report.SeriesInstanceUID
    for keyword in ("PatientID", "PatientName", "PatientBirthDate", "AccessionNumber", "StudyID"):
        assert report[keyword].value == reviewed[keyword].value
    assert "ContentQualification" not in report, "a reader's answer is not for research only"
    names = {item.ConceptNameCodeSequence[0].CodeValue: item for item in report.ContentSequence}
    assert str(names["121008"].PersonName) == "Doe^Anna"  # Person Observer Name
    assert names["121009"].TextValue == "City Hospital"
    assert "121012" in names  # Device Observer UID


def test_places_are_where_the_reader_marked_them(reports: tuple[SessionReports, Path]) -> None:
    """SCOORD counts (column, row) from the corner of the first pixel, whose centre is (0.5, 0.5)."""
    image, point, box, *_ = groups(of_study(reports[0], STUDY))
    (region,) = items(point, "111030")
    assert (region.GraphicType, list(region.GraphicData)) == ("POINT", [20.5, 10.5])
    (region,) = items(box, "111030")
    corners = np.reshape(region.GraphicData, (-1, 2)).tolist()
    assert region.GraphicType == "POLYLINE"
    assert corners == [[20.5, 10.5], [50.5, 10.5], [50.5, 30.5], [20.5, 30.5], [20.5, 10.5]]
    reference = region.ContentSequence[0].ReferencedSOPSequence[0]
    assert reference.ReferencedSOPInstanceUID == f"{STUDY}.1.1"
    (length,) = items(image, "410668003")
    (path,) = items(length, "121055")
    assert (path.GraphicType, list(path.GraphicData)) == ("POLYLINE", [0.5, 0.5, 4.5, 3.5])


def test_a_viewer_can_draw_every_group(
    reports: tuple[SessionReports, Path], plain: Path, partial: Path
) -> None:
    """A region, or numbers each with a place as their only child; the most severe reading comes first."""
    for path in (*reports[0].written, plain, partial):
        for group in groups(path):
            numbers = [item for item in group.ContentSequence if item.ValueType == "NUM"]
            assert [[child.ValueType for child in number.ContentSequence] for number in numbers] == (
                [] if items(group, "111030") else [["SCOORD"]]
            )
    names = [items(group, "112039")[0].TextValue for group in groups(of_study(reports[0], STUDY))]
    assert [name for name in names if "place" not in name] == [f"Image {n} of 3" for n in (2, 3, 1)]


def test_highdicom_reads_it(reports: tuple[SessionReports, Path]) -> None:
    content = srread(of_study(reports[0], STUDY)).content
    assert len(content.get_image_measurement_groups()) == 3
    regions = content.get_planar_roi_measurement_groups()
    assert [group.finding_type.meaning for group in regions] == ["Fracture", "Fracture"]


def test_a_length_without_scale_is_in_pixels(reports: tuple[SessionReports, Path]) -> None:
    (length,) = items(groups(of_study(reports[0], STUDY))[-2], "410668003")
    value = length.MeasuredValueSequence[0]
    assert float(value.NumericValue) == 5
    assert value.MeasurementUnitsCodeSequence[0].CodeValue == "{pixels}"


def test_an_unusable_image_is_coded_as_one_and_makes_the_study_uncertain(
    reports: tuple[SessionReports, Path],
) -> None:
    path = of_study(reports[0], OTHER_STUDY)
    unusable, normal = groups(path)
    assert items(normal, "125605004")[0].ConceptCodeSequence[0].CodeMeaning == "Absent"
    assert not items(unusable, "125605004")
    assert items(unusable, "111050")[0].ConceptCodeSequence[0].CodeValue == "111235"
    (conclusion,) = [
        item
        for container in dcmread(path).ContentSequence
        for item in container.get("ContentSequence", [])
        if item.get("ConceptNameCodeSequence", [Dataset()])[0].get("CodeValue") == "121077"
    ]
    assert conclusion.TextValue == "Uncertain for fracture (2 of 2 images read)."


def reviewed(worklist: Worklist, folder: Path, names: str = "012") -> list[ReviewedImage]:
    with ReviewSession.open(folder, ANNA, worklist) as session:
        read(session, worklist, dict.fromkeys(names, Reading.NORMAL))
        cases = [by_name(worklist)[name] for name in "012"]
        return [ReviewedImage(case_header(case), session.verdicts.get(case.key)) for case in cases]


def test_uids_depend_on_content_reader_and_time(worklist: Worklist, tmp_path: Path, tiny: Model) -> None:
    images = reviewed(worklist, tmp_path)
    assert images[0].verdict is not None
    later = msgspec.structs.replace(images[0].verdict, read_at="2027-01-01T00:00:00+00:00")
    changed = [ReviewedImage(images[0].header, later), *images[1:]]
    made = [
        verified_report(images, ANNA, None, FRACTURE, algorithm(tiny), CREATED),
        verified_report(images, ANNA, None, FRACTURE, algorithm(tiny), datetime(2027, 1, 1)),
        verified_report(changed, ANNA, None, FRACTURE, algorithm(tiny), CREATED),
        verified_report(images, Reader("Doe^Anne", "City Hospital"), None, FRACTURE, None, CREATED),
    ]
    uids = [report.SOPInstanceUID for report in made]
    assert uids[0] == uids[1]
    assert len(set(uids)) == 3
    assert len({report.SeriesInstanceUID for report in made}) == 3


def test_an_image_that_was_not_read_is_listed_as_not_read(partial: Path) -> None:
    last = groups(partial)[-1]
    assert items(last, "121106")[0].TextValue == "Not read"
    assert items(last, "111065")[0].ConceptCodeSequence[0].CodeValue == "111225"  # Not Attempted
    assert not items(last, "125605004")
    assert dcmread(partial).CompletionFlagDescription == "2 of 3 images read"


def test_the_wrong_patient_or_study_gets_no_report(
    worklist: Worklist, analysed: Path, tmp_path: Path
) -> None:
    images = reviewed(worklist, tmp_path)
    (own,) = [sr for sr in map(dcmread, (analysed / "out").glob("SR_*")) if sr.StudyInstanceUID == STUDY]
    other = deepcopy(images[0].header)
    other.PatientID = "PAT-2"
    with pytest.raises(ReportError) as caught:
        verified_report(
            [ReviewedImage(other, images[0].verdict), *images[1:]], ANNA, own, FRACTURE, None, CREATED
        )
    assert caught.value.code is ReasonCode.CONFLICTING_PATIENT
    assert "PAT" not in caught.value.text
    foreign = deepcopy(own)
    foreign.PatientName = "Somebody^Else"
    with pytest.raises(ReportError, match="differ in PatientName") as caught:
        verified_report(images, ANNA, foreign, FRACTURE, None, CREATED)
    foreign = deepcopy(own)
    foreign.StudyInstanceUID = OTHER_STUDY
    with pytest.raises(ReportError, match="another study"):
        verified_report(images, ANNA, foreign, FRACTURE, None, CREATED)
    swapped = [
        ReviewedImage(images[0].header, images[1].verdict),
        ReviewedImage(images[1].header, images[0].verdict),
    ]
    with pytest.raises(ReportError, match="expected one on this image"):
        verified_report(swapped, ANNA, own, FRACTURE, None, CREATED)
    with pytest.raises(ReportError, match="each image once"):
        verified_report([images[0], images[0]], ANNA, own, FRACTURE, None, CREATED)
    unread = [ReviewedImage(image.header, None) for image in images]
    with pytest.raises(ReportError, match="nothing to report"):
        verified_report(unread, ANNA, own, FRACTURE, None, CREATED)


def test_a_place_outside_of_the_image_is_refused_and_one_over_the_edge_is_cut(
    worklist: Worklist, tmp_path: Path
) -> None:
    image = reviewed(worklist, tmp_path)[0]
    assert image.verdict is not None
    over = Location("box", ((-5.0, -5.0), (10.0, 10.0)))
    outside = Location("box", ((-5.0, 70.0), (10.0, 90.0)))
    marked = ReviewedImage(image.header, msgspec.structs.replace(image.verdict, locations=(over,)))
    path = tmp_path / "cut.dcm"
    verified_report([marked], ANNA, None, FRACTURE, None, CREATED).save_as(path)
    (region,) = items(groups(path)[1], codes.DCM.ImageRegion.value)
    assert list(region.GraphicData) == [0, 0, 10.5, 0, 10.5, 10.5, 0, 10.5, 0, 0]
    marked = ReviewedImage(image.header, msgspec.structs.replace(image.verdict, locations=(outside,)))
    with pytest.raises(ReportError, match="outside of it"):
        verified_report([marked], ANNA, None, FRACTURE, None, CREATED)
