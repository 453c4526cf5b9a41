"""Everything that can go wrong, each kind with a reason code that lands in result.json.

The tree::

    BoneSSLError
    ├── UnsupportedImage   the file was understood but is not what the model was made for  -> "not_analysed"
    ├── CorruptImage       the file claims to be a radiograph but cannot be read           -> "failed"
    ├── ConfigError        a value or a data folder given by the caller
    ├── ModelError         a model folder that cannot be trusted
    ├── ReportError        a report that cannot be made or written
    ├── ServiceError       the DICOM node cannot hand something over, or not yet
    └── TrainingError      a training run that went wrong and was stopped
"""

from __future__ import annotations

from enum import StrEnum

__all__ = [
    "BoneSSLError",
    "ConfigError",
    "CorruptImage",
    "ModelError",
    "ReasonCode",
    "ReportError",
    "UnsupportedImage",
]


class ReasonCode(StrEnum):
    """Stable, machine-readable causes. Texts may be improved, codes may not change."""

    # The file is not a projection radiograph of one frame.
    NOT_DICOM = "not_dicom"
    DIRECTORY_LOOP = "directory_loop"
    UNSUPPORTED_SOP_CLASS = "unsupported_sop_class"
    MULTI_FRAME = "multi_frame"
    COLOUR = "colour"
    NOT_FOR_PRESENTATION = "not_for_presentation"
    MISSING_PIXEL_DATA = "missing_pixel_data"
    IMAGE_TOO_SMALL = "image_too_small"
    TOO_LARGE = "too_large"
    BLANK_IMAGE = "blank_image"
    # The image is a radiograph, but not one the model was made for.
    BODY_PART_NOT_COVERED = "body_part_not_covered"
    BODY_PART_UNCERTAIN = "body_part_uncertain"
    BODY_PART_CONFLICT = "body_part_conflict"
    OUT_OF_DISTRIBUTION = "out_of_distribution"
    # The file cannot be read.
    UNREADABLE_FILE = "unreadable_file"
    TRUNCATED_FILE = "truncated_file"
    DECODE_FAILED = "decode_failed"
    UNSUPPORTED_TRANSFER_SYNTAX = "unsupported_transfer_syntax"
    INVALID_HEADER = "invalid_header"
    # The input as a whole is contradictory.
    MISSING_IDENTIFIER = "missing_identifier"
    DUPLICATE_INSTANCE = "duplicate_instance"
    CONFLICTING_INSTANCE = "conflicting_instance"
    CONFLICTING_PATIENT = "conflicting_patient"
    UNDECODABLE_IDENTITY = "undecodable_identity"
    # The caller's values, the model, the report.
    INVALID_CONFIG = "invalid_config"
    INVALID_DATA = "invalid_data"
    INVALID_MODEL = "invalid_model"
    INFERENCE_FAILED = "inference_failed"
    REPORT_FAILED = "report_failed"
    WRITE_FAILED = "write_failed"
    # The DICOM node and the systems around it.
    PACS_UNREACHABLE = "pacs_unreachable"
    PACS_REFUSED = "pacs_refused"
    REPORT_REFUSED = "report_refused"
    NOT_IN_ARCHIVE = "not_in_archive"
    LEDGER_UNAVAILABLE = "ledger_unavailable"
    ANALYSIS_ABANDONED = "analysis_abandoned"
    ANALYSIS_DIED = "analysis_died"
    TIME_LIMIT = "time_limit"
    FETCH_ABANDONED = "fetch_abandoned"
    FORGOTTEN = "forgotten"
    # The training run.
    TRAINING_DIVERGED = "training_diverged"
    TRAINING_COLLAPSED = "training_collapsed"


class BoneSSLError(Exception):
    """Base of all errors of this package.

    Parameters
    ----------
    code
        Stable cause.
    text
        One line that names the file or value and what was expected, without patient data.
    """

    def __init__(self, code: ReasonCode, text: str) -> None:
        super().__init__(text)
        self.code = code
        self.text = text


class UnsupportedImage(BoneSSLError):
    """The image was understood, and is not one the model was made for."""


class CorruptImage(BoneSSLError):
    """The file claims to be a radiograph but its header or pixels cannot be read."""


class ConfigError(BoneSSLError):
    """A value or data folder given by the caller is not what was expected."""


class ModelError(BoneSSLError):
    """A model folder is missing, altered, or not one this version understands."""


class ReportError(BoneSSLError):
    """A report cannot be made or written."""


class ServiceError(BoneSSLError):
    """The DICOM node cannot get or hand over something; mostly, trying again later helps."""


class TrainingError(BoneSSLError):
    """A training run whose network is no longer worth training: it diverged or collapsed."""
