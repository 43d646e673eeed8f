"""The gateway as a Ray Serve application. The only file of this room that knows Ray."""

from __future__ import annotations

from typing import Any

import structlog
from fastapi import FastAPI
from prometheus_client import CollectorRegistry, ProcessCollector
from ray import serve

from cluster import logs, metrics, pauses
from cluster.client import ClusterClient
from cluster.settings import Settings
from gateway.app import create_app

_log = structlog.get_logger(__name__)

MOST_AT_ONCE = 16_384
"""Requests that a replica answers at a time, those that are held among them: polls for SDP answers, and as many streams
of events as sessions wait. Beyond it Serve would let all requests wait, the polls of those that wait included."""

LOGGING: dict[str, Any] = {"encoding": "JSON", "enable_access_log": False}
"""Of Serve itself. Requests are in our own log, with their ids."""

ONE_LOOP = {"RAY_SERVE_RUN_USER_CODE_IN_SEPARATE_THREAD": "0"}
"""Nothing here blocks, so the app runs in the loop that reads the requests: no message changes threads on its way."""


class Gateway:
    """One replica. It builds its app itself: one given to the decorator would be pickled, globals and all."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._cluster: ClusterClient | None = None

    async def __serve_build_asgi_app__(self) -> FastAPI:
        """Serve calls this once, after the constructor; a replica is ready when the cluster has been reached."""
        logs.configure(self._settings.log_level)
        self._cluster = await ClusterClient.connect(self._settings)
        app = create_app(self._cluster, self._settings)
        self._serve_metrics(app.state.metrics.registry)
        pauses.keep_short()
        return app

    def _serve_metrics(self, registry: CollectorRegistry) -> None:
        """On a port of this replica's own: by the one they share, any of them would answer with its counts."""
        ProcessCollector(registry=registry)
        port = metrics.serve(self._settings.metrics_port, registry)
        _log.info("gateway_started", metrics_port=port)

    async def __del__(self) -> None:
        if self._cluster is not None:
            await self._cluster.close()


def deployment() -> serve.Deployment:
    """The gateway without its settings; to be bound to them."""
    made: serve.Deployment = serve.deployment(
        name="gateway",
        max_ongoing_requests=MOST_AT_ONCE,
        ray_actor_options={"num_cpus": 0.1, "runtime_env": {"env_vars": ONE_LOOP}},
        logging_config=LOGGING,
        graceful_shutdown_timeout_s=15,  # longer than one held poll; sessions do not live here
        max_surge_percent=100,
    )(serve.ingress()(Gateway))
    return made


def build(args: dict[str, Any]) -> serve.Application:
    """Entry point of `serve_config.yaml`; `args` is the settings tree and stops start-up where it is wrong.

    The resolved settings travel to the replicas, so they agree whatever their nodes' environment says.
    """
    return deployment().bind(Settings(**args))
