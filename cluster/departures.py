"""Sessions that are to leave a worker which lives: what one has past its time, and what it cannot go on with."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Set
from typing import NamedTuple

from cluster.api import WorkerStatus
from cluster.policy import Pool


class Departure(NamedTuple):
    """A session and the worker that it is to leave."""

    worker: str
    tenant: str
    session_id: str


class Departures:
    """`now` is in seconds of the allocator's clock."""

    def __init__(self, now: Callable[[], float]) -> None:
        self._now = now
        self._leave_at: dict[str, float] = {}
        self._under_way: set[str] = set()

    @property
    def under_way(self) -> Set[str]:
        """Sessions that are being handed over; what becomes of them, the call will tell."""
        return self._under_way

    def leave_at(self, worker: str) -> float | None:
        """When the worker's sessions are to have left; None if they may end by themselves."""
        return self._leave_at.get(worker)

    def set(self, worker: str, at: float | None) -> None:
        """Its sessions are moved from then on, or not at all."""
        if at is None:
            self._leave_at.pop(worker, None)
        else:
            self._leave_at[worker] = at

    def due(self, pool: Pool, statuses: Iterable[WorkerStatus]) -> list[Departure]:
        """Who is to leave now, and is not leaving yet."""
        due = []
        for status in statuses:
            if status.model != pool.settings.model or status.name not in pool.workers:
                continue
            overdue = self._leave_at.get(status.name, math.inf) <= self._now()
            stranded = {held.session_id for held in status.sessions if held.stranded}
            for session_id, tenant in pool.workers[status.name].sessions.items():  # whatever else it claims
                if (overdue or session_id in stranded) and session_id not in self._under_way:
                    due.append(Departure(status.name, tenant, session_id))
        return due

    def begin(self, session_id: str) -> None:
        """It is being handed over until `end`."""
        self._under_way.add(session_id)

    def end(self, session_id: str) -> None:
        """It has been handed over, or cannot be."""
        self._under_way.discard(session_id)
