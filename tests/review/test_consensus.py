from __future__ import annotations

import csv
import json
from pathlib import Path

import pytest

from monai_bone_ssl.review.adaptation.site_cases import labelled_cases
from monai_bone_ssl.review.consensus import consensus, disagreements
from monai_bone_ssl.review.export import export_session
from monai_bone_ssl.review.reader import Reader
from monai_bone_ssl.review.session import ReviewSession
from monai_bone_ssl.review.verdict import Location, Reading
from monai_bone_ssl.review.worklist import Worklist

from .reviews import ANNA, BEN, by_name, read, review

CHIEF = Reader("Chief^Carla", "City Hospital")


@pytest.fixture
def folder(tmp_path: Path, worklist: Worklist) -> Path:
    """Agreed on 0 and 4, not on 1 and 2; 3 read once."""
    folder = tmp_path / "review"
    normal, abnormal, uncertain, bad = Reading
    review(folder, ANNA, worklist, {"0": normal, "1": abnormal, "2": abnormal, "3": abnormal, "4": bad})
    review(folder, BEN, worklist, {"0": normal, "1": normal, "2": uncertain, "4": bad})
    return folder


def test_open_disagreements_are_no_consensus(folder: Path, worklist: Worklist) -> None:
    key = {name: case.key for name, case in by_name(worklist).items()}
    found = {d.key: dict(d.readings) for d in disagreements(folder)}
    assert found == {
        key["1"]: {"Doe^Anna": Reading.ABNORMAL, "Ben Roe": Reading.NORMAL},
        key["2"]: {"Doe^Anna": Reading.ABNORMAL, "Ben Roe": Reading.UNCERTAIN},
    }
    assert consensus(folder) == {
        key["0"]: Reading.NORMAL,
        key["3"]: Reading.ABNORMAL,
        key["4"]: Reading.BAD_IMAGE,
    }
    assert {(c.case.path.stem, c.label) for c in labelled_cases(folder, worklist)} == {("0", 0), ("3", 1)}


@pytest.mark.parametrize("who", [CHIEF, ANNA])
def test_adjudication_settles_it(folder: Path, worklist: Worklist, who: Reader) -> None:
    case = by_name(worklist)["1"]
    with ReviewSession.open(folder, who, worklist) as session:
        session.save(session.verdict(case, Reading.NORMAL, seconds=1, adjudicated=True))
    assert consensus(folder)[case.key] is Reading.NORMAL
    assert [d.key for d in disagreements(folder)] == [by_name(worklist)["2"].key]
    review(folder, BEN, worklist, {"1": Reading.UNCERTAIN})  # what a reader says later does not open it again
    assert consensus(folder)[case.key] is Reading.NORMAL
    with ReviewSession.open(folder, BEN, worklist) as session:
        session.save(session.verdict(case, Reading.ABNORMAL, seconds=1, adjudicated=True))
    assert consensus(folder)[case.key] is Reading.ABNORMAL, "the last adjudication counts"


def test_export_holds_all_verdicts_and_no_patient(folder: Path, worklist: Worklist, tmp_path: Path) -> None:
    with ReviewSession.open(folder, CHIEF, worklist) as session:
        read(
            session, worklist, {"1": Reading.NORMAL}, (Location("point", ((1.0, 2.0),)),), 'a "quoted", line'
        )
    path = export_session(folder, worklist, tmp_path / "export")
    with path.open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 5 + 4 + 1
    (row,) = [row for row in rows if row["reader"] == "Chief^Carla"]
    case = by_name(worklist)["1"]
    assert case.finding is not None
    assert (row["key"], row["reading"], row["agreement"]) == (case.key, "normal", "disagree")
    assert (row["ai_decision"], float(row["ai_probability"])) == ("positive", case.finding.probability)
    assert (row["comment"], row["locations"], row["consensus"]) == ('a "quoted", line', "1", "")
    assert [r["consensus"] for r in rows if r["key"] == by_name(worklist)["0"].key] == ["normal"] * 2
    whole = json.loads((path.parent / "review_export.json").read_text())
    assert whole["cases"][1]["verdicts"]["Chief^Carla"]["locations"][0]["points"] == [[1.0, 2.0]]
    with (path.parent / "review_audit.csv").open(newline="") as file:
        audit = list(csv.DictReader(file))
    assert len(audit) == len(whole["audit"]) == 2 * 10 + 3
    assert [row["time"] for row in audit] == sorted(row["time"] for row in audit)
    assert {row["reader"] for row in audit} == {"Doe^Anna", "Ben Roe", "Chief^Carla"}
    (saved,) = [row for row in audit if row["event"] == "saved" and row["reader"] == "Chief^Carla"]
    assert (saved["key"], saved["reading"], saved["decision"]) == (case.key, "normal", "positive")
    assert (saved["first_reading"], saved["seconds"]) == ("", "2.0")
    for exported in path.parent.iterdir():
        for secret in ("Geheim", "PAT-1", "19700101", "/in/"):
            assert secret not in exported.read_text()
