"""Spans of a session: they arrive, they share the session's trace, and say nothing of what people said."""

from __future__ import annotations

import random
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from uuid import UUID

import pytest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from cluster import tracing
from cluster.settings import PoolSettings, TracingSettings

SESSION = "0df33f27-1ea9-4647-b127-c75d492e2e29"
WORDS = "an unmistakable prompt"


class Collector(HTTPServer):
    """Takes spans by OTLP over HTTP."""

    def __init__(self) -> None:
        self.requests: list[tuple[str, ExportTraceServiceRequest]] = []
        super().__init__(("127.0.0.1", 0), Post)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}/v1/traces"


class Post(BaseHTTPRequestHandler):
    server: Collector

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        self.server.requests.append((self.path, ExportTraceServiceRequest.FromString(body)))
        self.send_response(200)
        self.end_headers()

    def log_message(self, *line: object) -> None: ...


@pytest.fixture
def collector() -> Iterator[Collector]:
    with Collector() as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield server
        server.shutdown()
        thread.join()


@pytest.fixture
def exporter() -> Iterator[InMemorySpanExporter]:
    """Spans of this process, once `tracing.stop` has sent them."""
    exporter = InMemorySpanExporter()
    yield exporter
    tracing.stop()


@pytest.mark.fast
def test_spans_reach_a_collector(collector: Collector) -> None:
    tracing.start(TracingSettings(endpoint=collector.url), "worker-1")
    tracing.span("admission", SESSION, 1.5, worker_id="worker-2")
    tracing.stop()
    ((path, request),) = collector.requests
    assert path == "/v1/traces"
    (of_process,) = request.resource_spans
    names = {each.key: each.value.string_value for each in of_process.resource.attributes}
    assert (names["service.name"], names["service.instance.id"]) == ("longlive-cluster", "worker-1")
    (span,) = of_process.scope_spans[0].spans
    assert span.trace_id == UUID(SESSION).bytes
    assert span.name == "admission"
    assert span.end_time_unix_nano - span.start_time_unix_nano == 1_500_000_000
    said = {each.key: each.value.string_value for each in span.attributes}
    assert said == {"session_id": SESSION, "worker_id": "worker-2"}


@pytest.mark.fast
def test_a_session_is_traced_everywhere_or_nowhere() -> None:
    chance = random.Random(7)
    sessions = [str(UUID(int=chance.getrandbits(128), version=4)) for _ in range(400)]
    allocator, worker = InMemorySpanExporter(), InMemorySpanExporter()
    for exporter in (allocator, worker):
        tracing.start(TracingSettings(share=0.5), "a process", exporter)
        for session_id in sessions:
            tracing.span("chunk", session_id, 1.0)
        tracing.stop()
    traced = [said(span)["session_id"] for span in worker.get_finished_spans()]
    assert traced == [said(span)["session_id"] for span in allocator.get_finished_spans()]
    assert 160 < len(traced) < 240


@pytest.mark.fast
def test_without_an_address_there_are_none_and_without_the_package_a_word(monkeypatch: pytest.MonkeyPatch) -> None:
    tracing.start(TracingSettings(), "worker")
    tracing.span("chunk", "not even an id", 1.0)
    monkeypatch.setitem(sys.modules, "opentelemetry.exporter.otlp.proto.http.trace_exporter", None)
    with pytest.raises(tracing.NoExporter, match="otlp"):
        tracing.start(TracingSettings(endpoint="http://127.0.0.1:4318/v1/traces"), "worker")


@pytest.mark.media
async def test_what_a_session_waited_for_is_in_its_trace(launch, exporter: InMemorySpanExporter) -> None:
    tracing.start(TracingSettings(), "all", exporter)
    scene = launch(PoolSettings(model="longlive-v2", min_warm=2, max_workers=2))
    session_id = await scene.opened("longlive-v2")
    viewer = await scene.join(session_id)
    viewer.command("set_shot", {"prompt": WORDS})
    viewer.command("start")
    await viewer.message("chunk_complete")
    worker = scene.local.worker_of(session_id).name
    scene.local.backend.bury(worker)
    await scene.moved(session_id, worker)
    await scene.join(session_id)
    tracing.stop()
    spans = exporter.get_finished_spans()
    assert {span.context.trace_id for span in spans if span.context} == {UUID(session_id).int}
    by_name = {span.name: said(span) for span in spans}
    assert set(by_name) == {"admission", "offer", "chunk", "failover"}
    assert by_name["admission"]["worker_id"] == worker
    assert by_name["failover"]["worker_id"] != worker
    assert by_name["failover"]["cause"] == "worker_lost"
    assert by_name["offer"]["role"] == "director"
    assert {"text_s", "denoise_s", "decode_s", "commit_s", "publish_s"} <= by_name["chunk"].keys()
    assert WORDS not in repr([span.to_json() for span in spans])


def said(span: ReadableSpan) -> dict[str, object]:
    return dict(span.attributes or {})
