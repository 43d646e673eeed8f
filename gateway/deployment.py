"""The gateway as a Ray Serve application. The only file of this room that knows Ray."""

from __future__ import annotations

from typing import Any

from fastapi import FastAPI
from ray import serve

from cluster import logs
from cluster.client import ClusterClient
from cluster.settings import Settings
from gateway.app import create_app


class Gateway:
    """One replica. It builds its app itself: one given to the decorator would be pickled, globals and all."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._cluster: ClusterClient | None = None

    async def __serve_build_asgi_app__(self) -> FastAPI:
        """Serve calls this once, after the constructor; a replica is ready when the cluster has been reached."""
        logs.configure(self._settings.log_level)
        self._cluster = await ClusterClient.connect(self._settings)
        return create_app(self._cluster, self._settings)

    async def __del__(self) -> None:
        if self._cluster is not None:
            await self._cluster.close()


def build(args: dict[str, Any]) -> serve.Application:
    """Entry point of `serve_config.yaml`; `args` is the settings tree and stops start-up where it is wrong.

    The resolved settings travel to the replicas, so they agree whatever their nodes' environment says.
    """
    deployment: serve.Deployment = serve.deployment(
        name="gateway",
        max_ongoing_requests=512,  # held SDP polls count as ongoing
        ray_actor_options={"num_cpus": 0.1},
        graceful_shutdown_timeout_s=15,  # longer than one held poll; sessions do not live here
        max_surge_percent=100,
    )(serve.ingress()(Gateway))
    return deployment.bind(Settings(**args))
