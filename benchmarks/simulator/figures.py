"""The figures of a run, from what was measured."""

from __future__ import annotations

from collections import defaultdict
from typing import NamedTuple

import numpy as np

from benchmarks.simulator.measures import SOON_S, Measures, Numbers, jain, percentiles
from benchmarks.simulator.scenarios import Scenario

LONG_S = 60.0


class Eta(NamedTuple):
    """Promises at the beginning of a wait against the wait. Errors relative to the wait, of at least `SOON_S`."""

    promised: int
    unpromised: int
    """Sessions that waited and were promised nothing, because nothing was known yet."""
    median_error: float | None
    mean_error: float | None
    median_error_of_seconds: float | None
    """Of waits of at least `SOON_S`; the other medians count shorter ones too, as if they were `SOON_S` long."""
    median_error_of_long: float | None
    """Of waits of at least `LONG_S`."""
    bias: float | None
    """All seconds promised by all seconds waited, less 1."""


class Fairness(NamedTuple):
    """Jain's index over the tenants of the normal class, whose weights are equal."""

    served_of_asked: float
    """Of the share of its sessions that each got a worker for."""
    wait: float
    """Of the mean waits of those tenants that ask for as much as each other; of the groups the least."""
    slots: float
    """Of the slot-seconds that each was given; to be near 1 only where each asks for more than its share."""


class Figures(NamedTuple):
    """Of one run. Waits in seconds; shares of 1."""

    asked: int
    offered: float
    """Slot-seconds asked for, by those that all GPUs had."""
    utilisation: float
    """Slot-seconds used, by those that all GPUs had."""
    used_of_asked: float
    refused: int
    over_quota: int
    ended: int
    lost: int
    died: int
    moved: int
    spawned: int
    waited_share: float
    """Sessions that waited for longer than `SOON_S`."""
    wait_s: dict[str, float]
    wait_s_of_waiters: dict[str, float]
    wait_s_by_class: dict[str, dict[str, float]]
    resume_s: dict[str, float]
    eta: Eta
    eta_error_by_class: dict[str, float]
    fairness: Fairness
    check_ms: float
    """Median time of `Pool.check_integrity` on the machine of the run."""


def figures(scenario: Scenario, measures: Measures, lost: int) -> Figures:
    """Everything in one."""
    table = measures.table()
    waited = table[:, 2]
    by_class = {name: table[chosen] for name, chosen in _classes(scenario, table).items()}
    available = scenario.workers * (scenario.hours * 3600 - measures.since_s)
    return Figures(
        asked=measures.asked,
        offered=measures.asked_slot_s / available,
        utilisation=measures.busy_slot_s / available,
        used_of_asked=measures.busy_slot_s / max(measures.asked_slot_s, 1e-9),
        refused=measures.refused,
        over_quota=measures.over_quota,
        ended=measures.ended,
        lost=lost,
        died=measures.died,
        moved=measures.moved,
        spawned=measures.spawned,
        waited_share=float((waited > SOON_S).mean()) if len(waited) else 0.0,
        wait_s=percentiles(waited),
        wait_s_of_waiters=percentiles(waited[waited > SOON_S]),
        wait_s_by_class={name: percentiles(rows[:, 2]) for name, rows in by_class.items()},
        resume_s=percentiles(measures.resumed),
        eta=eta(table),
        eta_error_by_class={
            name: error for name, rows in by_class.items() if (error := eta(rows).median_error) is not None
        },
        fairness=_fairness(scenario, measures, table),
        check_ms=float(np.median(measures.check_ms)),
    )


def eta(table: Numbers) -> Eta:
    """Of these waits (`Measures.table`)."""
    told = table[~np.isnan(table[:, 3])]
    unpromised = int((np.isnan(table[:, 3]) & (table[:, 2] > SOON_S)).sum())
    if not len(told):
        return Eta(0, unpromised, None, None, None, None, None)
    waited, promised = told[:, 2], told[:, 3]
    errors = np.abs(promised - waited) / np.maximum(waited, SOON_S)
    bias = float(promised.sum() / max(waited.sum(), SOON_S)) - 1
    seconds, long = (_median(errors[waited >= least_s]) for least_s in (SOON_S, LONG_S))
    return Eta(len(told), unpromised, _median(errors), float(errors.mean()), seconds, long, bias)


def _median(values: Numbers) -> float | None:
    return float(np.median(values)) if len(values) else None


def _classes(scenario: Scenario, table: Numbers) -> dict[str, Numbers]:
    """Which rows are whose, by the name of the class, as masks."""
    rank = np.array([tenant.priority.rank for tenant in scenario.tenants])[table[:, 1].astype(int)]
    classes = sorted({tenant.priority for tenant in scenario.tenants}, key=lambda each: each.rank)
    return {each.value: rank == each.rank for each in classes}


def _fairness(scenario: Scenario, measures: Measures, table: Numbers) -> Fairness:
    served = np.bincount(table[:, 1].astype(int), minlength=len(scenario.tenants))
    waits = np.bincount(table[:, 1].astype(int), weights=table[:, 2], minlength=len(scenario.tenants))
    groups: defaultdict[float, list[int]] = defaultdict(list)
    for number, tenant in enumerate(scenario.tenants):
        if tenant.priority.value == "normal":
            groups[tenant.demand].append(number)
    normal = [number for group in groups.values() for number in group]
    return Fairness(
        served_of_asked=jain(served[n] / max(1, measures.asked_of[n]) for n in normal),
        wait=min(jain(waits[n] / max(1, served[n]) for n in group) for group in groups.values()),
        slots=jain(measures.served_slot_s[n] for n in normal),
    )
