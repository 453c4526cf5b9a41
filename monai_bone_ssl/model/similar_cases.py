"""Labelled training images that look like another image to the model."""

from __future__ import annotations

from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import Self
from zipfile import BadZipFile

import numpy as np
import numpy.typing as npt

from monai_bone_ssl.errors import ModelError, ReasonCode
from monai_bone_ssl.model.folder import CASES, read_cases

__all__ = ["COMPONENTS", "SimilarCase", "SimilarCases"]

FloatArray = npt.NDArray[np.float32]

#: Number of principal components in which images are compared. Of the five nearest to each image of
#: FracAtlas, 90.5 % show the same body part with 32; with 256, 91.5 % do, in four times the room.
COMPONENTS = 32


@dataclass(frozen=True)
class SimilarCase:
    """A training image that looks like another image."""

    label: int
    """Label in the training data: 1 where the target is present, else 0."""
    part: str
    """Body part, as the training data name it."""
    identifier: str
    """Public name of the image in the data set."""
    distance: float
    """1 minus the cosine in principal components: 0 the same direction, 1 unrelated, 2 the opposite."""


@dataclass(frozen=True, eq=False)
class SimilarCases:
    """The n training images of a model."""

    mean: FloatArray
    """Mean of the features [D]."""
    components: FloatArray
    """Principal axes [k, D]."""
    codes: FloatArray
    """Principal components of each image [n, k], scaled to unit length."""
    labels: npt.NDArray[np.int8]
    """Label of each image, 0 or 1 [n]."""
    parts: npt.NDArray[np.str_]
    """Body part of each image [n]."""
    identifiers: npt.NDArray[np.str_]
    """Public name of each image [n]."""

    @classmethod
    def fit(
        cls,
        features: FloatArray,
        labels: npt.NDArray[np.int64],
        parts: npt.NDArray[np.str_],
        identifiers: npt.NDArray[np.str_],
    ) -> Self:
        """Compute the principal components of n training images.

        Parameters
        ----------
        features
            Features of the images [n, D], as in :class:`~monai_bone_ssl.model.inference.Prediction`.
        labels, parts, identifiers
            Label, body part and public name of each image [n]; the name is never a path or a patient's.
        """
        mean = features.mean(axis=0, dtype=np.float64)
        centred = features - mean
        _, axes = np.linalg.eigh(centred.T @ centred)
        components = _stored(axes[:, : -COMPONENTS - 1 : -1].T)
        codes = _unit((features - _stored(mean)) @ components.T)
        return cls(
            _stored(mean), components, _unit(_stored(codes)), labels.astype(np.int8), parts, identifiers
        )

    @classmethod
    def load(cls, model_folder: Path) -> Self | None:
        """Read the training images of a model folder, or of the current version of a store.

        Returns
        -------
        The images; None where the model has none.

        Raises
        ------
        ModelError
            ``INVALID_MODEL`` where cases.npz is missing, damaged or not the one that model.json names.
        """
        content = read_cases(model_folder)
        return None if content is None else cls._decode(content, model_folder / CASES)

    def encode(self) -> bytes:
        """Content of cases.npz; the same cases give the same bytes."""
        buffer = BytesIO()
        np.savez_compressed(
            buffer,
            mean=self.mean.astype(np.float16),
            components=self.components.astype(np.float16),
            codes=self.codes.astype(np.float16),
            labels=self.labels,
            parts=self.parts,
            identifiers=self.identifiers,
        )
        return buffer.getvalue()

    def nearest(self, features: FloatArray, part: str | None = None, n: int = 5) -> list[SimilarCase]:
        """The training images that look most like an image to the model.

        Parameters
        ----------
        features
            Features of the image [D].
        part
            Body part of the training images; None for all parts.
        n
            Largest number of training images.

        Returns
        -------
        Training images, the nearest first; of equals, the first in the training data.
        """
        places = np.arange(len(self.labels)) if part is None else np.flatnonzero(self.parts == part)
        code = _unit((features - self.mean) @ self.components.T)
        distances = 1 - self.codes[places] @ code
        order = np.argsort(distances, kind="stable")[:n]
        return [
            SimilarCase(
                label=int(self.labels[place]),
                part=str(self.parts[place]),
                identifier=str(self.identifiers[place]),
                distance=float(distance),
            )
            for place, distance in zip(places[order], distances[order], strict=True)
        ]

    @classmethod
    def _decode(cls, content: bytes, path: Path) -> Self:
        try:
            with np.load(BytesIO(content), allow_pickle=False) as file:
                return cls(
                    mean=file["mean"].astype(np.float32),
                    components=file["components"].astype(np.float32),
                    codes=_unit(file["codes"].astype(np.float32)),
                    labels=file["labels"],
                    parts=file["parts"],
                    identifiers=file["identifiers"],
                )
        except (BadZipFile, KeyError, OSError, ValueError) as error:
            text = f"{path}: is not a file of training images ({error})"
            raise ModelError(ReasonCode.INVALID_MODEL, text) from error


def _stored(values: npt.NDArray[np.floating]) -> FloatArray:
    """Values as float16 keeps them."""
    return values.astype(np.float16).astype(np.float32)


def _unit(codes: npt.NDArray[np.floating]) -> FloatArray:
    length = np.linalg.norm(codes, axis=-1, keepdims=True)
    unit: FloatArray = (codes / np.maximum(length, 1e-12)).astype(np.float32)
    return unit
