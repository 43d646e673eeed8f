"""The pool's policy: queue order, capacity, scale, and its integrity under any sequence of events."""

from __future__ import annotations

from collections import Counter

import pytest
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from cluster.errors import QueueFull
from cluster.policy import Pool, by_model
from cluster.records import PriorityClass, Ticket
from cluster.settings import PoolSettings

pytestmark = pytest.mark.fast

NOW = 1000.0


def pool_of(max_queue: int = 10, **settings: object) -> Pool:
    return Pool(PoolSettings(model="m", **settings), max_queue)


def ticket(session_id: str, tenant: str = "a", arrival: float = 0.0, priority: int = 1) -> Ticket:
    return Ticket(session_id=session_id, tenant=tenant, model="m", arrival=arrival, priority=priority)


def test_queue_is_fair_between_tenants_then_first_come_first_served():
    pool = pool_of(max_workers=1)
    pool.spawned("w", NOW)
    pool.loaded("w")
    pool.hold("w", "running", "bob")
    for n, (sid, tenant, priority) in enumerate(
        [("b1", "bob", 1), ("b2", "bob", 1), ("c1", "carol", 1), ("v1", "vip", 0)]
    ):
        pool.enqueue(ticket(sid, tenant, n, priority), NOW)
    assert [t.session_id for t in pool.order()] == ["v1", "c1", "b1", "b2"]
    assert [pool.place(sid, NOW).position for sid in ("v1", "c1", "b1", "b2")] == [0, 1, 2, 3]


def test_a_tenant_with_many_waiters_does_not_starve_another_one():
    pool = pool_of()
    for n in range(5):
        pool.enqueue(ticket(f"a{n}", "a", n), NOW)
    pool.enqueue(ticket("b0", "b", 99), NOW)
    assert [t.session_id for t in pool.order()][:3] == ["a0", "b0", "a1"]


def test_classes_are_strict_and_within_one_tenants_share():
    """A lower class waits while a higher one does, however long; within a class no tenant can push the others back."""
    pool = pool_of(max_queue=100, max_workers=1)
    pool.spawned("w", NOW)
    pool.loaded("w")
    pool.enqueue(ticket("low", "patient", 0, PriorityClass.LOW.rank), NOW)
    for n in range(20):
        pool.enqueue(ticket(f"high{n}", "greedy", 1 + n, PriorityClass.HIGH.rank), NOW)
    pool.enqueue(ticket("modest", "modest", 50, PriorityClass.HIGH.rank), NOW)
    served = []
    while (grant := pool.next_grant()) is not None:
        session_id = grant[0].session_id
        pool.hold("w", session_id, grant[0].tenant)
        served.append(session_id)
        pool.release(session_id, NOW)
    assert served[-1] == "low"
    assert served.index("modest") == 20, "each was over when the next began, so shares were equal and arrival decided"
    pool.hold("w", "running", "greedy")
    pool.enqueue(ticket("again", "greedy", 60, PriorityClass.HIGH.rank), NOW)
    pool.enqueue(ticket("later", "modest", 70, PriorityClass.HIGH.rank), NOW)
    pool.enqueue(ticket("lost", "patient", 80, 0), NOW)
    assert [t.session_id for t in pool.order()] == ["lost", "later", "again"]


def test_a_models_own_queue_limit_counts_before_the_general_one():
    pools = by_model([PoolSettings(model="a", max_queue=0), PoolSettings(model="b")], max_queue=2)
    with pytest.raises(QueueFull):
        pools["a"].enqueue(ticket("one"), NOW)
    pools["b"].enqueue(ticket("one"), NOW)
    pools["b"].enqueue(ticket("two"), NOW)
    with pytest.raises(QueueFull):
        pools["b"].enqueue(ticket("three"), NOW)


def one_after_the_other(pool: Pool) -> list[Ticket]:
    """Each grant raises its tenant's share; the next goes to the best of those that are left."""
    held = Counter(tenant for worker in pool.workers.values() for tenant in worker.sessions.values())
    left, served = list(pool.waiting.values()), []
    while left:
        best = min(left, key=lambda t: (t.priority, held[t.tenant], t.arrival, t.session_id))
        left.remove(best)
        held[best.tenant] += 1
        served.append(best)
    return served


@given(st.lists(st.tuples(st.sampled_from("abc"), st.integers(0, 2), st.integers(0, 5)), max_size=30))
def test_the_order_is_that_of_granting_one_after_the_other(waiters):
    pool = pool_of(max_queue=30)
    pool.spawned("w", NOW)
    pool.hold("w", "running", "a")
    for n, (tenant, priority, arrival) in enumerate(waiters):
        pool.enqueue(ticket(f"s{n:02}", tenant, arrival, priority), NOW)
    assert pool.order() == one_after_the_other(pool)


def test_full_queue_is_refused_but_a_session_that_lost_its_worker_is_not():
    pool = pool_of(max_queue=1)
    pool.enqueue(ticket("one"), NOW)
    with pytest.raises(QueueFull) as refusal:
        pool.enqueue(ticket("two"), NOW)
    assert refusal.value.retry_after_s > 0
    pool.enqueue(ticket("moved", priority=0), NOW)
    assert pool.place("moved", NOW).position == 0
    assert pool.place("two", NOW) is None


def test_enqueue_again_changes_nothing():
    pool = pool_of(max_queue=1)
    pool.enqueue(ticket("one", arrival=1), NOW)
    pool.enqueue(ticket("one", arrival=2), NOW)
    assert [t.arrival for t in pool.order()] == [1]


def test_loading_and_draining_workers_get_nothing():
    pool = pool_of()
    pool.spawned("w", NOW)
    pool.enqueue(ticket("one"), NOW)
    assert pool.next_grant() is None
    pool.loaded("w")
    assert pool.next_grant()[1].name == "w"
    pool.drain("w")
    assert pool.next_grant() is None


def test_a_worker_that_holds_what_the_pool_does_not_know_of_is_not_given_more():
    pool = pool_of()
    pool.spawned("w", NOW)
    pool.loaded("w")
    pool.told("w", others=1)
    pool.enqueue(ticket("one"), NOW)
    assert pool.next_grant() is None
    pool.told("w", others=0)
    assert pool.next_grant()[1].name == "w"


def test_scale_follows_sessions_waiters_and_warm_workers():
    pool = pool_of(max_workers=3, min_warm=1)
    assert pool.to_spawn() == 1
    pool.spawned("w1", NOW)
    pool.loaded("w1")
    assert pool.to_spawn() == 0
    pool.hold("w1", "one", "a")
    assert pool.to_spawn() == 1
    for n in range(5):
        pool.enqueue(ticket(f"q{n}"), NOW)
    assert pool.to_spawn() == 2, "never beyond max_workers"


def test_surplus_idle_workers_are_drained_and_busy_ones_never():
    pool = pool_of(max_workers=3, idle_s=0)
    for name in ("w1", "w2"):
        pool.spawned(name, NOW)
        pool.loaded(name)
    pool.hold("w1", "one", "a")
    assert pool.to_drain(NOW) == ["w2"]


def test_a_worker_is_let_go_once_it_was_not_wanted_for_a_while():
    """Else each end of a session would end a worker, and each beginning would wait for one to load."""
    pool = pool_of(max_workers=3, idle_s=60)
    for name in ("w1", "w2"):
        pool.spawned(name, NOW)
        pool.loaded(name)
        pool.hold(name, name, "a")
    assert pool.to_drain(NOW) == []
    pool.release("w2", NOW)
    assert pool.to_drain(NOW + 59) == [], "two were wanted within the last minute"
    pool.enqueue(ticket("again"), NOW)
    assert pool.to_spawn() == 0
    pool.cancel("again")
    assert pool.to_drain(NOW + 61) == ["w2"]


def test_sessions_fill_one_worker_before_the_next():
    pool = pool_of(max_workers=2, sessions_per_worker=2)
    for name in ("w1", "w2"):
        pool.spawned(name, NOW)
        pool.loaded(name)
    pool.hold("w1", "one", "a")
    pool.enqueue(ticket("two"), NOW)
    assert pool.next_grant()[1].name == "w1"


def test_a_worker_is_given_what_it_says_that_it_can_hold_and_others_are_wanted_for_the_rest():
    pool = pool_of(max_workers=3, sessions_per_worker=3)
    for n in range(3):
        pool.enqueue(ticket(f"s{n}", arrival=n), NOW)
    assert pool.to_spawn() == 1, "by the settings one could hold them all"
    pool.spawned("w1", NOW)
    pool.loaded("w1")
    pool.fits("w1", 2)
    assert (pool.free, pool.to_spawn()) == (2, 1)
    for _ in range(2):
        waiter, worker = pool.next_grant()
        pool.hold(worker.name, waiter.session_id, waiter.tenant)
    assert pool.next_grant() is None
    pool.fits("w1", 1)
    assert (pool.free, pool.to_spawn()) == (0, 1), "who is there stays, and is no reason for a worker of its own"
    pool.fits("w1", 5)
    assert pool.free == 1, "never more than its slots"
    pool.check_integrity()


class PoolMachine(RuleBasedStateMachine):
    """Whatever happens, nobody is lost, nobody is served twice, and no worker has more than its slots."""

    def __init__(self) -> None:
        super().__init__()
        self.pool = pool_of(max_queue=4, max_workers=3, min_warm=1, sessions_per_worker=2)
        self.expected: set[str] = set()
        self.count = 0
        self.now = NOW

    @rule(tenant=st.sampled_from("abc"), rank=st.integers(0, 3))
    def arrive(self, tenant: str, rank: int) -> None:
        self.count += 1
        try:
            self.pool.enqueue(ticket(f"s{self.count}", tenant, self.count, rank), self.now)
        except QueueFull:
            assert len(self.pool.waiting) >= 4
            assert rank
        else:
            self.expected.add(f"s{self.count}")

    @rule()
    def spawn(self) -> None:
        for _ in range(self.pool.to_spawn()):
            self.count += 1
            self.pool.spawned(f"w{self.count}", self.now)

    @precondition(lambda self: self.pool.workers)
    @rule(data=st.data())
    def load(self, data: st.DataObject) -> None:
        self.pool.loaded(data.draw(st.sampled_from(sorted(self.pool.workers))))

    @precondition(lambda self: self.pool.workers)
    @rule(data=st.data(), sessions=st.integers(1, 2))
    def measure(self, data: st.DataObject, sessions: int) -> None:
        self.pool.fits(data.draw(st.sampled_from(sorted(self.pool.workers))), sessions)

    @rule()
    def grant(self) -> None:
        if (grant := self.pool.next_grant()) is not None:
            self.pool.hold(grant[1].name, grant[0].session_id, grant[0].tenant)
            self.pool.runs(grant[0].session_id, self.now, self.now + 30)

    @precondition(lambda self: self.expected)
    @rule(data=st.data())
    def finish(self, data: st.DataObject) -> None:
        session_id = data.draw(st.sampled_from(sorted(self.expected)))
        self.pool.cancel(session_id)
        self.pool.release(session_id, self.now)
        self.expected.remove(session_id)

    @precondition(lambda self: self.pool.workers)
    @rule(data=st.data())
    def die(self, data: st.DataObject) -> None:
        name = data.draw(st.sampled_from(sorted(self.pool.workers)))
        for session_id in self.pool.gone(name):
            self.pool.enqueue(ticket(session_id, "a", 0, 0), self.now)

    @rule(seconds=st.floats(0, 100))
    def wait(self, seconds: float) -> None:
        self.now += seconds

    @rule()
    def drain(self) -> None:
        for name in self.pool.to_drain(self.now):
            assert not self.pool.workers[name].sessions
            self.pool.drain(name)

    @invariant()
    def all_are_accounted_for(self) -> None:
        self.pool.check_integrity()
        held = {sid for w in self.pool.workers.values() for sid in w.sessions}
        assert held | set(self.pool.waiting) == self.expected
        order = self.pool.order()
        assert order == one_after_the_other(self.pool)
        places = self.pool.places([waiter.session_id for waiter in order], self.now)
        assert [place.position for place in places.values()] == list(range(len(order)))
        waits = [place.eta_s for place in places.values()]
        known = [wait for wait in waits if wait is not None]
        assert waits[: len(known)] == sorted(known), (
            "nobody is served before who goes before, and beyond all is unknown"
        )
        assert len([w for w in self.pool.workers.values() if not w.draining]) <= 3


TestPoolMachine = PoolMachine.TestCase
TestPoolMachine.settings = hypothesis_settings(max_examples=60, stateful_step_count=40, deadline=None)
