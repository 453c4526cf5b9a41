"""Two independent validators of DICOM Structured Reports; a test is skipped where one is absent.

- ``dciodvfy`` of David Clunie's dicom3tools checks modules and attributes.
- ``DicomSRValidator`` of the PixelMed toolkit checks the content tree against the templates of PS3.16.
"""

from __future__ import annotations

import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from outside import file, program

_JARS = [
    Path("/usr/share/java") / name
    for name in (
        "pixelmed.jar",
        "slf4j-api.jar",
        "slf4j-nop.jar",
        "commons-codec.jar",
        "commons-compress.jar",
    )
]
_JAVA = [
    "java",
    "-Xss16m",
    # In a run this short the optimising compiler and the parallel collector take more time than they save.
    "-XX:TieredStopAtLevel=1",
    "-XX:+UseSerialGC",
    "-Djava.awt.headless=true",
    *(f"-Djdk.xml.xpath{limit}Limit=0" for limit in ("ExprOp", "TotalOp", "ExprGrp")),
    "-cp",
    ":".join(map(str, _JARS)),
]
# One start of the validator for all files: compiling its 6 MB of style sheets takes most of the time.
_BATCH = """
public class ValidateReports {
    public static void main(String[] paths) throws Exception {
        var validator = new com.pixelmed.validate.DicomSRValidator();
        for (String path : paths) {
            System.out.println("FILE " + path);
            System.out.println(validator.validate(path));
        }
    }
}
"""


class Problems(NamedTuple):
    """What a validator said about one file."""

    errors: list[str]
    warnings: list[str]


def run_tool(*command: str | Path) -> subprocess.CompletedProcess[str]:
    """Run a program of dcmtk or dicom3tools; which the test needs."""
    program(str(command[0]), "dicom3tools" if command[0] == "dciodvfy" else "dcmtk")
    return subprocess.run([*map(str, command)], capture_output=True, text=True, check=False)


def dciodvfy(path: Path) -> Problems:
    """Check modules and attributes of one file."""
    return _problems(run_tool("dciodvfy", path).stderr)


def pixelmed(paths: Sequence[Path], scratch: Path) -> dict[Path, Problems]:
    """Check the content trees of several Structured Reports.

    Parameters
    ----------
    paths
        The reports.
    scratch
        A folder for the little program that validates them in one go.
    """
    program("java", "default-jdk-headless")
    file(_JARS[0], "libpixelmed-java")
    outputs = _validate_together(paths, scratch) if _has_compiler() else _validate_each(paths)
    for path, output in outputs.items():
        assert "IOD validation complete" in output, f"PixelMed did not get through {path}: {output}"
        assert "Found Root Template TID_1500" in output
    return {path: _problems(output) for path, output in outputs.items()}


def _has_compiler() -> bool:
    modules = subprocess.run(["java", "--list-modules"], capture_output=True, text=True, check=True)
    return "jdk.compiler@" in modules.stdout


def _validate_together(paths: Sequence[Path], scratch: Path) -> dict[Path, str]:
    source = scratch / "ValidateReports.java"
    source.write_text(_BATCH)
    run = subprocess.run([*_JAVA, str(source), *map(str, paths)], capture_output=True, text=True, check=False)
    assert run.returncode == 0, run.stderr
    parts = run.stdout.split("FILE ")[1:]
    assert len(parts) == len(paths)
    return dict(zip(paths, parts, strict=True))


def _validate_each(paths: Sequence[Path]) -> dict[Path, str]:
    """The slow way, where only a run-time environment is installed."""
    outputs = {}
    for path in paths:
        command = [*_JAVA, "com.pixelmed.validate.DicomSRValidator", str(path)]
        outputs[path] = subprocess.run(command, capture_output=True, text=True, check=False).stdout
    return outputs


def _problems(output: str) -> Problems:
    lines = output.splitlines()
    return Problems(
        errors=[line for line in lines if line.startswith("Error")],
        warnings=[line for line in lines if line.startswith("Warning")],
    )
