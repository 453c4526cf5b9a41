"""Parts of the module BoneXRayReview: nodes, markups, background work and panel sections; no clinical logic.

Files that BoneXRayReview.py imports at file scope need neither monai_bone_ssl nor onnxruntime: the module has
to load in an application where the package is not installed yet. The rest is imported when a review begins.
"""
# ruff: noqa: N999 - Slicer names a library after its module
