"""The workers of a cluster: started, watched, drained, and found again by an allocator that has restarted.

Each worker has one pending `watch`: it brings the worker's word, and its failure is the worker's death. A hang is found
by pings. A worker that cannot load its model is ended, and the next one of its pool is started later and later.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from contextlib import suppress
from typing import Protocol

import structlog

from cluster import metrics
from cluster.api import WorkerApi, WorkerGone, WorkerState, WorkerStatus
from cluster.policy import START_S, Pool
from cluster.settings import PoolSettings, Settings
from cluster.tasks import Tasks
from cluster.words import NoWord, word_of
from wire.http import Disk

log = structlog.get_logger(__name__)

WATCH_S = 25.0
MISSED_PINGS = 3
FIRST_PAUSE_S, LONGEST_PAUSE_S = 5.0, 300.0
"""Before a worker is started after one that could not load."""


class Backend(Protocol):
    """Where workers live."""

    async def spawn(self, name: str, pool: PoolSettings) -> WorkerApi:
        """Start a worker; returns at once, loading goes on."""
        ...

    async def names(self) -> list[str]:
        """Names of the workers that exist."""
        ...

    async def get(self, name: str) -> WorkerApi:
        """A handle by name; raises WorkerGone."""
        ...

    async def kill(self, name: str) -> None:
        """End a worker that hangs or is of no use."""
        ...


class Fleet:
    """Handles and last words of all workers. `heard` is called with each new word, `lost` once per death; `now` is the
    pools' clock."""

    def __init__(
        self,
        settings: Settings,
        backend: Backend,
        tasks: Tasks,
        heard: Callable[[Pool, WorkerStatus], None],
        lost: Callable[[Pool, str], None],
        now: Callable[[], float],
    ) -> None:
        self._cluster = settings.cluster
        self._heartbeat_s = settings.limits.heartbeat_s
        self._backend = backend
        self._tasks = tasks
        self._heard = heard
        self._lost = lost
        self._now = now
        self._spawned_at: dict[str, float] = {}
        self._pause_s: dict[str, float] = {}
        self._paused_until: dict[str, float] = {}
        self._failed: set[str] = set()
        """Models whose newest worker could not load."""
        self._count = 0
        self.handles: dict[str, WorkerApi] = {}
        self.statuses: dict[str, WorkerStatus] = {}
        self.full_disks: dict[str, tuple[Disk, ...]] = {}
        """By name, of the workers that have any."""

    async def scale(self, pool: Pool) -> None:
        """Start the workers that the pool lacks, and let go those it has too many of."""
        model = pool.settings.model
        if time.monotonic() >= self._paused_until.get(model, 0.0):
            for _ in range(pool.to_spawn()):
                await self._spawn(pool)
        for name in pool.to_drain(self._now()):
            self.drain(pool, name, None)

    def fails_to_load(self, pool: Pool) -> bool:
        """Whether the newest worker of a pool could not load, and another try is due: nobody knows how that will end,
        but a pool that nobody wants a worker of is not tried, and so it does not stay failed."""
        model = pool.settings.model
        return model in self._failed and (time.monotonic() < self._paused_until.get(model, 0.0) or pool.wanted() > 0)

    async def names(self) -> list[str]:
        """Of the workers that exist, known here or not. Raises Unavailable."""
        return await self._backend.names()

    async def recover(self, pool: Pool) -> None:
        """Take up the pool's workers that exist already, with what they hold."""
        prefix = worker_prefix(self._cluster, pool.settings.model)
        names = [n for n in await self._backend.names() if n.startswith(prefix) and n not in self.handles]
        await asyncio.gather(*(self._take_up(pool, name) for name in names))

    async def _spawn(self, pool: Pool) -> None:
        self._count += 1
        prefix = worker_prefix(self._cluster, pool.settings.model)
        name = f"{prefix}{int(time.time() * 1000):x}-{self._count}"
        pool.spawned(name, self._now())
        self._spawned_at[name] = self._now()
        self._adopt(pool, name, await self._backend.spawn(name, pool.settings))
        log.info("worker_spawned", worker_id=name)

    def drain(self, pool: Pool, name: str, leave_by: float | None) -> None:
        """Have a worker take nothing new and leave; what it still holds at `leave_by` (unix seconds) is to be moved."""
        pool.drain(name)
        log.info("worker_drained", worker_id=name, leave_by=leave_by)
        self._tasks.start(self._drain(name, leave_by))

    async def _drain(self, name: str, leave_by: float | None) -> None:
        with suppress(KeyError, WorkerGone):  # its watch says so
            await self.handles[name].drain(leave_by)

    async def _take_up(self, pool: Pool, name: str) -> None:
        try:
            handle = await self._backend.get(name)
            async with asyncio.timeout(MISSED_PINGS * self._heartbeat_s):
                status = await word_of(name, pool.settings.model, handle.watch(-1, 0))
        except WorkerGone:
            return
        except (TimeoutError, NoWord) as failure:
            log.error("worker_is_of_no_use", worker_id=name, reason=str(failure) or "no answer")
            await self._backend.kill(name)
            return
        pool.spawned(name, self._now())
        for held in status.sessions:
            pool.hold(name, held.session_id, held.tenant)
        self._hear(pool, status)
        self._adopt(pool, name, handle)

    def _adopt(self, pool: Pool, name: str, handle: WorkerApi) -> None:
        self.handles[name] = handle
        self._tasks.start(self._watch(pool, name, handle))
        self._tasks.start(self._heartbeat(name, handle))

    async def _watch(self, pool: Pool, name: str, handle: WorkerApi) -> None:
        seq = -1
        try:
            while True:
                status = await word_of(name, pool.settings.model, handle.watch(seq, WATCH_S))
                if status.seq != seq:
                    seq = status.seq
                    self._hear(pool, status)
        except WorkerGone:
            pass
        except NoWord as failure:
            log.error("worker_is_of_no_use", worker_id=name, reason=str(failure))
            await self._backend.kill(name)
        self.forget(pool, name)

    def _hear(self, pool: Pool, status: WorkerStatus) -> None:
        name, model = status.name, pool.settings.model
        self.statuses[name] = status
        if status.full_disks:
            self.full_disks[name] = status.full_disks
        else:
            self.full_disks.pop(name, None)
        if status.failure:
            self._has_failed(model, name)
            pause_s = self._pause(model)
            log.error("worker_failed_to_load", worker_id=name, failure=status.failure, next_try_in_s=pause_s)
            self._tasks.start(self._backend.kill(name))
            return
        worker = pool.workers.get(name)
        if worker is not None and not worker.started:
            self._has_its_place(pool, name)
        if worker is not None and not worker.ready and status.state not in (WorkerState.LOADING, WorkerState.EXITING):
            since = self._spawned_at.pop(name, None)
            self._pause_s.pop(model, None)
            self._failed.discard(model)
            pool.loaded(name, self._now() - since if since is not None else None)
        self._heard(pool, status)

    def _has_failed(self, model: str, name: str) -> None:
        self._failed.add(model)
        self._spawned_at.pop(name, None)
        metrics.LOAD_FAILURES.labels(model).inc()

    def _pause(self, model: str) -> float:
        """Seconds until another worker is started."""
        pause_s = self._pause_s[model] = min(2 * self._pause_s.get(model, FIRST_PAUSE_S / 2), LONGEST_PAUSE_S)
        self._paused_until[model] = time.monotonic() + pause_s
        return pause_s

    def _has_its_place(self, pool: Pool, name: str) -> None:
        """Its first word: Ray had a GPU for it, perhaps after a while in which it waited for one."""
        pool.started(name, self._now())
        if name in self._spawned_at:
            self._spawned_at[name] = max(self._spawned_at[name], self._now() - START_S)

    async def _heartbeat(self, name: str, handle: WorkerApi) -> None:
        missed = 0
        while missed < MISSED_PINGS:
            await asyncio.sleep(self._heartbeat_s)
            if name not in self.handles:
                return
            status = self.statuses.get(name)
            if status is None or status.state is WorkerState.LOADING:
                continue
            try:
                async with asyncio.timeout(self._heartbeat_s):
                    await handle.ping()
                missed = 0
            except TimeoutError:
                missed += 1
            except WorkerGone:
                return  # its watch says so
        log.error("worker_hangs", worker_id=name, missed=missed)
        await self._backend.kill(name)

    def forget(self, pool: Pool, name: str) -> None:
        """A worker has ended; may be called by whoever notices first."""
        if self.handles.pop(name, None) is not None:
            self.statuses.pop(name, None)
            self.full_disks.pop(name, None)
            worker = pool.workers.get(name)
            if name in self._spawned_at and worker is not None and not worker.draining:
                self._died_loading(pool.settings.model, name)
            self._lost(pool, name)

    def _died_loading(self, model: str, name: str) -> None:
        """Without a word: of itself, as for want of memory, or with its machine. The next one is started at once, and
        if that dies too, another one after a pause."""
        pause_s = self._pause(model) if model in self._failed else 0.0
        self._has_failed(model, name)
        log.error("worker_died_loading", worker_id=name, next_try_in_s=pause_s)


def worker_prefix(cluster: str, model: str) -> str:
    """Names of the workers of a pool begin so."""
    return f"{cluster}:worker:{model}:"
