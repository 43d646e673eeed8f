"""What accounts have used: each second of a session once, in the right state, on the right day, whatever fails."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from datetime import UTC, date, datetime
from typing import Any

import pytest
from prometheus_client import REGISTRY
from redis.exceptions import ConnectionError as RedisConnectionError

from cluster.ledger import PATIENCE_S, Ledger
from cluster.records import Grant
from cluster.settings import PoolSettings, Settings
from cluster.stay import Stay
from cluster.usage import Claim, UsageStore, by_day
from tests.support.clock import FakeClock
from tests.support.grants import granted
from tests.support.waiting import eventually
from wire.http import SessionState
from wire.usage import GpuSeconds, ModelUsage, SessionSeconds

pytestmark = pytest.mark.fast

TENANT = "key_tenant"
DAY = date(2026, 11, 20)
NOON = datetime(2026, 11, 20, 12, tzinfo=UTC).timestamp()
MIDNIGHT = NOON + 43_200
GPU = PoolSettings(model="echo", num_gpus=1)
ECHO = PoolSettings(model="echo", min_warm=1, max_workers=1)


class FaultyStore(UsageStore):
    """Redis that is away, or whose answers are lost, for as long as the test says."""

    away = False
    mute = False
    sent = 0

    async def add(self, writer: str, number: int, entries: Any) -> list[Claim]:
        self.sent += 1
        if self.away:
            raise RedisConnectionError("fault injected")
        refused = await super().add(writer, number, entries)
        if self.mute:
            raise RedisConnectionError("fault injected")
        return refused


class Bench:
    """Workers' ledgers over one Redis, and the time."""

    def __init__(self, store: FaultyStore) -> None:
        self.store = store
        self.wall, self.monotonic = FakeClock(), FakeClock()
        self.wall.now = NOON
        self.ledger = self.new_ledger()

    def new_ledger(self, **more: Any) -> Ledger:
        return Ledger(self.store, wall=self.wall, monotonic=self.monotonic, **more)

    def passes(self, seconds: float) -> None:
        self.wall.advance(seconds)
        self.monotonic.advance(seconds)

    def stay(self, grant: Grant, pool: PoolSettings = GPU, ledger: Ledger | None = None) -> Stay:
        return Stay(ledger or self.ledger, grant, pool)

    async def used(self, day: date = DAY, tenant: str = TENANT) -> ModelUsage:
        found = await self.store.days(tenant, day, day)
        return found[0].models[0] if found else ModelUsage(model="none")

    async def seconds(self, day: date = DAY) -> dict[str, float]:
        """By state, without those of none."""
        return {state: s for state, s in (await self.used(day)).seconds.model_dump().items() if s}


@pytest.fixture
def bench(redis, settings: Settings) -> Bench:
    return Bench(FaultyStore(redis, settings))


# --- days -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("ended_at", "ms", "parts"),
    [
        (NOON, 0, []),
        (NOON, 1500, [(20, 1500)]),
        (MIDNIGHT, 1500, [(20, 1500)]),
        (MIDNIGHT + 1, 1000, [(21, 1000)]),
        (MIDNIGHT + 1, 3500, [(21, 1000), (20, 2500)]),
        (NOON, 48 * 3_600_000, [(20, 43_200_000), (19, 86_400_000), (18, 43_200_000)]),
    ],
)
def test_a_time_is_divided_at_midnight(ended_at: float, ms: int, parts: list[tuple[int, int]]):
    assert list(by_day(ended_at, ms)) == [(date(2026, 11, day), part) for day, part in parts]


# --- a stay ---------------------------------------------------------------------------------------------------------


async def test_each_state_is_counted(bench, grant):
    before = REGISTRY.get_sample_value("llc_session_seconds_total", {"model": "echo", "state": "paused"}) or 0.0
    stay = bench.stay(grant)
    bench.passes(4)
    stay.watched(True)
    bench.passes(2.5)
    stay.playing(True)
    bench.passes(60)
    stay.made(29, 0.8)
    stay.playing(True)
    stay.made(32, 0.7)
    bench.passes(1)
    stay.playing(False)
    bench.passes(8)
    stay.watched(False)
    bench.passes(16)
    stay.stop()
    bench.passes(100)
    stay.stop()
    stay.made(29, 1.0)
    await bench.ledger.write()
    assert await bench.used() == ModelUsage(
        model="echo",
        seconds=SessionSeconds(generating=61, paused=10.5, orphaned=20),
        gpu_seconds=GpuSeconds(generating=61, paused=10.5, orphaned=20),
        busy_seconds=1.5,
        chunks=2,
        frames=61,
    )
    after = REGISTRY.get_sample_value("llc_session_seconds_total", {"model": "echo", "state": "paused"})
    assert after - before == pytest.approx(10.5)
    assert stay.seconds == {"generating": 61, "paused": 10.5, "orphaned": 20}, "for the log of the session itself"


@pytest.mark.parametrize(
    ("gpus", "slots", "gpu_s"), [(0, 1, 0.0), (1, 1, 10.0), (2, 1, 20.0), (1, 3, 3.333), (2, 3, 6.666)]
)
async def test_a_session_has_its_share_of_the_gpus(bench, grant, gpus: int, slots: int, gpu_s: float):
    """In sum over many small writes too."""
    stay = bench.stay(grant, PoolSettings(model="echo", num_gpus=gpus, sessions_per_worker=slots))
    for _ in range(20):
        bench.passes(0.5)
        await bench.ledger.write()
    used = await bench.used()
    assert (used.seconds.orphaned, used.gpu_seconds.orphaned) == (10, gpu_s)
    stay.stop()


async def test_a_stay_over_midnight_is_of_two_days(bench, grant):
    stay = bench.stay(grant)
    bench.passes(43_195)
    stay.watched(True)
    bench.passes(20)
    await bench.ledger.write()
    assert await bench.seconds() == {"orphaned": 43_195, "paused": 5}
    assert await bench.seconds(date(2026, 11, 21)) == {"paused": 15}
    assert [usage.day.day for usage in await bench.store.days(TENANT, DAY, date(2026, 12, 31))] == [20, 21]


async def test_a_clock_that_is_set_changes_the_day_and_no_length(bench, grant):
    bench.stay(grant)
    bench.passes(10)
    bench.wall.advance(86_400)
    await bench.ledger.write()
    bench.passes(5)
    bench.wall.advance(-86_400)
    await bench.ledger.write()
    assert await bench.seconds(date(2026, 11, 21)) == {"orphaned": 10}
    assert await bench.seconds() == {"orphaned": 5}


async def test_days_expire_and_are_listed_by_account(bench, grant, redis, settings: Settings):
    bench.stay(grant)
    bench.passes(1)
    bench.ledger.add("https://id.example:1/:someone", "longlive-v2", "sessions", 2)
    await bench.ledger.write()
    of_day = await bench.store.of_day(DAY)
    assert {name: [each.model for each in usage.models] for name, usage in of_day.items()} == {
        TENANT: ["echo"],
        "https://id.example:1/:someone": ["longlive-v2"],
    }
    keys = [key async for key in redis.scan_iter(f"{settings.cluster}:*usage:*")]
    assert len(keys) == 3
    ttl = settings.limits.usage_ttl_s
    assert all([ttl - 60 < await redis.ttl(key) <= ttl for key in keys])


# --- whose it is ----------------------------------------------------------------------------------------------------


async def test_a_move_counts_no_second_twice(bench, store, grant):
    lost = bench.stay(grant)
    bench.passes(10)
    await bench.ledger.write()
    epoch = await store.grant(grant.tenant, grant.session_id, "w2", 2.0)
    elsewhere = bench.new_ledger()
    stay = bench.stay(granted(grant.session_id, grant.tenant, epoch=epoch), ledger=elsewhere)
    lost.watched(True)
    bench.passes(20)  # the lost worker was only unreachable, and counts on
    lost.made(29, 1.0)
    await elsewhere.write()
    await bench.ledger.write()
    bench.passes(5)
    lost.stop()
    stay.stop()
    await bench.ledger.write()
    await elsewhere.write()
    assert await bench.seconds() == {"orphaned": 35}
    assert (await bench.used()).chunks == 0


async def test_what_was_used_until_a_session_ended_counts_when_its_epoch_is_over(bench, store, grant):
    """As when its account deletes it: the registry knows that before the worker."""
    stay = bench.stay(grant)
    bench.passes(10)
    await store.end(grant.tenant, grant.session_id, SessionState.INACTIVE, "deleted by the client")
    bench.passes(1)
    stay.stop()
    await bench.ledger.write()
    assert await bench.seconds() == {"orphaned": 11}


async def test_a_session_handed_over_counts_though_the_next_worker_is_faster(bench, store, grant):
    stay = bench.stay(grant)
    bench.passes(10)
    stay.was_ours()
    stay.stop()
    await store.grant(grant.tenant, grant.session_id, "w2", 2.0)
    await bench.ledger.write()
    assert await bench.seconds() == {"orphaned": 10}


# --- Redis is away --------------------------------------------------------------------------------------------------


async def test_an_outage_loses_nothing(bench, grant):
    stay = bench.stay(grant)
    bench.passes(10)
    bench.store.away = True
    for _ in range(3):
        with pytest.raises(RedisConnectionError):
            await bench.ledger.write()
        bench.passes(10)
        stay.watched(True)
    stay.stop()
    bench.store.away = False
    await bench.ledger.write()
    assert await bench.seconds() == {"orphaned": 20, "paused": 20}


async def test_a_write_without_an_answer_is_not_counted_twice(bench, grant):
    bench.stay(grant)
    bench.passes(10)
    bench.store.mute = True
    for _ in range(2):
        with pytest.raises(RedisConnectionError):
            await bench.ledger.write()
    bench.store.mute = False
    bench.passes(5)
    await bench.ledger.write()
    assert await bench.seconds() == {"orphaned": 15}


async def test_few_writes(bench, grant):
    stays = [bench.stay(granted(f"s{number}")) for number in range(50)]
    bench.passes(1)
    for stay in stays:
        stay.watched(True)
    await bench.ledger.write()
    await bench.ledger.write()
    assert bench.store.sent == 1, "one for all sessions, none for nothing"


@pytest.fixture
async def running(bench) -> AsyncIterator[Callable[[], int]]:
    """Runs the ledger; how often it has said that it is idle."""
    idle: list[bool] = []
    bench.ledger._idle = lambda: idle.append(True)
    task = asyncio.create_task(bench.ledger.run())
    yield lambda: len(idle)
    task.cancel()
    await asyncio.wait([task])


async def test_the_end_of_a_stay_is_written_at_once(bench, grant, running):
    stay = bench.stay(grant)
    assert not bench.ledger.busy
    bench.passes(10)
    stay.stop()
    assert bench.ledger.busy, "its worker must not leave now"
    await eventually(lambda: running() == 1)
    assert not bench.ledger.busy
    assert await bench.seconds() == {"orphaned": 10}


async def test_a_worker_that_leaves_does_not_wait_for_ever(bench, grant, running, monkeypatch):
    monkeypatch.setattr("cluster.ledger.RETRY_S", 0.01)
    stay = bench.stay(grant)
    bench.passes(10)
    bench.store.away = True
    stay.stop()
    await eventually(lambda: bench.store.sent > 1)
    assert bench.ledger.busy
    assert running() == 0
    bench.passes(PATIENCE_S)
    assert not bench.ledger.busy
    await eventually(running)
    bench.store.away = False
    await eventually(lambda: bench.ledger._away_since is None)
    assert await bench.seconds() == {"orphaned": 10}, "if it is still there"


# --- the queue ------------------------------------------------------------------------------------------------------


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
