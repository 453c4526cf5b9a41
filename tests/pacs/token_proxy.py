"""A reverse proxy in front of Orthanc that lets requests with a bearer token through, and no other."""

from __future__ import annotations

import base64
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import requests

from pacs.orthanc import PASSWORD, USER, Orthanc

_HOP_BY_HOP = {
    "connection",
    "transfer-encoding",
    "content-length",
    "authorization",
    "host",
    "accept-encoding",
}


class TokenProxy:
    """The proxy.

    Parameters
    ----------
    orthanc
        Where requests go.
    token
        The one that is accepted; may be changed while it runs.
    """

    def __init__(self, orthanc: Orthanc, token: str) -> None:
        self.token = token
        self.accepted: list[str] = []
        """Method and path of every request that was let through."""
        self.refused: list[str | None] = []
        """Authorization of every request that was not."""
        self._orthanc = orthanc
        self._server = ThreadingHTTPServer(("localhost", 0), self._handler())
        self._server.daemon_threads = True

    @property
    def url(self) -> str:
        return f"http://localhost:{self._server.server_address[1]}"

    @contextmanager
    def running(self) -> Iterator[TokenProxy]:
        thread = threading.Thread(target=self._server.serve_forever, daemon=True)
        thread.start()
        try:
            yield self
        finally:
            self._server.shutdown()
            self._server.server_close()
            thread.join()

    def _handler(self) -> type[BaseHTTPRequestHandler]:
        proxy = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                self._forward()

            def do_POST(self) -> None:
                self._forward()

            def _forward(self) -> None:
                body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
                given = self.headers.get("Authorization")
                if given != f"Bearer {proxy.token}":
                    proxy.refused.append(given)
                    self.send_response(401)
                    self.send_header("WWW-Authenticate", "Bearer")
                    self.send_header("Content-Length", "0")
                    self.end_headers()
                    return
                proxy.accepted.append(f"{self.command} {self.path.partition('?')[0]}")
                answer = proxy.ask(self.command, self.path, dict(self.headers), body)
                self.send_response(answer.status_code)
                for name, value in answer.headers.items():
                    if name.lower() not in _HOP_BY_HOP:
                        self.send_header(name, value)
                self.send_header("Content-Length", str(len(answer.content)))
                self.end_headers()
                self.wfile.write(answer.content)

            def log_message(self, format: str, *args: object) -> None:
                """Nobody reads it."""

        return Handler

    def ask(self, method: str, path: str, headers: dict[str, str], body: bytes) -> requests.Response:
        """The archive's answer; it knows a password, not the token."""
        kept = {name: value for name, value in headers.items() if name.lower() not in _HOP_BY_HOP}
        basic = base64.b64encode(f"{USER}:{PASSWORD}".encode()).decode()
        kept |= {"Authorization": f"Basic {basic}", "Accept-Encoding": "identity"}
        return requests.request(method, self._orthanc.url + path, headers=kept, data=body, timeout=30)
