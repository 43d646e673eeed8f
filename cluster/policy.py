"""Who gets which worker, as a pure class: no clock, no Ray, no Redis. One `Pool` per model.

The order of the queue is (priority class, sessions the tenant holds, arrival): a tenant with nothing running goes
before one that already has a worker, and within that first come, first served. Classes are strict. A full pool is just
waiting; a full queue is a typed refusal. The pool wants as many workers as it has sessions and waiters, plus `min_warm`
idle ones, up to a maximum.

`now`, like every time here, is in seconds of one clock of the caller's. Nothing but `check_integrity` and what asks for
everybody at once looks at every worker or waiter.
"""

from __future__ import annotations

import math
from bisect import bisect_left, insort
from collections import Counter
from collections.abc import Collection, Iterable, Mapping
from typing import NamedTuple

from cluster.errors import QueueFull
from cluster.forecast import Forecast, Running, announced, sample
from cluster.lengths import Lengths
from cluster.records import Place, Ticket
from cluster.settings import PoolSettings
from cluster.slots import Crew, Slots
from cluster.waiters import Waiters

HISTORY = 0.2
"""Weight of the newest sample in the running mean of load times."""
RETRY_S = (1, 60)
"""When a queue is full: the soonest and the latest that anybody is told to try again."""
RETRY_UNKNOWN_S = 5


class Held(NamedTuple):
    """A session's worker, and since and until when it may run, once that is known."""

    worker: str
    tenant: str
    since: float | None = None
    deadline: float = math.inf


class Pool:
    """The workers of one model and the queue for them."""

    def __init__(self, settings: PoolSettings, max_queue: int) -> None:
        self.settings = settings
        self.max_queue = max_queue if settings.max_queue is None else settings.max_queue
        self._crew = Crew()
        self._queue = Waiters()
        self._held: dict[str, Held] = {}
        self._oldest: list[tuple[float, str]] = []
        """(since, session id) of the sessions that run."""
        self._lengths = Lengths()
        self._mean_load_s: float | None = None

    @property
    def workers(self) -> Mapping[str, Slots]:
        """By name; to be changed by this class's methods alone."""
        return self._crew.all

    @property
    def waiting(self) -> Mapping[str, Ticket]:
        """By session id, in no order."""
        return self._queue.tickets

    # --- the queue ------------------------------------------------------------------------------------------------

    def enqueue(self, ticket: Ticket, now: float) -> None:
        """Add a waiter; again with the same session id changes nothing. Sessions that lost their worker always fit.

        Raises:
            QueueFull: `max_queue` new sessions wait already and no slot is free.
        """
        if ticket.session_id in self.waiting or ticket.session_id in self._held:
            return
        if len(self.waiting) >= self.max_queue + self.free and ticket.priority > 0:
            text = f"{len(self.waiting)} sessions are waiting for {self.settings.model}"
            raise QueueFull(text, self._retry_after_s(now))
        self._queue.add(ticket)

    def cancel(self, session_id: str) -> None:
        """Remove a waiter, if it waits."""
        self._queue.discard(session_id)

    def order(self) -> list[Ticket]:
        """The queue as it would be served now."""
        return self._queue.order()

    def places(self, session_ids: Collection[str], now: float) -> dict[str, Place]:
        """The places of those of these sessions that wait."""
        positions = {sid: position for sid in session_ids if (position := self._queue.position(sid)) is not None}
        waits = self._forecast(now).waits_s(list(positions.values())) if positions else []
        return {
            session_id: Place(position, announced(wait_s))
            for (session_id, position), wait_s in zip(positions.items(), waits, strict=True)
        }

    def place(self, session_id: str, now: float) -> Place | None:
        """A waiter's place; None if it does not wait."""
        return self.places([session_id], now).get(session_id)

    def _retry_after_s(self, now: float) -> int:
        (wait_s,) = self._forecast(now).waits_s([0])
        least, most = RETRY_S
        return RETRY_UNKNOWN_S if wait_s is None else min(most, max(least, math.ceil(wait_s)))

    def _forecast(self, now: float) -> Forecast:
        sampled, running_each = sample(self._oldest)
        holds = [self._held[session_id] for _, session_id in sampled]
        running = [
            Running(max(0.0, now - held.since), held.deadline - now)
            for held in holds
            if held.since is not None and not self.workers[held.worker].draining
        ]
        loading, loading_each = self._loading(now)
        per = self.settings.sessions_per_worker
        return Forecast(self._lengths, self.free, running, running_each, loading, loading_each * per)

    def _loading(self, now: float) -> tuple[list[float], float]:
        """Seconds until workers are ready, of those that load and those that are about to be asked for."""
        if self._mean_load_s is None:
            return [], 1.0
        asked_at = [worker.asked_at for worker in self._crew.loading.values()] + [now] * self.to_spawn()
        sampled, each = sample(asked_at)
        # one that is late is expected to take as long again
        return [abs(self._mean_load_s - (now - at)) for at in sampled], each

    # --- grants ---------------------------------------------------------------------------------------------------

    @property
    def free(self) -> int:
        """Sessions that the pool could take now."""
        return self._crew.sum.free

    def next_grant(self) -> tuple[Ticket, Slots] | None:
        """The next waiter and its worker, or None: the fullest that still fits, so that others can be let go."""
        worker = self._crew.fullest()
        return (self._queue.first(), worker) if worker is not None and self.waiting else None

    def hold(self, worker: str, session_id: str, tenant: str) -> None:
        """Note that a worker holds the session now, and no other one."""
        self.release(session_id)
        self._held[session_id] = Held(worker, tenant)
        slots = self.workers[worker]
        slots.sessions[session_id] = tenant
        self._crew.update(slots)
        self._queue.hold(session_id, tenant)

    def runs(self, session_id: str, since: float, deadline: float) -> None:
        """Note since when a session that is held has run, and when it ends at the latest."""
        if (held := self._held.get(session_id)) is not None:
            self._stop(session_id, held)
            self._held[session_id] = held._replace(since=since, deadline=deadline)
            insort(self._oldest, (since, session_id))

    def release(self, session_id: str, now: float | None = None) -> None:
        """Note that a worker holds the session no more; with `now`, that the session is over."""
        if (held := self._held.pop(session_id, None)) is None:
            return
        self._stop(session_id, held)
        if now is not None and held.since is not None:
            self._lengths.add(max(0.0, now - held.since))
        slots = self.workers[held.worker]
        del slots.sessions[session_id]
        self._crew.update(slots)
        self._queue.release(held.tenant)

    def _stop(self, session_id: str, held: Held) -> None:
        if held.since is not None:
            del self._oldest[bisect_left(self._oldest, (held.since, session_id))]

    def holder(self, session_id: str) -> Slots | None:
        """The worker that holds a session."""
        held = self._held.get(session_id)
        return None if held is None else self.workers[held.worker]

    # --- workers --------------------------------------------------------------------------------------------------

    def spawned(self, name: str, now: float) -> None:
        """A worker has been asked for."""
        self._crew.update(Slots(name, self.settings.sessions_per_worker, asked_at=now))

    def loaded(self, name: str, after_s: float | None = None) -> None:
        """A worker is ready, `after_s` seconds after it was asked for."""
        self.workers[name].ready = True
        self._crew.update(self.workers[name])
        if after_s is not None:
            mean = self._mean_load_s
            self._mean_load_s = after_s if mean is None else (1 - HISTORY) * mean + HISTORY * after_s

    def drain(self, name: str) -> None:
        """A worker takes nothing new from now on."""
        self.workers[name].draining = True
        self._crew.update(self.workers[name])

    def told(self, name: str, others: int) -> None:
        """A worker says how many sessions it holds that the pool knows nothing of."""
        self.workers[name].others = others
        self._crew.update(self.workers[name])

    def gone(self, name: str) -> list[str]:
        """A worker is no more; the ids of the sessions it held."""
        worker = self.workers.get(name)
        lost = list(worker.sessions) if worker else []
        for session_id in lost:
            self.release(session_id)
        self._crew.remove(name)
        return lost

    def wanted(self) -> int:
        """How many workers to have now."""
        sessions = len(self.waiting) + self._crew.sum.held
        return min(
            self.settings.max_workers, -(-sessions // self.settings.sessions_per_worker) + self.settings.min_warm
        )

    def to_spawn(self) -> int:
        """How many workers are missing."""
        return max(0, self.wanted() - self._crew.sum.staying)

    def to_drain(self) -> list[str]:
        """Idle workers beyond what is wanted."""
        return self._crew.idle(self._crew.sum.staying - self.wanted())

    def check_integrity(self) -> None:
        """Assert what must always hold."""
        held = [(sid, name) for name, worker in self.workers.items() for sid in worker.sessions]
        assert len(held) == len(self._held), "a session on two workers"
        assert all(self._held[sid].worker == name for sid, name in held), "a session on another worker"
        assert not self._held.keys() & self.waiting.keys(), "a session both held and waiting"
        assert all(len(w.sessions) <= w.capacity for w in self.workers.values()), "a worker over its capacity"
        self._crew.check_integrity()
        self._queue.check_integrity(Counter(each.tenant for each in self._held.values()))


def by_model(pools: Iterable[PoolSettings], max_queue: int) -> dict[str, Pool]:
    """One pool per model."""
    return {settings.model: Pool(settings, max_queue) for settings in pools}
