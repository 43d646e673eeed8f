"""How long a session is dark for a client whose network has changed: from the reconnect call to the next picture.

`python -m benchmarks.reconnect --rounds 20`: a story plays on `tiny`; the client's sockets go dead without a word, and
it comes back in the ways of the published clients: by an offer on the same connection (Python), on a fresh one
(JavaScript), on the flat path (JavaScript 2.9). The exit code is 1 if a picture is late, or old, or the worker does
not come to count one connection again.
"""

from __future__ import annotations

import asyncio
import statistics
import sys
import time
from dataclasses import astuple, dataclass
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table

sys.path.insert(0, str(Path(__file__).parents[1]))  # so that it also runs as a file

from benchmarks.viewer import FPS, MODEL, Viewer, p95, signed_in
from tests.support.server import Server
from wire.http import FLAT_CONNECTION_ID

GOAL_S = 1.5
PLAYED_S = 1.5
"""Of pictures before each change of network."""
DARK_S = 0.5
"""From the change to the reconnect call: clients take a while to notice."""
COUNTED_WITHIN_S = 10.0
SCENE = 40
WAYS = {"same connection": None, "fresh connection": None, "flat path": FLAT_CONNECTION_ID}
POOLS = ({"model": MODEL, "min_warm": 1, "max_workers": 1},)


@dataclass(frozen=True, slots=True)
class Return:
    """One return, in seconds from the reconnect call but for `age_s`: the age of the first picture, against that of the
    pictures before the change. `counted_s` is when the worker counts one connection, and not the former one too."""

    answer_s: float
    state_s: float
    picture_s: float
    age_s: float
    counted_s: float

    @property
    def is_stale(self) -> bool:
        """Whether the first picture was due before the call already."""
        return self.age_s > self.picture_s


async def come_back(viewer: Viewer, server: Server, *, fresh: bool) -> Return:
    """Lose the network, and reconnect."""
    seen = len(viewer.frames)
    await viewer.until(lambda: len(viewer.frames) >= seen + PLAYED_S * FPS)
    due = statistics.median(at - number / FPS for at, number in viewer.frames[seen:])
    viewer.peer.vanish()
    await asyncio.sleep(DARK_S)
    viewer.frames.clear()
    viewer.messages.clear()
    begun = time.perf_counter()
    await viewer.reconnect(fresh=fresh)
    await viewer.until(lambda: bool(viewer.frames and viewer.of_type("state")))
    (state_at, _), (picture_at, number) = viewer.of_type("state")[0], viewer.frames[0]
    counted_at = await _one_is_counted(server)
    times = (viewer.answered_at, state_at, picture_at)
    return Return(*(at - begun for at in times), picture_at - number / FPS - due, counted_at - begun)


async def _one_is_counted(server: Server) -> float:
    async with asyncio.timeout(COUNTED_WITHIN_S):
        while (await asyncio.to_thread(server.counted, "llc_connections")).total() != 1:
            await asyncio.sleep(0.1)
    return time.perf_counter()


async def measure(server: Server, way: str, rounds: int) -> list[Return]:
    """One session, interrupted again and again."""
    async with signed_in(server.url, server.api_key) as api, await Viewer.create(api, MODEL) as viewer:
        await viewer.connect(WAYS[way])
        viewer.command("set_shot", prompt="a red dune at dawn")
        for chunk in range(SCENE, 20 * rounds, SCENE):
            viewer.command("schedule_scene_cut", prompt="a harbour at night", at_session_chunk=chunk)
        viewer.command("start")
        return [await come_back(viewer, server, fresh=way.startswith("fresh")) for _ in range(rounds)]


def main(rounds: Annotated[int, typer.Option(min=1, help="Changes of network per way.")] = 20) -> None:
    """Measure and print the table."""
    heads = ("p50/p95 of", "SDP answer", "state", "first picture", "its age", "former not counted")
    table, good = Table(*heads), True
    with Server.start(POOLS, keep="off") as server:
        for way in WAYS:
            found = asyncio.run(measure(server, way, rounds))
            columns = list(zip(*map(astuple, found), strict=True))
            table.add_row(way, *(f"{_ms(statistics.median(each))} / {_ms(p95(each))} ms" for each in columns))
            good &= all(each.picture_s <= GOAL_S and not each.is_stale for each in found)
    Console().print(table)
    raise typer.Exit(0 if good else 1)


def _ms(seconds: float) -> str:
    return f"{1000 * seconds:.0f}"


if __name__ == "__main__":
    typer.run(main)
