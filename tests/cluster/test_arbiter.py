"""Whose chunk is next: the earliest deadline, one at a time, and never nobody."""

from __future__ import annotations

import asyncio

import pytest

from cluster.arbiter import Arbiter
from tests.support.waiting import settle

pytestmark = pytest.mark.fast


class Turns:
    """Takers of turns; each holds the device until it is let go."""

    def __init__(self) -> None:
        self.arbiter = Arbiter()
        self.order: list[str] = []
        self.holding: set[str] = set()
        self._let_go: dict[str, asyncio.Event] = {}

    def start(self, name: str, deadline: float) -> asyncio.Task[None]:
        self._let_go[name] = asyncio.Event()
        return asyncio.create_task(self._take(name, deadline))

    async def _take(self, name: str, deadline: float) -> None:
        async with self.arbiter.turn(deadline):
            assert not self.holding, "two at a time"
            self.order.append(name)
            self.holding.add(name)
            try:
                await self._let_go[name].wait()
            finally:
                self.holding.remove(name)

    def let_go(self, name: str) -> None:
        self._let_go[name].set()


@pytest.fixture
def turns() -> Turns:
    return Turns()


async def free(turns: Turns) -> bool:
    """Whether a new taker gets the device at once."""
    probe = turns.start("probe", 0.0)
    await settle()
    taken = turns.holding == {"probe"}
    turns.let_go("probe")
    if not taken:
        probe.cancel()
    await asyncio.wait([probe])
    return taken


async def test_earliest_deadline_first_then_first_come(turns):
    tasks = [turns.start("first", 99.0)]
    await settle()
    for name, deadline in [("late", 3.0), ("soon", 1.0), ("tie-a", 2.0), ("tie-b", 2.0)]:
        tasks.append(turns.start(name, deadline))
        await settle()
    for name in ("first", "soon", "tie-a", "tie-b", "late"):
        assert turns.holding == {name}
        turns.let_go(name)
        await settle()
    await asyncio.gather(*tasks)
    assert turns.order == ["first", "soon", "tie-a", "tie-b", "late"]
    assert await free(turns)


async def test_who_gives_up_while_waiting_is_passed_over(turns):
    holder = turns.start("holder", 0.0)
    await settle()
    quitter, patient = turns.start("quitter", 1.0), turns.start("patient", 2.0)
    await settle()
    quitter.cancel()
    await settle()
    turns.let_go("holder")
    await settle()
    assert turns.holding == {"patient"}
    turns.let_go("patient")
    await asyncio.wait([holder, quitter, patient])
    assert quitter.cancelled()
    assert await free(turns)


async def test_cancelled_in_the_moment_of_hand_over_with_another_waiting(turns):
    holder = turns.start("holder", 0.0)
    await settle()
    chosen, other = turns.start("chosen", 1.0), turns.start("other", 2.0)
    await settle()
    turns.let_go("holder")
    await asyncio.sleep(0)  # the holder leaves and hands over to `chosen`, which has not run yet
    chosen.cancel()
    await settle()
    assert turns.order == ["holder", "other"]
    turns.let_go("other")
    await asyncio.wait([holder, chosen, other])
    assert chosen.cancelled()
    assert await free(turns)


async def test_cancelled_in_the_moment_of_hand_over_with_nobody_else(turns):
    holder = turns.start("holder", 0.0)
    await settle()
    chosen = turns.start("chosen", 1.0)
    await settle()
    turns.let_go("holder")
    await asyncio.sleep(0)
    chosen.cancel()
    await asyncio.wait([holder, chosen])
    assert chosen.cancelled()
    assert turns.order == ["holder"]
    assert await free(turns)


async def test_a_turn_that_fails_or_is_cancelled_passes_the_device_on(turns):
    async def fail() -> None:
        async with turns.arbiter.turn(0.0):
            await asyncio.sleep(0)
            raise LookupError

    failing = asyncio.create_task(fail())
    await asyncio.sleep(0)
    waiting = turns.start("waiting", 1.0)
    await asyncio.wait([failing])
    assert isinstance(failing.exception(), LookupError)
    await settle()
    assert turns.holding == {"waiting"}
    waiting.cancel()
    await asyncio.wait([waiting])
    assert await free(turns)


async def test_nobody_overtakes_a_hand_over(turns):
    """Between hand-over and the moment the chosen one runs the device counts as taken."""
    holder = turns.start("holder", 0.0)
    await settle()
    chosen = turns.start("chosen", 5.0)
    await settle()
    turns.let_go("holder")
    await asyncio.sleep(0)
    newcomer = turns.start("newcomer", 1.0)
    await settle()
    assert turns.holding == {"chosen"}
    turns.let_go("chosen")
    turns.let_go("newcomer")
    await asyncio.gather(holder, chosen, newcomer)
    assert turns.order == ["holder", "chosen", "newcomer"]
