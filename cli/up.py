"""Bring the cluster up on this machine, or on the Ray cluster that `RAY_ADDRESS` names."""

from __future__ import annotations

import asyncio
import logging
import signal
import socket
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from types import FrameType

import ray
from ray import serve

from cli.readiness import until_up, url_of
from cluster import remote
from cluster.client import ClusterClient
from cluster.errors import ClusterError
from cluster.settings import Settings
from gateway.deployment import LOGGING, build

APP = "gateway"
STOPPED = "cluster stopped"
PATIENCE_S = 5.0


class PortTaken(RuntimeError):
    """Another program listens where the gateway should."""

    def __init__(self, host: str, port: int) -> None:
        super().__init__(f"port {port} on {host} is taken: stop what listens there, or choose another with --port")


@contextmanager
def running(settings: Settings, host: str, port: int) -> Iterator[str]:
    """The cluster, for as long as the block runs: the URL of its gateway. A Ray that was started here ends with it.

    Then its sessions end with `STOPPED`, unless a Redis of their own keeps them for the next start.

    Raises:
        PortTaken: something listens on the port already.
    """
    _require_free(host, port)
    for chatty in ("ray", "ray.serve"):
        logging.getLogger(chatty).setLevel(logging.WARNING)
    own = remote.start_ray()
    try:
        with ThreadPoolExecutor(1) as beside:
            reached = beside.submit(lambda: asyncio.run(_reach(settings)))  # as the gateway will, once it is there
            serve.start(http_options={"host": host, "port": port}, logging_config=LOGGING)
            serve.run(build(settings.model_dump()), name=APP, route_prefix="/")
            reached.result()
        url = url_of(host, port)
        until_up(f"{url}/ready")
        yield url
        if own and not settings.given_redis:
            asyncio.run(_end_sessions(settings))
    finally:
        if not own:
            serve.delete(APP)
        ray.shutdown()


async def _reach(settings: Settings) -> None:
    """Start what the gateway connects to, if it is not there."""
    await (await ClusterClient.connect(settings)).close()


async def _end_sessions(settings: Settings) -> None:
    """Nothing outlives this cluster: its clients are told so instead of being left to wait for it."""
    cluster = await ClusterClient.connect(settings)
    try:
        async with asyncio.timeout(PATIENCE_S):
            await cluster.end_all(STOPPED)
    except (TimeoutError, ClusterError) as error:
        logging.getLogger(__name__).warning("sessions were not ended: %s", error)
    finally:
        await cluster.close()


def wait_for_signal() -> None:
    """Block until SIGINT or SIGTERM."""
    stop = threading.Event()

    def note(number: int, frame: FrameType | None) -> None:
        stop.set()

    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, note)
    stop.wait()


def _require_free(host: str, port: int) -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError:
            raise PortTaken(host, port) from None
