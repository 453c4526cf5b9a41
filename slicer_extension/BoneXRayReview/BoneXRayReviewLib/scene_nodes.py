"""Taking nodes out of the scene whole."""

from __future__ import annotations

from typing import Any

import slicer

__all__ = ["is_in_scene", "remove_node"]


def is_in_scene(node: Any) -> bool:
    """Whether a node is there and in the scene."""
    return node is not None and slicer.mrmlScene.IsNodePresent(node) != 0


def remove_node(node: Any) -> None:
    """Remove a node with its display and storage nodes, which the scene would keep."""
    displays = [node.GetNthDisplayNode(index) for index in range(node.GetNumberOfDisplayNodes())]
    for belonging in (*displays, node.GetStorageNode(), node):
        if is_in_scene(belonging):
            slicer.mrmlScene.RemoveNode(belonging)
