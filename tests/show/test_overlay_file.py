"""Overlays as files: written whole or not at all, with a thumbnail that can be read back."""

from __future__ import annotations

import base64
import io
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from overlays import chroma, draw, flat
from PIL import Image

from monai_bone_ssl.errors import ReasonCode, ReportError
from monai_bone_ssl.show.overlay_file import read_thumbnail, write_png


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
from monai_bone_ssl.errors import ReportError
from monai_bone_ssl.show.overlay_file import write_png
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
    evidence[3, 0] = 1
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
