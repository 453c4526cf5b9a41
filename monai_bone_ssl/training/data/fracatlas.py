"""A FracAtlas-style folder: ``labels.csv``, ``images/`` and, where outlined, ``fracture_boxes.json``.

FracAtlas publishes no patients. Their stand-in is a ``block`` of consecutive ids, merged with every block
that shares a group of near-duplicates with it: a figure measured across two halves of such a group is
too kind.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import MappingProxyType

import msgspec
import numpy as np
from numpy.typing import NDArray
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from monai_bone_ssl.body_parts import FRACATLAS_PARTS
from monai_bone_ssl.findings import FRACTURE
from monai_bone_ssl.training.data.dataset import (
    AnnotatedBox,
    DataSource,
    LabelledDataset,
    LabelledImage,
    Listing,
)
from monai_bone_ssl.training.data.tables import Row, invalid_data, parse_flag, read_table

__all__ = ["MIXED", "load_fracatlas"]

#: Part name of images that show several parts.
MIXED = "mixed"

_COLUMNS = ("image_id", "part", "fractured", "hardware", "block", "neardup_group")
_BOXES = "fracture_boxes.json"
_RANGES = 8
_SOURCE = DataSource(
    name="FracAtlas",
    licence="CC BY 4.0",
    reference="Abedeen et al., Scientific Data 2023, doi:10.1038/s41597-023-02432-4",
    public_names=True,
)


class _Outline(msgspec.Struct, frozen=True):
    bbox_xywh: tuple[float, float, float, float]
    polygon: list[list[float]] = []


def load_fracatlas(root: Path) -> Listing:
    """Images of a FracAtlas-style folder; the label means "fractured".

    Parameters
    ----------
    root
        Folder with ``labels.csv`` (image_id, part, fractured, hardware, block, neardup_group; other columns
        allowed) and ``images/``.

    Raises
    ------
    ConfigError
        Naming the line and what was expected there.
    """
    rows = read_table(root / "labels.csv", _COLUMNS)
    boxes = _read_boxes(root / _BOXES)
    images = tuple(
        _image(root, row, group, acquisition, boxes.get(row.values["image_id"], ()))
        for row, group, acquisition in zip(rows, _merged_groups(rows), _ranges(rows), strict=True)
    )
    parts = {image.part for image in images}
    known = {name: part for name, part in FRACATLAS_PARTS.items() if name in parts}
    contradictions = tuple(
        f"{row.where}: fractured is 0, but {_BOXES} outlines a fracture in {row.values['image_id']}"
        for row, image in zip(rows, images, strict=True)
        if image.boxes and not image.label
    )
    return Listing(LabelledDataset(images, MappingProxyType(known), FRACTURE, _SOURCE), contradictions)


def _image(
    root: Path, row: Row, group: str, acquisition: str | None, boxes: tuple[AnnotatedBox, ...]
) -> LabelledImage:
    image_id, part = row.required("image_id"), row.required("part")
    label = parse_flag(row.values["fractured"], "fractured", row.where)
    if part not in FRACATLAS_PARTS and part != MIXED:
        expected = ", ".join((*FRACATLAS_PARTS, MIXED))
        raise invalid_data(f"{row.where}: unknown part '{part}', expected one of {expected}")
    return LabelledImage(
        path=root / "images" / image_id,
        name=f"images/{image_id}",
        label=label,
        part=part,
        group=group,
        hardware=bool(parse_flag(row.values["hardware"], "hardware", row.where)),
        boxes=boxes,
        acquisition=acquisition,
    )


def _merged_groups(rows: Sequence[Row]) -> list[str]:
    """Connected components of the graph whose nodes are blocks and near-duplicate groups."""
    if not rows:
        return []
    block_names, blocks = _codes([row.required("block") for row in rows])
    neardup_names, neardups = _codes([row.required("neardup_group") for row in rows])
    n_nodes = len(block_names) + len(neardup_names)
    edges = (np.ones(len(rows)), (blocks, neardups + len(block_names)))
    _, component = connected_components(coo_array(edges, shape=(n_nodes, n_nodes)), directed=False)
    return [f"group{component[block]}" for block in blocks]


def _ranges(rows: Sequence[Row]) -> list[str] | list[None]:
    """Acquisition range of each row: the eighth of the sorted distinct blocks that its block lies in."""
    blocks = [row.required("block") for row in rows]
    in_order = sorted(set(blocks), key=lambda block: (len(block), block))  # as numbers
    if len(in_order) < _RANGES:
        return [None] * len(rows)
    edges = [len(in_order) * i // _RANGES for i in range(1, _RANGES)]
    range_of = {block: f"range{bisect_right(edges, place) + 1}" for place, block in enumerate(in_order)}
    return [range_of[block] for block in blocks]


def _codes(names: list[str]) -> tuple[NDArray[np.str_], NDArray[np.int64]]:
    unique, codes = np.unique(np.array(names), return_inverse=True)
    return unique, codes


def _read_boxes(path: Path) -> Mapping[str, tuple[AnnotatedBox, ...]]:
    if not path.exists():
        return {}
    try:
        outlines = msgspec.json.decode(path.read_bytes(), type=dict[str, list[_Outline]])
    except msgspec.DecodeError as error:
        text = f"{path.name}: expected image id -> list of {{bbox_xywh, polygon}} ({error})"
        raise invalid_data(text) from error
    return {name: tuple(_box(outline, name) for outline in group) for name, group in outlines.items()}


def _box(outline: _Outline, image_id: str) -> AnnotatedBox:
    x, y, width, height = outline.bbox_xywh
    if min(x, y) < 0 or min(width, height) <= 0:
        raise invalid_data(
            f"{_BOXES}: {image_id} has bbox_xywh {list(outline.bbox_xywh)}, "
            "expected x and y from 0 and a width and height above 0"
        )
    if any(len(flat) % 2 for flat in outline.polygon):
        raise invalid_data(
            f"{_BOXES}: {image_id} has a polygon of an odd number of values, expected x, y, x, y, ..."
        )
    polygons = tuple(tuple(zip(flat[::2], flat[1::2], strict=True)) for flat in outline.polygon)
    return AnnotatedBox(x, y, width, height, polygons)
