"""The image that ``make map`` built, run as a hospital would: no network, nothing to write, no rights."""

from __future__ import annotations

import json
import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path

import pytest
from analyses import bone_ssl, outcomes, result
from pydicom_files import real_radiograph

from monai_bone_ssl import __version__

IMAGE = f"bone-ssl-map:{__version__}"
HARDENED = (
    "--network=none",
    "--read-only",
    "--tmpfs=/tmp",
    "--cap-drop=all",
    "--user=1000:1000",
    "--security-opt=no-new-privileges",
)
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


def test_shows_its_manifest(engine: Sequence[str]) -> None:
    assert json.loads(run(engine, IMAGE, "show", "app").stdout)["version"] == __version__
