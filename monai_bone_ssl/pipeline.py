"""Files to studies to results: the one path that every front calls."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from io import BytesIO
from pathlib import Path

import msgspec
import numpy as np
from highdicom.sc import SCImage
from highdicom.seg import Segmentation
from highdicom.sr import Comprehensive3DSR
from tqdm import tqdm

from monai_bone_ssl import __version__
from monai_bone_ssl.analysis import AnalysedImage, analyse_file
from monai_bone_ssl.collect import Study, find_files, group_by_study
from monai_bone_ssl.errors import ConfigError, ReasonCode, ReportError
from monai_bone_ssl.evidence import EvidenceKind, ImageEvidence, check_same_patient, make_evidence
from monai_bone_ssl.evidence_objects import write_evidence
from monai_bone_ssl.files import write_atomically
from monai_bone_ssl.findings import (
    ImageAnalysis,
    ImageFinding,
    Status,
    StudyFinding,
    study_finding,
    unanalysed,
)
from monai_bone_ssl.model import Model, ModelFolder
from monai_bone_ssl.overlay import draw_overlay, write_png
from monai_bone_ssl.page import PageEntry, write_page
from monai_bone_ssl.report import Algorithm, study_report, write_report
from monai_bone_ssl.results import SOFTWARE_NAME, ModelIdentity, Results, result_json

__all__ = [
    "StudyConclusion",
    "StudyOutcome",
    "algorithm",
    "analyse",
    "analyse_study",
    "combine",
    "conclude_study",
    "evidence_map_name",
    "make_output_folder",
    "printable",
    "write_study",
]

# From this many files on, people want to see that it moves.
_PROGRESS_FROM = 4


@dataclass(frozen=True)
class StudyConclusion:
    """What is said of a study, not written yet.

    Without a report, no answer may be relied on, and nothing drawn from its images may be kept.
    """

    analyses: Sequence[ImageAnalysis]
    """Of all its files; failed where the report cannot be made."""
    finding: StudyFinding | None
    """None for a file that belongs to no study."""
    report: Comprehensive3DSR | None


@dataclass(frozen=True)
class StudyOutcome:
    """Findings of one study's files; ``study`` is None for files that belong to none."""

    study: StudyFinding | None
    entries: Sequence[PageEntry]
    evidence_files: Sequence[str] = ()
    """Names of the evidence objects beside the report."""
    left_out: Sequence[ReportError] = ()
    """Why evidence that was asked for is not there."""


def analyse(paths: Sequence[Path], out: Path, model: Model, *, evidence_maps: bool = False) -> Results:
    """Analyse files and folders; write reports, overlays, the page and result.json.

    Memory does not grow with the pixels: one image is held at a time.

    Parameters
    ----------
    paths
        Existing files and folders, any nesting.
    out
        Folder for the results; made where missing, left out of the input where it lies inside.
    model
        The model to run.
    evidence_maps
        Write each analysed image's evidence as numbers too, see :func:`evidence_map_name`.

    Returns
    -------
    What result.json says.

    Raises
    ------
    ConfigError
        ``INVALID_CONFIG`` where ``out`` is one of ``paths``.
    ReportError
        ``WRITE_FAILED`` where ``out`` cannot be written; no half file is left.
    """
    make_output_folder(out, paths)
    files = find_files(paths, skip=out)
    few = len(files) < _PROGRESS_FROM
    studies = group_by_study(tqdm(files, desc="reading headers", unit="file", disable=few))
    outcomes = []
    with tqdm(total=len(files), desc="analysing", unit="image", disable=few) as bar:
        for study in studies:
            outcomes.append(analyse_study(study, out, model, evidence_maps=evidence_maps))
            bar.update(len(study.sources))
    entries = [entry for outcome in outcomes for entry in outcome.entries]
    studies_found = [outcome.study for outcome in outcomes if outcome.study is not None]
    results = combine([entry.finding for entry in entries], studies_found, model)
    write_page(
        entries,
        results.studies,
        out,
        target=model.spec.target,
        model_name=model.spec.name,
        model_version=model.spec.version,
        software_version=__version__,
    )
    write_atomically(out / "result.json", result_json(results))
    return results


def analyse_study(
    study: Study,
    out: Path,
    model: Model,
    *,
    overlays: bool = True,
    evidence_maps: bool = False,
    evidence: Collection[EvidenceKind] = (),
) -> StudyOutcome:
    """Analyse the files of one study, write their overlays and its report into an existing folder.

    Parameters
    ----------
    study
        The files of one study, from :func:`group_by_study`.
    out
        Existing folder for the results.
    model
        The model to run.
    overlays
        Draw a picture for each analysed image.
    evidence_maps
        Write its evidence as numbers.
    evidence
        DICOM objects to write beside the report.

    Raises
    ------
    ReportError
        ``WRITE_FAILED`` where ``out`` cannot be written.
    """
    analyses: list[ImageAnalysis] = []
    drawn: list[str | None] = []
    maps: list[str | None] = []
    shown = ImageEvidence()
    for number, source in enumerate(study.sources, start=1):
        image = analyse_file(source, printable(source.path), model)
        analyses.append(image.analysis)
        drawn.append(_write_overlay(image, out, model) if overlays else None)
        maps.append(_write_evidence_map(image, out, evidence_maps))
        made = make_evidence(image, evidence, model.spec, algorithm(model), number, datetime.now())
        shown.objects.extend(made.objects)
        shown.left_out.extend(made.left_out)
    conclusion = conclude_study(study.study_instance_uid, analyses, model, datetime.now())
    if conclusion.finding is None or conclusion.report is None:
        _withdraw(maps, out)
        return StudyOutcome(conclusion.finding, _entries(conclusion.analyses, _withdraw(drawn, out)))
    path, *others = write_study(conclusion.report, shown.objects, out)
    finding = msgspec.structs.replace(conclusion.finding, sr_path=path.name)
    entries = _entries(conclusion.analyses, drawn)
    return StudyOutcome(finding, entries, [other.name for other in others], shown.left_out)


def write_study(
    report: Comprehensive3DSR, evidence: Sequence[SCImage | Segmentation], out: Path
) -> list[Path]:
    """Write a study's report and, beside it, its evidence objects.

    Returns
    -------
    The files, the report's first.

    Raises
    ------
    ReportError
        ``REPORT_FAILED`` where an object is of another study or patient, and nothing is written;
        ``WRITE_FAILED``.
    """
    check_same_patient(report, evidence)
    return [write_report(report, out), *write_evidence(evidence, out)]


def conclude_study(
    study_instance_uid: str | None, analyses: Sequence[ImageAnalysis], model: Model, created: datetime
) -> StudyConclusion:
    """Draw a study's conclusion and make its report; nothing is written.

    Parameters
    ----------
    study_instance_uid
        None for a file that belongs to no study: it has neither conclusion nor report.
    analyses
        Of all files of the study.
    model
        The model that analysed them.
    created
        When the report is made.
    """
    if study_instance_uid is None:
        return StudyConclusion(analyses, None, None)
    finding = study_finding(study_instance_uid, [a.finding for a in analyses])
    if _names_two_patients(analyses):
        return StudyConclusion(analyses, finding, None)
    try:
        report = study_report(analyses, finding, model.spec.target, algorithm(model), created)
    except ReportError as error:
        failed = [_failed(analysis, error) for analysis in analyses]
        return StudyConclusion(failed, study_finding(study_instance_uid, [a.finding for a in failed]), None)
    return StudyConclusion(analyses, finding, report)


def evidence_map_name(sop_instance_uid: str) -> str:
    """Name of the file with an image's evidence, beside result.json.

    float32 [h, w], each patch's share of the logit, as :func:`numpy.load` reads it.
    """
    return f"evidence_{sop_instance_uid}.npy"


def combine(images: Sequence[ImageFinding], studies: Sequence[StudyFinding], model: Model) -> Results:
    """Everything that result.json says of one run."""
    return Results(model=ModelIdentity.of(model.spec), images=images, studies=studies)


def _write_overlay(image: AnalysedImage, out: Path, model: Model) -> str | None:
    analysis = image.analysis
    if image.pixels is None or image.evidence is None or analysis.points is None:
        return None
    picture = draw_overlay(
        image.pixels,
        image.evidence,
        analysis.finding,
        analysis.points,
        model.spec.target,
        limit=model.spec.evidence_limit,
        model_name=model.spec.name,
        model_version=model.spec.version,
    )
    name = f"overlay_{analysis.finding.sop_instance_uid}.png"
    write_png(picture, out / name)
    return name


def _write_evidence_map(image: AnalysedImage, out: Path, wanted: bool) -> str | None:
    """Write the map, or remove one that an earlier run left: it may be another model's."""
    uid = image.analysis.finding.sop_instance_uid
    if image.evidence is None or uid is None:
        return None
    if not wanted:
        (out / evidence_map_name(uid)).unlink(missing_ok=True)
        return None
    content = BytesIO()
    np.save(content, image.evidence, allow_pickle=False)
    write_atomically(out / evidence_map_name(uid), content.getvalue())
    return evidence_map_name(uid)


def _withdraw(names: Sequence[str | None], out: Path) -> Sequence[None]:
    """Remove overlays and maps: they show an answer that is no longer given."""
    for name in names:
        if name is not None:
            (out / name).unlink(missing_ok=True)
    return [None] * len(names)


def _entries(analyses: Sequence[ImageAnalysis], overlays: Sequence[str | None]) -> list[PageEntry]:
    return [PageEntry(a.finding, a.points, overlay) for a, overlay in zip(analyses, overlays, strict=True)]


def _names_two_patients(analyses: Sequence[ImageAnalysis]) -> bool:
    reasons = (analysis.finding.reason for analysis in analyses)
    return any(reason is not None and reason.code is ReasonCode.CONFLICTING_PATIENT for reason in reasons)


def _failed(analysis: ImageAnalysis, error: ReportError) -> ImageAnalysis:
    """An analysed image whose report cannot be made: without one, nobody may rely on it."""
    if analysis.finding.status is not Status.ANALYSED:
        return analysis
    status, reason = unanalysed(error)
    was = analysis.finding
    finding = ImageFinding(
        path=was.path,
        sop_instance_uid=was.sop_instance_uid,
        study_instance_uid=was.study_instance_uid,
        status=status,
        reason=reason,
        body_part=was.body_part,
        seconds=was.seconds,
    )
    return replace(analysis, finding=finding)


def algorithm(model: Model | ModelFolder) -> Algorithm:
    """The model and this software, as DICOM objects name them."""
    return Algorithm(
        model_name=model.spec.name,
        model_version=model.spec.version,
        weights_sha256=model.spec.weights_sha256,
        fingerprint=model.fingerprint,
        software_name=SOFTWARE_NAME,
        software_version=__version__,
    )


def printable(path: Path) -> str:
    """A path as JSON can hold it: bytes that are no UTF-8 are replaced."""
    return str(path).encode("utf-8", "surrogateescape").decode("utf-8", "replace")


def _is_same(path: Path, folder: Path) -> bool:
    try:
        return path.samefile(folder)
    except OSError:  # a broken link: find_files says so
        return False


def make_output_folder(out: Path, inputs: Sequence[Path]) -> None:
    """Make the folder for the results.

    Raises
    ------
    ConfigError
        ``INVALID_CONFIG`` where it is one of the inputs.
    ReportError
        ``WRITE_FAILED`` where it cannot be made.
    """
    try:
        out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        text = f"{out}: expected a folder that can be written ({error.strerror})"
        raise ReportError(ReasonCode.WRITE_FAILED, text) from error
    if any(_is_same(path, out) for path in inputs):
        text = f"{out}: is an input itself, expected another folder for the results"
        raise ConfigError(ReasonCode.INVALID_CONFIG, text)
