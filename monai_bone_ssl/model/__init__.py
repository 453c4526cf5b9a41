"""Pixels to numbers: a model folder, its network run by onnxruntime, and whether an image is one for it."""
