"""What `serve` waits for before it says that it is there."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from cli.readiness import until_up, url_of
from wire.http import LoadFailed, Readiness

pytestmark = pytest.mark.fast


@pytest.fixture
def gateway() -> Iterator[tuple[str, list[Readiness]]]:
    """The URL of one that answers with these, the last one for ever."""
    answers: list[Readiness] = []

    class Gateway(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            said = answers.pop(0) if len(answers) > 1 else answers[0]
            self.send_response(200 if said.ready else 503)
            self.end_headers()
            self.wfile.write(said.model_dump_json().encode())

        def log_message(self, *args: object) -> None:
            """Say nothing."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Gateway) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}/ready", answers
        server.shutdown()
        thread.join()


def readiness(troubles: tuple[LoadFailed, ...] = (), **checks: bool) -> Readiness:
    ready = all(checks.values())
    return Readiness(ready=ready, checks=checks, troubles=troubles, models=["echo"], recording=False)


def test_it_waits_for_redis_and_the_allocator_and_not_for_a_model_that_cannot_be_loaded(gateway):
    url, answers = gateway
    failed = readiness((LoadFailed(model="echo"),), redis=True, allocator=True, models=False)
    answers += [readiness(redis=False, allocator=False), readiness(redis=True, allocator=False), failed]
    until_up(url)
    assert answers == [failed]


def test_a_gateway_is_asked_where_it_listens():
    assert [url_of(host, 8080) for host in ("0.0.0.0", "192.0.2.7")] == [
        "http://127.0.0.1:8080",
        "http://192.0.2.7:8080",
    ]
