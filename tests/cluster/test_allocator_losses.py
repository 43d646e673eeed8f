"""Workers that die, hang, leave or cannot load, and what becomes of their sessions."""

from __future__ import annotations

import asyncio
import threading
import time

import pytest
from redis.exceptions import ConnectionError as RedisConnectionError

from cluster import fleet
from cluster.allocator import MAX_MOVES
from cluster.api import WorkerGone
from cluster.errors import NotReady, Unavailable
from cluster.fleet import MISSED_PINGS
from cluster.records import Move
from cluster.settings import PoolSettings
from cluster.store import Store
from models.contract import Replica
from models.echo import EchoModel, EchoReplica
from tests.support.scenes import (
    ECHO,
    ONE_AND_A_SPARE,
    TENANT,
    bury,
    handles,
    held_by,
    in_state,
    numbers,
    record_of,
)
from tests.support.waiting import eventually, settle
from wire.http import SessionState


@pytest.mark.media
async def test_a_session_outlives_its_worker(launch):
    scene = launch(PoolSettings(model="longlive-v2", min_warm=1, max_workers=2), reconnect_grace_s=60.0)
    session_id = await scene.opened("longlive-v2")
    viewer = await scene.join(session_id)
    viewer.command("set_shot", {"prompt": "dunes"})
    viewer.command("schedule_scene_cut", {"prompt": "a storm", "at_session_chunk": 30})
    viewer.command("start")
    await viewer.message("chunk_complete")
    viewer.command("pause")
    done = (await viewer.message("generation_paused"))["chunk_index"] + 1
    journal = scene.local.session(session_id)._journal

    await eventually(lambda: b'"phase":"paused"' in journal._data)
    dead = bury(scene, session_id)
    record = await held_by(scene, session_id, 2)
    assert record.worker != dead
    assert record.moves == 1
    again = await scene.join(session_id, viewer.connection_id)
    state = await again.message("state")
    assert (state["session_chunk"], state["paused"]) == (done, True)
    assert (state["current_prompt"], state["scheduled_scene_cuts"]) == ("dunes", [30])
    again.command("resume")
    complete = await again.message("chunk_complete")
    assert (complete["session_chunk"], complete["active_prompt"]) == (done + 1, "dunes")
    await again.received["main_video"].wait(lambda received: len(numbers(received)) >= 5)
    first = 29 * done
    assert numbers(again.received["main_video"])[:5] == list(range(first, first + 5))


@pytest.mark.fast
async def test_a_call_for_a_session_that_moves_is_held_until_it_has_its_next_worker(launch, monkeypatch):
    scene = launch(PoolSettings(model="echo", max_workers=1))
    session_id = (await scene.create()).session_id
    await scene.held(session_id)
    opening, restored = asyncio.Event(), asyncio.Event()
    load = Store.load_snapshot

    async def load_late(*args):
        opening.set()
        await restored.wait()
        return await load(*args)

    monkeypatch.setattr(Store, "load_snapshot", load_late)
    bury(scene, session_id)
    call = asyncio.create_task(scene.client.create_connection(TENANT, session_id))
    await opening.wait()
    await settle(50)
    assert not call.done(), "what is said before the snapshot is taken up would be lost"
    restored.set()
    assert await call


@pytest.mark.fast
async def test_a_call_is_not_held_for_ever(launch, monkeypatch):
    scene = launch(PoolSettings(model="echo", max_workers=1))
    session_id = (await scene.create()).session_id
    await scene.held(session_id)
    monkeypatch.setattr(scene.client._lookup, "_move_wait_s", 0.0)
    bury(scene, session_id)
    with pytest.raises((Unavailable, NotReady)):
        await scene.client.create_connection(TENANT, session_id)


@pytest.mark.fast
async def test_a_session_whose_next_worker_cannot_open_it_at_once_is_still_one_that_has_moved(launch, monkeypatch):
    scene = launch(ONE_AND_A_SPARE)
    session_id = await scene.opened()
    await eventually(lambda: sum(handle.worker.status().state == "idle" for handle in handles(scene.local)) == 1)
    load, failures = Store.load_snapshot, [RedisConnectionError("a connection of before")]

    async def load_at_last(*args):
        if failures:
            raise failures.pop()
        return await load(*args)

    monkeypatch.setattr(Store, "load_snapshot", load_at_last)
    bury(scene, session_id)
    await held_by(scene, session_id, 3)
    assert scene.local.session(session_id).grant.move is Move.LOST


@pytest.mark.fast
async def test_who_waits_again_is_not_taken_for_one_that_still_does(launch, monkeypatch):
    scene = launch(ECHO)
    first = await scene.opened()
    session_id = (await scene.create()).session_id
    await scene.client.delete_session(TENANT, first, None)
    await held_by(scene, session_id, 1)  # and no client has asked, as where another gateway was
    monkeypatch.setattr(scene.local.backend, "spawn", lambda name, pool: asyncio.Event().wait())
    bury(scene, session_id)
    await eventually(lambda: scene.local.allocator._pools["echo"].waiting)
    assert await scene.state(session_id) is SessionState.WAITING
    assert (await scene.client.get_session(TENANT, session_id)).capabilities is not None


@pytest.mark.fast
async def test_who_lost_a_worker_goes_before_who_has_none_yet(launch):
    scene = launch(ECHO)
    session_id = await scene.opened()
    waiting = (await scene.create()).session_id
    bury(scene, session_id)
    await held_by(scene, session_id, 2)
    assert (await scene.client.get_session(TENANT, waiting)).queue.position == 0


@pytest.mark.fast
async def test_who_lost_a_worker_is_not_taken_for_a_waiter_that_has_vanished(launch, monkeypatch):
    scene = launch(ECHO, queue_poll_grace_s=0.2)
    session_id = await scene.opened()
    loading, load = threading.Event(), EchoModel.load

    def slowly(model: EchoModel, device: str) -> Replica:
        assert loading.wait(10)
        return load(model, device)

    monkeypatch.setattr(EchoModel, "load", slowly)
    bury(scene, session_id)
    vanished = (await scene.create()).session_id
    await in_state(scene, vanished, SessionState.CLOSED)
    loading.set()
    await held_by(scene, session_id, 2)


@pytest.mark.fast
async def test_a_session_that_has_lost_too_many_workers_is_ended(launch):
    scene = launch(ECHO)
    session_id = await scene.opened()
    for moves in range(1, MAX_MOVES + 1):
        bury(scene, session_id)
        assert (await held_by(scene, session_id, moves + 1)).moves == moves
    bury(scene, session_id)
    assert (await in_state(scene, session_id, SessionState.CLOSED)).reason == "too many workers lost"
    assert await scene.opened()


@pytest.mark.fast
async def test_a_worker_that_dies_while_redis_is_away(launch, monkeypatch):
    scene = launch(ONE_AND_A_SPARE)
    session_id = await scene.opened()
    get, tried = scene.local.store.get, asyncio.Event()

    async def away(*args: str) -> None:
        tried.set()
        raise RedisConnectionError("fault injected")

    monkeypatch.setattr(scene.local.store, "get", away)
    bury(scene, session_id)
    await asyncio.wait_for(tried.wait(), 10)
    monkeypatch.setattr(scene.local.store, "get", get)
    assert (await held_by(scene, session_id, 2)).moves == 1


@pytest.mark.fast
async def test_a_worker_that_hangs_is_killed_and_its_session_moves(launch):
    scene = launch(ONE_AND_A_SPARE, heartbeat_s=0.05)
    session_id = await scene.opened()
    worker = scene.local.worker_of(session_id)
    pings = []

    async def hang() -> None:
        pings.append(worker.name)
        await asyncio.Event().wait()

    worker.ping = hang
    record = await held_by(scene, session_id, 2)
    assert record.worker != worker.name
    assert len(pings) == MISSED_PINGS
    assert worker.name not in scene.local.backend.workers


@pytest.mark.fast
async def test_a_ping_that_is_answered_in_between_forgives(launch):
    scene = launch(ECHO, heartbeat_s=0.05)
    await scene.local.idle("echo")
    (handle,) = handles(scene.local)
    pings: list[bool] = []

    async def every_third() -> int:
        pings.append(len(pings) % MISSED_PINGS == MISSED_PINGS - 1)
        if not pings[-1]:
            await asyncio.Event().wait()
        return 0

    handle.worker.ping = every_third
    await eventually(lambda: sum(pings) == 3)
    assert scene.local.backend.workers == {handle.worker.name: handle}


@pytest.mark.media
async def test_a_fenced_worker_closes_its_session_without_telling_the_client_that_it_is_over(launch):
    scene = launch(ECHO)
    session_id = await scene.opened()
    worker = scene.local.worker_of(session_id)
    viewer = await scene.join(session_id)
    await viewer.message("effect_changed")
    await in_state(scene, session_id, SessionState.ACTIVE)
    epoch = await scene.local.store.grant(TENANT, session_id, "elsewhere", time.time())
    viewer.command("set_effect", {"effect": "sepia"})
    await eventually(lambda: not worker._sessions)
    await eventually(viewer.is_closed)
    assert "sessionEnded" not in [kind for kind, _ in viewer.messages]
    record = await record_of(scene, session_id)
    assert (record.worker, record.epoch, record.state) == ("elsewhere", epoch, SessionState.ACTIVE)
    assert b"sepia" not in b"".join(await scene.local.store.load_snapshot(TENANT, session_id) or ())


@pytest.mark.fast
async def test_a_drained_worker_ends_with_its_last_session_and_another_takes_its_place(launch):
    scene = launch(ECHO)
    session_id = await scene.opened()
    (handle,) = handles(scene.local)
    await handle.drain(None)
    waiting = (await scene.create()).session_id
    await scene.held(waiting)
    assert handle.worker._sessions.keys() == {session_id}, "a drained worker keeps what it has"
    await scene.client.delete_session(TENANT, session_id, None)
    await eventually(lambda: handle.worker.name not in scene.local.backend.workers)
    with pytest.raises(WorkerGone):
        await handle.ping()


@pytest.mark.fast
async def test_a_worker_that_cannot_load_is_replaced_after_a_pause(launch, monkeypatch, capsys):
    load, tries = EchoModel.load, []

    def fail_once(model: EchoModel, device: str) -> EchoReplica:
        tries.append(time.monotonic())
        if len(tries) == 1:
            raise ArithmeticError("fault injected")
        return load(model, device)

    scene = launch(ECHO)
    monkeypatch.setattr(EchoModel, "load", fail_once)
    monkeypatch.setattr(fleet, "FIRST_PAUSE_S", 0.05)
    session = await scene.create()
    await scene.held(session.session_id)
    assert len(tries) == 2
    assert len(scene.local.backend.buried) == 1
    said = capsys.readouterr().out
    assert "worker_failed_to_load" in said
    assert "ArithmeticError: fault injected" in said
