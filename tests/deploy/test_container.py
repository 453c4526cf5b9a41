"""The image that ``make map`` built, run as a hospital would: no network, nothing to write, no rights."""

from __future__ import annotations

import hashlib
import json
import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path

import pytest
from analyses import ROOT, bone_ssl, outcomes, result
from pydicom_files import real_radiograph
from validators import dciodvfy, pixelmed

from monai_bone_ssl import __version__
from monai_bone_ssl.model.folder import default_model_folder

IMAGE = f"bone-ssl-map:{__version__}"
HARDENED = (
    "--network=none",
    "--read-only",
    "--tmpfs=/tmp",
    "--cap-drop=all",
    "--user=1000:1000",
    "--security-opt=no-new-privileges",
)
# Prints the sha256 of every source file of the package, as JSON.
_LIST_SOURCES = """
import hashlib, json, pathlib, monai_bone_ssl
root = pathlib.Path(monai_bone_ssl.__file__).parent
print(json.dumps({
    path.relative_to(root).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest()
    for path in root.rglob("*.py")
}))
"""
LIMIT_BYTES = 1_200_000_000
# Inside a container podman needs another runtime, which drops limits that nobody may raise there.
ENGINES = (
    ("docker",),
    ("podman",),
    ("podman", "--cgroup-manager=cgroupfs", f"--runtime={Path(__file__).with_name('runc_wrapper')}"),
)

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def engine() -> Sequence[str]:
    """The first container engine that runs the image."""
    for command in ENGINES:
        if shutil.which(command[0]) is None:
            continue
        tried = [*command, "run", "--rm", *HARDENED, IMAGE, "help"]
        if subprocess.run(tried, capture_output=True, check=False).returncode == 0:
            return command
    pytest.skip(f"no docker or podman here runs {IMAGE} (make map builds it)")


def run(engine: Sequence[str], *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([*engine, "run", "--rm", *HARDENED, *arguments], capture_output=True, text=True)


def folders(tmp_path: Path, *names: str) -> tuple[Path, Path]:
    """Input with real radiographs, and output that the container's user may write."""
    given, out = tmp_path / "in", tmp_path / "out"
    given.mkdir()
    out.mkdir()
    for name in names:
        shutil.copy(real_radiograph(name), given)
        (given / name).chmod(0o644)
    given.chmod(0o755)
    out.chmod(0o777)
    return given, out


@pytest.mark.parametrize(
    ("names", "code"),
    [
        (("RG3_UNCR.dcm", "RG3_J2KR.dcm"), 0),
        (("RG1_UNCR.dcm",), 3),
        (("RG1_UNCR.dcm", "RG3_UNCR.dcm"), 4),
        ((), 3),
    ],
)
def test_exit_code_and_answers_are_those_of_the_command_line(
    engine: Sequence[str], tmp_path: Path, names: tuple[str, ...], code: int
) -> None:
    given, out = folders(tmp_path, *names)
    mounts = ("-v", f"{given}:/var/holoscan/input:ro", "-v", f"{out}:/var/holoscan/output")
    ran = run(engine, *mounts, IMAGE)
    assert ran.returncode == code, ran.stderr
    assert bone_ssl("analyze", given, "-o", tmp_path / "line").code == code
    assert outcomes(out) == outcomes(tmp_path / "line")
    probabilities = [
        {Path(image["path"]).name: image["probability"] for image in result(folder)["images"]}
        for folder in (out, tmp_path / "line")
    ]
    assert probabilities[0] == probabilities[1]
    assert {path.name for path in out.glob("SR_*")} == {path.name for path in tmp_path.glob("line/SR_*")}


def test_reports_and_evidence_are_valid(engine: Sequence[str], tmp_path: Path) -> None:
    given, out = folders(tmp_path, "RG3_UNCR.dcm", "RG3_J2KR.dcm", "RG1_UNCR.dcm")
    mounts = ("-v", f"{given}:/var/holoscan/input:ro", "-v", f"{out}:/var/holoscan/output")
    ran = run(engine, *mounts, "-e", "BONE_SSL_EVIDENCE=sc,seg", IMAGE)
    assert ran.returncode == 4, ran.stderr
    made = sorted(out.glob("*.dcm"))
    assert {"SR", "SC"} <= {path.name.split("_")[0] for path in made}
    assert [path for path in made if dciodvfy(path).errors] == []
    problems = pixelmed(sorted(out.glob("SR_*.dcm")), tmp_path)
    assert [path for path, found in problems.items() if found.errors] == []


def test_changed_weights(engine: Sequence[str], tmp_path: Path) -> None:
    given, out = folders(tmp_path, "RG3_UNCR.dcm")
    model = shutil.copytree(default_model_folder(), tmp_path / "model")
    (model / "model.onnx").write_bytes((model / "model.onnx").read_bytes() + b"x")
    mounts = ("-v", f"{given}:/var/holoscan/input:ro", "-v", f"{out}:/var/holoscan/output")
    ran = run(engine, *mounts, "-v", f"{model}:/opt/holoscan/models:ro", IMAGE)
    assert ran.returncode == 1
    assert "sha256" in ran.stderr
    assert list(out.iterdir()) == []


def test_disk_that_fills(engine: Sequence[str], tmp_path: Path) -> None:
    given, _ = folders(tmp_path, "RG3_UNCR.dcm")
    disk = "type=tmpfs,destination=/var/holoscan/small,tmpfs-size=1m,tmpfs-mode=1777"
    small = ("--mount", disk, "-e", "BONE_SSL_EVIDENCE=sc")
    ran = run(engine, "-v", f"{given}:/var/holoscan/input:ro", *small, IMAGE, "-o", "/var/holoscan/small")
    assert ran.returncode == 1
    assert "No space left on device" in ran.stderr


def test_image_holds_what_it_says_and_no_more(engine: Sequence[str]) -> None:
    size = subprocess.run(
        [*engine, "image", "inspect", "--format", "{{.Size}}", IMAGE],
        capture_output=True,
        text=True,
        check=True,
    )
    assert int(size.stdout) < LIMIT_BYTES
    listed = run(engine, "--entrypoint=cat", IMAGE, "/opt/holoscan/docs/sbom.cdx.json")
    bill = json.loads(listed.stdout)
    assert bill["bomFormat"] == "CycloneDX"
    components = {component["name"].lower(): component["version"] for component in bill["components"]}
    installed = run(engine, "--entrypoint=python3", IMAGE, "-m", "pip", "list", "--format=json")
    expected = {package["name"].lower(): package["version"] for package in json.loads(installed.stdout)}
    assert components == expected
    assert components["monai-bone-ssl"] == __version__
    assert "torch" not in components


def test_image_is_of_this_checkout(engine: Sequence[str]) -> None:
    """A build cache must not bring back an older package."""
    package = ROOT / "monai_bone_ssl"
    here = {
        path.relative_to(package).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in package.rglob("*.py")
    }
    listed = run(engine, "--entrypoint=python3", IMAGE, "-c", _LIST_SOURCES)
    assert json.loads(listed.stdout) == here


def test_shows_env_extracts_and_helps(engine: Sequence[str], tmp_path: Path) -> None:
    assert json.loads(run(engine, IMAGE, "show", "app").stdout)["version"] == __version__
    assert "models" in json.loads(run(engine, IMAGE, "show", "pkg").stdout)
    assert "HOLOSCAN_APPLICATION=/opt/holoscan/app" in run(engine, IMAGE, "env").stdout.split("\n")
    assert "extract" in run(engine, IMAGE, "help").stdout
    export = tmp_path / "export"
    export.mkdir()
    export.chmod(0o777)
    ran = run(engine, "-v", f"{export}:/var/run/holoscan/export", IMAGE, "extract")
    assert ran.returncode == 0, ran.stderr
    for name in ("app/app.py", "config/app.json", "config/pkg.json", "config/app.yaml", "docs/sbom.cdx.json"):
        assert (export / name).is_file()
    (extracted,) = (export / "models").rglob("model.onnx")
    assert extracted.read_bytes() == (default_model_folder() / "model.onnx").read_bytes()
