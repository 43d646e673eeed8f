"""Prometheus series of a worker and of the allocator, in this process's default registry. Never a session label.

Times are in seconds. A worker serves them on its own port (`serve`); the port is in its status.
"""

from __future__ import annotations

import errno
from collections import Counter as TCounter
from collections.abc import Iterable, Mapping

from prometheus_client import Counter, Gauge, Histogram, start_http_server

from cluster.integrity import Kind
from cluster.policy import Pool
from cluster.promises import Kept

_CHUNK_BUCKETS = (0.01, 0.025, 0.05, 0.1, 0.2, 0.3, 0.5, 0.75, 1.0, 1.208, 1.5, 2.0, 3.0, 5.0)
_PORTS_TRIED = 100

CHUNK = Histogram(
    "llc_chunk_seconds",
    "Time of one chunk by stage: generate, decode, commit, of which the last two run side by side, and total",
    ["model", "stage"],
    buckets=_CHUNK_BUCKETS,
)
CHUNKS_LATE = Counter(
    "llc_chunk_deadline_missed_total", "Chunks whose first picture came after playout had run dry", ["model"]
)
FRAMES = Counter("llc_frames_total", "Pictures given to the pacer", ["model"])
ENCODED = Counter("llc_frames_encoded_total", "Pictures encoded, each once per codec in use", ["model", "codec"])
DROPPED = Counter("llc_viewer_frames_dropped_total", "Pictures a slow viewer did not get", ["model"])
SESSIONS = Gauge("llc_sessions", "Sessions in this worker's slots", ["model"])
CONNECTIONS = Gauge("llc_connections", "Open connections of this worker", ["model"])
SESSIONS_ENDED = Counter("llc_sessions_ended_total", "Sessions ended on this worker, by reason", ["model", "reason"])
COMMANDS = Counter("llc_commands_total", "Commands by outcome: accepted, refused, invalid", ["model", "outcome"])
FORBIDDEN = Counter("llc_forbidden_total", "What viewers asked for and only directors may", ["model"])
MODERATION = Counter(
    "llc_moderation_total",
    "Texts and pictures by outcome: allow, warn, terminate, unavailable (and refused), passed_unseen",
    ["kind", "outcome"],
)
MODERATION_SECONDS = Histogram("llc_moderation_seconds", "Time until the moderators' verdict, where asked", ["kind"])
SNAPSHOT = Histogram("llc_snapshot_seconds", "Time to write one snapshot to Redis", ["model"])
SNAPSHOT_BYTES = Counter("llc_snapshot_bytes_total", "Bytes of snapshots written to Redis", ["model"])
UNKEPT = Counter("llc_unkept_turns_total", "Answers to commands that left before their effect was in Redis", ["model"])
STORE_RETRIES = Counter("llc_store_retries_total", "Writes to Redis that had to be tried again", ["model"])
FAILURES = Counter("llc_task_failures_total", "Background tasks that ended with an unforeseen error", ["owner"])

WORKERS = Gauge("llc_workers", "Workers of a pool, by state", ["model", "state"])
WAITING = Gauge("llc_queue_waiting", "Sessions waiting for a worker", ["model"])
ADMISSION = Histogram(
    "llc_admission_seconds",
    "Time from the request for a session to its worker",
    ["model"],
    buckets=(0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120, 300),
)
ETA_ERROR = Histogram(
    "llc_eta_error_seconds",
    "How far the wait that was announced when a session was queued was from the wait there was, either way",
    ["model"],
    buckets=(1, 2.5, 5, 10, 20, 30, 60, 120, 300, 600, 1800),
)
ETA_PROMISED = Counter("llc_eta_promised_seconds_total", "Waits announced when sessions were queued", ["model"])
ETA_WAITED = Counter("llc_eta_waited_seconds_total", "How long those sessions then waited", ["model"])
MOVED = Counter("llc_sessions_moved_total", "Sessions that changed their worker, by cause", ["model", "cause"])


VIOLATIONS = Gauge("llc_integrity_violations", "What two looks in a row have found not to hold, by kind", ["kind"])


class OutputMeter:
    """Adds to the counters what a video output has done since the last look."""

    def __init__(self, model: str) -> None:
        self._model = model
        self._encoded: TCounter[str] = TCounter()
        self._dropped = 0

    def observe(self, encoded: Mapping[str, int], dropped: int) -> None:
        """Take the output's counters, which only grow."""
        now = TCounter(encoded)
        for codec, count in (now - self._encoded).items():
            ENCODED.labels(self._model, codec).inc(count)
        DROPPED.labels(self._model).inc(dropped - self._dropped)
        self._encoded, self._dropped = now, dropped


def observe_promise(model: str, kept: Kept) -> None:
    """A session that was told how long it would wait has waited."""
    ETA_ERROR.labels(model).observe(abs(kept.promised_s - kept.waited_s))
    ETA_PROMISED.labels(model).inc(kept.promised_s)
    ETA_WAITED.labels(model).inc(max(0.0, kept.waited_s))


def observe_pool(model: str, pool: Pool) -> None:
    """Bring the pool's gauges up to date."""
    workers = pool.workers.values()
    WAITING.labels(model).set(len(pool.waiting))
    WORKERS.labels(model, "loading").set(sum(not w.ready for w in workers))
    WORKERS.labels(model, "draining").set(sum(w.draining for w in workers))
    WORKERS.labels(model, "busy").set(sum(w.ready and not w.draining and bool(w.sessions) for w in workers))
    WORKERS.labels(model, "idle").set(sum(w.ready and not w.draining and not w.sessions for w in workers))


def observe_integrity(kinds: Iterable[Kind]) -> None:
    """Bring the gauge of violations up to date."""
    found = TCounter(kinds)
    for kind in Kind:
        VIOLATIONS.labels(kind.value).set(found[kind])


def serve(first_port: int) -> int:
    """Serve `/metrics` on the first free port from `first_port` on; the port, 0 if that is 0 or none is free."""
    for port in range(first_port, first_port + _PORTS_TRIED) if first_port else ():
        try:
            start_http_server(port)
        except OSError as error:
            if error.errno != errno.EADDRINUSE:
                raise
        else:
            return port
    return 0
