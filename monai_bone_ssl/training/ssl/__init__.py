"""Self-supervised pre-training of a Vision Transformer on radiographs.

DINO (arXiv:2104.14294) with the options of DINOv2 (iBOT's masked patches, arXiv:2111.07832, and KoLeo,
arXiv:2304.07193), and MAE (arXiv:2111.06377) as a second framework.
"""
