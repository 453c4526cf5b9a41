"""The command line as a process: exit codes, one line for a fault, JSON that is the file's."""

from __future__ import annotations

import json
import resource
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from analyses import ROOT, Run, bone_ssl, outcomes, strict_json
from dicom_factory import make_radiograph
from PIL import Image
from pydicom import dcmread
from tiny_model import draw

from monai_bone_ssl.cli import main


@pytest.fixture
def image(tmp_path: Path) -> Path:
    (tmp_path / "in").mkdir()
    return make_radiograph(tmp_path / "in" / "image.dcm", draw(0.8))


def one_line(run: Run) -> str:
    """The only line on standard error; nothing else was printed."""
    assert run.stdout == b""
    assert "Traceback" not in run.stderr
    (line,) = run.stderr.splitlines()
    assert line.startswith("bone-ssl: ")
    return line


# --- exit codes ---------------------------------------------------------------------------------------------


def test_0_where_every_image_is_analysed(image: Path, tmp_path: Path, tiny_folder: Path) -> None:
    run = bone_ssl("analyze", image, "-o", tmp_path / "out", "--model", tiny_folder)
    assert run.code == 0
    assert run.stderr == ""
    table = run.stdout.decode()
    for words in (
        "image.dcm",
        "hand (from the header, confidence ",
        "Suspected fracture",
        "1 of 1 image analysed, 1 study, 1 report (DICOM SR)",
    ):
        assert words in table
    for pattern in ("result.json", "index.html", "SR_*.dcm", "overlay_*.png"):
        assert len(list((tmp_path / "out").glob(pattern))) == 1


@pytest.mark.parametrize(
    ("files", "code"),
    [
        ({"good": b"", "text": b"no image"}, 4),
        ({"text": b"no image"}, 3),
        ({"cut": b"\0" * 128 + b"DICM"}, 4),
        ({"text": b"no image", "cut": b"\0" * 128 + b"DICM"}, 4),
    ],
    ids=["some", "nothing eligible", "failed", "nothing eligible and failed"],
)
def test_3_and_4(
    files: dict[str, bytes], code: int, tmp_path: Path, tiny_folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "in"
    folder.mkdir()
    for name, content in files.items():
        (folder / name).write_bytes(content)
        if name == "good":
            make_radiograph(folder / name, draw(0.8))
    assert main(["analyze", str(folder), "-o", str(tmp_path / "out"), "--model", str(tiny_folder)]) == code
    assert set(outcomes(tmp_path / "out")) == set(files)
    assert all(name in capsys.readouterr().out for name in list(files)[:1])


@pytest.mark.parametrize("json_flag", [[], ["--json"]])
def test_an_empty_folder_is_one_line_and_3(json_flag: list[str], tmp_path: Path, tiny_folder: Path) -> None:
    (tmp_path / "in").mkdir()
    out = tmp_path / "out"
    run = bone_ssl("analyze", tmp_path / "in", "-o", out, "--model", tiny_folder, *json_flag)
    assert run.code == 3
    assert run.stderr == "bone-ssl: no file in the input: expected DICOM files\n"
    assert strict_json((out / "result.json").read_bytes())["images"] == []
    assert run.stdout == ((out / "result.json").read_bytes() if json_flag else b"")


@pytest.mark.parametrize("name", ["missing", "x" * 5000, "file/below"])
def test_a_path_that_is_not_there_is_wrong_usage(name: str, tmp_path: Path, tiny_folder: Path) -> None:
    (tmp_path / "file").touch()
    run = bone_ssl("analyze", tmp_path / name, "-o", tmp_path / "out", "--model", tiny_folder)
    assert run.code == 2
    assert run.stderr.splitlines()[-1].endswith("no such file or folder")
    assert "Traceback" not in run.stderr
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("arguments", [[], ["analyze"], ["analyze", "."], ["analyse", ".", "-o", "out"]])
def test_wrong_usage_is_2(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stopped:
        main(arguments)
    assert stopped.value.code == 2
    assert "usage: bone-ssl" in capsys.readouterr().err


def test_results_in_the_input_itself_are_wrong_usage(image: Path, tiny_folder: Path) -> None:
    run = bone_ssl("analyze", image.parent, "-o", image.parent, "--model", tiny_folder)
    assert run.code == 2
    assert "is an input itself" in one_line(run)
    assert list(image.parent.iterdir()) == [image]


@pytest.mark.parametrize("arguments", [["--help"], ["analyze", "--help"], ["fit", "--help"], ["--version"]])
def test_help_is_there(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stopped:
        main(arguments)
    assert stopped.value.code == 0
    assert capsys.readouterr().out


# --- output -------------------------------------------------------------------------------------------------


def test_json_prints_exactly_the_file(image: Path, tmp_path: Path, tiny_folder: Path) -> None:
    for number in range(5):
        make_radiograph(image.parent / f"{number}.dcm", draw(0.2))
    run = bone_ssl("analyze", image.parent, "-o", tmp_path / "out", "--model", tiny_folder, "--json")
    assert run.code == 0
    assert run.stdout == (tmp_path / "out" / "result.json").read_bytes()
    assert len(strict_json(run.stdout)["images"]) == 6
    assert "analysing: 100%" in run.stderr


def test_a_terminal_that_knows_only_ascii_gets_escapes(tmp_path: Path, tiny_folder: Path) -> None:
    make_radiograph(tmp_path / "Händchen\x1b[2J.dcm", draw(0.2))
    prelude = "import sys; sys.stdout.reconfigure(encoding='ascii')"
    out = tmp_path / "Größe"
    run = bone_ssl("analyze", tmp_path, "-o", out, "--model", tiny_folder, prelude=prelude)
    assert run.code == 0, run.stderr
    assert run.stdout.isascii()
    assert b"\x1b" not in run.stdout
    assert b"H\\xe4ndchen" in run.stdout


# --- faults -------------------------------------------------------------------------------------------------


def _unknown_key(folder: Path) -> None:
    content = json.loads((folder / "model.json").read_bytes())
    (folder / "model.json").write_text(json.dumps(content | {"extra": 1}))


@pytest.mark.parametrize(
    ("spoil", "words"),
    [
        (shutil.rmtree, "cannot be read"),
        (lambda f: (f / "model.onnx").write_bytes(b"altered"), "sha256"),
        (lambda f: (f / "model.json").write_text("no JSON"), "model.json"),
        (_unknown_key, "extra"),
    ],
    ids=["missing", "wrong hash", "not JSON", "unknown key"],
)
def test_a_model_that_cannot_be_trusted_is_one_line_and_1(
    spoil: Callable[[Path], object], words: str, image: Path, tmp_path: Path, tiny_folder: Path
) -> None:
    folder = shutil.copytree(tiny_folder, tmp_path / "model")
    spoil(folder)
    run = bone_ssl("analyze", image, "-o", tmp_path / "out", "--model", folder)
    assert run.code == 1
    assert words in one_line(run)
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("out", ["file", "file/below", "/proc/nothing/here"])
def test_a_place_that_cannot_be_written_is_one_line_and_1(
    out: str, image: Path, tmp_path: Path, tiny_folder: Path
) -> None:
    (tmp_path / "file").write_text("keep me")
    run = bone_ssl("analyze", image, "-o", tmp_path / out, "--model", tiny_folder)
    assert run.code == 1
    assert str(tmp_path / out) in one_line(run)
    assert (tmp_path / "file").read_text() == "keep me"


@pytest.fixture(scope="module")
def image_and_results(tmp_path_factory: pytest.TempPathFactory, tiny_folder: Path) -> tuple[Path, Path]:
    """A radiograph, and the folder of its results on a disk with room."""
    folder = tmp_path_factory.mktemp("room")
    image = make_radiograph(folder / "image.dcm", draw(0.8))
    assert bone_ssl("analyze", image, "-o", folder / "out", "--model", tiny_folder).code == 0
    return image, folder / "out"


@pytest.mark.parametrize("refused", ["*.dcm", "*.png", "*.html"])
def test_a_full_disk_leaves_no_half_file(
    refused: str, image_and_results: tuple[Path, Path], tmp_path: Path, tiny_folder: Path
) -> None:
    """No file may grow to the size that one of them had on a disk with room."""
    image, results = image_and_results
    sizes = {path.name: path.stat().st_size for path in results.iterdir()}
    limit = next(results.glob(refused)).stat().st_size - 100
    out = tmp_path / "out"
    run = bone_ssl(
        "analyze", image, "-o", out, "--model", tiny_folder,
        before=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit)),
    )  # fmt: skip
    assert run.code == 1
    assert "written" in one_line(run)
    left = {path.name: path.stat().st_size for path in out.iterdir()}
    assert set(left) < set(sizes)
    assert "result.json" not in left
    for path in out.iterdir():
        if path.suffix == ".png":
            Image.open(path).load()
        else:
            assert "Rows" not in dcmread(path)
            assert left[path.name] == sizes[path.name]


# --- folders used again, and runs that are stopped ---------------------------------------------------------


def test_results_of_an_earlier_run_are_set_aside(image: Path, tmp_path: Path, tiny_folder: Path) -> None:
    """A report of an image that is no longer in the input must not lie beside a result.json without it."""
    out = tmp_path / "out"
    assert bone_ssl("analyze", image, "-o", out, "--model", tiny_folder, "--evidence").code == 0
    (out / "notes.txt").write_text("the reader's own")
    first = {path.name: path.read_bytes() for path in out.iterdir() if path.name != "notes.txt"}
    other = tmp_path / "other"
    other.mkdir()
    (other / "text").write_text("no image")
    run = bone_ssl("analyze", other, "-o", out, "--model", tiny_folder)
    assert run.code == 3
    assert run.stderr == f"bone-ssl: results of an earlier run are now in {out / 'earlier_1'}\n"
    assert {path.name: path.read_bytes() for path in (out / "earlier_1").iterdir()} == first
    assert {path.name for path in out.iterdir()} == {"earlier_1", "notes.txt", "result.json", "index.html"}
    assert bone_ssl("analyze", image, "-o", out, "--model", tiny_folder).code == 0
    assert {path.name for path in (out / "earlier_2").iterdir()} == {"result.json", "index.html"}
    assert set(outcomes(out)) == {image.name}


SLOW = """
import time
from monai_bone_ssl.model import preprocessing
from monai_bone_ssl import analysis
def slowly(*arguments):
    time.sleep(0.2)
    return preprocessing.preprocess(*arguments)
analysis.preprocess = slowly
import sys
from monai_bone_ssl.cli import main
sys.exit(main())
"""


@pytest.mark.parametrize("stop", [signal.SIGTERM, signal.SIGINT])
def test_a_run_that_is_stopped_says_one_line(stop: int, tmp_path: Path, tiny_folder: Path) -> None:
    folder, out = tmp_path / "in", tmp_path / "out"
    folder.mkdir()
    for number in range(60):
        make_radiograph(folder / f"{number}.dcm", draw(0.8))
    command = [
        sys.executable,
        "-c",
        SLOW,
        "analyze",
        str(folder),
        "-o",
        str(out),
        "--model",
        str(tiny_folder),
    ]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True, cwd=ROOT) as process:
        deadline = time.monotonic() + 60
        while not list(out.glob("overlay_*.png")) and time.monotonic() < deadline:
            time.sleep(0.05)
        process.send_signal(stop)
        _, errors = process.communicate(timeout=30)
    assert process.returncode == 130
    assert errors.splitlines()[-1].endswith("bone-ssl: stopped")
    assert "Traceback" not in errors
    left = {path.name for path in out.iterdir()}
    assert "result.json" not in left
    assert all(name.endswith((".png", ".dcm")) for name in left), "no half file"
