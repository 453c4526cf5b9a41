from __future__ import annotations

import json
import shutil
from collections.abc import Sequence
from pathlib import Path

import msgspec
import numpy as np
import pytest
from dicom_factory import make_radiograph
from tiny_model import GAIN, KNEE, OFFSET, POINTS, STEEPNESS, draw

from monai_bone_ssl.errors import ConfigError, CorruptImage, ReasonCode
from monai_bone_ssl.findings import FRACTURE, Answered, Decision, Refused
from monai_bone_ssl.model.inference import Model
from monai_bone_ssl.review.selection import Filter, select
from monai_bone_ssl.review.verdict import Agreement, Reading, Verdict
from monai_bone_ssl.review.worklist import (
    Case,
    Worklist,
    case_header,
    load_evidence,
    with_finding,
    worklist_from_paths,
    worklist_from_results,
)


def names(cases: Sequence[Case]) -> list[str]:
    return [case.path.stem for case in cases]


def verdict(case: Case, reading: Reading, flagged: bool = False) -> Verdict:
    return Verdict(
        key=case.key,
        sop_instance_uid=case.sop_instance_uid,
        study_instance_uid=case.study_instance_uid,
        reading=reading,
        agreement=Agreement.DISAGREE if reading is Reading.NORMAL else Agreement.AGREE,
        decision=case.decision,
        flagged=flagged,
        read_at="2026-01-02T03:04:05+00:00",
        seconds=1,
    )


def test_results_become_cases_with_points_of_their_model_only(
    analysed: Path, tiny: Model, worklist: Worklist
) -> None:
    assert names(worklist.cases) == ["0", "1", "2", "3", "4"]  # notes.txt is nothing to read
    assert all(case.key == case.sop_instance_uid for case in worklist.cases)
    assert [case.points for case in worklist.cases] == [POINTS] * 4 + [None]
    assert worklist.target == FRACTURE
    assert worklist.model is not None
    assert worklist.model.sha256 == tiny.spec.weights_sha256
    for change in ({"weights_sha256": "0" * 64}, {"version": "9.9.9"}):  # or other points would be shown
        other = msgspec.structs.replace(tiny.spec, **change)
        without = worklist_from_results(analysed / "out", other)
        assert without.target is None
        assert {case.points for case in without.cases} == {None}


def test_the_most_urgent_study_comes_first_and_stays_together(worklist: Worklist) -> None:
    assert names(select(worklist, Filter.ALL, {}, hide_ai=False)) == ["1", "2", "0", "4", "3"]


def test_filters(worklist: Worklist) -> None:
    by_name = dict(zip(names(worklist.cases), worklist.cases, strict=True))
    given = [verdict(by_name["1"], Reading.NORMAL, flagged=True), verdict(by_name["2"], Reading.ABNORMAL)]
    verdicts = {v.key: v for v in given}
    expected = {
        Filter.ALL: ["1", "2", "0", "4", "3"],
        Filter.UNREAD: ["4", "3", "0"],
        Filter.POSITIVE: ["1"],
        Filter.INDETERMINATE: ["2"],
        Filter.NOT_ANALYSED: ["4"],
        Filter.DISAGREED: ["1"],
        Filter.FLAGGED: ["1"],
    }
    assert {f: names(select(worklist, f, verdicts, hide_ai=False)) for f in Filter} == expected


def test_a_blinded_list_tells_nothing_of_what_was_not_read(worklist: Worklist) -> None:
    by_name = dict(zip(names(worklist.cases), worklist.cases, strict=True))
    verdicts = {by_name["2"].key: verdict(by_name["2"], Reading.ABNORMAL)}
    assert names(select(worklist, Filter.ALL, verdicts, hide_ai=True)) == ["0", "1", "2", "3", "4"]
    assert names(select(worklist, Filter.UNREAD, verdicts, hide_ai=True)) == ["0", "1", "3", "4"]
    assert names(select(worklist, Filter.INDETERMINATE, verdicts, hide_ai=True)) == ["2"]
    for secret in (Filter.POSITIVE, Filter.NOT_ANALYSED, Filter.DISAGREED):
        assert select(worklist, secret, verdicts, hide_ai=True) == []


def test_a_vanished_file_stays_in_the_list_and_fails_when_opened(analysed: Path, tmp_path: Path) -> None:
    shutil.copytree(analysed, tmp_path / "copy")
    result = tmp_path / "copy" / "out" / "result.json"
    result.write_text(result.read_text().replace(str(analysed / "in"), str(tmp_path / "copy" / "in")))
    (tmp_path / "copy" / "in" / "1.dcm").unlink()
    worklist = worklist_from_results(result.parent)
    gone = next(case for case in worklist.cases if case.path.stem == "1")
    with pytest.raises(CorruptImage, match=r"1\.dcm cannot be read"):
        case_header(gone)


def test_another_image_under_the_same_name_is_refused(tmp_path: Path) -> None:
    path = make_radiograph(tmp_path / "a.dcm", draw(0.5))
    (case,) = worklist_from_paths([tmp_path]).cases
    assert case_header(case).SOPInstanceUID == case.sop_instance_uid
    make_radiograph(path, draw(0.5))
    with pytest.raises(CorruptImage, match="not the image of the worklist") as caught:
        case_header(case)
    assert caught.value.code is ReasonCode.CONFLICTING_INSTANCE


@pytest.mark.parametrize(
    "damage",
    [
        lambda text: text[:-40],
        lambda text: text.replace('"schema_version": 2', '"schema_version": 99'),
        lambda text: text.replace('"positive"', '"maybe"'),
        lambda text: text.replace('"probability": 0.', '"probability": "x" , "was": 0.'),
        lambda text: text.replace('"decision": "positive"', '"decision": null'),
        lambda _: "\x00",
    ],
)
def test_a_damaged_result_is_one_clear_line(analysed: Path, tmp_path: Path, damage: object) -> None:
    text = (analysed / "out" / "result.json").read_text()
    (tmp_path / "result.json").write_text(damage(text))
    with pytest.raises(ConfigError, match=r"result\.json") as caught:
        worklist_from_results(tmp_path)
    assert "\n" not in caught.value.text


def test_no_result_at_all(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="expected what bone-ssl analyze wrote"):
        worklist_from_results(tmp_path)


def test_relative_paths_are_found_here_or_in_the_output(
    analysed: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "out"
    shutil.copytree(analysed / "in", out / "in")
    text = (analysed / "out" / "result.json").read_text()
    (out / "result.json").write_text(text.replace(f"{analysed}/", ""))
    assert json.loads((out / "result.json").read_text())["images"][0]["path"] == "in/0.dcm"
    monkeypatch.chdir(tmp_path)
    assert worklist_from_results(Path("out")).cases[0].path == out / "in" / "0.dcm"
    shutil.copytree(analysed / "in", tmp_path / "in")
    assert worklist_from_results(Path("out")).cases[0].path == tmp_path / "in" / "0.dcm"


def test_paths_become_cases_without_results(analysed: Path, tiny: Model) -> None:
    worklist = worklist_from_paths([analysed], tiny.spec)  # with the SR in out/, which is nothing to read
    assert names(worklist.cases) == ["0", "1", "2", "3", "4"]
    assert {case.finding for case in worklist.cases} == {None}
    assert worklist.target == FRACTURE


def test_files_of_one_uid_have_keys_of_their_own(tmp_path: Path) -> None:
    for number, bright in enumerate((0.2, 0.8)):
        make_radiograph(
            tmp_path / f"Doe_Jane_{number}.dcm", draw(bright), study_uid="1.2.3", sop_uid="1.2.3.4"
        )
    first, second = worklist_from_paths([tmp_path]).cases
    assert first.key != second.key
    for case in (first, second):
        assert case.key.startswith("file:")
        assert "Doe" not in case.key
        assert isinstance(case.finding, Refused)
        assert case.finding.reason.code is ReasonCode.CONFLICTING_INSTANCE


def test_a_finding_is_given_to_its_own_image_only(analysed: Path, worklist: Worklist, tiny: Model) -> None:
    plain = worklist_from_paths([analysed / "in"], tiny.spec)
    finding = next(c.finding for c in worklist.cases if c.path.stem == "1")
    assert finding is not None
    key = next(case.key for case in plain.cases if case.path.stem == "1")
    found = with_finding(plain, key, finding, POINTS)
    assert [case.decision for case in found.cases] == [None, Decision.POSITIVE, None, None, None]
    with pytest.raises(ConfigError, match="expected one of an image of the worklist"):
        with_finding(plain, plain.cases[0].key, finding, POINTS)


# --- evidence ---------------------------------------------------------------------------------------------


def test_evidence_is_what_the_model_says(analysed: Path, worklist: Worklist, tiny: Model) -> None:
    """Oracle: a patch's contribution, out of which the tiny model's evidence can be worked out by hand."""
    for case in worklist.cases:
        evidence = load_evidence(analysed / "out", case)
        if not isinstance(case.finding, Answered):
            assert evidence is None
            continue
        assert evidence is not None
        assert (evidence.shape, evidence.dtype) == ((8, 8), np.float32)
        contribution = np.load(analysed / "out" / f"contribution_{case.finding.sop_instance_uid}.npy")
        grey = contribution * 64 / GAIN
        np.testing.assert_allclose(evidence, 1 / (1 + np.exp(-(grey - KNEE) * STEEPNESS)), atol=1e-5)
        probability = tiny.spec.calibration.probability(float(contribution.sum()) + OFFSET)
        assert probability == pytest.approx(case.finding.probability)


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"no array",
        np.zeros(3, np.float32),
        np.zeros((2, 2)),
        np.full((2, 2), np.nan, "f4"),
        np.full((2, 2), -0.3, "f4"),  # a contribution
    ],
)
def test_damaged_evidence_is_refused(worklist: Worklist, tmp_path: Path, content: bytes | np.ndarray) -> None:
    path = tmp_path / f"evidence_{worklist.cases[0].key}.npy"
    if isinstance(content, bytes):
        path.write_bytes(content)
    else:
        np.save(path, content)
    with pytest.raises(ConfigError, match="evidence_"):
        load_evidence(tmp_path, worklist.cases[0])
    assert load_evidence(tmp_path, worklist.cases[1]) is None


def test_evidence_of_an_earlier_model_does_not_stay(analysed: Path, tmp_path: Path, tiny: Model) -> None:
    from monai_bone_ssl.pipeline import analyse

    analyse([analysed / "in" / "1.dcm"], tmp_path, tiny, patch_maps=True)
    assert len(list(tmp_path.glob("*.npy"))) == 2
    analyse([analysed / "in" / "1.dcm"], tmp_path, tiny)
    assert not list(tmp_path.glob("*.npy"))
