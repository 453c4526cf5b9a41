"""The page of all results, used in Chromium."""

from __future__ import annotations

import re

import pytest
from page_entries import HOSTILE, analysed, mixed_entries, write
from PIL import Image


@pytest.fixture
def path(tmp_path):
    """The page of results of every kind."""
    return write(mixed_entries(tmp_path), tmp_path)


def visible(tab):
    return [card.get_attribute("id") for card in tab.locator("article").all() if card.is_visible()]


def focused(tab):
    return tab.evaluate("document.activeElement.id")


def test_a_filter_shows_its_cards_only(path, visit):
    tab = visit(path)
    assert len(visible(tab)) == 8
    tab.click("nav a[href='#indeterminate']")
    assert visible(tab) == ["image-3", "image-4"]
    assert tab.locator("nav a[aria-current]").inner_text() == "Indeterminate 2"
    tab.reload()
    assert visible(tab) == ["image-3", "image-4"], "a reload keeps the filter"
    tab.click("nav a[href='#all']")
    assert len(visible(tab)) == 8


def test_keys_walk_through_what_the_filter_shows(path, visit):
    tab = visit(path)
    tab.click("nav a[href='#negative']")
    walk = []
    for key in ("j", "j", "j", "k", "ArrowRight", "ArrowLeft"):
        tab.keyboard.press(key)
        walk.append(focused(tab))
    assert walk == ["image-7", "image-8", "image-8", "image-7", "image-8", "image-7"]


def test_o_opens_the_overlay_at_full_size(tmp_path, path, visit):
    tab = visit(path)
    tab.keyboard.press("j")
    with tab.context.expect_page() as opened:
        tab.keyboard.press("o")
    overlay = opened.value
    overlay.wait_for_load_state()
    assert overlay.url == (tmp_path / "b.png").as_uri()
    with Image.open(tmp_path / "b.png") as image:
        assert overlay.evaluate("document.images[0].naturalWidth") == image.width


def test_a_link_to_a_filtered_out_image_of_the_study_shows_it(path, visit):
    tab = visit(path)
    tab.click("nav a[href='#negative']")
    tab.click("#image-7 a[href='#image-2']")
    assert "image-2" in visible(tab)
    assert focused(tab) == "image-2"


def test_the_page_is_drawn_and_follows_the_readers_theme(path, visit):
    shades = []
    for scheme in ("light", "dark"):
        tab = visit(path, color_scheme=scheme)
        assert tab.evaluate("[...document.images].every(i => i.complete && i.naturalWidth > 0)")
        assert tab.evaluate("document.documentElement.scrollWidth <= innerWidth")
        colour = tab.evaluate("getComputedStyle(document.body).backgroundColor")
        shades.append(sum(map(int, re.findall(r"\d+", colour))))
    assert shades[0] > 600
    assert shades[1] < 150


def test_without_scripts_it_is_a_list(path, visit):
    tab = visit(path, java_script_enabled=False)
    tab.click("nav a[href='#negative']")
    assert len(visible(tab)) == 8
    assert not tab.locator(".keys").is_visible(), "no hint about keys that do nothing"
    assert tab.locator("#negative h2").bounding_box()["y"] < 900, "the link leads to the section"


def test_in_print_there_are_all_cards_and_no_buttons(path, visit):
    tab = visit(path)
    tab.emulate_media(media="print")
    assert not tab.locator("nav").is_visible()
    assert len(visible(tab)) == 8


def test_hostile_names_do_nothing_in_a_browser(tmp_path, visit):
    tab = visit(write([analysed(name, 0.9) for name in HOSTILE], tmp_path))
    tab.keyboard.press("Tab")
    assert tab.title() == "Fracture review"
    assert len(visible(tab)) == len(HOSTILE)
