"""Who gets which worker, as a pure class: no clock, no Ray, no Redis. One `Pool` per model.

The order of the queue is (priority class, sessions the tenant holds, arrival): a tenant with nothing running goes
before one that already has a worker, and within that first come, first served. Classes are strict. A full pool is just
waiting; a full queue is a typed refusal. The pool wants as many workers as it has sessions and waiters, plus `min_warm`
idle ones, up to a maximum. It lets workers go that it has not wanted for `idle_s`: else each end of a session would end
a worker, and each session would wait for one to load.

`now`, like every time here, is in seconds of one clock of the caller's. Nothing but `check_integrity` and what asks for
everybody at once looks at every worker or waiter.
"""

from __future__ import annotations

import math
from bisect import bisect_left, insort
from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import NamedTuple

import numpy as np

from cluster.arrivals import Arrivals
from cluster.errors import QueueFull
from cluster.forecast import Behind, Forecast, Room, Running, announced, sample
from cluster.lengths import Lengths
from cluster.peak import Peak
from cluster.records import Place, Ticket
from cluster.settings import PoolSettings
from cluster.slots import Crew, Slots
from cluster.waiters import Standing, Waiters

HISTORY = 0.2
"""Weight of the newest sample in the running mean of load times."""
RETRY_S = (1, 60)
"""When a queue is full: the soonest and the latest that anybody is told to try again."""
RETRY_UNKNOWN_S = 5
MANY = 64
"""Waits that are foreseen one by one when all are asked for at once."""
START_S = 5.0
"""A worker's process takes this long to start at most; what it takes longer to begin to load, it waited for a place."""


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
        self._arrivals = Arrivals()
        self._held: dict[str, Held] = {}
        self._oldest: list[tuple[float, str]] = []
        """(since, session id) of the sessions that run."""
        self._lengths = Lengths()
        self._mean_load_s: float | None = None
        self._wanted_lately = Peak(settings.idle_s)

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
        if ticket.priority > 0:
            self._arrivals.add(ticket.arrival, ticket.priority, ticket.tenant)

    def cancel(self, session_id: str) -> None:
        """Remove a waiter, if it waits."""
        self._queue.discard(session_id)

    def order(self) -> list[Ticket]:
        """The queue as it would be served now."""
        return self._queue.order()

    def places(self, session_ids: Collection[str], now: float) -> dict[str, Place]:
        """The places of those of these sessions that wait."""
        standings = {sid: standing for sid in session_ids if (standing := self._queue.standing(sid)) is not None}
        ranked = sorted(standings.values(), key=lambda standing: standing.position)
        waits = self._waits_s(ranked, now)
        return {
            session_id: Place(standing.position, announced(waits[standing.position]), standing.priority == 0)
            for session_id, standing in standings.items()
        }

    def _waits_s(self, ranked: Sequence[Standing], now: float) -> dict[int, float | None]:
        """By position. Of very many some are foreseen and the others are taken to be between them."""
        if not ranked:
            return {}
        chosen = [ranked[n] for n in sorted({0, len(ranked) - 1, *sample(range(len(ranked)), MANY)[0]})]
        rivals = self._arrivals.rivals(self._queue.share, now)
        waits = self._forecast(now).waits_s(
            [Behind(each.position, rivals.of(each.tenant, each.priority, each.share)) for each in chosen]
        )
        known = [(each.position, wait_s) for each, wait_s in zip(chosen, waits, strict=True) if wait_s is not None]
        found: dict[int, float | None] = dict.fromkeys((each.position for each in ranked), None)
        if known:
            at, waits_s = zip(*known, strict=True)
            near = [position for position in found if at[0] <= position <= at[-1]]
            found.update(zip(near, np.interp(near, at, waits_s).tolist(), strict=True))
        return found

    def place(self, session_id: str, now: float) -> Place | None:
        """A waiter's place; None if it does not wait."""
        return self.places([session_id], now).get(session_id)

    def _retry_after_s(self, now: float) -> int:
        (wait_s,) = self._forecast(now).waits_s([Behind(0)])
        least, most = RETRY_S
        return RETRY_UNKNOWN_S if wait_s is None else min(most, max(least, math.ceil(wait_s)))

    def _forecast(self, now: float) -> Forecast:
        sampled, running_each = sample(self._oldest)
        holds = [(since, self._held[session_id]) for since, session_id in sampled]
        running = [
            Running(max(0.0, now - since), held.deadline - now, self.workers[held.worker].draining)
            for since, held in holds
        ]
        loading, loading_each = self._loading(now)
        per = self._fit[1] / self._fit[0]
        room = Room(self._places_left() * per, self._mean_load_s)
        return Forecast(self._lengths, self.free, running, running_each, loading, loading_each * per, room)

    def _places_left(self) -> int:
        """How many workers more there could be than are, leave, and are about to be asked for; below 0, how many of
        these have to wait until others have left."""
        if self._mean_load_s is None:
            return 0
        return self.settings.max_workers - self._crew.sum.staying - self._crew.sum.leaving - self.to_spawn()

    def _loading(self, now: float) -> tuple[list[float], float]:
        """Seconds until workers are ready, of those that load and those that are about to be asked for, but for those
        that wait until others have left."""
        if self._mean_load_s is None:
            return [], 1.0
        started = [worker.asked_at for worker in self._crew.loading.values() if worker.started]
        pending = [worker.asked_at for worker in self._crew.loading.values() if not worker.started]
        pending += [now] * self.to_spawn()
        sampled, each = sample(started + pending[: max(0, len(pending) + min(0, self._places_left()))])
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

    def started(self, name: str, now: float) -> None:
        """A worker has its place and loads."""
        worker = self.workers[name]
        worker.started, worker.asked_at = True, max(worker.asked_at, now - START_S)
        self._crew.update(worker)

    def loaded(self, name: str, after_s: float | None = None) -> None:
        """A worker is ready, `after_s` seconds after it was asked for or, if it had to wait for one, had its place."""
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

    def fits(self, name: str, sessions: int) -> None:
        """A worker says how many sessions it may hold: by its device perhaps less than the settings allow."""
        self.workers[name].capacity = min(sessions, self.settings.sessions_per_worker)
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
        workers, fit = self._fit
        return min(self.settings.max_workers, -(-sessions * workers // fit) + self.settings.min_warm)

    @property
    def _fit(self) -> tuple[int, int]:
        """So many workers hold so many sessions: those that are ready, by their own words; else by the settings."""
        tally = self._crew.sum
        return (tally.ready, tally.fit) if tally.fit else (1, self.settings.sessions_per_worker)

    def to_spawn(self) -> int:
        """How many workers are missing."""
        return max(0, self.wanted() - self._crew.sum.staying)

    def to_drain(self, now: float) -> list[str]:
        """Idle workers beyond what was wanted at any time in the last `idle_s` in which this was asked."""
        return self._crew.idle(self._crew.sum.staying - self._wanted_lately.note(self.wanted(), now))

    def check_integrity(self) -> None:
        """Assert what must always hold."""
        held = [(sid, name) for name, worker in self.workers.items() for sid in worker.sessions]
        assert len(held) == len(self._held), "a session on two workers"
        assert all(self._held[sid].worker == name for sid, name in held), "a session on another worker"
        assert not self._held.keys() & self.waiting.keys(), "a session both held and waiting"
        slots = self.settings.sessions_per_worker
        assert all(len(w.sessions) <= slots for w in self.workers.values()), "a worker with more sessions than slots"
        self._crew.check_integrity()
        self._queue.check_integrity(Counter(each.tenant for each in self._held.values()))


def by_model(pools: Iterable[PoolSettings], max_queue: int) -> dict[str, Pool]:
    """One pool per model."""
    return {settings.model: Pool(settings, max_queue) for settings in pools}
