"""What is seen of a run, and the figures that are made of it."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from benchmarks.simulator.workload import Arrival
from cluster.promises import Kept

SOON_S = 1.0
"""Errors of shorter waits are taken relative to this: nobody minds being told half a second that were a quarter."""

Numbers = NDArray[np.float64]


class Moment(NamedTuple):
    """The cluster at a time. `asked` is what the scenario asks for, in workers; the rest is counted."""

    at_s: float
    asked: float
    busy: int
    ready: int
    loading: int
    draining: int
    waiting: int


class Waited(NamedTuple):
    """A session that got its first worker."""

    at_s: float
    tenant: int
    waited_s: float
    promised_s: float
    """Not a number, where it was promised nothing."""


@dataclass(slots=True)
class Measures:
    """Counters are of the whole run; waits, promises, occupation and shares are measured from `since_s` on."""

    tenants: int
    since_s: float
    asked: int = 0
    accepted: int = 0
    refused: int = 0
    over_quota: int = 0
    ended: int = 0
    died: int = 0
    moved: int = 0
    spawned: int = 0
    asked_slot_s: float = 0.0
    busy_slot_s: float = 0.0
    waits: list[Waited] = field(default_factory=list)
    resumed: list[float] = field(default_factory=list)
    """Seconds from a worker's death to the next worker, by session."""
    moments: list[Moment] = field(default_factory=list)
    check_ms: list[float] = field(default_factory=list)
    """What `Pool.check_integrity` took, of the machine's own time."""
    asked_of: defaultdict[int, int] = field(default_factory=lambda: defaultdict(int))
    """Sessions by tenant."""
    served_slot_s: defaultdict[int, float] = field(default_factory=lambda: defaultdict(float))
    """Lengths of the sessions that were given workers, by tenant."""
    _occupied_until: float = 0.0

    def asks(self, arrival: Arrival) -> None:
        """A session is wanted."""
        self.asked += 1
        if arrival.at >= self.since_s:
            self.asked_slot_s += arrival.length_s
            self.asked_of[arrival.tenant] += 1

    def served(self, arrival: Arrival, now: float, kept: Kept | None) -> None:
        """A session has got its first worker."""
        if arrival.at >= self.since_s:
            promised_s = np.nan if kept is None else kept.promised_s
            self.waits.append(Waited(arrival.at, arrival.tenant, now - arrival.at, promised_s))
            self.served_slot_s[arrival.tenant] += arrival.length_s

    def occupy(self, now: float, busy: int) -> None:
        """Since the last call so many slots were taken."""
        self.busy_slot_s += busy * (now - min(now, max(self._occupied_until, self.since_s)))
        self._occupied_until = now

    def look(self, moment: Moment) -> None:
        """Keep a moment."""
        self.moments.append(moment)

    def table(self) -> Numbers:
        """The waits: (sessions, 4), columns as in `Waited`."""
        return np.array(self.waits, dtype=np.float64).reshape(-1, 4)


def jain(shares: Iterable[float]) -> float:
    """(Σx)² / (n Σx²): 1 if all are alike, 1/n if one has everything (Jain, Chiu, Hawe 1984)."""
    each = np.fromiter(shares, dtype=np.float64)
    squares = float(np.square(each).sum()) * len(each)
    return float(each.sum()) ** 2 / squares if squares else 1.0


def percentiles(seconds: Sequence[float] | Numbers) -> dict[str, float]:
    """p50, p95 and p99; none of nothing."""
    if not len(seconds):
        return {}
    values = np.percentile(np.asarray(seconds), [50, 95, 99])
    return dict(zip(("p50", "p95", "p99"), values.tolist(), strict=True))
