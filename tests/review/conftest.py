"""What tests of the review begin with: radiographs that a tiny model has analysed, and a site to adapt to."""

from __future__ import annotations

from pathlib import Path

import pytest
from dicom_factory import CR, DX, make_radiograph
from tiny_model import draw

from monai_bone_ssl.model.inference import Model
from monai_bone_ssl.pipeline import analyse
from monai_bone_ssl.review.adaptation.adapt import AdaptationReport, adapt, report_table
from monai_bone_ssl.review.adaptation.site_cases import labelled_cases
from monai_bone_ssl.review.worklist import Worklist, worklist_from_results

from .probe_site import review, site_images, write_probe_model

STUDY, OTHER_STUDY = "1.2.826.0.1.3680043.10.7", "1.2.826.0.1.3680043.10.8"


@pytest.fixture(scope="session")
def analysed(tmp_path_factory: pytest.TempPathFactory, tiny: Model) -> Path:
    """in/ and out/ of five images. Not to be changed.

    Study one: 0 negative, 1 positive, 2 indeterminate. Study two: 3 negative, 4 of a part not covered.
    """
    root = tmp_path_factory.mktemp("analysed")
    (root / "in").mkdir()
    for number, (bright, part) in enumerate(
        ((0.2, "hand"), (0.8, "hand"), (0.5, "hand"), (0.2, "hand"), (0.2, "hip"))
    ):
        study = STUDY if number < 3 else OTHER_STUDY
        make_radiograph(
            root / "in" / f"{number}.dcm",
            draw(bright, part, seed=number),
            sop_class=DX if number == 1 else CR,
            body_part="HIP" if part == "hip" else "HAND",
            study_uid=study,
            series_uid=f"{study}.{number}",
            sop_uid=f"{study}.{number}.1",
            patient_id="PAT-1",
            patient_name="Geheim^Name" if number < 3 else "Other^Person",
        )
    (root / "in" / "notes.txt").write_text("no image")
    analyse([root / "in"], root / "out", tiny, patch_maps=True)
    return root


@pytest.fixture(scope="session")
def worklist(analysed: Path, tiny: Model) -> Worklist:
    """The worklist of ``analysed``."""
    return worklist_from_results(analysed / "out", tiny.spec)


@pytest.fixture(scope="session")
def site(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Worklist]:
    """in/, out/, review/ and model/ of a site with 40 patients. Not to be changed."""
    root = tmp_path_factory.mktemp("site")
    model = Model(write_probe_model(root / "model"))
    return root, review(root, site_images(root / "in", 40), model)


@pytest.fixture(scope="session")
def adapted(
    site: tuple[Path, Worklist], tmp_path_factory: pytest.TempPathFactory
) -> tuple[AdaptationReport, Path]:
    root, worklist = site
    out = tmp_path_factory.mktemp("adapted")
    report = adapt(root / "model", labelled_cases(root / "review", worklist), out)
    assert report.candidate is not None, report_table(report)
    return report, report.candidate
