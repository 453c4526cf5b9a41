"""Files to studies to results: the one path that every front calls."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import closing
from dataclasses import dataclass
from datetime import datetime
from itertools import count, islice
from pathlib import Path

import msgspec
from highdicom.sc import SCImage
from highdicom.seg import Segmentation
from highdicom.sr import Comprehensive3DSR
from tqdm import tqdm

from monai_bone_ssl import __version__
from monai_bone_ssl.dicom.collect import Source, Study, find_files, group_by_study
from monai_bone_ssl.errors import ConfigError, ReasonCode, ReportError
from monai_bone_ssl.files import write_atomically
from monai_bone_ssl.findings import (
    ImageAnalysis,
    ImageFinding,
    Refused,
    RefusedImage,
    StudyFinding,
    study_finding,
    unanalysed,
)
from monai_bone_ssl.model.folder import ModelFolder
from monai_bone_ssl.model.inference import Model
from monai_bone_ssl.report.content import Algorithm
from monai_bone_ssl.report.evidence_objects import check_same_patient, write_evidence
from monai_bone_ssl.report.study import NO_HISTORY, History, study_report, write_report
from monai_bone_ssl.show.page import PageEntry, write_page
from monai_bone_ssl.show.results import SOFTWARE_NAME, ModelIdentity, Results, result_json
from monai_bone_ssl.shown_image import Outputs, PatchMap, ShownImage, show_image, withdraw
from monai_bone_ssl.threads import map_in_order

__all__ = [
    "StudyConclusion",
    "StudyOutcome",
    "algorithm",
    "analyse",
    "analyse_study",
    "combine",
    "conclude_study",
    "make_output_folder",
    "set_aside_earlier_run",
    "write_study",
]

# Number of files from which on people want to see progress.
_PROGRESS_FROM = 4

# Names of the files that a run writes.
_RESULT_FILES = (
    "result.json",
    "index.html",
    "overlay_*.png",
    *(kind.file_name("*") for kind in PatchMap),
    "SR_*.dcm",
    "SC_*.dcm",
    "SEG_*.dcm",
)


@dataclass(frozen=True)
class StudyConclusion:
    """Conclusion of a study, not written yet.

    Without a report no answer may be relied on, and nothing drawn of the study's images may be kept.
    """

    analyses: Sequence[ImageAnalysis]
    """Analyses of all files of the study; failed where the report cannot be made."""
    finding: StudyFinding | None
    """Finding of the study; None for a file that belongs to no study."""
    report: Comprehensive3DSR | None
    """Report of the study; None where there is none to make, or it cannot be made."""


@dataclass(frozen=True)
class StudyOutcome:
    """Finding of a study, and everything that was written of it."""

    study: StudyFinding | None
    """Finding of the study; None for a file that belongs to no study."""
    entries: Sequence[PageEntry]
    """Findings of the study's files, as the page takes them."""
    evidence_files: Sequence[str] = ()
    """File names of the evidence objects beside the report."""
    left_out: Sequence[ReportError] = ()
    """Why evidence objects that were asked for are not there."""


def analyse(
    paths: Sequence[Path], out: Path, model: Model, *, patch_maps: bool = False, at_once: int = 1
) -> Results:
    """Analyse files and folders; write reports, overlays, the page and result.json.

    Memory does not grow with the number of files: the pixels of ``at_once`` images are held at a time.

    Parameters
    ----------
    paths
        Existing files and folders, any nesting.
    out
        Folder for the results; made where missing, left out of the input where it lies inside. What an
        earlier run left there is set aside first, see :func:`set_aside_earlier_run`.
    model
        Model to run.
    patch_maps
        Whether to write the numbers of each answered image's patches too, see
        :class:`~monai_bone_ssl.shown_image.PatchMap`.
    at_once
        Number of images that are analysed at the same time, see
        :func:`~monai_bone_ssl.threads.images_at_once`; the results do not depend on the number.

    Returns
    -------
    Content of result.json.

    Raises
    ------
    ConfigError
        ``INVALID_CONFIG`` where ``out`` is one of ``paths``.
    ReportError
        ``WRITE_FAILED`` where ``out`` cannot be written; no half file is left.
    """
    make_output_folder(out, paths)
    set_aside_earlier_run(out)
    files = find_files(paths, skip=out)
    few = len(files) < _PROGRESS_FROM
    studies = group_by_study(tqdm(files, desc="reading headers", unit="file", disable=few))
    numbered = [numbered_source for study in studies for numbered_source in enumerate(study.sources, 1)]
    outputs, author = Outputs(patch_maps=patch_maps), algorithm(model)

    def show(item: tuple[int, Source]) -> ShownImage:
        return show_image(item[1], item[0], out, model, author, outputs)

    with (
        closing(map_in_order(show, numbered, at_once)) as images_shown,
        tqdm(images_shown, desc="analysing", unit="image", total=len(numbered), disable=few) as bar,
    ):
        images = iter(bar)
        outcomes = [
            _finish_study(study, list(islice(images, len(study.sources))), out, model) for study in studies
        ]
        next(images, None)  # lets the bar reach its end
    entries = [entry for outcome in outcomes for entry in outcome.entries]
    studies_found = [outcome.study for outcome in outcomes if outcome.study is not None]
    results = combine([entry.finding for entry in entries], studies_found, model)
    write_page(entries, results.studies, out, model.spec)
    write_atomically(out / "result.json", result_json(results))
    return results


def analyse_study(
    study: Study, out: Path, model: Model, outputs: Outputs, history: History = NO_HISTORY
) -> StudyOutcome:
    """Analyse the files of one study, and write the outputs and the report into an existing folder.

    Parameters
    ----------
    study
        Files of the study.
    out
        Existing folder.
    model
        Model to run.
    outputs
        Outputs to write of each answered image.
    history
        Reports on the study that the archive was given before.

    Raises
    ------
    ReportError
        ``WRITE_FAILED`` where ``out`` cannot be written.
    """
    author = algorithm(model)
    sources = enumerate(study.sources, start=1)
    images = [show_image(source, number, out, model, author, outputs) for number, source in sources]
    return _finish_study(study, images, out, model, history)


def _finish_study(
    study: Study, images: Sequence[ShownImage], out: Path, model: Model, history: History = NO_HISTORY
) -> StudyOutcome:
    """Conclude a study and write its report; without one, nothing that was drawn of its images stays."""
    analyses = [image.analysis for image in images]
    overlays = [image.overlay for image in images]
    conclusion = conclude_study(
        study.study_instance_uid, analyses, study.unread_files, model, datetime.now(), history
    )
    if conclusion.finding is None or conclusion.report is None:
        withdraw([name for image in images for name in image.patch_maps], out)
        return StudyOutcome(conclusion.finding, _entries(conclusion.analyses, withdraw(overlays, out)))
    objects = [item for image in images for item in image.evidence.objects]
    path, *others = write_study(conclusion.report, objects, out)
    finding = msgspec.structs.replace(conclusion.finding, sr_path=path.name)
    left_out = [reason for image in images for reason in image.evidence.left_out]
    entries = _entries(conclusion.analyses, overlays)
    return StudyOutcome(finding, entries, [other.name for other in others], left_out)


def write_study(
    report: Comprehensive3DSR, evidence: Sequence[SCImage | Segmentation], out: Path
) -> list[Path]:
    """Write a study's report and, beside it, the evidence objects.

    Returns
    -------
    Paths of the files, the report's first.

    Raises
    ------
    ReportError
        ``REPORT_FAILED`` where an object is of another study or patient, and nothing is written;
        ``WRITE_FAILED``.
    """
    check_same_patient(report, evidence)
    return [write_report(report, out), *write_evidence(evidence, out)]


def conclude_study(
    study_instance_uid: str | None,
    analyses: Sequence[ImageAnalysis],
    unread_files: int,
    model: Model,
    created: datetime,
    history: History = NO_HISTORY,
) -> StudyConclusion:
    """Draw a study's conclusion and make the report; nothing is written.

    Parameters
    ----------
    study_instance_uid
        UID of the study; None for a file that belongs to none, and has neither conclusion nor report.
    analyses
        Analyses of all files of the study.
    unread_files
        Number of files that cannot tell their study, and may belong to this one.
    model
        Model that analysed the files.
    created
        Time of the report.
    history
        Reports on the study that the archive was given before.
    """
    if study_instance_uid is None:
        return StudyConclusion(analyses, None, None)
    finding = study_finding(study_instance_uid, [a.finding for a in analyses], unread_files)
    if _patient_in_doubt(analyses):
        return StudyConclusion(analyses, finding, None)
    try:
        report = study_report(analyses, finding, model.spec.target, algorithm(model), created, history)
    except ReportError as error:
        failed = [_failed(analysis, error) for analysis in analyses]
        finding = study_finding(study_instance_uid, [a.finding for a in failed], unread_files)
        return StudyConclusion(failed, finding, None)
    return StudyConclusion(analyses, finding, report)


def combine(images: Sequence[ImageFinding], studies: Sequence[StudyFinding], model: Model) -> Results:
    """Put together what result.json says of one run."""
    return Results(model=ModelIdentity.of(model.spec), images=images, studies=studies)


def _entries(analyses: Sequence[ImageAnalysis], overlays: Sequence[str | None]) -> list[PageEntry]:
    return [PageEntry(image.finding, overlay) for image, overlay in zip(analyses, overlays, strict=True)]


def _patient_in_doubt(analyses: Sequence[ImageAnalysis]) -> bool:
    reasons = (image.finding.reason for image in analyses if isinstance(image, RefusedImage))
    doubts = (ReasonCode.CONFLICTING_PATIENT, ReasonCode.UNDECODABLE_IDENTITY)
    return any(reason.code in doubts for reason in reasons)


def _failed(analysis: ImageAnalysis, error: ReportError) -> ImageAnalysis:
    """The image without its answer, on which nobody may rely where the report cannot be made."""
    if isinstance(analysis, RefusedImage):
        return analysis
    status, reason = unanalysed(error)
    finding = Refused(
        path=analysis.finding.path,
        sop_instance_uid=analysis.finding.sop_instance_uid,
        study_instance_uid=analysis.finding.study_instance_uid,
        status=status,
        reason=reason,
        body_part=analysis.finding.body_part,
        notes=analysis.finding.notes,
        seconds=analysis.finding.seconds,
    )
    return RefusedImage(finding, analysis.header, analysis.anatomy, analysis.laterality)


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


def set_aside_earlier_run(out: Path) -> Path | None:
    """Move what an earlier run left in a folder into ``earlier_N`` in it, so that no report lies beside a
    result.json that does not know it.

    Parameters
    ----------
    out
        Existing folder for the results of a run.

    Returns
    -------
    Folder with the earlier results; None where there were none.

    Raises
    ------
    ReportError
        ``WRITE_FAILED`` where a file cannot be moved.
    """
    left = sorted(path for pattern in _RESULT_FILES for path in out.glob(pattern))
    if not left:
        return None
    aside = next(folder for n in count(1) if not (folder := out / f"earlier_{n}").exists())
    try:
        aside.mkdir()
        for path in left:
            path.rename(aside / path.name)
    except OSError as error:
        text = f"{out}: results of an earlier run cannot be moved to {aside.name} ({error.strerror})"
        raise ReportError(ReasonCode.WRITE_FAILED, text) from error
    return aside


def _is_same(path: Path, folder: Path) -> bool:
    try:
        return path.samefile(folder)
    except OSError:  # a broken link, for which find_files has a reason
        return False


def make_output_folder(out: Path, inputs: Sequence[Path]) -> None:
    """Make the folder for the results.

    Raises
    ------
    ConfigError
        ``INVALID_CONFIG`` where the folder is one of the inputs.
    ReportError
        ``WRITE_FAILED`` where the folder cannot be made.
    """
    try:
        out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        text = f"{out}: expected a folder that can be written ({error.strerror})"
        raise ReportError(ReasonCode.WRITE_FAILED, text) from error
    if any(_is_same(path, out) for path in inputs):
        text = f"{out}: is an input itself, expected another folder for the results"
        raise ConfigError(ReasonCode.INVALID_CONFIG, text)
