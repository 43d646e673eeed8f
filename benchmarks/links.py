"""Narrow and lossy ways, measured: what a viewer sees of a stretch of pictures.

`python -m benchmarks.links --seconds 30`: one aiortc viewer behind a relay in this process, a drop-tail queue of
300 ms where the way has a rate. Frozen: the sum of gaps longer than a picture and 150 ms. Late: against the quickest
picture, 95th percentile. Stalled: how late this process's own loop was in all; with much of it the row says nothing.
"""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path as FilePath
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table

sys.path.insert(0, str(FilePath(__file__).parents[1]))  # so that it also runs as a file

from tests.support.link import Link, Path
from tests.support.stretch import FPS, HEIGHT, WIDTH, Figures, Stretch, through

WAYS = {
    "8 Mbit/s": Path(8_000_000),
    "2.5 Mbit/s": Path(2_500_000),
    "1.5 Mbit/s": Path(1_500_000),
    "2 % loss, 40 ms": Path(loss=0.02, delay_s=0.02),
}


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


def main(seconds: Annotated[float, typer.Option(min=2, help="of video per way and codec")] = 30.0) -> None:
    """Print the table."""
    table = Table(
        "way", "codec", "shown", "frozen", "late p95", "received", "stalled", title=f"{WIDTH}×{HEIGHT}, {FPS} fps"
    )
    for way, path in WAYS.items():
        for codec in ("H264", "VP8"):
            figures, rate, stalled = asyncio.run(measure(codec, path, seconds))
            shown = f"{figures.shown} of {figures.played} ({figures.shown / figures.played:.1%})"
            late = f"{figures.late_p95_s * 1000:.0f} ms"
            received = f"{rate / 1e6:.2f} Mbit/s"
            table.add_row(way, codec, shown, f"{figures.frozen_s:.2f} s", late, received, f"{stalled:.1f} s")
    Console().print(table)


if __name__ == "__main__":
    typer.run(main)
