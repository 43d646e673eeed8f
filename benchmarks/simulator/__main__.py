"""Run the scenarios and write what came: `python -m benchmarks.simulator --workers 10000 --hours 24`."""

from __future__ import annotations

import os
import time
from dataclasses import replace
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from benchmarks.simulator.figures import figures
from benchmarks.simulator.plots import draw
from benchmarks.simulator.report import Result, write
from benchmarks.simulator.scenarios import ALL, Scenario
from benchmarks.simulator.world import World

OUT = Path(__file__).parents[2] / "docs" / "simulator"


def one(scenario: Scenario, seed: int, folder: Path) -> Result:
    """Run a scenario and draw it."""
    began = time.perf_counter()
    world = World(scenario, seed)
    measures = world.run()
    took_s = time.perf_counter() - began
    draw(folder / f"{scenario.name}.png", scenario, measures)
    return Result(scenario, seed, took_s, figures(scenario, measures, world.lost), f"{scenario.name}.png")


def main(
    workers: Annotated[int, typer.Option(min=50)] = 10_000,
    hours: Annotated[float, typer.Option(min=1)] = 24.0,
    seed: int = 1,
    scenario: Annotated[list[str] | None, typer.Option(help=f"of {', '.join(ALL)}; all if none is named")] = None,
    out: Annotated[Path, typer.Option(help="folder for the page, the figures and the plots")] = OUT,
) -> None:
    """Simulate, and write the page."""
    out.mkdir(parents=True, exist_ok=True)
    console, results = Console(), []
    for name in scenario or ALL:
        result = one(replace(ALL[name], workers=round(ALL[name].part * workers), hours=hours), seed, out)
        console.print(name, f"{result.took_s:.0f} s", result.figures)
        results.append(result)
    before, now = f"{os.cpu_count()} cores", f"load {os.getloadavg()[2]:.1f} over the last 15 minutes"
    write(out, results, f"{before}, {now}")


if __name__ == "__main__":
    typer.run(main)
