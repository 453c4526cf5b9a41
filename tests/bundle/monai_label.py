"""One radiograph through MONAI Label's own bundle task: ``bundle image.dcm``; prints the finding.

Runs with an interpreter that has MONAI Label and the train extra.
"""

from __future__ import annotations

import sys

import msgspec
from monailabel.tasks.infer.bundle import BundleInferTask

bundle, radiograph = sys.argv[1:]
task = BundleInferTask(bundle, {"preload": "false"}, add_post_restore=False)
assert task.is_valid()
_, data = task({"image": radiograph, "device": "cpu", "skip_writer": True})
print(msgspec.json.encode({"type": task.type, "finding": data["finding"]}).decode())
