"""The queue and the workers behind it: who waits, who is served, and what happens when parts die."""

from __future__ import annotations

import asyncio
import threading
import time
from collections import Counter
from collections.abc import AsyncIterator
from itertools import groupby
from typing import Any

import pytest
from prometheus_client import REGISTRY
from redis.exceptions import ConnectionError as RedisConnectionError

from cluster import fleet
from cluster.allocator import MAX_MOVES
from cluster.api import WorkerGone
from cluster.client import Allowance
from cluster.errors import NotReady, QueueFull, QuotaExceeded, Unavailable, UnknownModel
from cluster.fleet import MISSED_PINGS
from cluster.records import Grant, Move, PriorityClass, SessionRecord, Ticket
from cluster.settings import PoolSettings
from cluster.store import Store
from longlive import stamp
from models.contract import Replica
from models.echo import EchoModel, EchoReplica
from tests.support.local import LocalCluster, LocalWorker
from tests.support.rtc_client import Received
from tests.support.waiting import eventually, settle
from wire.http import CreateSession, ModelRef, SessionState

TENANT = "key_tenant"
ECHO = PoolSettings(model="echo", min_warm=1, max_workers=1)
ONE_AND_A_SPARE = PoolSettings(model="echo", min_warm=1, max_workers=2)


def handles(local: LocalCluster) -> list[LocalWorker]:
    return list(local.backend.workers.values())


def held(local: LocalCluster) -> Counter[str]:
    """Sessions by how many live workers hold them."""
    return Counter(session_id for handle in handles(local) for session_id in handle.worker._sessions)


async def record_of(scene, session_id: str) -> SessionRecord:
    return await scene.local.store.get(TENANT, session_id)


async def held_by(scene, session_id: str, epoch: int) -> SessionRecord:
    """Wait until a worker holds the session under this epoch."""

    async def reached() -> SessionRecord | None:
        record = await record_of(scene, session_id)
        there = record.epoch == epoch and record.state is SessionState.WAITING and held(scene.local)[session_id]
        return record if there else None

    return await eventually(reached)


async def in_state(scene, session_id: str, state: SessionState) -> SessionRecord:
    async def reached() -> SessionRecord | None:
        record = await record_of(scene, session_id)
        return record if record.state is state else None

    return await eventually(reached)


def bury(scene, session_id: str) -> str:
    """Have the session's worker die; its name."""
    name = scene.local.worker_of(session_id).name
    scene.local.backend.bury(name)
    return name


def measured(series: str) -> float:
    """What Prometheus would read for `echo`."""
    return REGISTRY.get_sample_value(series, {"model": "echo"}) or 0.0


def numbers(received: Received) -> list[int | None]:
    return [number for number, _ in groupby(stamp.read(picture) for picture in received.pictures)]


# --- the queue ------------------------------------------------------------------------------------------------------


@pytest.mark.fast
async def test_the_first_is_served_the_others_wait_in_order(launch):
    scene = launch(ECHO)
    first = await scene.opened()
    second, third = await scene.create(), await scene.create()
    assert [(s.state, s.queue.position) for s in (second, third)] == [
        (SessionState.PENDING, 0),
        (SessionState.PENDING, 1),
    ]
    assert second.capabilities is None
    assert second.selected_transport is None
    with pytest.raises(NotReady):
        await scene.client.create_connection(TENANT, second.session_id)
    await scene.client.delete_session(TENANT, first, None)
    await scene.held(second.session_id)
    view = await scene.client.get_session(TENANT, second.session_id)
    assert view.capabilities is not None
    assert view.selected_transport is not None
    assert view.queue is None
    waiting = await scene.client.get_session(TENANT, third.session_id)
    assert waiting.queue.position == 0
    assert held(scene.local) == {second.session_id: 1}


@pytest.mark.fast
async def test_who_gives_up_waiting_leaves_the_queue(launch):
    scene = launch(ECHO)
    first = await scene.opened()
    second, third = await scene.create(), await scene.create()
    await scene.client.delete_session(TENANT, second.session_id, None)
    assert (await scene.client.get_session(TENANT, third.session_id)).queue.position == 0
    await scene.client.delete_session(TENANT, first, None)
    await scene.held(third.session_id)
    assert await scene.state(second.session_id) is SessionState.CLOSED


@pytest.mark.fast
async def test_a_full_queue_refuses_and_creates_nothing(launch):
    scene = launch(ECHO, max_queue=1)
    await scene.opened()
    waiting = await scene.create()
    with pytest.raises(QueueFull) as refusal:
        await scene.create()
    assert refusal.value.retry_after_s > 0
    assert len(await scene.client.list_sessions(TENANT)) == 2
    assert (await scene.client.get_session(TENANT, waiting.session_id)).queue.position == 0


@pytest.mark.fast
async def test_of_many_that_come_at_once_only_those_beyond_the_limit_are_refused(launch):
    scene = launch(ECHO, max_queue=3)
    await scene.opened()
    answers = await asyncio.gather(*(scene.create() for _ in range(9)), return_exceptions=True)
    told = [answer.session_id for answer in answers if not isinstance(answer, QueueFull)]
    waiting = [await scene.client.get_session(TENANT, session_id) for session_id in told]
    assert sorted(session.queue.position for session in waiting) == [0, 1, 2]
    assert len(await scene.client.list_sessions(TENANT)) == 4


@pytest.mark.fast
async def test_a_models_own_queue_limit_counts_before_the_general_one(launch):
    scene = launch(PoolSettings(model="echo", min_warm=1, max_queue=1), max_queue=100)
    await scene.opened()
    await scene.create()
    with pytest.raises(QueueFull) as refusal:
        await scene.create()
    assert refusal.value.retry_after_s == 60, "the one that runs may run for long, and nobody is told to wait longer"
    assert len(await scene.client.list_sessions(TENANT)) == 2


@pytest.mark.fast
async def test_what_was_announced_to_a_waiter_is_compared_with_its_wait(launch):
    scene = launch(ECHO)
    told = measured("llc_eta_error_seconds_count")
    promised, waited = (measured(f"llc_eta_{what}_seconds_total") for what in ("promised", "waited"))
    first = await scene.opened(allowances=[Allowance(max_duration_s=300)])
    waiting = await scene.create()
    assert waiting.queue.eta_s == 300, "nothing but the deadline is known yet"
    gives_up = await scene.create()
    await scene.client.delete_session(TENANT, gives_up.session_id, None)
    await scene.client.delete_session(TENANT, first, None)
    await scene.held(waiting.session_id)
    assert measured("llc_eta_error_seconds_count") == told + 1, "not of the one that gave up"
    assert measured("llc_eta_promised_seconds_total") == promised + 300
    assert 0 < measured("llc_eta_waited_seconds_total") - waited < 60


@pytest.mark.fast
async def test_a_session_that_cannot_be_restarted_now_can_be_restarted_later(launch):
    scene = launch(ECHO, max_queue=0)
    session_id = await scene.opened()
    await scene.local.worker_of(session_id)._sessions[session_id].end("no client", SessionState.INACTIVE)
    other = await scene.opened()
    with pytest.raises(QueueFull):
        await scene.client.restart_session(TENANT, session_id)
    assert await scene.state(session_id) is SessionState.INACTIVE
    await scene.client.delete_session(TENANT, other, None)
    await scene.client.restart_session(TENANT, session_id)
    await scene.held(session_id)


@pytest.mark.fast
async def test_quota_and_unknown_models_create_nothing(launch):
    scene = launch(ECHO, max_sessions_per_tenant=1)
    first = await scene.opened()
    with pytest.raises(QuotaExceeded):
        await scene.create()
    for model in ("longlive-v2", "no-such-model"):
        with pytest.raises(UnknownModel):
            await scene.create(model, "key_other")
    assert await scene.client.list_sessions("key_other") == []
    assert (await scene.create("owner/echo", "key_other")).state is SessionState.PENDING, "another tenant has its own"
    await scene.client.delete_session(TENANT, first, None)
    assert await scene.create()


@pytest.mark.fast
async def test_a_waiter_that_nobody_asks_about_is_closed(launch):
    scene = launch(ECHO, queue_poll_grace_s=1.0)
    await scene.opened()
    forgotten, asked = await scene.create(), await scene.create()

    async def closed_while_the_other_asks() -> bool:
        await scene.client.get_session(TENANT, asked.session_id)
        return (await record_of(scene, forgotten.session_id)).state is SessionState.CLOSED

    await eventually(closed_while_the_other_asks)
    assert (await record_of(scene, forgotten.session_id)).reason == "client vanished while waiting"
    assert (await scene.client.get_session(TENANT, asked.session_id)).queue.position == 0


@pytest.mark.fast
async def test_asking_twice_is_asking_once(launch):
    scene = launch(ECHO)
    await scene.opened()
    session = await scene.create()
    record = await record_of(scene, session.session_id)
    again = await scene.local.allocator.acquire("echo", [Ticket.of(record), Ticket.of(record)])
    again += await scene.local.allocator.acquire("echo", [Ticket.of(record)])
    assert [place.position for place in again] == [0, 0, 0]
    assert len(scene.local.allocator._pools["echo"].waiting) == 1


@pytest.mark.fast
async def test_sessions_share_a_worker_with_slots_and_workers_come_and_go_with_them(launch):
    scene = launch(PoolSettings(model="echo", max_workers=2, sessions_per_worker=2, idle_s=0))
    sessions = [(await scene.create()).session_id for _ in range(3)]
    for session_id in sessions:
        await scene.held(session_id)
    assert sorted(len(handle.worker._sessions) for handle in handles(scene.local)) == [1, 2]
    for session_id in sessions:
        await scene.client.delete_session(TENANT, session_id, None)
    await eventually(lambda: not scene.local.backend.workers)
    assert await scene.client.workers() == []
    again = (await scene.create()).session_id
    await scene.held(again)


# --- races ----------------------------------------------------------------------------------------------------------


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


# --- workers that die, hang or are fenced ---------------------------------------------------------------------------


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


# --- a new allocator ------------------------------------------------------------------------------------------------


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
