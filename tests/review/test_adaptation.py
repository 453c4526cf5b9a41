"""From verdicts to another model folder, with a real network file."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import numpy_helper

from monai_bone_ssl.dicom.radiograph import read_radiograph
from monai_bone_ssl.errors import ConfigError, ModelError
from monai_bone_ssl.model.folder import default_model_folder, read_model_folder, read_spec, write_model_folder
from monai_bone_ssl.model.inference import Model
from monai_bone_ssl.model.preprocessing import preprocess
from monai_bone_ssl.review.adaptation.adapt import (
    AdaptationReport,
    adapt,
    next_version,
    report_json,
    report_table,
)
from monai_bone_ssl.review.adaptation.candidate_model import exchange_probe, read_probe
from monai_bone_ssl.review.adaptation.site_cases import LabelledCase, labelled_cases
from monai_bone_ssl.review.adaptation.site_probe import ProbeWeights
from monai_bone_ssl.review.worklist import Worklist

from .probe_site import GRID, PLACE


def inputs(site: tuple[Path, Worklist]) -> Iterator[np.ndarray]:
    spec = read_spec(site[0] / "model")
    for case in site[1].cases:
        yield preprocess(read_radiograph(case.path).pixels, spec.preprocessing)[None, None]


def test_the_report_says_what_was_read_and_what_it_gains(adapted: tuple[AdaptationReport, Path]) -> None:
    report, _ = adapted
    assert (report.n, report.n_positive, report.n_patients, report.n_left_out) == (80, 40, 40, 0)
    assert (report.parent_version, report.version) == ("0.1.0", "0.1.0+site.1")
    figures = {comparison.name: comparison for comparison in report.figures}
    assert figures["auroc"].new.ci_low > 0.75 > figures["auroc"].old.value
    assert figures["log_loss"].difference.ci_high < 0
    table = report_table(report)
    assert "may be adopted" in table
    assert max(map(len, table.splitlines())) <= 120


def test_the_new_network_computes_the_new_probe_and_explains_it(
    adapted: tuple[AdaptationReport, Path], site: tuple[Path, Worklist]
) -> None:
    new = Model(adapted[1])
    seen = [new.predict(batch) for batch in inputs(site)]
    for one in seen:
        assert one.contribution.sum() + one.offset[0] == pytest.approx(one.logits[0], abs=1e-3)
    contribution = np.stack([one.contribution[0] for one in seen])
    abnormal = np.array([c.label for c in labelled_cases(site[0] / "review", site[1])], dtype=bool)
    difference = contribution[abnormal].mean(axis=0) - contribution[~abnormal].mean(axis=0)
    assert int(difference.argmax()) == PLACE[0] * GRID + PLACE[1], "what makes an image abnormal here"


def test_everything_but_the_probe_is_the_same_bit_for_bit(
    adapted: tuple[AdaptationReport, Path], site: tuple[Path, Worklist]
) -> None:
    tensors = [
        {t.name: numpy_helper.to_array(t) for t in onnx.load(folder / "model.onnx").graph.initializer}
        for folder in (site[0] / "model", adapted[1])
    ]
    assert tensors[0].keys() == tensors[1].keys()
    changed = {name for name in tensors[0] if tensors[0][name].tobytes() != tensors[1][name].tobytes()}
    assert changed == {"probe.weight", "probe.bias", "select_1"}
    old, new = Model(site[0] / "model"), Model(adapted[1])
    for batch in inputs(site):
        before, after = old.predict(batch), new.predict(batch)
        for name in ("features", "patch_scores", "body_part_logits", "distance"):
            assert getattr(before, name).tobytes() == getattr(after, name).tobytes()


def test_the_new_model_json_says_where_it_comes_from(
    adapted: tuple[AdaptationReport, Path], site: tuple[Path, Worklist]
) -> None:
    old, new = read_spec(site[0] / "model"), read_spec(adapted[1])
    assert (new.version, new.parent_weights_sha256) == ("0.1.0+site.1", old.weights_sha256)
    assert new.weights_sha256 != old.weights_sha256
    assert set(new.figures) == {f"site_{comparison.name}" for comparison in adapted[0].figures}
    assert (new.training_data[-1].n, new.training_data[-1].n_groups) == (80, 40)
    assert new.out_of_distribution == old.out_of_distribution
    parts = {part.name: part for part in new.body_parts}
    assert parts["hand"].operating_points not in (None, old.body_parts[0].operating_points)
    assert parts["leg"].operating_points is None, "no verdict says how the new probe does on legs"
    assert parts["leg"].not_covered == "adapted at a site that has no verdicts on it"
    assert parts["hip"] == next(part for part in old.body_parts if part.name == "hip")
    assert new.patch_probe == old.patch_probe


def test_no_patient_in_what_is_written(adapted: tuple[AdaptationReport, Path]) -> None:
    report, candidate = adapted
    for path in (candidate / "model.json", candidate.parent / f"adaptation_{report.version}.json"):
        text = path.read_text()
        assert "PAT-" not in text
        assert "1.2.3" not in text
        assert str(candidate) not in text
    content = json.loads(report_json(report))
    assert content["gate"] == {"passed": True, "reasons": []}


def flipped(cases: list[LabelledCase]) -> list[LabelledCase]:
    labels = np.random.default_rng(1).permutation([labelled.label for labelled in cases])
    return [LabelledCase(c.case, int(label)) for c, label in zip(cases, labels, strict=True)]


def test_verdicts_that_mean_nothing_give_no_candidate(site: tuple[Path, Worklist], tmp_path: Path) -> None:
    root, worklist = site
    report = adapt(root / "model", flipped(labelled_cases(root / "review", worklist)), tmp_path)
    assert report.candidate is None
    assert [path.name for path in tmp_path.iterdir()] == ["adaptation_0.1.0+site.1.json"]
    assert "version 0.1.0 stays in use" in report_table(report)


def test_too_few_verdicts_are_counted(site: tuple[Path, Worklist], tmp_path: Path) -> None:
    root, worklist = site
    cases = labelled_cases(root / "review", worklist)
    few = [c for c in cases if c.label == 0] + [c for c in cases if c.label == 1][:19]
    with pytest.raises(ConfigError, match="verdicts: 19 abnormal, 40 normal; expected at least 20 of each"):
        adapt(root / "model", few, tmp_path)
    of_few_patients = [LabelledCase(cases[i % 16].case, i % 2) for i in range(60)]
    with pytest.raises(ConfigError, match="verdict: 8 abnormal, 8 normal; expected at least 10"):
        adapt(root / "model", of_few_patients, tmp_path)
    assert not list(tmp_path.iterdir())


def test_images_that_vanished_are_left_out_and_counted(site: tuple[Path, Worklist], tmp_path: Path) -> None:
    root, worklist = site
    cases = labelled_cases(root / "review", worklist)
    moved = [LabelledCase(replace(c.case, path=tmp_path / "gone.dcm"), c.label) for c in cases[:4]]
    report = adapt(root / "model", [*moved, *cases[4:]], tmp_path / "out")
    assert (report.n, report.n_left_out) == (76, 4)


def test_stopping_leaves_nothing_behind(site: tuple[Path, Worklist], tmp_path: Path) -> None:
    class Stopped(Exception):
        pass

    def stop(what: str, done: int, total: int) -> None:
        if (what, done) == ("folds", 7):
            assert total == 15
            raise Stopped

    root, worklist = site
    with pytest.raises(Stopped):
        adapt(root / "model", labelled_cases(root / "review", worklist), tmp_path, stop)
    assert not list(tmp_path.iterdir())


def test_a_model_without_a_probe_is_refused(
    site: tuple[Path, Worklist], tiny_folder: Path, tmp_path: Path
) -> None:
    root, worklist = site
    with pytest.raises(ModelError, match=r"no probe\.weight"):
        adapt(tiny_folder, labelled_cases(root / "review", worklist), tmp_path)


def test_versions_are_counted_on() -> None:
    assert next_version("1.0.0", []) == "1.0.0+site.1"
    assert next_version("1.0.0+site.1", []) == "1.0.0+site.2"
    assert next_version("1.0.0", ["1.0.0", "1.0.0+site.3", "1.0.0+other", "2.0.0+site.9"]) == "1.0.0+site.4"


def test_a_copied_site_has_the_same_model(site: tuple[Path, Worklist], tmp_path: Path) -> None:
    """The same verdicts give the same candidate, byte for byte."""
    root, worklist = site
    found = []
    for name in ("a", "b"):
        report = adapt(root / "model", labelled_cases(root / "review", worklist), tmp_path / name)
        assert report.candidate is not None
        found.append({path.name: path.read_bytes() for path in report.candidate.iterdir()})
        shutil.rmtree(tmp_path / name)
    assert found[0] == found[1]


def test_the_shipped_models_probe_can_be_exchanged(shipped: Model, tmp_path: Path) -> None:
    """The real exporter's graph, with whatever copies of the weight it folded."""
    content = read_model_folder(default_model_folder())
    old, rng = read_probe(content.weights), np.random.default_rng(0)
    new = ProbeWeights(1.3 * old.weight + rng.normal(0, 0.01, old.weight.shape), old.bias - 0.5)
    write_model_folder(tmp_path, exchange_probe(content.weights, new), content.spec)
    image = rng.random((1, 1, 224, 182), dtype=np.float32)
    before, after = shipped.predict(image), Model(tmp_path).predict(image)
    assert before.logits[0] == pytest.approx(float(old.logits(before.features)[0]), abs=1e-3)
    assert after.logits[0] == pytest.approx(float(new.logits(after.features)[0]), abs=1e-3)
    assert after.contribution.sum() + after.offset[0] == pytest.approx(after.logits[0], abs=1e-3)
    for name in ("features", "patch_scores", "body_part_logits", "distance"):
        assert getattr(before, name).tobytes() == getattr(after, name).tobytes()
