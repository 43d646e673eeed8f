"""Somebody sets the machine's clock, by an hour forward or back: what waits, runs and leaves goes on as it was."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from typing import Any

import pytest

from cluster.clock import SteadyClock
from cluster.errors import CreationsExceeded
from cluster.quota import WINDOW_S, Quota
from cluster.settings import PoolSettings
from tests.support.clock import FakeClock
from tests.support.waiting import eventually, settle
from wire.http import SessionState

pytestmark = pytest.mark.fast

TENANT = "key_tenant"
HOUR = 3600.0
ECHO = PoolSettings(model="echo", min_warm=1, max_workers=1)
BOTH_WAYS = pytest.mark.parametrize("by", [HOUR, -HOUR], ids=["forward", "back"])


@pytest.fixture
def set_clock(monkeypatch: pytest.MonkeyPatch) -> Callable[[float], None]:
    """Sets the wall clock of this process by so many seconds."""
    real = time.time

    def by(seconds: float) -> None:
        monkeypatch.setattr(time, "time", lambda: real() + seconds)

    return by


def queue(scene: Any) -> list[str]:
    return [ticket.session_id for ticket in scene.local.allocator._pools["echo"].order()]


@BOTH_WAYS
def test_a_steady_clock_only_passes(by):
    wall, monotonic = FakeClock(), FakeClock()
    wall.advance(1_000_000)
    clock = SteadyClock(wall, monotonic)
    for each in (wall, monotonic):
        each.advance(5)
    assert clock.now() == clock.of(wall()) == 1_000_005
    wall.advance(by)
    assert clock.now() == 1_000_005
    assert clock.of(wall() - 7) == 999_998, "what is written down after the change is as old as it is"


@BOTH_WAYS
async def test_waiters_keep_their_order_and_their_place(launch, set_clock, by):
    scene = launch(ECHO)
    running = await scene.opened()
    before = [(await scene.create()).session_id for _ in range(2)]
    set_clock(by)
    after = [(await scene.create()).session_id for _ in range(2)]
    assert queue(scene) == [*before, *after]
    view = await scene.client.get_session(TENANT, before[0])
    assert 1000 < view.queue.eta_s <= 1200, "the one that runs has as much of its time left as it had"
    await settle()
    assert await scene.state(before[0]) is SessionState.PENDING, "nobody has vanished"
    await scene.client.delete_session(TENANT, running, None)
    await scene.held(before[0])


@BOTH_WAYS
async def test_a_session_keeps_its_time(launch, set_clock, by):
    scene = launch(ECHO)
    running = await scene.opened()
    session = scene.local.session(running)
    loop = asyncio.get_running_loop()
    left = session._timers._duration.when() - loop.time()
    set_clock(by)
    assert session._timers._duration.when() - loop.time() == pytest.approx(left, abs=5)
    assert await scene.state(running) is SessionState.WAITING


async def test_a_session_that_moves_after_the_clock_was_set_back_has_no_more_than_its_time(launch, set_clock):
    scene = launch(PoolSettings(model="echo", min_warm=1, max_workers=2))
    session_id = await scene.opened()
    first = scene.local.worker_of(session_id).name
    set_clock(-HOUR)
    scene.local.backend.bury(first)

    def opened_elsewhere() -> bool:
        held = [handle.worker._sessions.get(session_id) for handle in scene.local.backend.workers.values()]
        return any(session is not None and session._timers._duration is not None for session in held)

    await eventually(opened_elsewhere)
    session = scene.local.session(session_id)
    assert session._timers._duration.when() - asyncio.get_running_loop().time() <= session.grant.record.max_duration_s


@BOTH_WAYS
async def test_a_drain_has_the_time_it_was_given(launch, set_clock, by):
    scene = launch(PoolSettings(model="echo", min_warm=1, max_workers=2))
    session_id = await scene.opened()
    worker = scene.local.worker_of(session_id)
    await scene.client.drain(worker.name, 600.0)
    await eventually(lambda: worker.status().state == "draining")
    set_clock(by)
    scene.local.allocator._look_at = 0.0
    scene.local.allocator._kick.set()
    await eventually(lambda: scene.local.allocator._look_at > 0)
    assert not scene.local.allocator._departures.under_way
    left = scene.local.allocator._departures.leave_at(worker.name) - scene.local.allocator._clock.now()
    assert left == pytest.approx(600, abs=20)
    assert scene.local.worker_of(session_id) is worker


@BOTH_WAYS
async def test_idle_workers_stay_as_long_as_they_should(launch, set_clock, by):
    scene = launch(PoolSettings(model="echo", min_warm=0, max_workers=1, idle_s=600))
    session_id = (await scene.create()).session_id
    await scene.held(session_id)
    await scene.client.delete_session(TENANT, session_id, None)
    set_clock(by)
    scene.local.allocator._look_at = 0.0
    scene.local.allocator._kick.set()
    await eventually(lambda: scene.local.allocator._look_at > 0)
    assert [worker.state for worker in await scene.client.workers()] == ["idle"]


async def test_creations_of_a_time_that_has_yet_to_come_are_not_counted(store, make_record, redis):
    """Redis' own clock was set back."""
    record = make_record()
    created = f"{store._cluster}:{TENANT}:created"
    await store.create(record, Quota(created=1))
    with pytest.raises(CreationsExceeded) as refusal:
        await store.create(make_record("s2"), Quota(created=1))
    assert refusal.value.retry_after_s <= WINDOW_S
    await redis.zincrby(created, HOUR * 1000, record.session_id)
    await store.create(make_record("s2"), Quota(created=1))
