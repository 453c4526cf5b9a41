"""Reports of every kind of study, judged by validators and readers that share no code with the writer."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import pytest
from highdicom.sr import Comprehensive3DSR
from pydicom.uid import CTImageStorage, DigitalXRayImageStorageForPresentation
from reports import (
    CERTAIN,
    FAILURE,
    NAMES,
    OPTIONAL,
    POSSIBLE,
    analysed,
    make_header,
    named,
    not_analysed,
    report_of,
    with_regions,
)
from validators import Problems, dciodvfy, pixelmed, run_tool

from monai_bone_ssl.findings import ABNORMALITY
from monai_bone_ssl.report.study import write_report

SCENARIOS: dict[str, Callable[[], Comprehensive3DSR]] = {
    "positive": lambda: report_of(analysed(make_header(), 0.93)),
    "indeterminate": lambda: report_of(analysed(make_header(), 0.4)),
    "negative": lambda: report_of(analysed(make_header(), 0.03)),
    "ap_and_lateral": lambda: report_of(analysed(make_header(1), 0.93), analysed(make_header(2), 0.05)),
    "digital_radiography": lambda: report_of(
        analysed(make_header(SOPClassUID=DigitalXRayImageStorageForPresentation, Modality="DX"), 0.93)
    ),
    "first_study": lambda: report_of(analysed(make_header(study="1.2.3.1"), 0.9), study="1.2.3.1"),
    "second_study": lambda: report_of(
        analysed(make_header(study="1.2.3.2", PatientName="Roe^Richard", PatientID="X"), 0.1), study="1.2.3.2"
    ),
    "no_optional_attributes": lambda: report_of(analysed(make_header(**dict.fromkeys(OPTIONAL)), 0.93)),
    "empty_attributes": lambda: report_of(analysed(make_header(**dict.fromkeys(OPTIONAL, "")), 0.93)),
    "one_not_analysed": lambda: report_of(
        analysed(make_header(1), 0.05),
        not_analysed(make_header(2, SOPClassUID=CTImageStorage, Modality="CT")),
    ),
    "one_failed": lambda: report_of(analysed(make_header(1), 0.93), not_analysed(make_header(2), FAILURE)),
    "nothing_analysed": lambda: report_of(
        not_analysed(make_header(1)), not_analysed(make_header(2), FAILURE)
    ),
    "no_laterality": lambda: report_of(analysed(make_header(), 0.93, laterality=None)),
    "no_anatomy": lambda: report_of(analysed(make_header(), 0.93, anatomy=None, laterality=None)),
    "regions": lambda: report_of(with_regions(analysed(make_header(), 0.93), CERTAIN, POSSIBLE)),
    "abnormality": lambda: report_of(
        analysed(make_header(1), 0.93), analysed(make_header(2), 0.03), target=ABNORMALITY
    ),
    **{f"{key}_name": lambda key=key: report_of(named(key)) for key in NAMES},
}


@pytest.fixture(scope="module")
def reports(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """A written report of every scenario."""
    folder = tmp_path_factory.mktemp("reports")
    paths = {}
    for name, make in SCENARIOS.items():
        (folder / name).mkdir()
        paths[name] = write_report(make(), folder / name)
    return paths


#: Names are attributes; one script is enough to show that the content is checked whatever they are.
CONTENTS = [name for name in SCENARIOS if not name.endswith("_name") or name == "japanese_name"]


@pytest.fixture(scope="module")
def broken_report(tmp_path_factory: pytest.TempPathFactory) -> Path:
    report = report_of(analysed(make_header(), 0.93))
    report.ContentSequence[0].RelationshipType = "CONTAINS"  # the language is a concept modifier
    del report.CompletionFlag
    return write_report(report, tmp_path_factory.mktemp("broken"))


@pytest.fixture(scope="module")
def pixelmed_problems(
    reports: dict[str, Path], broken_report: Path, tmp_path_factory: pytest.TempPathFactory
) -> dict[str, Problems]:
    paths = {name: reports[name] for name in CONTENTS} | {"broken": broken_report}
    problems = pixelmed(list(paths.values()), tmp_path_factory.mktemp("pixelmed"))
    return {name: problems[path] for name, path in paths.items()}


# TID 1501 allows any CODE and TEXT as qualitative evaluations; PixelMed's edition of 2022 has no rows for
# them and says so. Nothing else may be outside the templates.
_EVALUATION = re.compile(
    r'"Measurement Group"\)/'
    r'(CODE \((125605004,SCT,"Fracture"|121402,DCM,"Normality"|111065,DCM,"Summary of Analyses")\)'
    r'|TEXT \(121106,DCM,"Comment"\)): Content Item not in template$'
)


@pytest.mark.parametrize("name", CONTENTS)
def test_content_follows_the_templates(pixelmed_problems: dict[str, Problems], name: str) -> None:
    problems = pixelmed_problems[name]
    assert problems.errors == []
    assert [line for line in problems.warnings if not _EVALUATION.search(line)] == []


@pytest.mark.parametrize("name", SCENARIOS)
def test_attributes_follow_the_iod(reports: dict[str, Path], name: str) -> None:
    problems = dciodvfy(reports[name])
    assert problems.errors == []
    # Device UID in Contributing Equipment is younger than this dciodvfy, and asked for by IHE AIR.
    known = ["Device UID", "Standard Extended SOP Class"]
    if name in ("no_optional_attributes", "empty_attributes"):
        known.append("needed to build DICOMDIR")  # the source's gaps
    assert [line for line in problems.warnings if not any(words in line for words in known)] == []


def test_validators_see_what_is_wrong(broken_report: Path, pixelmed_problems: dict[str, Problems]) -> None:
    assert any("CompletionFlag" in line for line in dciodvfy(broken_report).errors)
    assert any("Incorrect relationship" in line for line in pixelmed_problems["broken"].errors)


@pytest.mark.parametrize("name", SCENARIOS)
def test_dcmtk_renders_it(reports: dict[str, Path], name: str) -> None:
    dump = run_tool("dsrdump", "+Pl", reports[name])
    assert dump.returncode == 0
    # dcmtk reads UTF-8 but does not check the characters of its values.
    assert re.sub(r"W: The VR checker does not support .*ISO_IR 192\n", "", dump.stderr) == ""
    assert "Conclusion" in dump.stdout
