"""Where rows point, on data with outlines: evidence and regions of the first seed's folds."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from monai_bone_ssl.training.comparison.methods import MetadataBaseline
from monai_bone_ssl.training.comparison.outcome import POINTING_HEADINGS
from monai_bone_ssl.training.data import LabelledDataset, load_dataset
from training.comparison.brightness import Brightness, read_csv, run


@pytest.fixture
def outlined(tmp_path: Path) -> LabelledDataset:
    """Images of 9 x 8 pixels, 30 of either class; half of the fractures lie in the top left corner."""
    root = tmp_path / "data"
    (root / "images").mkdir(parents=True)
    rng = np.random.default_rng(0)
    lines, boxes = ["image_id,part,hardware,fractured,block,neardup_group"], {}
    for i in range(60):
        level = 90 + 60 * (i % 2) + rng.integers(0, 60)
        pixels = np.clip(level + 10 * rng.normal(size=(9, 8)), 0, 255).astype(np.uint8)
        Image.fromarray(pixels).save(root / "images" / f"{i}.png")
        lines.append(f"{i}.png,hand,0,{i % 2},{i // 2},{i}")
        if i % 2:
            boxes[f"{i}.png"] = [{"bbox_xywh": [0, 0, 4, 3] if i % 4 == 1 else [4, 6, 4, 3]}]
    (root / "labels.csv").write_text("\n".join(lines) + "\n")
    (root / "fracture_boxes.json").write_text(json.dumps(boxes))
    return load_dataset(root)


@pytest.mark.usefixtures("no_pictures")
def test_rows_are_held_against_the_outlines(outlined: LabelledDataset, tmp_path: Path) -> None:
    out = tmp_path / "out"
    comparison = run(outlined, out, MetadataBaseline(), Brightness())
    where = comparison.row("brightness").metrics.localisation
    # The evidence peaks at the first of 3 x 2 patches, the region is 4 x 4 pixels in that corner.
    assert (where.pointing_game, where.n) == (0.5, 30)
    assert where.chance == pytest.approx(4 * 3 / 72)
    assert (where.regions.n_images, where.regions.n_outlines) == (60, 30)
    assert where.regions.outlines_hit.value == 0.5
    assert where.regions.false_regions.value == 45 / 60
    # Brighter images first: positive ones, half of them false, up to 0.1 x 60.
    grey = {i: np.asarray(Image.open(image.path)).mean() for i, image in enumerate(outlined.images)}
    hits = false = 0
    for i in sorted(grey, key=grey.get, reverse=True):
        false += i % 4 != 1
        if false > 6:
            break
        hits += i % 4 == 1
    assert where.regions.sensitivity_at_false_regions["0.1"].value == hits / 30
    assert comparison.row("metadata").metrics.localisation is None

    table = {(line["figure"], line["row"]): line for line in read_csv(out / "table.csv")}
    assert float(table["outlines_hit", "brightness"]["All"]) == 0.5
    assert float(table["pointing_game", "brightness"]["All low"]) < 0.5
    assert table["pointing_game", "metadata"]["All"] == ""
    page = (out / "index.html").read_text()
    for heading in ("Where they point", *POINTING_HEADINGS.values()):
        assert heading in page

    class Resumed(Brightness):
        def evidence(self, *_):
            raise AssertionError("evidence was computed again")

        regions = evidence

    again = run(outlined, out, MetadataBaseline(), Resumed(), embed_images=False)
    assert again.row("brightness").metrics == comparison.row("brightness").metrics
