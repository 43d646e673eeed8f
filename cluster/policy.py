"""Who gets which worker, as a pure class: no clock, no Ray, no Redis. One `Pool` per model.

The order of the queue is (priority class, sessions the tenant holds, arrival): a tenant with nothing running goes
before one that already has a worker, and within that first come, first served. A full pool is just waiting; a full
queue is a typed refusal. The pool wants as many workers as it has sessions and waiters, plus `min_warm` idle ones, up
to a maximum.
"""

from __future__ import annotations

import heapq
from collections import Counter, defaultdict, deque
from collections.abc import Collection, Iterable
from dataclasses import dataclass, field

from cluster.errors import QueueFull
from cluster.records import Ticket
from cluster.settings import PoolSettings

HISTORY = 0.2
"""Weight of the newest sample in the running mean of session length and load time."""


@dataclass(slots=True)
class Slots:
    """A worker as the policy sees it. `ready` once the model is loaded; a draining one takes nothing new."""

    name: str
    capacity: int
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


@dataclass(frozen=True, slots=True)
class Place:
    """A waiter's zero-based position, and the expected wait in seconds where something is known to go by."""

    position: int
    eta_s: float | None


def _arrival(ticket: Ticket) -> tuple[float, str]:
    return ticket.arrival, ticket.session_id


def _head(queue: deque[Ticket], held: Counter[str]) -> tuple[int, int, float, str, str]:
    """The first of a tenant's waiters of one priority, as the order of the queue sees it."""
    first = queue[0]
    return first.priority, held[first.tenant], *_arrival(first), first.tenant


class Pool:
    """The workers of one model and the queue for them."""

    def __init__(self, settings: PoolSettings, max_queue: int) -> None:
        self.settings = settings
        self.max_queue = max_queue
        self.workers: dict[str, Slots] = {}
        self.waiting: dict[str, Ticket] = {}
        self._mean_session_s: float | None = None
        self._mean_load_s: float | None = None

    # --- the queue ------------------------------------------------------------------------------------------------

    def enqueue(self, ticket: Ticket) -> None:
        """Add a waiter; again with the same session id changes nothing. Sessions that lost their worker always fit.

        Raises:
            QueueFull: `max_queue` new sessions wait already and no slot is free.
        """
        if ticket.session_id in self.waiting or self.holder(ticket.session_id):
            return
        full = len(self.waiting) >= self.max_queue + self.free
        if full and ticket.priority > 0:
            raise QueueFull(f"{len(self.waiting)} sessions are waiting for {self.settings.model}")
        self.waiting[ticket.session_id] = ticket

    def cancel(self, session_id: str) -> None:
        """Remove a waiter, if it waits."""
        self.waiting.pop(session_id, None)

    def order(self) -> list[Ticket]:
        """The queue as it would be served now."""
        held = Counter(tenant for worker in self.workers.values() for tenant in worker.sessions.values())
        queues: dict[tuple[int, str], deque[Ticket]] = defaultdict(deque)
        for ticket in sorted(self.waiting.values(), key=_arrival):
            queues[ticket.priority, ticket.tenant].append(ticket)
        heads = [_head(queue, held) for queue in queues.values()]
        heapq.heapify(heads)
        served: list[Ticket] = []
        while heads:
            priority, share, *_, tenant = heapq.heappop(heads)
            queue = queues[priority, tenant]
            if share == held[tenant]:  # else it was granted something at a higher priority: back with its new share
                served.append(queue.popleft())
                held[tenant] += 1
            if queue:
                heapq.heappush(heads, _head(queue, held))
        return served

    def places(self, session_ids: Collection[str]) -> dict[str, Place]:
        """The places of those of these sessions that wait."""
        wanted = set(session_ids)
        return {
            ticket.session_id: Place(position, self._eta(position))
            for position, ticket in enumerate(self.order())
            if ticket.session_id in wanted
        }

    def place(self, session_id: str) -> Place | None:
        """A waiter's place; None if it does not wait."""
        return self.places([session_id]).get(session_id)

    def _eta(self, position: int) -> float | None:
        coming = sum(w.capacity for w in self.workers.values() if not w.ready and not w.draining)
        if position < self.free:
            return 0.0
        if position < self.free + coming:
            return self._mean_load_s
        slots = self.settings.max_workers * self.settings.sessions_per_worker
        return None if self._mean_session_s is None else self._mean_session_s * (position + 1) / slots

    # --- grants ---------------------------------------------------------------------------------------------------

    @property
    def free(self) -> int:
        """Sessions that the pool could take now."""
        return sum(worker.free for worker in self.workers.values())

    def next_grant(self) -> tuple[Ticket, Slots] | None:
        """The next waiter and its worker, or None: the fullest that still fits, so that others can be let go."""
        fitting = [worker for worker in self.workers.values() if worker.free]
        if not fitting or not self.waiting:
            return None
        return self.order()[0], max(fitting, key=lambda w: (len(w.sessions), w.name))

    def hold(self, worker: str, ticket: Ticket) -> None:
        """Note that a worker holds the session now."""
        self.waiting.pop(ticket.session_id, None)
        self.workers[worker].sessions[ticket.session_id] = ticket.tenant

    def release(self, session_id: str, lasted_s: float | None = None) -> None:
        """Note that a session is over."""
        if (worker := self.holder(session_id)) is not None:
            del worker.sessions[session_id]
            if lasted_s is not None:
                self._mean_session_s = _mix(self._mean_session_s, lasted_s)

    def holder(self, session_id: str) -> Slots | None:
        """The worker that holds a session."""
        return next((w for w in self.workers.values() if session_id in w.sessions), None)

    # --- workers --------------------------------------------------------------------------------------------------

    def spawned(self, name: str) -> None:
        """A worker has been asked for."""
        self.workers[name] = Slots(name, self.settings.sessions_per_worker)

    def loaded(self, name: str, after_s: float | None = None) -> None:
        """A worker is ready, `after_s` seconds after it was asked for."""
        self.workers[name].ready = True
        if after_s is not None:
            self._mean_load_s = _mix(self._mean_load_s, after_s)

    def gone(self, name: str) -> list[str]:
        """A worker is no more; the ids of the sessions it held."""
        worker = self.workers.pop(name, None)
        return list(worker.sessions) if worker else []

    def wanted(self) -> int:
        """How many workers to have now."""
        per = self.settings.sessions_per_worker
        sessions = len(self.waiting) + sum(len(w.sessions) for w in self._staying())
        return min(self.settings.max_workers, -(-sessions // per) + self.settings.min_warm)

    def to_spawn(self) -> int:
        """How many workers are missing."""
        return max(0, self.wanted() - len(self._staying()))

    def to_drain(self) -> list[str]:
        """Idle workers beyond what is wanted."""
        idle = [w.name for w in self._staying() if w.ready and not w.sessions]
        surplus = len(self._staying()) - self.wanted()
        return sorted(idle)[: max(0, surplus)]

    def _staying(self) -> list[Slots]:
        return [w for w in self.workers.values() if not w.draining]

    def check_integrity(self) -> None:
        """Assert what must always hold."""
        held = [sid for worker in self.workers.values() for sid in worker.sessions]
        assert len(held) == len(set(held)), "a session on two workers"
        assert not set(held) & set(self.waiting), "a session both held and waiting"
        assert all(len(w.sessions) <= w.capacity for w in self.workers.values()), "a worker over its capacity"


def by_model(pools: Iterable[PoolSettings], max_queue: int) -> dict[str, Pool]:
    """One pool per model."""
    return {settings.model: Pool(settings, max_queue) for settings in pools}


def _mix(mean: float | None, sample: float) -> float:
    return sample if mean is None else (1 - HISTORY) * mean + HISTORY * sample
