"""Workers and clients around the policy: what `cluster.allocator` and `cluster.fleet` do with it, without their I/O.

The world keeps books of its own, and `check` compares the policy's with them: no session on two workers, none lost.
"""

from __future__ import annotations

import math
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from functools import partial

import numpy as np

from benchmarks.simulator.clock import Clock
from benchmarks.simulator.hosts import Hosts
from benchmarks.simulator.measures import Measures, Moment
from benchmarks.simulator.scenarios import Scenario
from benchmarks.simulator.workload import STEP_S, Arrival, arrivals
from cluster.errors import QueueFull
from cluster.policy import Pool
from cluster.promises import Promises
from cluster.records import Ticket
from cluster.settings import PoolSettings

CHECK_S = 600.0


@dataclass(slots=True)
class Session:
    """What its client would know of it."""

    id: str
    arrival: Arrival
    left_s: float
    worker: str | None = None
    runs_since: float = 0.0
    started_at: float | None = None
    lost_at: float | None = None
    grants: int = 0


@dataclass(slots=True)
class Worker:
    """`holds` is by its own word."""

    generation: int
    on_host: bool = False
    ready: bool = False
    leaving: bool = False
    holds: set[str] = field(default_factory=set)


class World:
    """One run. Everything in it follows from the scenario and the seed, or the arrivals if they are given."""

    def __init__(self, scenario: Scenario, seed: int, coming: Iterable[Arrival] | None = None) -> None:
        self.scenario = scenario
        self.seconds = scenario.hours * 3600
        self.clock = Clock()
        queue = round(scenario.max_queue * scenario.workers)
        self.pool = Pool(
            PoolSettings(
                model="simulated", max_workers=scenario.workers, min_warm=math.ceil(scenario.warm * scenario.workers)
            ),
            queue,
        )
        self.measures = Measures(len(scenario.tenants), scenario.settles * self.seconds)
        self.sessions: dict[str, Session] = {}
        self.workers: dict[str, Worker] = {}
        self._hosts = Hosts(scenario.workers, self._load)
        self._promises = Promises()
        self._chance = np.random.default_rng(seed)
        self._open = [0] * len(scenario.tenants)
        self._generation = 0
        self._busy = 0
        self._coming = self._arrivals(np.random.default_rng([seed, 1])) if coming is None else iter(coming)

    def run(self) -> Measures:
        """The whole of it."""
        self._next_arrival()
        for at in self.scenario.rollouts:
            self.clock.at(at * self.seconds, self._roll)
        self.clock.at(0.0, self._look)
        self.clock.at(CHECK_S, self._check_often)
        self.clock.run(self.seconds, after_each=self._settle)
        self.measures.occupy(self.clock.now, self._busy)
        self.check()
        return self.measures

    # --- clients ----------------------------------------------------------------------------------------------------

    def _arrivals(self, chance: np.random.Generator) -> Iterator[Arrival]:
        scenario = self.scenario
        per_s = scenario.load * scenario.workers / scenario.lasting.mean_s
        return arrivals(chance, self.seconds, per_s, scenario.shape, scenario.tenants, scenario.lasting)

    def _next_arrival(self) -> None:
        if (arrival := next(self._coming, None)) is not None:
            self.clock.at(arrival.at, partial(self._arrive, arrival))

    def _arrive(self, arrival: Arrival) -> None:
        self._next_arrival()
        self.measures.asks(arrival)
        limit = self.scenario.max_open
        if limit is not None and self._open[arrival.tenant] >= round(limit * self.scenario.workers):
            self.measures.over_quota += 1
            return
        session = Session(f"s{self.measures.asked}", arrival, arrival.length_s)
        try:
            self.pool.enqueue(self._ticket(session), self.clock.now)
        except QueueFull:
            self.measures.refused += 1
            return
        self.sessions[session.id] = session
        self._open[arrival.tenant] += 1
        self.measures.accepted += 1
        self._serve()
        place = self.pool.place(session.id, self.clock.now)
        if place is not None:
            self._promises.make(session.id, place.eta_s, self.clock.now)

    def _ticket(self, session: Session, moved: bool = False) -> Ticket:
        tenant = self.scenario.tenants[session.arrival.tenant]
        return Ticket(
            session_id=session.id,
            tenant=tenant.name,
            model="simulated",
            arrival=self.clock.now,
            priority=0 if moved else tenant.priority.rank,
        )

    # --- the allocator ----------------------------------------------------------------------------------------------

    def _settle(self) -> None:
        """What the allocator does whenever it has heard something."""
        self._serve()
        for _ in range(self.pool.to_spawn()):
            self._spawn()
        for name in self.pool.to_drain(self.clock.now):
            self._drain(name)

    def _serve(self) -> None:
        while (grant := self.pool.next_grant()) is not None:
            ticket, slots = grant
            self.pool.hold(slots.name, ticket.session_id, ticket.tenant)
            self._grant(self.sessions[ticket.session_id], slots.name)

    def _grant(self, session: Session, name: str) -> None:
        now, worker = self.clock.now, self.workers[name]
        assert session.worker is None, "a session on two workers"
        assert worker.ready, "a worker that loads was given a session"
        assert not worker.leaving, "a worker that leaves was given a session"
        if session.started_at is None:
            session.started_at = now
            self.measures.served(session.arrival, now, self._promises.keep(session.id, now))
        else:
            assert session.lost_at is not None
            self.measures.resumed.append(now - session.lost_at)
        session.worker, session.runs_since, session.grants = name, now, session.grants + 1
        worker.holds.add(session.id)
        deadline = session.started_at + self.scenario.lasting.longest_s
        self.pool.runs(session.id, session.started_at, deadline)
        self._occupy(+1)
        self.clock.at(min(now + session.left_s, deadline), partial(self._end, session, session.grants))

    def _end(self, session: Session, grants: int) -> None:
        if session.worker is None or session.grants != grants:
            return  # its worker died before
        self._occupy(-1)
        self.pool.release(session.id, self.clock.now)
        del self.sessions[session.id]
        self._open[session.arrival.tenant] -= 1
        self.measures.ended += 1
        worker = self.workers[session.worker]
        worker.holds.remove(session.id)
        if worker.leaving and not worker.holds:
            self._leave(session.worker)

    # --- workers ----------------------------------------------------------------------------------------------------

    def _spawn(self) -> None:
        name = f"w{self.measures.spawned:08}"
        self.measures.spawned += 1
        self.workers[name] = Worker(self._generation)
        self.pool.spawned(name, self.clock.now)
        self._hosts.ask(name)

    def _load(self, name: str) -> None:
        self.workers[name].on_host = True
        self.pool.started(name, self.clock.now)
        scenario = self.scenario
        takes_s = scenario.load_s * self._chance.lognormal(-(scenario.load_spread**2) / 2, scenario.load_spread)
        self.clock.after(takes_s, partial(self._loaded, name))
        if scenario.worker_lives_h is not None:
            self.clock.after(self._chance.exponential(scenario.worker_lives_h * 3600), partial(self._die, name))

    def _loaded(self, name: str) -> None:
        if (worker := self.workers.get(name)) is not None:
            worker.ready = True
            self.pool.loaded(name, self.clock.now - self.pool.workers[name].asked_at)

    def _drain(self, name: str) -> None:
        self.pool.drain(name)
        self.workers[name].leaving = True
        if not self.workers[name].holds:
            self._leave(name)

    def _leave(self, name: str) -> None:
        """It has nothing more to do; nothing is lost with it."""
        assert self.pool.gone(name) == [], "a worker left with a session"
        self._remove(name)

    def _die(self, name: str) -> None:
        if name not in self.workers:
            return
        self.measures.died += 1
        held = set(self.pool.gone(name))
        assert held == self.workers[name].holds, "the policy had other sessions on it"
        for session_id in sorted(held):
            self._lose(self.sessions[session_id])
        self._remove(name)

    def _lose(self, session: Session) -> None:
        now = self.clock.now
        self._occupy(-1)
        session.left_s -= now - session.runs_since
        session.worker, session.lost_at = None, now
        self.measures.moved += 1
        self.pool.enqueue(self._ticket(session, moved=True), now)

    def _remove(self, name: str) -> None:
        if self.workers.pop(name).on_host:
            self._hosts.give_back()
        else:
            self._hosts.withdraw(name)

    def _roll(self) -> None:
        """The generation is raised: all that are there take nothing new and leave as they idle."""
        self._generation += 1
        for name in [name for name, worker in self.workers.items() if not worker.leaving]:
            self._drain(name)

    # --- looking ----------------------------------------------------------------------------------------------------

    def _occupy(self, change: int) -> None:
        self.measures.occupy(self.clock.now, self._busy)
        self._busy += change

    def _look(self) -> None:
        """Once a minute."""
        self.clock.after(STEP_S, self._look)
        workers = self.workers.values()
        self.measures.look(
            Moment(
                at_s=self.clock.now,
                asked=self.scenario.load * self.scenario.shape(self.clock.now / self.seconds) * self.scenario.workers,
                busy=self._busy,
                ready=sum(worker.ready and not worker.leaving for worker in workers),
                loading=sum(worker.on_host and not worker.ready for worker in workers),
                draining=sum(worker.leaving for worker in workers),
                waiting=len(self.pool.waiting),
            )
        )

    def _check_often(self) -> None:
        self.clock.after(CHECK_S, self._check_often)
        self.check()

    def check(self) -> None:
        """Assert that the policy's books are right and are ours."""
        began = time.perf_counter()
        self.pool.check_integrity()
        self.measures.check_ms.append((time.perf_counter() - began) * 1000)
        running = {session.id: session.worker for session in self.sessions.values() if session.worker is not None}
        by_word = [(session_id, name) for name, worker in self.workers.items() for session_id in worker.holds]
        assert len(by_word) == len(running) == self._busy, "a session on two workers"
        assert dict(by_word) == running, "a session on another worker than it knows"
        by_policy = {sid: name for name, worker in self.pool.workers.items() for sid in worker.sessions}
        assert by_policy == running, "the policy has a session elsewhere"
        assert self.pool.waiting.keys() == self.sessions.keys() - running.keys(), "a session is lost"
        assert self.lost == 0, "a session is lost"
        assert sum(worker.on_host for worker in self.workers.values()) == self._hosts.count - self._hosts.free

    @property
    def lost(self) -> int:
        """Sessions that were accepted and neither ended nor are there."""
        return self.measures.accepted - self.measures.ended - len(self.sessions)
