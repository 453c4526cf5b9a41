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
BLOCKED = ("torch", "torchvision", "timm", "monai", "holoscan", "slicer", "sklearn", "matplotlib", "scipy",
           "onnx", "safetensors")  # fmt: skip

#: What a room, or a module that is one by itself, may import besides itself. A room that is not here fails.
WORDS = {"", "errors", "findings", "body_parts", "files", "faults", "threads", "notes", "wording"}
READING = WORDS | {"dicom", "stats"}
CORE = READING | {"model", "analysis", "report", "show", "shown_image", "pipeline"}
TRAINED = CORE - {"pipeline", "shown_image", "report"}
_BELOW = {f"training.{name}" for name in ("data", "compute", "networks", "probes")}
ALLOWED = {
    **dict.fromkeys(WORDS, WORDS),
    "dicom": WORDS,
    "stats": WORDS,
    "model": READING,
    "analysis": READING | {"model"},
    "report": READING | {"model", "analysis"},
    "show": READING | {"model", "analysis"},
    "shown_image": READING | {"model", "analysis", "report", "show"},
    "pipeline": CORE,
    "cli": CORE | {"review", "service", "training", "training.*"},
    "review": CORE,
    "service": CORE,
    "training.data": TRAINED,
    "training.compute": TRAINED | {"training.data"},
    "training.networks": TRAINED | {"training.data", "training.compute"},
    "training.probes": TRAINED | {"training.data", "training.compute", "training.networks"},
    "training.measure": TRAINED | {"training.data", "training.compute"},
    "training.finetune": TRAINED | _BELOW,
    "training.fit": TRAINED | _BELOW | {"training.measure"},
    "training.ssl": TRAINED | _BELOW,
    "training.comparison": TRAINED | _BELOW | {"training.measure", "training.finetune"},
    "training.bundle": TRAINED | _BELOW | {"training.measure", "training.ssl"},
}
MODULES = {
    ".".join(path.relative_to(PACKAGE).with_suffix("").parts).removesuffix("__init__").rstrip("."): path
    for path in sorted(PACKAGE.rglob("*.py"))
}
CORE_MODULES = sorted(name for name in MODULES if name.split(".")[0] in CORE)


def imports(path: Path, top_level_only: bool = False) -> Iterator[str]:
    """Full names of modules that a file imports."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    for node in tree.body if top_level_only else ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path.name}: relative import"
            yield from [node.module or "", *(f"{node.module}.{alias.name}" for alias in node.names)]


def room(module: str) -> str:
    """The room of a module, named from the package's root: ``dicom``, ``training.data``, ``errors``."""
    parts = module.split(".")
    return ".".join(parts[: 2 if parts[0] == "training" else 1])


def own_imports(module: str, top_level_only: bool = False) -> set[str]:
    """Modules of the package that one of them imports."""
    names = (name for name in imports(MODULES[module], top_level_only) if name.startswith("monai_bone_ssl"))
    return {own for name in names if (own := name.removeprefix("monai_bone_ssl").lstrip(".")) in MODULES}


@pytest.mark.parametrize("module", MODULES)
def test_a_room_imports_only_rooms_below_it(module: str) -> None:
    allowed = ALLOWED[room(module)] if room(module) != "training" else set()
    allowed = {*allowed, room(module), "training"}
    found = {room(name) for name in own_imports(module)}
    assert not {name for name in found - allowed if f"{name.split('.')[0]}.*" not in allowed}


def test_there_are_no_circles() -> None:
    graph = {module: own_imports(module) - {module, ""} for module in MODULES}
    order = list(TopologicalSorter(graph).static_order())  # raises on a circle
    assert set(order) == set(MODULES)
    assert graph["errors"] == set()


def test_only_the_bundle_and_the_command_line_know_self_supervised_training() -> None:
    users = {room(module) for module in MODULES if "training.ssl" in map(room, own_imports(module))}
    assert users == {"training.ssl", "training.bundle", "cli"}


def test_the_command_line_imports_what_needs_an_extra_only_when_asked() -> None:
    for module in (name for name in MODULES if room(name) == "cli"):
        at_once = {name.split(".")[0] for name in own_imports(module, top_level_only=True)}
        assert not {"training", "service", "review"} & at_once, module


def test_thread_pools_are_made_in_two_places_only() -> None:
    """``threads`` counts the cores that a container may use; a pool made elsewhere would not."""
    pools = {module for module in MODULES if "concurrent.futures" in set(imports(MODULES[module]))}
    assert {room(module) for module in pools} <= {"threads", "training.compute"}
    counted = {module for module, path in MODULES.items() if "cpu_count" in path.read_text(encoding="utf-8")}
    assert counted <= {"threads"}


def public_names(path: Path) -> list[str]:
    """What a module offers to others: its ``__all__``."""
    for node in ast.parse(path.read_text(encoding="utf-8")).body:
        if isinstance(node, ast.Assign) and getattr(node.targets[0], "id", "") == "__all__":
            return [str(name) for name in ast.literal_eval(node.value)]
    return []


def test_no_public_name_exists_twice() -> None:
    """But ``add_verb``, by which the command line finds its verbs."""
    modules = (module for module, path in MODULES.items() if path.name != "__init__.py")
    places: dict[str, list[str]] = {}
    for module in modules:
        for name in set(public_names(MODULES[module])) - {"add_verb"}:
            places.setdefault(name, []).append(module)
    assert {name: where for name, where in places.items() if len(where) > 1} == {}


@pytest.mark.parametrize("path", [path for path in MODULES.values() if path.name == "__init__.py"], ids=str)
def test_every_room_says_its_subject(path: Path) -> None:
    assert ast.get_docstring(ast.parse(path.read_text(encoding="utf-8")))


def test_the_core_names_nothing_heavy() -> None:
    for module in CORE_MODULES:
        assert not {name.split(".")[0] for name in imports(MODULES[module])} & set(BLOCKED), module


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
