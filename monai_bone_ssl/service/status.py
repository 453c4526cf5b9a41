"""Health and metrics over HTTP: ``/healthz/live``, ``/healthz/ready``, ``/metrics``."""

from __future__ import annotations

from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread

import msgspec
from prometheus_client import CONTENT_TYPE_LATEST

from monai_bone_ssl.errors import BoneSSLError, ConfigError, ReasonCode
from monai_bone_ssl.service.ledger import Ledger
from monai_bone_ssl.service.metrics import ServiceMetrics
from monai_bone_ssl.service.settings import StatusSettings
from monai_bone_ssl.service.spool import Spool

__all__ = ["StatusServer"]

_Answer = tuple[int, str, bytes]


class StatusServer:
    """Answers probes.

    Live: every thread of the service runs. Ready: the ledger answers and the disk has room. A PACS that is
    down makes neither untrue, because images can still be taken; it is told in ``errors``.

    Parameters
    ----------
    settings
        Where to listen.
    ledger, spool, metrics
        What is told.
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
            self._server = ThreadingHTTPServer((settings.host, settings.port), self._handler())
        except OSError as error:
            text = f"{settings.host}:{settings.port}: cannot be listened on ({error.strerror})"
            raise ConfigError(ReasonCode.INVALID_CONFIG, text) from error
        self._server.daemon_threads = True
        self._thread = Thread(target=self._server.serve_forever, name="status", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """Answer no more."""
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    def _handler(self) -> type[BaseHTTPRequestHandler]:
        answers = {"/healthz/live": self._live, "/healthz/ready": self._ready, "/metrics": self._numbers}

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                answer = answers.get(self.path)
                status, kind, body = answer() if answer else (404, "text/plain", b"not found\n")
                self.send_response(status)
                self.send_header("Content-Type", kind)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, format: str, *args: object) -> None:
                """Probes come every few seconds and say nothing."""

        return Handler

    def _live(self) -> _Answer:
        return self._health(200 if self._is_live() else 503)

    def _ready(self) -> _Answer:
        try:
            self._ledger.count_by_state()
            has_room = self._spool.free() > 0
        except BoneSSLError as error:
            self._metrics.error("ready", error.code)
            return self._health(503)
        if not has_room:
            self._metrics.error("ready", ReasonCode.WRITE_FAILED)
            return self._health(503)
        self._metrics.success("ready")
        return self._health(200)

    def _health(self, status: int) -> _Answer:
        errors = self._metrics.last_errors()
        body = {"status": "ok" if status == 200 else "unavailable", "errors": errors}
        return status, "application/json", msgspec.json.encode(body) + b"\n"

    def _numbers(self) -> _Answer:
        try:
            studies = self._ledger.count_by_state()
        except BoneSSLError as error:
            return 503, "text/plain", f"{error}\n".encode()
        return 200, CONTENT_TYPE_LATEST, self._metrics.exposition(studies)
