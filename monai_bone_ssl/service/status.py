"""Health and metrics of this process: counted as it works, told over HTTP.

``/healthz/live``, ``/healthz/ready`` and ``/metrics`` (Prometheus).
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, HTTPServer
from threading import Lock, Thread

import msgspec
from prometheus_client import (
    CONTENT_TYPE_LATEST,
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    generate_latest,
)

from monai_bone_ssl.errors import BoneSSLError, ConfigError, ReasonCode
from monai_bone_ssl.service.connections import BoundedPort, Connections
from monai_bone_ssl.service.events import log_event
from monai_bone_ssl.service.ledger import Ledger
from monai_bone_ssl.service.settings import StatusSettings
from monai_bone_ssl.service.spool import Spool
from monai_bone_ssl.service.tables import StudyState

__all__ = ["LastError", "ServiceMetrics", "StatusServer"]

# Upper ends, in seconds, of the histogram's buckets.
_BUCKETS = (0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300, 1800)


@dataclass(frozen=True)
class LastError:
    """The most recent failure of a stage that has not succeeded since."""

    code: ReasonCode
    at: float
    """Time of the failure, in seconds since the epoch."""
    in_a_row: int
    """Number of failures since the last success."""


class ServiceMetrics:
    """Counters for Prometheus, and the last error of each stage for people."""

    def __init__(self) -> None:
        self._registry = CollectorRegistry()
        self._studies = Gauge(
            "bone_ssl_studies", "Studies in the ledger by state", ["state"], registry=self._registry
        )
        self._missing_images = Gauge(
            "bone_ssl_missing_images",
            "Images that the archive lists but does not hand out in a form that can be kept",
            registry=self._registry,
        )
        self._seconds = Histogram(
            "bone_ssl_stage_seconds",
            "Time a study spent in a stage: analyse, send, or total from its last image to its report sent",
            ["stage"],
            buckets=_BUCKETS,
            registry=self._registry,
        )
        self._errors = Counter(
            "bone_ssl_errors", "Failures by stage and reason code", ["stage", "code"], registry=self._registry
        )
        self._turned_away = Counter(
            "bone_ssl_turned_away",
            "Connections, associations and images of senders that were turned away, by reason",
            ["reason"],
            registry=self._registry,
        )
        self._last: dict[str, LastError] = {}
        self._lock = Lock()

    def observe(self, stage: str, seconds: float) -> None:
        """Count a study that went through a stage, and the seconds that took."""
        self._seconds.labels(stage).observe(seconds)

    def error(self, stage: str, code: ReasonCode) -> None:
        """Count a failure of a stage."""
        self._errors.labels(stage, code).inc()
        with self._lock:
            before = self._last.get(stage)
            self._last[stage] = LastError(code, time.time(), 1 + (before.in_a_row if before else 0))

    def turned_away(self, reason: str) -> None:
        """Count a connection, an association or an image that was turned away."""
        self._turned_away.labels(reason).inc()

    def success(self, stage: str) -> None:
        """Note that a stage works."""
        with self._lock:
            self._last.pop(stage, None)

    def last_errors(self) -> Mapping[str, LastError]:
        """Stages that do not work at the moment, with their last errors."""
        with self._lock:
            return dict(self._last)

    def exposition(self, studies: Mapping[StudyState, int], missing_images: int) -> bytes:
        """Write all numbers in Prometheus' text format.

        Parameters
        ----------
        studies
            Number of studies by state.
        missing_images
            Number of images that the archive lists but does not hand out.
        """
        self._missing_images.set(missing_images)
        for state, count in studies.items():
            self._studies.labels(state).set(count)
        return generate_latest(self._registry)


_Answer = tuple[int, str, bytes]


class _HttpServer(BoundedPort, HTTPServer):
    def __init__(
        self,
        settings: StatusSettings,
        handler: type[BaseHTTPRequestHandler],
        on_cut: Callable[[str], None],
    ) -> None:
        self.connections = Connections(settings.max_connections, on_cut)
        super().__init__((settings.host, settings.port), handler)


class StatusServer:
    """HTTP server that answers probes.

    Live: every thread of the service runs. Ready: the ledger answers and the disk has room. A PACS that is
    down changes neither, because images can still be taken; it is told in ``errors``.

    Parameters
    ----------
    settings
        Address to listen on.
    ledger, spool, metrics
        Parts of the service whose state is told.
    is_live
        Whether all threads run.

    Raises
    ------
    ConfigError
        ``INVALID_CONFIG`` where the address cannot be listened on.
    """

    def __init__(
        self,
        settings: StatusSettings,
        ledger: Ledger,
        spool: Spool,
        metrics: ServiceMetrics,
        is_live: Callable[[], bool],
    ) -> None:
        self._ledger = ledger
        self._spool = spool
        self._metrics = metrics
        self._is_live = is_live
        try:
            self._server = _HttpServer(settings, self._handler(settings.timeout_seconds), self._cut)
        except OSError as error:
            text = f"{settings.host}:{settings.port}: cannot be listened on ({error.strerror})"
            raise ConfigError(ReasonCode.INVALID_CONFIG, text) from error
        self._thread = Thread(target=self._server.serve_forever, name="status", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """Close the server."""
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    def _cut(self, host: str) -> None:
        self._metrics.turned_away("too_many_status_connections")
        log_event("status_connection_cut", level=logging.WARNING, peer=host)

    def _handler(self, seconds: float) -> type[BaseHTTPRequestHandler]:
        answers = {"/healthz/live": self._live, "/healthz/ready": self._ready, "/metrics": self._numbers}

        class Handler(BaseHTTPRequestHandler):
            timeout = seconds

            def do_GET(self) -> None:
                answer = answers.get(self.path)
                status, kind, body = answer() if answer else (404, "text/plain", b"not found\n")
                self.send_response(status)
                self.send_header("Content-Type", kind)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, format: str, *args: object) -> None:
                """Log no request: probes come every few seconds."""

        return Handler

    def _live(self) -> _Answer:
        return self._health(200 if self._is_live() else 503)

    def _ready(self) -> _Answer:
        try:
            self._ledger.count_by_state()
            code = None if self._spool.free() > 0 else ReasonCode.WRITE_FAILED
        except BoneSSLError as error:
            code = error.code
        if code is not None:
            self._metrics.error("ready", code)
            return self._health(503)
        self._metrics.success("ready")
        return self._health(200)

    def _health(self, status: int) -> _Answer:
        errors = self._metrics.last_errors()
        body = {"status": "ok" if status == 200 else "unavailable", "errors": errors}
        return status, "application/json", msgspec.json.encode(body) + b"\n"

    def _numbers(self) -> _Answer:
        try:
            numbers = self._metrics.exposition(
                self._ledger.count_by_state(), self._ledger.count_missing_images()
            )
        except BoneSSLError as error:
            return 503, "text/plain", f"{error}\n".encode()
        return 200, CONTENT_TYPE_LATEST, numbers
