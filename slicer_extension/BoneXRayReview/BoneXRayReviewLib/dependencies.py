"""The Python package that the module works with: whether it is installed, and installing it after asking."""

from __future__ import annotations

import importlib.metadata
import importlib.util
from pathlib import Path

import slicer.util

from BoneXRayReviewLib.messages import TITLE

__all__ = ["PACKAGE", "install_after_asking", "install_for_adaptation", "is_installed", "package_source"]

PACKAGE = "monai-bone-ssl"

# Packages that an installation must not change: Slicer's own modules are built for the versions in Slicer.
_KEPT = ("numpy", "scipy")

_QUESTION = (
    "The module needs the Python package monai-bone-ssl with onnxruntime (no PyTorch, no GPU).\n\n"
    "Install it into Slicer's Python now?"
)
_ADAPTATION_QUESTION = (
    "Site adaptation needs the Python package onnx.\n\nInstall it into Slicer's Python now?"
)


def is_installed() -> bool:
    """Whether the package is installed, and new enough to review with."""
    if importlib.util.find_spec("monai_bone_ssl") is None:
        return False
    return importlib.util.find_spec("monai_bone_ssl.review") is not None


def package_source() -> str:
    """Name the package for pip: the checkout that this module lies in, or else the released package."""
    checkout = Path(__file__).resolve().parents[3]
    is_checkout = (checkout / "monai_bone_ssl").is_dir() and (checkout / "pyproject.toml").is_file()
    return str(checkout) if is_checkout else PACKAGE


def install_after_asking() -> bool:
    """Ask, then install the package; False where it is not installed afterwards.

    Raises
    ------
    subprocess.CalledProcessError
        Where pip fails; the Python console has pip's output.
    """
    return _ask_and_install(_QUESTION, [package_source()]) and is_installed()


def install_for_adaptation() -> bool:
    """Ask, then install the package that site adaptation needs; False where it is not installed afterwards.

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
    slicer.util.pip_install(wanted)  # since Slicer 5.12 the function is slicer.packaging's
    importlib.invalidate_caches()
    return True
