"""An allocator that takes the place of another: it knows what workers and Redis know."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator

import pytest
from redis.exceptions import ConnectionError as RedisConnectionError

from cluster.records import PriorityClass, SessionRecord
from cluster.settings import PoolSettings
from tests.support.scenes import ECHO, TENANT, bury, handles, held, held_by, record_of
from wire.http import CreateSession, ModelRef, SessionState


@pytest.mark.fast
async def test_a_new_allocator_finds_sessions_and_queue_as_they_were(launch, succeed):
    scene = launch(PoolSettings(model="echo", min_warm=1, max_workers=2))
    running = [await scene.opened() for _ in range(2)]
    waiting = [(await scene.create()).session_id for _ in range(2)]
    before = {session_id: await record_of(scene, session_id) for session_id in running}
    new = await succeed(scene)
    assert {s.session_id for w in await scene.client.workers() for s in w.sessions} == set(running)
    assert [(await scene.client.get_session(TENANT, sid)).queue.position for sid in waiting] == [0, 1]
    assert {session_id: await record_of(scene, session_id) for session_id in running} == before
    assert held(scene.local) == dict.fromkeys(running, 1)
    await scene.client.delete_session(TENANT, running[0], None)
    await scene.held(waiting[0])
    new._pools["echo"].check_integrity()
    assert held(scene.local) == dict.fromkeys([running[1], waiting[0]], 1)
    assert len(scene.local.backend.workers) == 2


@pytest.mark.fast
async def test_a_new_allocator_serves_the_queue_in_the_same_order(launch, succeed):
    """Classes are kept, and a session that was reopened does not pass for one that has waited since it was created."""
    scene = launch(ECHO)
    reopened = await scene.opened()
    await scene.local.worker_of(reopened)._sessions[reopened].end("no client", SessionState.INACTIVE)
    await scene.opened(tenant="key_other")
    classes = [PriorityClass.LOW, PriorityClass.NORMAL, PriorityClass.HIGH, PriorityClass.NORMAL]
    queued = [(await scene.create(priority=each)).session_id for each in classes]
    await scene.client.restart_session(TENANT, reopened)
    expected = [queued[2], queued[1], queued[3], reopened, queued[0]]
    for allocator in (scene.local.allocator, await succeed(scene)):
        pool = allocator._pools["echo"]
        assert [ticket.session_id for ticket in pool.order()] == expected
    assert (await scene.client.get_session(TENANT, queued[2])).queue.eta_s > 600, "the deadline is found again, too"


@pytest.mark.fast
async def test_what_happened_while_there_was_no_allocator(launch, succeed):
    scene = launch(PoolSettings(model="echo", min_warm=1, max_workers=2))
    lost, ended = [await scene.opened() for _ in range(2)]
    waiting = (await scene.create()).session_id

    async def worker_dies() -> None:
        bury(scene, lost)

    async def session_ends() -> None:
        await scene.local.worker_of(ended).close(ended, "done")

    await succeed(scene, worker_dies, session_ends)
    await held_by(scene, lost, 2)
    await scene.held(waiting)
    assert held(scene.local) == {lost: 1, waiting: 1}
    assert await scene.state(ended) is SessionState.CLOSED


@pytest.mark.fast
async def test_more_waiters_than_the_queue_holds_do_not_stop_a_recovery(launch, succeed, make_record):
    scene = launch(ECHO, max_queue=1)
    running = await scene.opened()
    for number in range(3):
        await scene.local.store.create(make_record(f"s{number}", created_at=float(number)))
    await succeed(scene)
    states = [(await record_of(scene, f"s{number}")).state for number in range(3)]
    assert states == [SessionState.PENDING, SessionState.CLOSED, SessionState.CLOSED], "who came last is refused"
    assert held(scene.local) == {running: 1}


@pytest.mark.fast
async def test_waiters_are_entered_again_by_class_and_arrival(launch, succeed, make_record):
    """In whatever order Redis names them: those of a higher class are not refused for those of a lower one."""
    scene = launch(ECHO, max_queue=6)
    await scene.opened()
    classes = list(PriorityClass)
    for number in range(12):
        came = {"created_at": 1000.0 + number, "priority": classes[number % 3], "tenant": f"key_{number}"}
        await scene.local.store.create(make_record(f"s{number}", **came))
    new = await succeed(scene)
    expected = [f"s{number}" for number in (0, 3, 6, 9, 1, 4)]
    assert [ticket.session_id for ticket in new._pools["echo"].order()] == expected
    newest = [number for _, number in new._pools["echo"]._arrivals._newest]
    assert [tenant for _, tenant in newest] == [f"key_{sid[1:]}" for sid in expected]


@pytest.mark.fast
async def test_redis_away_during_recovery_watches_each_worker_once(launch, succeed, monkeypatch):
    scene = launch(ECHO)
    session_id = await scene.opened()
    all_open, tried = scene.local.store.all_open, []

    async def away() -> AsyncIterator[SessionRecord]:
        if not tried:
            tried.append(True)
            raise RedisConnectionError("fault injected")
        async for record in all_open():
            yield record

    monkeypatch.setattr(scene.local.store, "all_open", away)
    new = await succeed(scene)
    assert tried
    names = Counter(task.get_coro().__qualname__ for task in new._tasks._tasks)
    assert names["Fleet._watch"] == names["Fleet._heartbeat"] == 1
    assert new._pools["echo"].holder(session_id) is not None


@pytest.mark.fast
async def test_a_worker_that_does_not_answer_a_new_allocator_is_killed(launch, succeed):
    scene = launch(ECHO, heartbeat_s=0.05)
    session_id = await scene.opened()
    (handle,) = handles(scene.local)

    async def hang() -> None:
        async def forever(*args: object) -> None:
            await asyncio.Event().wait()

        handle.worker.watch = forever

    await succeed(scene, hang)
    assert handle.worker.name not in scene.local.backend.workers
    assert (await held_by(scene, session_id, 2)).worker != handle.worker.name


@pytest.mark.fast
async def test_requests_wait_for_the_recovery(launch):
    scene = launch(ECHO)
    view = await scene.client.create_session(TENANT, CreateSession(model=ModelRef(name="echo")))
    await scene.held(view.session_id)
    assert (await scene.client.ready()).checks == {"redis": True, "allocator": True, "models": True}
