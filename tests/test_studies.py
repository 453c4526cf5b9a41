"""Studies and their reports: the right patient and the right images, or no report."""

from __future__ import annotations

from pathlib import Path

import highdicom.sr
from analyses import outcomes, result
from dicom_factory import DX
from menagerie import Menagerie, make
from pydicom import Dataset, dcmread
from pydicom.uid import generate_uid
from validators import dciodvfy

from monai_bone_ssl.model.inference import Model
from monai_bone_ssl.pipeline import analyse


def references(report: Path) -> tuple[str, str, set[str]]:
    """Patient ID, Study Instance UID, and SOP Instance UIDs that its content and its evidence refer to."""
    document = highdicom.sr.srread(report)
    return document.PatientID, document.StudyInstanceUID, _referenced(document)


def _referenced(dataset: Dataset) -> set[str]:
    return {str(e.value) for e in dataset.iterall() if e.keyword == "ReferencedSOPInstanceUID"}


def test_interleaved_studies_of_two_patients_never_mix(tmp_path: Path, tiny: Model) -> None:
    studies = {"PAT-A": generate_uid(), "PAT-B": generate_uid()}
    images: dict[str, set[str]] = {"PAT-A": set(), "PAT-B": set()}
    for number in range(6):
        patient = ("PAT-A", "PAT-B")[number % 2]
        path = make(tmp_path / "in" / f"{number}.dcm", 0.8, patient_id=patient, study_uid=studies[patient])
        images[patient].add(str(dcmread(path, stop_before_pixels=True).SOPInstanceUID))
    analyse([tmp_path / "in"], tmp_path / "out", tiny)
    reports = [references(path) for path in sorted((tmp_path / "out").glob("SR_*.dcm"))]
    assert {patient for patient, _, _ in reports} == set(studies)
    for patient, study, referenced in reports:
        assert study == studies[patient]
        assert referenced == images[patient]


def test_two_views_in_one_series_make_one_report_of_the_worse(tmp_path: Path, tiny: Model) -> None:
    study, series = generate_uid(), generate_uid()
    for name, bright in (("ap.dcm", 0.2), ("lat.dcm", 0.8)):
        make(tmp_path / "in" / name, bright, sop_class=DX, study_uid=study, series_uid=series)
    results = analyse([tmp_path / "in"], tmp_path / "out", tiny)
    (report,) = (tmp_path / "out").glob("SR_*.dcm")
    (conclusion,) = results.studies
    assert conclusion.sr_path == report.name
    assert conclusion.decision == "positive"
    assert references(report)[2] == {image.sop_instance_uid for image in results.images}


def test_a_study_of_two_patients_gets_no_report(menagerie: Menagerie) -> None:
    source, out, _ = menagerie
    uid = dcmread(source / "patient_1.dcm").StudyInstanceUID
    (study,) = [study for study in result(out)["studies"] if study["study_instance_uid"] == uid]
    assert (study["status"], study["sr_path"]) == ("failed", None)
    assert study["probability"] is study["decision"] is None
    assert uid not in {dcmread(path).StudyInstanceUID for path in out.glob("SR_*.dcm")}


def test_reports_and_studies_refer_to_each_other(menagerie: Menagerie) -> None:
    _, out, _ = menagerie
    named = {
        study["sr_path"]: study["study_instance_uid"] for study in result(out)["studies"] if study["sr_path"]
    }
    written = {path.name: dcmread(path).StudyInstanceUID for path in out.glob("SR_*.dcm")}
    assert named == written


def test_an_answer_always_has_a_report(menagerie: Menagerie) -> None:
    """An analysed image that no report can refer to (no_series.dcm) is failed, and its overlay withdrawn."""
    source, out, _ = menagerie
    reported = {study["study_instance_uid"] for study in result(out)["studies"] if study["sr_path"]}
    for image in result(out)["images"]:
        assert image["status"] != "analysed" or image["study_instance_uid"] in reported
    sop = dcmread(source / "no_series.dcm").SOPInstanceUID
    assert sop not in (out / "index.html").read_text()
    assert not list(out.glob(f"*{sop}*"))


def test_one_failed_image_does_not_take_the_others_along(tmp_path: Path, tiny: Model) -> None:
    study = generate_uid()
    make(tmp_path / "in" / "good.dcm", 0.2, study_uid=study)
    bad = make(tmp_path / "in" / "bad.dcm", 0.2, study_uid=study)
    bad.write_bytes(bad.read_bytes()[:-500])
    results = analyse([tmp_path / "in"], tmp_path / "out", tiny)
    assert outcomes(tmp_path / "out") == {"good.dcm": "negative", "bad.dcm": "truncated_file"}
    (conclusion,) = results.studies
    assert conclusion.status == "partially_analysed"
    assert conclusion.decision == "indeterminate"  # nobody has looked at the other image
    assert conclusion.sr_path is not None


def test_reports_pass_the_validator(menagerie: Menagerie) -> None:
    source, out, _ = menagerie
    studies = {dcmread(source / name).StudyInstanceUID for name in ("positive.dcm", "untagged_leg.dcm")}
    reports = [path for path in out.glob("SR_*.dcm") if dcmread(path).StudyInstanceUID in studies]
    assert len(reports) == 2
    for report in reports:
        assert dciodvfy(report).errors == []


def test_the_region_is_as_fine_as_header_and_image_tell(menagerie: Menagerie) -> None:
    """The header of untagged_leg.dcm says "extremity", the image a leg: the report says lower limb."""
    source, out, _ = menagerie
    texts = {}
    for path in out.glob("SR_*.dcm"):
        report = dcmread(path)
        texts[report.StudyInstanceUID] = report.to_json()
    assert "Lower limb" in texts[dcmread(source / "untagged_leg.dcm").StudyInstanceUID]
    assert '"Hand"' in texts[dcmread(source / "positive.dcm").StudyInstanceUID]


def test_body_part_says_where_it_comes_from(menagerie: Menagerie) -> None:
    _, out, _ = menagerie
    parts = {Path(image["path"]).name: image["body_part"] for image in result(out)["images"]}
    assert (parts["positive.dcm"]["value"], parts["positive.dcm"]["source"]) == ("hand", "dicom")
    assert (parts["untagged_leg.dcm"]["value"], parts["untagged_leg.dcm"]["source"]) == ("leg", "image")
    assert parts["chest.dcm"] == {"value": "CHEST", "source": "dicom", "confidence": None}
    assert parts["untagged_shoulder.dcm"]["value"] == "shoulder"
    assert parts["unclear.dcm"] is None
