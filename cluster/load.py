"""How many sessions a device can keep in time, by what their chunks cost it.

The device makes one chunk at a time, the one with the earliest deadline first, and none is interrupted
(`cluster.arbiter`). Each session needs a chunk per `period_s`, which is what a chunk plays, and its next one may be
asked for that long before playout runs dry. For such tasks the schedule exists, and this order finds it, if the sum of
cost/period is at most 1 and no chunk holds the device so long that one with a shorter period comes too late: K. Jeffay,
D. F. Stanat and C. U. Martel, "On Non-Preemptive Scheduling of Periodic and Sporadic Tasks", RTSS 1991.

Here all periods are the same, and each session asks for one chunk at a time. So at most one chunk of each other session
goes before any chunk: it is done within `sessions` times the cost. Costs are measured and the next one may be higher,
so the sum must stay at or below a bound under 1, and the longest chunk that was measured must fit in as well.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Callable

from cluster import metrics

SAMPLES = 64
"""Chunks by which the cost is judged: about a minute of one session."""
QUANTILE = 0.95


def in_time(sessions: int, *, cost_s: float, longest_s: float, period_s: float, bound: float) -> bool:
    """Whether no chunk of so many sessions is late, if chunks cost the device `cost_s` and one of them `longest_s`."""
    return sessions * cost_s <= bound * period_s and (sessions - 1) * cost_s + longest_s <= period_s


class Load:
    """What the sessions of one device ask of it. `changed` is called when there may be more or less room than before.

    Of `most` sessions as many have room as are in time, and always one: it has the device to itself, late or not.
    """

    def __init__(self, model: str, period_s: float, *, bound: float, most: int, changed: Callable[[], None]) -> None:
        self._model = model
        self.period_s = period_s
        self._bound = bound
        self._most = most
        self.changed = changed
        self._costs: deque[float] = deque(maxlen=SAMPLES)
        self._fitting = most
        self._sessions = 0

    def note(self, cost_s: float) -> None:
        """A chunk has held the device for so many seconds."""
        self._costs.append(cost_s)
        fitting = max((n for n in range(1, self._most + 1) if self._in_time(n)), default=1)
        changed, self._fitting = fitting != self._fitting, fitting
        self._observe(changed)

    def enter(self) -> None:
        """A session takes its place on the device."""
        self._sessions += 1
        self._observe(changed=True)

    def leave(self) -> None:
        """It has left."""
        self._sessions -= 1
        self._observe(changed=True)

    @property
    def cost_s(self) -> float:
        """What a chunk costs the device: the high end of what the last ones did; 0 while nothing is known."""
        return sorted(self._costs)[math.ceil(QUANTILE * (len(self._costs) - 1))] if self._costs else 0.0

    @property
    def fitting(self) -> int:
        """So many sessions can be on the device in time."""
        return self._fitting

    @property
    def room(self) -> bool:
        """Whether one more can."""
        return self._sessions < self._fitting

    @property
    def wait_s(self) -> float:
        """How long a session's chunk may have to wait until those of all others are made."""
        return max(0, self._sessions - 1) * self.cost_s

    def _in_time(self, sessions: int) -> bool:
        return in_time(
            sessions,
            cost_s=self.cost_s,
            longest_s=max(self._costs),
            period_s=self.period_s,
            bound=self._bound,
        )

    def _observe(self, changed: bool) -> None:
        metrics.DEVICE_LOAD.labels(self._model).set(self._sessions * self.cost_s / self.period_s)
        if changed:
            self.changed()
