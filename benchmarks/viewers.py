"""What viewers of one session cost: encodes per codec, CPU of the worker, pictures received.

`python -m benchmarks.viewers --viewers 1 --viewers 10 --viewers 50`: a story plays on `tiny`; viewers that do not
decode watch it from processes of their own. The exit code is 1 if a picture was encoded more than once per codec.
"""

from __future__ import annotations

import asyncio
import itertools
import json
import statistics
import sys
import time
from asyncio.subprocess import PIPE, Process
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table

sys.path.insert(0, str(Path(__file__).parents[1]))  # so that it also runs as a file

from benchmarks.viewer import FPS, MODEL, Viewer, signed_in
from tests.support.server import WORKERS, Server

PER_PROCESS = 25
SCENE = 40
CHUNKS = 400
ENCODED = "llc_frames_encoded_total"
WARM_CHUNKS = 3
POOLS = ({"model": MODEL, "min_warm": 1, "max_workers": 1},)
CODECS = {"H264": ("H264",), "VP8": ("VP8",), "both": ("H264", "VP8")}


@dataclass(frozen=True, slots=True)
class Figures:
    """`encodes` of a picture by codec; CPU seconds of the worker, the model's too, for a second of video, which are the
    same when a busy machine makes the video late; pictures per second at each viewer."""

    viewers: int
    encodes: dict[str, float]
    cpu: float
    fps: list[float]


class Crowd:
    """Viewers in processes of their own."""

    def __init__(self, processes: list[Process]) -> None:
        self._processes = processes

    @classmethod
    async def gather(cls, server: Server, session_id: str, codecs: list[str]) -> Crowd:
        """One viewer for each of the codecs, connected."""
        processes = []
        for first in range(0, len(codecs), PER_PROCESS):
            some = codecs[first : first + PER_PROCESS]
            command = ("-m", "benchmarks.watchers", server.url, server.api_key, session_id, *some)
            processes.append(await asyncio.create_subprocess_exec(sys.executable, *command, stdin=PIPE, stdout=PIPE))
        crowd = cls(processes)
        for process in processes:
            await crowd._line(process)
        return crowd

    async def pictures(self) -> list[int]:
        """Pictures received so far, by each."""
        for process in self._processes:
            assert process.stdin is not None
            process.stdin.write(b"\n")
        return list(itertools.chain.from_iterable([await self._line(process) for process in self._processes]))

    async def _line(self, process: Process) -> list[int]:
        assert process.stdout is not None
        found: list[int] = json.loads(await process.stdout.readline())
        return found

    async def go(self) -> None:
        """Have them leave."""
        for process in self._processes:
            assert process.stdin is not None
            process.stdin.close()
            await process.wait()


async def measure(server: Server, viewers: int, codec: str, chunks: int) -> Figures:
    """One session, from one end of a chunk to another."""
    async with signed_in(server.url, server.api_key) as api, await Viewer.create(api, MODEL, outputs={}) as director:
        await director.connect()
        director.command("set_shot", prompt="a red dune at dawn")
        for at in range(SCENE, CHUNKS, SCENE):
            director.command("schedule_scene_cut", prompt="a harbour at night", at_session_chunk=at)
        director.command("start")
        codecs = list(itertools.islice(itertools.cycle(CODECS[codec]), viewers))
        crowd = await Crowd.gather(server, director.session_id, codecs)
        await _chunks(director, WARM_CHUNKS)
        begun, cpu, seen = time.perf_counter(), server.cpu_s(WORKERS), await crowd.pictures()
        made, encoded = server.counted("llc_frames_total"), server.counted(ENCODED, "codec")
        await _chunks(director, chunks)
        lasted, used = time.perf_counter() - begun, server.cpu_s(WORKERS) - cpu
        shown = [(now - before) / lasted for now, before in zip(await crowd.pictures(), seen, strict=True)]
        encoded = server.counted(ENCODED, "codec") - encoded
        pushed = (server.counted("llc_frames_total") - made).total()
        await crowd.go()
    encodes = {each: count / pushed for each, count in encoded.items()}
    return Figures(viewers, encodes, used / pushed * FPS, shown)


async def _chunks(director: Viewer, count: int) -> None:
    wanted = len(director.of_type("chunk_complete")) + count
    await director.until(lambda: len(director.of_type("chunk_complete")) >= wanted, limit_s=10 + 5 * count)


def main(
    viewers: Annotated[list[int], typer.Option(help="How many; once for each measurement.")] = [1, 10, 50],  # noqa: B006
    codec: Annotated[str, typer.Option(help="What they take: H264, VP8, both in turns.")] = "H264",
    chunks: Annotated[int, typer.Option(min=2, help="Length of each measurement, in chunks of 1.2 s.")] = 16,
) -> None:
    """Measure and print the table."""
    table = Table(
        "viewers",
        "encodes of a picture",
        "worker CPU s per s of video",
        "for each more",
        "received fps, median / least",
    )
    found: list[Figures] = []
    with Server.start(POOLS, keep="off") as server:
        for count in viewers:
            found.append(now := asyncio.run(measure(server, count, codec, chunks)))
            first = found[0]
            more = (now.cpu - first.cpu) / (count - first.viewers) if count > first.viewers else None
            each = "" if more is None else f"{1000 * more:.1f} ms"
            encodes = ", ".join(f"{name} {times:.2f}" for name, times in now.encodes.items())
            shown = f"{statistics.median(now.fps):.1f} / {min(now.fps):.1f}"
            table.add_row(str(count), encodes, f"{now.cpu:.3f}", each, shown)
    Console().print(table)
    raise typer.Exit(0 if all(times < 1.1 for each in found for times in each.encodes.values()) else 1)


if __name__ == "__main__":
    typer.run(main)
