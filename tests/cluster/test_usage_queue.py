"""What is counted of sessions that wait for a worker, and of those that go from one to another."""

from __future__ import annotations

import time
from datetime import UTC, datetime
from typing import Any

import pytest

from cluster.settings import PoolSettings
from cluster.usage import UsageStore
from tests.support.clock import FakeClock
from tests.support.usage_bench import TENANT
from tests.support.waiting import eventually
from wire.usage import ModelUsage

pytestmark = pytest.mark.fast

ECHO = PoolSettings(model="echo", min_warm=1, max_workers=1)


async def _today(scene: Any) -> ModelUsage:
    await scene.local.allocator._ledger.write()
    today = datetime.now(UTC).date()
    (usage,) = await UsageStore(scene.local.redis, scene.local.settings).days(TENANT, today, today)
    return usage.models[0]


async def test_waits_are_counted_when_they_end_one_way_or_the_other(launch, monkeypatch):
    scene = launch(ECHO)
    runs = await scene.opened()
    served, vanishes = [(await scene.create()).session_id for _ in range(2)]
    assert (await _today(scene)).sessions == 1
    clock, real = scene.local.allocator._clock, time.monotonic
    monkeypatch.setattr(clock, "_monotonic", lambda: real() + 100)
    await scene.client.delete_session(TENANT, vanishes, None)
    assert 100 <= (await _today(scene)).seconds.waiting < 150
    await scene.client.delete_session(TENANT, runs, None)
    await scene.held(served)  # the record says so before the allocator has counted it

    async def counted() -> bool:
        return (await _today(scene)).sessions == 2

    await eventually(counted)  # and not 3: who never got a worker is none
    used = await _today(scene)
    assert 200 <= used.seconds.waiting < 250


async def test_a_session_that_is_moved_has_begun_once_and_its_stays_count(launch, monkeypatch):
    scene = launch(PoolSettings(model="echo", min_warm=1, max_workers=2))
    await scene.local.idle("echo")
    (handle,) = scene.local.backend.workers.values()
    clock = FakeClock()
    monkeypatch.setattr(handle.worker._ledger, "monotonic", clock)
    session_id = await scene.opened()
    clock.advance(1000)
    name = handle.worker.name
    await scene.client.drain(name, 0.0)
    await scene.moved(session_id, name)
    await eventually(lambda: name not in scene.local.backend.workers)
    used = await _today(scene)
    assert used.sessions == 1
    assert 1000 <= used.seconds.orphaned < 1050
