"""What happens in a run. Times are shares of it, so that a scenario is the same at any length."""

from __future__ import annotations

from dataclasses import dataclass

from benchmarks.simulator.workload import Lasting, LogNormal, Shape, Tenant, crowd, diurnal, even, together
from cluster.records import PriorityClass

SESSIONS = LogNormal(median_s=900, sigma=1.0, longest_s=3600)
"""About 21 minutes on the mean."""


@dataclass(frozen=True, slots=True)
class Scenario:
    """`load` is what is asked for on the mean, as a share of `workers`."""

    name: str
    about: str
    tenants: tuple[Tenant, ...]
    load: float
    shape: Shape = even
    lasting: Lasting = SESSIONS
    workers: int = 10_000
    part: float = 1.0
    """Of the workers that a run is asked to have; a queue of tens of thousands takes long to simulate."""
    hours: float = 24.0
    warm: float = 0.01
    """Workers kept idle, as a share of all."""
    max_queue: float = 0.5
    """Sessions that may wait, as a share of the workers."""
    max_open: float | None = None
    """Sessions that a tenant may have, running and waiting, as a share of the workers."""
    load_s: float = 60.0
    """Until a worker is ready, on the mean; spread log-normally with `load_spread`."""
    load_spread: float = 0.2
    worker_lives_h: float | None = 14 * 24.0
    """Mean time to a worker's death; None: they do not die."""
    rollouts: tuple[float, ...] = ()
    """When the generation is raised."""
    settles: float = 0.05
    """The beginning, in which the pool fills; it is run and not measured."""


def population() -> tuple[Tenant, ...]:
    """120 tenants: of each class some that ask for little and some that ask for eight times as much."""
    by_class = {PriorityClass.HIGH: 20, PriorityClass.NORMAL: 80, PriorityClass.LOW: 20}
    return tuple(
        Tenant(f"{priority.value}-{n:02}", (1.0, 2.0, 4.0, 8.0)[n % 4], priority)
        for priority, count in by_class.items()
        for n in range(count)
    )


def greedy(count: int = 40) -> tuple[Tenant, ...]:
    """Tenants of one class that ask for 1 to 4 parts each, and the least for more than its share of the workers."""
    return tuple(Tenant(f"tenant-{n:02}", 1 + 3 * n / (count - 1)) for n in range(count))


ALL = {
    scenario.name: scenario
    for scenario in (
        Scenario(
            "steady", "Poisson at 95 % of the workers, with deaths and one rollout", population(), 0.95, rollouts=(0.5,)
        ),
        Scenario(
            "day",
            "a day that peaks a little above what is there, two flash crowds, deaths and two rollouts",
            population(),
            0.8,
            shape=together(diurnal(0.25), crowd(0.4, 1.6, 0.015), crowd(0.85, 2.0, 0.01)),
            rollouts=(0.2, 0.7),
        ),
        Scenario(
            "contention",
            "40 equal tenants, each asking for more than its share, 2.6 times the workers in all, under a quota",
            greedy(),
            2.6,
            max_open=0.05,
            max_queue=2.0,
            part=0.2,
        ),
    )
}
