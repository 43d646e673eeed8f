"""The pool's policy: queue order, capacity, scale, and its integrity under any sequence of events."""

from __future__ import annotations

from collections import Counter

import pytest
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from cluster.errors import QueueFull
from cluster.policy import Pool
from cluster.records import Ticket
from cluster.settings import PoolSettings

pytestmark = pytest.mark.fast


def pool_of(max_queue: int = 10, **settings: object) -> Pool:
    return Pool(PoolSettings(model="m", **settings), max_queue)


def ticket(session_id: str, tenant: str = "a", arrival: float = 0.0, priority: int = 1) -> Ticket:
    return Ticket(session_id=session_id, tenant=tenant, model="m", arrival=arrival, priority=priority)


def test_queue_is_fair_between_tenants_then_first_come_first_served():
    pool = pool_of(max_workers=1)
    pool.spawned("w")
    pool.loaded("w")
    pool.hold("w", ticket("running", "bob"))
    for n, (sid, tenant, priority) in enumerate(
        [("b1", "bob", 1), ("b2", "bob", 1), ("c1", "carol", 1), ("v1", "vip", 0)]
    ):
        pool.enqueue(ticket(sid, tenant, n, priority))
    assert [t.session_id for t in pool.order()] == ["v1", "c1", "b1", "b2"]
    assert [pool.place(sid).position for sid in ("v1", "c1", "b1", "b2")] == [0, 1, 2, 3]


def test_a_tenant_with_many_waiters_does_not_starve_another_one():
    pool = pool_of()
    for n in range(5):
        pool.enqueue(ticket(f"a{n}", "a", n))
    pool.enqueue(ticket("b0", "b", 99))
    assert [t.session_id for t in pool.order()][:3] == ["a0", "b0", "a1"]


@given(st.lists(st.tuples(st.sampled_from("abc"), st.integers(0, 2), st.integers(0, 5)), max_size=30))
def test_the_order_is_that_of_granting_one_after_the_other(waiters):
    """Each grant raises its tenant's share; the next goes to the best of those that are left."""
    pool = pool_of(max_queue=30)
    pool.spawned("w")
    pool.hold("w", ticket("running", "a"))
    for n, (tenant, priority, arrival) in enumerate(waiters):
        pool.enqueue(ticket(f"s{n:02}", tenant, arrival, priority))
    held, left, expected = Counter("a"), list(pool.waiting.values()), []
    while left:
        best = min(left, key=lambda t: (t.priority, held[t.tenant], t.arrival, t.session_id))
        left.remove(best)
        held[best.tenant] += 1
        expected.append(best)
    assert pool.order() == expected


def test_full_queue_is_refused_but_a_session_that_lost_its_worker_is_not():
    pool = pool_of(max_queue=1)
    pool.enqueue(ticket("one"))
    with pytest.raises(QueueFull) as refusal:
        pool.enqueue(ticket("two"))
    assert refusal.value.retry_after_s > 0
    pool.enqueue(ticket("moved", priority=0))
    assert pool.place("moved").position == 0
    assert pool.place("two") is None


def test_enqueue_again_changes_nothing():
    pool = pool_of(max_queue=1)
    pool.enqueue(ticket("one", arrival=1))
    pool.enqueue(ticket("one", arrival=2))
    assert [t.arrival for t in pool.order()] == [1]


def test_loading_and_draining_workers_get_nothing():
    pool = pool_of()
    pool.spawned("w")
    pool.enqueue(ticket("one"))
    assert pool.next_grant() is None
    pool.loaded("w")
    pool.workers["w"].draining = True
    assert pool.next_grant() is None
    pool.workers["w"].draining = False
    assert pool.next_grant()[1].name == "w"


def test_scale_follows_sessions_waiters_and_warm_workers():
    pool = pool_of(max_workers=3, min_warm=1)
    assert pool.to_spawn() == 1
    pool.spawned("w1")
    pool.loaded("w1")
    assert pool.to_spawn() == 0
    pool.hold("w1", ticket("one"))
    assert pool.to_spawn() == 1
    for n in range(5):
        pool.enqueue(ticket(f"q{n}"))
    assert pool.to_spawn() == 2, "never beyond max_workers"


def test_surplus_idle_workers_are_drained_and_busy_ones_never():
    pool = pool_of(max_workers=3)
    for name in ("w1", "w2"):
        pool.spawned(name)
        pool.loaded(name)
    pool.hold("w1", ticket("one"))
    assert pool.to_drain() == ["w2"]


def test_sessions_fill_one_worker_before_the_next():
    pool = pool_of(max_workers=2, sessions_per_worker=2)
    for name in ("w1", "w2"):
        pool.spawned(name)
        pool.loaded(name)
    pool.hold("w1", ticket("one"))
    pool.enqueue(ticket("two"))
    assert pool.next_grant()[1].name == "w1"


def test_eta_is_known_once_something_has_been_seen():
    pool = pool_of(max_workers=1)
    pool.spawned("w")
    pool.enqueue(ticket("one"))
    pool.enqueue(ticket("two", arrival=1))
    assert pool.place("two").eta_s is None
    pool.loaded("w", after_s=8.0)
    pool.hold("w", ticket("zero"))
    pool.release("zero", lasted_s=60.0)
    pool.hold("w", ticket("one"))
    assert pool.place("two").eta_s == 60.0


class PoolMachine(RuleBasedStateMachine):
    """Whatever happens, nobody is lost, nobody is served twice, and no worker is over its capacity."""

    def __init__(self) -> None:
        super().__init__()
        self.pool = pool_of(max_queue=4, max_workers=3, min_warm=1, sessions_per_worker=2)
        self.expected: set[str] = set()
        self.count = 0

    @rule(tenant=st.sampled_from("abc"), moved=st.booleans())
    def arrive(self, tenant: str, moved: bool) -> None:
        self.count += 1
        try:
            self.pool.enqueue(ticket(f"s{self.count}", tenant, self.count, 0 if moved else 1))
        except QueueFull:
            assert len(self.pool.waiting) >= 4
            assert not moved
        else:
            self.expected.add(f"s{self.count}")

    @rule()
    def spawn(self) -> None:
        for _ in range(self.pool.to_spawn()):
            self.count += 1
            self.pool.spawned(f"w{self.count}")

    @precondition(lambda self: self.pool.workers)
    @rule(data=st.data())
    def load(self, data: st.DataObject) -> None:
        self.pool.loaded(data.draw(st.sampled_from(sorted(self.pool.workers))))

    @rule()
    def grant(self) -> None:
        if (grant := self.pool.next_grant()) is not None:
            self.pool.hold(grant[1].name, grant[0])

    @precondition(lambda self: self.expected)
    @rule(data=st.data())
    def finish(self, data: st.DataObject) -> None:
        session_id = data.draw(st.sampled_from(sorted(self.expected)))
        self.pool.cancel(session_id)
        self.pool.release(session_id, 10.0)
        self.expected.remove(session_id)

    @precondition(lambda self: self.pool.workers)
    @rule(data=st.data())
    def die(self, data: st.DataObject) -> None:
        name = data.draw(st.sampled_from(sorted(self.pool.workers)))
        for session_id in self.pool.gone(name):
            self.pool.enqueue(ticket(session_id, "a", 0, 0))

    @rule()
    def drain(self) -> None:
        for name in self.pool.to_drain():
            assert not self.pool.workers[name].sessions
            self.pool.workers[name].draining = True

    @invariant()
    def all_are_accounted_for(self) -> None:
        self.pool.check_integrity()
        held = {sid for w in self.pool.workers.values() for sid in w.sessions}
        assert held | set(self.pool.waiting) == self.expected
        assert len([w for w in self.pool.workers.values() if not w.draining]) <= 3


TestPoolMachine = PoolMachine.TestCase
TestPoolMachine.settings = hypothesis_settings(max_examples=60, stateful_step_count=40, deadline=None)
