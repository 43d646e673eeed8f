"""The simulator, where it can be told what must come: closed forms, small cases, and invariants that bite."""

from __future__ import annotations

import json
import math
from dataclasses import replace
from itertools import chain
from pathlib import Path

import numpy as np
import pytest

from benchmarks.simulator.__main__ import main
from benchmarks.simulator.figures import figures
from benchmarks.simulator.measures import jain
from benchmarks.simulator.scenarios import ALL, Scenario
from benchmarks.simulator.workload import (
    Arrival,
    Exponential,
    LogNormal,
    Tenant,
    arrivals,
    crowd,
    diurnal,
    even,
    together,
)
from benchmarks.simulator.world import World

pytestmark = pytest.mark.slow

ALWAYS_THERE = {"warm": 1.0, "worker_lives_h": None, "load_s": 10.0, "load_spread": 0.0}


def erlang_c(servers: int, offered: float) -> float:
    """The probability that who comes to M/M/c has to wait."""
    terms = [offered**n / math.factorial(n) for n in range(servers)]
    last = offered**servers / math.factorial(servers) * servers / (servers - offered)
    return last / (sum(terms) + last)


def test_a_queue_without_memory_is_as_theory_has_it():
    servers, load, mean_s = 8, 0.75, 60.0
    scenario = Scenario(
        "M/M/c",
        "",
        (Tenant("one"),),
        load,
        lasting=Exponential(mean_s),
        workers=servers,
        hours=16,
        max_queue=1000,
        **ALWAYS_THERE,
    )
    world = World(scenario, seed=5)
    measures = world.run()
    waited = measures.table()[:, 2]
    waits = erlang_c(servers, load * servers)
    assert len(waited) > 5_000
    assert (waited > 0).mean() == pytest.approx(waits, rel=0.1)
    assert waited.mean() == pytest.approx(waits * mean_s / (servers * (1 - load)), rel=0.1)
    assert figures(scenario, measures, world.lost).utilisation == pytest.approx(load, rel=0.02)


def test_a_burst_on_sessions_that_last_alike_is_served_in_rounds():
    scenario = Scenario(
        "bursts",
        "",
        (Tenant("one"),),
        load=1.0,
        lasting=Exponential(100.0, longest_s=100.0),
        workers=4,
        hours=1,
        max_queue=3,
        settles=0.5,
        **ALWAYS_THERE,
    )
    rounds = [(100.0 + 105 * n, 4) for n in range(16)] + [(1900.0, 20)]
    coming = [Arrival(at + n / 1e6, 0, 500.0) for at, count in rounds for n in range(count)]
    measures = World(scenario, 1, coming).run()
    table = measures.table()
    assert table[:, 2] == pytest.approx([0.0] * 4 + [100.0] * 4 + [200.0] * 4 + [300.0] * 4, abs=0.01)
    assert table[4:, 3] == pytest.approx(table[4:, 2], rel=0.2)
    assert (measures.accepted, measures.refused, measures.ended) == (80, 4, 80)
    assert measures.busy_slot_s == pytest.approx(16 * 100.0)


@pytest.fixture(scope="module")
def hour() -> World:
    """An hour of a day that has everything in it, and in which workers die often."""
    world = World(replace(ALL["day"], workers=300, hours=1.0, worker_lives_h=4.0), seed=5)
    world.run()
    return world


def test_nothing_is_lost_while_workers_die_and_are_replaced(hour: World):
    measures = hour.measures
    assert measures.died > 20
    assert measures.moved > 20
    assert len(measures.resumed) >= measures.moved - len(hour.pool.waiting)
    assert hour.lost == 0
    assert measures.accepted == measures.ended + len(hour.sessions)
    assert all(worker.leaving for worker in hour.workers.values() if worker.generation < 2)
    assert measures.ended > 300


def test_the_same_seed_is_the_same_run(hour: World):
    again = World(hour.scenario, seed=5).run()
    np.testing.assert_array_equal(again.table(), hour.measures.table())
    assert again.moments == hour.measures.moments


@pytest.mark.parametrize(
    ("forge", "found"),
    [
        (lambda world, session_id: world.pool.release(session_id), "elsewhere"),
        (lambda world, session_id: world.sessions.pop(session_id), "two workers"),
        (lambda world, session_id: next(iter(world.workers.values())).holds.add(session_id), "two workers"),
    ],
    ids=["forgotten by the policy", "forgotten by its client", "on another worker too"],
)
def test_what_does_not_hold_is_found(forge, found: str):
    world = World(replace(ALL["steady"], workers=50, hours=1.0), seed=1)
    world.run()
    first = next(iter(world.workers.values())).holds
    session_id = next(session.id for session in world.sessions.values() if session.worker and session.id not in first)
    forge(world, session_id)
    with pytest.raises(AssertionError, match=found):
        world.check()


def test_tenants_of_one_weight_are_given_alike_whatever_they_ask_for():
    scenario = replace(ALL["contention"], workers=200, hours=3.0)
    world = World(scenario, seed=1)
    measures = world.run()
    found = figures(scenario, measures, world.lost)
    asked = jain(measures.asked_of[n] for n in range(len(scenario.tenants)))
    assert asked < 0.9
    assert found.fairness.slots > 0.98
    assert found.utilisation > 0.98


def test_jains_index():
    assert jain([3.0] * 7) == pytest.approx(1)
    assert jain([5.0, 0.0, 0.0, 0.0]) == pytest.approx(1 / 4)
    assert jain([1.0, 2.0, 3.0]) == pytest.approx(36 / 42)
    assert jain([0.0, 0.0]) == 1


def test_lengths_have_the_mean_that_they_say():
    lengths = LogNormal(median_s=900, sigma=1.0, longest_s=3600)
    drawn = lengths.draw(np.random.default_rng(1), 200_000)
    assert drawn.mean() == pytest.approx(lengths.mean_s, rel=0.01)
    assert drawn.max() == 3600


def test_arrivals_follow_their_shape():
    shape = together(diurnal(0.5), crowd(0.5, times=3.0, fades=0.05))
    tenants = (Tenant("a", 1), Tenant("b", 3))
    come = list(arrivals(np.random.default_rng(1), 86_400, 0.5, shape, tenants, Exponential(10)))
    at = np.array([each.at for each in come])
    assert (np.diff(at) >= 0).all()
    counted = np.histogram(at, 24, (0, 86_400))[0]
    expected = [sum(shape((hour + (n + 0.5) / 60) / 24) for n in range(60)) * 30 for hour in range(24)]
    assert counted == pytest.approx(expected, rel=0.1)
    assert sum(each.tenant for each in come) / len(come) == pytest.approx(0.75, rel=0.02)
    steady = list(arrivals(np.random.default_rng(1), 86_400, 0.5, even, tenants, Exponential(10)))
    assert len(steady) == pytest.approx(43_200, rel=0.02)


def test_the_page_and_the_pictures_are_made(tmp_path: Path):
    main(workers=100, hours=1.0, seed=1, out=tmp_path, scenario=["steady", "contention"])
    told = json.loads((tmp_path / "simulator.json").read_text())
    assert [(each["scenario"], each["lost"]) for each in told] == [("steady", 0), ("contention", 0)]
    page = (tmp_path / "README.md").read_text()
    for name in ("steady", "contention"):
        picture = (tmp_path / f"{name}.png").read_bytes()
        assert picture.startswith(b"\x89PNG")
        assert len(picture) < 100_000
        assert f"({name}.png)" in page
    assert all(math.isfinite(value) for value in chain(told[0]["wait_s"].values(), told[1]["wait_s"].values()))
