"""One radiograph through the MONAI Deploy App SDK's own bundle operator: ``model.ts image.dcm out.npy``.

Runs in the bundle's folder, with an interpreter that has the SDK and the train extra.
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
from holoscan.conditions import CountCondition
from monai.deploy.core import AppContext, Application, Image, IOType, Operator, OperatorSpec
from monai.deploy.operators.monai_bundle_inference_operator import IOMapping, MonaiBundleInferenceOperator

from monai_bone_ssl.dicom.radiograph import read_radiograph
from monai_bone_ssl.training.bundle.reader import BODY_PART

MODEL, RADIOGRAPH, OUT = map(Path, sys.argv[1:])


class Read(Operator):
    """Grey values as the package reads them; the SDK's DICOMSeriesToVolume reads volumes."""

    def setup(self, spec: OperatorSpec) -> None:
        spec.output("image")

    def compute(self, _input, op_output, _context) -> None:
        radiograph = read_radiograph(RADIOGRAPH)
        image = Image(radiograph.pixels[None], {BODY_PART: radiograph.anatomy or ""})
        op_output.emit(image, "image")


class Keep(Operator):
    def setup(self, spec: OperatorSpec) -> None:
        spec.input("pred")

    def compute(self, op_input, _output, _context) -> None:
        np.save(OUT, op_input.receive("pred"))


class App(Application):
    def compose(self) -> None:
        read = Read(self, CountCondition(self, 1), name="read")
        infer = MonaiBundleInferenceOperator(
            self,
            name="infer",
            app_context=AppContext({"model": str(MODEL)}),
            input_mapping=[IOMapping("image", Image, IOType.IN_MEMORY)],
            output_mapping=[IOMapping("pred", np.ndarray, IOType.IN_MEMORY)],
        )
        self.add_flow(read, infer, {("image", "image")})
        self.add_flow(infer, Keep(self, name="keep"), {("pred", "pred")})


App([]).run()
