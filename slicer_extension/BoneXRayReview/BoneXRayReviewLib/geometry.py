"""Source pixels and the scene's millimetres: one mapping for image, evidence and markups.

A radiograph has no place in the patient. The scene has it in the axial plane, with the first pixel at the
origin, so that the axial view shows columns to the right and rows downwards, as the file stores them.
"""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["ImageGeometry"]


@dataclass(frozen=True)
class ImageGeometry:
    """Place of one radiograph's pixels in the scene."""

    rows: int
    columns: int
    spacing: tuple[float, float] | None
    """Millimetres between rows, between columns; None where the header does not say."""

    @property
    def step(self) -> tuple[float, float]:
        """Scene units between rows and between columns; 1 where millimetres are not known."""
        return self.spacing or (1.0, 1.0)

    def to_ras(self, row: float, column: float) -> tuple[float, float, float]:
        """Place of a pixel coordinate, pixel centres at integers."""
        tall, wide = self.step
        return (-column * wide, -row * tall, 0.0)

    def to_pixel(self, ras: tuple[float, float, float]) -> tuple[float, float]:
        """Row and column of a place; a place beside the image is moved to the nearest pixel."""
        tall, wide = self.step
        row, column = -ras[1] / tall, -ras[0] / wide
        return min(max(row, 0.0), self.rows - 1.0), min(max(column, 0.0), self.columns - 1.0)

    def length_mm(self, first: tuple[float, float], second: tuple[float, float]) -> float | None:
        """Distance of two pixel coordinates in millimetres; None where millimetres are not known."""
        if self.spacing is None:
            return None
        down, across = ((a - b) * step for a, b, step in zip(first, second, self.spacing, strict=True))
        return float((down**2 + across**2) ** 0.5)
