"""Who is expected to come and to be served before one that waits already."""

from __future__ import annotations

import numpy as np
import pytest

from cluster.arrivals import ENOUGH, FEW, LATELY_S, REMEMBERED, Arrivals, Course, Share, nobody
from cluster.peak import Peak

pytestmark = pytest.mark.fast

COURSE = Course(
    time=np.array([0.0, 100.0, 1000.0]), staying=np.array([1.0, 0.7, 0.0]), added=np.array([0.0, 85.0, 300.0])
)
MANY = Share(held=50, waiting=0)


def come(*who: tuple[str, int], seconds: float = 100.0, times: int = 20) -> Arrivals:
    """Each of these tenants, of its class, so many times."""
    arrivals = Arrivals()
    for n in range(times):
        for tenant, priority in who:
            arrivals.add(seconds * n / times, priority, tenant)
    return arrivals


def overtaking(arrivals: Arrivals, shares: dict[str, Share], share: Share, tenant: str = "x", now: float = 100.0):
    return arrivals.rivals(lambda each: shares.get(each, Share(0, 0)), now).of(tenant, 2, share)(COURSE)


def test_of_few_arrivals_nothing_is_concluded():
    arrivals = come(("a", 1), times=FEW - 1)
    assert arrivals.rivals(lambda tenant: Share(0, 0), 100.0).of("x", 2, MANY) is nobody
    assert nobody(COURSE).tolist() == [0, 0, 0]


def test_a_higher_class_always_goes_before_and_a_lower_one_never():
    rates = overtaking(come(("high", 1), ("low", 3)), {"high": Share(900, 0)}, Share(0, 0))
    assert rates == pytest.approx([0.2] * 3)


def test_a_tenant_goes_before_while_its_share_is_the_smaller_one():
    shares = {"small": Share(2, 0), "equal": Share(50, 0), "waiting": Share(2, 60)}
    rates = overtaking(come(*((tenant, 2) for tenant in shares)), shares, MANY)
    assert rates[0] == pytest.approx(0.2, abs=0.01), "the small one alone"
    assert rates[-1] < 0.01, "by then the waiter's tenant has nothing, and the others have what they were given"


def test_a_tenant_is_no_rival_of_its_own():
    arrivals = come(("x", 2), ("y", 2))
    assert overtaking(arrivals, {}, MANY, tenant="x")[0] == pytest.approx(0.2, abs=0.01)
    assert overtaking(arrivals, {}, MANY, tenant="z")[0] == pytest.approx(0.4, abs=0.01)


def test_the_newest_count():
    arrivals = come(("former", 1), times=REMEMBERED)
    for n in range(REMEMBERED):
        arrivals.add(100.0 + n, 3, "now")
    assert overtaking(arrivals, {}, MANY, now=100.0 + REMEMBERED).tolist() == [0, 0, 0]


def test_who_came_long_ago_counts_only_while_few_have_come_since():
    arrivals = come(("former", 1), times=ENOUGH)
    for n in range(ENOUGH - 1):
        arrivals.add(100.0 + LATELY_S + n / 100, 3, "now")
    assert overtaking(arrivals, {}, MANY, now=200.0 + LATELY_S)[0] > 0
    arrivals.add(200.0 + LATELY_S, 3, "now")
    assert overtaking(arrivals, {}, MANY, now=200.0 + LATELY_S).tolist() == [0, 0, 0]


def test_equal_waiters_are_told_of_the_same():
    """Thousands that wait are thus one computation."""
    rivals = come(*((f"t{n}", 2) for n in range(9))).rivals(lambda tenant: Share(1, 1), 100.0)
    assert rivals.of("t1", 2, Share(4, 1201)) is rivals.of("t2", 2, Share(4, 1202))
    assert rivals.of("t1", 2, Share(4, 3)) is not rivals.of("t1", 2, Share(4, 4))


def test_a_peak_is_forgotten_after_its_time():
    peak = Peak(60)
    noted = [peak.note(value, now) for value, now in ((3, 0), (9, 10), (5, 20), (4, 70), (1, 71), (1, 81), (1, 131))]
    assert noted == [3, 9, 9, 9, 5, 4, 1]
