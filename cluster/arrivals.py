"""Who came lately, and so who is to be expected: later sessions that are served before one that waits already.

A queue that is fair between tenants is not first come, first served. Whoever comes later from a higher class, or from
a tenant with a smaller share, goes before. How many these are is judged by who came lately and by what each tenant has
now: it goes before for as long as its share stays the smaller one, and each session that does adds to it.
"""

from __future__ import annotations

from collections import Counter, defaultdict, deque
from collections.abc import Callable, Iterable
from typing import NamedTuple

import numpy as np

from cluster.lengths import Curve

REMEMBERED = 2048
LATELY_S = 900.0
ENOUGH = 512
"""More are remembered only if they came in the last `LATELY_S`: where few come, the newest tell what comes now."""
FEW = 16
"""With fewer known nothing is concluded."""


class Course(NamedTuple):
    """Times to come, and what becomes of sessions by then."""

    time: Curve
    staying: Curve
    """The share of the sessions that run now which still will."""
    added: Curve
    """Sessions that a tenant has then for each one a second that it is given from now on."""


class Share(NamedTuple):
    """What a tenant has: sessions that run, and sessions that wait (of a waiter's own: before it)."""

    held: int
    waiting: int


Overtakers = Callable[[Course], Curve]
"""How many later arrivals a second go before a waiter, at each time."""


def nobody(course: Course) -> Curve:
    """Overtakes."""
    return np.zeros_like(course.time)


class Rival(NamedTuple):
    """A tenant that comes: its class, how many sessions a second, and what it has."""

    tenant: str
    priority: int
    rate: float
    share: Share


class Rivals:
    """Those who came lately, at a moment. Tenants with equal shares are taken together, as are waiters with nearly
    equal ones: there may be thousands."""

    def __init__(self, rivals: Iterable[Rival]) -> None:
        self._groups: defaultdict[tuple[int, Share], list[float]] = defaultdict(list)
        """Rates by class and share."""
        self._of: dict[tuple[int, str], Share] = {}
        for tenant, priority, rate, share in rivals:
            self._groups[priority, share].append(rate)
            self._of[priority, tenant] = share
        self._known: dict[tuple[int, Share, Share | None], Overtakers] = {}

    def of(self, tenant: str, priority: int, share: Share) -> Overtakers:
        """Those of a waiter, of whose tenant's waiters only those before it count. Equal for equal ones."""
        if not self._groups:
            return nobody
        near = Share(share.held, round(share.waiting, 1 - len(str(share.waiting))))
        key = (priority, near, self._of.get((priority, tenant)))
        if key not in self._known:
            self._known[key] = self._overtakers(*key)
        return self._known[key]

    def _overtakers(self, priority: int, share: Share, of_own: Share | None) -> Overtakers:
        """A tenant goes before while its share is smaller, which is taken as normally distributed: each session has
        ended or not by itself, and as many come as a Poisson process has. `of_own`: it is no rival of its own."""
        higher = sum(sum(rates) for (other, _), rates in self._groups.items() if other < priority)
        rows = [
            (len(rates) - (each == of_own), sum(rates) / len(rates), *each)
            for (other, each), rates in self._groups.items()
            if other == priority
        ]
        count, rate, held, waiting = np.array(rows, dtype=np.float64).reshape(-1, 4).T[:, :, None]

        def overtakers(course: Course) -> Curve:
            theirs = waiting + held * course.staying + rate * course.added
            own = share.waiting + share.held * course.staying
            spread = (held + share.held) * course.staying * (1 - course.staying) + rate * course.added
            smaller = (own - theirs - 0.5) / np.sqrt(np.maximum(spread, 1e-4))
            chance = 1 / (1 + np.exp(-1.7 * np.clip(smaller, -20, 20)))  # near enough to the normal distribution
            return np.asarray(higher + (count * rate * chance).sum(axis=0))

        return overtakers


class Arrivals:
    """The newest sessions, `REMEMBERED` at most: when they came, and whose they are."""

    def __init__(self) -> None:
        self._newest: deque[tuple[float, tuple[int, str]]] = deque()
        self._count: Counter[tuple[int, str]] = Counter()
        """By class and tenant."""

    def add(self, at: float, priority: int, tenant: str) -> None:
        """One has come."""
        key = (priority, tenant)
        self._newest.append((at, key))
        self._count[key] += 1
        while len(self._newest) > (REMEMBERED if at - self._newest[0][0] <= LATELY_S else ENOUGH):
            self._forget()

    def _forget(self) -> None:
        _, former = self._newest.popleft()
        self._count[former] -= 1
        if not self._count[former]:
            del self._count[former]

    def rivals(self, share: Callable[[str], Share], now: float) -> Rivals:
        """They, given what a tenant has."""
        if len(self._newest) < FEW:
            return Rivals([])
        seconds = max(1.0, now - self._newest[0][0])
        return Rivals(
            Rival(tenant, priority, count / seconds, share(tenant)) for (priority, tenant), count in self._count.items()
        )
