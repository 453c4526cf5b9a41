"""The section for the open case: patient, result and similar cases, as far as the reader may know them."""

from __future__ import annotations

from html import escape
from pathlib import Path
from typing import TYPE_CHECKING, Any

import qt

from BoneXRayReviewLib.tables import fill_table, prepare_table

if TYPE_CHECKING:
    from pydicom import Dataset

    from BoneXRayReviewLib.inference import Similar
    from monai_bone_ssl.findings import ImageFinding, Target
    from monai_bone_ssl.review.worklist import Case
    from monai_bone_ssl.show.results import ModelIdentity

__all__ = ["CasePanel"]

_HIDDEN = "The AI result is hidden until your first reading is saved."
_NOTHING_YET = "No AI result yet: analyse the images, or read without one."


class CasePanel:
    """Shows one case.

    Parameters
    ----------
    ui
        The panel's widgets.
    folder
        Temporary folder for the small pictures.
    """

    def __init__(self, ui: Any, folder: Path) -> None:
        self._ui = ui
        self._folder = folder
        prepare_table(ui.similarTable, ("Label", "Body part", "Distance", "Training image"))
        self.clear()

    def clear(self) -> None:
        """Show no case."""
        self.show_patient(None)
        self._ui.resultLabel.text = "No image is open."
        self._show_answer(False)

    def show_patient(self, header: Dataset | None) -> None:
        """Show the patient from the header, on the screen only; None for no patient."""
        values = (
            []
            if header is None
            else [str(header.get(keyword) or "") for keyword in ("PatientName", "PatientID", "StudyDate")]
        )
        self._ui.patientLabel.text = escape("  ·  ".join(value for value in values if value))
        self._ui.patientLabel.visible = header is not None

    def show_hidden(self) -> None:
        """Show that the result is hidden, but not whether there is one."""
        self._ui.resultLabel.text = _HIDDEN
        self._show_answer(False)

    def show_result(
        self, case: Case, target: Target | None, model: ModelIdentity | None, *, with_evidence: bool
    ) -> None:
        """Show the result of a case.

        Parameters
        ----------
        case
            Case with the result.
        target, model
            Condition that the model looks for, and identity of the model; None where they are not known.
        with_evidence
            Whether there is evidence to show over the image.
        """
        finding = case.finding
        if finding is None:
            self._ui.resultLabel.text = _NOTHING_YET
            self._show_answer(False)
            return
        self._ui.resultLabel.text = _headline(finding, target)
        self._ui.detailLabel.text = _details(finding, model)
        self._ui.detailLabel.visible = True
        self._show_bar(case)
        self._ui.regionsCheckBox.visible = bool(getattr(finding, "regions", ()))
        self._ui.overlayPanel.visible = with_evidence
        if with_evidence:
            from BoneXRayReviewLib.drawing import colour_legend

            self._set_picture(self._ui.legendLabel, colour_legend(), "legend.png")

    def show_similar(self, similar: Similar | None) -> None:
        """Show the labelled cases most like the open one; None for none."""
        cases = () if similar is None else similar.cases
        self._ui.similarPanel.visible = bool(cases)
        n_positive = sum(case.label for case in cases)
        self._ui.similarLabel.text = f"Most alike in the training data: {n_positive} of {len(cases)} positive"
        rows = [
            [
                ("positive" if case.label else "negative", None),
                (case.part, None),
                (f"{case.distance:.3f}", None),
                (case.identifier, None),
            ]
            for case in cases
        ]
        fill_table(self._ui.similarTable, rows)

    def _show_answer(self, shown: bool) -> None:
        ui = self._ui
        for widget in (ui.barLabel, ui.detailLabel, ui.regionsCheckBox, ui.overlayPanel, ui.similarPanel):
            widget.visible = shown

    def _show_bar(self, case: Case) -> None:
        from BoneXRayReviewLib.drawing import probability_bar
        from monai_bone_ssl.findings import Answered

        shown = isinstance(case.finding, Answered) and case.points is not None
        self._ui.barLabel.visible = shown
        if shown:
            bar = probability_bar(case.finding.probability, case.points)
            self._set_picture(self._ui.barLabel, bar, "bar.png")

    def _set_picture(self, label: Any, png: bytes, name: str) -> None:
        from BoneXRayReviewLib.drawing import SCALE

        # A file is the one way to hand over a picture that every version of Slicer's Qt takes.
        path = self._folder / name
        path.write_bytes(png)
        pixmap = qt.QPixmap(str(path))
        pixmap.setDevicePixelRatio(SCALE)
        label.setPixmap(pixmap)


def _headline(finding: ImageFinding, target: Target | None) -> str:
    from monai_bone_ssl.findings import UNVERIFIED, Answered, describe_image
    from monai_bone_ssl.show.colours import DECISION_COLOURS

    if target is not None:
        text = describe_image(finding, target)
    elif isinstance(finding, Answered):
        text = f"{finding.decision}, probability {finding.probability:.2f}"
    else:
        text = finding.reason.text
    mark = ""
    if isinstance(finding, Answered):
        red, green, blue = DECISION_COLOURS[finding.decision]
        mark = f'<span style="color: rgb({red}, {green}, {blue})">&#9632;</span> '
    return f"{mark}<b>{escape(text)}</b><br/><small>{escape(UNVERIFIED)}</small>"


def _details(finding: ImageFinding, model: ModelIdentity | None) -> str:
    from monai_bone_ssl.findings import Answered, describe_body_part, describe_regions

    part = "" if finding.body_part is None else f"Body part {describe_body_part(finding.body_part)}"
    by = "" if model is None else f"Model {model.name} {model.version}"
    regions = f"Regions: {describe_regions(finding.regions)}" if isinstance(finding, Answered) else ""
    lines = (part, regions, by, *(note.text for note in finding.notes))
    return "<br/>".join(f"<small>{escape(line)}</small>" for line in lines if line)
