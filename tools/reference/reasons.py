"""Reason codes with the words that the code says with them."""

from __future__ import annotations

import ast
import inspect
import re
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

from monai_bone_ssl import errors
from monai_bone_ssl.errors import BoneSSLError, CorruptImage, ReasonCode, UnsupportedImage
from monai_bone_ssl.findings import unanalysed
from reference.markdown import code, table

__all__ = ["image_reasons", "other_reasons"]

_PACKAGE = Path(inspect.getfile(errors)).parent
# Errors that refuse an image, and the modules between a file and its answer, which raise them.
_IMAGE = {UnsupportedImage.__name__, CorruptImage.__name__}
_IMAGE_MODULES = ("*.py", "dicom/*.py", "model/*.py")


def image_reasons() -> str:
    """Codes that an image is the cause of, under the comments that group them in errors.py."""
    modules = (path for pattern in _IMAGE_MODULES for path in _PACKAGE.glob(pattern))
    raised, sections = _raised(modules), []
    for title, group in _groups().items():
        rows = [_image_reason(reason, raised[reason]) for reason in group if raised[reason].keys() & _IMAGE]
        if rows:
            sections.append(f"{title}\n\n" + table(["code", "status", "words, as the code has them"], rows))
    return "\n\n".join(sections)


def other_reasons() -> str:
    """The other codes, with the errors that carry them."""
    raised = _raised(_PACKAGE.rglob("*.py"))
    rows = [
        (code(reason.value), ", ".join(map(code, sorted(raised[reason]))) or "none: an event of the node")
        for reason in ReasonCode
        if not raised[reason].keys() & _IMAGE
    ]
    return table(["code", "error"], rows)


def _image_reason(reason: ReasonCode, raised: Mapping[str, set[str]]) -> tuple[str, str, str]:
    kinds = sorted(raised.keys() & _IMAGE)
    statuses = {unanalysed(getattr(errors, name)(reason, ""))[0].value for name in kinds}
    texts = sorted({text for name in kinds for text in raised[name]}, key=str.lower)
    return code(reason.value), ", ".join(map(code, sorted(statuses))), "<br>".join(texts)


def _groups() -> dict[str, list[ReasonCode]]:
    groups: dict[str, list[ReasonCode]] = {}
    for line in inspect.getsource(ReasonCode).splitlines():
        if comment := re.match(r"\s+# (.+)", line):
            groups[comment[1]] = []
        elif member := re.match(r"\s+([A-Z_]+) = ", line):
            list(groups.values())[-1].append(ReasonCode[member[1]])
    return groups


def _raised(modules: Iterable[Path]) -> dict[ReasonCode, dict[str, set[str]]]:
    """For each code, the errors that carry it, and their texts with an ellipsis for what is filled in."""
    found: dict[ReasonCode, dict[str, set[str]]] = defaultdict(lambda: defaultdict(set))
    for path in sorted(modules):
        for scope in _functions(ast.parse(path.read_text(encoding="utf-8"))):
            for name, call in _errors_made(scope):
                for reason in _codes(call.args[0]):
                    found[reason][name] |= _words(call.args[1], scope)
    return found


def _errors_made(scope: ast.AST) -> Iterator[tuple[str, ast.Call]]:
    kinds = {k.__name__ for k in vars(errors).values() if isinstance(k, type) and issubclass(k, BoneSSLError)}
    for call in ast.walk(scope):
        if isinstance(call, ast.Call) and isinstance(call.func, ast.Name) and call.func.id in kinds:
            yield call.func.id, call


def _functions(tree: ast.Module) -> list[ast.AST]:
    return [node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef)]


def _codes(argument: ast.expr) -> list[ReasonCode]:
    return [
        ReasonCode[node.attr]
        for node in ast.walk(argument)
        if isinstance(node, ast.Attribute) and getattr(node.value, "id", "") == "ReasonCode"
    ]


def _words(argument: ast.expr, scope: ast.AST) -> set[str]:
    """The text of an error: written in the call, or given a name just before."""
    if isinstance(argument, ast.Name):
        named = [
            node.value
            for node in ast.walk(scope)
            if isinstance(node, ast.Assign) and getattr(node.targets[0], "id", "") == argument.id
        ]
        return {text for value in named for text in _words(value, scope)}
    if isinstance(argument, ast.Constant):
        return {str(argument.value)}
    if isinstance(argument, ast.JoinedStr):
        parts = [str(p.value) if isinstance(p, ast.Constant) else "…" for p in argument.values]
        return {"".join(parts)}
    return set()
