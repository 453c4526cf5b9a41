"""docs/explanation/architecture.md says what the code is: rooms, figures, and every name on the page."""

from __future__ import annotations

import ast
import importlib
import os
import re
import subprocess
import sys
import threading
from pathlib import Path
from types import FrameType

import pytest
from dicom_factory import make_radiograph
from test_dependencies import ALLOWED, MODULES, PACKAGE, ROOT, imports, room
from tiny_model import draw

from monai_bone_ssl.errors import ReasonCode
from monai_bone_ssl.model.inference import Model
from monai_bone_ssl.pipeline import analyse

sys.path.append(str(ROOT / "tools"))
from architecture.life import CALLERS, STEPS, Step
from architecture.rooms import at_the_bottom, at_the_top, direct

PAGE = ROOT / "docs/explanation/architecture.md"
REFRESHED = ("explanation/architecture.md", "images/life_of_an_image.svg", "images/rooms.svg")
TEXT = PAGE.read_text(encoding="utf-8")
#: What a page may set as code beside files and names of the repository: files that runs write, and commands.
OTHERS = {"model.json", "result.json", "make docs", "ALLOWED"}


def rows(first: str) -> list[list[str]]:
    """Cells of the table whose head begins with a word, without the head."""
    lines = TEXT[TEXT.index(f"| {first} |") :].split("\n\n")[0].splitlines()[2:]
    return [[cell.strip() for cell in line.strip("|").split(" | ")] for line in lines if line.startswith("|")]


def spans(text: str) -> list[str]:
    """What stands in backticks."""
    return re.findall(r"`([^`]+)`", text)


def resolves(name: str) -> bool:
    """Whether a dotted name, from the package's root on, is a module or something in one."""
    parts = name.split(".")
    for cut in range(len(parts), 0, -1):
        if ".".join(parts[:cut]) in MODULES:
            value: object = importlib.import_module(f"monai_bone_ssl.{'.'.join(parts[:cut])}")
            for part in parts[cut:]:
                if not hasattr(value, part):
                    return False
                value = getattr(value, part)
            return True
    return False


# --- what is refreshed ----------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def refreshed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("architecture")
    command = [sys.executable, "-W", "error", "tools/draw_architecture.py", "--out", out]
    subprocess.run(command, cwd=ROOT, env={**os.environ, "PYTHONPATH": str(ROOT)}, check=True)
    return out


@pytest.mark.parametrize("name", REFRESHED)
def test_page_and_figures_are_current(refreshed: Path, name: str) -> None:
    fresh, committed = ((folder / name).read_text(encoding="utf-8") for folder in (refreshed, ROOT / "docs"))
    assert fresh == committed, f"{name}: refresh it by python tools/draw_architecture.py"


def test_every_room_is_on_the_page_with_the_first_line_it_says_of_itself() -> None:
    files = {room(module): path for module, path in sorted(MODULES.items(), reverse=True)}
    subjects = {}
    for path in (PACKAGE.joinpath(*name.split(".")) for name in files if name):
        own = path / "__init__.py" if path.is_dir() else path.with_suffix(".py")
        name = f"{path.relative_to(PACKAGE)}/" if path.is_dir() else str(own.relative_to(PACKAGE))
        docstring = ast.get_docstring(ast.parse(own.read_text(encoding="utf-8"))) or ""
        subjects[f"`{name}`"] = docstring.splitlines()[0].replace("``", "`")
    assert dict(rows("room")) == subjects


# --- the picture of the rooms ---------------------------------------------------------------------------


def reachable(start: str, arrows: dict[str, set[str]]) -> set[str]:
    return {name for other in arrows[start] for name in {other, *reachable(other, arrows)}}


def test_following_the_arrows_gives_exactly_what_a_room_may_import() -> None:
    arrows, bottom, top = dict(direct(ALLOWED)), set(at_the_bottom(ALLOWED)), set(at_the_top(ALLOWED))
    assert set(arrows) | bottom | top == set(ALLOWED)
    for name in arrows:
        assert reachable(name, arrows) | bottom | {name} == set(ALLOWED[name]) | {name}, name


# --- the life of an image -------------------------------------------------------------------------------


def test_a_run_calls_the_steps_of_the_figure_in_its_order(tmp_path: Path, tiny_folder: Path) -> None:
    names = {*(step.function for step in STEPS), *(caller for caller, _, _ in CALLERS)}
    events: list[tuple[str, str]] = []

    def note(frame: FrameType, event: str, _: object) -> None:
        module = frame.f_globals.get("__name__", "").removeprefix("monai_bone_ssl.")
        name = f"{module}.{frame.f_code.co_qualname}"
        if event in ("call", "return") and name in names and (event, name) not in events:
            events.append((event, name))

    path, model = make_radiograph(tmp_path / "in.dcm", draw(0.8)), Model(tiny_folder)
    before = sys.getprofile()
    threading.setprofile(note)
    sys.setprofile(note)
    try:
        analyse([path], tmp_path / "out", model)
    finally:
        sys.setprofile(before)
        threading.setprofile(before)
    called = [name for event, name in events if event == "call"]
    steps = [step.function for step in STEPS]
    assert [name for name in called if name in steps] == steps
    for caller, first, last in CALLERS:
        assert called.index(caller) < called.index(first)
        assert events.index(("return", last)) < events.index(("return", caller))


def test_the_figure_has_every_reason_that_an_image_may_be_refused_with(refreshed: Path) -> None:
    """Against the reference's own reading of the source, and the two of model and report."""
    listed = (ROOT / "docs/reference/result-json.md").read_text(encoding="utf-8")
    section = listed[listed.index("## Why an image was not analysed") : listed.index("## Other reason codes")]
    codes = {code for step in STEPS for code in step.refusals}
    assert codes == {*re.findall(r"^\| `(\w+)`", section, re.MULTILINE), "inference_failed", "report_failed"}
    figure = (refreshed / "images/life_of_an_image.svg").read_text(encoding="utf-8")
    assert all(code in figure for code in codes)


@pytest.mark.parametrize("step", [step for step in STEPS if step.refusals], ids=lambda step: step.function)
def test_a_step_s_reasons_stand_in_its_room(step: Step) -> None:
    files = [path for name, path in MODULES.items() if room(name) == room(step.function)]
    text = "".join(path.read_text(encoding="utf-8") for path in files)
    assert [code for code in step.refusals if f"ReasonCode.{ReasonCode(code).name}" not in text] == []


# --- names on the page ----------------------------------------------------------------------------------


def test_every_file_and_name_on_the_page_exists() -> None:
    prose = TEXT[: TEXT.index("<!-- rooms -->")] + TEXT[TEXT.index("<!-- /rooms -->") :]
    unknown = [
        span
        for span in spans(prose)
        if span not in OTHERS and not (("/" in span and (ROOT / span).exists()) or resolves(span))
    ]
    assert unknown == []


def test_names_that_do_not_exist_are_found() -> None:
    assert resolves("findings.decide")
    assert resolves("training.networks.network.ProbedViT.forward")
    assert not resolves("findings.decides")
    assert not resolves("decide")


@pytest.mark.parametrize("front", rows("front"), ids=lambda front: front[0])
def test_a_front_imports_what_the_page_says_it_calls(front: list[str]) -> None:
    _, file, called = front
    found = set(imports(ROOT / spans(file)[0]))
    assert [name for name in spans(called) if f"monai_bone_ssl.{name}" not in found] == []


def test_every_rule_names_tests() -> None:
    for rule, where, tests in rows("rule"):
        assert spans(where), rule
        assert [Path(test).name[:5] for test in spans(tests)] == ["test_"] * max(1, len(spans(tests))), rule
