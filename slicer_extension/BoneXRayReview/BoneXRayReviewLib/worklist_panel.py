"""The section for the worklist: filter, table and progress."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from BoneXRayReviewLib.messages import in_words
from BoneXRayReviewLib.tables import Cell, fill_table, prepare_table

if TYPE_CHECKING:
    from BoneXRayReviewLib.controller import ReviewController
    from BoneXRayReviewLib.review_start import Review
    from monai_bone_ssl.review.worklist import Case

__all__ = ["WorklistPanel"]

_FILTERS = {
    "all": "All images",
    "unread": "Not read yet",
    "positive": "AI positive",
    "indeterminate": "AI indeterminate",
    "not_analysed": "Not analysed",
    "disagreed": "I disagreed with the AI",
    "flagged": "Flagged",
}


class WorklistPanel:
    """Shows the cases of a review.

    Parameters
    ----------
    ui
        The panel's widgets.
    open_case
        Function that opens the case with a key.
    """

    def __init__(self, ui: Any, open_case: Callable[[str], None]) -> None:
        self._ui = ui
        self._open_case = open_case
        self._controller: ReviewController | None = None
        self._keys: list[str] = []
        prepare_table(ui.worklistTable, ("Study", "Body part", "AI", "You"))
        for text in _FILTERS.values():
            ui.filterComboBox.addItem(text)
        ui.filterComboBox.connect("currentIndexChanged(int)", self._on_filter)
        ui.worklistTable.connect("cellDoubleClicked(int,int)", self._on_chosen)

    def set_review(self, review: Review | None) -> None:
        """Show the cases of another review; None for no review."""
        self._controller = None if review is None else review.controller
        self._on_filter(self._ui.filterComboBox.currentIndex)

    def set_filter(self, name: str) -> None:
        """Choose a filter by its name; an unknown name chooses all images."""
        names = list(_FILTERS)
        self._ui.filterComboBox.currentIndex = names.index(name) if name in names else 0

    @property
    def filter_name(self) -> str:
        """Name of the package's filter that is chosen."""
        return list(_FILTERS)[self._ui.filterComboBox.currentIndex]

    def refresh(self) -> None:
        """Show the present state of all cases."""
        controller = self._controller
        if controller is None:
            self._keys = []
            fill_table(self._ui.worklistTable, [])
            self._ui.progressLabel.text = ""
            return
        names = _image_names(controller)
        cases = controller.cases
        self._keys = [case.key for case in cases]
        current = None if controller.current is None else controller.current.key
        selected = self._keys.index(current) if current in self._keys else None
        fill_table(self._ui.worklistTable, [_row(case, names, controller) for case in cases], selected)
        n_read, n_cases = controller.session.progress(controller.worklist)
        self._ui.progressLabel.text = f"{n_read} of {n_cases} read"

    def _on_filter(self, _index: int) -> None:
        if self._controller is not None:
            from monai_bone_ssl.review.selection import Filter

            self._controller.filter = Filter(self.filter_name)
        self.refresh()

    def _on_chosen(self, row: int, _column: int) -> None:
        self._open_case(self._keys[row])


def _image_names(controller: ReviewController) -> dict[str, str]:
    """Names of the cases, by key: numbers of study and image, which tell neither patient nor answer."""
    studies: dict[str, list[str]] = {}
    for case in controller.worklist.cases:
        studies.setdefault(case.study_instance_uid or case.key, []).append(case.key)
    return {
        key: f"{number}" if len(keys) == 1 else f"{number}, image {keys.index(key) + 1}"
        for number, keys in enumerate(studies.values(), start=1)
        for key in keys
    }


def _row(case: Case, names: dict[str, str], controller: ReviewController) -> list[Cell]:
    verdict = controller.session.verdicts.get(case.key)
    reading = "" if verdict is None else in_words(verdict.reading)
    flag = " (flagged)" if verdict is not None and verdict.flagged else ""
    if not controller.session.may_see_ai(case.key):
        return [(names[case.key], None), ("", None), ("hidden", None), (reading + flag, None)]
    part = None if case.finding is None else case.finding.body_part
    return [
        (names[case.key], None),
        ("" if part is None else part.value.lower(), None),
        _answer(case),
        (reading + flag, None),
    ]


def _answer(case: Case) -> Cell:
    from monai_bone_ssl.findings import Refused
    from monai_bone_ssl.show.colours import DECISION_COLOURS

    if case.finding is None:
        return "no result yet", None
    if isinstance(case.finding, Refused):
        return in_words(case.finding.status), None
    text = f"{case.finding.decision.value} {case.finding.probability:.2f}"
    return text, DECISION_COLOURS[case.finding.decision]
