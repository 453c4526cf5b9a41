"""What the module BoneXRayReview is made of: nodes, markups, background work, tables; no clinical logic.

What BoneXRayReview.py imports at file scope needs neither monai_bone_ssl nor onnxruntime: the module has
to load in an application where the package is not installed yet. The rest is imported when a review begins.
"""
# ruff: noqa: N999 - Slicer names a library after its module
