"""Files of JSON and TOML, from the structs that they are read and written with."""

from __future__ import annotations

import ast
import inspect
import json
import re
from dataclasses import fields
from itertools import pairwise
from pathlib import Path
from textwrap import dedent
from typing import Any

import msgspec

from monai_bone_ssl.findings import StudyFinding
from monai_bone_ssl.model.inference import OUTPUT_NAMES, Prediction
from monai_bone_ssl.model.spec import ModelSpec
from monai_bone_ssl.service.settings import Settings
from monai_bone_ssl.show.results import ImageEntry, ResultFile
from monai_bone_ssl.training.measure.metrics import Metrics
from reference.markdown import code, table, words

__all__ = ["metrics", "model_outputs", "model_spec", "result_schema", "results", "serve_settings"]

_REFERENCE = "#/$defs/"


def results() -> str:
    """The tables of result.json."""
    return _tables(ResultFile, first=(ResultFile, ImageEntry, StudyFinding))


def metrics() -> str:
    """The tables of metrics.json."""
    return _tables(Metrics)


def model_spec() -> str:
    """The tables of model.json."""
    return _tables(ModelSpec, optional=True)


def serve_settings() -> str:
    """The tables of serve.toml."""
    return _tables(Settings, optional=True, level=4).replace(" or null", "")  # TOML has no null


def model_outputs() -> str:
    """The outputs of model.onnx."""
    meanings = _meanings(Prediction)
    if tuple(field.name for field in fields(Prediction)) != OUTPUT_NAMES:
        raise AssertionError("Prediction and OUTPUT_NAMES differ")
    return table(["output", "shape and meaning"], [(code(name), meanings[name]) for name in OUTPUT_NAMES])


def result_schema() -> bytes:
    """JSON Schema of result.json."""
    schema = msgspec.json.schema(ResultFile)
    for definition in schema["$defs"].values():
        if "description" in definition:
            definition["description"] = words(definition["description"])
    return json.dumps(schema, indent=2).encode() + b"\n"


def _tables(root: type, first: tuple[type, ...] = (), optional: bool = False, level: int = 3) -> str:
    """One table a struct: the first ones, then the others in the order in which they are met."""
    _, definitions = msgspec.json.schema_components([root], schema_hook=_path)
    structs = {kind.__name__: kind for kind in _all_structs()}
    names: list[str] = []
    _walk(root.__name__, definitions, names)
    order = [kind.__name__ for kind in first]
    order += [name for name in names if name not in order and "properties" in definitions[name]]
    return "\n\n".join(_section(structs[name], definitions, optional, level) for name in order)


def _section(kind: type, definitions: dict[str, Any], optional: bool, level: int) -> str:
    schema = definitions[kind.__name__]
    meanings = _meanings(kind)
    parent = kind.__base__.__name__ if kind.__base__ else ""
    inherited = definitions.get(parent, {"properties": {}})["properties"]
    rows = [
        (
            code(name) + (_default(value) if optional and name not in schema.get("required", []) else ""),
            _type(value, definitions),
            meanings.get(name) or _meaning_of_type(value, definitions),
        )
        for name, value in schema["properties"].items()
        if name not in inherited
    ]
    if blank := [name for name, _, meaning in rows if not meaning]:
        raise AssertionError(f"{kind.__name__}: no docstring below {', '.join(blank)}")
    summary = _in_json(kind.__doc__)
    if inherited:
        summary += f" The fields of [{parent}](#{parent.lower()}), and:"
    return f"{'#' * level} {kind.__name__}\n\n{summary}\n\n{table(['field', 'type', 'meaning'], rows)}"


def _default(schema: dict[str, Any]) -> str:
    value = schema.get("default")
    return " (optional)" if value in (None, []) else f" (default {code(json.dumps(value))})"


def _in_json(docstring: str | None) -> str:
    """Words for a file: Python's None is null there."""
    return re.sub(r"\bNone\b", "`null`", words(docstring))


def _walk(name: str, definitions: dict[str, Any], found: list[str]) -> None:
    if name not in found:
        found.append(name)
        for reference in _references(definitions[name]):
            _walk(reference, definitions, found)


def _references(value: Any) -> list[str]:
    if isinstance(value, dict):
        own = [value["$ref"].removeprefix(_REFERENCE)] if "$ref" in value else []
        return own + [name for child in value.values() for name in _references(child)]
    return [name for child in value for name in _references(child)] if isinstance(value, list) else []


def _type(schema: dict[str, Any], definitions: dict[str, Any]) -> str:
    """A JSON Schema in words."""
    if "$ref" in schema:
        name = schema["$ref"].removeprefix(_REFERENCE)
        if "enum" not in definitions[name]:
            return f"[{name}](#{name.lower()})"
        return "reason code" if name == "ReasonCode" else ", ".join(map(code, definitions[name]["enum"]))
    if "anyOf" in schema:
        return " or ".join(_type(choice, definitions) for choice in schema["anyOf"])
    if "enum" in schema:
        return ", ".join(map(code, schema["enum"]))
    if schema["type"] == "array":
        return f"array of {_type(schema['items'], definitions)}"
    if schema["type"] == "object":
        return f"object: name to {_type(schema['additionalProperties'], definitions)}"
    return _limited(schema)


_LIMITS = {"minimum": "≥", "exclusiveMinimum": ">"}


def _limited(schema: dict[str, Any]) -> str:
    limits = [f"{sign} {schema[key]:g}" for key, sign in _LIMITS.items() if key in schema]
    if "minimum" in schema and schema["minimum"] == schema.get("maximum"):
        return code(schema["minimum"])
    return ", ".join([str(schema["type"]), *limits])


def _meaning_of_type(schema: dict[str, Any], definitions: dict[str, Any]) -> str:
    """Where a field has no words of its own, its struct's or enumeration's first sentence may say enough."""
    names = _references(schema)
    text = _in_json(definitions[names[0]].get("description")) if names else ""
    return text.split(". ")[0].rstrip(".") + "." if text else ""


def _meanings(kind: type) -> dict[str, str]:
    """Docstrings of a class's fields and of those that it inherits."""
    found: dict[str, str] = {}
    for base in reversed(kind.__mro__):
        if base.__module__.startswith("monai_bone_ssl"):
            for definition in ast.parse(dedent(inspect.getsource(base))).body:
                found |= _field_docstrings(definition)
    return found


def _field_docstrings(definition: ast.stmt) -> dict[str, str]:
    """What stands as a string below a field."""
    pairs = pairwise(definition.body) if isinstance(definition, ast.ClassDef) else ()
    return {
        field.target.id: _in_json(str(after.value.value))
        for field, after in pairs
        if isinstance(field, ast.AnnAssign) and isinstance(field.target, ast.Name)
        if isinstance(after, ast.Expr) and isinstance(after.value, ast.Constant)
    }


def _all_structs() -> list[type]:
    found, waiting = [], [msgspec.Struct]
    while waiting:
        children = [c for c in waiting.pop().__subclasses__() if c.__module__.startswith("monai_bone_ssl")]
        found += children
        waiting += children
    return found


def _path(kind: type) -> dict[str, str]:
    if kind is Path:
        return {"type": "string"}
    raise NotImplementedError(kind)
