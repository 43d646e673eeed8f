"""Why a session ends on a worker, as its clients and its record are told."""

from __future__ import annotations

from cluster import metrics

NO_CLIENT = "no client"
TOO_LONG = "maximum duration reached"
FAILED = "generation failed"
MODERATED = "moderation"
UNMODERATED = "moderation unavailable"
UNUSABLE = "snapshot unusable"
OTHER_VERSION = "snapshot of another version"
UNOPENED = "could not be opened"
SHUT_DOWN = "worker shut down"
FENCED = "moved to another worker"
"""The one reason that neither its clients nor its record are told: the session is not over."""

OUR_FAULT = (FAILED, UNUSABLE, UNOPENED)
"""Reasons for which a session is lost, and not over."""
_KNOWN = (NO_CLIENT, TOO_LONG, FAILED, MODERATED, UNMODERATED, UNUSABLE, OTHER_VERSION, UNOPENED, SHUT_DOWN, FENCED)


def label(reason: str) -> str:
    """Free text from clients must become neither a metric label nor a line in the log."""
    return reason if reason in _KNOWN else "closed"


def count(model: str, reason: str) -> None:
    """Enter the end of a session of this model among the metrics."""
    metrics.SESSIONS_ENDED.labels(model, label(reason)).inc()
    if reason in OUR_FAULT:
        metrics.SESSIONS_LOST.labels(model, reason).inc()
