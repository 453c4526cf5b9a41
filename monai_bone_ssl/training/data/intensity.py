"""Grey levels of views: unsharpness, noise and display window of a radiograph, varied image by image.

No solarisation and no inversion (dense stays bright), no colours. Applied in the order in which they arise:
the focal spot's and the patient's movement blur, the detector's noise, the window and gamma of the display.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn.functional import pad

__all__ = [
    "INTENSITY_DRAWS",
    "Intensities",
    "add_noise",
    "apply_window",
    "draw_intensities",
    "gaussian_blur",
    "vary_intensity",
]

#: Uniform numbers that :func:`draw_intensities` takes a view.
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
    """Blur, noise, window: float32 [B, 1, H, W] in [0, 1], from the same.

    ``seeds`` are int64 [B] on the CPU, of each image's noise.
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
