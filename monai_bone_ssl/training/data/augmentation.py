"""Radiographs varied at random: their grey levels, for all training; their position, for supervised training.

Grey levels vary in the order in which they arise: the focal spot's and the patient's movement blur, the
detector's noise, the window and gamma of the display. There is no solarisation, no inversion (dense stays
bright) and no colour.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn.functional import affine_grid, grid_sample, pad

__all__ = [
    "INTENSITY_DRAWS",
    "Intensities",
    "add_noise",
    "apply_window",
    "augment",
    "draw_intensities",
    "gaussian_blur",
    "vary_intensity",
]

#: Number of uniform numbers that :func:`draw_intensities` takes for a view.
INTENSITY_DRAWS = 8
# Narrower than DINO's, 0.1 to 2: a hairline fracture is a pixel wide in a view, and has to stay to be seen.
_BLUR_SIGMA = (0.1, 1.2)
_BLUR_RADIUS = 4  # pixels; more than three standard deviations of the strongest blur
_MAX_NOISE = 0.02
_NOISE_PROBABILITY = 0.5
_WINDOW_PROBABILITY = 0.8  # as DINO's colour jitter
# Ends of the window. A higher black point would wipe out thin bones: fingers beside a bright collimator edge.
_BLACK = (-0.2, 0.12)
_WHITE = (0.75, 1.2)
_MAX_GAMMA = 1.4

# Supervised training varies less: a crop could lose the finding that the label tells of.
_MAX_ROTATION = math.radians(15)
_MAX_ZOOM = 1.2
_MAX_SHIFT = 0.1  # of half the image's side
_WEAK_BLACK = 0.1  # highest grey level shown as black; the ground stays black
_WEAK_WHITE_SHIFT = 0.15  # of the grey level shown as white
_WEAK_GAMMA = 1.25


def augment(images: Tensor, generator: torch.Generator) -> Tensor:
    """Mirror, rotate, zoom, shift and vary the grey levels of each image, as another exposure would.

    Parameters
    ----------
    images
        Grey levels [B, 1, H, W] in [0, 1], on any device.
    generator
        Source of random numbers on the CPU, so that every device gets the same choices.

    Returns
    -------
    Tensor
        Grey levels [B, 1, H, W] in [0, 1]; 0 where nothing of the image lies.
    """
    choices = 2 * torch.rand(len(images), 8, generator=generator).to(images.device) - 1  # in [-1, 1)
    mirror, angle, zoom, x, y, black, white, gamma = choices.unbind(dim=1)
    grid = affine_grid(_matrices(mirror, angle, zoom, x, y), list(images.shape), align_corners=False)
    moved = grid_sample(images, grid, mode="bilinear", padding_mode="zeros", align_corners=False)
    window = _WEAK_BLACK * (black + 1) / 2, 1 + _WEAK_WHITE_SHIFT * white, _WEAK_GAMMA**gamma
    return apply_window(moved, *window)


def _matrices(mirror: Tensor, angle: Tensor, zoom: Tensor, x: Tensor, y: Tensor) -> Tensor:
    """Matrices [B, 2, 3] from output to input coordinates, for choices [B] in [-1, 1)."""
    scale = _MAX_ZOOM**zoom
    cos, sin = scale * (angle * _MAX_ROTATION).cos(), scale * (angle * _MAX_ROTATION).sin()
    side = torch.where(mirror < 0, -1.0, 1.0)
    to_x = torch.stack((side * cos, -side * sin, _MAX_SHIFT * x), dim=1)
    to_y = torch.stack((sin, cos, _MAX_SHIFT * y), dim=1)
    return torch.stack((to_x, to_y), dim=1)


# --- grey levels -------------------------------------------------------------------------------------------


class Intensities(NamedTuple):
    """Random choices for B views, each field [B]."""

    sigma: Tensor
    """Standard deviation of the Gaussian blur in pixels of the view; 0 for none."""
    noise: Tensor
    """Standard deviation of the noise, in a range of 1; 0 for none."""
    black: Tensor
    """Grey level that is shown as 0; with ``white`` brightness and contrast."""
    white: Tensor
    """Grey level that is shown as 1."""
    gamma: Tensor
    """Exponent of the display."""


def draw_intensities(uniform: Tensor, blur_probability: float) -> Intensities:
    """Choices from ``uniform`` [B, INTENSITY_DRAWS] in [0, 1)."""
    if_blur, sigma, if_noise, noise, if_window, black, white, gamma = uniform.unbind(dim=1)
    blurred, noisy = if_blur < blur_probability, if_noise < _NOISE_PROBABILITY
    windowed = if_window < _WINDOW_PROBABILITY
    return Intensities(
        sigma=blurred * _between(_BLUR_SIGMA, sigma),
        noise=noisy * _MAX_NOISE * noise,
        black=windowed * _between(_BLACK, black),
        white=torch.where(windowed, _between(_WHITE, white), 1.0),
        gamma=torch.where(windowed, _MAX_GAMMA ** (2 * gamma - 1), 1.0),
    )


def vary_intensity(images: Tensor, intensities: Intensities, seeds: Tensor) -> Tensor:
    """Blur, noise and window of grey levels [B, 1, H, W] in [0, 1].

    ``seeds`` of the noise are int64 [B] on the CPU, one an image.
    """
    blurred = gaussian_blur(images, intensities.sigma)
    noisy = add_noise(blurred, intensities.noise, seeds)
    return apply_window(noisy, intensities.black, intensities.white, intensities.gamma)


def gaussian_blur(images: Tensor, sigma: Tensor) -> Tensor:
    """Blur [B, 1, H, W] with standard deviations [B] of 0 to 1.2 pixels; edges are reflected.

    A sum of shifted images rather than a convolution, which would run in TF32 or bfloat16 where training
    allows these.
    """
    radius = _BLUR_RADIUS
    offsets = torch.arange(-radius, radius + 1, device=images.device)
    weights = torch.exp(-0.5 * (offsets / sigma.clamp_min(1e-3)[:, None]).square())  # [B, 2 * radius + 1]
    weights = (weights / weights.sum(dim=1, keepdim=True))[:, :, None, None, None]
    rows = pad(images, (0, 0, radius, radius), mode="reflect")
    images = _sum_shifted(rows, weights, dim=2)
    columns = pad(images, (radius, radius, 0, 0), mode="reflect")
    return _sum_shifted(columns, weights, dim=3)


def _sum_shifted(padded: Tensor, weights: Tensor, dim: int) -> Tensor:
    """Weighted sum over the shifts along ``dim`` of images padded by the radius on both sides."""
    shifts = weights.shape[1]
    length = padded.shape[dim] - shifts + 1
    total = weights[:, 0] * padded.narrow(dim, 0, length)
    for shift in range(1, shifts):
        total += weights[:, shift] * padded.narrow(dim, shift, length)
    return total


def add_noise(images: Tensor, strength: Tensor, seeds: Tensor) -> Tensor:
    """Gaussian noise of standard deviations [B], each image's from its own seed.

    So an image gets the same noise whichever batch, process or neighbours it comes with.
    """
    generator = torch.Generator(images.device)
    noise = torch.empty_like(images)
    for image_noise, seed in zip(noise, seeds.tolist(), strict=True):
        image_noise.normal_(generator=generator.manual_seed(seed))
    return images + strength[:, None, None, None] * noise


def apply_window(images: Tensor, black: Tensor, white: Tensor, gamma: Tensor) -> Tensor:
    """Show grey levels from ``black`` [B] to ``white`` [B] as 0 to 1, to the power ``gamma`` [B]."""
    black, white, gamma = (value[:, None, None, None] for value in (black, white, gamma))
    return ((images - black) / (white - black)).clamp(0, 1) ** gamma


def _between(ends: tuple[float, float], uniform: Tensor) -> Tensor:
    return ends[0] + (ends[1] - ends[0]) * uniform
