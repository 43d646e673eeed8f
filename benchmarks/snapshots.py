"""What a session's snapshots cost, against the time of a chunk: made in the worker, written to a real Redis.

`python -m benchmarks.snapshots --chunks 24`: a story plays in this process, as a worker makes it and without the waits;
after each chunk its snapshot is taken and written, and both are timed. The exit code is 1 if the two take more of the
CPU than 2 % of what the chunk took.
"""

from __future__ import annotations

import asyncio
import statistics
import time
from dataclasses import dataclass
from typing import Annotated

import torch
import typer
from redis.asyncio import Redis
from rich.console import Console
from rich.table import Table

from benchmarks.viewer import MODEL
from cluster.journal import Snapshot
from cluster.records import SessionRecord
from cluster.settings import Settings
from cluster.store import Store
from longlive.protocol import ScheduleSceneCut, SetShot, Start
from models.contract import ChunkResult, Director, Stream
from models.registry import find
from tests.support.redis_process import RedisProcess
from wire.http import SessionState

GOAL = 0.02
WARM_UP = 2
CUT_AT = 8
TENANT, SESSION = "key_benchmark", "a-session"
RECORD = SessionRecord(
    session_id=SESSION,
    tenant=TENANT,
    model=MODEL,
    state=SessionState.PENDING,
    created_at=time.time(),
    max_duration_s=3600,
)


@dataclass(frozen=True, slots=True)
class Cost:
    """Of one chunk, in milliseconds: its making; of the snapshot after it the taking, the writing, and the CPU of this
    process for both; its bytes."""

    chunk_ms: float
    take_ms: float
    write_ms: float
    cpu_ms: float
    size: int


def make(stream: Stream, director: Director) -> None:
    """One chunk, all of it."""
    plan = director.begin_chunk()
    assert plan is not None
    stream.prepare(plan)
    frames = sum(len(media.rgb) for media in stream.decode(stream.generate({})))
    stream.commit()
    director.end_chunk(ChunkResult(plan, frames))


async def costs(store: Store, preset: str, chunks: int) -> list[Cost]:
    """A story with a cut, chunk by chunk."""
    model = find(MODEL, preset)
    stream, director = model.load("cpu").open(), model.director()
    for command in (
        SetShot(prompt="a red dune at dawn"),
        ScheduleSceneCut(prompt="a harbour at night", at_session_chunk=CUT_AT),
        Start(),
    ):
        director.handle(command)
    found = []
    for _ in range(chunks):
        begun = time.perf_counter()
        make(stream, director)
        made, cpu = time.perf_counter(), time.process_time()
        state = stream.snapshot()
        taken = time.perf_counter()
        data = Snapshot(model=MODEL, director=director.snapshot()).data()
        assert await store.save_snapshot(TENANT, SESSION, 1, data, state)
        written, spent = time.perf_counter(), time.process_time() - cpu
        chunk_ms, take_ms, write_ms, cpu_ms = (
            1000 * each for each in (made - begun, taken - made, written - taken, spent)
        )
        found.append(Cost(chunk_ms, take_ms, write_ms, cpu_ms, len(data) + len(state)))
    return found[WARM_UP:]


async def measure(preset: str, chunks: int) -> list[Cost]:
    """With a Redis of its own, and a session entered there."""
    with RedisProcess() as process:
        redis, settings = Redis.from_url(process.url), Settings(redis_url=process.url)
        store = Store(redis, settings)
        try:
            await store.create(RECORD)
            await store.grant(TENANT, SESSION, "a worker", time.time())
            return await costs(store, preset, chunks)
        finally:
            await redis.aclose()


def main(
    preset: Annotated[str, typer.Option(help="Of LongLive-2.0.")] = "tiny",
    chunks: Annotated[int, typer.Option(min=WARM_UP + 2, help="To play.")] = 24,
) -> None:
    """Measure and print the table."""
    torch.set_num_threads(1)
    found = asyncio.run(measure(preset, chunks))
    table = Table("", "median", "most", "of the chunk")
    chunk_ms = statistics.median(each.chunk_ms for each in found)
    for name, values in (
        ("a chunk", [each.chunk_ms for each in found]),
        ("its snapshot, taken", [each.take_ms for each in found]),
        ("written, off the worker's way", [each.write_ms for each in found]),
        ("CPU of both", [each.cpu_ms for each in found]),
    ):
        median = statistics.median(values)
        table.add_row(name, f"{median:.1f} ms", f"{max(values):.1f} ms", f"{median / chunk_ms:.1%}")
    console = Console()
    console.print(table)
    console.print(f"{statistics.median(each.size for each in found) / 2**20:.2f} MiB a snapshot")
    share = statistics.median(each.cpu_ms for each in found) / chunk_ms
    raise typer.Exit(0 if share <= GOAL else 1)


if __name__ == "__main__":
    typer.run(main)
