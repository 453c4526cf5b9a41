"""The data set of one DIMSE message, written to the spool as it comes."""

from __future__ import annotations

import time

from pynetdicom.association import Association
from pynetdicom.dimse_messages import DIMSEMessage
from pynetdicom.dsutils import create_file_meta, encode_file_meta

from monai_bone_ssl.errors import BoneSSLError, CorruptImage, ReasonCode, UnsupportedImage
from monai_bone_ssl.service.spool import IncomingFile, Spool

__all__ = ["IncomingObject"]


class IncomingObject:
    """A data set on its way to a file of the spool.

    Stands where pynetdicom keeps the file of a C-STORE, and has the methods that pynetdicom calls on it. What
    goes wrong is kept until the sender has said all, because only then C-STORE can be answered.

    Parameters
    ----------
    message
        Message that the data set belongs to; its command set is complete when the first byte comes.
    association
        Association of the message.
    spool
        Place of the file.
    most_bytes
        Largest size of a data set, in bytes; what is larger is not kept.
    """

    def __init__(
        self, message: DIMSEMessage, association: Association, spool: Spool, most_bytes: int
    ) -> None:
        self._message = message
        self._association = association
        self._spool = spool
        self._most_bytes = most_bytes
        self._size = 0
        self._started = time.monotonic()
        self._file: IncomingFile | None = None
        self._error: BoneSSLError | None = None

    @property
    def is_open(self) -> bool:
        """Whether there is a file that may be written to or read."""
        return self._file is not None

    @property
    def seconds(self) -> float:
        """Seconds since the message began."""
        return time.monotonic() - self._started

    def finished(self) -> IncomingFile:
        """Give the file once all has come.

        Raises
        ------
        CorruptImage
            ``TRUNCATED_FILE`` where there was no data set.
        UnsupportedImage
            ``TOO_LARGE``.
        ReportError
            ``WRITE_FAILED``: the disk is full or refuses.
        """
        if self._error is not None:
            raise self._error
        if self._file is None:
            raise CorruptImage(ReasonCode.TRUNCATED_FILE, "C-STORE: expected a data set")
        return self._file

    # --- what pynetdicom calls ----------------------------------------------------------------------------

    def write(self, content: bytes) -> None:
        """Append a fragment of the data set."""
        self._size += len(content)
        if self._error is not None:
            return
        try:
            self._append(content)
        except BoneSSLError as error:
            self.close()
            self._error = error

    def close(self) -> None:
        """End the work with the file, which is removed unless the spool has kept it."""
        if self._file is not None:
            self._file.discard()
        self._file = None

    @property
    def file(self) -> IncomingObject:
        """The object itself, which pynetdicom flushes after each fragment."""
        return self

    def flush(self) -> None:
        """Leave what is written in the buffer: it is flushed when all has come."""

    @property
    def name(self) -> str:
        """A name that pynetdicom may remove after :meth:`close`: there is no file of it."""
        return ""

    def _append(self, content: bytes) -> None:
        if self._size > self._most_bytes:
            text = f"C-STORE: expected a data set of at most {self._most_bytes >> 20} MB"
            raise UnsupportedImage(ReasonCode.TOO_LARGE, text)
        if self._file is None:
            self._file = self._spool.receive()
            self._file.write(self._header())
        self._file.write(content)

    def _header(self) -> bytes:
        """Write preamble and file meta information (DICOM PS3.10, 7.1)."""
        contexts = {context.context_id: context for context in self._association.accepted_contexts}
        command = self._message.command_set
        meta = create_file_meta(
            sop_class_uid=command.AffectedSOPClassUID,
            sop_instance_uid=command.AffectedSOPInstanceUID,
            transfer_syntax=contexts[self._message.context_id].transfer_syntax[0],
        )
        return bytes(128) + b"DICM" + encode_file_meta(meta)
