"""The watchdog on a clock that the test turns by hand."""

from __future__ import annotations

import asyncio

import pytest

from cluster.media.watchdog import Watchdog
from tests.support.clock import FakeClock

pytestmark = pytest.mark.fast


async def test_silence_expires_once(clock: FakeClock) -> None:
    expired = []
    dog = Watchdog(20.0, lambda: expired.append(clock.now), clock)
    dog.start()
    clock.now = 19.0
    dog.check()
    assert expired == []
    clock.now = 20.0
    dog.check()
    assert expired == [20.0]


async def test_signs_of_life_put_it_off(clock: FakeClock) -> None:
    expired = []
    dog = Watchdog(20.0, lambda: expired.append(clock.now), clock)
    dog.start()
    for clock.now in (15.0, 30.0, 45.0):
        dog.alive()
    clock.now = 60.0
    dog.check()
    assert expired == []
    clock.now = 65.0
    dog.check()
    assert expired == [65.0]


async def test_it_runs_by_itself() -> None:
    expired = asyncio.Event()
    dog = Watchdog(0.01, expired.set, asyncio.get_running_loop().time)
    dog.start()
    await asyncio.wait_for(expired.wait(), 20)


async def test_stopped_it_stays_silent(clock: FakeClock) -> None:
    dog = Watchdog(20.0, pytest.fail, clock)  # type: ignore[arg-type]
    dog.start()
    dog.stop()
    clock.now = 100.0
