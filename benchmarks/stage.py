"""A cluster that is there to be broken: real processes, a Redis of its own, and a hand in each of them."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import Any

os.environ["RAY_AUTH_MODE"] = "token"  # a Ray that was started here has one; it is looked at when Ray is imported

import ray

from cluster import remote
from cluster.api import WorkerState, WorkerStatus
from cluster.client import ClusterClient
from cluster.records import SessionRecord
from cluster.settings import PoolSettings, Settings
from cluster.store import Store
from tests.support.redis_process import RedisProcess
from tests.support.server import Server

ALLOCATOR = "ray::_RayAllocator"
REPLICA = "ray::ServeReplica:gateway"
LOOK_EVERY_S = 0.1


class Stage:
    """The running cluster. `cluster` is its inner door, which the gateway uses; clients use `server.url`."""

    def __init__(self, server: Server, redis: RedisProcess, cluster: ClusterClient, store: Store) -> None:
        self.server = server
        self.redis = redis
        self.cluster = cluster
        self.store = store

    @classmethod
    @asynccontextmanager
    async def raised(
        cls, pools: Sequence[Mapping[str, Any]], more: Mapping[str, str] | None = None, host: str = "127.0.0.1"
    ) -> AsyncIterator[Stage]:
        """Bring it up; `more` is for its environment, `host` is where it listens."""
        with (
            RedisProcess() as redis,
            Server.start(pools, "off", {"LLC_REDIS_URL": redis.url, **(more or {})}, host=host) as server,
        ):
            address = f"127.0.0.1:{server.gcs_port}"
            ray.init(address, namespace=remote.NAMESPACE, log_to_driver=False, configure_logging=False)
            settings = Settings(redis_url=redis.url, pools=tuple(PoolSettings(**pool) for pool in pools))
            client = remote.open_redis(redis.url)
            cluster = await ClusterClient.connect(settings)
            try:
                yield cls(server, redis, cluster, Store(client, settings))
            finally:
                await cluster.close()
                await client.aclose()
                ray.shutdown()

    async def record(self, session_id: str) -> SessionRecord:
        """The registry's entry of an open session. Raises LookupError."""
        async for record in self.store.all_open():
            if record.session_id == session_id:
                return record
        raise LookupError(session_id)

    async def holder(self, session_id: str) -> WorkerStatus:
        """The worker that holds a session, by its word. Raises LookupError."""
        for status in await self.cluster.workers():
            if any(held.session_id == session_id for held in status.sessions):
                return status
        raise LookupError(session_id)

    async def spare(self, model: str, limit_s: float = 120.0) -> WorkerStatus:
        """Wait for a loaded worker that holds nothing."""
        async with asyncio.timeout(limit_s):
            while True:
                for status in await self.cluster.workers():
                    if status.model == model and status.state is WorkerState.IDLE:
                        return status
                await asyncio.sleep(LOOK_EVERY_S)

    def kill(self, title: str) -> int:
        """SIGKILL to the processes whose command line begins so: how many there were."""
        pids = self.server.pids(title)
        for pid in pids:
            os.kill(pid, signal.SIGKILL)
        return len(pids)
