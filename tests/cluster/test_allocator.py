"""The queue: who waits, who is refused, and who is served."""

from __future__ import annotations

import asyncio

import pytest

from cluster.client import Allowance
from cluster.errors import NotReady, QueueFull, QuotaExceeded, UnknownModel
from cluster.records import Ticket
from cluster.settings import PoolSettings
from tests.support.scenes import ECHO, TENANT, handles, held, measured, record_of
from tests.support.waiting import eventually
from wire.http import SessionState


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
