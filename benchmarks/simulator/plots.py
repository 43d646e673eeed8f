"""One picture of a run: what was asked for and used, who waited, and what they had been told."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from benchmarks.simulator.measures import SOON_S, Measures, Numbers
from benchmarks.simulator.scenarios import Scenario

SIZE_IN, DPI = (11, 7.5), 72
MOST_POINTS = 4000
"""Of a cloud; the picture is to stay small."""


def draw(path: Path, scenario: Scenario, measures: Measures) -> None:
    """Four panels, as a PNG."""
    figure = Figure(figsize=SIZE_IN, layout="constrained")
    ((load, queue), (eta, waits)) = figure.subplots(2, 2)
    table = measures.table()
    moments = np.array(measures.moments, dtype=np.float64)
    figure.suptitle(f"{scenario.name}: {scenario.workers:,} workers, {scenario.hours:g} h")
    _load(load, scenario, moments)
    _queue(queue, moments)
    _eta(eta, table)
    _waits(waits, scenario, table)
    figure.savefig(path, dpi=DPI, pil_kwargs={"optimize": True})


def _load(axes: Axes, scenario: Scenario, moments: Numbers) -> None:
    hours = moments[:, 0] / 3600
    axes.plot(hours, np.minimum(moments[:, 1], 2 * scenario.workers), color="tab:red", lw=1, label="asked for")
    axes.plot(hours, moments[:, 2], color="tab:blue", lw=1, label="busy")
    axes.plot(hours, moments[:, 3], color="tab:green", lw=1, label="ready")
    axes.plot(hours, moments[:, 4], color="tab:orange", lw=1, label="loading")
    axes.set(title="workers", xlabel="h")
    axes.legend(fontsize="small")


def _queue(axes: Axes, moments: Numbers) -> None:
    axes.fill_between(moments[:, 0] / 3600, moments[:, 6], color="tab:purple", lw=0)
    axes.set(title="sessions that wait", xlabel="h")


def _eta(axes: Axes, table: Numbers) -> None:
    told = table[~np.isnan(table[:, 3])]
    told = told[:: max(1, len(told) // MOST_POINTS)]
    waited, promised = np.maximum(told[:, 2], SOON_S), np.maximum(told[:, 3], SOON_S)
    axes.loglog(waited, promised, ".", ms=2, alpha=0.3, color="tab:blue")
    ends = np.array([SOON_S, max(10.0, float(waited.max(initial=0)), float(promised.max(initial=0)))])
    axes.plot(ends, ends, color="black", lw=0.8)
    axes.fill_between(ends, ends * 0.75, ends * 1.25, color="black", alpha=0.12, lw=0, label="± 25 %")
    axes.set(title="promised against waited", xlabel="waited, s", ylabel="promised, s")
    axes.legend(fontsize="small")


def _waits(axes: Axes, scenario: Scenario, table: Numbers) -> None:
    """The share that waited for longer, by class."""
    ranks = np.array([tenant.priority.rank for tenant in scenario.tenants])[table[:, 1].astype(int)]
    for priority in sorted({tenant.priority for tenant in scenario.tenants}, key=lambda each: each.rank):
        waited = np.sort(table[ranks == priority.rank, 2])
        at = np.unique(np.linspace(0, max(len(waited) - 1, 0), 400).astype(int))
        if len(waited):
            axes.loglog(np.maximum(waited[at], SOON_S), 1 - at / len(waited), lw=1.2, label=priority.value)
    axes.set(title="share of sessions that waited for longer", xlabel="s", ylim=(1e-4, 1.1))
    axes.legend(fontsize="small")
