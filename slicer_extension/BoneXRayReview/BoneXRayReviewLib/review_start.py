"""Opening a review with the settings that the reader filled in."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from BoneXRayReviewLib.controller import ReviewController
from BoneXRayReviewLib.inference import LazyModel
from BoneXRayReviewLib.sources import Source
from monai_bone_ssl.errors import ConfigError, ReasonCode
from monai_bone_ssl.model.folder import default_model_folder, read_spec
from monai_bone_ssl.model.spec import ModelSpec
from monai_bone_ssl.review.reader import Reader
from monai_bone_ssl.review.session import ReviewSession
from monai_bone_ssl.review.worklist import Worklist, worklist_from_paths, worklist_from_results

__all__ = ["Review", "Settings", "start_review"]


@dataclass(frozen=True)
class Settings:
    """Settings of a review, as the reader filled them in."""

    source: Source
    input_folder: str
    database_files: Sequence[Path]
    use_model: bool
    model_folder: str
    """Empty: the model that comes with the package."""
    session_folder: str
    """Empty: the folder ``review`` beside the images or results."""
    reader: str
    organization: str
    blinded: bool


@dataclass
class Review:
    """An open review."""

    controller: ReviewController
    model: LazyModel | None

    @property
    def model_folder(self) -> Path | None:
        """Model folder or store; None without a model."""
        return None if self.model is None else self.model.folder


def start_review(settings: Settings) -> Review:
    """Gather the images and open the session.

    Raises
    ------
    ConfigError, ModelError, ReportError
        Where the review cannot be opened, with one line that says why.
    """
    folder = _model_folder(settings)
    spec = None if folder is None else read_spec(folder)
    session_folder = _session_folder(settings)
    worklist = _worklist(settings, spec, session_folder)
    if not worklist.cases:
        text = f"{settings.input_folder or 'the DICOM database'}: no radiograph in it, expected at least one"
        raise ConfigError(ReasonCode.INVALID_DATA, text)
    reader = Reader(settings.reader.strip(), settings.organization.strip())
    session = ReviewSession.open(session_folder, reader, worklist, settings.blinded)
    results = Path(settings.input_folder) if settings.source is Source.RESULTS else None
    model = None if folder is None else LazyModel(folder)
    return Review(ReviewController(session, worklist, results), model)


def _model_folder(settings: Settings) -> Path | None:
    if not settings.use_model:
        return None
    return Path(settings.model_folder) if settings.model_folder else default_model_folder()


def _session_folder(settings: Settings) -> Path:
    if settings.session_folder:
        return Path(settings.session_folder)
    if settings.source is Source.DATABASE or not settings.input_folder:
        text = "no review folder: expected one that the verdicts can be kept in"
        raise ConfigError(ReasonCode.INVALID_CONFIG, text)
    return Path(settings.input_folder) / "review"


def _worklist(settings: Settings, spec: ModelSpec | None, session_folder: Path) -> Worklist:
    if settings.source is Source.DATABASE:
        return worklist_from_paths(list(settings.database_files), spec)
    folder = Path(settings.input_folder)
    if not settings.input_folder or not folder.is_dir():
        text = f"{settings.input_folder or 'no folder'}: expected a folder with images or results"
        raise ConfigError(ReasonCode.INVALID_DATA, text)
    if settings.source is Source.RESULTS:
        return worklist_from_results(folder, spec)
    return worklist_from_paths([folder], spec, skip=session_folder)
