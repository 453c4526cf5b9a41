"""Views: where their pixels come from, how they are resampled, what is random and what is not."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from PIL import Image
from scipy.ndimage import gaussian_filter

from monai_bone_ssl.errors import ConfigError
from monai_bone_ssl.training.data.augmentation import (
    INTENSITY_DRAWS,
    add_noise,
    apply_window,
    draw_intensities,
    gaussian_blur,
)
from monai_bone_ssl.training.ssl.batches import Batch
from monai_bone_ssl.training.ssl.crops import (
    CROP_DRAWS,
    Crops,
    crop_matrices,
    draw_crops,
    first_with_structure,
    image_pyramid,
    sample_crops,
)
from monai_bone_ssl.training.ssl.views import MultiCrop, View, dino_views
from training.ssl.runs import ALONE

SIDE = 256


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


def crop(area=1.0, aspect=1.0, left=0.0, top=0.0, angle=0.0, mirror=1.0):
    return Crops(*(torch.tensor([value]) for value in (area, aspect, left, top, angle, mirror)))


def canvas(pixels):
    """uint8 [1, 1, S, S] and its content's size, from an array that fills it or its corner."""
    full = torch.full((1, 1, SIDE, SIDE), 255, dtype=torch.uint8)  # what is beyond the content must not show
    full[0, 0, : pixels.shape[0], : pixels.shape[1]] = torch.from_numpy(pixels)
    return full, torch.tensor([pixels.shape])


def view_of(pixels, one_crop, size):
    full, content = canvas(pixels)
    return sample_crops(image_pyramid(full), crop_matrices(one_crop, content), content, size)[0, 0]


def coordinates(one_crop, size):
    """Canvas coordinates (x, y) of a view's pixels, each [size, size], read off two ramps."""
    ramp = np.tile(np.arange(SIDE, dtype=np.uint8), (SIDE, 1))
    return tuple(view_of(pixels, one_crop, size) * 255 + 0.5 for pixels in (ramp, ramp.T.copy()))


def picture():
    """A smooth random image [SIDE, SIDE]."""
    rough = np.random.default_rng(0).uniform(0, 255, (SIDE, SIDE))
    smooth = gaussian_filter(rough, 12)
    return ((smooth - smooth.min()) / np.ptp(smooth) * 255).astype(np.uint8)


# --- geometry -----------------------------------------------------------------------------------------------


def test_an_upright_crop_covers_its_rectangle_evenly():
    one = crop(area=0.25 * 0.75, aspect=0.75 / 0.25 / 4 * 1.0, left=0.5, top=0.25)
    x, y = coordinates(one, 16)
    width = SIDE * math.sqrt(0.25 * 0.75 * 0.75)
    height = SIDE * math.sqrt(0.25 * 0.75 / 0.75)
    left, top = 0.5 * (SIDE - width), 0.25 * (SIDE - height)
    expected = (torch.arange(16) + 0.5) / 16
    torch.testing.assert_close(x, (left + width * expected).expand(16, 16), atol=1e-2, rtol=0)
    torch.testing.assert_close(y, (top + height * expected)[:, None].expand(16, 16), atol=1e-2, rtol=0)


@pytest.mark.parametrize("size", [224, 98, 56, 28])
def test_an_upright_crop_equals_pillows(size):
    one = crop(area=0.4, aspect=1.2, left=0.3, top=0.8)
    width, height = SIDE * math.sqrt(0.4 * 1.2), SIDE * math.sqrt(0.4 / 1.2)
    left, top = 0.3 * (SIDE - width), 0.8 * (SIDE - height)
    pixels = picture()

    def pillows(top):
        box = (left, top, left + width, top + height)
        resized = Image.fromarray(pixels).resize((size, size), Image.Resampling.BILINEAR, box=box)
        return np.asarray(resized, dtype=np.float64)

    view = view_of(pixels, one, size).numpy() * 255
    assert np.abs(view - pillows(top)).max() < 3
    assert np.abs(view - pillows(top - 2)).max() > 6  # the tolerance tells crops apart


@pytest.mark.parametrize("turns", [0, 1, 2, 3])
@pytest.mark.parametrize("mirror", [1.0, -1.0])
def test_the_eight_orientations_are_numpys(turns, mirror):
    pixels = picture()
    upright = view_of(pixels, crop(area=0.3, left=0.6, top=0.2), 32).numpy()
    view = view_of(pixels, crop(0.3, 1.0, 0.6, 0.2, turns * math.pi / 2, mirror), 32).numpy()
    turned = np.rot90(upright, -turns)  # clockwise, then mirrored
    expected = np.fliplr(turned) if mirror < 0 else turned
    np.testing.assert_allclose(view, expected, atol=1e-4)
    others = [np.rot90(upright, k) for k in range(4)] + [np.rot90(np.fliplr(upright), k) for k in range(4)]
    assert sum(np.allclose(view, other, atol=1e-2) for other in others) == 1


@pytest.mark.parametrize("degrees", [-20, 7, 20])
def test_a_tilt_turns_about_the_crops_centre(degrees):
    angle = math.radians(degrees)
    x, y = coordinates(crop(area=0.25, left=0.5, top=0.5, angle=angle), 32)
    assert x.mean().item() == pytest.approx(SIDE / 2, abs=0.01)
    assert y.mean().item() == pytest.approx(SIDE / 2, abs=0.01)
    step = SIDE / 2 / 32
    along = (x[16, 17] - x[16, 16]).item(), (y[16, 17] - y[16, 16]).item()
    assert along == pytest.approx((step * math.cos(angle), -step * math.sin(angle)), abs=1e-2)


@pytest.mark.parametrize("content", [(256, 256), (180, 256), (256, 60)])
@pytest.mark.parametrize("scale", [(0.05, 0.32), (0.32, 1.0)])
def test_crops_have_the_area_and_aspect_drawn_and_stay_in_their_content(content, scale):
    uniform = torch.rand(4000, CROP_DRAWS, generator=generator())
    crops = draw_crops(uniform, scale)._replace(angle=torch.zeros(4000), mirror=torch.ones(4000))
    matrices = crop_matrices(crops, torch.tensor([content]).expand(4000, 2)).double()
    width, height = 2 * matrices[:, 0, 0], 2 * matrices[:, 1, 1]
    rows, columns = content
    assert (matrices[:, 0, 2] - width / 2 >= -1e-3).all()
    assert (matrices[:, 0, 2] + width / 2 <= columns + 1e-3).all()
    assert (matrices[:, 1, 2] - height / 2 >= -1e-3).all()
    assert (matrices[:, 1, 2] + height / 2 <= rows + 1e-3).all()
    assert (width / height).min() > 3 / 4 - 1e-4
    assert (width / height).max() < 4 / 3 + 1e-4
    share = width * height / (rows * columns)
    assert share.max() <= scale[1] + 1e-4
    if content == (256, 256) and scale[1] < 1:  # nothing has to be cut
        assert share.min() >= scale[0] - 1e-4
        assert share.mean().item() == pytest.approx(sum(scale) / 2, rel=0.03)


def test_all_eight_orientations_are_equally_frequent_and_tilts_within_20_degrees():
    crops = draw_crops(torch.rand(8000, CROP_DRAWS, generator=generator()), (0.3, 1.0))
    turns = (crops.angle / (math.pi / 2)).round()
    counts = torch.bincount((turns + 4 * (crops.mirror > 0)).long(), minlength=8)
    assert len(counts) == 8
    assert counts.min() > 900
    assert counts.max() < 1100
    tilt = torch.rad2deg(crops.angle - turns * math.pi / 2)
    assert -20.01 < tilt.min() < -19
    assert 19 < tilt.max() < 20.01


# --- pixels -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("size", [112, 42, 14])
@pytest.mark.parametrize("content", [(256, 256), (203, 111), (97, 255)])
def test_views_show_the_content_only_whatever_the_canvas_holds_beyond_it(content, size):
    full, sizes = canvas(np.full(content, 100, dtype=np.uint8))
    crops = draw_crops(torch.rand(64, CROP_DRAWS, generator=generator(size)), (0.3, 1.0))
    sizes = sizes.expand(64, 2)
    pyramid = image_pyramid(full).expand(64, -1, -1, -1)
    views = sample_crops(pyramid, crop_matrices(crops, sizes), sizes, size)
    assert views.max().item() == pytest.approx(100 / 255, abs=1e-6)
    assert views.min() == 0  # a corner of some tilted view lies outside
    upright = crops._replace(angle=torch.zeros(64))
    inner = sample_crops(pyramid, crop_matrices(upright, sizes), sizes, size)
    torch.testing.assert_close(inner, torch.full_like(inner, 100 / 255))


@pytest.mark.parametrize("side", [203, 204, 301])
def test_the_canvas_around_a_content_makes_no_difference(side):
    pixels = torch.from_numpy(picture()[:200, :150])
    crops = draw_crops(torch.rand(8, CROP_DRAWS, generator=generator()), (0.05, 1.0))
    sizes = torch.tensor([[200, 150]] * 8)
    samples = []
    for canvas_side in (SIDE, side):
        full = torch.zeros(8, 1, canvas_side, canvas_side, dtype=torch.uint8)
        full[:, 0, :200, :150] = pixels
        samples.append(sample_crops(image_pyramid(full), crop_matrices(crops, sizes), sizes, 28))
    torch.testing.assert_close(*samples, atol=1e-4, rtol=0)


@pytest.mark.parametrize("size", [112, 64, 42, 28])
def test_a_fine_checkerboard_shrinks_to_grey_without_aliasing(size):
    rows, columns = np.indices((SIDE, SIDE))
    pixels = ((rows + columns) % 2 * 255).astype(np.uint8)
    shrunk = view_of(pixels, crop(), size)
    inner = shrunk[1:-1, 1:-1]
    assert (inner - 0.5).abs().max() < 0.05
    grid = torch.nn.functional.affine_grid(torch.eye(2, 3)[None], (1, 1, size, size), align_corners=False)
    turned = crop(angle=math.radians(13))
    assert (
        view_of(pixels, turned, size)[size // 3 : -size // 3, size // 3 : -size // 3] - 0.5
    ).abs().max() < 0.1
    aliased = torch.nn.functional.grid_sample(
        canvas(pixels)[0] / 255, grid * 0.93, mode="bilinear", align_corners=False
    )
    assert aliased.std() > 0.1  # what plain sampling makes of it


def test_a_coarse_checkerboard_stays():
    rows, columns = np.indices((SIDE, SIDE))
    pixels = ((rows // 16 + columns // 16) % 2 * 255).astype(np.uint8)
    assert view_of(pixels, crop(), 64).std() > 0.35


def test_a_blank_crop_gives_way_to_the_first_with_structure():
    full, content = canvas(np.zeros((SIDE, SIDE), dtype=np.uint8))
    full[0, 0, :64, :64] = torch.from_numpy(picture()[:64, :64])
    blank, also_blank = crop(0.1, left=1.0, top=1.0), crop(0.1, left=1.0, top=0.0)
    one, another = crop(0.1), crop(0.15)
    pyramid = image_pyramid(full)

    def chosen(*crops):
        candidates = torch.stack([crop_matrices(each, content) for each in crops], dim=1)
        return first_with_structure(pyramid, candidates, content)

    assert torch.equal(chosen(blank, one, another), crop_matrices(one, content))
    assert torch.equal(chosen(another, one, blank), crop_matrices(another, content))
    assert torch.equal(chosen(also_blank, blank), crop_matrices(also_blank, content))


# --- grey levels --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("sigma", [0.3, 0.8, 1.2])
def test_the_blur_is_gaussian(sigma):
    images = torch.rand(2, 1, 40, 30, generator=generator())
    blurred = gaussian_blur(images, torch.tensor([sigma, 0.0]))
    expected = gaussian_filter(images[0, 0].double().numpy(), sigma, mode="mirror", radius=4)
    np.testing.assert_allclose(blurred[0, 0], expected, atol=1e-6)
    assert torch.equal(blurred[1], images[1])


def test_noise_has_its_strength_and_comes_from_each_images_own_seed():
    images = torch.full((3, 1, 100, 100), 0.5)
    strength, seeds = torch.tensor([0.02, 0.01, 0.0]), torch.tensor([5, 6, 7])
    noisy = add_noise(images, strength, seeds)
    torch.testing.assert_close(noisy.std(dim=(1, 2, 3)), strength, atol=1e-3, rtol=0)
    torch.testing.assert_close(add_noise(images[1:2], strength[1:2], seeds[1:2]), noisy[1:2])
    assert not torch.equal(noisy[0] - 0.5, (noisy[1] - 0.5) * 2)


def test_the_window_shows_black_as_0_and_white_as_1():
    images = torch.tensor([0.0, 0.1, 0.3, 0.5, 0.9, 1.0]).reshape(1, 1, 1, 6)
    levels = apply_window(images, torch.tensor([0.1]), torch.tensor([0.9]), torch.tensor([2.0]))
    torch.testing.assert_close(levels.flatten(), torch.tensor([0, 0, 0.25**2, 0.5**2, 1, 1]))


def test_no_draw_inverts_solarises_or_blanks():
    intensities = draw_intensities(torch.rand(3000, INTENSITY_DRAWS, generator=generator()), 0.5)
    ramp = torch.linspace(0, 1, 50).expand(3000, 1, 1, 50)
    levels = apply_window(ramp, intensities.black, intensities.white, intensities.gamma)
    assert (levels.diff(dim=3) >= 0).all()
    assert (levels[..., -1] - levels[..., 0] > 0.5).all()
    assert levels.min() >= 0
    assert levels.max() <= 1


@pytest.mark.parametrize("probability", [0.0, 0.1, 0.5, 1.0])
def test_a_share_of_the_views_is_blurred(probability):
    sigma = draw_intensities(torch.rand(3000, INTENSITY_DRAWS, generator=generator()), probability).sigma
    assert (sigma > 0).float().mean().item() == pytest.approx(probability, abs=0.03)


def test_some_views_keep_their_grey_levels_exactly():
    intensities = draw_intensities(torch.rand(3000, INTENSITY_DRAWS, generator=generator()), 0.5)
    untouched = (intensities.black == 0) & (intensities.white == 1) & (intensities.gamma == 1)
    assert untouched.float().mean().item() == pytest.approx(0.2, abs=0.03)
    assert (intensities.noise == 0).float().mean().item() == pytest.approx(0.5, abs=0.03)


# --- multi-crop ---------------------------------------------------------------------------------------------


def images(count, seed=0):
    """Canvases and sizes of different pictures."""
    pixels = torch.from_numpy(picture())[None, None].expand(count, -1, -1, -1)
    shift = torch.randint(0, 200, (count, 1, 1, 1), generator=generator(seed), dtype=torch.uint8)
    sizes = torch.randint(120, SIDE + 1, (count, 2), generator=generator(seed + 1))
    return pixels + shift, sizes  # uint8 wraps: different pictures


def flat(grey, count, sizes=(SIDE, SIDE)):
    """Canvases of one grey level, and sizes."""
    return torch.full((count, 1, SIDE, SIDE), grey, dtype=torch.uint8), torch.tensor([sizes] * count)


def batch(own, partners=None):
    """Images, each as (canvases, sizes); they are their own partners where none are given."""
    return Batch(0, 0, *own, *(partners or own))


@pytest.fixture(scope="module")
def views():
    return MultiCrop(14, dino_views(56, 28, 6))


def test_views_come_in_order_size_and_range(views):
    crops = views(batch(images(5)), generator(), ALONE)
    assert [crop.shape for crop in crops] == [(5, 1, 56, 56)] * 2 + [(5, 1, 28, 28)] * 6
    for crop in crops:
        assert crop.dtype == torch.float32
        assert crop.min() >= 0
        assert crop.max() <= 1
        assert (crop.std(dim=(1, 2, 3)) > 0.01).all()
    assert not torch.equal(crops[0], crops[1])
    assert not torch.equal(crops[2], crops[3])


def test_the_generators_state_is_all_that_is_random(views):
    canvases, sizes = images(3)
    torch.manual_seed(1)
    one = views(batch((canvases, sizes)), generator(4), ALONE)
    torch.manual_seed(2)
    same = views(batch((canvases, sizes), (canvases.clone(), sizes)), generator(4), ALONE)
    other = views(batch((canvases, sizes)), generator(5), ALONE)
    assert all(map(torch.equal, one, same))
    assert not any(map(torch.equal, one, other))


@pytest.mark.parametrize("processes", [2, 3])
def test_processes_make_the_views_that_one_process_makes_of_the_whole_batch(views, processes):
    own, partners = images(6), images(6, seed=9)
    together = views(batch(own, partners), generator(), ALONE)
    share = 6 // processes
    generators = [generator() for _ in range(processes)]
    parts = []
    for rank in range(processes):
        rows = slice(rank * share, (rank + 1) * share)
        mine = batch([tensor[rows] for tensor in own], [tensor[rows] for tensor in partners])
        parts.append(views(mine, generators[rank], replace(ALONE, rank=rank, count=processes)))
    for index, view in enumerate(together):
        torch.testing.assert_close(torch.cat([part[index] for part in parts]), view, rtol=0, atol=1e-4)
    after = [each.get_state() for each in generators]
    assert all(torch.equal(after[0], state) for state in after)


def test_half_of_the_views_show_the_partner(views):
    crops = views(batch(flat(0, 4, (200, 256)), flat(255, 4, (200, 256))), generator(), ALONE)
    brightest = [crop.amax(dim=(1, 2, 3)).min().item() > 0.6 for crop in crops]
    assert brightest == [False, True, False, False, False, True, True, True]


@pytest.mark.parametrize(("local_views", "partner"), [(0, [0, 1]), (1, [0, 1, 0]), (3, [0, 1, 0, 0, 1])])
def test_odd_numbers_of_local_views_favour_the_image(local_views, partner):
    views = MultiCrop(14, dino_views(28, 14, local_views))
    crops = views(batch(flat(0, 2), flat(255, 2)), generator(), ALONE)
    assert [int(crop.amax() > 0.6) for crop in crops] == partner


def test_global_views_take_more_of_the_image_than_local_ones():
    ramp = torch.arange(SIDE).to(torch.uint8).expand(40, 1, SIDE, SIDE)
    sharp = [view._replace(blur_probability=0) for view in dino_views(56, 56, 6)]
    crops = MultiCrop(14, sharp)(batch((ramp, torch.tensor([[SIDE, SIDE]] * 40))), generator(), ALONE)
    ranges = [(crop.amax(dim=(1, 2, 3)) - crop.amin(dim=(1, 2, 3))).mean().item() for crop in crops]
    assert min(ranges[:2]) > 1.3 * max(ranges[2:])


def test_autocast_does_not_touch_the_views(views):
    two = batch(images(2))
    plain = views(two, generator(), ALONE)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        inside = views(two, generator(), ALONE)
    assert all(map(torch.equal, plain, inside))


def test_only_views_of_the_image_need_no_partner():
    assert MultiCrop(14, dino_views(28, 14, 0)).show_partners
    assert not MultiCrop(14, [View(28, (0.2, 1.0), 0.1)]).show_partners


@pytest.mark.parametrize("side", [225, 96, 0])
def test_sides_of_broken_patches_are_errors(side):
    with pytest.raises(ConfigError, match=f"{side} pixels: expected a multiple of the patch size, 14"):
        MultiCrop(14, [View(28, (0.2, 1.0), 0.1), View(side, (0.2, 1.0), 0.1)])
