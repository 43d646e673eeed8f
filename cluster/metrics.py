"""Prometheus series of a worker and of the allocator, in this process's default registry. Never a session label.

All of them are in docs/metrics.md, in the same words. Times are in seconds. Each process serves its own on a port of
its own (`serve`); a worker's port is in its status.
"""

from __future__ import annotations

import errno
from collections import Counter as TCounter
from collections.abc import Iterable
from pathlib import Path

from prometheus_client import REGISTRY, CollectorRegistry, Counter, Gauge, Histogram, start_http_server

from cluster.disks import space
from cluster.integrity import Kind
from cluster.policy import Pool
from cluster.promises import Kept
from cluster.records import Move, PriorityClass

STAGES = ("text", "denoise", "commit", "decode", "encode", "publish", "total")
CLASSES = ("moved", *PriorityClass)
"""Of waiters, by their rank."""
_CHUNK_BUCKETS = (0.01, 0.025, 0.05, 0.1, 0.2, 0.3, 0.5, 0.75, 1.0, 1.208, 1.5, 2.0, 3.0, 5.0)
_LEAD_BUCKETS = (0.0, 0.025, 0.05, 0.1, 0.2, 0.3, 0.5, 0.75, 1.0, 1.208, 1.5, 2.5)
_WAIT_BUCKETS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120, 300)
_PORTS_TRIED = 100

CHUNK = Histogram(
    "llc_chunk_seconds",
    "Time of one chunk by stage; decode and commit run side by side, encode is one codec's, total ends before encode",
    ["model", "stage"],
    buckets=_CHUNK_BUCKETS,
)
LEAD = Histogram(
    "llc_playout_lead_seconds",
    "How long before the first was due a chunk's pictures came; 0 where they were late",
    ["model"],
    buckets=_LEAD_BUCKETS,
)
CHUNKS_LATE = Counter("llc_chunk_deadline_missed_total", "Chunks whose first picture came after it was due", ["model"])
FRAMES = Counter("llc_frames_total", "Pictures given to the pacer", ["model"])
ENCODED = Counter("llc_frames_encoded_total", "Pictures encoded, each once per codec in use", ["model", "codec"])
ENCODED_BYTES = Counter("llc_encoded_bytes_total", "Bytes of pictures as encoded, once per codec", ["model", "codec"])
ENCODER_WAITS = Counter("llc_encoder_waits_total", "Times that a due picture had to wait for an encoder", ["model"])
DROPPED = Counter("llc_viewer_frames_dropped_total", "Pictures a slow viewer did not get", ["model"])
PACKETS = Counter("llc_rtp_packets_total", "Packets of video that receivers' reports cover, received or lost")
PACKETS_LOST = Counter("llc_rtp_packets_lost_total", "Packets of video that receivers report as lost")
ROUND_TRIP = Histogram(
    "llc_rtp_round_trip_seconds",
    "Round trip to a receiver, by its reports",
    buckets=(0.001, 0.005, 0.01, 0.025, 0.05, 0.1, 0.15, 0.2, 0.3, 0.5, 1.0, 2.0),
)
PORTS_EXHAUSTED = Counter("llc_media_ports_exhausted_total", "Offers refused as no port of LLC_MEDIA__PORTS was free")
DEVICE_LOAD = Gauge(
    "llc_device_load", "Share of the device's time that the sessions on it ask for, by recent chunks", ["model"]
)
OFFLOAD = Histogram(
    "llc_offload_seconds", "Time to take a resting session off the device (out), and to bring it back", ["model", "way"]
)
OFFLOAD_BYTES = Counter("llc_offload_bytes_total", "Bytes of sessions that were taken off the device", ["model"])
OFFLOADED = Gauge("llc_sessions_offloaded", "Sessions in this worker's slots that are off the device", ["model"])
SESSIONS = Gauge("llc_sessions", "Sessions in this worker's slots", ["model"])
CONNECTIONS = Gauge("llc_connections", "Open connections of this worker", ["model"])
SESSIONS_ENDED = Counter("llc_sessions_ended_total", "Sessions ended on this worker, by reason", ["model", "reason"])
SESSIONS_LOST = Counter(
    "llc_sessions_lost_total", "Sessions ended by a fault of this side, by reason", ["model", "reason"]
)
SESSION_SECONDS = Counter(
    "llc_session_seconds_total",
    "Seconds of sessions by what they did; those of a wait come when it ends",
    ["model", "state"],
)
COMMANDS = Counter("llc_commands_total", "Commands by outcome: accepted, refused, invalid", ["model", "outcome"])
COMMAND = Histogram(
    "llc_command_seconds",
    "Time from a command on the data channel to its answer, its files, its verdict and Redis included",
    ["model"],
)
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
LOAD_FAILURES = Counter("llc_worker_load_failures_total", "Workers that could not load their model", ["model"])
WAITING = Gauge("llc_queue_waiting", "Sessions waiting for a worker, by class", ["model", "class"])
ADMISSION = Histogram(
    "llc_admission_seconds",
    "Time from the request for a session to its worker",
    ["model"],
    buckets=_WAIT_BUCKETS,
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
MOVE = Histogram(
    "llc_session_move_seconds",
    "Time from the loss of a session's worker, or its hand-over, until another one has taken it up",
    ["model", "cause"],
    buckets=_WAIT_BUCKETS,
)
VIOLATIONS = Gauge("llc_integrity_violations", "What two looks in a row have found not to hold, by kind", ["kind"])
REDIS_UP = Gauge("llc_redis_up", "Whether Redis has answered the newest look of this kind of process", ["process"])

DISK_FREE = Gauge("llc_disk_free_bytes", "Free on the disk of open sessions' recordings, or of stored files", ["use"])
DISK_SIZE = Gauge("llc_disk_size_bytes", "Size of that disk", ["use"])


_OF_WORKERS: tuple[Counter | Gauge | Histogram, ...] = (
    *(SESSIONS, CONNECTIONS, OFFLOADED, CHUNKS_LATE, LEAD, FRAMES, ENCODER_WAITS, DROPPED),
    *(COMMAND, FORBIDDEN, SNAPSHOT, SNAPSHOT_BYTES, UNKEPT, STORE_RETRIES),
)
_OF_POOLS: tuple[Counter | Gauge | Histogram, ...] = (LOAD_FAILURES, ADMISSION, ETA_ERROR, ETA_PROMISED, ETA_WAITED)


def begin_worker(model: str, faults: Iterable[str]) -> None:
    """Have a worker's series there from the start: an increase from nothing to one is none to Prometheus.

    `faults` are the reasons for which sessions may be lost.
    """
    for each in _OF_WORKERS:
        each.labels(model)
    for outcome in ("accepted", "refused", "invalid"):
        COMMANDS.labels(model, outcome)
    for reason in faults:
        SESSIONS_LOST.labels(model, reason)
    SESSIONS_ENDED.labels(model, "closed")
    for state in ("generating", "paused", "orphaned"):
        SESSION_SECONDS.labels(model, state)
    for owner in ("session", "worker", "engine", "device", "recorder", "archive"):
        FAILURES.labels(owner)


def begin_allocator(models: Iterable[str]) -> None:
    """The same for an allocator."""
    for model in models:
        for each in _OF_POOLS:
            each.labels(model)
        SESSION_SECONDS.labels(model, "waiting")
        for reason in ("too many workers lost", "queue full"):
            SESSIONS_LOST.labels(model, reason)
        for cause in Move:
            MOVED.labels(model, cause.value)
            MOVE.labels(model, cause.value)
    FAILURES.labels("allocator")
    observe_integrity(())


def watch_disk(use: str, folder: Path) -> None:
    """Export how full the disk of a folder is, looked at when Prometheus asks. The folder need not be there yet."""
    DISK_FREE.labels(use).set_function(lambda: space(folder).free)
    DISK_SIZE.labels(use).set_function(lambda: space(folder).size)


def observe_promise(model: str, kept: Kept) -> None:
    """A session that was told how long it would wait has waited."""
    ETA_ERROR.labels(model).observe(abs(kept.promised_s - kept.waited_s))
    ETA_PROMISED.labels(model).inc(kept.promised_s)
    ETA_WAITED.labels(model).inc(max(0.0, kept.waited_s))


def observe_pool(model: str, pool: Pool) -> None:
    """Bring the pool's gauges up to date."""
    workers = pool.workers.values()
    waiting = TCounter(ticket.priority for ticket in pool.waiting.values())
    for rank, name in enumerate(CLASSES):
        WAITING.labels(model, name).set(waiting[rank])
    WORKERS.labels(model, "loading").set(sum(not w.ready for w in workers))
    WORKERS.labels(model, "draining").set(sum(w.draining for w in workers))
    WORKERS.labels(model, "busy").set(sum(w.ready and not w.draining and bool(w.sessions) for w in workers))
    WORKERS.labels(model, "idle").set(sum(w.ready and not w.draining and not w.sessions for w in workers))


def observe_integrity(kinds: Iterable[Kind]) -> None:
    """Bring the gauge of violations up to date."""
    found = TCounter(kinds)
    for kind in Kind:
        VIOLATIONS.labels(kind.value).set(found[kind])


def serve(first_port: int, registry: CollectorRegistry = REGISTRY) -> int:
    """Serve `/metrics` on the first free port from `first_port` on; the port, 0 if that is 0 or none is free."""
    for port in range(first_port, first_port + _PORTS_TRIED) if first_port else ():
        try:
            start_http_server(port, registry=registry)
        except OSError as error:
            if error.errno != errno.EADDRINUSE:
                raise
        else:
            return port
    return 0
