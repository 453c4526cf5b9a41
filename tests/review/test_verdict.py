from __future__ import annotations

import pytest

from monai_bone_ssl.errors import ConfigError
from monai_bone_ssl.findings import ABNORMALITY, FRACTURE, Decision
from monai_bone_ssl.review.verdict import (
    Agreement,
    Location,
    Reading,
    Verdict,
    agreement,
    describe_reading,
    reading_for,
)

YES_OR_NO = (Decision.NEGATIVE, Decision.POSITIVE)


@pytest.mark.parametrize(
    ("reading", "decision", "expected"),
    [
        (Reading.NORMAL, Decision.NEGATIVE, Agreement.AGREE),
        (Reading.NORMAL, Decision.POSITIVE, Agreement.DISAGREE),
        (Reading.ABNORMAL, Decision.NEGATIVE, Agreement.DISAGREE),
        (Reading.ABNORMAL, Decision.POSITIVE, Agreement.AGREE),
        (Reading.NORMAL, Decision.INDETERMINATE, None),
        (Reading.ABNORMAL, None, None),
        (Reading.UNCERTAIN, Decision.POSITIVE, Agreement.UNCERTAIN),
        (Reading.UNCERTAIN, None, Agreement.UNCERTAIN),
        (Reading.BAD_IMAGE, Decision.NEGATIVE, Agreement.BAD_IMAGE),
    ],
)
def test_agreement(reading: Reading, decision: Decision | None, expected: Agreement | None) -> None:
    assert agreement(reading, decision) is expected


@pytest.mark.parametrize("decision", YES_OR_NO)
@pytest.mark.parametrize("stance", Agreement)
def test_a_key_says_what_agreement_reads_back(stance: Agreement, decision: Decision) -> None:
    assert agreement(reading_for(stance, decision), decision) is stance


@pytest.mark.parametrize("decision", [None, Decision.INDETERMINATE])
def test_nobody_agrees_with_no_answer(decision: Decision | None) -> None:
    assert reading_for(Agreement.UNCERTAIN, decision) is Reading.UNCERTAIN
    for stance in (Agreement.AGREE, Agreement.DISAGREE):
        with pytest.raises(ConfigError, match="expected positive or negative"):
            reading_for(stance, decision)


def test_words() -> None:
    assert describe_reading(Reading.NORMAL, FRACTURE) == "No fracture"
    assert describe_reading(Reading.ABNORMAL, ABNORMALITY) == "Abnormality"


@pytest.mark.parametrize(
    ("kind", "points", "length"),
    [
        ("point", ((1.0, 2.0), (3.0, 4.0)), None),
        ("box", ((1.0, 2.0),), None),
        ("ruler", ((1.0, 2.0), (float("nan"), 4.0)), None),
        ("ruler", ((1.0, 2.0), (3.0, 4.0)), 0.0),
        ("box", ((1.0, 2.0), (3.0, 4.0)), 5.0),
    ],
)
def test_a_location_has_the_points_of_its_kind(kind: str, points: object, length: float | None) -> None:
    with pytest.raises(ConfigError, match=kind):
        Location(kind, points, length)


@pytest.mark.parametrize(("field", "value"), [("confidence", 0), ("confidence", 6), ("seconds", -1.0)])
def test_a_verdict_has_sensible_numbers(field: str, value: float) -> None:
    plain = {
        "key": "1", "sop_instance_uid": "1", "study_instance_uid": "1", "reading": Reading.NORMAL,
        "agreement": None, "decision": None, "read_at": "2026-01-02T03:04:05+00:00", "seconds": 1.0,
    }  # fmt: skip
    with pytest.raises(ConfigError, match=str(abs(value))):
        Verdict(**(plain | {field: value}))
