"""The figures as JSON and as a page."""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

from benchmarks.simulator.figures import Figures
from benchmarks.simulator.scenarios import Scenario

ETA_GOAL, FAIR_GOAL, USED_GOAL = 0.25, 0.95, 0.90


class Result(NamedTuple):
    """A run and what it took. The plot is a file beside the page."""

    scenario: Scenario
    seed: int
    took_s: float
    figures: Figures
    plot: str


def write(folder: Path, results: Iterable[Result], machine: str) -> None:
    """`simulator.json` and `README.md` in the folder."""
    done = list(results)
    (folder / "simulator.json").write_text(
        json.dumps([_plain(each) for each in done], indent=1, allow_nan=False) + "\n"
    )
    lines = [*_head(done, machine), *(line for each in done for line in _page(each))]
    (folder / "README.md").write_text("\n".join(lines))


def _plain(result: Result) -> dict[str, object]:
    scenario, figures = result.scenario, result.figures
    return {
        "scenario": scenario.name,
        "about": scenario.about,
        "workers": scenario.workers,
        "hours": scenario.hours,
        "tenants": len(scenario.tenants),
        "seed": result.seed,
        "took_s": round(result.took_s, 1),
        **figures._asdict(),
        "eta": figures.eta._asdict(),
        "fairness": figures.fairness._asdict(),
    }


def _head(results: list[Result], machine: str) -> list[str]:
    first = results[0].scenario
    workers = round(first.workers / first.part)
    return [
        "# The simulator's last run",
        "",
        f"`python -m benchmarks.simulator --workers {workers} --hours {first.hours:g} --seed {results[0].seed}` "
        f"on {machine}. What the words mean is in `docs/simulator.md`.",
        "",
        "| scenario | workers | sessions | offered | used | of GPUs that were asked for | ETA error, median "
        "(mean; waits ≥ 1 s; ≥ 60 s) | Jain, served of asked | Jain, waits | Jain, slots | lost | refused | run |",
        "|---|---:|---:|---:|---:|---:|---:|---:|---:|---:|---:|---:|---:|",
        *(_row(each) for each in results),
        "",
        f"To reach: ETA error of at most {ETA_GOAL:.0%} by the median; Jain's index of at least {FAIR_GOAL}; at least "
        f"{USED_GOAL:.0%} used where 95 % is offered; none lost.",
        "",
    ]


def _row(result: Result) -> str:
    figures = result.figures
    fair = figures.fairness
    cells = (
        result.scenario.name,
        f"{result.scenario.workers:,}",
        f"{figures.asked:,}",
        f"{figures.offered:.1%}",
        f"{figures.utilisation:.1%}",
        f"{figures.used_of_asked:.1%}",
        f"{_share(figures.eta.median_error)} ({_share(figures.eta.mean_error)}; "
        f"{_share(figures.eta.median_error_of_seconds)}; "
        f"{_share(figures.eta.median_error_of_long)})",
        *(f"{value:.3f}" for value in (fair.served_of_asked, fair.wait, fair.slots)),
        str(figures.lost),
        f"{figures.refused + figures.over_quota:,}",
        f"{result.took_s:.0f} s",
    )
    return f"| {' | '.join(cells)} |"


def _page(result: Result) -> list[str]:
    figures = result.figures
    waits = {"all": figures.wait_s, "those that waited": figures.wait_s_of_waiters, **figures.wait_s_by_class}
    return [
        f"## {result.scenario.name}",
        "",
        f"{result.scenario.about[0].upper()}{result.scenario.about[1:]}.",
        "",
        f"{figures.waited_share:.1%} of the sessions waited for more than a second; {figures.eta.promised:,} were "
        f"told for how long, {figures.eta.unpromised:,} that nobody knows. In all, "
        f"{_share(figures.eta.bias, '+')} was promised against what was waited. "
        f"{figures.died:,} workers died, {figures.moved:,} sessions moved"
        f"{_resumed(figures.resume_s)}; {figures.spawned:,} workers were started. `Pool.check_integrity`: "
        f"{figures.check_ms:.0f} ms.",
        "",
        "| wait, s | p50 | p95 | p99 | ETA error, median |",
        "|---|---:|---:|---:|---:|",
        *(_waits(name, values, figures.eta_error_by_class.get(name)) for name, values in waits.items()),
        "",
        f"![{result.scenario.name}]({result.plot})",
        "",
    ]


def _waits(name: str, values: dict[str, float], error: float | None) -> str:
    cells = (f"{values[each]:.1f}" if values else "" for each in ("p50", "p95", "p99"))
    return f"| {name} | {' | '.join(cells)} | {_share(error)} |"


def _resumed(seconds: dict[str, float]) -> str:
    if not seconds:
        return ""
    return f" and had another worker after {seconds['p50']:.1f} s (p50), {seconds['p99']:.1f} s (p99)"


def _share(value: float | None, sign: str = "") -> str:
    return "" if value is None else f"{value:{sign}.0%}"
