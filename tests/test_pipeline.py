"""Files to results: one entry for every file whatever it is, and reports that never mix."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import highdicom.sr
import msgspec
import numpy as np
import pytest
from analyses import bone_ssl, outcomes, result, strict_json
from dicom_factory import DX, DX_RAW, limb_pixels, make_radiograph
from pydicom import Dataset, dcmread
from pydicom.uid import generate_uid
from pydicom_files import READABLE, pydicom_files, pydicom_roots, real_radiograph
from tiny_model import checkerboard, draw
from validators import dciodvfy

from monai_bone_ssl.collect import Source
from monai_bone_ssl.errors import ConfigError, ReasonCode, ReportError
from monai_bone_ssl.model import Model
from monai_bone_ssl.pipeline import analyse
from monai_bone_ssl.radiograph import read_header
from monai_bone_ssl.shown_image import show_image

NAME, PATIENT_ID, BIRTH_DATE = "Geheimrat^Zacharias", "PRIVATE-4711", "19610203"


def make(
    path: Path, bright: float = 0.5, part: str | None = "hand", body_part: str = "HAND", **more: Any
) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    more = {"patient_id": PATIENT_ID, "patient_name": NAME} | more
    inner = more.pop("edit", None)

    def edit(dataset: Dataset) -> None:
        dataset.PatientBirthDate = BIRTH_DATE
        if inner is not None:
            inner(dataset)

    seed = sum(path.name.encode(errors="surrogateescape"))
    return make_radiograph(path, draw(bright, part, seed=seed), body_part=body_part, edit=edit, **more)


def _colour(dataset: Dataset) -> None:
    dataset.SamplesPerPixel, dataset.PhotometricInterpretation, dataset.PlanarConfiguration = 3, "RGB", 0


def _frames(dataset: Dataset) -> None:
    dataset.NumberOfFrames = 2


def _no_pixels(dataset: Dataset) -> None:
    del dataset.PixelData


def _no_series(dataset: Dataset) -> None:
    del dataset.SeriesInstanceUID


def _no_instance(dataset: Dataset) -> None:
    del dataset.SOPInstanceUID


#: File -> decision or reason code, of the folder that ``menagerie`` fills.
EXPECTED = {
    "negative.dcm": "negative",
    "indeterminate.dcm": "indeterminate",
    "positive.dcm": "positive",
    "untagged_leg.dcm": "positive",
    "dx.dcm": "positive",
    "inverse.dcm": "negative",
    "na\N{REPLACEMENT CHARACTER}me.dcm": "negative",
    "chest.dcm": "body_part_not_covered",
    "hip.dcm": "body_part_not_covered",
    "untagged_shoulder.dcm": "body_part_not_covered",
    "unclear.dcm": "body_part_uncertain",
    "conflict.dcm": "body_part_conflict",
    "unlike.dcm": "out_of_distribution",
    "colour.dcm": "colour",
    "frames.dcm": "multi_frame",
    "raw.dcm": "not_for_presentation",
    "no_pixels.dcm": "missing_pixel_data",
    "cut_pixels.dcm": "truncated_file",
    "cut_header.dcm": "truncated_file",
    "small.dcm": "image_too_small",
    "blank.dcm": "blank_image",
    "no_instance.dcm": "missing_identifier",
    "no_series.dcm": "missing_identifier",
    "notes.txt": "not_dicom",
    "empty": "not_dicom",
    "report.dcm": "unsupported_sop_class",
    "copy.dcm": "duplicate_instance",
    "link.dcm": "duplicate_instance",
    "reused_uid_1.dcm": "conflicting_instance",
    "reused_uid_2.dcm": "conflicting_instance",
    "patient_1.dcm": "conflicting_patient",
    "patient_2.dcm": "conflicting_patient",
    "broken_link": "unreadable_file",
    "pipe": "unreadable_file",
    "loop": "directory_loop",
}
NOT_ANALYSED = {
    "body_part_not_covered", "body_part_uncertain", "body_part_conflict", "out_of_distribution", "colour",
    "multi_frame", "not_for_presentation", "missing_pixel_data", "image_too_small", "blank_image",
    "not_dicom", "unsupported_sop_class", "duplicate_instance", "directory_loop",
}  # fmt: skip


def fill(folder: Path, model: Model) -> None:
    make(folder / "negative.dcm", 0.2)
    make(folder / "indeterminate.dcm", 0.5)
    make(folder / "positive.dcm", 0.8)
    make(folder / "untagged_leg.dcm", 0.8, "leg", body_part="EXTREMITY")
    make(folder / "dx.dcm", 0.8, sop_class=DX)
    inverse = draw(0.2)
    make_radiograph(folder / "inverse.dcm", inverse.max() - inverse, photometric="MONOCHROME1")
    make(Path(os.fsdecode(os.fsencode(folder) + b"/na\xffme.dcm")), 0.2)
    make(folder / "chest.dcm", body_part="CHEST")
    make(folder / "hip.dcm", body_part="PELVIS")
    make(folder / "untagged_shoulder.dcm", 0.5, "shoulder", body_part="")
    make(folder / "unclear.dcm", 0.5, None, body_part="")
    make(folder / "conflict.dcm", 0.5, "leg")
    make_radiograph(folder / "unlike.dcm", checkerboard())
    make(folder / "colour.dcm", edit=_colour)
    make(folder / "frames.dcm", edit=_frames)
    make(folder / "raw.dcm", sop_class=DX_RAW)
    make(folder / "no_pixels.dcm", edit=_no_pixels)
    for name, after in (("cut_pixels.dcm", b"\xe0\x7f\x10\x00"), ("cut_header.dcm", b"\x02\x00\x00\x00")):
        whole = make(folder / name).read_bytes()
        (folder / name).write_bytes(whole[: whole.index(after) + 200])
    make_radiograph(folder / "small.dcm", limb_pixels(32, 64))
    make_radiograph(folder / "blank.dcm", np.full((64, 64), 100, np.uint16), bits_stored=12)
    make(folder / "no_instance.dcm", edit=_no_instance)
    make(folder / "no_series.dcm", 0.8, edit=_no_series)
    (folder / "notes.txt").write_text("Not an image.\n" * 20)
    (folder / "empty").touch()
    first = make(folder / "deep" / "er" / "original.dcm", 0.2)
    (folder / "copy.dcm").write_bytes(first.read_bytes())
    first.rename(folder / "copied.dcm")
    (folder / "link.dcm").symlink_to("copied.dcm")
    sop, study = generate_uid(), generate_uid()
    make(folder / "reused_uid_1.dcm", sop_uid=sop)
    make(folder / "reused_uid_2.dcm", sop_uid=sop)
    make(folder / "patient_1.dcm", 0.8, study_uid=study)
    make(folder / "patient_2.dcm", 0.8, study_uid=study, patient_id="ANOTHER")
    (folder / "broken_link").symlink_to("nowhere")
    (folder / "loop").symlink_to(".")
    os.mkfifo(folder / "pipe")
    scratch = folder.parent / "scratch"
    analyse([folder / "positive.dcm"], scratch, model)
    (report,) = scratch.glob("SR_*.dcm")
    report.rename(folder / "report.dcm")


@pytest.fixture(scope="module")
def menagerie(
    tmp_path_factory: pytest.TempPathFactory, tiny: Model, tiny_folder: Path
) -> tuple[Path, Path, Any]:
    """Input folder, output folder and the finished process: every kind of good and bad file in one run."""
    base = tmp_path_factory.mktemp("menagerie")
    fill(base / "in", tiny)
    run = bone_ssl("analyze", base / "in", "-o", base / "in" / "out", "--model", tiny_folder)
    return base / "in", base / "in" / "out", run


# --- every file, once ---------------------------------------------------------------------------------------


def test_every_file_has_one_entry_with_its_answer_or_reason(menagerie: tuple[Path, Path, Any]) -> None:
    _, out, run = menagerie
    assert run.code == 4, run.stderr
    # copied.dcm sorts before copy.dcm and link.dcm.
    assert outcomes(out) == EXPECTED | {"copied.dcm": "negative"}


def test_entries_of_files_under_the_folder_of_results_are_left_out(menagerie: tuple[Path, Path, Any]) -> None:
    _, out, _ = menagerie
    assert not [image for image in result(out)["images"] if Path(image["path"]).is_relative_to(out)]


def test_status_follows_from_the_reason_and_every_reason_has_words(menagerie: tuple[Path, Path, Any]) -> None:
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


def test_keys_are_those_of_the_contract(menagerie: tuple[Path, Path, Any]) -> None:
    """DESIGN.md C3, in its order."""
    _, out, _ = menagerie
    content = result(out)
    assert list(content) == ["schema_version", "model", "software", "images", "studies"]
    assert list(content["model"]) == ["name", "version", "sha256"]
    assert list(content["software"]) == ["name", "version"]
    image_keys = ["path", "sop_instance_uid", "study_instance_uid", "status", "reason", "body_part",
                  "probability", "decision", "peak", "seconds"]  # fmt: skip
    for image in content["images"]:
        assert list(image) == image_keys
        for key, inner in (
            ("reason", ["code", "text"]),
            ("body_part", ["value", "source", "confidence"]),
            ("peak", ["row", "column"]),
        ):
            assert image[key] is None or list(image[key]) == inner
    for study in content["studies"]:
        assert list(study) == ["study_instance_uid", "status", "probability", "decision", "sr_path"]


def test_every_analysed_image_has_an_overlay_and_no_other(menagerie: tuple[Path, Path, Any]) -> None:
    _, out, _ = menagerie
    analysed = [image for image in result(out)["images"] if image["status"] == "analysed"]
    overlays = {f"overlay_{image['sop_instance_uid']}.png" for image in analysed}
    assert {path.name for path in out.glob("*.png")} == overlays
    page = (out / "index.html").read_text()
    assert all(name in page for name in overlays)


def test_no_patient_data_outside_the_reports(menagerie: tuple[Path, Path, Any]) -> None:
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


def test_overlays_do_not_depend_on_the_patient(tmp_path: Path, tiny: Model) -> None:
    pictures = []
    for patient in ("A", "B"):
        sop = "1.2.826.0.1.3680043.8.498.1"
        path = make_radiograph(
            tmp_path / "in.dcm", draw(0.8), sop_uid=sop, patient_id=patient, patient_name=f"{patient}^X"
        )
        analyse([path], tmp_path / patient, tiny)
        pictures.append(next((tmp_path / patient).glob("*.png")).read_bytes())
    assert pictures[0] == pictures[1]


def test_the_table_and_the_bar_keep_apart(menagerie: tuple[Path, Path, Any]) -> None:
    _, out, run = menagerie
    table = run.stdout.decode()
    assert "analysing" in run.stderr
    assert "analysing" not in table
    assert "%|" not in table
    analysed = sum(image["status"] == "analysed" for image in result(out)["images"])
    assert f"{analysed} of {len(EXPECTED) + 1} images analysed" in table


# --- studies and reports ------------------------------------------------------------------------------------


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


def test_a_study_of_two_patients_gets_no_report(menagerie: tuple[Path, Path, Any]) -> None:
    source, out, _ = menagerie
    uid = dcmread(source / "patient_1.dcm").StudyInstanceUID
    (study,) = [study for study in result(out)["studies"] if study["study_instance_uid"] == uid]
    assert study == {
        "study_instance_uid": uid, "status": "failed", "probability": None, "decision": None, "sr_path": None,
    }  # fmt: skip
    assert uid not in {dcmread(path).StudyInstanceUID for path in out.glob("SR_*.dcm")}


def test_reports_and_studies_refer_to_each_other(menagerie: tuple[Path, Path, Any]) -> None:
    _, out, _ = menagerie
    named = {
        study["sr_path"]: study["study_instance_uid"] for study in result(out)["studies"] if study["sr_path"]
    }
    written = {path.name: dcmread(path).StudyInstanceUID for path in out.glob("SR_*.dcm")}
    assert named == written


def test_an_answer_always_has_a_report(menagerie: tuple[Path, Path, Any]) -> None:
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


def test_reports_pass_the_validator(menagerie: tuple[Path, Path, Any]) -> None:
    source, out, _ = menagerie
    studies = {dcmread(source / name).StudyInstanceUID for name in ("positive.dcm", "untagged_leg.dcm")}
    reports = [path for path in out.glob("SR_*.dcm") if dcmread(path).StudyInstanceUID in studies]
    assert len(reports) == 2
    for report in reports:
        assert dciodvfy(report).errors == []


def test_the_region_is_as_fine_as_header_and_image_tell(menagerie: tuple[Path, Path, Any]) -> None:
    """The header of untagged_leg.dcm says "extremity", the image a leg: the report says lower limb."""
    source, out, _ = menagerie
    texts = {}
    for path in out.glob("SR_*.dcm"):
        report = dcmread(path)
        texts[report.StudyInstanceUID] = report.to_json()
    assert "Lower limb" in texts[dcmread(source / "untagged_leg.dcm").StudyInstanceUID]
    assert '"Hand"' in texts[dcmread(source / "positive.dcm").StudyInstanceUID]


def test_body_part_says_where_it_comes_from(menagerie: tuple[Path, Path, Any]) -> None:
    _, out, _ = menagerie
    parts = {Path(image["path"]).name: image["body_part"] for image in result(out)["images"]}
    assert (parts["positive.dcm"]["value"], parts["positive.dcm"]["source"]) == ("hand", "dicom")
    assert (parts["untagged_leg.dcm"]["value"], parts["untagged_leg.dcm"]["source"]) == ("leg", "image")
    assert parts["chest.dcm"] == {"value": "CHEST", "source": "dicom", "confidence": None}
    assert parts["untagged_shoulder.dcm"]["value"] == "shoulder"
    assert parts["unclear.dcm"] is None


# --- numbers ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("peak", [(2, 5), (6, 1)])
@pytest.mark.parametrize("scale", [1, 3])
def test_peak_is_the_centre_of_the_brightest_patch_in_source_pixels(
    peak: tuple[int, int], scale: int, tmp_path: Path, tiny: Model
) -> None:
    pixels = np.kron(draw(0.3, peak=peak), np.ones((scale, scale), np.uint16))
    path = make_radiograph(tmp_path / "in.dcm", pixels)
    (image,) = analyse([path], tmp_path / "out", tiny).images
    assert image.peak is not None
    assert (image.peak.row, image.peak.column) == tuple((8 * i + 4) * scale for i in peak)


def test_peak_in_an_image_that_is_not_square(tmp_path: Path, tiny: Model) -> None:
    pixels = draw(0.3, None, peak=(2, 5))[:, 16:]
    pixels[-8:, :8] = 0  # or its new corner would show a hip
    path = make_radiograph(tmp_path / "in.dcm", np.kron(pixels, np.ones((2, 2), np.uint16)))
    (image,) = analyse([path], tmp_path / "out", tiny).images
    assert image.peak is not None
    assert (image.peak.row, image.peak.column) == (40, 56)


def test_probability_is_that_of_the_network_on_the_displayed_pixels(tmp_path: Path, tiny: Model) -> None:
    """Worked out from the stored values: full range to [0, 1], patch means, sigmoid."""
    pixels = draw(0.5)
    path = make_radiograph(tmp_path / "in.dcm", pixels)
    (image,) = analyse([path], tmp_path / "out", tiny).images
    shown = (pixels - pixels.min()) / float(pixels.max() - pixels.min())
    assert image.probability == pytest.approx(1 / (1 + np.exp(-(16 * shown.mean() - 6.4))), abs=1e-5)


def test_a_second_run_gives_the_same_however_many_images_at_once(tmp_path: Path, tiny_folder: Path) -> None:
    for number, bright in enumerate(np.linspace(0.2, 0.8, 12)):
        make(tmp_path / "in" / f"{number}.dcm", bright)
    runs = []
    for at_once in (1, 1, 4):
        out = tmp_path / f"out{len(runs)}"
        results = analyse([tmp_path / "in"], out, Model(tiny_folder), at_once=at_once)
        images = [msgspec.structs.replace(image, seconds=0.0) for image in results.images]
        reports = {dcmread(path).SOPInstanceUID for path in out.glob("SR_*.dcm")}
        pictures = {path.name: path.read_bytes() for path in out.glob("*.png")}
        runs.append((images, results.studies, reports, pictures))
    assert runs[0] == runs[1] == runs[2]
    assert len(runs[0][2]) == 12


@pytest.mark.parametrize("at_once", [1, 3])
def test_a_full_disk_ends_the_run_before_the_other_images(
    at_once: int, tmp_path: Path, tiny: Model, monkeypatch: pytest.MonkeyPatch
) -> None:
    for number in range(40):
        make(tmp_path / "in" / f"{number:02}.dcm")
    shown = []

    def show(source: Source, *rest: Any) -> Any:
        shown.append(source.path.name)
        if source.path.name == "02.dcm":
            raise ReportError(ReasonCode.WRITE_FAILED, "no space")
        return show_image(source, *rest)

    monkeypatch.setattr("monai_bone_ssl.pipeline.show_image", show)
    with pytest.raises(ReportError, match="no space"):
        analyse([tmp_path / "in"], tmp_path / "out", tiny, at_once=at_once)
    assert len(shown) < 20
    assert not (tmp_path / "out" / "result.json").exists()


def test_memory_does_not_grow_with_the_number_of_files(tmp_path: Path, tiny_folder: Path) -> None:
    """Largest resident set of a process. Twelve images more, held as float32, would be 108 MB more."""
    pixels = np.kron(draw(0.5), np.ones((24, 24), np.uint16))
    for number in range(16):
        folder = tmp_path / "in" / ("few" if number < 4 else "many")
        folder.mkdir(parents=True, exist_ok=True)
        make_radiograph(folder / f"{number}.dcm", pixels)
    prelude = (
        "import atexit, resource, sys\n"
        "atexit.register(lambda: print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, file=sys.stderr))"
    )
    kilobytes = []
    for name in ("in/few", "in"):
        out = tmp_path / "out" / name
        run = bone_ssl("analyze", tmp_path / name, "-o", out, "--model", tiny_folder, prelude=prelude)
        assert run.code == 0
        kilobytes.append(int(run.stderr.split()[-1]))
    assert kilobytes[1] - kilobytes[0] < 30_000


# --- where results go ---------------------------------------------------------------------------------------


def test_the_input_itself_is_no_place_for_results(tmp_path: Path, tiny: Model) -> None:
    make(tmp_path / "in" / "a.dcm")
    (tmp_path / "link").symlink_to("in")
    with pytest.raises(ConfigError) as refused:
        analyse([tmp_path / "in"], tmp_path / "link", tiny)
    assert refused.value.code is ReasonCode.INVALID_CONFIG
    assert [path.name for path in (tmp_path / "in").iterdir()] == ["a.dcm"]


def test_results_inside_the_input_are_not_read_the_second_time(tmp_path: Path, tiny: Model) -> None:
    make(tmp_path / "a.dcm")
    first = analyse([tmp_path], tmp_path / "out", tiny)
    second = analyse([tmp_path], tmp_path / "out", tiny)
    assert [i.path for i in first.images] == [i.path for i in second.images] == [str(tmp_path / "a.dcm")]


@pytest.mark.parametrize("out", ["file", "file/below"])
def test_a_file_is_no_folder_for_results(out: str, tmp_path: Path, tiny: Model) -> None:
    make(tmp_path / "a.dcm")
    (tmp_path / "file").write_text("keep me")
    with pytest.raises(ReportError) as refused:
        analyse([tmp_path / "a.dcm"], tmp_path / out, tiny)
    assert refused.value.code is ReasonCode.WRITE_FAILED
    assert (tmp_path / "file").read_text() == "keep me"


# --- pydicom's own files ------------------------------------------------------------------------------------

_OVERRIDES = {"duplicate_instance", "conflicting_instance", "conflicting_patient"}


def test_all_files_of_pydicom_in_one_run(tmp_path: Path, tiny: Model) -> None:
    """Each has its entry and its reason; beside each other, copies and reused UIDs are found as well."""
    files = {path: (name, expected) for name, path, expected in pydicom_files()}
    results = analyse(pydicom_roots(), tmp_path / "out", tiny)
    assert len({image.path for image in results.images}) == len(results.images)
    entries = {Path(image.path): image for image in results.images if Path(image.path) in files}
    assert set(entries) == set(files)
    strict_json((tmp_path / "out" / "result.json").read_bytes())
    wrong = []
    for path, image in entries.items():
        name, expected = files[path]
        code = image.reason.code.value if image.reason else "analysed"
        if code in _OVERRIDES:
            assert _has_rival(image, results.images, code), name
        elif expected == READABLE:
            allowed = (
                {"body_part_not_covered"} if name.startswith("RG1") else {"analysed", "body_part_uncertain"}
            )
            wrong += [(name, code)] if code not in allowed else []
        elif code != expected:
            wrong.append((name, code, expected))
    assert not wrong


def _has_rival(image: Any, images: Any, code: str) -> bool:
    """Whether another file in the run explains the refusal, as pydicom alone reads both."""
    key = "study_instance_uid" if code == "conflicting_patient" else "sop_instance_uid"
    rivals = [i for i in images if getattr(i, key) == getattr(image, key) and i.path != image.path]
    if code != "conflicting_patient":
        same = [Path(rival.path).read_bytes() == Path(image.path).read_bytes() for rival in rivals]
        return any(same) if code == "duplicate_instance" else not all(same)
    patients = {_patient(Path(i.path)) for i in [image, *rivals]}
    return len(patients) > 1


def _patient(path: Path) -> tuple[str, ...]:
    header = read_header(path)
    return tuple(
        str(header.get(k, "")) for k in ("PatientID", "IssuerOfPatientID", "PatientName", "PatientBirthDate")
    )


def test_chest_and_tibia_of_pydicom_one_by_one(tmp_path: Path, tiny: Model) -> None:
    names = [f"{body}_{kind}.dcm" for body in ("RG1", "RG3") for kind in ("UNCR", "J2KR")]
    codes = []
    for name in names:
        (image,) = analyse([real_radiograph(name)], tmp_path / name, tiny).images
        codes.append(image.reason and image.reason.code)
    assert codes[:2] == [ReasonCode.BODY_PART_NOT_COVERED] * 2
    assert codes[2] == codes[3]  # lossless compression changes nothing
    assert codes[2] in (None, ReasonCode.BODY_PART_UNCERTAIN, ReasonCode.BODY_PART_NOT_COVERED)
