"""What a run has found: JSON, and a page of tables."""

from __future__ import annotations

import itertools
import json
import os
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from benchmarks.load.figures import WARM_S, Spread, median
from benchmarks.load.setting import commit
from benchmarks.load.step import MET, Plan, Step, limit

PLOT = "load.png"
QUIET = 0.15
"""Cores that others may take before the page says so."""


@dataclass(frozen=True, slots=True)
class Run:
    """All steps, in the order in which they were made. `cores` are those that the cluster was kept to; 0 is all."""

    command: str
    plan: Plan
    cores: int
    loads: tuple[float, float]
    steps: tuple[Step, ...]

    @property
    def settings(self) -> list[str]:
        """Their names, in the order of the first round."""
        return list(dict.fromkeys(step.setting for step in self.steps))

    def of(self, setting: str, sessions: int | None = None) -> list[Step]:
        """The steps of a setting."""
        return [each for each in self.steps if each.setting == setting and sessions in (None, each.sessions)]

    def capacity(self, setting: str) -> Step | None:
        """Of the steps up to the first that was not good, the last."""
        rounds = sorted(self.of(setting), key=lambda step: step.sessions)
        return next(reversed(list(itertools.takewhile(lambda step: step.is_good, rounds))), None)


def plain(run: Run) -> dict[str, Any]:
    """As JSON has it."""
    plan = asdict(run.plan) | {"trace": run.plan.trace.name}
    steps = []
    for step in run.steps:
        found = asdict(step)
        del found["kept"]
        steps.append(found | {"met": step.met, "met_by_strip": step.met_by_strip, "limit": limit(step)})
    machine = {"cores": os.cpu_count(), "cluster_cores": run.cores or os.cpu_count(), "loads": run.loads}
    return {"command": run.command, "commit": commit(), "machine": machine, "plan": plan, "steps": steps}


def write(folder: Path, run: Run) -> None:
    """`load.json` and `README.md` in the folder."""
    (folder / "load.json").write_text(json.dumps(plain(run), indent=1, allow_nan=False) + "\n")
    (folder / "README.md").write_text(markdown(run) + f"\n![What came]({PLOT})\n")


def markdown(run: Run) -> str:
    """The page."""
    lines = [*_head(run), *_steps(run.steps), ""]
    lines += [f"{setting}: {_capacity(run, setting)}" for setting in run.settings]
    if len(run.settings) > 1:
        lines += ["", *_comparison(run)]
    for step in run.steps:
        if step.profile:
            lines += ["", *_profile(step)]
    return "\n".join(lines) + "\n"


def _head(run: Run) -> list[str]:
    plan, (before, after) = run.plan, run.loads
    kept = f", the cluster kept to {run.cores} of them and the players to the rest" if run.cores else ""
    come = f"{60 * plan.per_s:g} a minute" if plan.is_open else f"{plan.per_s:g} a second until all are there"
    return [
        "# The load test's last run",
        "",
        f"`{run.command}` at {commit()} on {os.cpu_count()} cores{kept}; load {before:.1f} before and {after:.1f} "
        "after, which holds the run itself. Players share the machine with the cluster, if it is this one's own.",
        "",
        f"Trace `{plan.trace.name}`: {plan.trace.about} Sessions come by a Poisson process, {come} (seed {plan.seed}); "
        f"{plan.viewers} viewers beside each director. Each step is measured for {plan.seconds:g} s, without the first "
        f"{WARM_S:g} s of each participant. What the columns mean is in [load.md](../load.md).",
        "",
        *_disturbed(run),
    ]


def _disturbed(run: Run) -> list[str]:
    most = max((step.strangers for step in run.steps if "workers" in step.used.cores), default=0.0)
    if most <= QUIET:
        return []
    text = f"**Other programmes took up to {most:.2f} cores meanwhile**: what follows is not what this machine can do."
    return [text, ""]


def _steps(steps: Sequence[Step]) -> list[str]:
    titles = (
        "setting, round",
        "sessions",
        "chunks in time",
        "by the strip",
        "first picture p50 / p95",
        "control p50 / p95",
        "fps p50 / least",
        "freezes a min",
        "underruns a min",
        "stalled",
        "cores a session: workers, gateway, others",
        "players",
        "machine",
    )
    return [_row(titles), _row(["---", *["---:"] * (len(titles) - 1)]), *(_row(_cells(step)) for step in steps)]


def _cells(step: Step) -> Iterable[str]:
    viewed, used = step.viewed, step.used
    first, control, fps = Spread.of(viewed.first_picture_s), Spread.of(viewed.control_s), sorted(viewed.fps)
    minutes = viewed.seconds / 60
    cores = [used.cores.get(part) for part in ("workers", "gateway", "others", "cluster")]
    each = " ".join(f"{spent / (viewed.playing or 1):.3f}" for spent in cores if spent is not None)
    return (
        f"{step.setting}, {step.round}",
        f"{step.sessions}" + (f" ({len(viewed.failures)} failed)" if viewed.failures else ""),
        _share(step.met, used.chunks),
        _share(step.met_by_strip, viewed.boundaries),
        f"{_s(first.p50)} / {_s(first.p95)}",
        f"{_s(control.p50)} / {_s(control.p95)} (of {control.count + viewed.unseen})",
        f"{Spread.of(fps).p50:.1f} / {fps[0]:.1f}" if fps else "–",
        f"{viewed.freezes / minutes:.1f}" if minutes else "–",
        f"{viewed.underruns / minutes:.1f}" if minutes else "–",
        f"{viewed.stalled_s / viewed.seconds:.1%}" if minutes else "–",
        each or "–",
        f"{used.cores.get('players', 0.0) / (viewed.playing or 1):.3f}",
        f"{used.machine:.0%}",
    )


def _capacity(run: Run, setting: str) -> str:
    cores = run.cores or os.cpu_count() or 1
    steps = sorted(run.of(setting), key=lambda step: step.sessions)
    good = run.capacity(setting)
    bad = next((step for step in steps if not step.is_good), None)
    if good is None:
        return f"not even {steps[0].sessions} with {MET:.0%} of chunks in time: {limit(steps[0])}."
    count = f"{good.viewed.playing:.3g} session" + ("" if good.viewed.playing == 1 else "s")
    text = f"**{count} at once** with at least {MET:.0%} of chunks in time"
    if "workers" in good.used.cores:  # it is of this machine
        text += f", {good.viewed.playing / cores:.2f} a core"
    if good.cluster_cores:
        text += f"; the cluster took {good.cluster_cores / good.viewed.playing:.2f} cores for each"
    return text + (f". With {bad.sessions}: {limit(bad)}." if bad else ".")


COMPARED: dict[str, Callable[[Step], float | None]] = {
    "chunks in time": lambda step: step.met,
    "by the strip": lambda step: step.met_by_strip,
    "first picture p50, s": lambda step: Spread.of(step.viewed.first_picture_s).p50,
    "control p50, s": lambda step: Spread.of(step.viewed.control_s).p50,
    "control p95, s": lambda step: Spread.of(step.viewed.control_s).p95,
    "fps, median": lambda step: Spread.of(step.viewed.fps).p50,
    "stalled share": lambda step: step.viewed.stalled_s / step.viewed.seconds if step.viewed.seconds else None,
    "cores a session: workers": lambda step: _core(step, "workers"),
    "cores a session: gateway": lambda step: _core(step, "gateway"),
    "cores a session: whole cluster": lambda step: sum(
        _core(step, part) or 0.0 for part in step.used.cores if part != "players"
    ),
}


def _core(step: Step, part: str) -> float | None:
    return step.used.cores[part] / (step.viewed.playing or 1) if part in step.used.cores else None


def _comparison(run: Run) -> list[str]:
    first, *others = run.settings
    lines = ["Medians over the rounds, and how far from the first.", ""]
    lines += [_row(("sessions", "", *run.settings)), _row(["---:", "---", *["---:"] * len(run.settings)])]
    for sessions in sorted({step.sessions for step in run.steps}):
        for name, figure in COMPARED.items():
            base, *found = (median(map(figure, run.of(each, sessions))) for each in (first, *others))
            lines.append(_row((str(sessions), name, _number(base), *(_against(each, base) for each in found))))
    return lines


def _number(value: float | None) -> str:
    return "–" if value is None else f"{value:.3f}"


def _against(value: float | None, base: float | None) -> str:
    return _number(value) + (f" ({value / base - 1:+.0%})" if value is not None and base else "")


def _profile(step: Step) -> list[str]:
    lines = [
        f"Busiest functions of Python at {step.sessions} sessions ({step.setting}), by py-spy after the window: shares "
        "of the busy samples of a part, own and with what is called. Time in a library is its caller's.",
        "",
        _row(("part", "function", "own", "with called")),
        _row(("---", "---", "---:", "---:")),
    ]
    lines += [
        _row((row["part"], f"`{row['function']}`", f"{row['own']:.1%}", f"{row['with_called']:.1%}"))
        for row in step.profile
    ]
    return lines


def _row(cells: Iterable[str]) -> str:
    return f"| {' | '.join(cells)} |"


def _share(share: float | None, count: int) -> str:
    return "–" if share is None else f"{share:.1%} of {count}"


def _s(seconds: float | None) -> str:
    return "–" if seconds is None else f"{seconds:.2f} s"
