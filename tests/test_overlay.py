"""Overlays, judged by the pixels a reader would see."""

from __future__ import annotations

import base64
import io
import itertools
import subprocess
import sys
from pathlib import Path

import msgspec
import numpy as np
import pytest
from PIL import Image

from monai_bone_ssl.colours import DECISION_COLOURS, colour_evidence, colour_table
from monai_bone_ssl.errors import ReasonCode, ReportError
from monai_bone_ssl.findings import (
    ABNORMALITY,
    FRACTURE,
    BodyPart,
    Decision,
    ImageFinding,
    OperatingPoints,
    Peak,
    Reason,
    Status,
    decide,
)
from monai_bone_ssl.overlay import draw_overlay
from monai_bone_ssl.overlay_file import read_thumbnail, write_png

POINTS = OperatingPoints(high_sensitivity=0.3, high_specificity=0.7)


def finding(probability=0.9, peak=None, points=POINTS):
    return ImageFinding(
        path="a/b.dcm",
        status=Status.ANALYSED,
        body_part=BodyPart("hand", "image", 0.93),
        probability=probability,
        decision=decide(probability, points),
        peak=peak,
        seconds=0.4,
    )


def draw(pixels, evidence, found=None, points=POINTS, target=FRACTURE, limit=0.1, model_name="model"):
    return draw_overlay(
        pixels.astype(np.float32),
        np.asarray(evidence, dtype=np.float32),
        found or finding(points=points),
        points,
        target,
        limit=limit,
        model_name=model_name,
        model_version="1.0.0",
    )


def flat(rows, columns, grey=0.5):
    return np.full((rows, columns), grey, dtype=np.float32)


def runs(mask):
    """Half-open [start, end) runs of True."""
    edges = np.flatnonzero(np.diff(np.concatenate([[0], mask.astype(int), [0]])))
    return list(zip(edges[::2], edges[1::2], strict=True))


def panels(rows, columns):
    """Boxes of the two pictures, found in the pixels of a flat grey radiograph without evidence."""
    image = np.asarray(draw(flat(rows, columns), np.zeros((3, 3))))
    mask = (image == 128).all(axis=2)
    height = [(a, b) for a, b in runs(mask.any(axis=1)) if b - a > 5]
    (top, bottom) = height[0]
    across = runs(mask[top:bottom].all(axis=0))
    assert len(across) == 2, "two pictures, side by side"
    return image, [(left, top, right, bottom) for left, right in across]


def cut(image, box):
    left, top, right, bottom = box
    return np.asarray(image)[top:bottom, left:right].astype(int)


def chroma(rgb):
    return rgb.max(axis=-1) - rgb.min(axis=-1)


@pytest.mark.parametrize(
    ("rows", "columns"), [(2400, 2000), (1200, 200), (150, 1400), (48, 60), (512, 400), (20, 90), (700, 700)]
)
def test_two_pictures_of_equal_size_with_the_radiographs_aspect(rows, columns):
    image, (plain, coloured) = panels(rows, columns)
    sizes = {(right - left, bottom - top) for left, top, right, bottom in (plain, coloured)}
    assert len(sizes) == 1
    width, height = sizes.pop()
    assert abs(width - height * columns / rows) <= max(1, columns / rows)
    assert width <= 800
    assert height <= 900
    assert width == 800 or height == 900 or width == 3 * columns, "fills the screen, or enlarged threefold"
    assert image.shape[1] <= 1920


def test_the_left_picture_is_the_radiograph_untouched():
    ramp = np.linspace(0, 1, 900 * 700, dtype=np.float32).reshape(900, 700)
    _, (plain, _) = panels(900, 700)
    evidence = np.full((9, 7), 0.1)
    picture = cut(draw(ramp, evidence, finding(peak=Peak(450, 350))), plain)
    np.testing.assert_allclose(picture, np.repeat(ramp[..., None] * 255, 3, axis=2), atol=1)


@pytest.mark.parametrize("value", [0.0, -0.4])
def test_evidence_that_is_not_positive_leaves_the_radiograph_grey(value):
    noise = np.random.default_rng(0).random((300, 200), dtype=np.float32)
    _, (plain, coloured) = panels(300, 200)
    image = draw(noise, np.full((6, 4), value), finding(probability=0.1, peak=Peak(10, 10)))
    np.testing.assert_array_equal(cut(image, plain), cut(image, coloured))


@pytest.mark.parametrize("patch", [(0, 0), (0, 6), (1, 5), (3, 0), (2, 1), (3, 6)])
@pytest.mark.parametrize(("rows", "columns"), [(400, 500), (1200, 300)])
def test_colour_sits_over_the_patch_with_the_evidence(rows, columns, patch):
    evidence = np.full((4, 7), -0.05)
    evidence[patch] = 0.1
    _, (plain, coloured) = panels(rows, columns)
    image = draw(flat(rows, columns), evidence)
    colour = chroma(cut(image, coloured))
    y, x = np.unravel_index(colour.argmax(), colour.shape)
    assert (y * 4 // colour.shape[0], x * 7 // colour.shape[1]) == patch
    inside = np.zeros(colour.shape, dtype=bool)
    row, column = (
        slice(*(int(size * (i + d) / n) for d in (0, 1)))
        for size, i, n in zip(colour.shape, patch, evidence.shape, strict=True)
    )
    inside[row, column] = True
    assert colour[inside].sum() > 0.8 * colour.sum()
    assert chroma(cut(image, plain)).max() == 0


def test_one_limit_makes_images_comparable():
    """The same evidence has the same colour, however much there is elsewhere in the image."""
    weak, strong = np.zeros((2, 9, 9))
    weak[1, 1] = strong[1, 1] = 0.04
    strong[7, 7] = 0.1
    _, (_, coloured) = panels(450, 450)
    one, other = (cut(draw(flat(450, 450), e), coloured) for e in (weak, strong))
    np.testing.assert_array_equal(one[:300, :300], other[:300, :300])
    assert chroma(one).max() > 20, "moderate evidence is seen"
    fainter = cut(draw(flat(450, 450), weak, limit=0.4), coloured)
    assert chroma(fainter).max() < chroma(one).max()


def test_interpolation_is_bilinear_between_patch_centres():
    """Against scipy, through the picture: evidence drawn patchwise equals evidence given per pixel."""
    from scipy.ndimage import map_coordinates

    evidence = np.random.default_rng(1).uniform(-0.1, 0.1, (5, 8)).astype(np.float32)
    _, (_, coloured) = panels(500, 800)
    y, x = np.meshgrid((np.arange(500) + 0.5) / 100 - 0.5, (np.arange(800) + 0.5) / 100 - 0.5, indexing="ij")
    dense = map_coordinates(evidence, [y, x], order=1, mode="nearest").astype(np.float32)
    expected = colour_evidence(flat(500, 800), dense, 0.1) * 255
    np.testing.assert_allclose(cut(draw(flat(500, 800), evidence), coloured), expected, atol=3)


def test_colour_grows_with_evidence_and_saturates_at_the_limit():
    evidence = np.linspace(0, 0.2, 41, dtype=np.float32)[None]
    colour = colour_evidence(np.zeros_like(evidence), evidence, 0.1)[0]
    lightness = colour @ np.array([0.2126, 0.7152, 0.0722])
    assert (np.diff(lightness[:21]) > 0).all(), "the order is read from lightness alone"
    np.testing.assert_array_equal(colour[20:], np.broadcast_to(colour[20], (21, 3)))


def test_anatomy_shows_through_full_colour():
    grey = np.array([[0.2, 0.5, 0.9]], dtype=np.float32)
    colour = colour_evidence(grey, np.ones_like(grey), 0.1)
    assert (np.diff(colour, axis=1) > 0.08).all()


@pytest.mark.parametrize("patch", [(2, 4), (0, 0), (4, 7), (4, 0)])
def test_the_marker_surrounds_the_peak_and_leaves_its_patch_free(patch):
    evidence = np.zeros((5, 8))
    evidence[patch] = 0.05
    _, (_, coloured) = panels(500, 800)
    peak = Peak(row=patch[0] * 100 + 50, column=patch[1] * 100 + 50)
    without, marked = (cut(draw(flat(500, 800), evidence, finding(peak=p)), coloured) for p in (None, peak))
    changed = (without != marked).any(axis=2)
    rows, columns = np.flatnonzero(changed.any(axis=1)), np.flatnonzero(changed.any(axis=0))
    top, left = patch[0] * 100, patch[1] * 100
    assert max(0, top - 6) <= rows[0] <= top
    assert top + 99 <= rows[-1] <= min(499, top + 105)
    assert max(0, left - 6) <= columns[0] <= left
    assert left + 99 <= columns[-1] <= min(799, left + 105)
    assert not changed[top + 5 : top + 95, left + 5 : left + 95].any()
    assert (marked[changed] == 255).all(axis=1).any(), "white"
    assert (marked[changed] == 0).all(axis=1).any(), "and dark, for any background"


def zone_row(image):
    """Columns of the three zones, in the row that shows most of them (right half: left is the answer)."""
    pixels = np.asarray(image).astype(int)
    pixels[:, : pixels.shape[1] // 2] = 0
    masks = {d: (pixels == c).all(axis=2) for d, c in DECISION_COLOURS.items()}
    row = int(np.argmax(sum(mask.sum(axis=1) for mask in masks.values())))
    return row, {d: np.flatnonzero(mask[row]) for d, mask in masks.items()}


@pytest.mark.parametrize("probability", [0.0, 0.1, 0.45, 0.92, 1.0])
@pytest.mark.parametrize("points", [POINTS, OperatingPoints(0.05, 0.2), OperatingPoints(0.6, 0.95)])
def test_the_bar_shows_probability_and_operating_points_to_scale(probability, points):
    image = draw(flat(600, 500), np.zeros((3, 3)), finding(probability, points=points), points)
    row, zones = zone_row(image)
    start, end = zones[Decision.NEGATIVE][0], zones[Decision.POSITIVE][-1]
    share = {d: (x[-1] - x[0]) / (end - start) for d, x in zones.items()}
    assert share[Decision.NEGATIVE] == pytest.approx(points.high_sensitivity, abs=0.01)
    assert share[Decision.POSITIVE] == pytest.approx(1 - points.high_specificity, abs=0.01)
    pixels = np.asarray(image).astype(int)
    top = row
    while (pixels[top - 1, start + 3] == DECISION_COLOURS[Decision.NEGATIVE]).all():
        top -= 1
    pointer = (pixels[top - 12 : top - 3, start - 20 :] > 200).all(axis=2)
    x = np.flatnonzero(pointer.any(axis=0)).mean() + start - 20
    assert (x - start) / (end - start) == pytest.approx(probability, abs=0.015)


@pytest.mark.parametrize("target", [FRACTURE, ABNORMALITY])
def test_long_and_foreign_names_stay_inside_the_picture(target):
    """Text that is too long shrinks; the margins stay empty."""
    image = np.asarray(
        draw(flat(600, 300), np.zeros((3, 3)), target=target, model_name="模型-é-" + "x" * 120)
    )
    assert (image[-150:, :20] == image[0, 0]).all()
    _, zones = zone_row(image)
    gap = image[-150:, zones[Decision.NEGATIVE][0] - 40 : zones[Decision.NEGATIVE][0] - 36]
    assert (gap[5:] == image[0, 0]).all(), "the caption does not run into the bar"


# Machado, Oliveira, Fernandes 2009, doi 10.1109/TVCG.2009.113, severity 1.0, on linear RGB.
COLOUR_BLINDNESS = {
    "none": np.eye(3),
    "protanopia": [
        [0.152286, 1.052583, -0.204868],
        [0.114503, 0.786281, 0.099216],
        [-0.003882, -0.048116, 1.051998],
    ],
    "deuteranopia": [
        [0.367322, 0.860646, -0.227968],
        [0.280085, 0.672501, 0.047413],
        [-0.011820, 0.042940, 0.968881],
    ],
    "tritanopia": [
        [1.255528, -0.076749, -0.178779],
        [-0.078411, 0.930809, 0.147602],
        [0.004733, 0.691367, 0.303900],
    ],
}


def lab(rgb, matrix):
    """CIE L*a*b* (D65) of an sRGB colour as seen with a colour vision deficiency."""
    value = np.array(rgb) / 255
    linear = np.where(value <= 0.04045, value / 12.92, ((value + 0.055) / 1.055) ** 2.4)
    seen = np.clip(np.array(matrix) @ linear, 0, 1)
    to_xyz = [[0.4124, 0.3576, 0.1805], [0.2126, 0.7152, 0.0722], [0.0193, 0.1192, 0.9505]]
    t = np.array(to_xyz) @ seen / [0.9505, 1.0, 1.089]
    x, y, z = np.where(t > 0.008856, np.cbrt(t), 7.787 * t + 16 / 116)
    return np.array([116 * y - 16, 500 * (x - y), 200 * (y - z)])


@pytest.mark.parametrize("vision", COLOUR_BLINDNESS)
def test_zones_differ_for_every_colour_vision(vision):
    matrix = COLOUR_BLINDNESS[vision]
    for one, other in itertools.combinations(DECISION_COLOURS.values(), 2):
        assert np.linalg.norm(lab(one, matrix) - lab(other, matrix)) > 20  # 2 is just noticeable


@pytest.mark.parametrize(
    ("pixels", "evidence", "limit"),
    [
        (flat(10, 10)[None], np.zeros((2, 2)), 0.1),
        (flat(10, 10), np.zeros(4), 0.1),
        (flat(0, 10), np.zeros((2, 2)), 0.1),
        (flat(10, 10), np.zeros((0, 2)), 0.1),
        (flat(10, 10, np.nan), np.zeros((2, 2)), 0.1),
        (flat(10, 10), np.full((2, 2), np.inf), 0.1),
        (flat(10, 10), np.zeros((2, 2)), 0.0),
        (flat(10, 10), np.zeros((2, 2)), -1.0),
        (flat(10, 10), np.zeros((2, 2)), float("nan")),
    ],
)
def test_bad_arrays_and_limits_are_refused(pixels, evidence, limit):
    with pytest.raises(ReportError) as caught:
        draw(pixels, evidence, limit=limit)
    assert caught.value.code is ReasonCode.REPORT_FAILED
    assert "\n" not in caught.value.text


def test_an_image_without_a_decision_has_no_overlay():
    left_out = ImageFinding(
        path="a/b.dcm",
        status=Status.NOT_ANALYSED,
        reason=Reason(ReasonCode.BODY_PART_NOT_COVERED, "x"),
        seconds=0.1,
    )
    with pytest.raises(ReportError, match=r"a/b\.dcm"):
        draw(flat(10, 10), np.zeros((2, 2)), left_out)


@pytest.mark.parametrize("peak", [Peak(10, 3), Peak(3, 10), Peak(-1, 3)])
def test_a_peak_outside_the_image_is_refused(peak):
    with pytest.raises(ReportError, match="outside"):
        draw(flat(10, 10), np.ones((2, 2)), finding(peak=peak))


def test_png_round_trip_and_nothing_else_in_the_folder(tmp_path):
    image = draw(flat(300, 200), np.ones((3, 2)))
    write_png(image, tmp_path / "a.png")
    with Image.open(tmp_path / "a.png") as read:
        np.testing.assert_array_equal(np.asarray(read), np.asarray(image))
    assert [p.name for p in tmp_path.iterdir()] == ["a.png"]


@pytest.mark.parametrize("name", ["file/a.png", "folder"])
def test_a_picture_that_cannot_be_written_leaves_nothing(tmp_path, name):
    (tmp_path / "file").touch()
    (tmp_path / "folder").mkdir()
    with pytest.raises(ReportError) as caught:
        write_png(Image.new("RGB", (8, 8)), tmp_path / name)
    assert caught.value.code is ReasonCode.WRITE_FAILED
    assert str(tmp_path / name) in caught.value.text
    assert [p.name for p in tmp_path.rglob("*") if p.is_file()] == ["file"]


FULL_DISK = """
import resource, sys
from pathlib import Path
import numpy as np
from PIL import Image
from monai_bone_ssl.colours import DECISION_COLOURS, colour_evidence, colour_table
from monai_bone_ssl.errors import ReportError
from monai_bone_ssl.overlay_file import write_png
noise = np.random.default_rng(0).integers(0, 256, (400, 400, 3), dtype=np.uint8)
resource.setrlimit(resource.RLIMIT_FSIZE, (50_000, 50_000))
try:
    write_png(Image.fromarray(noise), Path(sys.argv[1]))
except ReportError as error:
    sys.exit(0 if error.code == "write_failed" else 2)
sys.exit(1)
"""


def test_a_write_cut_short_keeps_the_old_picture(tmp_path):
    path = tmp_path / "a.png"
    Image.new("RGB", (5, 5)).save(path)
    before = path.read_bytes()
    subprocess.run([sys.executable, "-c", FULL_DISK, str(path)], check=True)
    assert path.read_bytes() == before
    assert [p.name for p in tmp_path.iterdir()] == ["a.png"]


@pytest.mark.parametrize(("rows", "columns"), [(900, 450), (200, 1000)])
def test_the_thumbnail_is_the_coloured_radiograph(tmp_path, rows, columns):
    evidence = np.zeros((4, 4))
    evidence[3, 0] = 0.1
    image = draw(flat(rows, columns), evidence)
    write_png(image, tmp_path / "a.png")
    jpeg, size = read_thumbnail(tmp_path / "a.png")
    with Image.open(io.BytesIO(base64.b64decode(jpeg))) as thumbnail:
        assert thumbnail.format == "JPEG"
        assert thumbnail.size == size
        pixels = np.asarray(thumbnail).astype(int)
    assert max(size) == 300
    assert size[0] / size[1] == pytest.approx(columns / rows, rel=0.02)
    y, x = np.unravel_index(chroma(pixels).argmax(), size[::-1])
    assert (y * 4 // size[1], x * 4 // size[0]) == (3, 0)
    assert chroma(pixels[: size[1] // 2]).max() < 12, "nothing but the picture"


@pytest.mark.parametrize("content", [None, b"", b"no picture", "plain png", "odd entry"])
def test_a_file_that_is_no_overlay_has_no_thumbnail(tmp_path: Path, content):
    path = tmp_path / "a.png"
    if isinstance(content, bytes):
        path.write_bytes(content)
    elif content is not None:
        image = Image.new("RGB", (50, 50))
        if content == "odd entry":
            image.info["Thumbnail"] = "1,x,AAAA"
        write_png(image, path)
    with pytest.raises(ReportError, match=r"a\.png"):
        read_thumbnail(path)


def test_drawing_does_not_change_its_inputs():
    pixels, evidence = flat(60, 50), np.full((3, 3), 0.05, dtype=np.float32)
    found = finding(peak=Peak(5, 5))
    before = pixels.copy(), evidence.copy(), msgspec.json.encode(found)
    draw(pixels, evidence, found)
    np.testing.assert_array_equal(pixels, before[0])
    np.testing.assert_array_equal(evidence, before[1])
    assert msgspec.json.encode(found) == before[2]


def test_a_viewer_that_blends_the_colour_table_itself_draws_the_same() -> None:
    table = colour_table()
    rng = np.random.default_rng(0)
    grey = rng.random((5, 7), dtype=np.float32)
    evidence = rng.uniform(-1, 3, (5, 7)).astype(np.float32)
    rows = table[np.rint(np.clip(evidence / 2, 0, 1) * 255).astype(int)]
    blended = grey[..., None] * (1 - rows[..., 3:]) + rows[..., :3] * rows[..., 3:]
    np.testing.assert_allclose(colour_evidence(grey, evidence, 2.0), blended, atol=1e-6)
    assert table[0, 3] == 0
    assert (np.diff(table[:, 3]) > 0).all()
