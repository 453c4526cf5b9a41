"""Files too damaged to tell their study, and the studies that each of them may belong to.

Nobody has looked at what such a file shows, so that a study that it may belong to is not negative. The rule:

1. Every damaged DICOM file may be an image of a study, and so may any other file that cannot be opened or is
   not recognised. Not so a DICOM object that is no radiograph, a DICOMDIR, a second name of a file, a hidden
   file, and what is plainly something else by its extension or its first bytes: a text, a picture, a
   document, an archive or a programme. What looks like something else counts all the same where its name has
   the form of the names of a study's files beside it: IM0002 beside IM0001, b.dcm beside a.dcm.
2. The file may belong to every study that has files in the same folder. Where no study has one there, it may
   belong to the study of the files in the nearest folder around it, if all of these are of one study.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterable, Sequence
from mimetypes import MimeTypes
from pathlib import Path

from pydicom import FileDataset

from monai_bone_ssl.dicom.radiograph import check_eligible
from monai_bone_ssl.errors import BoneSSLError, ReasonCode

__all__ = ["StudyFolders", "is_some_radiograph"]

_SEVERAL = "several studies"
_EXTENSIONS = MimeTypes()  # those that Python knows, whatever the system's own tables say
# First bytes of pictures, documents, archives, programmes, and of text with a byte order mark.
_SIGNATURES = (
    *(b"\xff\xd8\xff", b"\x89PNG", b"GIF8", b"BM", b"II*\0", b"MM\0*", b"%PDF"),
    *(b"\xd0\xcf\x11\xe0", b"PK\x03\x04", b"\x1f\x8b", b"Rar!", b"7z\xbc\xaf", b"MZ", b"\x7fELF"),
    *(b"\xff\xfe", b"\xfe\xff"),
)


class StudyFolders:
    """Folders in which the files of studies lie, and the names that the files have there.

    Parameters
    ----------
    files
        Path and Study Instance UID of each file whose study is known.
    """

    def __init__(self, files: Iterable[tuple[Path, str]]) -> None:
        self._inside: dict[Path, set[str]] = defaultdict(set)
        self._names: dict[Path, set[str]] = defaultdict(set)
        self._beneath: dict[Path, str] = {}
        for path, study in files:
            folder = path.absolute().parent
            self._inside[folder].add(study)
            self._names[folder].add(_form(path.name))
            for around in (folder, *folder.parents):
                if self._beneath.setdefault(around, study) != study:
                    self._beneath[around] = _SEVERAL

    def candidates(self, path: Path, code: ReasonCode | None) -> Sequence[str]:
        """Study Instance UIDs of the studies that a file may belong to.

        Parameters
        ----------
        path
            Path of a file of unknown study.
        code
            Why the header cannot be read; None where it can, and lacks a valid Study Instance UID.
        """
        folder = path.absolute().parent
        is_sibling = _form(path.name) in self._names.get(folder, ())
        if not _may_be_image(path, code, is_sibling):
            return []
        if folder in self._inside:
            return sorted(self._inside[folder])
        around = next((self._beneath[f] for f in folder.parents if f in self._beneath), _SEVERAL)
        return [] if around == _SEVERAL else [around]


def is_some_radiograph(header: FileDataset) -> bool:
    """Whether a header is that of a radiograph, were it readable, or may be."""
    try:
        check_eligible(header)
    except BoneSSLError as error:
        return error.code is not ReasonCode.UNSUPPORTED_SOP_CLASS
    return True


def _form(name: str) -> str:
    """What the names of a series of files have in common: the extension, else all but the numbers in them."""
    name = name.lower()
    extension = re.search(r"[^.](\.[a-z]\w{0,5})$", name)
    if extension:
        return extension[1]
    hexadecimal = r"(?<![a-z0-9])(?=[a-f]*[0-9])[0-9a-f]{6,}(?![a-z0-9])"
    return re.sub("[0-9]+", "#", re.sub(hexadecimal, "#", name))


def _may_be_image(path: Path, code: ReasonCode | None, is_sibling: bool) -> bool:
    if path.name.upper() == "DICOMDIR" or code in (ReasonCode.DUPLICATE_INSTANCE, ReasonCode.DIRECTORY_LOOP):
        return False
    if code not in (ReasonCode.NOT_DICOM, ReasonCode.UNREADABLE_FILE):  # damaged, but certainly DICOM
        return True
    if path.name.startswith("."):
        return False
    named_otherwise = _EXTENSIONS.guess_type(path.name)[0] not in (None, "application/octet-stream")
    begins_otherwise = code is ReasonCode.NOT_DICOM and _begins_like_something_else(path)
    return is_sibling or not (named_otherwise or begins_otherwise)


def _begins_like_something_else(path: Path) -> bool:
    try:
        with path.open("rb") as stream:
            start = stream.read(1024)
    except OSError:
        return False
    is_text = bool(start) and not re.search(rb"[\x00-\x08\x0e-\x1a\x1c-\x1f\x7f]", start)
    return is_text or start.startswith(_SIGNATURES)
