"""The Python package that the module works with: is it there, and may it be installed."""

from __future__ import annotations

import importlib.metadata
import importlib.util
from pathlib import Path

import slicer.util

from BoneXRayReviewLib.messages import TITLE

__all__ = ["PACKAGE", "install_after_asking", "install_for_adaptation", "is_installed", "package_source"]

PACKAGE = "monai-bone-ssl"

# Slicer's own modules are built for the versions of these that it ships: an installation must not move them.
_KEPT = ("numpy", "scipy")

_QUESTION = (
    "The module needs the Python package monai-bone-ssl with onnxruntime (no PyTorch, no GPU).\n\n"
    "Install it into Slicer's Python now?"
)
_ADAPTATION_QUESTION = (
    "Site adaptation needs the Python package onnx.\n\nInstall it into Slicer's Python now?"
)


def is_installed() -> bool:
    """Whether the package is there, and new enough to review with."""
    if importlib.util.find_spec("monai_bone_ssl") is None:
        return False
    return importlib.util.find_spec("monai_bone_ssl.review") is not None


def package_source() -> str:
    """What pip installs: the checkout that this module lies in, else the released package."""
    checkout = Path(__file__).resolve().parents[3]
    is_checkout = (checkout / "monai_bone_ssl").is_dir() and (checkout / "pyproject.toml").is_file()
    return str(checkout) if is_checkout else PACKAGE


def install_after_asking() -> bool:
    """Ask, then install the package; returns whether it is there afterwards.

    Raises
    ------
    subprocess.CalledProcessError
        Where pip fails; its output is in the Python console.
    """
    return _ask_and_install(_QUESTION, [package_source()]) and is_installed()


def install_for_adaptation() -> bool:
    """Ask, then install what site adaptation needs, if it is not there; returns whether it is.

    Raises
    ------
    subprocess.CalledProcessError
        Where pip fails.
    """
    if importlib.util.find_spec("onnx") is not None:
        return True
    return _ask_and_install(_ADAPTATION_QUESTION, ["onnx"])


def _ask_and_install(question: str, packages: list[str]) -> bool:
    wanted = packages + [f"{name}=={importlib.metadata.version(name)}" for name in _KEPT]
    text = question + "\n\n" + "\n".join(wanted)
    if not slicer.util.confirmOkCancelDisplay(text, windowTitle=TITLE):
        return False
    slicer.util.pip_install(wanted)  # it is slicer.packaging's since Slicer 5.12
    importlib.invalidate_caches()
    return True
