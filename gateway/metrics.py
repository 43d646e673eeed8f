"""Prometheus metrics of one gateway process, in a registry of its own. No session, tenant or path as a label.

They are no part of the app, which is open to everybody: the process serves them on a port of its own.
"""

from __future__ import annotations

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

_BUCKETS_S = (0.005, 0.01, 0.025, 0.05, 0.1, 0.15, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)
_METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "DELETE", "OPTIONS"})


class Metrics:
    """Counts and latencies by route template."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self._requests = Counter(
            "llc_gateway_requests", "Answered requests", ("method", "route", "status"), registry=self.registry
        )
        self._seconds = Histogram(
            "llc_gateway_request_seconds",
            "Time to the end of the answer; the SDP poll is held on purpose",
            ("method", "route"),
            buckets=_BUCKETS_S,
            registry=self.registry,
        )
        self._failures = Counter(
            "llc_gateway_failures", "Failures that no error type describes", ("route",), registry=self.registry
        )
        self.in_flight = Gauge("llc_gateway_requests_in_flight", "Requests being answered", registry=self.registry)

    def answered(self, method: str, route: str, status: int, seconds: float) -> None:
        """Count one request; an unheard-of method is counted as `other`."""
        method = method if method in _METHODS else "other"
        self._requests.labels(method, route, str(status)).inc()
        self._seconds.labels(method, route).observe(seconds)

    def failed(self, route: str) -> None:
        """Count one unknown failure."""
        self._failures.labels(route).inc()
