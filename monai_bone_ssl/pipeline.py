"""Files to studies to results: the one path that every front calls."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path

import msgspec
from highdicom.sr import Comprehensive3DSR
from tqdm import tqdm

from monai_bone_ssl import __version__
from monai_bone_ssl.analysis import AnalysedImage, analyse_file
from monai_bone_ssl.collect import Study, find_files, group_by_study
from monai_bone_ssl.errors import ConfigError, ReasonCode, ReportError
from monai_bone_ssl.files import write_atomically
from monai_bone_ssl.findings import (
    ImageAnalysis,
    ImageFinding,
    Status,
    StudyFinding,
    study_finding,
    unanalysed,
)
from monai_bone_ssl.model import Model
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
    "make_output_folder",
    "printable",
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


def analyse(paths: Sequence[Path], out: Path, model: Model) -> Results:
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
            outcomes.append(analyse_study(study, out, model))
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


def analyse_study(study: Study, out: Path, model: Model, *, overlays: bool = True) -> StudyOutcome:
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
        Draw a picture for each analysed image. Without them only the report is written.

    Raises
    ------
    ReportError
        ``WRITE_FAILED`` where ``out`` cannot be written.
    """
    analyses: list[ImageAnalysis] = []
    drawn: list[str | None] = []
    for source in study.sources:
        image = analyse_file(source, printable(source.path), model)
        analyses.append(image.analysis)
        drawn.append(_write_overlay(image, out, model) if overlays else None)
    conclusion = conclude_study(study.study_instance_uid, analyses, model, datetime.now())
    if conclusion.finding is None or conclusion.report is None:
        return StudyOutcome(conclusion.finding, _entries(conclusion.analyses, _withdraw(drawn, out)))
    path = write_report(conclusion.report, out)
    finding = msgspec.structs.replace(conclusion.finding, sr_path=path.name)
    return StudyOutcome(finding, _entries(conclusion.analyses, drawn))


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


def combine(images: Sequence[ImageFinding], studies: Sequence[StudyFinding], model: Model) -> Results:
    """Everything that result.json says of one run."""
    identity = ModelIdentity(model.spec.name, model.spec.version, model.spec.weights_sha256)
    return Results(model=identity, images=images, studies=studies)


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


def _withdraw(overlays: Sequence[str | None], out: Path) -> Sequence[None]:
    """Remove overlays: they show an answer that is no longer given."""
    for overlay in overlays:
        if overlay is not None:
            (out / overlay).unlink(missing_ok=True)
    return [None] * len(overlays)


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


def algorithm(model: Model) -> Algorithm:
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
