"""A session's writes: the newest state wins, a burst is one write, fencing is noticed, Redis may go away."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest
from prometheus_client import REGISTRY
from redis.exceptions import ConnectionError as RedisConnectionError

from cluster import journal, metrics
from cluster.journal import Journal, Snapshot
from cluster.records import Grant
from cluster.settings import Settings
from cluster.store import Store
from tests.support.waiting import eventually, settle
from wire.http import SessionState

pytestmark = pytest.mark.fast


class FaultyStore(Store):
    """The store, which counts writes, and fails or stands still for as long as the test says."""

    writes = 0
    away = False

    def __init__(self, *args: Any) -> None:
        super().__init__(*args)
        self.gate = asyncio.Event()
        self.gate.set()

    async def update(self, *args: Any, **fields: Any) -> bool:
        await self._pass()
        return await super().update(*args, **fields)

    async def save_snapshot(self, *args: Any) -> bool:
        await self._pass()
        return await super().save_snapshot(*args)

    async def _pass(self) -> None:
        self.writes += 1
        await self.gate.wait()
        if self.away:
            raise RedisConnectionError("fault injected")


class Bench:
    """A journal whose snapshots carry a number."""

    def __init__(self, store: FaultyStore, grant: Grant) -> None:
        self.store, self.grant = store, grant
        self.number = 0
        self.taken = 0
        self.fenced = 0
        self.journal = Journal(store, grant, self._fenced)
        self.task = asyncio.create_task(self.journal.run())

    def _fenced(self) -> None:
        self.fenced += 1

    def _take(self) -> Snapshot:
        self.taken += 1
        return Snapshot(model="echo", director={"number": self.number}, stream=b"\x00\xff")

    def change(self, number: int) -> None:
        self.number = number
        self.journal.keep(self._take)

    async def kept(self) -> int | None:
        parts = await self.store.load_snapshot(self.grant.tenant, self.grant.session_id)
        return None if parts is None else Snapshot.of(*parts).director["number"]

    async def record(self):
        return await self.store.get(self.grant.tenant, self.grant.session_id)

    async def has_kept(self, number: int) -> None:
        async def same() -> bool:
            return await self.kept() == number

        await eventually(same)

    async def move(self) -> int:
        """Another worker takes over."""
        return await self.store.grant(self.grant.tenant, self.grant.session_id, "w2", 2.0)

    def retries(self) -> float:
        return metrics.STORE_RETRIES.labels(self.grant.model)._value.get()


@pytest.fixture
async def bench(redis, settings: Settings, grant: Grant) -> AsyncIterator[Bench]:
    bench = Bench(FaultyStore(redis, settings), grant)
    yield bench
    bench.task.cancel()
    await asyncio.wait([bench.task])


async def test_a_snapshot_survives_its_encoding():
    snapshot = Snapshot(model="echo", director={"a": [1, None, "é"]}, stream=bytes(range(256)))
    assert Snapshot.of(snapshot.data(), snapshot.stream) == snapshot
    assert Snapshot.of(snapshot.model_dump_json().encode(), b"") == snapshot, "in one piece, as it is saved"


async def test_fields_and_snapshots_reach_redis(bench):
    assert await bench.journal.take_up(SessionState.WAITING)
    assert (await bench.record()).state is SessionState.WAITING
    bench.journal.note(state="ACTIVE", moves=1)
    bench.change(7)
    await bench.has_kept(7)
    record = await bench.record()
    assert (record.state, record.moves) == (SessionState.ACTIVE, 1)


async def test_a_burst_of_changes_costs_one_write_and_the_newest_wins(bench):
    bench.store.gate.clear()
    bench.change(0)
    await eventually(lambda: bench.store.writes == 1)
    for number in range(1, 100):
        bench.change(number)
        await asyncio.sleep(0)
    bench.store.gate.set()
    await bench.has_kept(99)
    await settle()
    assert bench.store.writes == 2
    assert bench.taken == 2


async def test_fields_noted_during_a_write_are_written_after_it(bench):
    bench.store.gate.clear()
    bench.journal.note(state="ACTIVE")
    await eventually(lambda: bench.store.writes == 1)
    bench.journal.note(state="SUSPENDED")
    bench.store.gate.set()

    async def suspended() -> bool:
        return (await bench.record()).state is SessionState.SUSPENDED

    await eventually(suspended)
    assert bench.store.writes == 2


async def test_what_has_not_changed_is_not_written_again(bench):
    bench.change(1)
    await bench.has_kept(1)
    writes = bench.store.writes
    bench.change(1)
    await eventually(lambda: bench.taken == 2)
    bench.change(2)
    await bench.has_kept(2)
    assert bench.store.writes == writes + 1


async def test_a_newer_epoch_calls_back_once_and_ends_the_journal(bench):
    bench.change(1)
    await bench.has_kept(1)
    epoch = await bench.move()
    await bench.store.save_snapshot(bench.grant.tenant, bench.grant.session_id, epoch, b"theirs")
    bench.change(2)
    bench.journal.note(state="ACTIVE")
    await asyncio.wait_for(bench.task, 10)
    assert bench.fenced == 1
    record = await bench.record()
    assert (record.worker, record.state) == ("w2", SessionState.PENDING)
    assert await bench.store.load_snapshot(bench.grant.tenant, bench.grant.session_id) == (b"theirs", b"\x00\xff")
    bench.change(3)
    await settle()
    assert bench.fenced == 1
    assert not await bench.journal.end(SessionState.CLOSED, "late")
    assert (await bench.record()).state is SessionState.PENDING


async def test_redis_may_come_back_empty(bench):
    bench.journal.note(state="ACTIVE")
    bench.change(1)
    await bench.has_kept(1)
    await bench.store.redis.flushdb()
    bench.change(2)
    await bench.has_kept(2)
    record = await bench.record()
    assert (record.state, record.epoch, record.worker) == (SessionState.ACTIVE, bench.grant.epoch, "w1")
    assert [each async for each in bench.store.all_open()] == [record], "an allocator that restarts finds it"
    assert bench.fenced == 0


async def test_redis_may_come_back_empty_while_nothing_is_written(bench, monkeypatch):
    bench.change(1)
    await bench.has_kept(1)
    monkeypatch.setattr(journal, "BEAT_S", 0.01)
    bench.journal.note(state="ACTIVE")  # from here on it beats
    await eventually(lambda: in_state(bench, SessionState.ACTIVE))
    await bench.store.redis.flushdb()
    await bench.has_kept(1)
    assert (await bench.record()).state is SessionState.ACTIVE
    assert bench.fenced == 0


async def test_who_is_fenced_hears_of_it_while_nothing_is_written(bench, monkeypatch):
    monkeypatch.setattr(journal, "BEAT_S", 0.01)
    bench.journal.note(state="ACTIVE")
    await eventually(lambda: in_state(bench, SessionState.ACTIVE))
    await bench.store.grant(bench.grant.tenant, bench.grant.session_id, "w2", 1.0)
    await asyncio.wait_for(bench.task, 10)
    assert bench.fenced == 1


async def in_state(bench, state: SessionState) -> bool:
    return (await bench.record()).state is state


async def test_a_session_whose_time_is_over_is_not_entered_again(bench):
    bench.grant = bench.journal._grant = bench.grant.model_copy(update={"deadline": 1.0})
    await bench.store.redis.flushdb()
    bench.change(1)
    await asyncio.wait_for(bench.task, 10)
    assert bench.fenced == 1
    assert await bench.record() is None


async def test_only_what_has_changed_is_sent(bench):
    def sent() -> float:
        return REGISTRY.get_sample_value("llc_snapshot_bytes_total", {"model": "echo"}) or 0.0

    none = sent()
    bench.change(1)
    await bench.has_kept(1)
    before = await eventually(lambda: sent() > none and sent())  # counted once the write is answered
    bench.change(2)
    await bench.has_kept(2)
    written = await eventually(lambda: sent() > before and sent()) - before
    whole = len(bench._take().data()) + len(bench._take().stream)
    assert written < whole, "the stream's bytes stay where they are"
    parts = await bench.store.load_snapshot(bench.grant.tenant, bench.grant.session_id)
    assert parts[1] == bench._take().stream


async def test_kept_is_told_when_it_is_in_redis(bench):
    bench.store.gate.clear()
    asked = bench.journal.keep(bench._take)
    waiting = asyncio.create_task(bench.journal.kept(asked))
    await settle()
    assert not waiting.done()
    bench.store.gate.set()
    await waiting
    assert await bench.kept() == 0


async def test_a_fenced_snapshot_alone_is_noticed_as_well(bench):
    await bench.move()
    bench.change(1)
    await asyncio.wait_for(bench.task, 10)
    assert bench.fenced == 1
    assert await bench.kept() is None


async def test_redis_may_go_away_and_come_back(bench):
    before = bench.retries()
    bench.store.away = True
    bench.change(1)
    bench.journal.note(state="ACTIVE")
    await eventually(lambda: bench.store.writes >= 2)
    bench.change(2)
    assert await bench.kept() is None
    assert not bench.task.done()
    bench.store.away = False
    await bench.has_kept(2)
    assert (await bench.record()).state is SessionState.ACTIVE
    assert bench.fenced == 0
    assert bench.retries() > before


async def test_after_a_time_without_redis_it_notices_that_the_session_has_moved(bench):
    bench.store.away = True
    bench.change(1)
    await eventually(lambda: bench.store.writes >= 1)
    await bench.move()
    bench.store.away = False
    await asyncio.wait_for(bench.task, 10)
    assert bench.fenced == 1
    assert await bench.kept() is None


async def test_the_last_write_says_how_it_ended(bench):
    assert await bench.journal.end(SessionState.INACTIVE, "no client")
    record = await bench.record()
    assert (record.state, record.reason) == (SessionState.INACTIVE, "no client")
