"""The workers of a pool as the policy sees them, with what is asked of all of them kept as sums."""

from __future__ import annotations

from bisect import bisect_left, insort
from dataclasses import dataclass, field
from itertools import islice, takewhile
from typing import NamedTuple


@dataclass(slots=True)
class Slots:
    """A worker. `ready` once the model is loaded; a draining one takes nothing new."""

    name: str
    capacity: int
    """Sessions that it may hold."""
    asked_at: float
    """When it was asked for."""
    started: bool = False
    """Whether it has a place; until then it waits for one."""
    ready: bool = False
    draining: bool = False
    sessions: dict[str, str] = field(default_factory=dict)
    """Tenant by session id."""
    others: int = 0
    """Sessions that it holds by its own word though the pool has released them."""

    @property
    def free(self) -> int:
        """Sessions that it could take now."""
        return max(0, self.capacity - len(self.sessions) - self.others) if self.ready and not self.draining else 0


class Tally(NamedTuple):
    """What a worker, or all of them, add up to."""

    free: int = 0
    """Sessions that could be taken now."""
    staying: int = 0
    """Workers that do not drain."""
    held: int = 0
    """Sessions on these."""
    leaving: int = 0
    """Workers that drain and still hold sessions."""
    ready: int = 0
    """Workers that are loaded and do not drain."""
    fit: int = 0
    """Sessions that these hold or could take."""

    @classmethod
    def of(cls, worker: Slots) -> Tally:
        """One worker's."""
        if worker.draining:
            return cls(leaving=int(bool(worker.sessions)))
        held = len(worker.sessions)
        return cls(worker.free, 1, held, ready=int(worker.ready), fit=(held + worker.free) * worker.ready)


class Crew:
    """All workers of a pool. They are looked at freely and changed through here alone, so that the sums hold."""

    def __init__(self) -> None:
        self.all: dict[str, Slots] = {}
        self.loading: dict[str, Slots] = {}
        self._sum = Tally()
        self._of: dict[str, Tally] = {}
        self._fitting: list[tuple[int, str]] = []
        """(sessions, name) of the workers that can take one."""

    @property
    def sum(self) -> Tally:
        """Over all workers."""
        return self._sum

    def update(self, worker: Slots) -> None:
        """Take a worker in, or what has changed of it."""
        self._leave(worker.name)
        self.all[worker.name] = worker
        tally = self._of[worker.name] = Tally.of(worker)
        self._sum = Tally(*(a + b for a, b in zip(self._sum, tally, strict=True)))
        if not worker.ready and not worker.draining:
            self.loading[worker.name] = worker
        if tally.free:
            insort(self._fitting, (tally.held, worker.name))

    def remove(self, name: str) -> Slots | None:
        """A worker is no more."""
        self._leave(name)
        return self.all.pop(name, None)

    def fullest(self) -> Slots | None:
        """The fullest worker that can take another session, so that others can be let go."""
        return self.all[self._fitting[-1][1]] if self._fitting else None

    def idle(self, count: int) -> list[str]:
        """Names of so many workers that hold nothing, or of as many as there are."""
        return [name for _, name in islice(takewhile(lambda each: each[0] == 0, self._fitting), max(0, count))]

    def _leave(self, name: str) -> None:
        tally = self._of.pop(name, Tally())
        self._sum = Tally(*(a - b for a, b in zip(self._sum, tally, strict=True)))
        self.loading.pop(name, None)
        if tally.free:
            del self._fitting[bisect_left(self._fitting, (tally.held, name))]

    def check_integrity(self) -> None:
        """Assert that the sums are those of the workers."""
        staying = [worker for worker in self.all.values() if not worker.draining]
        leaving = sum(worker.draining and bool(worker.sessions) for worker in self.all.values())
        ready = [worker for worker in staying if worker.ready]
        held = sum(len(worker.sessions) for worker in staying)
        fit = sum(len(worker.sessions) + worker.free for worker in ready)
        tally = Tally(sum(w.free for w in staying), len(staying), held, leaving, len(ready), fit)
        assert self._sum == tally, "the sums are not those of the workers"
        fitting = sorted((len(worker.sessions), name) for name, worker in self.all.items() if worker.free)
        assert self._fitting == fitting, "the workers that fit are others"
