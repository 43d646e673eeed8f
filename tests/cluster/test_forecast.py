"""How long a waiter is told to wait, against cases whose answer is known."""

from __future__ import annotations

import heapq
import math
import random
from collections.abc import Callable, Iterable
from itertools import count

import numpy as np
import pytest

from cluster.errors import QueueFull
from cluster.forecast import NO_ROOM, Behind, Forecast, Room, Running, announced, sample
from cluster.lengths import REMEMBERED, Lengths
from cluster.policy import Pool
from cluster.promises import Promises
from cluster.records import Ticket
from cluster.settings import PoolSettings

pytestmark = pytest.mark.fast


def lengths(seconds: Iterable[float] = ()) -> Lengths:
    made = Lengths()
    for each in seconds:
        made.add(each)
    return made


def exponential(mean: float) -> list[float]:
    """The quantiles of the exponential distribution."""
    return [-mean * math.log1p(-(n + 0.5) / REMEMBERED) for n in range(REMEMBERED)]


def forecast(
    known: Lengths,
    running: Iterable[Running] = (),
    loading: Iterable[float] = (),
    free: int = 0,
    each: float = 1.0,
    room: Room = NO_ROOM,
) -> Forecast:
    return Forecast(known, free, list(running), each, list(loading), 1.0, room)


def test_nothing_is_promised_where_nothing_is_known():
    assert forecast(lengths()).waits_s([Behind(0), Behind(5)]) == [None, None]
    assert forecast(lengths([60.0])).waits_s([Behind(0)]) == [None], "no worker, and nobody knows how long one loads"
    assert forecast(lengths(), [Running(5, math.inf)]).waits_s([Behind(0)]) == [None]


def test_a_free_slot_is_no_wait():
    assert forecast(lengths(), free=2).waits_s([Behind(0), Behind(1), Behind(2)]) == [0.0, 0.0, None]


def test_until_a_session_has_ended_deadlines_alone_count():
    running = [Running(0, left) for left in (30.0, 10.0, 20.0)]
    *waits, beyond = forecast(lengths(), running).waits_s([Behind(0), Behind(1), Behind(2), Behind(3)])
    assert waits == pytest.approx([10, 20, 30], rel=0.02)
    assert beyond is None


def test_nobody_is_expected_to_outlast_a_deadline():
    known = lengths([1000.0] * REMEMBERED)
    (wait,) = forecast(known, [Running(0, 20.0)]).waits_s([Behind(0)])
    assert wait == pytest.approx(20, rel=0.05)


def test_workers_that_load_count_when_they_are_ready():
    waits = forecast(lengths(), loading=[8.0, 3.0]).waits_s([Behind(0), Behind(1), Behind(2)])
    assert waits == [pytest.approx(3, rel=0.1), pytest.approx(8, rel=0.1), None]


@pytest.mark.parametrize(
    ("slots", "position"), [(1, 0), (1, 4), (8, 0), (8, 3), (8, 40), (1000, 0), (1000, 500), (20_000, 0), (20_000, 30)]
)
def test_of_sessions_without_memory_the_median_is_that_of_a_poisson_process(slots: int, position: int):
    """The one case that is known at every position: the wait has the Erlang distribution."""
    sampled, each = sample([Running(50.0 * n % 700, math.inf) for n in range(slots)])
    (wait,) = forecast(lengths(exponential(300)), sampled, each=each).waits_s([Behind(position)])
    expected = position + 1 - 1 / 3 if position else math.log(2)
    assert wait == pytest.approx(300 * expected / slots, rel=0.1)


@pytest.mark.parametrize(("age", "position", "wait"), [(0, 0, 60), (50, 0, 10), (50, 1, 70), (50, 5, 310)])
def test_of_sessions_that_all_last_alike_age_tells_the_end(age: float, position: int, wait: float):
    running = [Running(age, math.inf)]
    assert forecast(lengths([60.0] * REMEMBERED), running).waits_s([Behind(position)]) == [
        pytest.approx(wait, rel=0.12)
    ]


def test_the_old_among_short_and_long_sessions_are_long_ones():
    known = lengths([10.0] * 60 + [1000.0] * 40)
    ((young,), (old,)) = (forecast(known, [Running(age, math.inf)]).waits_s([Behind(0)]) for age in (0.0, 100.0))
    assert young == pytest.approx(10, rel=0.1), "more than half are short"
    assert old == pytest.approx(900, rel=0.1)


def test_only_the_newest_lengths_count():
    known = lengths([5.0] * 100 + [100.0] * REMEMBERED)
    assert known.mean == pytest.approx(100)


def test_a_long_queue_moves_at_the_mean_rate():
    running = [Running(0, math.inf)] * 2
    far, further = forecast(lengths(exponential(60)), running).waits_s([Behind(1000), Behind(2000)])
    assert further - far == pytest.approx(1000 * 60 / 2, rel=0.01)


def memoryless(slots: int, mean: float, room: Room = NO_ROOM, leave: bool = False) -> Forecast:
    sampled, each = sample([Running(50.0 * n % 700, math.inf, leave) for n in range(slots)])
    return forecast(lengths(exponential(mean)), sampled, each=each, room=room)


def first_passage(chance: random.Random, up: float, down: float, level: int) -> float:
    """When a queue of that length is served for the first time: slots come at one rate, overtakers at another."""
    now, left = 0.0, level
    while left:
        now += chance.expovariate(up + down)
        left += 1 if chance.random() < down / (up + down) else -1
    return now


@pytest.mark.parametrize(("position", "overtakers"), [(0, 1.0), (1, 2.7), (4, 1.0), (19, 1.0), (19, 2.0), (99, 2.7)])
def test_who_is_overtaken_is_told_the_median(position: int, overtakers: float):
    chance = random.Random(3)
    passages = sorted(first_passage(chance, 1000 / 300, overtakers, position + 1) for _ in range(400))
    (wait,) = memoryless(1000, 300).waits_s([Behind(position, lambda course: np.full_like(course.time, overtakers))])
    if position:
        assert wait == pytest.approx(passages[200], rel=0.2)
    else:
        assert wait == pytest.approx(0.3 * math.log(2), rel=0.1), "the first is told when the next slot is there"


def test_nobody_knows_when_others_come_as_fast_as_slots_do():
    behind = Behind(50, lambda course: np.full_like(course.time, 5.0))
    assert memoryless(1000, 300).waits_s([behind, Behind(50)]) == [None, pytest.approx(15, rel=0.1)]


def test_overtakers_bring_workers_of_their_own_while_there_is_room():
    behind = Behind(50, lambda course: np.full_like(course.time, 5.0))
    ((alone,), (roomy,)) = (memoryless(1000, 300, room).waits_s([behind]) for room in (NO_ROOM, Room(1000, 10.0)))
    assert alone is None
    assert roomy == pytest.approx((51 + 50) / (1000 / 300), rel=0.15), "those of the 10 s that loading takes go before"


def test_who_waits_for_a_worker_in_the_place_of_one_that_leaves_waits_for_it_to_load_too():
    waits = [memoryless(100, 300, Room(blocked, 60.0), leave=True).waits_s([Behind(9)])[0] for blocked in (-50, 0)]
    assert waits == [pytest.approx(60 + 31, rel=0.1), None]


def test_few_stand_for_many():
    things = list(range(1000))
    chosen, each = sample(things)
    assert len(chosen) * each == 1000
    assert sum(chosen) / len(chosen) == pytest.approx(sum(things) / 1000, rel=0.01)
    assert sample([]) == ([], 1.0)
    assert sample([7, 8]) == ([7, 8], 1.0)


@pytest.mark.parametrize(
    ("seconds", "said"),
    [
        (None, None),
        (0.0, 0.0),
        (0.04, 0.0),
        (0.61, 0.6),
        (1.97, 2.0),
        (2.6, 3.0),
        (19.2, 19.0),
        (21.0, 20.0),
        (119.0, 120.0),
        (200.0, 210.0),
    ],
)
def test_a_wait_is_said_in_round_numbers(seconds: float | None, said: float | None):
    assert announced(seconds) == said


# --- in the pool ----------------------------------------------------------------------------------------------------


def pool_of(workers: int, **settings: object) -> Pool:
    pool = Pool(PoolSettings(model="m", max_workers=workers, **settings), 10_000)
    for n in range(workers):
        pool.spawned(f"w{n}", 0.0)
        pool.loaded(f"w{n}")
    return pool


def ticket(session_id: str, now: float = 0.0) -> Ticket:
    return Ticket(session_id=session_id, tenant=session_id, model="m", arrival=now)


def give(pool: Pool, session_id: str, now: float, deadline: float = math.inf) -> None:
    _, worker = pool.next_grant()
    pool.hold(worker.name, session_id, session_id)
    pool.runs(session_id, now, deadline)


def eta(pool: Pool, now: float) -> float | None:
    return pool.place("waits", now).eta_s


def full_pool(deadlines: dict[str, float]) -> Pool:
    pool = pool_of(len(deadlines))
    for session_id, deadline in deadlines.items():
        pool.enqueue(ticket(session_id), 0.0)
        give(pool, session_id, 0.0, deadline)
    pool.enqueue(ticket("waits"), 0.0)
    return pool


def test_a_wait_becomes_shorter_as_time_goes():
    pool = full_pool({"a": 100.0})
    assert [eta(pool, now) for now in (0.0, 40.0, 95.0, 200.0)] == [100, 60, 5, 0]


def test_what_a_draining_worker_holds_makes_room_for_nobody():
    pool = full_pool({"a": 10.0, "b": 100.0})
    assert eta(pool, 0.0) == 10
    pool.drain(pool.holder("a").name)
    assert eta(pool, 0.0) == 100


def test_a_worker_yet_to_be_asked_for_is_counted_on():
    pool = pool_of(1)
    pool.loaded("w0", after_s=30.0)
    pool.drain("w0")
    pool.enqueue(ticket("waits"), 0.0)
    assert eta(pool, 0.0) == 30
    pool.spawned("w1", 0.0)
    assert [eta(pool, now) for now in (0.0, 20.0)] == [30, 10]
    assert eta(pool, 45.0) == 15, "one that is late by a while is expected to take as long again"


def test_a_worker_that_waits_for_a_place_is_not_counted_as_one_that_loads():
    pool = full_pool({"a": 100.0})
    pool.loaded(pool.holder("a").name, after_s=30.0)
    pool.drain(pool.holder("a").name)
    pool.spawned("w1", 0.0)
    assert eta(pool, 0.0) == pytest.approx(130, rel=0.1), "it gets the place of the one that leaves, and loads then"
    pool.gone(pool.holder("a").name)
    pool.started("w1", 100.0)
    assert eta(pool, 110.0) == 15, "30 s, of which its process has taken 5 s and 10 s are over"


def test_a_tenant_with_a_larger_share_is_told_of_those_who_will_come_before_it():
    """A session comes every second and one ends, of a hundred tenants that hold three each; one more holds twenty."""
    pool = pool_of(320)
    for n in range(20):
        pool.enqueue(ticket(f"large{n}"), 0.0)
        give(pool, f"large{n}", 0.0)
        pool.hold(pool.holder(f"large{n}").name, f"large{n}", "large")
    for n in range(600):
        pool.release(f"s{n - 300}", float(n))
        now = float(n)
        pool.enqueue(ticket(f"s{n}", now).model_copy(update={"tenant": f"t{n % 100}"}), now)
        worker = pool.next_grant()[1].name
        pool.hold(worker, f"s{n}", f"t{n % 100}")
        pool.runs(f"s{n}", now, now + 300)
    for n in range(41):
        pool.enqueue(ticket(f"other{n}", 600.0), 600.0)
    pool.enqueue(ticket("last", 600.0).model_copy(update={"tenant": "large"}), 600.0)
    *_, before, last = (pool.place(ticket.session_id, 600.0) for ticket in pool.order())
    assert (before.position, last.position) == (40, 41)
    assert before.eta_s == pytest.approx(41, abs=8)
    assert last.eta_s > 150


def test_many_are_told_at_once_what_each_would_be_told_alone():
    chance, pool, running = random.Random(1), pool_of(50), []
    for n in range(200):
        if len(running) == 50:
            pool.release(running.pop(chance.randrange(50)), float(n))
        running.append(f"s{n}")
        pool.enqueue(ticket(f"s{n}", float(n)), float(n))
        give(pool, f"s{n}", float(n))
    for n in range(400):
        pool.enqueue(ticket(f"q{n}", 200.0).model_copy(update={"tenant": f"t{n % 7}"}), 200.0)
    at_once = pool.places(list(pool.waiting), 200.0)
    assert sorted(place.position for place in at_once.values()) == list(range(400))
    for session_id in list(pool.waiting)[::40]:
        alone = pool.place(session_id, 200.0)
        assert at_once[session_id].position == alone.position
        assert at_once[session_id].eta_s == pytest.approx(alone.eta_s, rel=0.1, abs=5)


def test_lengths_are_those_of_sessions_that_ended_and_not_of_grants_that_failed():
    pool = full_pool({"a": 1000.0})
    pool.release("a")
    give(pool, "b", 0.0, 1000.0)
    assert eta(pool, 0.0) == 990
    pool.release("b", now=40.0)
    give(pool, "c", 40.0, 1000.0)
    assert eta(pool, 40.0) < 60


def test_a_full_queue_says_when_there_is_room():
    pool = Pool(PoolSettings(model="m", max_queue=1), 10_000)
    pool.spawned("w", 0.0)
    pool.loaded("w")
    pool.enqueue(ticket("a"), 0.0)
    give(pool, "a", 0.0, 30.0)
    pool.enqueue(ticket("waits"), 0.0)
    for now, seconds in ((0.0, 30), (12.5, 18), (29.9, 1), (31.0, 1)):
        with pytest.raises(QueueFull) as refusal:
            pool.enqueue(ticket("b"), now)
        assert refusal.value.retry_after_s == seconds


# --- promises -------------------------------------------------------------------------------------------------------


def test_the_first_promise_is_the_one_to_keep():
    promises = Promises()
    promises.make("a", 30.0, now=100.0)
    promises.make("a", 5.0, now=120.0)
    promises.make("b", None, now=100.0)
    promises.make("c", 9.0, now=100.0)
    promises.drop("c")
    assert promises.keep("a", now=125.0) == (30.0, 25.0)
    assert [promises.keep(name, now=130.0) for name in "abc"] == [None] * 3


def promised_and_waited(workers: int, last: Callable[[random.Random], float]) -> list[tuple[float, float]]:
    """A pool on which a wave of arrivals comes and goes, and what each waiter was promised."""
    chance, pool, promises = random.Random(7), pool_of(workers), Promises()
    mean = sum(last(chance) for _ in range(2000)) / 2000
    numbers, kept = count(), []
    events: list[tuple[float, int, str | None]] = []
    now = 0.0
    for load in [0.8] * 300 + [1.4] * 300 + [0.5] * 300:
        now += chance.expovariate(load * workers / mean)
        heapq.heappush(events, (now, next(numbers), None))
    while events:
        now, number, over = heapq.heappop(events)
        if over is None:
            pool.enqueue(ticket(f"s{number}", now), now)
            if pool.next_grant() is None:
                promises.make(f"s{number}", pool.place(f"s{number}", now).eta_s, now)
        else:
            pool.release(over, now)
        while (grant := pool.next_grant()) is not None:
            session_id = grant[0].session_id
            give(pool, session_id, now, now + 1200)
            heapq.heappush(events, (now + min(1200, last(chance)), next(numbers), session_id))
            if (promise := promises.keep(session_id, now)) is not None:
                kept.append(promise)
    return kept


@pytest.mark.parametrize(
    ("workers", "last"),
    [
        (3, lambda chance: chance.expovariate(1 / 300)),
        (20, lambda chance: chance.lognormvariate(5, 1.2)),
        (20, lambda chance: 20.0 if chance.random() < 0.5 else 1200.0),
    ],
    ids=["few", "many", "either short or long"],
)
def test_promises_are_kept_on_the_average(workers: int, last: Callable[[random.Random], float]):
    kept = promised_and_waited(workers, last)
    promised, waited = (sum(seconds) for seconds in zip(*kept, strict=True))
    assert len(kept) > 200
    assert promised == pytest.approx(waited, rel=0.12)
    assert sum(abs(p - w) for p, w in kept) < 0.35 * waited
