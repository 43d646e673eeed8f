"""Redis of a test's own, and a cluster in this process with whoever connects to it."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from redis.asyncio import Redis

from cluster.allocator import Allocator
from cluster.load import Load
from cluster.records import Grant, SessionRecord
from cluster.redis_server import EmbeddedRedis
from cluster.settings import LimitSettings, PoolSettings, Settings
from cluster.store import Store
from tests.support.local import LocalCluster
from tests.support.rtc_client import WAIT_S, RtcClient
from tests.support.usage_bench import Bench, FaultyStore
from tests.support.waiting import eventually
from wire.http import CreateSession, ModelRef, Role, Session, SessionState

TENANT = "key_tenant"

MakeRecord = Callable[..., SessionRecord]


@pytest.fixture
async def redis(redis_server: EmbeddedRedis) -> AsyncIterator[Redis]:
    async with Redis.from_url(redis_server.url) as client:
        yield client


@pytest.fixture
def store(redis: Redis, settings: Settings) -> Store:
    return Store(redis, settings)


@pytest.fixture
def make_record() -> MakeRecord:
    """A record of a new session; keywords replace its fields."""

    def make(session_id: str = "s1", **fields: Any) -> SessionRecord:
        defaults = {
            "tenant": TENANT,
            "model": "echo",
            "state": SessionState.PENDING,
            "created_at": time.time(),
            "max_duration_s": 60,
        }
        return SessionRecord(session_id=session_id, **(defaults | fields))

    return make


@pytest.fixture
async def grant(store: Store, make_record: MakeRecord) -> Grant:
    """A session in Redis, given to a worker."""
    record = make_record()
    await store.create(record)
    epoch = await store.grant(record.tenant, record.session_id, "w1", time.time())
    deadline = time.time() + record.max_duration_s
    return Grant(record=record.model_copy(update={"epoch": epoch, "worker": "w1"}), deadline=deadline)


@pytest.fixture
def bench(redis: Redis, settings: Settings) -> Bench:
    return Bench(FaultyStore(redis, settings))


class Scene:
    """A cluster, and its clients."""

    def __init__(self, local: LocalCluster) -> None:
        self.local = local
        self.client = local.client
        self.viewers: list[RtcClient] = []

    async def create(self, model: str = "echo", tenant: str = TENANT, **more: Any) -> Session:
        """A new session, wherever it stands."""
        return await self.client.create_session(tenant, CreateSession(model=ModelRef(name=model)), **more)

    async def opened(self, model: str = "echo", tenant: str = TENANT, **more: Any) -> str:
        """The id of a new session that a worker holds."""
        await self.local.idle(model)
        session_id = (await self.create(model, tenant, **more)).session_id
        await self.held(session_id, tenant)
        return session_id

    async def held(self, session_id: str, tenant: str = TENANT) -> None:
        """Wait for a worker."""

        async def waiting_for_clients() -> bool:
            return (await self.client.get_session(tenant, session_id)).state is SessionState.WAITING

        await eventually(waiting_for_clients)

    async def moved(self, session_id: str, worker: str) -> None:
        """Wait until another worker than this one has it."""

        async def elsewhere() -> bool:
            record = await self.local.store.get(TENANT, session_id)
            return record is not None and record.worker not in ("", worker)

        await eventually(elsewhere)

    async def state(self, session_id: str) -> SessionState:
        return (await self.client.get_session(TENANT, session_id)).state

    async def join(
        self, session_id: str, connection_id: int | None = None, *, role: Role = Role.DIRECTOR, **more: Any
    ) -> RtcClient:
        """A client that is connected; it watches from the first picture on."""
        viewer = RtcClient(**more)
        self.viewers.append(viewer)
        if connection_id is None:
            connection_id = await self.client.create_connection(TENANT, session_id, role)
        viewer.connection_id = connection_id
        await self.client.offer(TENANT, session_id, connection_id, await viewer.offer(), role)
        answer = await self.client.answer(TENANT, session_id, connection_id, WAIT_S, role)
        assert answer is not None
        await viewer.accept(answer)
        for track in viewer.received:
            viewer.notify("resume_track", track)
        return viewer

    def tapped(self, session_id: str) -> list[NDArray[np.uint8]]:
        """The pictures that the session gives to playout from now on."""
        output = self.local.session(session_id)._outbound.video["main_video"]
        pictures: list[NDArray[np.uint8]] = []
        push = output.push

        def tap(rgb: NDArray[np.uint8]) -> None:
            pictures.append(rgb.copy())
            push(rgb)

        output.push = tap
        return pictures

    async def close(self) -> None:
        for viewer in self.viewers:
            await viewer.close()
        await self.local.close()


Launch = Callable[..., Scene]


@pytest.fixture
def unmeasured(monkeypatch: pytest.MonkeyPatch) -> None:
    """Workers take as many sessions as they have slots, however slow this machine is now."""
    monkeypatch.setattr(Load, "note", lambda self, cost_s: None)


@pytest.fixture
async def launch(settings: Settings, redis_server: EmbeddedRedis) -> AsyncIterator[Launch]:
    """Starts clusters: `launch(PoolSettings(...), max_queue=1)`; keywords are limits."""
    started: list[Scene] = []

    def start(*pools: PoolSettings, **limits: Any) -> Scene:
        changes = {"pools": pools or (PoolSettings(model="echo", min_warm=1, max_workers=1),)}
        changes["limits"] = LimitSettings(**(settings.limits.model_dump() | limits))
        scene = Scene(LocalCluster(settings.model_copy(update=changes), redis_server.url))
        started.append(scene)
        return scene

    yield start
    for scene in started:
        await scene.close()


@pytest.fixture
async def succeed() -> AsyncIterator[Callable[..., Any]]:
    """Ends a scene's allocator and starts another one over the same workers and Redis; keywords are settings."""
    ended: list[Allocator] = []

    async def replace(scene: Scene, *meanwhile: Callable[[], Any], **changes: Any) -> Allocator:
        await scene.local.allocator.close()
        scene.local.settings = scene.local.backend.settings = scene.local.settings.model_copy(update=changes)
        for happens in meanwhile:
            await happens()
        new = Allocator(scene.local.settings, scene.local.store, scene.local.backend)
        ended.append(scene.local.allocator)
        scene.local.allocator = new
        await asyncio.wait_for(new.ping(), 10)
        return new

    yield replace
    for allocator in ended:
        assert len(allocator._tasks) == 0
