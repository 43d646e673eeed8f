"""A cluster in this process: the real allocator, workers, media and Redis, without Ray between them."""

from __future__ import annotations

import asyncio
from typing import Any

from redis.asyncio import Redis

from cluster.allocator import Allocator
from cluster.api import WorkerApi, WorkerGone, WorkerStatus
from cluster.client import ClusterClient
from cluster.settings import PoolSettings, Settings
from cluster.store import Store
from cluster.tasks import CANCEL_AGAIN_S
from cluster.worker import Worker


class LocalWorker:
    """A worker's handle that can die: after `kill`, every call and every pending one raises WorkerGone."""

    def __init__(self, worker: Worker) -> None:
        self.worker = worker
        self._dead: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._calls: set[asyncio.Task[Any]] = set()

    def kill(self) -> None:
        if not self._dead.done():
            self._dead.set_result(None)

    def __getattr__(self, method):
        async def call(*args):
            if self._dead.done():
                raise WorkerGone(self.worker.name)
            task = asyncio.ensure_future(getattr(self.worker, method)(*args))
            self._calls.add(task)  # it runs on when its caller is gone, as an actor's call does
            task.add_done_callback(self._calls.discard)
            await asyncio.wait([task, self._dead], return_when=asyncio.FIRST_COMPLETED)
            if not task.done():
                task.cancel()
                raise WorkerGone(self.worker.name)
            return task.result()

        return call

    async def finish(self) -> None:
        """End what runs in it, and what nobody waits for any more."""
        await self.worker.shutdown()
        while self._calls:
            for task in self._calls:
                task.cancel()  # again: redis-py can lose it
            await asyncio.wait(self._calls, timeout=CANCEL_AGAIN_S)


class LocalBackend:
    """Workers as objects of this process."""

    def __init__(self, settings: Settings, redis: Redis) -> None:
        self.settings = settings
        self._redis = redis
        self.workers: dict[str, LocalWorker] = {}
        self.buried: list[LocalWorker] = []

    async def spawn(self, name: str, pool: PoolSettings) -> WorkerApi:
        store = Store(self._redis, self.settings)
        worker = Worker(name, pool, self.settings, store, exit_process=lambda: self.bury(name))
        self.workers[name] = LocalWorker(worker)
        return self.workers[name]

    async def names(self) -> list[str]:
        return list(self.workers)

    async def get(self, name: str) -> WorkerApi:
        if name not in self.workers:
            raise WorkerGone(name)
        return self.workers[name]

    async def kill(self, name: str) -> None:
        if name in self.workers:
            self.bury(name)

    def bury(self, name: str) -> None:
        """End a worker as a SIGKILL would be seen by its callers."""
        handle = self.workers.pop(name)
        handle.kill()
        self.buried.append(handle)

    async def close(self) -> None:
        for handle in (*self.workers.values(), *self.buried):
            await handle.finish()


class LocalAllocator:
    """The cluster's allocator by its name: whichever it is now."""

    def __init__(self, cluster: LocalCluster) -> None:
        self._cluster = cluster

    def __getattr__(self, method):
        return getattr(self._cluster.allocator, method)


class LocalCluster:
    """Allocator, workers and client on one Redis."""

    def __init__(self, settings: Settings, redis_url: str) -> None:
        self.settings = settings
        self.redis = Redis.from_url(redis_url)
        self.store = Store(self.redis, settings)
        self.backend = LocalBackend(settings, self.redis)
        self.allocator = Allocator(settings, self.store, self.backend)
        self.client = ClusterClient(settings, self.redis, LocalAllocator(self), self.backend.get)

    def worker_of(self, session_id: str) -> Worker:
        """The worker that holds a session."""
        for handle in self.backend.workers.values():
            if session_id in handle.worker._sessions:
                return handle.worker
        raise LookupError(session_id)

    def session(self, session_id: str):
        """The session object in its worker."""
        return self.worker_of(session_id)._sessions[session_id]

    async def idle(self, model: str) -> WorkerStatus:
        """Wait until a worker of the model is loaded."""
        await self.allocator.ping()
        seq: dict[str, int] = {}
        while True:
            for handle in list(self.backend.workers.values()):
                status = await handle.watch(seq.get(handle.worker.name, -1), 0.05)
                seq[status.name] = status.seq
                if status.model == model and status.state not in ("loading", "exiting"):
                    return status
            await asyncio.sleep(0)

    async def close(self) -> None:
        await self.allocator.close()
        await self.backend.close()
        await self.client.close()
        left = asyncio.all_tasks() - {asyncio.current_task()}
        assert not left, f"tasks that would use Redis after its connections are closed: {left}"
