"""The verified report, judged by validators and readers that share no code with the package's writer."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from copy import deepcopy
from datetime import datetime
from pathlib import Path

import msgspec
import numpy as np
import pytest
from dicom_factory import make_radiograph
from highdicom.sr import srread
from pydicom import Dataset, dcmread
from pydicom.sr.codedict import codes
from tiny_model import draw
from validators import dciodvfy, pixelmed, run_tool

from monai_bone_ssl.errors import ConfigError, ModelError, ReasonCode, ReportError
from monai_bone_ssl.findings import FRACTURE
from monai_bone_ssl.model import Model
from monai_bone_ssl.pipeline import algorithm
from monai_bone_ssl.review.session import Reader, ReviewSession, read_audits
from monai_bone_ssl.review.session_reports import SessionReports, write_session_reports
from monai_bone_ssl.review.verdict import Location, Reading
from monai_bone_ssl.review.verified_report import ReviewedImage, verified_report
from monai_bone_ssl.review.worklist import Worklist, case_header, worklist_from_paths, worklist_from_results

from .conftest import OTHER_STUDY, STUDY
from .reviews import ANNA, BEN, by_name, read

CREATED = datetime(2026, 11, 22, 10, 30, 15)
POINT = Location("point", ((10.0, 20.0),))
BOX = Location("box", ((30.0, 50.0), (10.0, 20.0)))
RULER = Location("ruler", ((0.0, 0.0), (3.0, 4.0)), 0.75)
UNSCALED = Location("ruler", ((0.0, 0.0), (3.0, 4.0)))


@pytest.fixture
def worklist(analysed: Path, tiny: Model) -> Worklist:
    return worklist_from_results(analysed / "out", tiny.spec)


@pytest.fixture
def reports(
    analysed: Path, worklist: Worklist, tiny_folder: Path, tmp_path: Path
) -> tuple[SessionReports, Path]:
    """Of a reader of both studies, beside the algorithm's."""
    with ReviewSession.open(tmp_path / "review", ANNA, worklist) as session:
        read(session, worklist, {"0": Reading.NORMAL})
        read(session, worklist, {"1": Reading.ABNORMAL}, (POINT, BOX, RULER), "Schrägfraktur\n骨折")
        read(session, worklist, {"2": Reading.UNCERTAIN}, (UNSCALED,))
        read(session, worklist, {"3": Reading.NORMAL, "4": Reading.BAD_IMAGE})
        return write_session_reports(
            session, worklist, tmp_path / "sr", tiny_folder, analysed / "out"
        ), tmp_path


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


# --- validators -------------------------------------------------------------------------------------------


def test_validators_find_no_error(reports: tuple[SessionReports, Path]) -> None:
    written, folder = reports
    assert (len(written.written), written.unread, dict(written.refused)) == (2, (), {})
    for problems in pixelmed(written.written, folder).values():
        assert problems.errors == []
        assert all("Content Item not in template" in line for line in problems.warnings), problems.warnings
    for path in written.written:
        assert dciodvfy(path).errors == []


def test_without_algorithm_and_predecessor_too(analysed: Path, tmp_path: Path, tiny: Model) -> None:
    plain = worklist_from_paths([analysed / "in"], tiny.spec)
    with ReviewSession.open(tmp_path / "review", ANNA, plain) as session:
        read(session, plain, {"3": Reading.NORMAL, "4": Reading.NORMAL})
        written = write_session_reports(session, plain, tmp_path / "sr", None)
    assert written.unread == (STUDY,)
    (path,) = written.written
    assert "PredecessorDocumentsSequence" not in dcmread(path)
    assert dciodvfy(path).errors == []
    assert pixelmed([path], tmp_path)[path].errors == []


def dcmqi_reader() -> str:
    beside = Path(sys.executable).with_name("tid1500reader")
    if not beside.is_file():
        pytest.skip(f"{beside} is not there (pip install dcmqi)")
    return str(beside)


def test_dcmqi_reads_it(reports: tuple[SessionReports, Path]) -> None:
    written, folder = reports
    out = folder / "dcmqi.json"
    run = subprocess.run(
        [dcmqi_reader(), "--inputDICOM", of_study(written, STUDY), "--outputMetadata", out],
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


# --- content ----------------------------------------------------------------------------------------------


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
    _, image, point, box, _ = groups(of_study(reports[0], STUDY))
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


def test_highdicom_reads_it(reports: tuple[SessionReports, Path]) -> None:
    content = srread(of_study(reports[0], STUDY)).content
    assert len(content.get_image_measurement_groups()) == 3
    regions = content.get_planar_roi_measurement_groups()
    assert [group.finding_type.meaning for group in regions] == ["Fracture", "Fracture"]


def test_a_length_without_scale_is_in_pixels(reports: tuple[SessionReports, Path]) -> None:
    (length,) = items(groups(of_study(reports[0], STUDY))[-1], "410668003")
    value = length.MeasuredValueSequence[0]
    assert float(value.NumericValue) == 5
    assert value.MeasurementUnitsCodeSequence[0].CodeValue == "{pixels}"


def test_an_unusable_image_is_coded_as_one_and_makes_the_study_uncertain(
    reports: tuple[SessionReports, Path],
) -> None:
    path = of_study(reports[0], OTHER_STUDY)
    first, second = groups(path)
    assert items(first, "125605004")[0].ConceptCodeSequence[0].CodeMeaning == "Absent"
    assert not items(second, "125605004")
    assert items(second, "111050")[0].ConceptCodeSequence[0].CodeValue == "111235"
    (conclusion,) = [
        item
        for container in dcmread(path).ContentSequence
        for item in container.get("ContentSequence", [])
        if item.get("ConceptNameCodeSequence", [Dataset()])[0].get("CodeValue") == "121077"
    ]
    assert conclusion.TextValue == "Uncertain for fracture (2 of 2 images read)."


# --- the same and not the same ----------------------------------------------------------------------------


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


def test_an_image_that_was_not_read_is_listed_as_not_read(worklist: Worklist, tmp_path: Path) -> None:
    images = reviewed(worklist, tmp_path, "01")
    report = verified_report(images, ANNA, None, FRACTURE, None, CREATED)
    path = tmp_path / "partial.dcm"
    report.save_as(path)
    last = groups(path)[-1]
    assert items(last, "121106")[0].TextValue == "Not read."
    assert items(last, "111065")[0].ConceptCodeSequence[0].CodeValue == "111225"  # Not Attempted
    assert not items(last, "125605004")
    assert report.CompletionFlagDescription == "2 of 3 images read"
    assert dciodvfy(path).errors == []
    assert pixelmed([path], tmp_path)[path].errors == []


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


def test_a_reader_without_organization_is_asked_for_it(worklist: Worklist, tmp_path: Path) -> None:
    with (
        ReviewSession.open(tmp_path, BEN, worklist) as session,
        pytest.raises(ConfigError, match="Ben Roe: expected an organization"),
    ):
        write_session_reports(session, worklist, tmp_path / "sr", None)


# --- a whole session --------------------------------------------------------------------------------------


def test_a_study_waits_until_it_is_read_and_one_that_fails_stops_no_other(
    tmp_path: Path, tiny: Model, tiny_folder: Path
) -> None:
    (tmp_path / "in").mkdir()
    for study in ("1.2.3.1", "1.2.3.2", "1.2.3.3"):
        for number in range(2):
            make_radiograph(tmp_path / "in" / f"{study}_{number}.dcm", draw(0.2), study_uid=study)
    worklist = worklist_from_paths([tmp_path / "in"], tiny.spec)
    with ReviewSession.open(tmp_path / "review", ANNA, worklist) as session:
        read(session, worklist, dict.fromkeys(["1.2.3.1_0", "1.2.3.1_1", "1.2.3.2_0"], Reading.NORMAL))
        read(session, worklist, dict.fromkeys(["1.2.3.3_0", "1.2.3.3_1"], Reading.NORMAL))
        (tmp_path / "in" / "1.2.3.3_0.dcm").unlink()  # read, and gone
        written = write_session_reports(session, worklist, tmp_path / "sr", tiny_folder)
        assert [dcmread(path).StudyInstanceUID for path in written.written] == ["1.2.3.1"]
        assert written.unread == ("1.2.3.2",)
        assert {study: error.code for study, error in written.refused.items()} == {
            "1.2.3.3": ReasonCode.UNREADABLE_FILE
        }
        (tmp_path / "in" / "1.2.3.2_1.dcm").unlink()  # nobody can read it any more
        again = write_session_reports(session, worklist, tmp_path / "sr", tiny_folder)
        assert len(again.written) == 2
        assert again.written[0] == written.written[0]
    events = [event["event"] for event in read_audits(tmp_path / "review")]
    assert events.count("reported") == 2 + 2 + 1


def test_another_model_than_the_reviews_is_refused(
    worklist: Worklist, tmp_path: Path, tiny_folder: Path
) -> None:
    other = tmp_path / "model"
    shutil.copytree(tiny_folder, other)
    (other / "model.json").write_text((other / "model.json").read_text()[:-1])
    with ReviewSession.open(tmp_path / "review", ANNA, worklist) as session:
        with pytest.raises(ModelError):
            write_session_reports(session, worklist, tmp_path / "sr", other)
        assert worklist.model is not None
        identity = msgspec.structs.replace(worklist.model, sha256="0" * 64)
        with pytest.raises(ConfigError, match="is not the model of the review"):
            write_session_reports(
                session,
                Worklist(worklist.cases, identity, worklist.target),
                tmp_path / "sr",
                tiny_folder,
            )


def test_a_report_that_has_vanished_is_no_silent_loss(
    analysed: Path, worklist: Worklist, tmp_path: Path, tiny_folder: Path
) -> None:
    out = tmp_path / "out"
    out.mkdir()
    shutil.copy(analysed / "out" / "result.json", out)
    with ReviewSession.open(tmp_path / "review", ANNA, worklist) as session:
        read(session, worklist, {"3": Reading.NORMAL, "4": Reading.NORMAL})
        written = write_session_reports(session, worklist, tmp_path / "sr", tiny_folder, out)
    assert written.written == ()
    assert "SR_" in written.refused[OTHER_STUDY].text
