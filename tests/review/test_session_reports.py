"""Verified reports of a whole review: which studies get one, and which are refused."""

from __future__ import annotations

import shutil
from pathlib import Path

import msgspec
import pytest
from dicom_factory import make_radiograph
from highdicom.sr import srread
from pydicom import dcmread
from tiny_model import draw

from monai_bone_ssl.errors import ConfigError, ModelError, ReasonCode
from monai_bone_ssl.model.inference import Model
from monai_bone_ssl.pipeline import analyse
from monai_bone_ssl.review.session import ReviewSession
from monai_bone_ssl.review.verdict import Reading
from monai_bone_ssl.review.verified_report import write_session_reports
from monai_bone_ssl.review.worklist import Worklist, worklist_from_paths, worklist_from_results

from .conftest import OTHER_STUDY
from .reviews import ANNA, BEN, events, read


def test_a_reader_without_organization_is_asked_for_it(worklist: Worklist, tmp_path: Path) -> None:
    with (
        ReviewSession.open(tmp_path, BEN, worklist) as session,
        pytest.raises(ConfigError, match="Ben Roe: expected an organization"),
    ):
        write_session_reports(session, worklist, tmp_path / "sr", None)


def test_a_study_waits_until_it_is_read_and_one_that_fails_stops_no_other(
    tmp_path: Path, tiny: Model, tiny_folder: Path
) -> None:
    (tmp_path / "in").mkdir()
    for study in ("1.2.3.1", "1.2.3.2", "1.2.3.3"):
        for number in range(2):
            make_radiograph(tmp_path / "in" / f"{study}_{number}.dcm", draw(0.2), study_uid=study)
    worklist = worklist_from_paths([tmp_path / "in"], tiny.spec)
    with ReviewSession.open(tmp_path / "review", ANNA, worklist) as session:
        read(session, worklist, dict.fromkeys(["1.2.3.1_0", "1.2.3.1_1", "1.2.3.2_0"], Reading.NORMAL))
        read(session, worklist, dict.fromkeys(["1.2.3.3_0", "1.2.3.3_1"], Reading.NORMAL))
        (tmp_path / "in" / "1.2.3.3_0.dcm").unlink()  # read, and gone
        written = write_session_reports(session, worklist, tmp_path / "sr", tiny_folder)
        assert [dcmread(path).StudyInstanceUID for path in written.written] == ["1.2.3.1"]
        assert written.unread == ("1.2.3.2",)
        assert {study: error.code for study, error in written.refused.items()} == {
            "1.2.3.3": ReasonCode.UNREADABLE_FILE
        }
        (tmp_path / "in" / "1.2.3.2_1.dcm").unlink()  # nobody can read it any more
        again = write_session_reports(session, worklist, tmp_path / "sr", tiny_folder)
        assert len(again.written) == 2
        assert again.written[0] == written.written[0]
    assert events(tmp_path / "review").count("reported") == 2 + 2 + 1


def test_another_model_than_the_reviews_is_refused(
    worklist: Worklist, tmp_path: Path, tiny_folder: Path
) -> None:
    other = tmp_path / "model"
    shutil.copytree(tiny_folder, other)
    (other / "model.json").write_text((other / "model.json").read_text()[:-1])
    with ReviewSession.open(tmp_path / "review", ANNA, worklist) as session:
        with pytest.raises(ModelError):
            write_session_reports(session, worklist, tmp_path / "sr", other)
        assert worklist.model is not None
        identity = msgspec.structs.replace(worklist.model, sha256="0" * 64)
        with pytest.raises(ConfigError, match="is not the model of the review"):
            write_session_reports(
                session,
                Worklist(worklist.cases, identity, worklist.target),
                tmp_path / "sr",
                tiny_folder,
            )


def test_a_report_that_has_vanished_is_no_silent_loss(
    analysed: Path, worklist: Worklist, tmp_path: Path, tiny_folder: Path
) -> None:
    out = tmp_path / "out"
    out.mkdir()
    shutil.copy(analysed / "out" / "result.json", out)
    with ReviewSession.open(tmp_path / "review", ANNA, worklist) as session:
        read(session, worklist, {"3": Reading.NORMAL, "4": Reading.NORMAL})
        written = write_session_reports(session, worklist, tmp_path / "sr", tiny_folder, out)
    assert written.written == ()
    assert "SR_" in written.refused[OTHER_STUDY].text


@pytest.mark.parametrize("term", ["EXTREMITY", "", "WRIST"])
def test_the_readers_report_names_the_region_of_the_algorithms(
    tmp_path: Path, tiny: Model, tiny_folder: Path, term: str
) -> None:
    """A header that says no more than "extremity" is less than what the image showed the model."""
    make_radiograph(tmp_path / "in.dcm", draw(0.2, "hand"), body_part=term)
    analyse([tmp_path / "in.dcm"], tmp_path / "out", tiny)
    worklist = worklist_from_results(tmp_path / "out", tiny.spec)
    with ReviewSession.open(tmp_path / "review", ANNA, worklist) as session:
        read(session, worklist, {"in": Reading.NORMAL})
        written = write_session_reports(session, worklist, tmp_path / "sr", tiny_folder, tmp_path / "out")
    (own,) = (tmp_path / "out").glob("SR_*.dcm")
    expected, found = (
        srread(path).content.get_image_measurement_groups()[0].finding_sites[0].value
        for path in (own, *written.written)
    )
    assert found == expected
