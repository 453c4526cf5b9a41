"""The extension's files without Slicer: lists, names, imports. Nothing here needs the Slicer environment."""

from __future__ import annotations

import ast
import json
import re
import xml.etree.ElementTree as ET
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jsonschema
import pytest
from PIL import Image

ROOT = Path(__file__).parents[2]
EXTENSION = ROOT / "slicer_extension"
MODULE = EXTENSION / "BoneXRayReview"
LIBRARY = MODULE / "BoneXRayReviewLib"
UI = MODULE / "Resources" / "UI" / "BoneXRayReview.ui"
SOURCES = sorted([MODULE / "BoneXRayReview.py", *LIBRARY.glob("*.py")])

#: What a scripted module may import when the application starts: Slicer's own, and the standard library.
_NOT_AT_START = {
    "monai_bone_ssl",
    "onnxruntime",
    "onnx",
    "msgspec",
    "highdicom",
    "pydicom",
    "PIL",
    "torch",
    "monai",
}


def tree(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"), str(path))


def file_scope_imports(module: ast.Module) -> Iterator[str]:
    """Modules that are imported when a file is; not those in functions or for type checkers."""
    waiting: list[Any] = list(module.body)
    while waiting:
        node = waiting.pop()
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield node.module or ""
            # "from BoneXRayReviewLib import dependencies" imports a file, too.
            yield from (f"{node.module}.{alias.name}" for alias in node.names)
        elif isinstance(node, ast.If) and "TYPE_CHECKING" in ast.dump(node.test):
            continue
        elif not isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda):
            waiting.extend(ast.iter_child_nodes(node))


def loaded_at_start() -> set[Path]:
    """The module's file, and those of its library that it imports when it is imported."""
    found: set[Path] = set()
    waiting = [MODULE / "BoneXRayReview.py"]
    while waiting:
        path = waiting.pop()
        if path not in found:
            found.add(path)
            names = (name.removeprefix("BoneXRayReviewLib.") for name in file_scope_imports(tree(path)))
            waiting += [LIBRARY / f"{name}.py" for name in names if (LIBRARY / f"{name}.py").is_file()]
    return found


def test_nothing_but_slicer_is_imported_at_start() -> None:
    """The package may not be installed yet."""
    paths = loaded_at_start()
    assert LIBRARY / "viewer.py" in paths
    assert LIBRARY / "controller.py" not in paths
    wrong = {
        f"{path.name}: {name}"
        for path in paths
        for name in file_scope_imports(tree(path))
        if name.split(".")[0] in _NOT_AT_START
    }
    assert wrong == set()


def test_import_check_finds_what_it_looks_for() -> None:
    code = "if True:\n import onnxruntime\nclass A:\n import torch\ndef f():\n import PIL\n"
    assert set(file_scope_imports(ast.parse(code))) == {"onnxruntime", "torch"}


def test_library_knows_neither_torch_nor_a_server() -> None:
    for path in SOURCES:
        text = path.read_text(encoding="utf-8")
        assert re.search(r"^\s*(import|from) (torch|monai|requests|http|urllib)\b", text, re.M) is None, (
            path.name
        )


def test_packages_are_installed_in_one_place_only() -> None:
    using = [path.name for path in SOURCES if "pip_install" in path.read_text(encoding="utf-8")]
    assert using == ["dependencies.py"]


def test_nothing_of_the_scene_is_touched_in_a_thread() -> None:
    """What runs in threads is in files that know neither scene nor widgets."""
    for name in ("background.py", "inference.py"):
        imported = {found.split(".")[0] for found in file_scope_imports(tree(LIBRARY / name))}
        assert not imported & {"slicer", "qt", "vtk", "ctk"}, name


def test_files_are_small() -> None:
    lines = {path.name: len(path.read_text(encoding="utf-8").splitlines()) for path in SOURCES}
    assert max(lines.values()) <= 400, lines


# --- CMake --------------------------------------------------------------------------------------------


def cmake_list(path: Path, name: str) -> list[str]:
    """Entries of one set() in a CMake file, variables replaced."""
    text = path.read_text(encoding="utf-8")
    found = re.search(rf"set\({name}\s+(.*?)\)", text, re.S)
    assert found is not None, name
    return found[1].replace("${MODULE_NAME}", "BoneXRayReview").split()


def test_cmake_lists_every_script_and_resource() -> None:
    lists = MODULE / "CMakeLists.txt"
    listed = cmake_list(lists, "MODULE_PYTHON_SCRIPTS") + cmake_list(lists, "MODULE_PYTHON_RESOURCES")
    present = {
        path.relative_to(MODULE).as_posix()
        for path in MODULE.rglob("*")
        if path.is_file() and path.name != "CMakeLists.txt" and "__pycache__" not in path.parts
    }
    assert sorted(listed) == sorted(present)
    assert len(listed) == len(set(listed))


def test_cmake_subdirectories_and_tests_exist() -> None:
    for lists in EXTENSION.rglob("CMakeLists.txt"):
        text = lists.read_text(encoding="utf-8")
        for name in re.findall(r"add_subdirectory\((\S+)\)", text):
            assert (lists.parent / name / "CMakeLists.txt").is_file(), f"{lists}: {name}"
        for name in re.findall(r"slicer_add_python_unittest\(SCRIPT (\S+)\)", text):
            assert (lists.parent / name.replace("${MODULE_NAME}", "BoneXRayReview")).is_file(), (
                f"{lists}: {name}"
            )


def test_extension_metadata() -> None:
    text = (EXTENSION / "CMakeLists.txt").read_text(encoding="utf-8")
    for field in ("HOMEPAGE", "CONTRIBUTORS", "DESCRIPTION", "ICONURL", "SCREENSHOTURLS", "DEPENDS"):
        assert re.search(rf'set\(EXTENSION_{field} "[^"]+"\)', text), field
    for url in re.findall(r'main/(slicer_extension/[^"\s]+)"', text):
        assert (ROOT / url).is_file(), url


#: The fields of Slicer's slicer-extension-catalog-entry-schema-v1.0.1.json.
_INDEX_SCHEMA = {
    "type": "object",
    "required": ["$schema", "category", "scm_url"],
    "additionalProperties": False,
    "properties": {
        "$schema": {"pattern": r"slicer-extension-catalog-entry-schema-v1\.0\.1\.json#$"},
        "category": {"type": "string"},
        "scm_url": {"type": "string", "pattern": r"^https://.*\.git$"},
        "scm_revision": {"type": "string"},
        "scm_type": {"enum": ["git", "local"]},
        "build_dependencies": {"type": "array", "items": {"type": "string"}},
        "build_subdirectory": {"type": "string"},
        "enabled": {"type": "boolean"},
        "tier": {"enum": [1, 3, 5]},
    },
}


def test_extension_index_entry() -> None:
    jsonschema.validate(json.loads((EXTENSION / "BoneXRayReview.json").read_text()), _INDEX_SCHEMA)


def test_icons() -> None:
    for path in (EXTENSION / "BoneXRayReview.png", MODULE / "Resources" / "Icons" / "BoneXRayReview.png"):
        with Image.open(path) as icon:
            assert (icon.size, icon.mode) == ((128, 128), "RGBA")


# --- the panel ----------------------------------------------------------------------------------------


def widgets() -> dict[str, ET.Element]:
    found = list(ET.parse(UI).getroot().iter("widget"))
    names = [widget.get("name", "") for widget in found]
    assert len(names) == len(set(names)), "a name twice"
    return dict(zip(names, found, strict=True))


def parameters() -> set[str]:
    classes = [node for node in tree(LIBRARY / "parameters.py").body if isinstance(node, ast.ClassDef)]
    (cls,) = (node for node in classes if node.name == "BoneXRayReviewParameterNode")
    return {
        node.target.id
        for node in cls.body
        if isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name)
    }


def test_every_bound_widget_names_a_parameter() -> None:
    bound = {
        prop.findtext("string")
        for widget in widgets().values()
        for prop in widget.findall("property[@name='SlicerParameterName']")
    }
    assert len(bound) >= 7
    assert bound <= parameters()


def test_every_widget_that_the_code_uses_is_in_the_panel() -> None:
    known = set(widgets())
    used: dict[str, str] = {}
    for path in SOURCES:
        for node in ast.walk(tree(path)):
            if isinstance(node, ast.Attribute) and _is_ui(node.value):
                used[node.attr] = path.name
    assert len(used) > 40
    assert {name: file for name, file in used.items() if name not in known} == {}


def _is_ui(node: ast.AST) -> bool:
    if isinstance(node, ast.Name):
        return node.id == "ui"
    return isinstance(node, ast.Attribute) and node.attr in ("ui", "_ui")


def test_every_button_does_something() -> None:
    """Each button of the panel is named in the code."""
    text = "".join(path.read_text(encoding="utf-8") for path in SOURCES)
    buttons = [name for name, widget in widgets().items() if widget.get("class") == "QPushButton"]
    assert [name for name in buttons if f".{name}" not in text] == []


def test_every_widget_to_click_or_fill_in_has_a_tool_tip() -> None:
    kinds = {
        "QPushButton",
        "QCheckBox",
        "QComboBox",
        "QLineEdit",
        "QSpinBox",
        "QPlainTextEdit",
        "QTableWidget",
    }
    kinds |= {"ctkPathLineEdit", "ctkSliderWidget"}
    silent = [
        name
        for name, widget in widgets().items()
        if widget.get("class") in kinds and widget.find("property[@name='toolTip']") is None
    ]
    assert silent == []


def test_custom_widgets_are_declared() -> None:
    root = ET.parse(UI).getroot()
    declared = {element.findtext("class") for element in root.iter("customwidget")}
    used = {widget.get("class") for widget in root.iter("widget")}
    assert {name for name in used if not str(name).startswith("Q")} == declared


# --- documents ----------------------------------------------------------------------------------------


def test_readme_shows_files_that_exist_and_names_every_key() -> None:
    text = (EXTENSION / "README.md").read_text(encoding="utf-8")
    for target in re.findall(r"\]\(([^)#]+)\)", text):
        if "://" not in target:
            assert (EXTENSION / target).exists(), target
    (table,) = (
        node.value
        for node in tree(LIBRARY / "shortcuts.py").body
        if isinstance(node, ast.AnnAssign) and getattr(node.target, "id", "") == "SHORTCUTS"
    )
    for key, _, _ in ast.literal_eval(table):
        named = "1-5" if key.isdigit() else {"Return": "Enter", "Right": "→", "Left": "←"}.get(key, key)
        assert f"`{named}`" in text, key


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: path.name)
def test_no_error_is_swallowed(path: Path) -> None:
    for node in ast.walk(tree(path)):
        if isinstance(node, ast.ExceptHandler):
            assert node.type is not None
            assert getattr(node.type, "id", "") not in ("Exception", "BaseException")
