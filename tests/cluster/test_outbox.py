"""Answers leave in order, when what they follow from is in Redis, and never later than their patience allows."""

from __future__ import annotations

import asyncio

import pytest
from prometheus_client import REGISTRY

from cluster import outbox
from cluster.journal import Journal
from cluster.outbox import Outbox
from cluster.store import Store
from cluster.tasks import Tasks
from tests.support.grants import granted
from tests.support.waiting import eventually, settle

pytestmark = pytest.mark.fast


class Bench:
    """An outbox whose journal has kept as much as the test says."""

    def __init__(self, store: Store) -> None:
        self.said: list[str] = []
        self.journal = Journal(store, granted(), lambda: None)
        self.tasks = Tasks("test")
        self.box = Outbox("echo", self.journal, self.tasks)

    def put(self, text: str, asked: int = 0) -> None:
        self.box.put(lambda: self.said.append(text), asked)

    def keep(self, asked: int) -> None:
        """As `Journal.run` does after a write."""
        self.journal._done = asked
        self.journal._progress.set()


@pytest.fixture
async def bench(store: Store):
    made = Bench(store)
    yield made
    await made.tasks.close()


async def test_what_waits_for_nothing_is_said_at_once(bench):
    bench.put("one")
    bench.put("two")
    assert bench.said == ["one", "two"]


async def test_an_answer_waits_until_it_is_kept_and_what_comes_after_it_waits_too(bench, monkeypatch):
    monkeypatch.setattr(outbox, "PATIENCE_S", 60.0)
    bench.put("accepted", 1)
    bench.put("chunk")
    await settle()
    assert bench.said == []
    bench.keep(1)
    await eventually(lambda: bench.said == ["accepted", "chunk"])


async def test_a_redis_that_does_not_answer_is_not_waited_for(bench, monkeypatch):
    monkeypatch.setattr(outbox, "PATIENCE_S", 0.0)

    def unkept() -> float:
        return REGISTRY.get_sample_value("llc_unkept_turns_total", {"model": "echo"}) or 0.0

    before = unkept()
    bench.put("accepted", 1)
    bench.put("chunk")
    await eventually(lambda: bench.said == ["accepted", "chunk"])
    assert unkept() == before + 1


@pytest.mark.parametrize(("say", "said"), [(True, ["accepted", "chunk"]), (False, [])])
async def test_at_the_end_all_is_said_or_nothing(bench, monkeypatch, say, said):
    monkeypatch.setattr(outbox, "PATIENCE_S", 60.0)
    bench.put("accepted", 1)
    bench.put("chunk")
    await settle()
    bench.box.close(say=say)
    assert bench.said == said
    bench.keep(1)
    await asyncio.sleep(0)
    await settle()
    assert bench.said == said, "and not again"
