"""Self-supervised Vision Transformer features and linear probes for bone radiographs."""

import os

__version__ = "0.1.0"

# onnxruntime keeps a database of its use in the home folder and sends it to its maker, unless it is told not
# to before it is first imported.
os.environ["ORT_DISABLE_TELEMETRY"] = "1"
