"""Every file has one entry in result.json whatever it is, and patient data stay in the reports."""

from __future__ import annotations

from pathlib import Path

from analyses import outcomes, result
from menagerie import BIRTH_DATE, EXPECTED, NOT_ANALYSED, PATIENT_ID, Menagerie


def test_every_file_has_one_entry_with_its_answer_or_reason(menagerie: Menagerie) -> None:
    _, out, run = menagerie
    assert run.code == 4, run.stderr
    # copied.dcm sorts before copy.dcm and link.dcm.
    assert outcomes(out) == EXPECTED | {"copied.dcm": "negative"}


def test_status_follows_from_the_reason_and_every_reason_has_words(menagerie: Menagerie) -> None:
    _, out, _ = menagerie
    for image in result(out)["images"]:
        if image["reason"] is None:
            assert image["status"] == "analysed"
            continue
        code = image["reason"]["code"]
        assert image["status"] == ("not_analysed" if code in NOT_ANALYSED else "failed"), image
        assert len(image["reason"]["text"]) > 10
        assert image["reason"]["text"].isprintable()
        assert image["probability"] is image["decision"] is image["peak"] is None


def test_keys_are_those_of_the_contract(menagerie: Menagerie) -> None:
    """Contract C3, in its order."""
    _, out, _ = menagerie
    content = result(out)
    assert list(content) == ["schema_version", "model", "software", "images", "studies"]
    assert list(content["model"]) == ["name", "version", "sha256"]
    assert list(content["software"]) == ["name", "version"]
    image_keys = ["path", "sop_instance_uid", "study_instance_uid", "status", "reason", "body_part",
                  "probability", "decision", "peak", "regions", "notes", "seconds"]  # fmt: skip
    for image in content["images"]:
        assert list(image) == image_keys
        for key, inner in (
            ("reason", ["code", "text"]),
            ("body_part", ["value", "source", "confidence"]),
            ("peak", ["row", "column"]),
        ):
            assert image[key] is None or list(image[key]) == inner
    for study in content["studies"]:
        keys = ["study_instance_uid", "status", "probability", "decision", "unread_files", "sr_path"]
        assert list(study) == keys


def test_every_analysed_image_has_an_overlay_and_no_other(menagerie: Menagerie) -> None:
    _, out, _ = menagerie
    analysed = [image for image in result(out)["images"] if image["status"] == "analysed"]
    overlays = {f"overlay_{image['sop_instance_uid']}.png" for image in analysed}
    assert {path.name for path in out.glob("*.png")} == overlays
    page = (out / "index.html").read_text()
    assert all(name in page for name in overlays)


def test_no_patient_data_outside_the_reports(menagerie: Menagerie) -> None:
    _, out, run = menagerie
    readable = {path.name: path.read_bytes() for path in out.iterdir() if path.suffix != ".dcm"}
    assert {Path(name).suffix for name in readable} == {".json", ".png", ".html"}
    readable |= {"stdout": run.stdout, "stderr": run.stderr.encode()}
    secrets = ("Geheimrat", "Zacharias", PATIENT_ID, "ANOTHER", "Testperson", "TEST-0001", BIRTH_DATE,
               "1961-02-03", "03.02.1961", "19700101")  # fmt: skip
    found = {
        (name, secret) for name, data in readable.items() for secret in secrets if secret.encode() in data
    }
    assert not found
    reports = [path.read_bytes() for path in out.glob("SR_*.dcm")]
    assert any(b"Geheimrat" in data for data in reports), "the search finds what is there"


def test_the_table_and_the_bar_keep_apart(menagerie: Menagerie) -> None:
    _, out, run = menagerie
    table = run.stdout.decode()
    assert "analysing" in run.stderr
    assert "analysing" not in table
    assert "%|" not in table
    images = result(out)["images"]
    analysed = sum(image["status"] == "analysed" for image in images)
    others = sum(
        image["status"] != "analysed"
        and image["reason"]["code"] in ("not_dicom", "unsupported_sop_class", "duplicate_instance")
        for image in images
    )
    assert len(images) == len(EXPECTED) + 1
    assert f"{analysed} of {len(images) - others} images analysed, {others} other files, " in table
