"""The section for verified reports and the export."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from BoneXRayReviewLib.messages import count, reporting, say

if TYPE_CHECKING:
    from BoneXRayReviewLib.review_start import Review

__all__ = ["FinishPanel"]


class FinishPanel:
    """Writes reports and the export.

    Parameters
    ----------
    ui
        The panel's widgets.
    """

    def __init__(self, ui: Any) -> None:
        self._ui = ui
        self._review: Review | None = None
        ui.reportsButton.connect("clicked()", self.write_reports)
        ui.exportButton.connect("clicked()", self.export)
        self.set_review(None)

    def set_review(self, review: Review | None) -> None:
        """Work on another review; None for no review."""
        self._review = review
        say(self._ui.finishLabel, "")
        for button in (self._ui.reportsButton, self._ui.exportButton):
            button.enabled = review is not None

    def write_reports(self) -> None:
        """Write a verified report for each study that is read completely."""
        from monai_bone_ssl.review.verified_report import write_session_reports

        with reporting(self._ui.finishLabel):
            review, out = self._ready()
            controller = review.controller
            reports = write_session_reports(
                controller.session, controller.worklist, out, review.model_folder, controller.results
            )
            lines = [f"{count(len(reports.written), 'verified report')} in {out}"]
            if reports.unread:
                lines.append(f"{count(len(reports.unread), 'study', 'studies')} not read completely yet")
            lines += [f"Refused: {error.text}" for error in reports.refused.values()]
            say(self._ui.finishLabel, "\n".join(lines), error=bool(reports.refused))

    def export(self) -> None:
        """Write all readers' verdicts and the audit trail."""
        from monai_bone_ssl.review.export import export_session

        with reporting(self._ui.finishLabel):
            review, out = self._ready()
            controller = review.controller
            written = export_session(controller.session.folder, controller.worklist, out)
            say(self._ui.finishLabel, f"Export in {written}")

    def _ready(self) -> tuple[Review, Path]:
        from monai_bone_ssl.errors import ConfigError, ReasonCode
        from monai_bone_ssl.pipeline import make_output_folder

        if self._review is None or not self._ui.outputPath.currentPath:
            raise ConfigError(ReasonCode.INVALID_CONFIG, "no folder: expected one for reports and export")
        self._review.controller.leave()  # saves the verdict on the open case
        out = Path(self._ui.outputPath.currentPath)
        make_output_folder(out, [])
        return self._review, out
