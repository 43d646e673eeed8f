"""Calls are put together while they come faster than they are answered, and each has its own answer."""

from __future__ import annotations

import asyncio

import pytest

from cluster.together import MOST, Together
from tests.support.waiting import settle

pytestmark = pytest.mark.fast


class Refused(Exception):
    pass


class Other:
    """The process that is asked. It answers when told to: what is even with its double, what is odd with an error."""

    def __init__(self) -> None:
        self.calls: list[list[int]] = []
        self._answers: asyncio.Queue[Exception | None] = asyncio.Queue()

    async def __call__(self, things: list[int]) -> list[int | Exception]:
        self.calls.append(things)
        failure = await self._answers.get()
        if failure is not None:
            raise failure
        return [Refused(str(thing)) if thing % 2 else 2 * thing for thing in things]

    def answer(self, failure: Exception | None = None) -> None:
        self._answers.put_nowait(failure)


async def begun(together: Together[int, int], *things: int) -> list[asyncio.Task[int]]:
    tasks = [asyncio.create_task(together(thing)) for thing in things]
    await settle()
    return tasks


async def test_who_finds_room_goes_at_once_and_who_comes_meanwhile_goes_together() -> None:
    other = Other()
    together = Together[int, int](other, at_once=2)
    first, second = await begun(together, 0), await begun(together, 2)
    others = await begun(together, 4, 6) + await begun(together, 8)
    assert other.calls == [[0], [2]]
    for _ in range(3):
        other.answer()
    assert await asyncio.gather(*first, *second, *others) == [0, 4, 8, 12, 16]
    assert other.calls == [[0], [2], [4, 6, 8]]


async def test_one_call_takes_so_many_and_leaves_the_others_to_the_next() -> None:
    other = Other()
    together = Together[int, int](other, at_once=1)
    tasks = await begun(together, *range(0, 2 * (MOST + 10), 2))
    for _ in range(2):
        other.answer()
    await asyncio.gather(*tasks)
    assert [len(each) for each in other.calls] == [MOST, 10]


async def test_a_refusal_is_one_askers_and_a_failure_is_that_of_all_in_the_call() -> None:
    other = Other()
    together = Together[int, int](other, at_once=1)
    tasks = await begun(together, 0, 2) + await begun(together, 1, 2, 3)
    other.answer(OSError("away"))
    other.answer()
    answers = await asyncio.gather(*tasks, return_exceptions=True)
    assert [type(answer) for answer in answers] == [OSError, OSError, Refused, int, Refused]


async def test_who_leaves_takes_nobody_along_and_is_not_asked_for() -> None:
    other = Other()
    together = Together[int, int](other, at_once=1)
    gone, stays = await begun(together, 0, 2)
    waits, gives_up = await begun(together, 4, 6)
    gone.cancel()
    gives_up.cancel()
    for _ in range(2):
        other.answer()
    assert await asyncio.gather(stays, waits) == [4, 8]
    assert other.calls == [[0, 2], [4]]


async def test_nobody_is_left_waiting_for_one_that_is_closed() -> None:
    other = Other()
    together = Together[int, int](other, at_once=1)
    tasks = await begun(together, 0) + await begun(together, 2, 4)
    await together.close()
    assert [type(each) for each in await asyncio.gather(*tasks, return_exceptions=True)] == [asyncio.CancelledError] * 3
