"""Input paths to files, and files to studies of one patient each."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from pydicom import Dataset, FileDataset

from monai_bone_ssl.dicom.header import uid
from monai_bone_ssl.dicom.patient import (
    differing_attribute,
    patient_key,
    undecodable_attribute,
    undecodable_text,
)
from monai_bone_ssl.dicom.radiograph import read_header
from monai_bone_ssl.dicom.same_content import have_same_content
from monai_bone_ssl.dicom.stream import file_name
from monai_bone_ssl.dicom.unread import StudyFolders, is_some_radiograph
from monai_bone_ssl.errors import BoneSSLError, CorruptImage, ReasonCode, UnsupportedImage

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
    unread_files: int = 0
    """Number of files that cannot tell their study, and may belong to this one."""


def find_files(paths: Sequence[Path], skip: Path | None = None) -> list[Source]:
    """All files at or under ``paths``, each once, in a stable order.

    Parameters
    ----------
    paths
        Files and folders, any nesting. Links are followed.
    skip
        Folder that is left out: where the results go.

    Returns
    -------
    A source a file. What has no content of its own is one too, with the reason: a link that leads nowhere or
    back to a folder that holds it, a second name of what was read already, a folder that cannot be read, a
    pipe or a device.
    """
    left_out = None if skip is None else skip.resolve()
    sources: list[Source] = []
    names: set[Path] = set()
    seen: set[Path] = set()
    waiting = list(reversed(paths))
    while waiting:
        path = waiting.pop()
        name = path.absolute()
        if name in names:
            continue
        names.add(name)
        try:
            real = path.resolve(strict=True)
            if real == left_out:
                continue
            children = _children(path, real, seen)
        except BoneSSLError as error:
            sources.append(Source(path, error=error))
        except (OSError, RuntimeError) as error:  # RuntimeError: a link to itself, up to Python 3.12
            text = f"cannot be read ({getattr(error, 'strerror', None) or 'a link to itself'})"
            sources.append(Source(path, error=CorruptImage(ReasonCode.UNREADABLE_FILE, text)))
        else:
            waiting.extend(reversed(children))
            if real.is_file():
                sources.append(Source(path))
    return sources


def _children(path: Path, real: Path, seen: set[Path]) -> list[Path]:
    """What a folder holds, in order; nothing for a file.

    Raises
    ------
    BoneSSLError
        Where there is nothing more to read at ``path``.
    """
    is_folder = real.is_dir()
    if is_folder and path.is_symlink() and path.parent.resolve().is_relative_to(real):
        raise UnsupportedImage(ReasonCode.DIRECTORY_LOOP, "a link to a folder that holds it")
    if real in seen:
        code = ReasonCode.DIRECTORY_LOOP if is_folder else ReasonCode.DUPLICATE_INSTANCE
        text = f"a second name of a {'folder' if is_folder else 'file'} that was read already"
        raise UnsupportedImage(code, text)
    seen.add(real)
    if is_folder:
        return sorted(path.iterdir())
    if not real.is_file():  # opening a pipe would wait for ever
        raise CorruptImage(ReasonCode.UNREADABLE_FILE, "a pipe or a device: expected a file or folder")
    return []


@dataclass
class _Seen:
    """What is known of a study while its files are gathered."""

    study: Study
    patients: set[tuple[str, ...]] = field(default_factory=set)
    undecodable: str | None = None
    """Identifying attribute that cannot be read in some file."""

    def add(self, source: Source, header: Dataset) -> None:
        self.study.sources.append(source)
        self.patients.add(patient_key(header))
        self.undecodable = self.undecodable or undecodable_attribute(header)

    @property
    def refusal(self) -> CorruptImage | None:
        """Why nobody can say whose study it is; None where it is one patient's."""
        if differing_attribute(self.patients) is not None:
            text = "the study's files name more than one patient: expected one"
            return CorruptImage(ReasonCode.CONFLICTING_PATIENT, text)
        if self.undecodable is not None:
            return CorruptImage(ReasonCode.UNDECODABLE_IDENTITY, undecodable_text(self.undecodable))
        return None


def group_by_study(files: Iterable[Source]) -> list[Study]:
    """Read each file's header and gather files by Study Instance UID.

    Returns
    -------
    Studies in the order of their first file. A file that is refused carries its error: not DICOM, a second
    copy of an instance, all of several files that share an instance's UID with other content, and any file
    of a study that names two patients, or one that cannot be read. A file whose study cannot be told stands
    alone, and is counted in each study that it may belong to, see :mod:`monai_bone_ssl.dicom.unread`.
    """
    gathered: dict[str, _Seen] = {}
    studies: list[Study] = []
    unread: list[Source] = []
    instances: dict[str, Source] = {}
    conflicting: set[str] = set()
    for file in files:
        source, header = _identify(file)
        if header is None or source.study_instance_uid is None:
            studies.append(Study(None, [source]))
            unread += [source] if header is None or is_some_radiograph(header) else []
            continue
        if source.study_instance_uid not in gathered:
            gathered[source.study_instance_uid] = _Seen(Study(source.study_instance_uid))
            studies.append(gathered[source.study_instance_uid].study)
        gathered[source.study_instance_uid].add(_once(source, instances, conflicting), header)
    for entry in gathered.values():
        sources = [_unambiguous(source, conflicting) for source in entry.study.sources]
        refusal = entry.refusal
        entry.study.sources = [replace(s, error=refusal) for s in sources] if refusal else sources
    _count_unread({uid: entry.study for uid, entry in gathered.items()}, unread)
    return studies


def _count_unread(studies: Mapping[str, Study], unread: Sequence[Source]) -> None:
    if not unread:
        return
    folders = StudyFolders((source.path, key) for key in studies for source in studies[key].sources)
    for source in unread:
        code = None if source.error is None else source.error.code
        for key in folders.candidates(source.path, code):
            studies[key].unread_files += 1


def _identify(file: Source) -> tuple[Source, FileDataset | None]:
    if file.error is not None:
        return file, None
    try:
        header = read_header(file.path)
    except BoneSSLError as error:
        return Source(file.path, error=error), None
    return Source(file.path, _uid(header, "SOPInstanceUID"), _uid(header, "StudyInstanceUID")), header


def _uid(header: Dataset, keyword: str) -> str | None:
    value = uid(header, keyword)
    return None if value is None else str(value)  # pydicom's own type is none that JSON knows


def _once(source: Source, instances: dict[str, Source], conflicting: set[str]) -> Source:
    """The source, refused if it is a copy of one seen before; other content under its UID is noted."""
    if source.sop_instance_uid is None:
        return source
    first = instances.setdefault(source.sop_instance_uid, source)
    if first is source:
        return source
    if not have_same_content(first.path, source.path):
        conflicting.add(source.sop_instance_uid)
        return source
    text = f"a second copy of {file_name(first.path)}"
    return replace(source, error=UnsupportedImage(ReasonCode.DUPLICATE_INSTANCE, text))


def _unambiguous(source: Source, conflicting: set[str]) -> Source:
    """The source, refused if its UID names several images: a report could not say which one it means."""
    if source.sop_instance_uid not in conflicting:
        return source
    text = "another file has the same SOP Instance UID and other content: expected one UID an instance"
    return replace(source, error=CorruptImage(ReasonCode.CONFLICTING_INSTANCE, text))
