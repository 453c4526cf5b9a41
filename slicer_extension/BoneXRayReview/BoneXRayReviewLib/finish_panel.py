"""What goes out: verified reports and the export; and what two readers read differently."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from BoneXRayReviewLib.messages import reporting, say
from BoneXRayReviewLib.tables import fill_table, prepare_table

if TYPE_CHECKING:
    from BoneXRayReviewLib.review_start import Review

__all__ = ["AdjudicationPanel", "FinishPanel"]


class FinishPanel:
    """Writes reports and the export.

    Parameters
    ----------
    ui
        The panel's widgets.
    save
        Saves the open case's draft first; raises the package's errors.
    """

    def __init__(self, ui: Any, save: Callable[[], None]) -> None:
        self._ui = ui
        self._save = save
        self._review: Review | None = None
        ui.reportsButton.connect("clicked()", self.write_reports)
        ui.exportButton.connect("clicked()", self.export)
        self.set_review(None)

    def set_review(self, review: Review | None) -> None:
        """Work on another review, or on none."""
        self._review = review
        say(self._ui.finishLabel, "")
        for button in (self._ui.reportsButton, self._ui.exportButton):
            button.enabled = review is not None

    def write_reports(self) -> None:
        """Write a verified report for each study that is read completely."""
        from monai_bone_ssl.review.session_reports import write_session_reports

        with reporting(self._ui.finishLabel):
            review, out = self._ready()
            controller = review.controller
            controller.session.reader.require_organization()
            reports = write_session_reports(
                controller.session, controller.worklist, out, review.model_folder, controller.results
            )
            lines = [f"{_count(len(reports.written), 'verified report')} in {out}"]
            if reports.unread:
                lines.append(f"{_count(len(reports.unread), 'study', 'studies')} not read completely yet")
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
        self._save()
        out = Path(self._ui.outputPath.currentPath)
        make_output_folder(out, [])
        return self._review, out


class AdjudicationPanel:
    """Lists what readers read differently.

    Parameters
    ----------
    ui
        The panel's widgets.
    adjudicate
        Called with the key of the case that is to be settled.
    """

    def __init__(self, ui: Any, adjudicate: Callable[[str], None]) -> None:
        self._ui = ui
        self._adjudicate = adjudicate
        self._review: Review | None = None
        self._keys: list[str] = []
        prepare_table(ui.disagreementTable, ("Readings", "Image"))
        ui.disagreementsButton.connect("clicked()", self.refresh)
        ui.disagreementTable.connect("cellDoubleClicked(int,int)", self._on_chosen)
        self.set_review(None)

    def set_review(self, review: Review | None) -> None:
        """Work on another review, or on none."""
        self._review = review
        self._keys = []
        fill_table(self._ui.disagreementTable, [])
        self._ui.disagreementsButton.enabled = review is not None

    def refresh(self) -> None:
        """Compare all readers' verdicts."""
        from monai_bone_ssl.review.consensus import disagreements

        if self._review is None:
            return
        with reporting(self._ui.adjudicationLabel):
            controller = self._review.controller
            # A blinded reader learns nothing of images that he has not read himself.
            found = [
                disagreement
                for disagreement in disagreements(controller.session.folder)
                if controller.case(disagreement.key) is not None
                and controller.session.may_see_ai(disagreement.key)
            ]
            self._keys = [disagreement.key for disagreement in found]
            rows = [[(_readings(d.readings), None), (d.key, None)] for d in found]
            fill_table(self._ui.disagreementTable, rows)
            count = _count(len(found), "image")
            say(
                self._ui.adjudicationLabel,
                f"{count} that readers read differently. Double-click to settle one.",
            )

    def _on_chosen(self, row: int, _column: int) -> None:
        self._adjudicate(self._keys[row])


def _readings(readings: Any) -> str:
    return ", ".join(f"{reader}: {reading.value.replace('_', ' ')}" for reader, reading in readings.items())


def _count(number: int, one: str, many: str = "") -> str:
    return f"{number} {one if number == 1 else many or one + 's'}"
