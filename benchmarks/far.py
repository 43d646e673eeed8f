"""A published client behind the kernel's own narrow way: two networks, a token bucket filter between them.

The cluster, all of it but Ray, is in this process and in the one network; the client is a process in the other.
"""

from __future__ import annotations

import asyncio
import json
import sys
import tempfile
from asyncio.subprocess import PIPE
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path as FilePath
from typing import Any

import uvicorn

from benchmarks import pictures
from cluster import logs
from cluster.redis_server import EmbeddedRedis
from cluster.settings import PoolSettings, Settings, StorageSettings
from gateway.app import create_app
from tests.support.link import Path, narrow
from tests.support.local import LocalCluster
from tests.support.netns import Namespace, namespaces, wire
from tests.support.stretch import FPS, SETTINGS, Figures, Stalls

NEAR, FAR = "198.18.45.1", "198.18.45.2"
PORT = 8080
KEY = "rk_links"
LIMIT_S = 60.0
"""Over what is watched: starting a browser, connecting, and the end."""


async def measure(client: str, path: Path, seconds: float) -> tuple[Figures, dict[str, Any], float]:
    """The client's figures, what it counted itself, and how late this process's loop was in all, in s."""
    logs.configure("WARNING")
    with namespaces("links-near", "links-far") as (near, far), pictures.installed():
        wire(near, f"{NEAR}/24", far, f"{FAR}/24")
        narrow(near, path)
        async with _cluster(near):
            stalls = Stalls()
            watching = asyncio.create_task(stalls.watch())
            told = await _watch(far, client, seconds)
            watching.cancel()
    at, played = told["seen"], round(seconds * FPS)
    of_it = [(when, number - at[0][1]) for when, number in at if number - at[0][1] < played]
    return Figures.of(played, of_it), told["counted"], stalls.total_s


async def _watch(far: Namespace, client: str, seconds: float) -> dict[str, Any]:
    command = [*far.prefix, sys.executable, "-m", "benchmarks.far_viewer"]
    arguments = [client, f"http://{NEAR}:{PORT}", KEY, str(seconds)]
    process = await asyncio.create_subprocess_exec(*command, *arguments, stdout=PIPE, limit=2**24)
    try:
        told, _ = await asyncio.wait_for(process.communicate(), seconds + LIMIT_S)
    finally:
        if process.returncode is None:
            process.kill()
    if process.returncode:
        raise RuntimeError(f"the client ended with {process.returncode}")
    answer: dict[str, Any] = json.loads(told)
    return answer


@asynccontextmanager
async def _cluster(network: Namespace) -> AsyncIterator[None]:
    """It serves the pictures in the network, in which this thread is meanwhile."""
    with tempfile.TemporaryDirectory() as folder, EmbeddedRedis() as redis, network.entered():
        settings = Settings(
            api_keys=(KEY,),
            pools=(PoolSettings(model=pictures.NAME, min_warm=1),),
            media=SETTINGS,
            storage=StorageSettings(folder=FilePath(folder)),
            metrics_port=0,
        )
        cluster = LocalCluster(settings, redis.url)
        config = uvicorn.Config(create_app(cluster.client, settings), host=NEAR, port=PORT, log_level="warning")
        server = uvicorn.Server(config)
        serving = asyncio.create_task(server.serve())
        try:
            await cluster.idle(pictures.NAME)
            yield
        finally:
            server.should_exit = True
            await serving
            await cluster.close()
