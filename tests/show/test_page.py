"""The page of all results, parsed as HTML."""

from __future__ import annotations

import base64
import hashlib
import io
import re
import tracemalloc
from importlib import resources
from urllib.parse import unquote

import msgspec
import numpy as np
import pytest
from html_page import HtmlPage
from page_entries import HOSTILE, analysed, left_out, make_overlay, mixed_entries, write
from PIL import Image
from tiny_model import spec

from monai_bone_ssl import __version__
from monai_bone_ssl.errors import ReasonCode, ReportError
from monai_bone_ssl.findings import Answered, Refused, Region, Status, study_finding


@pytest.fixture
def mixed(tmp_path):
    return mixed_entries(tmp_path)


class Page(HtmlPage):
    """The cards with their text and links, and the Content Security Policy."""

    def __init__(self, path):
        self.cards = []
        super().__init__(path)

    def handle_starttag(self, tag, attrs):
        super().handle_starttag(tag, attrs)
        attributes = dict(attrs)
        if tag == "article":
            self.cards.append({"group": attributes["class"], "id": attributes["id"], "text": "", "links": []})
        elif tag == "a" and "article" in self.stack:
            self.cards[-1]["links"].append(attributes["href"])

    def handle_data(self, data):
        super().handle_data(data)
        if "article" in self.stack:
            self.cards[-1]["text"] += data + " "

    @property
    def policy(self):
        (content,) = [
            meta["content"]
            for meta in self.attributes("meta")
            if meta.get("http-equiv") == "Content-Security-Policy"
        ]
        return {name: values for name, *values in (rule.split() for rule in content.split(";"))}


def test_every_file_has_one_card_most_urgent_first(tmp_path, mixed):
    page = Page(write(mixed, tmp_path))
    order = [
        "in/top.dcm",
        "in/pos.dcm",
        "in/ind2.dcm",
        "in/ind.dcm",
        "in/broken.dcm",
        "in/letter.pdf",
        "in/neg.dcm",
        "neg/low.dcm",
    ]
    assert len(page.cards) == len(mixed)
    for path, card in zip(order, page.cards, strict=True):
        assert f"File {path} " in card["text"]
    groups = ["positive"] * 2 + ["indeterminate"] * 2 + ["failed", "not_analysed"] + ["negative"] * 2
    assert [card["group"] for card in page.cards] == groups


def test_a_card_says_what_is_known(tmp_path, mixed):
    cards = {card["id"]: card["text"] for card in Page(write(mixed, tmp_path)).cards}
    assert "Suspected fracture, probability of fracture 0.98" in cards["image-1"]
    assert "hand (from the image, confidence 0.93)" in cards["image-1"]
    assert "0.40 s" in cards["image-1"]
    assert "Analysis failed: pixel data ends early" in cards["image-5"]
    assert "truncated_file" in cards["image-5"]
    assert "Not analysed: not a DICOM file" in cards["image-6"]


def test_counts_versions_and_caveat(tmp_path, mixed):
    page = Page(write(mixed, tmp_path))
    nav = re.findall(r"(All|Positive|Indeterminate|Failed|Not analysed|Negative) (\d+)", page.text)
    assert dict(nav) == {
        "All": "8",
        "Positive": "2",
        "Indeterminate": "2",
        "Failed": "1",
        "Not analysed": "1",
        "Negative": "2",
    }
    assert f"8 files in 2 studies. Model bone-model {spec(b'').version}, software {__version__}." in page.text
    assert "not verified by a reader" in page.text
    assert "Not a medical device" in page.text


def test_images_of_a_study_name_it_and_link_to_each_other(tmp_path, mixed):
    by_study = {}
    for entry in mixed:
        if entry.finding.study_instance_uid:
            by_study.setdefault(entry.finding.study_instance_uid, []).append(entry.finding)
    studies = [study_finding(uid, images) for uid, images in by_study.items()]
    cards = {card["id"]: card for card in Page(write(mixed, tmp_path, studies)).cards}
    assert [link for link in cards["image-2"]["links"] if link[0] == "#"] == ["#image-4", "#image-7"]
    assert [link for link in cards["image-7"]["links"] if link[0] == "#"] == ["#image-2", "#image-4"]
    assert "Suspected fracture (3 of 3 images analysed)" in cards["image-7"]["text"]
    assert "Suspected fracture (1 of 2 images analysed)" in cards["image-5"]["text"]
    assert "Study" not in cards["image-3"]["text"]


def test_a_huge_study_does_not_fill_the_page(tmp_path):
    entries = [analysed(f"{n}.dcm", 0.9, "1.2") for n in range(200)]
    page = Page(write(entries, tmp_path))
    assert all(0 < len(card["links"]) < 20 for card in page.cards)
    assert "and 191 more" in page.cards[0]["text"]


def test_internal_links_lead_somewhere(tmp_path, mixed):
    page = Page(write(mixed, tmp_path))
    ids = [attributes["id"] for _, attributes in page.tags if "id" in attributes]
    assert len(ids) == len(set(ids))
    targets = {a["href"][1:] for a in page.attributes("a") if a["href"].startswith("#")}
    assert targets <= set(ids)
    assert {"all", "positive", "negative", "image-2"} <= targets


def test_the_thumbnail_is_embedded_and_the_overlay_linked(tmp_path, mixed):
    page = Page(write(mixed, tmp_path))
    images = page.attributes("img")
    assert len(images) == 2
    for image in images:
        head, data = image["src"].split(",")
        assert head == "data:image/jpeg;base64"
        with Image.open(io.BytesIO(base64.b64decode(data))) as thumbnail:
            thumbnail.load()
            assert thumbnail.size == (int(image["width"]), int(image["height"])) == (225, 300)
    assert "in/top.dcm" in images[0]["alt"]
    assert page.cards[0]["links"][0] == "./b.png"
    assert page.cards[1]["links"][0] == "./a.png"


def test_a_long_run_embeds_pictures_of_the_most_urgent_only(tmp_path, monkeypatch):
    monkeypatch.setattr("monai_bone_ssl.show.page._THUMBNAILS", 2)
    make_overlay(tmp_path / "a.png")
    page = Page(write([analysed(f"{n}", n / 10, overlay="a.png") for n in range(5)], tmp_path))
    assert [image["alt"][-1] for image in page.attributes("img")] == ["4", "3"]
    assert all(card["links"] == ["./a.png"] for card in page.cards)


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_names_stay_text(tmp_path, name):
    overlay = name.replace("/", "_").replace("\0", "_")
    make_overlay(tmp_path / overlay)
    found = analysed(name, 0.9, uid=name, overlay=overlay)
    failed = left_out(name, Status.FAILED, text=f"{name}: unreadable", uid=name)
    page = Page(write([found, failed], tmp_path))
    shown = "".join(c if c.isprintable() else "\ufffd" for c in name)
    assert len(page.cards) == 2
    for card in page.cards:
        assert f"File {shown} " in card["text"]
    tags = [tag for tag, _ in page.tags]
    assert (tags.count("script"), tags.count("img"), tags.count("style")) == (1, 1, 1)
    assert not [key for _, attributes in page.tags for key in attributes if key.startswith("on")]
    href = page.cards[0]["links"][0]
    assert re.fullmatch(r"\./[\w%.~/-]+", href)
    assert (tmp_path / unquote(href, errors="surrogateescape")).is_file()


def test_the_policy_allows_this_style_this_script_and_embedded_pictures_only(tmp_path, mixed):
    page = Page(write(mixed, tmp_path))
    policy = page.policy
    assert policy["default-src"] == ["'none'"]
    assert policy["img-src"] == ["data:"]
    assert policy["base-uri"] == policy["form-action"] == ["'none'"]
    for tag in ("style", "script"):
        digest = base64.b64encode(hashlib.sha256(page.inline[tag].encode()).digest()).decode()
        assert policy[f"{tag}-src"] == [f"'sha256-{digest}'"]
    assert not [tag for tag, attributes in page.tags if "style" in attributes], "the policy would drop it"


def test_nothing_is_loaded_from_outside(tmp_path, mixed):
    path = write(mixed, tmp_path)
    page = Page(path)
    assert not page.attributes("link")
    for _, attributes in page.tags:
        assert "srcset" not in attributes
        assert attributes.get("src", "data:").startswith("data:")
        assert re.match(r"#|\./", attributes.get("href", "#"))
    assert not re.search(r"https?:|url\(|@import|fetch\(|import\(", path.read_text(encoding="utf-8"))


def test_it_can_be_read_aloud(tmp_path, mixed):
    page = Page(write(mixed, tmp_path))
    assert page.attributes("html") == [{"lang": "en"}]
    assert all(image["alt"] for image in page.attributes("img"))
    bars = [svg for svg in page.attributes("svg") if svg.get("role") == "img"]
    assert len(bars) == 6
    assert bars[0]["aria-label"] == "Probability 0.98; negative below 0.30, positive from 0.70"
    assert all(svg.get("aria-hidden") == "true" for svg in page.attributes("svg") if svg not in bars)
    labelled = {section["aria-labelledby"] for section in page.attributes("section")}
    assert labelled <= {h2["id"] for h2 in page.attributes("h2")}


@pytest.mark.parametrize("probability", [0.0, 0.31, 0.69, 1.0])
def test_the_bar_is_to_scale(tmp_path, probability):
    page = Page(write([analysed("a", probability)], tmp_path))
    zones = [(r["class"], float(r["x"]), float(r["width"])) for r in page.attributes("rect")]
    start, length = zones[0][1], sum(width for _, _, width in zones)
    assert [(name, pytest.approx(width / length, abs=0.005)) for name, _, width in zones] == [
        ("negative", 0.3),
        ("indeterminate", 0.4),
        ("positive", 0.3),
    ]
    (value,) = [t for t in page.attributes("text") if t.get("class") == "value"]
    assert (float(value["x"]) - start) / length == pytest.approx(probability, abs=0.005)


def luminance(colour):
    digits = colour[1:] if len(colour) == 7 else "".join(2 * c for c in colour[1:])
    value = np.array([int(digits[i : i + 2], 16) for i in (0, 2, 4)]) / 255
    linear = np.where(value <= 0.04045, value / 12.92, ((value + 0.055) / 1.055) ** 2.4)
    return linear @ (0.2126, 0.7152, 0.0722)


@pytest.mark.parametrize("theme", ["light", "dark", "print"])
def test_text_has_the_contrast_of_wcag_aa(theme):
    colours = {}
    for name in ("document.css", "page.css"):
        css = resources.files("monai_bone_ssl").joinpath("resources", name).read_text(encoding="utf-8")
        blocks = re.findall(r":root \{(.*?)\}", css, re.S)
        roots = [dict(re.findall(r"--([\w-]+): (#\w+)", block)) for block in blocks]
        colours |= roots[0] | roots[["light", "dark", "print"].index(theme)]
    words = ("text", "muted", "link", "positive", "indeterminate", "negative", "failed", "not_analysed")
    for word in words:
        for ground in ("card", "ground"):
            dark, light = sorted(luminance(colours[c]) for c in (word, ground))
            assert (light + 0.05) / (dark + 0.05) >= 4.5, (word, ground)


def test_an_empty_run_has_a_page(tmp_path):
    page = Page(write([], tmp_path))
    assert page.cards == []
    assert "0 files." in page.text


def test_memory_does_not_grow_with_the_pictures(tmp_path):
    make_overlay(tmp_path / "a.png")
    peaks, sizes = [], []
    for n in (10, 110):
        entries = [analysed(f"{k}.dcm", 0.9, overlay="a.png") for k in range(n)]
        tracemalloc.start()
        sizes.append(write(entries, tmp_path).stat().st_size)
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    assert peaks[1] - peaks[0] < 0.2 * (sizes[1] - sizes[0])


def test_a_page_that_fails_leaves_the_old_one(tmp_path, mixed):
    path = write(mixed[:1], tmp_path)
    before = path.read_bytes()
    (tmp_path / "a.png").write_bytes(b"not a picture")
    with pytest.raises(ReportError, match=r"a\.png"):
        write(mixed, tmp_path)
    assert path.read_bytes() == before
    assert sorted(p.name for p in tmp_path.iterdir()) == ["a.png", "b.png", "index.html"]


def test_a_folder_that_cannot_be_made(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(ReportError) as caught:
        write([], tmp_path / "file" / "out")
    assert caught.value.code is ReasonCode.WRITE_FAILED
    assert "\n" not in caught.value.text


def test_no_patient_data_can_get_in():
    """The page is made of findings alone, and a finding has no field for a name, an id or a birth date."""
    fields = {field.name for kind in (Answered, Refused) for field in msgspec.structs.fields(kind)}
    assert not [name for name in fields if re.search("patient|birth|name", name)]


def test_a_card_says_how_many_regions_an_answered_image_has(tmp_path):
    region = Region(10, 10, 30, 30, 0.9, "certain")
    entries = [analysed("a.dcm", 0.9, regions=(region,)), left_out("b.dcm", Status.FAILED)]
    first, second = Page(write(entries, tmp_path)).cards
    assert "Regions 1 certain" in " ".join(first["text"].split())
    assert "Regions" not in second["text"]
