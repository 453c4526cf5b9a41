"""Who may import whom, read from the source, and what the core gets along without, by running it."""

from __future__ import annotations

import ast
import importlib.metadata
import re
import tomllib
from collections.abc import Iterable, Iterator
from graphlib import TopologicalSorter
from pathlib import Path

import pytest
from analyses import ROOT, bone_ssl, outcomes
from dicom_factory import make_radiograph
from pydicom.uid import JPEGLSLossless
from tiny_model import draw

PACKAGE = ROOT / "monai_bone_ssl"
CORE = sorted(path.stem for path in PACKAGE.glob("*.py") if path.stem != "__init__")
COMMAND_LINE = sorted((PACKAGE / "cli").glob("*.py"))
TRAINING = sorted((PACKAGE / "training").rglob("*.py"))
SERVICE = sorted((PACKAGE / "service").rglob("*.py"))
REVIEW = sorted((PACKAGE / "review").rglob("*.py"))
BLOCKED = ("torch", "torchvision", "timm", "monai", "holoscan", "slicer", "sklearn", "matplotlib", "scipy",
           "onnx", "safetensors")  # fmt: skip


def imports(path: Path, top_level_only: bool = False) -> Iterator[str]:
    """Full names of modules that a file imports."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    for node in tree.body if top_level_only else ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path.name}: relative import"
            yield from [node.module or "", *(f"{node.module}.{alias.name}" for alias in node.names)]


def core_imports(module: str) -> set[str]:
    names = (name.removeprefix("monai_bone_ssl.").split(".")[0] for name in imports(PACKAGE / f"{module}.py"))
    return set(names) & set(CORE)


def test_the_core_has_no_cycles_and_errors_is_at_its_bottom() -> None:
    graph = {module: core_imports(module) for module in CORE}
    assert graph["errors"] == set()
    order = list(TopologicalSorter(graph).static_order())  # raises on a cycle
    assert set(order) == set(CORE)


def test_stages_do_not_know_the_pipeline_nor_the_pipeline_its_fronts() -> None:
    for module in CORE:
        fronts = {f"monai_bone_ssl.{name}" for name in ("pipeline", "console", "cli")}
        assert not fronts & set(imports(PACKAGE / f"{module}.py"))


def packages(path: Path, top_level_only: bool = False) -> set[str]:
    """Which of the package's own modules and folders a file imports."""
    names = (name.split(".") for name in imports(path, top_level_only))
    return {parts[1] for parts in names if parts[0] == "monai_bone_ssl" and len(parts) > 1}


def test_the_core_knows_no_folder_that_stands_on_it() -> None:
    for module in CORE:
        assert not {"training", "service", "review"} & packages(PACKAGE / f"{module}.py")


def test_the_command_line_imports_what_needs_an_extra_only_when_asked() -> None:
    for path in COMMAND_LINE:
        assert not {"training", "service", "review"} & packages(path, top_level_only=True)


@pytest.mark.parametrize("path", TRAINING, ids=lambda path: path.relative_to(PACKAGE).as_posix())
def test_training_knows_no_front(path: Path) -> None:
    assert not {"pipeline", "console", "cli", "results", "service", "review"} & packages(path)


@pytest.mark.parametrize("path", SERVICE + REVIEW, ids=lambda path: path.relative_to(PACKAGE).as_posix())
def test_service_and_review_know_neither_each_other_nor_the_command_line(path: Path) -> None:
    own = path.relative_to(PACKAGE).parts[0]
    assert not {"console", "cli", "training", "service", "review"} - {own} & packages(path)


def test_the_core_names_nothing_heavy() -> None:
    for module in CORE:
        assert not {name.split(".")[0] for name in imports(PACKAGE / f"{module}.py")} & set(BLOCKED)


# --- running without ----------------------------------------------------------------------------------------


def blocker(modules: Iterable[str]) -> str:
    """Python that makes importing top-level modules fail, as if they were not installed."""
    return f"""
import sys
class Blocker:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in {sorted(modules)!r}:
            raise ModuleNotFoundError(f"{{name}} is blocked", name=name)
sys.meta_path.insert(0, Blocker())
"""


def _key(distribution: str) -> str:
    return re.sub(r"[-_.]+", "-", distribution).lower()


def _closure(names: set[str]) -> set[str]:
    """Distributions with all that they require without extras."""
    found: set[str] = set()
    while names:
        name = names.pop()
        found.add(name)
        try:
            required = importlib.metadata.requires(name) or []
        except importlib.metadata.PackageNotFoundError:  # needed elsewhere only, such as on Windows
            continue
        plain = (line for line in required if "extra ==" not in line)
        names |= {_key(re.split(r"[^\w.-]", line, maxsplit=1)[0]) for line in plain} - found
    return found


def test_analyze_needs_nothing_but_its_own_dependencies(tmp_path: Path, tiny_folder: Path) -> None:
    """End to end with all blocked that is installed here and that pyproject.toml does not ask for."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    own = _closure({_key(re.split(r"[^\w.-]", line, maxsplit=1)[0]) for line in project["dependencies"]})
    owners = importlib.metadata.packages_distributions()
    foreign = {top for top, names in owners.items() if not set(map(_key, names)) & own}
    foreign -= {"monai_bone_ssl"}
    assert "onnx" in foreign, "the list is what it should be"
    assert not foreign & {"numpy", "pydicom", "highdicom", "onnxruntime"}
    path = make_radiograph(tmp_path / "in.dcm", draw(0.8), transfer_syntax=JPEGLSLossless)
    run = bone_ssl(
        "analyze", path, "-o", tmp_path / "out", "--model", tiny_folder, prelude=blocker({*foreign, *BLOCKED})
    )
    assert run.code == 0, run.stderr
    assert outcomes(tmp_path / "out") == {"in.dcm": "positive"}
    assert len(list((tmp_path / "out").glob("SR_*.dcm"))) == 1


@pytest.mark.parametrize(("verb", "extra"), [("evaluate", "evaluate"), ("fit", "train")])
def test_verbs_that_need_more_say_what_to_install(verb: str, extra: str, tmp_path: Path) -> None:
    (tmp_path / "weights").touch()
    more = ["--backbone", tmp_path / "weights"] if verb == "fit" else []
    run = bone_ssl(verb, tmp_path, "-o", tmp_path / "out", *more, prelude=blocker(BLOCKED))
    assert run.code == 2
    (line,) = run.stderr.splitlines()
    assert f"pip install 'monai-bone-ssl[{extra}]'" in line
