"""The documentation: generated pages are current, links lead somewhere, commands parse, the site builds."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path

import pytest
from outside import library

from monai_bone_ssl.cli import _parser

ROOT = Path(__file__).parent.parent
DOCS = ROOT / "docs"
TEMPLATES = (ROOT / "tools/reference/pages").glob("*.md")
GENERATED = sorted(["result.schema.json", *(page.name for page in TEMPLATES)])
PAGES = sorted([ROOT / "README.md", *DOCS.rglob("*.md")])
WITH_COMMANDS = [
    *PAGES,
    *(ROOT / folder / "README.md" for folder in ("bundle/docs", "deploy_app", "slicer_extension")),
]

_FENCED = re.compile(r"^( *)```(\w*)[^\n]*\n(.*?)^\1```", re.MULTILINE | re.DOTALL)
_LINK = re.compile(r"\[[^\]]*\]\(([^)\s]+)\)")
_HEADING = re.compile(r"^#+ +(.+?)\s*$", re.MULTILINE)


def page_id(page: Path) -> str:
    return str(page.relative_to(ROOT))


# --- generated pages ----------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def regenerated(tmp_path_factory: pytest.TempPathFactory) -> Path:
    library("pynetdicom", "serve")
    out = tmp_path_factory.mktemp("reference")
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-W", "error", "tools/make_reference.py", "--out", out]
    subprocess.run(command, cwd=ROOT, env=environment, check=True)
    return out


@pytest.mark.parametrize("name", GENERATED)
def test_generated_page_is_current(regenerated: Path, name: str) -> None:
    if name == "command-line.md" and sys.version_info >= (3, 13):
        pytest.skip("argparse words its help in another way from Python 3.13 on; the page is of 3.11")
    fresh, committed = (folder / name for folder in (regenerated, DOCS / "reference"))
    assert fresh.read_text() == committed.read_text(), f"{name}: refresh it by python tools/make_reference.py"


def test_all_that_is_generated_is_known(regenerated: Path) -> None:
    assert sorted(path.name for path in regenerated.iterdir()) == sorted(GENERATED)


# --- links --------------------------------------------------------------------------------------------


def slug(heading: str) -> str:
    """The anchor of a heading, as Python-Markdown and GitHub make it."""
    plain = re.sub(r"\[([^\]]*)\]\([^)]*\)|[`*]", r"\1", heading).lower()
    return re.sub(r"\s", "-", re.sub(r"[^\w\s-]", "", plain).strip())


def broken_links(page: Path) -> Iterator[str]:
    for target in _LINK.findall(_FENCED.sub("", page.read_text())):
        if re.match(r"\w+:", target):
            continue
        name, _, anchor = target.partition("#")
        file = (page.parent / name).resolve() if name else page
        if not file.exists():
            yield f"{target}: no such file"
        elif anchor and file.suffix == ".md" and anchor not in anchors(file):
            yield f"{target}: no such heading"


def anchors(page: Path) -> set[str]:
    text = page.read_text()
    modules = re.findall(r"^::: (\S+)", text, re.MULTILINE)
    return {slug(heading) for heading in _HEADING.findall(_FENCED.sub("", text))} | set(modules)


@pytest.mark.parametrize("page", PAGES, ids=page_id)
def test_relative_links_lead_somewhere(page: Path) -> None:
    assert list(broken_links(page)) == []


def test_broken_links_are_found(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text("# One `two`\n[a](#one-two) [b](#three) [c](none.md) [d](https://example.org)\n")
    assert list(broken_links(page)) == ["#three: no such heading", "none.md: no such file"]


# --- commands -----------------------------------------------------------------------------------------


def commands(markdown: str) -> list[list[str]]:
    """Arguments of every ``bone-ssl`` in blocks of shell commands."""
    found = []
    for _, language, block in _FENCED.findall(markdown):
        if language in ("sh", "bash", "shell", "console"):
            for line in block.replace("\\\n", " ").splitlines():
                found += list(arguments(line))
    return found


def arguments(line: str) -> Iterator[list[str]]:
    lexer = shlex.shlex(line.removeprefix("$ "), posix=True, punctuation_chars=True)
    lexer.whitespace_split = True
    command: list[str] = []
    for word in [*lexer, ";"]:
        if set(word) <= set(";|&<>()"):  # what follows a redirection is no command, and does no harm as one
            words = [Path(w).name for w in command]
            start = next((n for n, w in enumerate(words) if w in ("bone-ssl", "monai_bone_ssl.cli")), None)
            if start is not None and is_command(command[:start]):
                yield command[start + 1 :]
            command = []
        else:
            command.append(word)


def is_command(before: list[str]) -> bool:
    """Whether what stands before ``bone-ssl`` runs it: nothing, variables, or a Python's ``-m``."""
    return all("=" in word for word in before) or before[-1] == "-m"


@pytest.mark.parametrize("page", WITH_COMMANDS, ids=page_id)
def test_commands_parse(page: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("monai_bone_ssl.cli.verbs.os.path.lexists", lambda _: True)  # the pages' own files
    assert [words for words in commands(page.read_text()) if not parses(words)] == []


def parses(words: list[str]) -> bool:
    try:
        _parser().parse_args(words)
    except SystemExit as error:
        return error.code == 0  # --help and --version end it too
    return True


def test_commands_are_found() -> None:
    text = (
        "```sh\nA=1 bone-ssl analyze x \\\n  -o y > z # words\ntorchrun -m monai_bone_ssl.cli fit && ls\n```"
    )
    assert commands(text) == [["analyze", "x", "-o", "y"], ["fit"]]
    assert len(commands((ROOT / "README.md").read_text())) >= 6
    assert not parses(["analyse", "x", "-o", "y"])


# --- the site -----------------------------------------------------------------------------------------


class _Assets(HTMLParser):
    """What a browser would fetch for a page by itself."""

    def __init__(self) -> None:
        super().__init__()
        self.outside: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        values = dict(attrs)
        target = values.get("src") or (values.get("href") if tag == "link" else None) or ""
        if re.match(r"(\w+:)?//", target) and values.get("rel") != "canonical":
            self.outside.append(target)


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    library("mkdocs", "docs")
    out = tmp_path_factory.mktemp("site")
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--quiet", "--site-dir", out]
    subprocess.run(command, cwd=ROOT, env={**os.environ, "NO_MKDOCS_2_WARNING": "1"}, check=True)
    return out


def test_site_fetches_nothing_from_outside(site: Path) -> None:
    pages = sorted(site.rglob("*.html"))
    assert len(pages) >= len(list(DOCS.rglob("*.md")))
    for page in pages:
        assets = _Assets()
        assets.feed(page.read_text())
        assert assets.outside == [], page.relative_to(site)
