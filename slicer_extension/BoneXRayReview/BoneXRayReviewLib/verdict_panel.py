"""The reader's verdict on the open case: buttons, confidence, comment and marks."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from BoneXRayReviewLib.controller import ReviewController
    from monai_bone_ssl.findings import Target
    from monai_bone_ssl.review.verdict import Location

__all__ = ["VerdictPanel"]

_EDITORS = (
    "agreeButton", "disagreeButton", "normalButton", "abnormalButton", "uncertainButton", "badImageButton",
    "pointButton", "boxButton", "rulerButton", "removeMarkupButton", "confidenceSpinBox", "flagCheckBox",
    "commentEdit", "saveNextButton", "revealButton",
)  # fmt: skip


class VerdictPanel:
    """Shows and takes the draft of a controller.

    Parameters
    ----------
    ui
        The panel's widgets.
    actions
        By name, as in :data:`~BoneXRayReviewLib.shortcuts.SHORTCUTS`; and ``remove_markup``.
    edited
        Called with the fields that the reader changed in a widget.
    """

    def __init__(
        self, ui: Any, actions: dict[str, Callable[[], None]], edited: Callable[[dict[str, object]], None]
    ) -> None:
        self._ui = ui
        self._edited = edited
        self._showing = False
        self._answers = {
            "normal": ui.normalButton,
            "abnormal": ui.abnormalButton,
            "uncertain": ui.uncertainButton,
            "bad_image": ui.badImageButton,
        }
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
            button.connect("clicked()", actions[name])
        ui.confidenceSpinBox.connect("valueChanged(int)", self._on_confidence)
        ui.flagCheckBox.connect("toggled(bool)", self._on_flag)
        ui.commentEdit.connect("textChanged()", self._on_comment)
        self.refresh(None)

    def refresh(self, controller: ReviewController | None) -> None:
        """Show how things stand now."""
        ui = self._ui
        self._showing = True  # what is written into the widgets below is no edit
        open_ = controller is not None and controller.image_shown
        for name in _EDITORS:
            getattr(ui, name).enabled = open_
        for button in (ui.previousButton, ui.nextButton):
            button.enabled = controller is not None
        hidden = open_ and not controller.may_see_ai
        for button in (ui.agreeButton, ui.disagreeButton):
            button.enabled = open_ and controller.can_agree
        ui.revealButton.visible = hidden
        self._name_answers(None if controller is None else controller.worklist.target)
        draft = None if controller is None else controller.draft
        for name, button in self._answers.items():
            button.checked = draft is not None and draft.reading is not None and draft.reading.value == name
        ui.confidenceSpinBox.value = 0 if draft is None else draft.confidence or 0
        ui.flagCheckBox.checked = draft is not None and draft.flagged
        comment = "" if draft is None else draft.comment
        if ui.commentEdit.plainText != comment:  # writing it would move the cursor while somebody types
            ui.commentEdit.plainText = comment
        ui.locationsLabel.text = "" if draft is None else _describe_locations(draft.locations)
        ui.locationsLabel.visible = bool(ui.locationsLabel.text)
        self._showing = False

    def _name_answers(self, target: Target | None) -> None:
        """Write what the answers mean for what the model looks for; the words are the package's."""
        if target is None:
            self._ui.normalButton.text, self._ui.abnormalButton.text = "Normal (N)", "Abnormal (P)"
            return
        from monai_bone_ssl.review.verdict import Reading, describe_reading

        self._ui.normalButton.text = f"{describe_reading(Reading.NORMAL, target)} (N)"
        self._ui.abnormalButton.text = f"{describe_reading(Reading.ABNORMAL, target)} (P)"

    def _on_confidence(self, value: int) -> None:
        self._edit(confidence=value or None)

    def _on_flag(self, checked: bool) -> None:
        self._edit(flagged=checked)

    def _on_comment(self) -> None:
        self._edit(comment=self._ui.commentEdit.plainText)

    def _edit(self, **changes: object) -> None:
        if not self._showing:
            self._edited(changes)


def _describe_locations(locations: tuple[Location, ...]) -> str:
    return "\n".join(_describe_location(location) for location in locations)


def _describe_location(location: Location) -> str:
    places = " to ".join(f"row {row:.0f}, column {column:.0f}" for row, column in location.points)
    length = ""
    if location.kind == "ruler":
        unknown = "length unknown, the image does not say how large its pixels are"
        length = f", {unknown}" if location.length_mm is None else f", {location.length_mm:.1f} mm"
    return f"{location.kind.capitalize()}: {places}{length}"
