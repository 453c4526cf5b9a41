"""Files to results: the numbers, the memory, and where results go."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest
from analyses import bone_ssl
from dicom_factory import make_radiograph
from menagerie import make
from pydicom import Dataset, dcmread
from tiny_model import draw

from monai_bone_ssl.dicom.collect import Source
from monai_bone_ssl.errors import ConfigError, ReasonCode, ReportError
from monai_bone_ssl.model.inference import Model
from monai_bone_ssl.notes import NoteCode
from monai_bone_ssl.pipeline import analyse
from monai_bone_ssl.shown_image import show_image


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
    low = pixels[pixels > pixels.min()].min()  # the lowest value is taken for padding
    shown = np.clip((pixels - float(low)) / float(pixels.max() - low), 0, 1)
    assert image.probability == pytest.approx(1 / (1 + np.exp(-(16 * shown.mean() - 6.4))), abs=1e-5)


def collimate(dataset: Dataset) -> None:
    """Rows 17 to 64."""
    dataset.CollimatorShape = "RECTANGULAR"
    dataset.CollimatorUpperHorizontalEdge, dataset.CollimatorLowerHorizontalEdge = 17, 64
    dataset.CollimatorLeftVerticalEdge, dataset.CollimatorRightVerticalEdge = 1, 64


def test_what_lies_outside_the_collimator_is_not_analysed_and_said(tmp_path: Path, tiny: Model) -> None:
    """The same answer whatever stands there, and a note of how much it is."""
    answers = []
    for level in (0, 4095):
        pixels = draw(0.5)
        pixels[:16] = level
        path = make_radiograph(tmp_path / f"{level}.dcm", pixels, edit=collimate)
        (image,) = analyse([path], tmp_path / f"out{level}", tiny).images
        assert [note.code for note in image.notes] == [NoteCode.OUTSIDE_EXPOSED_FIELD]
        assert "25%" in image.notes[0].text
        answers.append(image.probability)
    assert answers[0] == pytest.approx(answers[1], abs=1e-3)


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
    """Largest resident set of a process. Eight images more, held as float32, would be 75 MB more."""
    pixels = np.kron(draw(0.5), np.ones((24, 24), np.uint16))
    for number in range(12):
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
