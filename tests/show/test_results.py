"""result.json: the keys that outside readers rely on, and what is refused when it is read back."""

from __future__ import annotations

import html
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import msgspec
import pytest
from dicom_factory import make_radiograph
from tiny_model import draw

from monai_bone_ssl.errors import ConfigError, ReasonCode
from monai_bone_ssl.findings import Answered, Refused, Region
from monai_bone_ssl.model.inference import Model
from monai_bone_ssl.pipeline import analyse
from monai_bone_ssl.show.results import read_results, result_json

KEYS = ["path", "sop_instance_uid", "study_instance_uid", "status", "reason", "body_part", "probability",
        "decision", "peak", "regions", "notes", "seconds"]  # fmt: skip

REGION = {"row": 3, "column": 5, "height": 8, "width": 13, "probability": 0.9, "certainty": "certain"}


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory, tiny: Model) -> Path:
    """A result.json with an answered image, one that is not for the model, and one that cannot be read."""
    folder = tmp_path_factory.mktemp("results")
    (folder / "in").mkdir()
    make_radiograph(folder / "in" / "1.dcm", draw(0.8), body_part="L HAND")
    make_radiograph(folder / "in" / "2.dcm", draw(0.8), body_part="CHEST")
    whole = make_radiograph(folder / "in" / "3.dcm", draw(0.8))
    whole.write_bytes(whole.read_bytes()[:-100])
    analyse([folder / "in"], folder / "out", tiny)
    return folder / "out" / "result.json"


def test_every_image_has_the_same_keys_in_the_same_order(written: Path) -> None:
    images = json.loads(written.read_text())["images"]
    assert [image["status"] for image in images] == ["analysed", "not_analysed", "failed"]
    assert [list(image) for image in images] == [KEYS] * 3
    assert [image["reason"] is None for image in images] == [True, False, False]
    assert [image["peak"] is None for image in images] == [False, True, True]


def test_results_read_back_are_what_was_written(written: Path) -> None:
    results = read_results(written)
    assert [type(image) for image in results.images] == [Answered, Refused, Refused]
    assert result_json(results) == written.read_bytes()


def test_faults_that_were_put_right_are_said(written: Path) -> None:
    images = json.loads(written.read_text())["images"]
    assert [[note["code"] for note in image["notes"]] for image in images] == [["body_part"], [], []]
    page = (written.parent / "index.html").read_text()
    assert html.unescape(page).count(images[0]["notes"][0]["text"]) == 1


def test_regions_are_written_and_read_back(written: Path, tmp_path: Path) -> None:
    results = read_results(written)
    regions = (Region(3, 5, 8, 13, 0.9, "certain"), Region(0, 0, 1, 1, 0.4, "possible"))
    image = msgspec.structs.replace(results.images[0], regions=regions)
    content = result_json(replace(results, images=[image]))
    assert json.loads(content)["images"][0]["regions"][0] == REGION
    (tmp_path / "result.json").write_bytes(content)
    assert read_results(tmp_path / "result.json").images == [image]


@pytest.mark.parametrize(
    ("number", "changes"),
    [
        (0, {"probability": None}),
        (0, {"probability": 1.1}),
        (0, {"decision": None}),
        (0, {"decision": "likely"}),
        (0, {"peak": None}),
        (0, {"body_part": None}),
        (0, {"regions": None}),
        (0, {"regions": [REGION | {"width": 0}]}),
        (0, {"regions": [REGION | {"probability": 1.5}]}),
        (0, {"regions": [REGION | {"certainty": "likely"}]}),
        (0, {"notes": None}),
        (0, {"notes": [{"code": "unheard_of", "text": "put right"}]}),
        (0, {"reason": {"code": "colour", "text": "in colour"}}),
        (0, {"status": "failed"}),
        (0, {"status": "partially_analysed"}),
        (1, {"status": "analysed"}),
        (1, {"reason": None}),
        (1, {"probability": 0.9}),
        (1, {"regions": [REGION]}),
        (2, {"decision": "negative"}),
        (2, {"peak": {"row": 1, "column": 1}}),
    ],
)
def test_half_an_answer_is_refused(
    number: int, changes: dict[str, Any], written: Path, tmp_path: Path
) -> None:
    content = json.loads(written.read_text())
    content["images"][number] |= changes
    path = tmp_path / "result.json"
    path.write_bytes(msgspec.json.encode(content))
    with pytest.raises(ConfigError, match=r"result\.json: ") as refused:
        read_results(path)
    assert refused.value.code is ReasonCode.INVALID_DATA
    assert "\n" not in refused.value.text


def test_another_version_is_refused(written: Path, tmp_path: Path) -> None:
    path = tmp_path / "result.json"
    path.write_bytes(written.read_bytes().replace(b'"schema_version": 2', b'"schema_version": 7'))
    with pytest.raises(ConfigError, match="schema_version 7, expected 2"):
        read_results(path)
