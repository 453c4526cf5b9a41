"""Input paths to files, and files to studies of one patient each."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from pydicom import Dataset

from monai_bone_ssl.dicom_header import uid
from monai_bone_ssl.errors import BoneSSLError, CorruptImage, ReasonCode, UnsupportedImage
from monai_bone_ssl.radiograph import read_header
from monai_bone_ssl.report import patient_key

__all__ = ["Source", "Study", "find_files", "group_by_study"]


@dataclass(frozen=True)
class Source:
    """An input file and, where it is refused already, why. Holds no header: a run may have many files."""

    path: Path
    sop_instance_uid: str | None = None
    study_instance_uid: str | None = None
    error: BoneSSLError | None = None


@dataclass
class Study:
    """The files of one study; those that belong to none stand alone, without a UID."""

    study_instance_uid: str | None
    sources: list[Source] = field(default_factory=list)


def find_files(paths: Sequence[Path], skip: Path) -> list[Source]:
    """All files at or under ``paths``, each once, in a stable order.

    Parameters
    ----------
    paths
        Files and folders, any nesting. Links are followed.
    skip
        Folder that is left out: where the results go.

    Returns
    -------
    A source a file; a link that leads back to a folder already read is one too, with ``DIRECTORY_LOOP``.
    """
    seen: set[Path] = {skip.resolve()}
    return [source for path in paths for source in _walk(path, seen)]


def _walk(path: Path, seen: set[Path]) -> Iterator[Source]:
    try:
        real = path.resolve(strict=True)
    except (OSError, RuntimeError):  # a broken link, or a link to itself
        text = "a link that leads nowhere: expected a file or folder"
        yield Source(path, error=CorruptImage(ReasonCode.UNREADABLE_FILE, text))
        return
    if real in seen:
        if path.is_symlink() and real.is_dir():
            text = "a link to a folder that was read already"
            yield Source(path, error=UnsupportedImage(ReasonCode.DIRECTORY_LOOP, text))
        elif path.is_symlink():
            text = "a link to a file that was read already"
            yield Source(path, error=UnsupportedImage(ReasonCode.DUPLICATE_INSTANCE, text))
        return
    seen.add(real)
    if not real.is_dir():
        yield Source(path)
        return
    try:
        children = sorted(path.iterdir())
    except OSError as error:
        text = f"a folder that cannot be read ({error.strerror})"
        yield Source(path, error=CorruptImage(ReasonCode.UNREADABLE_FILE, text))
        return
    for child in children:
        yield from _walk(child, seen)


@dataclass
class _Seen:
    """What is known of a study while its files are gathered."""

    study: Study
    patients: set[tuple[str, ...]] = field(default_factory=set)


def group_by_study(files: Iterable[Source]) -> list[Study]:
    """Read each file's header and gather files by Study Instance UID.

    Returns
    -------
    Studies in the order of their first file. A file that is refused carries its error: not DICOM, a second
    copy of an instance, or any file of a study that names two patients.
    """
    gathered: dict[str, _Seen] = {}
    studies: list[Study] = []
    instances: dict[str, Source] = {}
    for file in files:
        source, header = _identify(file)
        if header is None or source.study_instance_uid is None:
            studies.append(Study(None, [source]))
            continue
        if source.study_instance_uid not in gathered:
            gathered[source.study_instance_uid] = _Seen(Study(source.study_instance_uid))
            studies.append(gathered[source.study_instance_uid].study)
        entry = gathered[source.study_instance_uid]
        entry.patients.add(patient_key(header))
        entry.study.sources.append(_once(source, instances))
    for entry in gathered.values():
        if len(entry.patients) > 1:
            entry.study.sources = [_refuse(source) for source in entry.study.sources]
    return studies


def _identify(file: Source) -> tuple[Source, Dataset | None]:
    if file.error is not None:
        return file, None
    try:
        header = read_header(file.path)
    except BoneSSLError as error:
        return Source(file.path, error=error), None
    return Source(file.path, uid(header, "SOPInstanceUID"), uid(header, "StudyInstanceUID")), header


def _once(source: Source, instances: dict[str, Source]) -> Source:
    """The source, refused if its instance was seen before in this run."""
    if source.sop_instance_uid is None:
        return source
    first = instances.setdefault(source.sop_instance_uid, source)
    if first is source:
        return source
    error: BoneSSLError
    if first.study_instance_uid == source.study_instance_uid and _same_bytes(first.path, source.path):
        error = UnsupportedImage(ReasonCode.DUPLICATE_INSTANCE, f"a second copy of {first.path.name}")
    else:
        text = f"SOP Instance UID of {first.path.name} with other content: expected one UID an instance"
        error = CorruptImage(ReasonCode.CONFLICTING_INSTANCE, text)
    return Source(source.path, source.sop_instance_uid, source.study_instance_uid, error)


def _same_bytes(first: Path, second: Path) -> bool:
    try:
        return first.read_bytes() == second.read_bytes()
    except OSError:
        return False


def _refuse(source: Source) -> Source:
    text = "the study's files name more than one patient: expected one"
    error = CorruptImage(ReasonCode.CONFLICTING_PATIENT, text)
    return Source(source.path, source.sop_instance_uid, source.study_instance_uid, error)
