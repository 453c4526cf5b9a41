"""The section for the reader's verdict on the open case: answers, confidence, comment and marks."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from BoneXRayReviewLib.messages import reporting

if TYPE_CHECKING:
    from BoneXRayReviewLib.controller import ReviewController
    from BoneXRayReviewLib.review_start import Review
    from monai_bone_ssl.findings import Target
    from monai_bone_ssl.review.verdict import Location

__all__ = ["VerdictPanel"]


class VerdictPanel:
    """Shows the draft of the verdict on the open case, and takes changes of it.

    Parameters
    ----------
    ui
        The panel's widgets.
    beside
        Actions that are not about the verdict itself, such as marking and moving on, by their names.
    """

    def __init__(self, ui: Any, beside: Mapping[str, Callable[[], None]]) -> None:
        self._ui = ui
        self._controller: ReviewController | None = None
        self._showing = False
        self._answers = {
            "normal": ui.normalButton,
            "abnormal": ui.abnormalButton,
            "uncertain": ui.uncertainButton,
            "bad_image": ui.badImageButton,
        }
        #: Actions of all keys and buttons, by the names of :data:`~BoneXRayReviewLib.shortcuts.SHORTCUTS`.
        self.actions = {**self._verdict_actions(), **beside}
        self._connect_buttons()
        ui.confidenceSpinBox.connect("valueChanged(int)", self._on_confidence)
        ui.flagCheckBox.connect("toggled(bool)", self._on_flag)
        ui.commentEdit.connect("textChanged()", self._on_comment)
        self.set_review(None)

    def _connect_buttons(self) -> None:
        ui = self._ui
        buttons = self._answers | {
            "agree": ui.agreeButton,
            "disagree": ui.disagreeButton,
            "point": ui.pointButton,
            "box": ui.boxButton,
            "ruler": ui.rulerButton,
            "remove_markup": ui.removeMarkupButton,
            "previous": ui.previousButton,
            "next": ui.nextButton,
            "reveal": ui.revealButton,
            "save_and_next": ui.saveNextButton,
        }
        for name, button in buttons.items():
            button.connect("clicked()", self.actions[name])

    def set_review(self, review: Review | None) -> None:
        """Work on another review; None for no review."""
        self._controller = None if review is None else review.controller
        self.refresh()

    def edit(self, **changes: object) -> None:
        """Change the draft; an error is shown beside it."""
        self._action(lambda controller: controller.edit(**changes))()

    def refresh(self) -> None:
        """Show the present state of the draft."""
        self._showing = True  # the widgets tell of the changes below as if the reader had made them
        self._enable(self._controller)
        self._name_answers(None if self._controller is None else self._controller.worklist.target)
        self._show_draft(self._controller)
        self._showing = False

    def _enable(self, controller: ReviewController | None) -> None:
        ui = self._ui
        open_ = controller is not None and controller.image_shown
        for button in (ui.previousButton, ui.nextButton):
            button.enabled = controller is not None
        for button in (ui.agreeButton, ui.disagreeButton):
            button.enabled = open_ and controller.can_agree
        editors = (
            *self._answers.values(),
            *(ui.pointButton, ui.boxButton, ui.rulerButton, ui.removeMarkupButton),
            *(ui.confidenceSpinBox, ui.flagCheckBox, ui.commentEdit, ui.saveNextButton, ui.revealButton),
        )
        for widget in editors:
            widget.enabled = open_
        ui.revealButton.visible = open_ and not controller.may_see_ai

    def _show_draft(self, controller: ReviewController | None) -> None:
        ui = self._ui
        draft = None if controller is None else controller.draft
        reading = None if draft is None or draft.reading is None else draft.reading.value
        for name, button in self._answers.items():
            button.checked = name == reading
        ui.confidenceSpinBox.value = 0 if draft is None else draft.confidence or 0
        ui.flagCheckBox.checked = draft is not None and draft.flagged
        comment = "" if draft is None else draft.comment
        if ui.commentEdit.plainText != comment:  # writing it would move the cursor while somebody types
            ui.commentEdit.plainText = comment
        ui.locationsLabel.text = "" if draft is None else _describe_locations(draft.locations)
        ui.locationsLabel.visible = bool(ui.locationsLabel.text)

    def _name_answers(self, target: Target | None) -> None:
        """Name the answers after the condition that the model looks for, in the package's words."""
        if target is None:
            self._ui.normalButton.text, self._ui.abnormalButton.text = "Normal (N)", "Abnormal (P)"
            return
        from monai_bone_ssl.review.verdict import Reading, describe_reading

        self._ui.normalButton.text = f"{describe_reading(Reading.NORMAL, target)} (N)"
        self._ui.abnormalButton.text = f"{describe_reading(Reading.ABNORMAL, target)} (P)"

    # --- what keys and widgets do ---------------------------------------------------------------------

    def _verdict_actions(self) -> dict[str, Callable[[], None]]:
        """Actions of the verdict itself; the name of an answer is that of the package."""
        actions = {name: self._action(lambda c, name=name: c.agree(name)) for name in ("agree", "disagree")}
        actions |= {name: self._action(lambda c, name=name: c.read_as(name)) for name in self._answers}
        actions |= {
            f"confidence_{value}": self._action(lambda c, value=value: c.edit(confidence=value))
            for value in range(1, 6)
        }
        return actions | {"flag": self._action(lambda c: c.edit(flagged=not c.draft.flagged))}

    def _action(self, act: Callable[[ReviewController], None]) -> Callable[[], None]:
        """Make a function that acts on the open review, shows an error, and the draft as it is then."""

        def run() -> None:
            if self._controller is not None:
                with reporting(self._ui.messageLabel):
                    act(self._controller)
                self.refresh()

        return run

    def _on_confidence(self, value: int) -> None:
        if not self._showing:
            self.edit(confidence=value or None)

    def _on_flag(self, checked: bool) -> None:
        if not self._showing:
            self.edit(flagged=checked)

    def _on_comment(self) -> None:
        if not self._showing:
            self.edit(comment=self._ui.commentEdit.plainText)


def _describe_locations(locations: tuple[Location, ...]) -> str:
    return "\n".join(_describe_location(location) for location in locations)


def _describe_location(location: Location) -> str:
    places = " to ".join(f"row {row:.0f}, column {column:.0f}" for row, column in location.points)
    length = ""
    if location.kind == "ruler":
        unknown = "length unknown, the image does not say how large its pixels are"
        length = f", {unknown}" if location.length_mm is None else f", {location.length_mm:.1f} mm"
    return f"{location.kind.capitalize()}: {places}{length}"
