"""Results at a terminal."""

from __future__ import annotations

from pathlib import Path

from page_entries import analysed, left_out
from tiny_model import spec

from monai_bone_ssl.findings import FRACTURE, Region, Status
from monai_bone_ssl.show.console import results_table
from monai_bone_ssl.show.results import ModelIdentity, Results


def test_a_row_says_how_many_regions_an_answered_image_has() -> None:
    regions = (Region(0, 0, 8, 8, 0.9, "certain"), Region(20, 20, 8, 8, 0.4, "possible"))
    entries = (
        analysed("a.dcm", 0.9, regions=regions),
        analysed("b.dcm", 0.1),
        left_out("c.dcm", Status.FAILED),
    )
    results = Results(ModelIdentity.of(spec(b"")), [entry.finding for entry in entries], [])
    heading, _, *rows = results_table(results, FRACTURE, Path("out")).splitlines()
    column = heading.index("regions")
    assert [row[column:] for row in rows[:3]] == ["1 certain, 1 possible", "none", "-"]
