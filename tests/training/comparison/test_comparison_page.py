"""The page of a comparison, parsed as HTML and opened in Chromium."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from html_page import HtmlPage

from monai_bone_ssl.training.comparison.outcome import ModelComparison, SuspectLabel
from monai_bone_ssl.training.data import LabelledDataset
from training.comparison.brightness import Brightness, run


def test_page_is_whole_and_loads_nothing(compared: tuple[ModelComparison, Path]) -> None:
    page = HtmlPage(compared[1] / "index.html")
    assert "script" not in {tag for tag, _ in page.tags}
    for tag, attributes in page.tags:
        if tag == "img":
            assert str(attributes["src"]).startswith("data:image/")
            assert attributes["alt"]
        assert not {name for name in attributes if name.startswith("on")}
    assert "<script>document.title='owned'</script>\N{REPLACEMENT CHARACTER} & co" in page.text
    assert "bone-ssl compare mura -o out" in page.text
    assert "one for all parts" in page.text


def test_page_shows_the_numbers_of_the_table(compared: tuple[ModelComparison, Path]) -> None:
    comparison, out = compared
    page = HtmlPage(out / "index.html")
    for row in comparison.rows:
        assert f"{100 * (row.metrics.accuracy.value or 0):.1f}" in page.text
        assert f"{row.metrics.auroc.value:.3f}" in page.text


@pytest.mark.parametrize("width", [1366, 500])
def test_page_opens_in_a_browser(
    compared: tuple[ModelComparison, Path], visit: Callable[..., Any], width: int
) -> None:
    """No complaint, no request, every picture decoded, and nothing wider than the window."""
    tab = visit(compared[1] / "index.html", width=width)
    assert tab.title() == "MURA v1.1: comparison"
    for details in tab.query_selector_all("details"):
        details.evaluate("element => { element.open = true }")
    assert tab.evaluate("[...document.images].every(image => image.complete && image.naturalWidth > 0)")
    assert tab.evaluate("document.documentElement.scrollWidth <= innerWidth")
    assert tab.evaluate("getComputedStyle(document.querySelector('td.best')).fontWeight") == "700"


def test_page_without_images_has_none_of_the_data(
    compared: tuple[ModelComparison, Path], mura: LabelledDataset, tmp_path: Path
) -> None:
    with_images = [a for tag, a in HtmlPage(compared[1] / "index.html").tags if tag == "img"]
    assert sum("jpeg" in str(a["src"])[:20] for a in with_images) > 20
    suspects = [SuspectLabel(image.name, image.label, image.part, 0.1) for image in mura.images]
    run(mura, tmp_path, Brightness(), baseline="brightness", suspects=suspects, embed_images=False)
    without = [a for tag, a in HtmlPage(tmp_path / "index.html").tags if tag == "img"]
    assert all(str(a["src"]).startswith("data:image/png") for a in without)  # charts
    assert len(without) == 3
