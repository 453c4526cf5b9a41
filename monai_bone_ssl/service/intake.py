"""One received object to disk and ledger; whoever called may acknowledge it afterwards."""

from __future__ import annotations

import hashlib
import re
import time
from pathlib import Path

from pydicom import FileDataset

from monai_bone_ssl.dicom.radiograph import read_header
from monai_bone_ssl.errors import CorruptImage, ReasonCode
from monai_bone_ssl.service.events import log_event
from monai_bone_ssl.service.ledger import Instance, Ledger
from monai_bone_ssl.service.spool import Spool

__all__ = ["Intake"]

# Looser than PS3.5, which many senders break: what matters here is that it is safe as a file name.
_UID = re.compile(r"[0-9.]{1,64}")


class Intake:
    """Where images enter, whichever way they came.

    Parameters
    ----------
    spool, ledger
        Where they are kept and noted.
    """

    def __init__(self, spool: Spool, ledger: Ledger) -> None:
        self._spool = spool
        self._ledger = ledger

    def store(self, content: bytes) -> None:
        """Keep an object. After the return it survives a crash.

        Parameters
        ----------
        content
            A DICOM file: preamble, file meta information, data set.

        Raises
        ------
        CorruptImage
            The header cannot be read, lacks a UID, or is not the one that was announced.
        UnsupportedImage
            ``NOT_DICOM``.
        ReportError
            ``WRITE_FAILED``: the disk is full or refuses.
        ServiceError
            ``LEDGER_UNAVAILABLE``.
        """
        with self._spool.incoming(content) as path:
            header = read_header(path)
            instance = _identify(header, content, path)
            name = self._spool.keep(path, instance.sop_instance_uid)
        # If the ledger fails, nobody can say whether it was noted: it stays, and is swept up later if not.
        is_new = self._ledger.add_instance(instance, name, time.time())
        if not is_new:
            self._spool.remove([name])
        log_event("received" if is_new else "received_again", study=instance.study_instance_uid)


def _identify(header: FileDataset, content: bytes, path: Path) -> Instance:
    uids = [str(header.get(keyword) or "") for keyword in ("StudyInstanceUID", "SOPInstanceUID")]
    if not all(_UID.fullmatch(uid) for uid in uids):
        raise CorruptImage(ReasonCode.MISSING_IDENTIFIER, f"{path.name}: a UID of the data set is missing")
    if header.file_meta.get("MediaStorageSOPInstanceUID") != uids[1]:
        text = f"{path.name}: the data set is not the SOP instance that was announced"
        raise CorruptImage(ReasonCode.INVALID_HEADER, text)
    digest = hashlib.sha256(content[_data_set_offset(header) :]).hexdigest()
    return Instance(study_instance_uid=uids[0], sop_instance_uid=uids[1], digest=digest)


def _data_set_offset(header: FileDataset) -> int:
    """Where the data set starts: what is before it depends on who wrote the file, not on the image."""
    return 144 + int(header.file_meta.FileMetaInformationGroupLength)
