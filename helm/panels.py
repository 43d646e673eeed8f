"""What the dashboards show. A quantile is over all that `$model` chooses; `$__rate_interval` is Grafana's."""

from __future__ import annotations

from helm.dashboards import Dashboard, Panel

Queries = dict[str, str]
"""By legend."""

_MODEL = 'model=~"$model"'
_TOTAL = f'{_MODEL}, stage="total"'
_NO_GPU = "Workers without a GPU, or without NVML, export none of these."
_NO_FAULT = "Empty or 0 while nothing fails."


def _legend(by: str) -> str:
    return " ".join(f"{{{{{name}}}}}" for name in by.split(", ") if name)


def _rate(series: str, by: str, labels: str = _MODEL) -> str:
    return f"sum by ({by}) (rate({series}{{{labels}}}[$__rate_interval]))"


def _quantile(q: float, series: str, by: str = "model", labels: str = _MODEL) -> str:
    grouped = f"{by}, le" if by else "le"
    return f"histogram_quantile({q}, {_rate(f'{series}_bucket', grouped, labels)})"


def _now(series: str, by: str) -> Queries:
    return {_legend(by): f"sum by ({by}) ({series}{{{_MODEL}}})"}


def _rates(series: str, by: str, labels: str = _MODEL) -> Queries:
    return {_legend(by): _rate(series, by, labels)}


def _ratio(part: str, whole: str, by: str, labels: str = "") -> Queries:
    return {_legend(by): f"{_rate(part, by, labels)} / {_rate(whole, by, labels)}"}


def _quantiles(series: str, by: str = "model", labels: str = _MODEL, of: tuple[float, ...] = (0.5, 0.95)) -> Queries:
    return {f"p{round(100 * q)} {_legend(by)}".strip(): _quantile(q, series, by, labels) for q in of}


def _p95(series: str, by: str, labels: str = _MODEL) -> Queries:
    return {_legend(by): _quantile(0.95, series, by, labels)}


def _stages(*stages: str) -> Queries:
    return _p95("llc_chunk_seconds", "model, stage", f'{_MODEL}, stage=~"{"|".join(stages)}"')


_MISSED = "llc_chunk_deadline_missed_total"
LATE = Panel(
    "Chunks that came late",
    "percentunit",
    {"{{model}}": f"{_rate(_MISSED, 'model')} / {_rate('llc_chunk_seconds_count', 'model', _TOTAL)}"},
)
LEAD = Panel("Left to show when a chunk comes", "s", _quantiles("llc_playout_lead_seconds", of=(0.05, 0.5)))
WORKERS = Panel("Workers", "short", _now("llc_workers", "model, state"))

SESSIONS = Dashboard(
    "sessions",
    "sessions",
    (
        Panel("Open sessions", "short", _now("llc_sessions", "model")),
        Panel("Connections", "short", _now("llc_connections", "model")),
        Panel("Sessions ended", "cps", _rates("llc_sessions_ended_total", "model, reason")),
        Panel("A chunk, of 1.208 s", "s", _quantiles("llc_chunk_seconds", labels=_TOTAL)),
        LATE,
        LEAD,
        Panel("Commands", "cps", _rates("llc_commands_total", "model, outcome")),
        Panel("A command, until it is answered", "s", _quantiles("llc_command_seconds")),
        Panel("Refused by role", "cps", _rates("llc_forbidden_total", "model")),
    ),
)

_MEMORY = "llc_gpu_memory_used_bytes"
GPU = Dashboard(
    "gpu",
    "GPU",
    (
        Panel("GPU utilisation", "percentunit", {"{{gpu}}": "llc_gpu_utilization_ratio"}, _NO_GPU),
        Panel("GPU memory in use", "bytes", {"{{gpu}}": _MEMORY}, _NO_GPU),
        Panel(
            "GPU memory, share in use", "percentunit", {"{{gpu}}": f"{_MEMORY} / llc_gpu_memory_size_bytes"}, _NO_GPU
        ),
        Panel("Text and denoising of a chunk, p95", "s", _stages("text", "denoise")),
        Panel("Decoding and commit of a chunk, p95", "s", _stages("decode", "commit")),
        Panel("A whole chunk, p95", "s", _stages("total")),
        Panel("Device time that sessions ask for", "percentunit", {"{{instance}}": f"llc_device_load{{{_MODEL}}}"}),
        Panel(
            "Sessions off the device",
            "short",
            _now("llc_sessions_offloaded", "model"),
            "Only where sessions share one.",
        ),
        Panel(
            "Taken off, and back, p95", "s", _p95("llc_offload_seconds", "model, way"), "Only where sessions share one."
        ),
        WORKERS,
        Panel("CPU cores in use", "short", {"{{instance}}": "rate(process_cpu_seconds_total[$__rate_interval])"}),
        Panel("Memory of each process", "bytes", {"{{instance}}": "process_resident_memory_bytes"}),
    ),
)

_LOST, _SENT = "llc_rtp_packets_lost_total", "llc_rtp_packets_total"
_MADE = {"{{model}} made": _rate("llc_frames_total", "model")}
_BYTES = _rate("llc_encoded_bytes_total", "model, codec")
MEDIA = Dashboard(
    "media",
    "media quality",
    (
        Panel("Pictures made and encoded", "cps", _MADE | _rates("llc_frames_encoded_total", "model, codec")),
        Panel("Encoded", "bps", {"{{model}} {{codec}}": f"8 * {_BYTES}"}),
        Panel("Encoding and publishing of a chunk, p95", "s", _stages("encode", "publish")),
        Panel("Pictures that waited for an encoder", "cps", _rates("llc_encoder_waits_total", "model")),
        Panel("Pictures slow viewers did not get", "cps", _rates("llc_viewer_frames_dropped_total", "model")),
        LATE,
        Panel("Packets lost", "percentunit", _ratio(_LOST, _SENT, "instance")),
        Panel("Round trip", "s", _quantiles("llc_rtp_round_trip_seconds", "", "")),
        LEAD,
    ),
)

ADMISSION = Dashboard(
    "admission",
    "admission",
    (
        Panel("Waiting, by class", "short", _now("llc_queue_waiting", "model, class")),
        WORKERS,
        Panel("Wait for a worker", "s", _quantiles("llc_admission_seconds")),
        Panel("Sessions that got a worker", "cps", _rates("llc_admission_seconds_count", "model")),
        Panel("Announced waits, off by", "s", _quantiles("llc_eta_error_seconds"), "Only where sessions waited."),
        Panel("Workers that could not load", "cps", _rates("llc_worker_load_failures_total", "model"), _NO_FAULT),
        Panel("Requests", "reqps", _rates("llc_gateway_requests_total", "status", "")),
        Panel("Requests by route, p95", "s", _p95("llc_gateway_request_seconds", "method, route", "")),
        Panel("Requests in progress", "short", {"{{instance}}": "llc_gateway_requests_in_flight"}),
    ),
)

_FAILED = (
    '(sum(rate(llc_gateway_requests_total{status=~"5.."}[$__rate_interval])) or vector(0))'
    " / sum(rate(llc_gateway_requests_total[$__rate_interval]))"
)
RELIABILITY = Dashboard(
    "reliability",
    "reliability",
    (
        Panel("Sessions moved", "cps", _rates("llc_sessions_moved_total", "model, cause"), _NO_FAULT),
        Panel("A move, p95", "s", _p95("llc_session_move_seconds", "model, cause"), _NO_FAULT),
        Panel("Sessions lost", "cps", _rates("llc_sessions_lost_total", "model, reason"), _NO_FAULT),
        Panel("Violations of integrity", "short", {"{{kind}}": "sum by (kind) (llc_integrity_violations)"}),
        Panel("Background tasks that failed", "cps", _rates("llc_task_failures_total", "owner", ""), _NO_FAULT),
        Panel("Requests that failed", "percentunit", {"5xx": _FAILED}),
        Panel("Redis answers", "bool", {"{{process}}": "min by (process) (llc_redis_up)"}),
        Panel("Writes tried again", "cps", _rates("llc_store_retries_total", "model")),
        Panel("Answers that left unkept", "cps", _rates("llc_unkept_turns_total", "model")),
        Panel("A snapshot's write", "s", _quantiles("llc_snapshot_seconds")),
        Panel("Snapshots", "Bps", _rates("llc_snapshot_bytes_total", "model")),
        Panel("Disk free", "percentunit", {"{{instance}} {{use}}": "llc_disk_free_bytes / llc_disk_size_bytes"}),
    ),
)

ALL = (SESSIONS, GPU, MEDIA, ADMISSION, RELIABILITY)
