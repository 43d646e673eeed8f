"""The cluster beside its peers: `python -m benchmarks.peers`; `--write docs/peers.md` puts the tables into the page.

All servers run side by side for the whole run; one at a time has a session, in turns, round after round. The exit code
is 1 if stock aiortc does not take twice the cluster's CPU for the most viewers.
"""

from __future__ import annotations

import asyncio
import json
import os
import platform
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import httpx
import typer
from rich.console import Console

from benchmarks.peers import contestants
from benchmarks.peers.contestants import Contestant
from benchmarks.peers.figures import Figures, Key, median_of_rounds, reached
from benchmarks.peers.measure import measure
from benchmarks.peers.pictures import BITRATE, FPS, HEIGHT, WIDTH
from benchmarks.peers.processes import Unavailable
from benchmarks.peers.report import Report

WARM_UP_S = 1.0
CODECS = ("VP8", "H264")


class Absent(dict[str, str]):
    """Who takes no part, or no longer, and why; told as it happens."""

    def __init__(self, console: Console) -> None:
        self._console = console

    def add(self, name: str, why: Exception) -> None:
        """Say it in one line."""
        self[name] = " ".join(f"{why or type(why).__name__}".split())
        self._console.print(f"{name} takes no part: {self[name]}")


def turns(
    running: Sequence[Contestant], codec: str, plan: Sequence[tuple[int, float]], absent: Absent
) -> Iterator[tuple[Key, Figures]]:
    """Measure, by a plan of viewers and seconds, contestants in turns. Who fails once is out."""
    for count, seconds in plan:
        for one in running:
            if one.name in absent:
                continue
            try:
                yield (one.name, count), asyncio.run(measure(one, codec, count, seconds))
            except (Unavailable, TimeoutError, RuntimeError, httpx.HTTPError) as error:
                absent.add(one.name, error)


def run(codec: str, viewers: Sequence[int], seconds: float, rounds: int, console: Console) -> Report:
    """Start everyone who can take part, and measure."""
    absent = Absent(console)
    with ExitStack() as stack:
        running = []
        for name, start in contestants.ALL.items():
            try:
                running.append(stack.enter_context(start(codec)))
            except Unavailable as reason:
                absent.add(name, reason)
        list(turns(running, codec, [(1, WARM_UP_S)], absent))  # what is made for a first session costs only that one
        load, samples = os.getloadavg()[0], []
        for key, one in turns(running, codec, [(count, seconds) for count in sorted(viewers)] * rounds, absent):
            console.print(f"{key[0]}, viewers {key[1]}: {one.cpu:.3f} s/s, {one.fps:.1f} fps")
            samples.append((key, one))
        found = median_of_rounds(samples)
        versions = {one.name: one.version for one in running}
    return Report(_setting(codec, seconds, rounds, load), versions, absent, found)


def _setting(codec: str, seconds: float, rounds: int, load: float) -> str:
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    return (
        f"{datetime.now(UTC):%Y-%m-%d}, {os.cpu_count()} CPUs, {memory:.0f} GiB, CPython {platform.python_version()}; "
        f"{codec}, {WIDTH}×{HEIGHT} at {FPS} fps, {BITRATE / 1e6:g} Mbit/s; medians of {rounds} × {seconds:g} s. "
        f"Load {load:.1f} before, {os.getloadavg()[0]:.1f} after, which holds the run itself."
    )


def main(
    viewers: Annotated[list[int], typer.Option(min=1, help="of one session; once for each number")] = [1, 2, 4, 8],  # noqa: B006
    seconds: Annotated[float, typer.Option(min=2, help="of each measurement")] = 10.0,
    rounds: Annotated[int, typer.Option(min=1)] = 3,
    codec: Annotated[str, typer.Option(help=f"what viewers offer: {' or '.join(CODECS)}")] = CODECS[0],
    write: Annotated[Path | None, typer.Option(help="a page that has a place for the tables")] = None,
    to_json: Annotated[Path | None, typer.Option("--json", help="a file for all figures")] = None,
) -> None:
    """Measure, and print the tables."""
    if codec not in CODECS:
        raise typer.BadParameter(f"the codecs are {' and '.join(CODECS)}")
    console = Console()
    report = run(codec, viewers, seconds, rounds, console)
    console.print(*report.tables())
    if write is not None:
        report.write(write)
    if to_json is not None:
        to_json.write_text(json.dumps(report.as_json(), indent=1, ensure_ascii=False) + "\n")
    raise typer.Exit(0 if reached(report.found) else 1)


if __name__ == "__main__":
    typer.run(main)
