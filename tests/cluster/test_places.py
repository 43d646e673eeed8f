"""Many who ask for places at once, and what that costs the allocator and Redis."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any

import pytest

from cluster import places as module
from cluster.errors import Unavailable
from cluster.places import Places
from cluster.records import Place
from tests.support.waiting import eventually, settle

pytestmark = pytest.mark.fast

TENANT = "key_tenant"


class Asked:
    """An allocator that answers when it is let; session `s7` is at place 7."""

    def __init__(self) -> None:
        self.calls: list[list[str]] = []
        self.answers = asyncio.Semaphore(0)
        self.away = False

    async def places(self, model: str, session_ids: Sequence[str]) -> dict[str, Place]:
        self.calls.append(list(session_ids))
        await self.answers.acquire()
        if self.away:
            raise Unavailable("no allocator")
        return {sid: Place(int(sid[1:]), None) for sid in session_ids if sid.startswith("s")}

    def let(self, count: int) -> None:
        for _ in range(count):
            self.answers.release()


@pytest.fixture
async def asked() -> Asked:
    return Asked()


def ask(places: Places, *session_ids: str) -> asyncio.Task[Any]:
    return asyncio.create_task(places.of("echo", session_ids))


async def test_who_asks_while_a_question_is_on_its_way_shares_the_next_one(asked):
    places = Places(asked)
    first = ask(places, "s1")
    await settle()
    others = [ask(places, f"s{number}") for number in (2, 3, 2)]
    await settle()
    asked.let(2)
    assert (await first)["s1"] == Place(1, None)
    assert [(await other)[f"s{number}"].position for other, number in zip(others, (2, 3, 2), strict=True)] == [2, 3, 2]
    assert asked.calls == [["s1"], ["s2", "s3"]]


async def test_who_asks_soon_after_a_question_shares_the_next_one_too(asked, monkeypatch):
    monkeypatch.setattr(module, "EVERY_S", 1.0)
    asked.let(2)
    places = Places(asked)
    await ask(places, "s1")
    second = ask(places, "s2")
    await settle()
    await asyncio.gather(second, ask(places, "s3"))
    assert asked.calls == [["s1"], ["s2", "s3"]]


async def test_models_do_not_wait_for_each_other(asked):
    places = Places(asked)
    tasks = [asyncio.create_task(places.of(model, ["s1"])) for model in ("echo", "longlive-v2")]
    await eventually(lambda: len(asked.calls) == 2)
    asked.let(2)
    await asyncio.gather(*tasks)


async def test_an_asker_that_leaves_takes_nobody_with_it_and_a_failure_reaches_all(asked):
    places = Places(asked)
    leaves, stays = ask(places, "s1"), ask(places, "s2")
    await settle()
    leaves.cancel()
    asked.let(1)
    assert "s2" in await stays
    asked.away = True
    both = [ask(places, "s1"), ask(places, "s2")]
    asked.let(1)
    assert [type(each) for each in await asyncio.gather(*both, return_exceptions=True)] == [Unavailable] * 2
    alone = ask(places, "s1")
    await settle()
    alone.cancel()
    await places.close()


async def test_those_who_wait_and_are_followed_cost_redis_nothing(launch, monkeypatch):
    scene = launch()
    running = await scene.opened()
    waiting = [(await scene.create()).session_id for _ in range(2)]
    streams = [await scene.client.follow_session(TENANT, session_id) for session_id in waiting]
    assert [(await anext(stream)).session.queue.position for stream in streams] == [0, 1]
    store, read = scene.client._store, []
    get_many = store.get_many

    async def watched(keys: Sequence[Any]) -> Any:
        read.append(keys)
        return await get_many(keys)

    monkeypatch.setattr(store, "get_many", watched)
    await eventually(lambda: len(read) >= 2)
    assert not any(read), "they are where they were"
    await scene.client.delete_session(TENANT, running, None)
    assert (await anext(streams[1])).session.queue.position == 0, "the one before it has a worker"
    assert (await anext(streams[0])).session.state == "WAITING"
    for stream in streams:
        await stream.aclose()
