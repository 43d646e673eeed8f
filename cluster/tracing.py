"""Spans for OpenTelemetry of what a session waits for: `admission`, `offer`, `chunk`, `failover`. Off by default.

A session's id is its trace's id. So every process adds to the same trace without being told where it began, whether a
session is traced is the same everywhere, and who has a session's id has its trace. Nothing that a client has said is in
a span. Those of the last seconds are lost with a process that dies.
"""

from __future__ import annotations

import time
from typing import NamedTuple
from uuid import UUID

from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SpanExporter
from opentelemetry.trace import NonRecordingSpan, SpanContext, TraceFlags, Tracer, set_span_in_context

from cluster.settings import TracingSettings

_LOW = (1 << 64) - 1
_RANDOM_BITS = 48
"""The first ones of a UUID; some of the others tell its version and variant."""


class NoExporter(RuntimeError):
    """Tracing is on and the package that sends spans is not there."""

    def __init__(self) -> None:
        super().__init__("LLC_TRACING__ENDPOINT needs the extra `otlp`: pip install 'longlive-cluster[otlp]'")


class _Tracing(NamedTuple):
    provider: TracerProvider
    tracer: Tracer
    share: float


_tracing: _Tracing | None = None


def start(settings: TracingSettings, process: str, exporter: SpanExporter | None = None) -> None:
    """Have this process send its spans to `settings.endpoint`, or to an exporter; none if there is neither.

    Raises:
        NoExporter: the extra `otlp` is missing.
    """
    global _tracing
    stop()
    if exporter is None and settings.endpoint is None:
        return
    resource = Resource.create({"service.name": "longlive-cluster", "service.instance.id": process})
    provider = TracerProvider(resource=resource, shutdown_on_exit=False)
    provider.add_span_processor(BatchSpanProcessor(exporter or _otlp(str(settings.endpoint))))
    _tracing = _Tracing(provider, provider.get_tracer("longlive-cluster"), settings.share)


def stop() -> None:
    """Send what there is, and no more."""
    global _tracing
    if _tracing is not None:
        _tracing.provider.shutdown()
    _tracing = None


def span(name: str, session_id: str, seconds: float, **attributes: str | int | float) -> None:
    """Something of a session that took so long has just ended."""
    if _tracing is None:
        return
    session = UUID(session_id).int
    if session >> (128 - _RANDOM_BITS) >= _tracing.share * (1 << _RANDOM_BITS):
        return
    whole = SpanContext(session, session & _LOW, is_remote=True, trace_flags=TraceFlags(TraceFlags.SAMPLED))
    ended = time.time_ns()
    begun = _tracing.tracer.start_span(
        name,
        set_span_in_context(NonRecordingSpan(whole)),
        attributes={"session_id": session_id, **attributes},
        start_time=ended - round(seconds * 1e9),
    )
    begun.end(ended)


def _otlp(endpoint: str) -> SpanExporter:
    try:
        from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
    except ImportError as error:
        raise NoExporter from error
    return OTLPSpanExporter(endpoint)
