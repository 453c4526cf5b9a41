"""The images to read, each with the finding of the algorithm and the evidence that ``analyze`` left."""

from __future__ import annotations

import hashlib
import os
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import numpy.typing as npt
from pydicom import Dataset

from monai_bone_ssl.analysis import refuse
from monai_bone_ssl.dicom.collect import Source, find_files, group_by_study
from monai_bone_ssl.dicom.header import uid
from monai_bone_ssl.dicom.radiograph import check_eligible, read_header
from monai_bone_ssl.dicom.stream import file_name
from monai_bone_ssl.errors import BoneSSLError, ConfigError, CorruptImage, ReasonCode
from monai_bone_ssl.findings import Answered, Decision, ImageFinding, OperatingPoints, Target
from monai_bone_ssl.model.spec import ModelSpec
from monai_bone_ssl.show.results import ModelIdentity, read_results
from monai_bone_ssl.shown_image import PatchMap

__all__ = [
    "Case",
    "Worklist",
    "case_header",
    "load_evidence",
    "with_finding",
    "worklist_from_paths",
    "worklist_from_results",
]


@dataclass(frozen=True)
class Case:
    """One image to read."""

    key: str
    """SOP Instance UID. Where the file has none, or shares it with another, ``file:`` and a digest of the
    path: keys are kept and exported, and the path itself may name a patient."""
    path: Path
    """Absolute path of the file."""
    sop_instance_uid: str | None
    study_instance_uid: str | None
    finding: ImageFinding | None
    """Finding of the algorithm; None before the image was analysed."""
    points: OperatingPoints | None
    """Operating points of the image's body part; None where they are not known."""

    @property
    def decision(self) -> Decision | None:
        """Decision of the algorithm; None where it gave no answer."""
        return self.finding.decision if isinstance(self.finding, Answered) else None


@dataclass(frozen=True)
class Worklist:
    """The images of one review, in the order of the files."""

    cases: tuple[Case, ...]
    model: ModelIdentity | None
    """Model that the findings are of; None for a review without one."""
    target: Target | None
    """Condition that the model looks for; None where it is not known."""


# Reasons of files that hold no image to read, or one that is in the list already.
_NO_IMAGE = (
    ReasonCode.NOT_DICOM,
    ReasonCode.DIRECTORY_LOOP,
    ReasonCode.UNSUPPORTED_SOP_CLASS,
    ReasonCode.DUPLICATE_INSTANCE,
)


def worklist_from_results(out: Path, spec: ModelSpec | None = None) -> Worklist:
    """List the images of an ``analyze`` output folder.

    Parameters
    ----------
    out
        Folder with result.json. A path in it that is not absolute is looked for in the current folder, then
        in ``out``; a file that has vanished stays in the list, and fails when it is opened.
    spec
        Specification of the model, for operating points and target; used only where the results are that
        model's.

    Raises
    ------
    ConfigError
        ``INVALID_DATA`` where result.json is missing, damaged or of another version.
    """
    results = read_results(out / "result.json")
    known = spec if spec is not None and ModelIdentity.of(spec) == results.model else None
    images = [
        image for image in results.images if isinstance(image, Answered) or image.reason.code not in _NO_IMAGE
    ]
    cases = [
        Case(
            key="",
            path=_resolve(Path(image.path), out),
            sop_instance_uid=image.sop_instance_uid,
            study_instance_uid=image.study_instance_uid,
            finding=image,
            points=None if known is None else _points(image, known),
        )
        for image in images
    ]
    return Worklist(_with_keys(cases), results.model, None if known is None else known.target)


def worklist_from_paths(
    paths: Sequence[Path], spec: ModelSpec | None = None, skip: Path | None = None
) -> Worklist:
    """List the DICOM images at or under paths, without results yet.

    Parameters
    ----------
    paths
        Files and folders, any nesting.
    spec
        Specification of the model that will analyse the images; None to read without one.
    skip
        Folder that is left out, such as the review's own.

    Returns
    -------
    The worklist. An image that is refused already, such as one of a study that names two patients, has the
    reason as its finding.
    """
    gathered = [source for study in group_by_study(find_files(paths, skip)) for source in study.sources]
    sources = [_checked(source) for source in gathered]
    images = [source for source in sources if source.error is None or source.error.code not in _NO_IMAGE]
    identity = None if spec is None else ModelIdentity.of(spec)
    cases = _with_keys(_case(source) for source in images)
    return Worklist(cases, identity, None if spec is None else spec.target)


def with_finding(
    worklist: Worklist, key: str, finding: ImageFinding, points: OperatingPoints | None
) -> Worklist:
    """Put the result of one image into the worklist.

    Raises
    ------
    ConfigError
        ``INVALID_CONFIG`` where no case has the key, or the finding is another image's.
    """
    found = [case for case in worklist.cases if case.key == key]
    if not found or found[0].sop_instance_uid != finding.sop_instance_uid:
        text = f"{key}: a finding of {finding.sop_instance_uid}, expected one of an image of the worklist"
        raise ConfigError(ReasonCode.INVALID_CONFIG, text)
    changed = replace(found[0], finding=finding, points=points)
    return replace(worklist, cases=tuple(changed if case is found[0] else case for case in worklist.cases))


def case_header(case: Case) -> Dataset:
    """Read the header of a case's file, and make sure that it still is the image that the case is about.

    Raises
    ------
    CorruptImage, UnsupportedImage
        Where the file has vanished or cannot be read; ``CONFLICTING_INSTANCE`` where another image stands in
        its place by now.
    """
    header = read_header(case.path)
    if case.sop_instance_uid is not None and (
        uid(header, "SOPInstanceUID") != case.sop_instance_uid
        or uid(header, "StudyInstanceUID") != case.study_instance_uid
    ):
        text = f"{file_name(case.path)} is not the image of the worklist any more"
        raise CorruptImage(ReasonCode.CONFLICTING_INSTANCE, text)
    return header


def load_evidence(out: Path, case: Case) -> npt.NDArray[np.float32] | None:
    """Load the evidence of an image that ``analyze --evidence`` left beside result.json.

    Parameters
    ----------
    out
        Folder with result.json.
    case
        Case of the worklist that is made from this folder.

    Returns
    -------
    Probability of each patch that it shows the target, float32 [h, w], 0 to 1; the patches cover the image
    from edge to edge. None where the image has no answer, or ``--evidence`` was not given.

    Raises
    ------
    ConfigError
        ``INVALID_DATA`` where the file is damaged, or holds anything but probabilities.
    """
    if case.decision is None or case.sop_instance_uid is None:
        return None
    path = out / PatchMap.EVIDENCE.file_name(case.sop_instance_uid)
    if not path.is_file():
        return None
    try:
        evidence = np.load(path, allow_pickle=False)
    except (OSError, ValueError, EOFError) as error:
        raise ConfigError(ReasonCode.INVALID_DATA, f"{path}: cannot be read as an array") from error
    of_patches = evidence.dtype == np.float32 and evidence.ndim == 2
    if not (of_patches and ((evidence >= 0) & (evidence <= 1)).all()):  # NaN fails too
        text = f"{path}: {evidence.dtype} {evidence.shape}, expected float32 [h, w] from 0 to 1"
        raise ConfigError(ReasonCode.INVALID_DATA, text)
    return np.asarray(evidence)


def _checked(source: Source) -> Source:
    """Refuse a source whose header says already that it is no radiograph."""
    if source.error is not None:
        return source
    try:
        check_eligible(read_header(source.path))
    except BoneSSLError as error:
        return replace(source, error=error)
    return source


def _case(source: Source) -> Case:
    finding = None if source.error is None else refuse(source, source.error)
    path = source.path.absolute()
    return Case("", path, source.sop_instance_uid, source.study_instance_uid, finding, None)


def _with_keys(cases: Iterable[Case]) -> tuple[Case, ...]:
    """Give each case a key that no other case has."""
    listed = list(cases)
    uses = Counter(case.sop_instance_uid for case in listed)
    return tuple(replace(case, key=_key(case, uses)) for case in listed)


def _key(case: Case, uses: Counter[str | None]) -> str:
    if case.sop_instance_uid is None or uses[case.sop_instance_uid] > 1:
        return "file:" + hashlib.sha256(os.fsencode(case.path)).hexdigest()[:16]
    return case.sop_instance_uid


def _resolve(path: Path, out: Path) -> Path:
    here = path.absolute()
    beside = (out / path).absolute()
    return beside if not here.exists() and beside.exists() else here


def _points(image: ImageFinding, spec: ModelSpec) -> OperatingPoints | None:
    part = None if image.body_part is None else spec.body_part(image.body_part.value)
    return None if part is None else part.operating_points
