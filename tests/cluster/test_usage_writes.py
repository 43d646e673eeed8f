"""How what sessions use gets into Redis: each second once, whoever counts it, and whether or not Redis is there."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable

import pytest
from redis.exceptions import ConnectionError as RedisConnectionError

from cluster.ledger import PATIENCE_S
from tests.support.grants import granted
from tests.support.waiting import eventually
from wire.http import SessionState

pytestmark = pytest.mark.fast


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
