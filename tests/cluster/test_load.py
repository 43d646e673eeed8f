"""Who fits on a device: by the numbers, and by playing the schedule that follows."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from prometheus_client import REGISTRY

from cluster.arbiter import Arbiter
from cluster.load import SAMPLES, Load, in_time

pytestmark = pytest.mark.fast

PERIOD_S = 1.0
NEARLY = 1e-9
"""Of sums of floats."""


@pytest.mark.parametrize(
    ("sessions", "cost_s", "longest_s", "fits"),
    [
        (1, 0.9, 0.9, True),
        (1, 0.91, 0.91, False),
        (2, 0.45, 0.45, True),
        (2, 0.46, 0.46, False),
        (3, 0.3, 0.3, True),
        (2, 0.3, 0.7, True),
        (2, 0.3, 0.71, False),
        (3, 0.2, 0.61, False),
        (8, 0.0, 0.0, True),
    ],
)
def test_by_the_sum_and_by_the_longest(sessions, cost_s, longest_s, fits):
    assert in_time(sessions, cost_s=cost_s, longest_s=longest_s, period_s=PERIOD_S, bound=0.9) is fits


# --- the schedule ---------------------------------------------------------------------------------------------------


class VirtualLoop(asyncio.SelectorEventLoop):
    """A loop in which nothing takes time but sleep."""

    now = 0.0

    def time(self) -> float:
        return self.now

    def _run_once(self) -> None:
        if not self._ready and self._scheduled:
            self.now = max(self.now, self._scheduled[0]._when)
        super()._run_once()


async def play(arbiter: Arbiter, start_s: float, lead_s: float, costs_s: Sequence[float]) -> float:
    """A session whose chunks cost the device so much: the most that one came too late, but for the first."""
    await asyncio.sleep(start_s)
    clock = asyncio.get_running_loop().time
    dry, late = clock(), 0.0
    for number, cost_s in enumerate(costs_s):
        await asyncio.sleep(max(0.0, dry - lead_s - clock()))
        async with arbiter.turn(dry):
            await asyncio.sleep(cost_s)
        late = max(late, clock() - dry) if number else late
        dry = max(dry, clock()) + PERIOD_S
    return late


def lateness(lead_s: float, starts_s: Sequence[float], costs_s: Sequence[Sequence[float]]) -> float:
    """Of the sessions that share a device, the worst."""

    async def together() -> list[float]:
        arbiter = Arbiter()
        played = zip(starts_s, costs_s, strict=True)
        return await asyncio.gather(*(play(arbiter, start_s, lead_s, costs) for start_s, costs in played))

    with asyncio.Runner(loop_factory=VirtualLoop) as runner:
        return max(runner.run(together()))


@st.composite
def loads(draw: st.DrawFn) -> tuple[int, float, float]:
    """Sessions, cost and longest chunk that are said to be in time, for the whole of the device's time."""
    sessions = draw(st.integers(2, 6))
    cost_s = draw(st.floats(0.01, 1.0)) * PERIOD_S / sessions
    longest_s = max(cost_s, draw(st.floats(0.0, 1.0)) * (PERIOD_S - (sessions - 1) * cost_s))
    return sessions, cost_s * (1 - NEARLY), longest_s * (1 - NEARLY)


@settings(max_examples=50, deadline=None)
@given(loads(), st.booleans(), st.data())
def test_no_chunk_is_late_that_is_said_to_be_in_time(load, one_is_longer, data):
    sessions, cost_s, longest_s = load
    assert in_time(sessions, cost_s=cost_s, longest_s=longest_s, period_s=PERIOD_S, bound=1.0)
    starts_s = data.draw(st.lists(st.floats(0, 3 * PERIOD_S), min_size=sessions, max_size=sessions))
    chunks = st.lists(st.sampled_from((cost_s, cost_s / 2, cost_s / 10)), min_size=8, max_size=8)
    costs_s = data.draw(st.lists(chunks, min_size=sessions, max_size=sessions))
    lead_s = sessions * cost_s  # what waits for all others, and for its own
    if one_is_longer:
        costs_s[data.draw(st.integers(0, sessions - 1))][data.draw(st.integers(0, 7))] = longest_s
        lead_s = PERIOD_S
    assert lateness(lead_s, starts_s, costs_s) <= 1e-6


@pytest.mark.parametrize(("cost_s", "late"), [(0.33, False), (0.35, True)])
def test_one_session_too_many_is_late(cost_s, late):
    fits = in_time(3, cost_s=cost_s, longest_s=cost_s, period_s=PERIOD_S, bound=1.0)
    assert fits is not late
    assert (lateness(PERIOD_S, [0.0, 0.1, 0.2], [[cost_s] * 40] * 3) > 1e-6) is late


# --- what is measured -----------------------------------------------------------------------------------------------


class Told:
    def __init__(self) -> None:
        self.times = 0

    def __call__(self) -> None:
        self.times += 1


@pytest.fixture
def told() -> Told:
    return Told()


@pytest.fixture
def load(told: Told) -> Load:
    return Load("loaded", PERIOD_S, bound=0.9, most=4, changed=told)


def test_room_is_by_what_chunks_cost(load, told):
    assert (load.fitting, load.cost_s) == (4, 0.0), "nothing is known"
    load.note(0.4)
    assert (load.fitting, told.times) == (2, 1)
    load.note(0.4)
    assert told.times == 1, "nothing has changed"
    load.enter()
    assert load.room
    assert load.wait_s == 0
    load.enter()
    assert not load.room
    assert load.wait_s == pytest.approx(0.4)
    assert REGISTRY.get_sample_value("llc_device_load", {"model": "loaded"}) == pytest.approx(0.8)
    load.leave()
    assert load.room
    assert told.times == 4


def test_one_session_always_fits(load):
    load.note(5.0)
    assert (load.fitting, load.room) == (1, True)


def test_a_rare_slow_chunk_is_not_the_cost_but_has_to_fit_in(load):
    for _ in range(SAMPLES - 1):
        load.note(0.2)
    assert load.fitting == 4
    load.note(0.7)
    assert (load.cost_s, load.fitting) == (0.2, 2), "two wait 0.2 s for each other, and 0.7 s once"
    for _ in range(SAMPLES):
        load.note(0.1)
    assert load.fitting == 4, "it is forgotten"
