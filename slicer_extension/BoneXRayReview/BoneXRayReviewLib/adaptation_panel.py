"""The section for site adaptation: fit the model to the review's verdicts, compare, adopt, go back."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import slicer.util

from BoneXRayReviewLib.background import BackgroundTask
from BoneXRayReviewLib.dependencies import install_for_adaptation
from BoneXRayReviewLib.messages import TITLE, reporting, say
from BoneXRayReviewLib.tables import Cell, fill_table, prepare_table

if TYPE_CHECKING:
    from BoneXRayReviewLib.review_start import Review
    from BoneXRayReviewLib.tasks import TaskRunner
    from monai_bone_ssl.model.spec import Figure
    from monai_bone_ssl.review.adaptation.adapt import AdaptationReport
    from monai_bone_ssl.review.adaptation.gate import HeldOutFigure

__all__ = ["AdaptationPanel"]


class AdaptationPanel:
    """Runs the package's adaptation in the background and shows its figures.

    Parameters
    ----------
    ui
        The panel's widgets.
    runner
        Runner of the background work.
    """

    def __init__(self, ui: Any, runner: TaskRunner) -> None:
        self._ui = ui
        self._runner = runner
        self._review: Review | None = None
        self._report: AdaptationReport | None = None
        prepare_table(ui.figuresTable, ("Figure", "Now", "Fitted", "Difference"))
        ui.adaptButton.connect("clicked()", self.fit)
        ui.adoptButton.connect("clicked()", self.adopt)
        ui.rollbackButton.connect("clicked()", self.roll_back)
        self.set_review(None)

    def set_review(self, review: Review | None) -> None:
        """Work on another review; None for no review."""
        self._review = review
        self._show_report(None)
        say(self._ui.adaptationLabel, "")
        self._ui.adaptButton.enabled = review is not None and review.model_folder is not None
        self._ui.rollbackButton.enabled = review is not None

    def fit(self) -> None:
        """Fit a model to the verdicts and measure it on held-out ones; nothing is adopted."""
        if self._review is None or self._review.model_folder is None or self._runner.busy:
            return
        if not install_for_adaptation():
            return
        from monai_bone_ssl.review.adaptation.adapt import adapt  # imports onnx
        from monai_bone_ssl.review.adaptation.site_cases import labelled_cases

        with reporting(self._ui.adaptationLabel):
            folder, out = self._review.model_folder, self._store() / "candidates"
            controller = self._review.controller
            controller.leave()
            cases = labelled_cases(controller.session.folder, controller.worklist)

            def work(task: BackgroundTask[Any]) -> None:
                def progress(what: str, done: int, total: int) -> None:
                    task.stop_if_cancelled()
                    task.put((what, done, total))

                task.put(adapt(folder, cases, out, progress))

            self._show_report(None)
            say(self._ui.adaptationLabel, "Fitting...")
            self._runner.run(BackgroundTask(work), self._on_item, self._on_end)

    def adopt(self) -> None:
        """Use the fitted model from now on, if the gate has passed it and the reader confirms."""
        from monai_bone_ssl.review.adaptation import model_versions

        report, review = self._report, self._review
        if report is None or report.candidate is None or review is None or review.model_folder is None:
            return
        question = (
            f"Use version {report.version} from now on, for everybody who uses this model store?\n\n"
            f"It was fitted to {report.n} verdicts of {report.n_patients} patients. "
            "You can go back with one click."
        )
        if not slicer.util.confirmOkCancelDisplay(question, windowTitle=TITLE):
            return
        with reporting(self._ui.adaptationLabel):
            store, by = self._store(), review.controller.session.reader.name
            version = model_versions.adopt(store, report.candidate, review.model_folder, by)
            self._show_report(None)
            self._say_version(store, f"Version {version} is adopted.")

    def roll_back(self) -> None:
        """Use the version again that was in use before."""
        from monai_bone_ssl.review.adaptation import model_versions

        if self._review is None:
            return
        with reporting(self._ui.adaptationLabel):
            store = self._store()
            version = model_versions.rollback(store, self._review.controller.session.reader.name)
            self._say_version(store, f"Back to version {version}.")

    def _store(self) -> Path:
        from monai_bone_ssl.errors import ConfigError, ReasonCode

        if not self._ui.storePath.currentPath:
            text = "no model store: expected a folder for the versions of the model"
            raise ConfigError(ReasonCode.INVALID_CONFIG, text)
        return Path(self._ui.storePath.currentPath)

    def _say_version(self, store: Path, what: str) -> None:
        hint = f"Choose {store} as the model and start the review again to read with it."
        say(self._ui.adaptationLabel, f"{what} {hint}")

    def _on_item(self, item: Any) -> None:
        if isinstance(item, tuple):
            what, done, total = item
            say(self._ui.adaptationLabel, f"Fitting: {what} {done} of {total}")
            self._runner.show_progress(done, total)
        else:
            self._show_report(item)

    def _on_end(self, task: BackgroundTask[Any]) -> None:
        with reporting(self._ui.adaptationLabel):
            task.check()
            if self._report is not None:
                self._say_gate(self._report)
            elif task.cancelled:
                say(self._ui.adaptationLabel, "Stopped; nothing was changed.")

    def _say_gate(self, report: AdaptationReport) -> None:
        scope = f"{report.n} verdicts, {report.n_positive} abnormal, {report.n_patients} patients"
        answer = "The fitted model is better" if report.gate.passed else "The fitted model is not adopted"
        reasons = "".join(f"\n- {reason}" for reason in report.gate.reasons)
        say(self._ui.adaptationLabel, f"{answer} ({scope}).{reasons}")

    def _show_report(self, report: AdaptationReport | None) -> None:
        self._report = report
        rows = [] if report is None else [_row(figure) for figure in report.figures]
        fill_table(self._ui.figuresTable, rows)
        self._ui.figuresTable.visible = bool(rows)
        self._ui.adoptButton.enabled = report is not None and report.candidate is not None


def _row(figure: HeldOutFigure) -> list[Cell]:
    from monai_bone_ssl.review.adaptation.gate import FIGURE_NAMES

    name = FIGURE_NAMES[figure.name]
    for end in (" (", " at ", " high-"):  # one line would be too wide for the panel
        name = name.replace(end, f"\n{end.lstrip()}")
    shown = (_interval(figure.old), _interval(figure.new), _interval(figure.difference, sign="+"))
    return [(text, None) for text in (name, *shown)]


def _interval(figure: Figure, sign: str = "") -> str:
    """Write a value and, below, its interval: side by side they would be too wide for the panel."""
    return f"{figure.value:{sign}.2f}\n{figure.ci_low:{sign}.2f} to {figure.ci_high:{sign}.2f}"
