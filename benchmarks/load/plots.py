"""One picture of a run: capacity, where the CPU goes, latencies, and how evenly pictures came."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from benchmarks.load.figures import median
from benchmarks.load.report import Run
from benchmarks.load.step import MET, Step
from benchmarks.viewer import FPS

SIZE_IN, DPI = (11, 7.5), 72
PARTS = {"workers": "tab:blue", "gateway": "tab:green", "others": "tab:grey", "cluster": "tab:blue"}
Share = Callable[[Step], float | None]
SHARES: tuple[tuple[str, str, Share], ...] = (
    ("", "o-", lambda step: step.met),
    (", by the strip", "x--", lambda step: step.met_by_strip),
)


def draw(path: Path, run: Run) -> None:
    """Four panels, as a PNG."""
    figure = Figure(figsize=SIZE_IN, layout="constrained")
    ((met, cpu), (latency, lateness)) = figure.subplots(2, 2)
    figure.suptitle(run.command)
    _met(met, run)
    _cpu(cpu, run)
    _latency(latency, run)
    _lateness(lateness, run.steps)
    figure.savefig(path, dpi=DPI, pil_kwargs={"optimize": True})


def _met(axes: Axes, run: Run) -> None:
    for setting in run.settings:
        counts = sorted({step.sessions for step in run.of(setting)})
        for label, style, share in SHARES:
            shares = [median(share(step) for step in run.of(setting, count)) for count in counts]
            percent = [np.nan if each is None else 100 * each for each in shares]
            axes.plot(counts, percent, style, label=setting + label)
    axes.axhline(100 * MET, color="black", lw=0.8)
    axes.set(title="chunks in time, %", xlabel="sessions", xticks=sorted({step.sessions for step in run.steps}))
    axes.legend(fontsize="small")


def _cpu(axes: Axes, run: Run) -> None:
    names = [f"{step.sessions}\n{step.setting}" if len(run.settings) > 1 else str(step.sessions) for step in run.steps]
    bottom = np.zeros(len(names))
    for part, colour in {**PARTS, "players": "tab:orange"}.items():
        cores = np.array([step.used.cores.get(part, 0.0) for step in run.steps])
        if cores.any():
            axes.bar(range(len(names)), cores, bottom=bottom, color=colour, label=part)
            bottom += cores
    axes.set_xticks(range(len(names)), names, fontsize="small")
    axes.set(title="cores in use", xlabel="sessions")
    axes.legend(fontsize="small")


def _latency(axes: Axes, run: Run) -> None:
    for colour, setting in zip(("tab:blue", "tab:red", "tab:green"), run.settings, strict=False):
        viewed = [step.viewed for step in run.of(setting)]
        controls = [seconds for each in viewed for seconds in each.control_s]
        firsts = [seconds for each in viewed for seconds in each.first_picture_s]
        for seconds, style, label in ((controls, "-", "control to picture"), (firsts, ":", "first picture")):
            if seconds:
                axes.ecdf(seconds, linestyle=style, color=colour, label=f"{label}, {setting}")
    axes.set(title="share of all that took no longer", xlabel="s", ylim=(0, 1.05))
    axes.set_xlim(left=0)
    axes.legend(fontsize="small")


def _lateness(axes: Axes, steps: Sequence[Step]) -> None:
    """Of each step's first director: how much later than the quickest picture each came, on the pictures' own clock."""
    for step in steps:
        if step.kept:
            at, number = np.array(step.kept).T
            late = at - number / FPS
            axes.plot(at - at[0], 1000 * (late - late.min()), lw=0.8, label=f"{step.sessions}, {step.setting}")
    axes.set(title="how late pictures of the first director came, ms", xlabel="s of the window")
    axes.legend(fontsize="small")
