"""Fixtures that several test files share, and which folders need more than the extra ``dev``."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest
from analyses import bone_ssl
from menagerie import Menagerie, fill
from outside import may_be_missing, program, required
from tiny_model import write_tiny_model

from monai_bone_ssl.model.folder import default_model_folder
from monai_bone_ssl.model.inference import Model

#: The extra of pyproject.toml that tests need, and a library that tells whether it is installed.
_EXTRAS = {
    "bundle": ("train", "timm"),
    "pacs": ("serve", "pynetdicom"),
    "review/test_site_probe.py": ("evaluate", "sklearn"),
    "training": ("train", "timm"),
}
_LEFT_OUT = {name: extra for name, (extra, library) in _EXTRAS.items() if find_spec(library) is None}

collect_ignore = list(_LEFT_OUT)


def pytest_configure() -> None:
    """End the run where an extra is missing that may not be."""
    for name, extra in _LEFT_OUT.items():
        if not may_be_missing(extra):
            raise pytest.UsageError(required(extra, _need(name, extra)))


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Name what was not collected, so that it is not taken for passed."""
    for name, extra in _LEFT_OUT.items():
        terminalreporter.write_line(f"LEFT OUT {_need(name, extra)}")


def _need(name: str, extra: str) -> str:
    return f"tests/{name} needs pip install -e '.[{extra}]'"


@pytest.fixture(scope="session")
def tiny_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model folder whose answers a test works out by hand, see tiny_model.py. Not to be changed."""
    return write_tiny_model(tmp_path_factory.mktemp("tiny_model"))


@pytest.fixture(scope="session")
def tiny(tiny_folder: Path) -> Model:
    return Model(tiny_folder)


@pytest.fixture(scope="session")
def shipped() -> Model:
    """The model that comes with the package."""
    return Model(default_model_folder())


@pytest.fixture(scope="session")
def menagerie(tmp_path_factory: pytest.TempPathFactory, tiny: Model, tiny_folder: Path) -> Menagerie:
    """Every kind of good and bad file, analysed in one run. Not to be changed."""
    base = tmp_path_factory.mktemp("menagerie")
    fill(base / "in", tiny)
    out = base / "in" / "out"
    return Menagerie(base / "in", out, bone_ssl("analyze", base / "in", "-o", out, "--model", tiny_folder))


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    """Chromium, headless."""
    from playwright.sync_api import sync_playwright

    executable = program("chromium", "chromium")
    quiet = ("--disable-quic", "--no-first-run", "--disable-sync", "--disable-component-update")
    flags = ["--no-sandbox", "--disable-gpu", "--disable-background-networking", *quiet]
    with sync_playwright() as playwright:
        chromium = playwright.chromium.launch(executable_path=executable, args=flags)
        yield chromium
        chromium.close()


@pytest.fixture
def visit(browser: Any) -> Iterator[Callable[..., Any]]:
    """Open a page from disk; whatever it complains about or asks for from elsewhere fails the test."""
    contexts: list[Any] = []
    complaints: list[str] = []

    def note_request(request: Any) -> None:
        if not request.url.startswith(("file:", "data:")):
            complaints.append(request.url)

    def open_page(path: Path, width: int = 1366, **options: Any) -> Any:
        context = browser.new_context(viewport={"width": width, "height": 900}, **options)
        contexts.append(context)
        tab = context.new_page()
        tab.on("console", lambda message: complaints.append(message.text))
        tab.on("pageerror", lambda error: complaints.append(str(error)))
        tab.on("request", note_request)
        tab.goto(path.as_uri())
        return tab

    yield open_page
    for context in contexts:
        context.close()
    assert complaints == []
