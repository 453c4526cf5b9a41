"""One reader's way through a worklist: the open case, the draft of its verdict, the next case.

No widgets and no scene. Both show what is kept here.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from time import monotonic

import numpy as np

from monai_bone_ssl.errors import ConfigError, ReasonCode
from monai_bone_ssl.findings import Answered, ImageFinding, OperatingPoints, Region
from monai_bone_ssl.review.selection import Filter, select
from monai_bone_ssl.review.session import ReviewSession
from monai_bone_ssl.review.verdict import Agreement, Location, Reading, Verdict, agreement, reading_for
from monai_bone_ssl.review.worklist import Case, Worklist, load_evidence, with_finding

__all__ = ["Draft", "ReviewController"]


@dataclass(frozen=True)
class Draft:
    """Verdict on the open case as far as the reader has given it."""

    reading: Reading | None = None
    confidence: int | None = None
    comment: str = ""
    flagged: bool = False
    locations: tuple[Location, ...] = ()


class ReviewController:
    """Steers one open session.

    Parameters
    ----------
    session
        Session of the reader.
    worklist
        Images to read.
    results
        Output folder of ``analyze`` that the worklist was made from; None where it was made from images.
    clock
        Function that returns the time in seconds.
    """

    def __init__(
        self,
        session: ReviewSession,
        worklist: Worklist,
        results: Path | None = None,
        clock: Callable[[], float] = monotonic,
    ) -> None:
        self.session = session
        self.worklist = worklist
        self.results = results
        self.filter = Filter.ALL
        self.current: Case | None = None
        self.draft = Draft()
        self.adjudicating = False
        #: Whether the image of the open case is on the screen: no verdict is taken before.
        self.image_shown = False
        self._clock = clock
        self._opened_at = 0.0
        self._noted = False
        self._unsaved: dict[str, Draft] = {}
        self._evidence: dict[str, np.ndarray] = {}

    # --- the list -------------------------------------------------------------------------------------

    @property
    def cases(self) -> list[Case]:
        """Cases that pass the filter, the most urgent first."""
        return select(self.worklist, self.filter, self.session.verdicts, hide_ai=self.session.blinded)

    def case(self, key: str) -> Case | None:
        """Find the case with a key; None where there is none."""
        return next((case for case in self.worklist.cases if case.key == key), None)

    @property
    def unanalysed(self) -> list[Case]:
        """Images without a result, the open one first."""
        waiting = [case for case in self.worklist.cases if case.finding is None]
        return sorted(waiting, key=lambda case: self.current is None or case.key != self.current.key)

    def set_finding(
        self,
        key: str,
        finding: ImageFinding,
        points: OperatingPoints | None,
        evidence: np.ndarray | None = None,
    ) -> None:
        """Put a result of the model into the worklist."""
        self.worklist = with_finding(self.worklist, key, finding, points)
        if evidence is not None:
            self._evidence[key] = evidence
        if self.current is not None and self.current.key == key:
            self.current = self.case(key)

    def evidence(self) -> np.ndarray | None:
        """Probability of each patch of the open case, float32 [h, w]; None where none may be shown now."""
        if self.current is None or not self.may_see_ai:
            return None
        found = self._evidence.get(self.current.key)
        if found is None and self.results is not None:
            found = load_evidence(self.results, self.current)
        return found

    def regions(self) -> tuple[Region, ...]:
        """Regions of the open case; empty where there are none to show now."""
        finding = None if self.current is None else self.current.finding
        return finding.regions if isinstance(finding, Answered) and self.may_see_ai else ()

    # --- going through it -----------------------------------------------------------------------------

    def resume(self) -> Case | None:
        """Open the case shown last, or else the first one."""
        last = self.session.position
        known = last if last is not None and self.case(last) is not None else None
        first = next(iter(self.cases), None)
        key = known or (None if first is None else first.key)
        return None if key is None else self.open(key)

    def open(self, key: str, adjudicating: bool = False) -> Case:
        """Open a case; the draft on the case before is kept.

        Raises
        ------
        ConfigError
            Where there is no such case.
        """
        case = self.case(key)
        if case is None:
            text = f"{key}: not in the worklist, expected one of its {len(self.worklist.cases)} images"
            raise ConfigError(ReasonCode.INVALID_CONFIG, text)
        self.leave()
        self.session.opened(key)
        self.current = case
        self.adjudicating = adjudicating
        self.image_shown = False
        self.draft = self._unsaved.get(key) or self._saved_draft()
        self._opened_at = self._clock()
        self._noted = False
        return case

    def step(self, by: int) -> Case | None:
        """Open the next (1) or previous (-1) case of the list; None at its end."""
        keys = [case.key for case in self.cases]
        if self.current is None or self.current.key not in keys:
            return self.open(keys[0]) if keys else None
        place = keys.index(self.current.key) + by
        return self.open(keys[place]) if 0 <= place < len(keys) else None

    def leave(self) -> None:
        """Save the draft if it has changed; one without a reading is kept until the case is opened again."""
        if self.current is None or not self.changed:
            return
        if self.draft.reading is None:
            self._unsaved[self.current.key] = self.draft
        else:
            self.save()

    # --- the verdict ----------------------------------------------------------------------------------

    @property
    def changed(self) -> bool:
        """Whether the draft on the open case differs from the saved verdict."""
        return self.current is not None and self.draft != self._saved_draft()

    @property
    def may_see_ai(self) -> bool:
        """Whether the algorithm's result of the open case may be shown."""
        return self.current is not None and self.session.may_see_ai(self.current.key)

    @property
    def can_agree(self) -> bool:
        """Whether the algorithm gave a yes or no that the reader may agree or disagree with."""
        case = self.current
        return case is not None and self.may_see_ai and agreement(Reading.NORMAL, case.decision) is not None

    def note_revealed(self) -> None:
        """Note in the audit trail that the result is shown now, once each time the case is opened."""
        case = self.current
        if self._noted or case is None or case.finding is None or not self.session.blinded:
            return
        self.session.revealed(case.key)
        self._noted = True

    def edit(self, **changes: object) -> None:
        """Change the draft: any of the fields of :class:`Draft`."""
        self._require_image()
        self.draft = replace(self.draft, **changes)

    def read_as(self, reading: str) -> None:
        """Take a reading, by its name."""
        self.edit(reading=Reading(reading))

    def agree(self, stance: str) -> None:
        """Take the reading that agrees, or disagrees, with the algorithm.

        Raises
        ------
        ConfigError
            Where the result is hidden, or is neither yes nor no.
        """
        case = self._require_image()
        if not self.may_see_ai:
            text = "the algorithm's result is hidden: expected a reading of your own, normal or abnormal"
            raise ConfigError(ReasonCode.INVALID_CONFIG, text)
        self.edit(reading=reading_for(Agreement(stance), case.decision))

    def save(self) -> Verdict:
        """Save the draft as a verdict.

        Raises
        ------
        ConfigError
            Where there is no reading yet, or another process has taken over.
        ReportError
            Where the folder cannot be written; the draft stays.
        """
        case = self._require_image()
        if self.draft.reading is None:
            text = "no reading yet: expected normal, abnormal, uncertain or bad image"
            raise ConfigError(ReasonCode.INVALID_CONFIG, text)
        former = self.session.verdicts.get(case.key)
        verdict = self.session.verdict(
            case,
            self.draft.reading,
            seconds=self._clock() - self._opened_at,
            confidence=self.draft.confidence,
            comment=self.draft.comment,
            locations=self.draft.locations,
            flagged=self.draft.flagged,
            adjudicated=self.adjudicating or (former is not None and former.adjudicated),
        )
        self.session.save(verdict)
        self._unsaved.pop(case.key, None)
        return verdict

    def save_and_next(self) -> Case | None:
        """Save, and open the next case of the list as it was before, else the first one not read.

        Returns
        -------
        The case that is open now; None where all are read and there is none after this one.
        """
        case = self._require_image()
        before = [other.key for other in self.cases]
        self.save()
        after = before[before.index(case.key) + 1 :] if case.key in before else before
        still_shown = {other.key for other in self.cases}
        following = next((key for key in after if key in still_shown), None)
        if following is None:
            unread = (other.key for other in self.worklist.cases if other.key not in self.session.verdicts)
            following = next((key for key in unread if key in still_shown), None)
        return None if following is None else self.open(following)

    def _require_image(self) -> Case:
        if self.current is None or not self.image_shown:
            text = "no image is shown: expected one on the screen before anything is said of it"
            raise ConfigError(ReasonCode.INVALID_CONFIG, text)
        return self.current

    def _saved_draft(self) -> Draft:
        verdict = None if self.current is None else self.session.verdicts.get(self.current.key)
        if verdict is None:
            return Draft()
        return Draft(verdict.reading, verdict.confidence, verdict.comment, verdict.flagged, verdict.locations)
