"""The images to read, with what the algorithm said of each."""

from __future__ import annotations

import hashlib
import os
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from pydicom import Dataset

from monai_bone_ssl.analysis import refuse
from monai_bone_ssl.dicom.collect import Source, find_files, group_by_study
from monai_bone_ssl.dicom.header import file_name, uid
from monai_bone_ssl.dicom.radiograph import check_eligible, read_header
from monai_bone_ssl.errors import BoneSSLError, ConfigError, CorruptImage, ReasonCode
from monai_bone_ssl.findings import Answered, Decision, ImageFinding, OperatingPoints, Target
from monai_bone_ssl.model.spec import ModelSpec
from monai_bone_ssl.show.results import ModelIdentity, read_results

__all__ = [
    "Case",
    "Worklist",
    "case_header",
    "with_finding",
    "worklist_from_paths",
    "worklist_from_results",
]


@dataclass(frozen=True)
class Case:
    """One image to read."""

    key: str
    """SOP Instance UID. Where the file has none, or shares it with another, ``file:`` and a digest of the
    path: the path itself may name a patient, and keys are kept and exported."""
    path: Path
    """Absolute."""
    sop_instance_uid: str | None
    study_instance_uid: str | None
    finding: ImageFinding | None
    """None: no result yet."""
    points: OperatingPoints | None
    """Of the image's body part; None where they are not known."""

    @property
    def decision(self) -> Decision | None:
        """The algorithm's answer, if it gave one."""
        return self.finding.decision if isinstance(self.finding, Answered) else None


@dataclass(frozen=True)
class Worklist:
    """The images of one review, in the order of the files."""

    cases: tuple[Case, ...]
    model: ModelIdentity | None
    """Which model the findings are of; None without one."""
    target: Target | None
    """What the model looks for; None where it is not known."""


# Files that hold nothing to read.
_NO_IMAGE = frozenset(
    {
        ReasonCode.NOT_DICOM,
        ReasonCode.DIRECTORY_LOOP,
        ReasonCode.UNSUPPORTED_SOP_CLASS,
        ReasonCode.DUPLICATE_INSTANCE,
    }
)


def worklist_from_results(out: Path, spec: ModelSpec | None = None) -> Worklist:
    """The images of an ``analyze`` output folder.

    Parameters
    ----------
    out
        Folder with result.json. A path in it that is not absolute is looked for in the current folder, then
        in ``out``; a file that has vanished stays in the list, and fails when it is opened.
    spec
        Of the model, for operating points and target; used only where the results are that model's.

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
    """The DICOM images at or under paths, without results yet.

    Parameters
    ----------
    paths
        Files and folders, any nesting.
    spec
        Of the model that will analyse them; None to read without one.
    skip
        Folder that is left out, such as the session's own.

    Returns
    -------
    A file that is refused already, such as one of a study that names two patients, has its reason as finding.
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
    """The worklist with a result for one of its images.

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
    """Header of a case's file, which has to be the image that the case is about.

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


def _checked(source: Source) -> Source:
    """The source, refused where its header says already that it is no radiograph."""
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
    """The cases with keys that no two of them share."""
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
