"""3D Slicer module: read bone radiographs beside the algorithm, and write verified reports."""

import shutil
import sys
import unittest
from collections.abc import Callable
from pathlib import Path
from tempfile import mkdtemp
from typing import Any

import slicer
import slicer.util
from BoneXRayReviewLib import dependencies, sample_data
from BoneXRayReviewLib.adaptation_panel import AdaptationPanel
from BoneXRayReviewLib.adjudication_panel import AdjudicationPanel
from BoneXRayReviewLib.analysis_panel import AnalysisPanel
from BoneXRayReviewLib.case_view import CaseView
from BoneXRayReviewLib.finish_panel import FinishPanel
from BoneXRayReviewLib.markups import differ
from BoneXRayReviewLib.messages import LOST, TITLE, reporting, say
from BoneXRayReviewLib.parameters import BoneXRayReviewParameterNode, ParameterBinding
from BoneXRayReviewLib.session_panel import SessionPanel
from BoneXRayReviewLib.shortcuts import Shortcuts, help_text
from BoneXRayReviewLib.sources import Source, radiograph_files
from BoneXRayReviewLib.tasks import TaskRunner
from BoneXRayReviewLib.verdict_panel import VerdictPanel
from BoneXRayReviewLib.viewer import Viewer
from BoneXRayReviewLib.worklist_panel import WorklistPanel
from slicer.ScriptedLoadableModule import (
    ScriptedLoadableModule,
    ScriptedLoadableModuleLogic,
    ScriptedLoadableModuleTest,
    ScriptedLoadableModuleWidget,
)
from slicer.util import VTKObservationMixin


class BoneXRayReview(ScriptedLoadableModule):
    """The module as the application lists it."""

    def __init__(self, parent: Any) -> None:
        super().__init__(parent)
        self.parent.title = TITLE
        self.parent.categories = ["Radiology"]
        self.parent.dependencies = []
        self.parent.contributors = ["monai_bone_ssl contributors"]
        self.parent.helpText = help_text()
        self.parent.acknowledgementText = "Part of monai_bone_ssl, Apache License 2.0."
        slicer.app.connect("startupCompleted()", sample_data.register)


class BoneXRayReviewLogic(ScriptedLoadableModuleLogic):
    """The module without a window."""

    def getParameterNode(self) -> BoneXRayReviewParameterNode:  # noqa: N802 - Slicer's name
        """The scene's parameters, typed."""
        return BoneXRayReviewParameterNode(super().getParameterNode())

    def start(self, parameters: BoneXRayReviewParameterNode) -> Any:
        """Open the review that the parameters describe.

        Returns
        -------
        The review, a :class:`BoneXRayReviewLib.review_start.Review`.

        Raises
        ------
        ConfigError, ModelError, ReportError
            Where the review cannot be opened, with one line that says why.
        """
        from BoneXRayReviewLib.review_start import Settings, start_review

        in_database = parameters.source is Source.DATABASE
        settings = Settings(
            source=parameters.source,
            input_folder=parameters.inputFolder,
            database_files=radiograph_files(slicer.dicomDatabase) if in_database else (),
            use_model=parameters.useModel,
            model_folder=parameters.modelFolder,
            session_folder=parameters.sessionFolder,
            reader=parameters.readerName,
            organization=parameters.readerOrganization,
            blinded=parameters.blinded,
        )
        return start_review(settings)


class BoneXRayReviewWidget(ScriptedLoadableModuleWidget, VTKObservationMixin):
    """The module's panel, which connects all sections with one review."""

    def __init__(self, parent: Any = None) -> None:
        VTKObservationMixin.__init__(self)
        self.review: Any = None
        ScriptedLoadableModuleWidget.__init__(self, parent)

    # --- life of the panel ----------------------------------------------------------------------------

    def setup(self) -> None:
        """Make the panel; the application calls this once."""
        super().setup()
        panel = slicer.util.loadUI(self.resourcePath("UI/BoneXRayReview.ui"))
        self.layout.addWidget(panel)
        self.ui = slicer.util.childWidgetVariables(panel)
        self.logic = BoneXRayReviewLogic()
        self._folder = Path(mkdtemp(prefix="BoneXRayReview", dir=slicer.app.temporaryPath))
        self.viewer = Viewer(slicer.app.applicationLogic(), slicer.modules.volumes.logic(), self._on_marked)
        self.tasks = TaskRunner(self.ui.taskProgressBar, self.ui.cancelButton)
        self.binding = ParameterBinding(self.ui, self._on_parameters)
        self._make_sections()
        self.shortcuts = Shortcuts(slicer.util.mainWindow() or self.parent, self.verdict_panel.actions)
        self.ui.filterComboBox.connect("currentIndexChanged(int)", self._on_filter)
        self._observe_scene()
        self._use_parameter_node()
        self._show_review()

    def _make_sections(self) -> None:
        ui = self.ui
        for label in (ui.sessionMessage, ui.messageLabel):
            say(label, "")
        self.case_view = CaseView(ui, self.viewer, self._folder)
        self.worklist_panel = WorklistPanel(ui, self.open_case)
        self.verdict_panel = VerdictPanel(ui, self._actions_beside_the_verdict())
        self._sections = (
            SessionPanel(ui, self.start, self.close_review),
            AnalysisPanel(ui, self.tasks, self._on_analysed),
            self.worklist_panel,
            self.case_view,
            self.verdict_panel,
            AdjudicationPanel(ui, lambda key: self.open_case(key, True)),
            FinishPanel(ui),
            AdaptationPanel(ui, self.tasks),
        )

    def _actions_beside_the_verdict(self) -> dict[str, Callable[[], None]]:
        return {
            "point": lambda: self.viewer.place("point"),
            "box": lambda: self.viewer.place("box"),
            "ruler": lambda: self.viewer.place("ruler"),
            "remove_markup": lambda: self.viewer.markups.remove_last(),
            "toggle_regions": self.toggle_regions,
            "toggle_overlay": self.toggle_overlay,
            "reveal": self.reveal,
            "save_and_next": self.save_and_next,
            "next": lambda: self.step(1),
            "previous": lambda: self.step(-1),
        }

    def enter(self) -> None:
        """Take over the window; the application calls this each time the module is opened."""
        slicer.app.layoutManager().setLayout(slicer.vtkMRMLLayoutNode.SlicerLayoutOneUpRedSliceView)
        self._use_parameter_node()
        self.shortcuts.enable(True)

    def exit(self) -> None:
        """Give the single keys back; the application calls this each time another module is opened."""
        self.shortcuts.enable(False)
        self._save_draft()

    def cleanup(self) -> None:
        """Save and let go of everything; the application calls this at its end, or before a reload."""
        self.shortcuts.delete()
        self._save_draft()
        self._end_review()
        self.binding.release()
        self.removeObservers()
        shutil.rmtree(self._folder, ignore_errors=True)

    # --- parameters and scene -------------------------------------------------------------------------

    @property
    def controller(self) -> Any:
        """Controller of the open review; None where no review is open."""
        return None if self.review is None else self.review.controller

    def toggle_regions(self) -> None:
        """Hide the regions, or show them again."""
        parameters = self.binding.parameters
        parameters.regionsVisible = not parameters.regionsVisible

    def toggle_overlay(self) -> None:
        """Show the evidence, or hide it again."""
        parameters = self.binding.parameters
        parameters.overlayVisible = not parameters.overlayVisible

    def _use_parameter_node(self) -> None:
        """Bind the panel to the scene's parameters."""
        self.binding.bind(self.logic.getParameterNode())
        self.worklist_panel.set_filter(self.binding.parameters.filterName)

    def _on_parameters(self, _caller: Any = None, _event: Any = None) -> None:
        shown = self.binding.parameters
        self.viewer.show_regions(shown.regionsVisible)
        self.viewer.show_evidence(shown.overlayVisible, shown.overlayOpacity, shown.overlayThreshold)

    def _on_filter(self, _index: int) -> None:
        self.binding.parameters.filterName = self.worklist_panel.filter_name

    def _observe_scene(self) -> None:
        for event, call in (
            (slicer.mrmlScene.StartCloseEvent, self._on_scene_start_close),
            (slicer.mrmlScene.EndCloseEvent, self._on_scene_end_close),
            (slicer.mrmlScene.EndImportEvent, self._on_scene_end_import),
        ):
            self.addObserver(slicer.mrmlScene, event, call)

    def _on_scene_start_close(self, _caller: Any, _event: Any) -> None:
        self._save_draft()
        self._end_review()
        self.viewer.forget()
        self.binding.release()

    def _on_scene_end_close(self, _caller: Any, _event: Any) -> None:
        self._use_parameter_node()
        self._show_review()

    def _on_scene_end_import(self, _caller: Any, _event: Any) -> None:
        """Go on where a loaded scene was saved: same review, same case, same marks."""
        self._use_parameter_node()
        parameters = self.binding.parameters
        key = parameters.caseKey
        if self.review is not None or not key or not dependencies.is_installed():
            return
        self.viewer.adopt(parameters.radiograph, parameters.evidence)
        marks = self.viewer.locations()
        self._start(key)
        shown = self.controller is not None and self.controller.image_shown
        if shown and differ(marks, self.controller.draft.locations):
            self.viewer.show_locations(marks)
            self._on_marked()

    # --- a review -------------------------------------------------------------------------------------

    def start(self) -> None:
        """Open the review that is filled in, at the image shown last."""
        if self.close_review():
            self._start(None)

    def _start(self, key: str | None) -> None:
        with reporting(self.ui.sessionMessage):
            self.review = self.logic.start(self.binding.parameters)
        self._show_review()
        if self.review is not None:
            known = key is not None and self.controller.case(key) is not None
            self._move(lambda: self.controller.open(key) if known else self.controller.resume())
            if self.controller.session.recovered and not self.ui.messageLabel.text:
                say(self.ui.messageLabel, LOST, error=True)

    def close_review(self) -> bool:
        """Save and close the review; False where the verdict could not be saved: the review stays open."""
        if not self._save_draft():
            return False
        self._end_review()
        self.viewer.clear()
        self._show_review()
        return True

    def _end_review(self) -> None:
        self.tasks.abandon()
        self.case_view.similar.clear()
        if self.review is not None:
            with reporting(self.ui.sessionMessage):
                self.controller.session.close()
        self.review = None

    def _save_draft(self) -> bool:
        if self.review is None:
            return True
        with reporting(self.ui.messageLabel):
            self.controller.leave()
            return True
        return False

    def _show_review(self) -> None:
        for section in self._sections:
            section.set_review(self.review)

    # --- a case ---------------------------------------------------------------------------------------

    def open_case(self, key: str, adjudicating: bool = False) -> None:
        """Open one case of the worklist; when adjudicating, the next verdict settles a disagreement."""
        self._move(lambda: self.controller.open(key, adjudicating))
        if adjudicating and self.controller.adjudicating:
            say(self.ui.messageLabel, "Adjudication: the verdict that you save settles the disagreement.")

    def step(self, by: int) -> None:
        """Open the next (1) or previous (-1) case."""
        if self.review is not None:
            self._move(lambda: self.controller.step(by))

    def save_and_next(self) -> None:
        """Save the verdict and open the next case."""
        if self.review is None:
            return
        self._move(self.controller.save_and_next)
        n_read, n_cases = self.controller.session.progress(self.controller.worklist)
        if n_read == n_cases and not self.ui.messageLabel.text:
            say(self.ui.messageLabel, f"All {n_cases} images are read.")

    def reveal(self) -> None:
        """Save the first reading of a blinded review, then show what the algorithm says."""
        if self.review is None or self.controller.may_see_ai:
            return
        with reporting(self.ui.messageLabel):
            self.controller.save()
            self._show_answer()
        self._refresh()

    def _move(self, open_case: Callable[[], Any]) -> None:
        """Open a case by a function of the controller, and show it."""
        with reporting(self.ui.messageLabel):
            open_case()
            if self.controller.current is not None and not self.controller.image_shown:
                self.binding.parameters.caseKey = self.controller.current.key
                self.case_view.show(self.review)
                self.binding.parameters.radiograph = self.viewer.radiograph
                self._note_evidence()
        self._refresh()

    def _show_answer(self) -> None:
        self.case_view.show_answer(self.review)
        self._note_evidence()

    def _note_evidence(self) -> None:
        """Note the evidence in the scene's parameters, and show it as the reader has set."""
        self.binding.parameters.evidence = self.viewer.evidence
        self._on_parameters()

    def _refresh(self) -> None:
        self.worklist_panel.refresh()
        self.verdict_panel.refresh()

    def _on_analysed(self, key: str) -> None:
        current = self.controller.current
        if current is not None and current.key == key:
            self._show_answer()
        self._refresh()

    def _on_marked(self) -> None:
        if self.controller is not None and self.controller.image_shown:
            self.verdict_panel.edit(locations=self.viewer.locations())


class BoneXRayReviewTest(ScriptedLoadableModuleTest):
    """Run by "Reload and Test" in the application."""

    def runTest(self) -> None:  # noqa: N802 - unittest's name
        """Run the tests in Testing/Python with the application as it is."""
        folder = Path(slicer.util.modulePath("BoneXRayReview")).parent / "Testing" / "Python"
        if str(folder) not in sys.path:
            sys.path.append(str(folder))
        import BoneXRayReviewSelfTest

        suite = unittest.defaultTestLoader.loadTestsFromModule(BoneXRayReviewSelfTest)
        result = unittest.TextTestRunner(verbosity=2).run(suite)
        if not result.wasSuccessful() or result.testsRun == 0:
            raise AssertionError(f"{len(result.failures)} failures, {len(result.errors)} errors")
