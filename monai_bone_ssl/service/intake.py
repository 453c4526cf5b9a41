"""One received image to disk and ledger; whoever received it may acknowledge it afterwards."""

from __future__ import annotations

import hashlib
import re
from pathlib import Path

from pydicom import FileDataset

from monai_bone_ssl.dicom.radiograph import read_header
from monai_bone_ssl.dicom.same_content import have_same_content
from monai_bone_ssl.errors import CorruptImage, ReasonCode
from monai_bone_ssl.service.events import log_event
from monai_bone_ssl.service.ledger import Ledger
from monai_bone_ssl.service.spool import IncomingFile, Spool
from monai_bone_ssl.service.tables import Instance

__all__ = ["Intake"]

# Looser than PS3.5 allows, since many senders break that rule; safe as the name of a file all the same.
_UID = re.compile(r"[0-9.]{1,64}")


class Intake:
    """The one way in for images, whether they were sent or fetched.

    Parameters
    ----------
    spool, ledger
        Places where images are kept and noted.
    """

    def __init__(self, spool: Spool, ledger: Ledger) -> None:
        self._spool = spool
        self._ledger = ledger

    def store(self, content: bytes, sender: str) -> None:
        """Keep an image. After the return it survives a crash.

        Parameters
        ----------
        content
            Bytes of a whole DICOM file: preamble, file meta information, data set.
        sender
            System that the image comes from, for the log.

        Raises
        ------
        CorruptImage
            Where the header cannot be read, lacks a UID, or is not of the instance that was announced.
        UnsupportedImage
            ``NOT_DICOM``.
        ReportError
            ``WRITE_FAILED``: the disk is full or refuses.
        ServiceError
            ``LEDGER_UNAVAILABLE``.
        """
        file = self._spool.receive()
        try:
            file.write(content)
            self.take(file, sender)
        finally:
            file.discard()

    def take(self, file: IncomingFile, sender: str) -> None:
        """Keep an image that is in the spool already, see :meth:`store`."""
        file.finish()
        header = read_header(file.path)
        instance = _identify(header, file.path)
        others = (self._spool.image(name) for name in self._ledger.names_of_other_bytes(instance))
        if any(have_same_content(file.path, other) for other in others):  # in another transfer syntax
            log_event("received_again", study=instance.study_instance_uid, sender=sender)
            return
        name = self._spool.keep(file.path, instance.sop_instance_uid)
        # If the ledger fails, nobody can say whether the image was noted. The file stays: one that the ledger
        # does not know is removed an hour later.
        is_new = self._ledger.add_instance(instance, name)
        if not is_new:
            self._spool.remove([name])
        log_event(
            "received" if is_new else "received_again",
            study=instance.study_instance_uid,
            instance=instance.sop_instance_uid,
            sender=sender,
        )


def _identify(header: FileDataset, path: Path) -> Instance:
    uids = [str(header.get(keyword) or "") for keyword in ("StudyInstanceUID", "SOPInstanceUID")]
    if not all(_UID.fullmatch(uid) for uid in uids):
        raise CorruptImage(ReasonCode.MISSING_IDENTIFIER, f"{path.name}: a UID of the data set is missing")
    if header.file_meta.get("MediaStorageSOPInstanceUID") != uids[1]:
        text = f"{path.name}: the data set is not the SOP instance that was announced"
        raise CorruptImage(ReasonCode.INVALID_HEADER, text)
    with path.open("rb") as file:
        file.seek(_data_set_offset(header))
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    return Instance(study_instance_uid=uids[0], sop_instance_uid=uids[1], digest=digest)


def _data_set_offset(header: FileDataset) -> int:
    """Byte at which the data set starts: what is before depends on who wrote the file, not on the image."""
    return 144 + int(header.file_meta.FileMetaInformationGroupLength)
