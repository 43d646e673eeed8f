"""How long a waiter is told to wait, against cases whose answer is known."""

from __future__ import annotations

import heapq
import math
import random
from collections.abc import Callable, Iterable
from itertools import count

import pytest

from cluster.errors import QueueFull
from cluster.forecast import Forecast, Running, announced, sample
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
    known: Lengths, running: Iterable[Running] = (), loading: Iterable[float] = (), free: int = 0, each: float = 1.0
) -> Forecast:
    return Forecast(known, free, list(running), each, list(loading), 1.0)


def test_nothing_is_promised_where_nothing_is_known():
    assert forecast(lengths()).waits_s([0, 5]) == [None, None]
    assert forecast(lengths([60.0])).waits_s([0]) == [None], "no worker, and nobody knows how long one loads"
    assert forecast(lengths(), [Running(5, math.inf)]).waits_s([0]) == [None]


def test_a_free_slot_is_no_wait():
    assert forecast(lengths(), free=2).waits_s([0, 1, 2]) == [0.0, 0.0, None]


def test_until_a_session_has_ended_deadlines_alone_count():
    running = [Running(0, left) for left in (30.0, 10.0, 20.0)]
    *waits, beyond = forecast(lengths(), running).waits_s([0, 1, 2, 3])
    assert waits == pytest.approx([10, 20, 30], rel=0.02)
    assert beyond is None


def test_nobody_is_expected_to_outlast_a_deadline():
    known = lengths([1000.0] * REMEMBERED)
    (wait,) = forecast(known, [Running(0, 20.0)]).waits_s([0])
    assert wait == pytest.approx(20, rel=0.05)


def test_workers_that_load_count_when_they_are_ready():
    waits = forecast(lengths(), loading=[8.0, 3.0]).waits_s([0, 1, 2])
    assert waits == [pytest.approx(3, rel=0.1), pytest.approx(8, rel=0.1), None]


@pytest.mark.parametrize(("slots", "position"), [(1, 0), (1, 4), (8, 0), (8, 3), (8, 40), (1000, 0), (1000, 500)])
def test_of_sessions_without_memory_the_next_leaves_after_the_mean_over_their_number(slots: int, position: int):
    """The one case with a closed form at every position: departures are a Poisson process."""
    sampled, each = sample([Running(50.0 * n % 700, math.inf) for n in range(slots)])
    (wait,) = forecast(lengths(exponential(300)), sampled, each=each).waits_s([position])
    assert wait == pytest.approx(300 * (position + 1) / slots, rel=0.1)


@pytest.mark.parametrize(("age", "position", "wait"), [(0, 0, 60), (50, 0, 10), (50, 1, 70), (50, 5, 310)])
def test_of_sessions_that_all_last_alike_age_tells_the_end(age: float, position: int, wait: float):
    running = [Running(age, math.inf)]
    assert forecast(lengths([60.0] * REMEMBERED), running).waits_s([position]) == [pytest.approx(wait, rel=0.12)]


def test_the_old_among_short_and_long_sessions_are_long_ones():
    known = lengths([10.0, 1000.0] * (REMEMBERED // 2))
    ((young,), (old,)) = (forecast(known, [Running(age, math.inf)]).waits_s([0]) for age in (0.0, 100.0))
    assert young == pytest.approx(505, rel=0.15)
    assert old == pytest.approx(900, rel=0.1)


def test_only_the_newest_lengths_count():
    known = lengths([5.0] * 100 + [100.0] * REMEMBERED)
    assert known.mean == pytest.approx(100)


def test_a_long_queue_moves_at_the_mean_rate():
    running = [Running(0, math.inf)] * 2
    far, further = forecast(lengths(exponential(60)), running).waits_s([1000, 2000])
    assert further - far == pytest.approx(1000 * 60 / 2, rel=0.01)


def test_few_stand_for_many():
    things = list(range(1000))
    chosen, each = sample(things)
    assert len(chosen) * each == 1000
    assert sum(chosen) / len(chosen) == pytest.approx(sum(things) / 1000, rel=0.01)
    assert sample([]) == ([], 1.0)
    assert sample([7, 8]) == ([7, 8], 1.0)


@pytest.mark.parametrize(
    ("seconds", "said"),
    [(None, None), (0.0, 0.0), (0.6, 1.0), (19.2, 19.0), (21.0, 20.0), (119.0, 120.0), (200.0, 210.0)],
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
    assert promised == pytest.approx(waited, rel=0.1)
    assert sum(abs(p - w) for p, w in kept) < 0.35 * waited
