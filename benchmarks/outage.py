"""Redis is away under a session that plays: `python -m benchmarks.outage --seconds 30`.

Redis is killed and comes back with its data; pictures are numbered, so what a client misses can be counted. The exit
code is 1 if a picture did not come, or if a request was refused when Redis was back.
"""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass
from itertools import pairwise
from typing import Annotated

import httpx
import typer
from rich.console import Console

from benchmarks.stage import Stage
from benchmarks.viewer import MODEL, Viewer, signed_in
from tests.support.server import KEY

POOLS = ({"model": MODEL, "min_warm": 1, "max_workers": 1},)
BEFORE, AFTER = 4, 4
"""Chunks before Redis goes, and after it is back."""
IN_A_ROW = 20
SCENE = 40
CHUNKS = 400


@dataclass(frozen=True, slots=True)
class Outage:
    """Pictures that were to come while Redis was away and until the story's end, those that did not, the longest gap
    between two in seconds, how long after its return a command was answered, and HTTP requests refused after that."""

    seconds: float
    pictures: int
    lost: int
    gap_s: float
    answered_s: float
    refused: int


async def measure(seconds: float) -> Outage:
    """Play a story, and take Redis away in its midst."""
    async with (
        Stage.raised(POOLS) as stage,
        signed_in(stage.server.url, KEY) as api,
        await Viewer.create(api, MODEL) as viewer,
    ):
        await viewer.connect()
        viewer.command("set_shot", prompt="a red dune at dawn")
        for chunk in range(SCENE, CHUNKS, SCENE):
            viewer.command("schedule_scene_cut", prompt="a harbour at night", at_session_chunk=chunk)
        viewer.command("start")
        await viewer.plays(BEFORE)
        seen = len(viewer.frames)
        stage.redis.kill()
        gone = time.monotonic()
        await asyncio.sleep(seconds)
        await asyncio.to_thread(stage.redis.start)
        away_s, back = time.monotonic() - gone, time.perf_counter()
        viewer.command("schedule_shot", prompt="a fox in the snow", at_session_chunk=CHUNKS)
        await viewer.until(lambda: bool(viewer.of_type("shot_scheduled")))
        answered_s = viewer.of_type("shot_scheduled")[0][0] - back
        await viewer.plays(AFTER)
        return figures(viewer.frames[seen:], away_s, answered_s, await refused(viewer))


async def refused(viewer: Viewer) -> int:
    """Requests that get a 503 before so many in a row do not."""
    count = good = 0
    while good < IN_A_ROW:
        try:
            await viewer.api.session(viewer.session_id)
            good += 1
        except httpx.HTTPStatusError:
            count, good = count + 1, 0
    return count


def figures(frames: list[tuple[float, int]], away_s: float, answered_s: float, refused: int) -> Outage:
    """What is to be read from the pictures that came, each with its time."""
    numbers = [number for _, number in frames]
    due = max(numbers) - min(numbers) + 1
    gaps = [after[0] - before[0] for before, after in pairwise(frames)]
    return Outage(away_s, due, due - len(set(numbers)), max(gaps), answered_s, refused)


def main(seconds: Annotated[float, typer.Option(min=1, help="For which Redis is away.")] = 30.0) -> None:
    """Measure and print."""
    found = asyncio.run(measure(seconds))
    Console().print(
        f"Redis was away for {found.seconds:.1f} s: {found.lost} of {found.pictures} pictures lost, the longest gap "
        f"{found.gap_s * 1000:.0f} ms; a command was answered {found.answered_s:.2f} s after its return, "
        f"{found.refused} requests were refused after that"
    )
    raise typer.Exit(1 if found.lost or found.refused else 0)


if __name__ == "__main__":
    typer.run(main)
