"""What accounts have used: each second of a session once, in the right state, on the right day."""

from __future__ import annotations

from datetime import date

import pytest
from prometheus_client import REGISTRY

from cluster.settings import PoolSettings, Settings
from cluster.usage import by_day
from tests.support.usage_bench import DAY, NOON, TENANT
from wire.usage import GpuSeconds, ModelUsage, SessionSeconds

pytestmark = pytest.mark.fast

MIDNIGHT = NOON + 43_200


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
