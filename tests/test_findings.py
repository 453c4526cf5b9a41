"""Probability to decision, images to a study's conclusion, and the words for both."""

from __future__ import annotations

from typing import Literal

import pytest
from pydicom.sr.codedict import codes

from monai_bone_ssl.errors import CorruptImage, ModelError, ReasonCode, UnsupportedImage
from monai_bone_ssl.findings import (
    ABNORMALITY,
    FRACTURE,
    Answered,
    BodyPart,
    Decision,
    ImageFinding,
    OperatingPoints,
    Peak,
    PixelBox,
    Reason,
    Refused,
    Region,
    Status,
    StudyFinding,
    Target,
    decide,
    describe_body_part,
    describe_image,
    describe_regions,
    describe_study,
    study_finding,
    unanalysed,
)

NEGATIVE, INDETERMINATE, POSITIVE = Decision


def analysed(decision: Decision, probability: float) -> Answered:
    return Answered(
        path="a.dcm",
        body_part=BodyPart("hand", "dicom", 0.9),
        decision=decision,
        probability=probability,
        peak=Peak(1, 2),
        seconds=0.1,
    )


def left_out(code: ReasonCode, status: Status = Status.NOT_ANALYSED) -> Refused:
    return Refused(path="b.dcm", status=status, reason=Reason(code, "b.dcm: the words"), seconds=0.1)


UNREADABLE = left_out(ReasonCode.DECODE_FAILED, Status.FAILED)


# --- one image ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("probability", "decision"),
    [
        (0.0, NEGATIVE),
        (0.1999, NEGATIVE),
        (0.2, INDETERMINATE),
        (0.6999, INDETERMINATE),
        (0.7, POSITIVE),
        (1.0, POSITIVE),
    ],
)
def test_decision_at_and_beside_the_operating_points(probability: float, decision: Decision) -> None:
    assert decide(probability, OperatingPoints(high_sensitivity=0.2, high_specificity=0.7)) is decision


def test_one_threshold_leaves_nothing_indeterminate() -> None:
    points = OperatingPoints(high_sensitivity=0.5, high_specificity=0.5)
    assert [decide(p, points) for p in (0.49, 0.5)] == [NEGATIVE, POSITIVE]


def test_status_tells_what_the_model_is_not_for_from_what_went_wrong() -> None:
    for error, status in (
        (UnsupportedImage(ReasonCode.COLOUR, "in colour"), Status.NOT_ANALYSED),
        (CorruptImage(ReasonCode.TRUNCATED_FILE, "ends early"), Status.FAILED),
        (ModelError(ReasonCode.INFERENCE_FAILED, "no answer"), Status.FAILED),
    ):
        assert unanalysed(error) == (status, Reason(error.code, error.text))


@pytest.mark.parametrize("probability", [-0.1, 1.1, float("nan"), float("inf")])
def test_an_answer_has_a_probability(probability: float) -> None:
    with pytest.raises(ValueError, match="expected 0 to 1"):
        analysed(POSITIVE, probability)


@pytest.mark.parametrize("status", [Status.ANALYSED, Status.PARTIALLY_ANALYSED])
def test_a_refused_image_was_not_analysed(status: Status) -> None:
    with pytest.raises(ValueError, match="expected not_analysed or failed"):
        left_out(ReasonCode.COLOUR, status)


@pytest.mark.parametrize("target", [FRACTURE, ABNORMALITY], ids=lambda target: target.name)
def test_answers_are_codes_of_the_standard(target: Target) -> None:
    group = {"fracture": codes.cid240, "abnormality": codes.cid242}[target.name]
    terms = [getattr(group, keyword) for keyword in group.dir()]
    known = {(term.value, term.scheme_designator, term.meaning) for term in terms}
    answers = [target.answer(decision) for decision in Decision]
    assert {(answer.value, answer.scheme, answer.meaning) for answer in answers} <= known
    assert [answer.meaning for answer in answers] == {
        "fracture": ["Absent", "Undetermined", "Present"],
        "abnormality": ["Normal", "Normality Undetermined", "Abnormal"],
    }[target.name]


def test_centre_of_a_box_is_row_and_column() -> None:
    assert PixelBox(top=10, left=40, bottom=21, right=60).centre == Peak(row=15, column=50)


# --- a study ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("images", "conclusion"),
    [
        ([analysed(NEGATIVE, 0.1)], (Status.ANALYSED, NEGATIVE, 0.1)),
        ([analysed(NEGATIVE, 0.1), analysed(NEGATIVE, 0.15)], (Status.ANALYSED, NEGATIVE, 0.15)),
        ([analysed(POSITIVE, 0.9), analysed(POSITIVE, 0.8)], (Status.ANALYSED, POSITIVE, 0.9)),
        ([analysed(NEGATIVE, 0.0), analysed(NEGATIVE, 0.1)], (Status.ANALYSED, NEGATIVE, 0.1)),
        # Operating points differ between body parts: the decision counts, not the number.
        ([analysed(POSITIVE, 0.4), analysed(INDETERMINATE, 0.6)], (Status.ANALYSED, POSITIVE, 0.4)),
        ([analysed(NEGATIVE, 0.6), analysed(INDETERMINATE, 0.4)], (Status.ANALYSED, INDETERMINATE, 0.4)),
        # Nobody has looked at the one that is left out.
        ([analysed(NEGATIVE, 0.1), UNREADABLE], (Status.PARTIALLY_ANALYSED, INDETERMINATE, 0.1)),
        ([analysed(INDETERMINATE, 0.4), UNREADABLE], (Status.PARTIALLY_ANALYSED, INDETERMINATE, 0.4)),
        ([analysed(POSITIVE, 0.9), UNREADABLE], (Status.PARTIALLY_ANALYSED, POSITIVE, 0.9)),
        ([UNREADABLE, left_out(ReasonCode.COLOUR)], (Status.FAILED, None, None)),
        ([left_out(ReasonCode.COLOUR)], (Status.NOT_ANALYSED, None, None)),
        ([left_out(ReasonCode.NOT_DICOM)], (Status.NOT_ANALYSED, None, None)),
        ([], (Status.NOT_ANALYSED, None, None)),
    ],
)
def test_study_is_as_severe_as_its_worst_image(
    images: list[ImageFinding], conclusion: tuple[Status, Decision | None, float | None]
) -> None:
    for order in (images, images[::-1]):
        study = study_finding("1.2.3", order)
        assert (study.status, study.decision, study.probability) == conclusion
        assert (study.study_instance_uid, study.sr_path) == ("1.2.3", None)


@pytest.mark.parametrize("code", ReasonCode)
def test_only_what_is_no_radiograph_leaves_a_study_negative(code: ReasonCode) -> None:
    """A file that is no DICOM image of the X-ray classes, or one that was there already."""
    study = study_finding("1.2.3", [analysed(NEGATIVE, 0.1), left_out(code)])
    beside_the_point = code in {"not_dicom", "unsupported_sop_class", "duplicate_instance"}
    assert study.decision is (NEGATIVE if beside_the_point else INDETERMINATE)
    assert study.status is (Status.ANALYSED if beside_the_point else Status.PARTIALLY_ANALYSED)


# --- words --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("finding", "words"),
    [
        (analysed(NEGATIVE, 0.034), "No sign of fracture, probability of fracture 0.03"),
        (analysed(INDETERMINATE, 0.4), "Indeterminate for fracture, probability of fracture 0.40"),
        (analysed(POSITIVE, 1.0), "Suspected fracture, probability of fracture 1.00"),
        (left_out(ReasonCode.COLOUR), "Not analysed: b.dcm: the words"),
        (UNREADABLE, "Analysis failed: b.dcm: the words"),
    ],
)
def test_words_for_an_image(finding: ImageFinding, words: str) -> None:
    assert describe_image(finding, FRACTURE) == words


@pytest.mark.parametrize(
    ("part", "words"),
    [
        (BodyPart("HAND", "dicom", None), "hand (from the header)"),
        (BodyPart("hand", "dicom", 0.123), "hand (from the header, confidence 0.12)"),
        (BodyPart("leg", "image", 1.0), "leg (from the image, confidence 1.00)"),
    ],
)
def test_words_for_a_body_part(part: BodyPart, words: str) -> None:
    assert describe_body_part(part) == words


@pytest.mark.parametrize(
    ("certainties", "words"),
    [
        ([], "none"),
        (["possible"], "1 possible"),
        (["certain", "possible", "possible"], "1 certain, 2 possible"),
    ],
)
def test_words_for_regions(certainties: list[Literal["possible", "certain"]], words: str) -> None:
    assert describe_regions([Region(0, 0, 1, 1, 0.5, certainty) for certainty in certainties]) == words


@pytest.mark.parametrize(
    ("decision", "images", "words"),
    [
        (NEGATIVE, [analysed(NEGATIVE, 0.1)], "No sign of abnormality (1 of 1 image analysed)."),
        (POSITIVE, [analysed(POSITIVE, 0.9)] * 2, "Suspected abnormality (2 of 2 images analysed)."),
        (
            INDETERMINATE,
            [analysed(NEGATIVE, 0.1), UNREADABLE],
            "Indeterminate for abnormality (1 of 2 images analysed).",
        ),
        (None, [UNREADABLE], "No conclusion: 0 of 1 image analysed."),
        (None, [], "No conclusion: 0 of 0 images analysed."),
    ],
)
def test_words_for_a_study(decision: Decision | None, images: list[ImageFinding], words: str) -> None:
    study = StudyFinding(study_instance_uid="1.2.3", status=Status.ANALYSED, decision=decision)
    assert describe_study(study, images, ABNORMALITY) == words


@pytest.mark.parametrize("decision", Decision)
def test_a_study_that_may_own_unread_files_is_partial_and_never_negative(decision: Decision) -> None:
    study = study_finding("1.2.3", [analysed(decision, 0.5)], unread_files=2)
    expected = INDETERMINATE if decision is NEGATIVE else decision
    assert (study.status, study.decision) == (Status.PARTIALLY_ANALYSED, expected)
    words = describe_study(study, [analysed(decision, 0.5)], ABNORMALITY)
    assert "1 of 1 image analysed; 2 files that cannot be read may belong to the study" in words
