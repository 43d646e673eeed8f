"""What the metrics cost a worker: the observations of one chunk, by whom they are made, against the time of a chunk.

    python -m benchmarks.metrics --viewers 16

The very calls of a session are made, as often as a chunk makes them: eight pieces of pictures, two codecs, a receiver's
report per viewer and second. A scrape of the process is counted with its share of the 15 s between two.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Annotated

import typer
from prometheus_client import generate_latest
from rich.console import Console
from rich.table import Table

from cluster import metrics
from cluster.media.encoder import VideoCodec
from cluster.media.feed import OutputStats
from cluster.media.reports import Report, ReportMeter
from cluster.meters import ChunkMeter, OutputMeter

MODEL = "benchmark"
PICTURES, PIECES, FPS = 29, 8, 24
CHUNK_S = PICTURES / FPS
REPORTS_PER_S = 1.0
SCRAPE_EVERY_S = 15.0
GOAL = 0.005
ROUNDS = 2000


class Chunk:
    """One chunk's observations, in parts."""

    def __init__(self, viewers: int) -> None:
        self._viewers = viewers
        self._chunks = ChunkMeter(MODEL, "a session")
        self._output = OutputMeter(MODEL)
        self._stats = OutputStats()
        self._reports = [ReportMeter() for _ in range(viewers)]
        self._count = 0

    def parts(self) -> dict[str, tuple[Callable[[], object], float]]:
        """Each, and how often a chunk makes it."""
        return {
            "scheduler: stages, lead, pictures": (self.stages, 1),
            "encoders: time and bytes of each picture": (self.pictures, 1),
            "session: what its output did": (self.output, 1),
            "journal: a snapshot": (self.snapshot, 1),
            "senders: reports of the viewers": (self.reports, REPORTS_PER_S * CHUNK_S),
            "a command": (self.command, 1),
            "a scrape": (generate_latest, CHUNK_S / SCRAPE_EVERY_S),
        }

    def stages(self) -> None:
        for stage in ("total", "text", "denoise", "decode", "commit"):
            with self._chunks.timed(stage):
                pass
        slowest = 0.0
        for _ in range(PIECES):
            made_at = time.perf_counter()
            self._chunks.pictures(4)
            slowest = max(slowest, time.perf_counter() - made_at)
        self._chunks.took("publish", slowest)
        self._chunks.lead(0.3)

    def pictures(self) -> None:
        for codec in VideoCodec:
            for _ in range(PICTURES):
                began = time.perf_counter()
                self._stats.encode_s[codec] += time.perf_counter() - began
                self._stats.encoded_bytes[codec] += 20_000
                self._stats.encoded[codec] += 1

    def output(self) -> None:
        for codec in VideoCodec:
            self._stats.encoded[codec] += PICTURES
        self._output.observe(self._stats)

    def snapshot(self) -> None:
        metrics.SNAPSHOT.labels(MODEL).observe(0.002)
        metrics.SNAPSHOT_BYTES.labels(MODEL).inc(2_000_000)

    def reports(self) -> None:
        self._count += 1
        for meter in self._reports:
            meter.observe(Report(0.0, 0.05, self._count, 400 * self._count))

    def command(self) -> None:
        metrics.COMMANDS.labels(MODEL, "accepted").inc()
        metrics.COMMAND.labels(MODEL).observe(0.003)


def cost_s(call: Callable[[], object]) -> float:
    """Of one call, in seconds: the best of five runs, as whatever else the machine does only adds."""
    runs = []
    for _ in range(5):
        began = time.perf_counter()
        for _ in range(ROUNDS // 5):
            call()
        runs.append((time.perf_counter() - began) / (ROUNDS // 5))
    return min(runs)


def main(viewers: Annotated[int, typer.Option(min=0, help="Viewers of the session.")] = 16) -> None:
    """Measure and print the table; fails where the goal is missed."""
    metrics.begin_worker(MODEL, ())
    table = Table("observed by", "µs per chunk", "of a chunk")
    found = {name: times * cost_s(call) for name, (call, times) in Chunk(viewers).parts().items()}
    whole = sum(found.values())
    for name, seconds in (*found.items(), ("all", whole)):
        table.add_row(name, f"{1e6 * seconds:.1f}", f"{seconds / CHUNK_S:.4%}")
    Console().print(table)
    Console().print(f"{viewers} viewers; to stay below {GOAL:.1%} of {CHUNK_S:.3f} s")
    raise typer.Exit(0 if whole < GOAL * CHUNK_S else 1)


if __name__ == "__main__":
    typer.run(main)
