"""Cases of a worklist to show, and the order to read them in."""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum

from monai_bone_ssl.findings import Answered, Decision
from monai_bone_ssl.review.verdict import Agreement, Verdict
from monai_bone_ssl.review.worklist import Case, Worklist

__all__ = ["Filter", "select"]


class Filter(StrEnum):
    """Cases to show."""

    ALL = "all"
    UNREAD = "unread"
    POSITIVE = "positive"
    INDETERMINATE = "indeterminate"
    NOT_ANALYSED = "not_analysed"
    DISAGREED = "disagreed"
    FLAGGED = "flagged"


# Filters whose result tells what the algorithm said.
_REVEALING = frozenset({Filter.POSITIVE, Filter.INDETERMINATE, Filter.NOT_ANALYSED, Filter.DISAGREED})


def select(worklist: Worklist, filter: Filter, verdicts: Mapping[str, Verdict], hide_ai: bool) -> list[Case]:
    """Choose the cases to show, the most urgent first.

    Positive cases come first (the largest probability before all), then indeterminate ones, those without an
    answer, and negative ones. The images of one study stay together, at the place of the most urgent one.

    Parameters
    ----------
    worklist
        All cases.
    filter
        Which cases to keep.
    verdicts
        Verdicts of the reader, by key of the case.
    hide_ai
        Whether the reader may not know yet what the algorithm said of images not read. The order is then that
        of the files, and a filter by the algorithm's answer shows only cases that were read already.
    """
    chosen = [case for case in worklist.cases if _passes(case, filter, verdicts.get(case.key))]
    if hide_ai:
        return [case for case in chosen if filter not in _REVEALING or case.key in verdicts]
    by_urgency = sorted(chosen, key=_urgency)
    place: dict[str, int] = {}
    for position, case in enumerate(by_urgency):
        place.setdefault(_study(case), position)
    return sorted(by_urgency, key=lambda case: place[_study(case)])


def _passes(case: Case, filter: Filter, verdict: Verdict | None) -> bool:
    match filter:
        case Filter.ALL:
            return True
        case Filter.UNREAD:
            return verdict is None
        case Filter.POSITIVE:
            return case.decision is Decision.POSITIVE
        case Filter.INDETERMINATE:
            return case.decision is Decision.INDETERMINATE
        case Filter.NOT_ANALYSED:
            return case.decision is None
        case Filter.DISAGREED:
            return verdict is not None and verdict.agreement is Agreement.DISAGREE
        case Filter.FLAGGED:
            return verdict is not None and verdict.flagged


_RANK = {Decision.POSITIVE: 0, Decision.INDETERMINATE: 1, None: 2, Decision.NEGATIVE: 3}


def _urgency(case: Case) -> tuple[int, float]:
    probability = case.finding.probability if isinstance(case.finding, Answered) else 0.0
    return _RANK[case.decision], -probability


def _study(case: Case) -> str:
    return case.study_instance_uid or case.key
