"""Evidence objects of an analysed image, and whose they may be."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path

import numpy as np
import pytest
from dicom_factory import make_radiograph
from highdicom.sc import SCImage
from highdicom.seg import Segmentation
from pydicom import Dataset
from tiny_model import draw

from monai_bone_ssl.analysis import AnalysedImage, analyse_file
from monai_bone_ssl.dicom.collect import Source, group_by_study
from monai_bone_ssl.errors import ReasonCode, ReportError
from monai_bone_ssl.findings import Decision
from monai_bone_ssl.model.inference import Model
from monai_bone_ssl.pipeline import algorithm, analyse_study
from monai_bone_ssl.report.evidence_objects import EvidenceKind, check_same_patient
from monai_bone_ssl.shown_image import ImageEvidence, Outputs, ShownImage, make_evidence, show_image

CREATED = datetime(2026, 2, 3)
BOTH = tuple(EvidenceKind)


def analysed(path: Path, model: Model) -> AnalysedImage:
    ((source,),) = (study.sources for study in group_by_study([Source(path)]))
    image = analyse_file(source, model)
    assert isinstance(image, AnalysedImage)
    return image


def evidence(image: AnalysedImage, kinds: tuple[EvidenceKind, ...], model: Model) -> ImageEvidence:
    return make_evidence(image, kinds, model.spec, algorithm(model), 1, CREATED)


@pytest.mark.parametrize(
    ("kinds", "classes"),
    [
        ((), []),
        ((EvidenceKind.SC,), [SCImage]),
        ((EvidenceKind.SEG,), [Segmentation]),
        (BOTH, [SCImage, Segmentation]),
    ],
)
def test_only_what_was_asked_for_is_made(
    kinds: tuple[EvidenceKind, ...], classes: list[type], tiny: Model, tmp_path: Path
) -> None:
    image = analysed(make_radiograph(tmp_path / "a.dcm", draw(0.8, peak=(6, 4))), tiny)
    made = evidence(image, kinds, tiny)
    assert [type(item) for item in made.objects] == classes
    assert made.left_out == []


def test_a_negative_image_has_no_segment_whatever_its_patches(tiny: Model, tmp_path: Path) -> None:
    image = analysed(make_radiograph(tmp_path / "a.dcm", draw(0.2, peak=(2, 4))), tiny)
    assert image.finding.decision is Decision.NEGATIVE
    assert image.evidence.max() >= tiny.spec.patch_probe.certain
    assert image.finding.regions == ()
    assert [type(item) for item in evidence(image, BOTH, tiny).objects] == [SCImage]


def test_the_segment_covers_the_regions(tiny: Model, tmp_path: Path) -> None:
    image = analysed(make_radiograph(tmp_path / "a.dcm", draw(0.8, peak=(6, 4))), tiny)
    (region,) = image.finding.regions
    (segment,) = evidence(image, (EvidenceKind.SEG,), tiny).objects
    rows, columns = np.nonzero(segment.pixel_array.squeeze())
    assert (rows.min(), columns.min()) == (region.row, region.column)
    assert (rows.max() + 1, columns.max() + 1) == (region.row + region.height, region.column + region.width)


def test_an_image_that_was_not_analysed_has_none(tiny: Model, tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    path = make_radiograph(tmp_path / "in" / "a.dcm", draw(0.8), body_part="CHEST")
    outputs = Outputs(overlay=True, patch_maps=True, evidence=BOTH)
    image = show_image(Source(path), 1, tmp_path, tiny, algorithm(tiny), outputs)
    assert image == ShownImage(image.analysis)
    assert [entry.name for entry in tmp_path.iterdir()] == ["in"]


def test_what_the_header_does_not_allow_is_left_out_with_its_reason(tiny: Model, tmp_path: Path) -> None:
    def silence(dataset: Dataset) -> None:
        dataset.Laterality = None

    image = analysed(make_radiograph(tmp_path / "a.dcm", draw(0.8, peak=(6, 4)), edit=silence), tiny)
    made = evidence(image, BOTH, tiny)
    assert [type(item) for item in made.objects] == [Segmentation]
    assert [error.code for error in made.left_out] == [ReasonCode.MISSING_IDENTIFIER]


@pytest.mark.parametrize("keyword", ["PatientID", "PatientName", "PatientBirthDate", "StudyInstanceUID"])
def test_evidence_of_another_is_refused(keyword: str, tiny: Model, tmp_path: Path) -> None:
    image = analysed(make_radiograph(tmp_path / "a.dcm", draw(0.8)), tiny)
    first, second = (evidence(image, (EvidenceKind.SC,), tiny).objects[0] for _ in range(2))
    check_same_patient(first, [second])
    setattr(second, keyword, "19000101" if keyword == "PatientBirthDate" else "1.2")
    with pytest.raises(ReportError, match="of another study or patient"):
        check_same_patient(first, [second])


def test_a_study_without_a_report_leaves_no_evidence(tiny: Model, tmp_path: Path) -> None:
    paths = [make_radiograph(tmp_path / "1.dcm", draw(0.8), study_uid="1.2.3", patient_id="ONE")]
    paths += [make_radiograph(tmp_path / "2.dcm", draw(0.8), study_uid="1.2.3", patient_id="TWO")]
    (study,) = group_by_study(map(Source, paths))
    out = tmp_path / "out"
    out.mkdir()
    outcome = analyse_study(study, out, tiny, Outputs(overlay=False, patch_maps=True, evidence=BOTH))
    assert outcome.evidence_files == ()
    assert list(out.iterdir()) == []
