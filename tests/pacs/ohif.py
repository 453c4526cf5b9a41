"""The real OHIF viewer in Chromium, on an archive's DICOMweb: ``make ohif`` fetches it.

What is drawn over an image is read from the SVG layer of cornerstone, OHIF's renderer, and in the pixels of
the image: cornerstone's camera says where a pixel lies on the screen.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, NamedTuple

import requests
from analyses import ROOT
from outside import program, skip_or_fail

from pacs.orthanc import PASSWORD, USER, Orthanc

#: Versions that the Makefile fetches: the newest, and the oldest that reports have to open in.
VERSIONS = ("3.13.2", "3.11.1")

_PATIENCE = 240_000  # milliseconds; a first page takes up to a minute, on a busy machine more
_FLAGS = (
    "--no-sandbox",
    "--use-gl=angle",
    "--use-angle=swiftshader",
    "--enable-unsafe-swiftshader",
    "--max-active-webgl-contexts=400",
    "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--no-first-run",
)
_CONFIGURATION = """
window.config = {
  routerBasename: '/',
  extensions: [],
  modes: [],
  showStudyList: true,
  investigationalUseDialog: {option: 'never'},
  defaultDataSourceName: 'archive',
  dataSources: [{
    namespace: '@ohif/extension-default.dataSourcesModule.dicomweb',
    sourceName: 'archive',
    configuration: {
      friendlyName: 'archive',
      name: 'archive',
      qidoRoot: window.location.origin + '/dicom-web',
      wadoRoot: window.location.origin + '/dicom-web',
      wadoUriRoot: window.location.origin + '/dicom-web',
      imageRendering: 'wadors',
      thumbnailRendering: 'wadors',
      enableStudyLazyLoad: true,
      qidoSupportsIncludeField: false,
      supportsFuzzyMatching: false,
      supportsWildcard: true,
      omitQuotationForMultipartRequest: true,
    },
  }],
};
"""
_TYPES = {
    ".css": "text/css",
    ".html": "text/html",
    ".js": "text/javascript",
    ".json": "application/json",
    ".svg": "image/svg+xml",
    ".wasm": "application/wasm",
}


def installed(version: str) -> Path:
    """Folder of a version of the viewer as its package ships it."""
    folder = ROOT / ".ohif" / version / "dist"
    if not (folder / "index.html").exists():
        skip_or_fail("ohif", f"needs {folder.relative_to(ROOT)}: make ohif")
    return folder


class Server:
    """The viewer's files and the archive's DICOMweb under one origin."""

    def __init__(self, folder: Path, archive: Orthanc) -> None:
        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self) -> None:
                if self.path.startswith("/dicom-web"):
                    accept = {"Accept": self.headers.get("Accept", "*/*"), "Host": self.headers["Host"]}
                    answer = requests.get(
                        archive.url + self.path, headers=accept, auth=(USER, PASSWORD), timeout=60
                    )
                    self._reply(answer.status_code, answer.headers.get("Content-Type"), answer.content)
                elif self.path == "/app-config.js":
                    self._reply(200, "text/javascript", _CONFIGURATION.encode())
                else:
                    path = folder / self.path.split("?")[0].lstrip("/")
                    path = path if path.is_file() else folder / "index.html"
                    self._reply(200, _TYPES.get(path.suffix, "application/octet-stream"), path.read_bytes())

            def _reply(self, status: int, kind: str | None, body: bytes) -> None:
                self.send_response(status)
                self.send_header("Content-Type", kind or "application/octet-stream")
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_: Any) -> None:
                """Keep the tests' output free of requests."""

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self._server.server_port}"
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    def stop(self) -> None:
        self._server.shutdown()
        self._server.server_close()


#: What is drawn over the image: outlines in its pixels, its SOP Instance UID, and the lines of words.
_DRAWN = """() => {
  const viewport = cornerstone.getRenderingEngines()[0].getViewports()[0];
  const imageId = viewport.getCurrentImageId();
  const numbers = line => (line.getAttribute('points').match(/-?[\\d.]+/g) || []).map(Number);
  const pixels = (x, y) => cornerstone.utilities.worldToImageCoords(imageId, viewport.canvasToWorld([x, y]));
  const corners = line => {
    const values = numbers(line), found = [];
    for (let i = 0; i + 1 < values.length; i += 2) found.push([...pixels(values[i], values[i + 1])]);
    return found;
  };
  return {
    image: cornerstone.metaData.get('instance', imageId).SOPInstanceUID,
    outlines: [...document.querySelectorAll('.svg-layer polyline')].map(corners),
    words: [...document.querySelectorAll('.svg-layer tspan')].map(line => line.textContent),
  };
}"""
_IMAGE_SHOWN = (
    "window.cornerstone?.getRenderingEngines()?.[0]?.getViewports()?.[0]?.getCurrentImageId?.() !== undefined"
)
_COMPLAINTS = """() => [
  ...[...document.querySelectorAll('[data-sonner-toast]')].map(toast => toast.innerText),
  ...(/Something went wrong/.test(document.body.innerText) ? [document.body.innerText] : []),
]"""


class Drawn(NamedTuple):
    """What the viewer draws over one image."""

    image: str
    """SOP Instance UID."""
    outlines: list[list[list[float]]]
    """Corners (column, row) of each outline in pixels of the image."""
    words: list[str]
    """Lines of text."""


class Viewer:
    """A page of the viewer, which goes from study to study.

    Parameters
    ----------
    version
        Version of the viewer.
    page
        Page of Playwright.
    url
        Address of the server.
    pictures
        Folder that gets a picture of whatever was opened.
    """

    def __init__(self, version: str, page: Any, url: str, pictures: Path) -> None:
        self.version, self._page, self._pictures = version, page, pictures
        page.goto(url + "/")
        page.wait_for_selector("#root *", state="attached")

    def open(self, study_uid: str, series: str) -> None:
        """Open a study, and in it the series whose description begins so."""
        address = f"/viewer?StudyInstanceUIDs={study_uid}"
        self._page.evaluate(
            "to => { history.pushState({}, '', to); dispatchEvent(new PopStateEvent('popstate')); }", address
        )
        self._page.wait_for_function(_IMAGE_SHOWN)  # 3.11 ignores what is opened before
        thumbnail = self._page.locator("[data-cy^=study-browser-thumbnail]", has_text=series)
        thumbnail.first.dblclick()

    def drawn(self, outlines: int, name: str) -> Drawn:
        """What is drawn once there are so many outlines, and nothing is complained about."""
        count = "n => document.querySelectorAll('.svg-layer polyline').length >= n"
        self._page.wait_for_function(count, arg=outlines)
        self._page.screenshot(path=self._pictures / f"{name}.png")
        assert self._page.evaluate(_COMPLAINTS) == []
        return Drawn(**self._page.evaluate(_DRAWN))

    def track(self, name: str) -> list[str]:
        """Take the measurements of the report over; gives the labels in the viewer's list."""
        self._page.get_by_role("button", name="Yes").click()
        self._page.wait_for_function("services.measurementService.getMeasurements().length > 0")
        self._page.screenshot(path=self._pictures / f"{name}.png")
        labels = self._page.evaluate("services.measurementService.getMeasurements().map(m => m.label)")
        return [str(label) for label in labels]


@contextmanager
def opened(version: str, archive: Orthanc, folder: Path) -> Iterator[Viewer]:
    """Run a version of the viewer on an archive; pictures go to ``pictures/VERSION`` in the folder."""
    from playwright.sync_api import sync_playwright

    chromium = program("chromium", "chromium")
    server = Server(installed(version), archive)
    pictures = folder / "pictures" / version
    pictures.mkdir(parents=True)
    with sync_playwright() as playwright:
        context = playwright.chromium.launch_persistent_context(
            folder / f"profile-{version}",
            executable_path=chromium,
            args=_FLAGS,
            viewport={"width": 1280, "height": 800},
        )
        context.set_default_timeout(_PATIENCE)
        context.add_init_script("localStorage.setItem('shownTours', '[\"basicViewerTour\"]')")
        yield Viewer(version, context.pages[0], server.url, pictures)
        context.close()
    server.stop()
