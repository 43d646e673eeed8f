"""A session on its way to a worker, and what may happen to either in between."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from redis.exceptions import ConnectionError as RedisConnectionError

from cluster.records import Grant
from cluster.settings import PoolSettings
from tests.support.local import LocalWorker
from tests.support.scenes import ECHO, ONE_AND_A_SPARE, TENANT, handles, held, held_by
from tests.support.waiting import eventually, settle
from wire.http import SessionState


class Reserving:
    """Stands between the allocator and a worker and holds `reserve` back."""

    def __init__(self, handle: LocalWorker) -> None:
        self._handle = handle
        self.asked, self.go_on = asyncio.Event(), asyncio.Event()

    async def reserve(self, grant: Grant) -> int:
        self.asked.set()
        await self.go_on.wait()
        return await self._handle.reserve(grant)

    def __getattr__(self, method: str) -> Any:
        return getattr(self._handle, method)


def stand_between(scene) -> Reserving:
    (handle,) = handles(scene.local)
    between = Reserving(handle)
    scene.local.allocator._fleet.handles[handle.worker.name] = between
    return between


@pytest.mark.fast
async def test_deleted_while_it_is_granted_it_leaves_the_slot_free(launch):
    scene = launch(ECHO)
    await scene.local.idle("echo")
    between = stand_between(scene)
    creating = asyncio.create_task(scene.create())
    await between.asked.wait()
    (record,) = await scene.local.store.open_of(TENANT)
    await scene.client.delete_session(TENANT, record.session_id, None)
    between.go_on.set()
    assert (await creating).state is SessionState.CLOSED
    assert held(scene.local) == {}
    assert await scene.opened()
    assert len(scene.local.backend.workers) == 1


@pytest.mark.fast
async def test_a_worker_that_holds_more_than_the_pool_knows_is_left_in_peace_and_used_again(launch):
    scene = launch(ECHO)
    await scene.local.idle("echo")
    session_id = await scene.opened()
    scene.local.allocator._forget(scene.local.allocator._pools["echo"], session_id)
    waiting = await scene.create()
    assert (waiting.state, waiting.queue.position) == (SessionState.PENDING, 0)
    await settle()
    assert held(scene.local) == {session_id: 1}
    await scene.local.worker_of(session_id).close(session_id, "done")
    await scene.held(waiting.session_id)
    assert len(scene.local.backend.workers) == 1


@pytest.mark.fast
async def test_restarted_before_the_worker_has_said_that_it_ended(launch, monkeypatch):
    scene = launch(ECHO)
    session_id = await scene.opened()
    worker = scene.local.worker_of(session_id)
    with monkeypatch.context() as late:
        late.setattr(worker, "_bump", lambda: None)
        await worker._sessions[session_id].end("no client", SessionState.INACTIVE)
        assert scene.local.allocator._pools["echo"].holder(session_id) is not None
        await scene.client.restart_session(TENANT, session_id)
    worker._bump()
    await scene.held(session_id)
    assert held(scene.local) == {session_id: 1}


@pytest.mark.fast
async def test_restarted_while_the_worker_is_still_ending_it(launch, monkeypatch):
    scene = launch(PoolSettings(model="echo", min_warm=1, sessions_per_worker=2))
    session_id = await scene.opened()
    worker = scene.local.worker_of(session_id)
    former = worker._sessions[session_id]
    output = former._outbound.video["main_video"]
    closing, go_on, close = asyncio.Event(), asyncio.Event(), output.close

    async def slowly() -> None:
        closing.set()
        await go_on.wait()
        await close()

    monkeypatch.setattr(output, "close", slowly)
    ending = former.end("no client", SessionState.INACTIVE)
    await closing.wait()
    restarting = asyncio.create_task(scene.client.restart_session(TENANT, session_id))
    await eventually(lambda: session_id in scene.local.allocator._granting)
    go_on.set()
    await asyncio.gather(ending, restarting)
    await scene.held(session_id)
    assert worker._sessions[session_id] is not former
    assert [session.grant.session_id for session in worker._sessions.values()] == [session_id]
    scene.local.allocator._pools["echo"].check_integrity()


@pytest.mark.fast
async def test_a_worker_that_dies_while_it_is_granted(launch):
    scene = launch(ONE_AND_A_SPARE)
    await scene.local.idle("echo")
    between = stand_between(scene)
    creating = asyncio.create_task(scene.create())
    await between.asked.wait()
    (name,) = scene.local.backend.workers
    scene.local.backend.bury(name)
    await eventually(lambda: name not in scene.local.allocator._fleet.handles)
    await scene.local.idle("echo")
    await scene.local.allocator._serve(scene.local.allocator._pools["echo"])
    assert held(scene.local) == {}, "the grant that runs must fail first"
    between.go_on.set()
    session_id = (await creating).session_id
    record = await held_by(scene, session_id, 2)
    assert record.worker != name
    assert record.moves == 1
    assert held(scene.local) == {session_id: 1}


@pytest.mark.fast
async def test_redis_away_during_a_grant_only_delays_it(launch, monkeypatch):
    scene = launch(ECHO, max_queue=0)
    await scene.local.idle("echo")
    load_snapshot, failures = scene.local.store.load_snapshot, []

    async def fail_once(*args: str) -> bytes | None:
        failures.append(args)
        raise RedisConnectionError("fault injected")

    (handle,) = handles(scene.local)
    handle.worker._store.load_snapshot = fail_once
    session_id = (await scene.create()).session_id
    assert len(failures) == 1
    handle.worker._store.load_snapshot = load_snapshot
    await scene.held(session_id)
    assert held(scene.local) == {session_id: 1}
    assert len(scene.local.backend.workers) == 1
