"""The target follows the reports; packets leave at its pace; what is asked for again has a budget."""

from __future__ import annotations

import pytest

from cluster.media.congestion import HOLD_S, LOWEST, RETRY_S, START, RateControl, TokenBucket
from tests.support.clock import FakeClock

pytestmark = pytest.mark.fast

CEILING, FLOOR = 4_000_000, 600_000


@pytest.fixture
def control(clock: FakeClock) -> RateControl:
    control = RateControl(clock)
    control.ceiling, control.floor = CEILING, FLOOR
    return control


def second(control: RateControl, clock: FakeClock, rate: float, loss: float = 0.0, rtt: float | None = 0.02) -> int:
    """A second in which `rate` bit/s are sent, and the report at its end."""
    control.sent(int(rate / 8))
    clock.advance(1)
    control.report(loss, rtt)
    return control.target


def test_a_clean_way_leads_to_the_ceiling_and_no_further(control: RateControl, clock: FakeClock) -> None:
    targets = [second(control, clock, control.target) for _ in range(30)]
    assert targets == sorted(targets)
    assert targets[0] > START
    assert targets[-1] == CEILING


def test_what_is_not_used_does_not_grow(control: RateControl, clock: FakeClock) -> None:
    assert [second(control, clock, START / 4) for _ in range(5)] == [START] * 5


def test_who_joins_a_running_encode_starts_at_its_rate(control: RateControl, clock: FakeClock) -> None:
    control.begin(3_500_000)
    assert second(control, clock, 3_500_000) > 3_500_000
    control.begin(1_000_000)
    assert control.target > 3_500_000, "only as long as nothing has been reported"


def test_heavy_loss_shows_what_the_way_carries(control: RateControl, clock: FakeClock) -> None:
    assert second(control, clock, 2_000_000, loss=0.25) == pytest.approx(0.95 * 1_500_000, rel=0.01)
    assert second(control, clock, 100_000, loss=0.5) >= 1_400_000 / 2, "never less than half in one step"


def test_a_standing_queue_is_seen_without_loss(control: RateControl, clock: FakeClock) -> None:
    second(control, clock, START, rtt=0.02)
    before = control.target
    assert second(control, clock, START, rtt=0.3) < before


def test_some_loss_changes_nothing(control: RateControl, clock: FakeClock) -> None:
    assert [second(control, clock, START, loss=0.05) for _ in range(5)] == [START] * 5


def test_a_falling_estimate_lowers_the_target_at_once(control: RateControl, clock: FakeClock) -> None:
    control.sent(START // 8)
    clock.advance(1)
    control.remb(1_300_000)
    assert control.target == pytest.approx(0.92 * 1_300_000, abs=1)
    assert control.limited
    clock.advance(HOLD_S)
    assert second(control, clock, control.target) <= 0.92 * 1_300_000 + 1, "and bounds it from above"


def test_an_estimate_of_a_little_used_way_says_nothing(control: RateControl, clock: FakeClock) -> None:
    control.sent(300_000 // 8)
    clock.advance(1)
    control.remb(450_000)
    control.remb(250_000)
    assert control.target == START


def test_after_a_decrease_the_target_is_held_and_then_grows_carefully(control: RateControl, clock: FakeClock) -> None:
    first = second(control, clock, START)
    lowered = second(control, clock, first, loss=0.15)
    assert control.usable < lowered, "the queue has to empty"
    assert second(control, clock, lowered) == lowered
    clock.advance(HOLD_S)
    control.report(0.0, 0.02)
    assert control.usable == control.target
    grown = control.target
    assert 1 < second(control, clock, grown) / grown < 1.03


def test_random_loss_at_the_floor_starves_nobody(control: RateControl, clock: FakeClock) -> None:
    for _ in range(20):
        second(control, clock, control.target, loss=0.15)
    assert control.target == FLOOR
    assert not control.starved


def test_the_floor_is_not_carried_where_its_loss_comes_with_a_queue(control: RateControl, clock: FakeClock) -> None:
    second(control, clock, START, rtt=0.02)
    while control.target > FLOOR:
        second(control, clock, control.target, loss=0.15, rtt=0.3)
    assert not control.starved
    second(control, clock, control.target, loss=0.15, rtt=0.3)
    assert control.starved


def test_a_burst_of_requests_lowers_the_target_before_any_report(control: RateControl, clock: FakeClock) -> None:
    for _ in range(40):
        control.sent(1250)
    clock.advance(0.2)
    assert not any(control.lost(1) for _ in range(8)), "so much is lost, or overtaken, anywhere"
    assert any(control.lost(1) for _ in range(4))
    assert FLOOR <= control.target < START
    before = control.target
    assert not any(control.lost(1) for _ in range(10))
    assert control.target == before, "once for one burst"


def test_below_the_floor_is_starved_and_tried_again_more_and_more_seldom(
    control: RateControl, clock: FakeClock
) -> None:
    waits = []
    for _ in range(3):
        while not control.starved:
            second(control, clock, control.target, loss=0.6)
        assert LOWEST <= control.target < FLOOR
        begun = clock()
        while control.starved:
            second(control, clock, LOWEST)
        assert control.target == FLOOR
        waits.append(clock() - begun)
    assert waits == pytest.approx([RETRY_S, 2 * RETRY_S, 4 * RETRY_S], abs=1.5)


def test_the_bucket_lets_a_burst_go_and_then_keeps_the_rate(clock: FakeClock) -> None:
    bucket = TokenBucket(0.005, clock)
    clock.advance(1)
    waited = 0.0
    for _ in range(100):
        wait = bucket.take(1250, 1_000_000)
        clock.advance(wait)
        waited += wait
    assert waited == pytest.approx(1.0 - 0.005, abs=0.011)


def test_waits_that_take_too_long_cost_no_rate(clock: FakeClock) -> None:
    bucket = TokenBucket(0.005, clock)
    for _ in range(200):
        if bucket.take(1250, 1_000_000):
            clock.advance(0.03)  # a busy machine
            bucket.waited(1_000_000)
    assert clock() == pytest.approx(200 * 1250 * 8 / 1_000_000, rel=0.05)
