"""Narrow and lossy ways, measured: what a viewer sees of a stretch of pictures.

`python -m benchmarks.links --seconds 30`: one aiortc viewer behind a relay in this process, a drop-tail queue of
300 ms where the way has a rate. `--client sdk` (reactor-sdk 1.13.0, VP8) or `--client chromium` (js-sdk 2.9.0, H.264):
the client in a network of its own behind the kernel's token bucket filter, a whole cluster before it; needs root.

Frozen: the sum of gaps longer than a picture and 150 ms. Late: against the quickest picture, 95th percentile. Stalled:
how late this process's own loop was in all; with much of it the row says nothing. Chromium's own statistics are told
beside, for its page, in software, may be shown less than was decoded.
"""

from __future__ import annotations

import asyncio
import os
import sys
from enum import StrEnum
from pathlib import Path as FilePath
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table

sys.path.insert(0, str(FilePath(__file__).parents[1]))  # so that it also runs as a file

from benchmarks import far
from tests.support.link import Link, Path
from tests.support.stretch import FPS, HEIGHT, WIDTH, Figures, Stretch, through

WAYS = {
    "8 Mbit/s": Path(8_000_000),
    "2.5 Mbit/s": Path(2_500_000),
    "1.5 Mbit/s": Path(1_500_000),
    "2 % loss, 40 ms": Path(loss=0.02, delay_s=0.02),
}
NARROW = ("2.5 Mbit/s", "1.5 Mbit/s")


class ClientName(StrEnum):
    """Who watches."""

    AIORTC = "aiortc"
    CHROMIUM = "chromium"
    SDK = "sdk"


async def measure(codec: str, path: Path, seconds: float) -> tuple[Figures, float, float]:
    """The viewer's figures, what came through in bit/s, and how late the machine itself was in all, in s."""
    stretch = Stretch()
    try:
        async with Link(path) as link:
            seen = await stretch.join(codec, through(link))
            played = await stretch.play(seconds)
            return Figures.of(played, seen.at), link.bytes * 8 / seconds, stretch.stalled_s
    finally:
        await stretch.close()


def main(
    seconds: Annotated[float, typer.Option(min=2, help="of video per row")] = 30.0,
    client: Annotated[ClientName, typer.Option()] = ClientName.AIORTC,
) -> None:
    """Print the table."""
    load = os.getloadavg()[0]
    table = relayed(seconds) if client is ClientName.AIORTC else published(client, seconds)
    table.caption = f"load {load:.1f} before, {os.getloadavg()[0]:.1f} after"
    Console().print(table)


def relayed(seconds: float) -> Table:
    """Ways and codecs, with a viewer in this process."""
    columns = ("way", "codec", "shown", "frozen", "late p95", "received", "stalled")
    table = Table(*columns, title=f"{WIDTH}×{HEIGHT}, {FPS} fps")
    for way, path in WAYS.items():
        for codec in ("H264", "VP8"):
            figures, rate, stalled = asyncio.run(measure(codec, path, seconds))
            table.add_row(way, codec, *cells(figures), f"{rate / 1e6:.2f} Mbit/s", f"{stalled:.1f} s")
    return table


def published(client: ClientName, seconds: float) -> Table:
    """The narrow ways, with a published client."""
    columns = ("way", "shown", "frozen", "late p95", "counted by the client", "stalled")
    table = Table(*columns, title=f"{client}, {WIDTH}×{HEIGHT}, {FPS} fps")
    for way in NARROW:
        figures, counted, stalled = asyncio.run(far.measure(client, WAYS[way], seconds))
        table.add_row(way, *cells(figures), ", ".join(f"{k} {v}" for k, v in counted.items()), f"{stalled:.1f} s")
    return table


def cells(figures: Figures) -> tuple[str, str, str]:
    """Shown, frozen, late."""
    shown = f"{figures.shown} of {figures.played} ({figures.shown / figures.played:.1%})"
    return shown, f"{figures.frozen_s:.2f} s", f"{figures.late_p95_s * 1000:.0f} ms"


if __name__ == "__main__":
    typer.run(main)
