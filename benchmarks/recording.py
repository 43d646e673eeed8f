"""What recording costs a session: received rate and the worker's CPU with recording off and on.

The viewer takes VP8, so that the recorder has an encode of its own to pay for; a viewer of H.264 shares it.
"""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path
from statistics import median
from typing import Annotated, NamedTuple

import typer
from rich.console import Console
from rich.table import Table

sys.path.insert(0, str(Path(__file__).parents[1]))  # so that it also runs as a file

from benchmarks.viewer import FPS, MODEL, Viewer, signed_in
from tests.support.server import WORKERS, Server

WARM_S = 3.0
SCENE = 40
LIMIT = 0.02
"""Of the received rate may be lost by turning recording on."""
POOLS = ({"model": MODEL, "min_warm": 1, "max_workers": 1},)


class Figures(NamedTuple):
    """Pictures per second at the client, and CPU seconds per second of the worker."""

    rate: float
    cpu: float


async def watch(server: Server, codec: str, seconds: float) -> Figures:
    """One viewer of one session."""
    async with signed_in(server.url, server.api_key) as api, await Viewer.create(api, MODEL, codec=codec) as client:
        await client.connect()
        client.command("set_shot", prompt="a red dune at dawn")
        for chunk in range(SCENE, int(seconds + 60), SCENE):
            client.command("schedule_scene_cut", prompt="a harbour at night", at_session_chunk=chunk)
        client.command("start")
        await client.until(lambda: len(client.frames) > WARM_S * FPS)
        begun, before = client.frames[-1], server.cpu_s(WORKERS)
        await client.until(lambda: client.frames[-1][0] - begun[0] >= seconds, limit_s=seconds + 60)
        pictures = [frame for frame in client.frames if frame[0] > begun[0]]
        lasted = pictures[-1][0] - begun[0]
        used = server.cpu_s(WORKERS) - before
    return Figures(len({number for _, number in pictures}) / lasted, used / lasted)


def main(
    seconds: Annotated[float, typer.Option(help="Length of each measurement.")] = 30.0,
    rounds: Annotated[int, typer.Option(help="Measurements of each kind, in turns; medians are shown.")] = 3,
    codec: Annotated[str, typer.Option(help="What the viewer takes.")] = "VP8",
) -> None:
    """Measure and print the table."""
    taken: dict[str, list[Figures]] = {"off": [], "clips": []}
    for keep in ("off", "clips") * rounds:
        with Server.start(POOLS, keep=keep) as server:
            taken[keep].append(asyncio.run(watch(server, codec, seconds)))
    found = {keep: Figures(*map(median, zip(*each, strict=True))) for keep, each in taken.items()}
    table = Table("recording", "received fps", "worker CPU s/s")
    for keep, figures in found.items():
        table.add_row(keep, f"{figures.rate:.2f}", f"{figures.cpu:.3f}")
    Console().print(table)
    raise typer.Exit(0 if found["clips"].rate >= (1 - LIMIT) * found["off"].rate else 1)


if __name__ == "__main__":
    typer.run(main)
