"""An operator's moderation service: a real HTTP server on loopback whose answers can be changed."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import threading
from collections.abc import Callable
from contextlib import suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Self

from pydantic import SecretStr

from cluster.settings import ModerationSettings

KEY = b"0123456789abcdef0123456789abcdef"
SECRET = f"whsec_{base64.b64encode(KEY).decode()}"


class ModerationServer:
    """Answers what `verdict` makes of a question; `raw` and `status`, once set, are answered instead. While `gate` is
    not set, questions wait."""

    def __init__(self, verdict: Callable[[dict[str, Any]], dict[str, Any]] | None = None) -> None:
        self.verdict = verdict or (lambda asked: {"action": "allow"})
        self.raw: bytes | None = None
        self.statuses: list[int] = []
        """Of the next answers; then 200."""
        self.location = ""
        self.gate = threading.Event()
        self.gate.set()
        self.asked: list[dict[str, Any]] = []
        self.ids: list[str] = []
        self.forged = 0
        """Questions whose signature was wrong."""

    def __enter__(self) -> Self:
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), self._handler())
        self._server.daemon_threads = True
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.01})
        self._thread.start()
        return self

    def __exit__(self, *failure: object) -> None:
        self.gate.set()
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._server.server_port}/moderate"

    @property
    def texts(self) -> list[str]:
        return [asked["text"] for asked in self.asked if asked["kind"] == "text"]

    def settings(self, **changes: Any) -> ModerationSettings:
        return ModerationSettings(webhook_url=self.url, webhook_secret=SecretStr(SECRET), **changes)

    def _signed(self, headers: Any, body: bytes) -> bool:
        signed = f"{headers['webhook-id']}.{headers['webhook-timestamp']}.".encode() + body
        expected = base64.b64encode(hmac.new(KEY, signed, hashlib.sha256).digest()).decode()
        return headers["webhook-signature"] == f"v1,{expected}"

    def _handler(self) -> type[BaseHTTPRequestHandler]:
        outer = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                outer.forged += not outer._signed(self.headers, body)
                outer.ids.append(self.headers["webhook-id"])
                asked = json.loads(body)
                outer.asked.append(asked)
                outer.gate.wait()
                answer = json.dumps(outer.verdict(asked)).encode() if outer.raw is None else outer.raw
                self.send_response(outer.statuses.pop(0) if outer.statuses else 200)
                if outer.location:
                    self.send_header("Location", outer.location)
                self.send_header("Content-Length", str(len(answer)))
                self.end_headers()
                with suppress(ConnectionError):  # whoever asked may have given up
                    self.wfile.write(answer)

            def log_message(self, *args: object) -> None:
                pass

        return Handler
