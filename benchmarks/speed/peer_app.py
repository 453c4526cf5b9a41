"""The peer: the same model in an application that is built like the MONAI Deploy examples.

Loader, series selector, series to volume, the model, and a text SR, all but the model by the App SDK's own
operators, put together as in its examples. peer.py runs it, by an interpreter that has the SDK:

    python benchmarks/speed/peer_app.py -i STUDY_FOLDER -o OUT -m MODEL_FOLDER
"""

from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path

import numpy as np
import onnxruntime as ort
from monai.deploy.conditions import CountCondition
from monai.deploy.core import (
    AppContext,
    Application,
    ExecutionContext,
    Fragment,
    InputContext,
    Operator,
    OperatorSpec,
    OutputContext,
)
from monai.deploy.operators import (
    DICOMDataLoaderOperator,
    DICOMSeriesSelectorOperator,
    DICOMSeriesToVolumeOperator,
    DICOMTextSRWriterOperator,
    EquipmentInfo,
    ModelInfo,
)
from PIL import Image as Picture

_RULES = '{"selections": [{"name": "radiographs", "conditions": {"Modality": "CR"}}]}'
_LONG_SIDE, _PATCH = 448, 14  # of the shipped model


class ClassifierOperator(Operator):
    """Volume to a line of text."""

    def __init__(self, fragment: Fragment, *args: object, model: Path, **kwargs: object) -> None:
        options = ort.SessionOptions()
        options.add_session_config_entry("session.disable_quant_qdq", "1")
        self.session = ort.InferenceSession(model, options, providers=["CPUExecutionProvider"])
        super().__init__(fragment, *args, **kwargs)

    def setup(self, spec: OperatorSpec) -> None:
        """Ports."""
        spec.input("image")
        spec.output("text")

    def compute(self, op_input: InputContext, op_output: OutputContext, _context: ExecutionContext) -> None:
        """Normalise, resize, infer."""
        volume = op_input.receive("image").asnumpy()
        pixels = np.squeeze(volume).astype(np.float32)
        low, high = np.percentile(pixels, (1, 99))
        grey = np.uint8(255 * np.clip((pixels - low) / (high - low), 0, 1))
        scale = _LONG_SIDE / max(grey.shape)
        height, width = (round(side * scale / _PATCH) * _PATCH for side in grey.shape)
        small = np.asarray(Picture.fromarray(grey).resize((width, height), Picture.Resampling.BILINEAR))
        batch = small[None, None].astype(np.float32) / 255
        (logit,) = self.session.run(["logits"], {"image": batch})
        op_output.emit(f"logit of fracture {float(logit[0]):.3f}", "text")


class PeerApp(Application):
    """Loader -> selector -> volume -> model -> text SR."""

    def compose(self) -> None:
        """Wire the operators."""
        context: AppContext = Application.init_app_context(self.argv)
        loader = DICOMDataLoaderOperator(
            self, CountCondition(self, 1), input_folder=Path(context.input_path), name="loader"
        )
        selector = DICOMSeriesSelectorOperator(self, rules=_RULES, name="selector")
        volume = DICOMSeriesToVolumeOperator(self, name="volume")
        model = ClassifierOperator(self, model=Path(context.model_path) / "model.onnx", name="model")
        writer = DICOMTextSRWriterOperator(
            self,
            copy_tags=True,
            model_info=ModelInfo(creator="example", name="example", version="1", uid="1.2.3"),
            equipment_info=EquipmentInfo(),
            output_folder=Path(context.output_path),
            name="writer",
        )
        self.add_flow(loader, selector, {("dicom_study_list", "dicom_study_list")})
        self.add_flow(selector, volume, {("study_selected_series_list", "study_selected_series_list")})
        self.add_flow(volume, model, {("image", "image")})
        self.add_flow(model, writer, {("text", "text")})
        self.add_flow(selector, writer, {("study_selected_series_list", "study_selected_series_list")})


def main() -> None:
    """Run once."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    for option, name in (("-i", "--input"), ("-o", "--output"), ("-m", "--model")):
        parser.add_argument(option, name, required=True, type=Path)
    arguments = parser.parse_args()
    arguments.output.mkdir(parents=True, exist_ok=True)
    os.environ["HOLOSCAN_INPUT_PATH"] = str(arguments.input)
    os.environ["HOLOSCAN_OUTPUT_PATH"] = str(arguments.output)
    os.environ["HOLOSCAN_MODEL_PATH"] = str(arguments.model)
    sys.argv = sys.argv[:1]
    PeerApp().run()


if __name__ == "__main__":
    main()
