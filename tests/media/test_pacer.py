"""The pacer on a clock that the test turns by hand."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cluster.media.pacer import CATCH_UP_S, Pacer
from tests.support.clock import FakeClock

pytestmark = pytest.mark.fast

FPS = 10.0


@pytest.fixture
def pacer(clock: FakeClock) -> Pacer[int]:
    return Pacer(FPS, clock)


def test_a_burst_becomes_a_steady_flow(pacer: Pacer[int], clock: FakeClock) -> None:
    pacer.push(range(5))
    flow = []
    while (wait := pacer.wait_s) is not None:
        clock.now += wait
        flow += pacer.release(10)
    assert [item for item, _ in flow] == [0, 1, 2, 3, 4]
    assert [due for _, due in flow] == pytest.approx([0.0, 0.1, 0.2, 0.3, 0.4])


def test_playing_starts_at_once_and_goes_on_without_a_seam(pacer: Pacer[int], clock: FakeClock) -> None:
    pacer.push([0])
    assert pacer.release(10) == [(0, 0.0)]
    clock.now = 0.05
    pacer.push([1])
    assert pacer.release(10) == []
    assert pacer.wait_s == pytest.approx(0.05)
    assert pacer.underruns == 0


def test_the_lead_is_what_is_left_to_show_the_last_item_too(pacer: Pacer[int], clock: FakeClock) -> None:
    pacer.push([0, 1])
    assert pacer.lead_s == pytest.approx(0.2)
    clock.now = 0.15
    pacer.release(10)
    assert (pacer.queued_s, pacer.lead_s) == (0, pytest.approx(0.05))
    clock.now = 0.3
    assert pacer.lead_s == pytest.approx(-0.1)


def test_an_underrun_restarts_the_clock(pacer: Pacer[int], clock: FakeClock) -> None:
    pacer.push([0])
    pacer.release(10)
    clock.now = 5.0
    pacer.push([1, 2])
    assert pacer.release(10) == [(1, 5.0)]
    assert pacer.wait_s == pytest.approx(0.1)
    assert pacer.underruns == 1


def test_a_late_driver_catches_up_in_time(pacer: Pacer[int], clock: FakeClock) -> None:
    pacer.push(range(4))
    clock.now = 0.2
    assert [due for _, due in pacer.release(10)] == pytest.approx([0.0, 0.1, 0.2])
    assert pacer.wait_s == pytest.approx(0.1)


def test_a_stalled_driver_moves_the_clock(pacer: Pacer[int], clock: FakeClock) -> None:
    pacer.push(range(4))
    clock.now = CATCH_UP_S + 1
    assert [due for _, due in pacer.release(10)] == pytest.approx([clock.now])


def test_the_limit_holds_and_loses_nothing(pacer: Pacer[int], clock: FakeClock) -> None:
    pacer.push(range(3))
    clock.now = 0.2
    assert [item for item, _ in pacer.release(0)] == []
    assert [item for item, _ in pacer.release(2)] == [0, 1]
    assert [item for item, _ in pacer.release(2)] == [2]


def test_flush_drops_what_is_queued_and_is_no_underrun(pacer: Pacer[int], clock: FakeClock) -> None:
    pacer.push(range(7))
    pacer.release(10)
    assert pacer.queued_s == pytest.approx(0.6)
    assert pacer.flush() == 6
    assert pacer.queued_s == 0
    clock.now = 9.0
    pacer.push([42])
    assert pacer.release(10) == [(42, 9.0)]
    assert pacer.underruns == 0


@given(st.lists(st.tuples(st.floats(0, 3), st.integers(0, 40)), max_size=30))
def test_every_item_leaves_once_in_order_and_never_early(steps: list[tuple[float, int]]) -> None:
    clock, pushed, out = FakeClock(), 0, []
    pacer: Pacer[int] = Pacer(FPS, clock)
    for wait, count in steps:
        clock.now += wait
        pacer.push(range(pushed, pushed + count))
        pushed += count
        released = pacer.release(1000)
        assert all(due <= clock.now for _, due in released)
        out += released
    while (left := pacer.wait_s) is not None:
        clock.now += left + 1e-6
        out += pacer.release(1000)
    assert [item for item, _ in out] == list(range(pushed)) == list(range(pacer.pushed))
    times = [due for _, due in out]
    assert all(later - earlier >= 1 / FPS - 1e-6 for earlier, later in itertools.pairwise(times))
