"""Self-supervised Vision Transformer features and linear probes for bone radiographs."""

__version__ = "0.1.0"
