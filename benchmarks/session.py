"""One session, measured from the client's side: admission, the first picture, the way of a prompt, minutes of playing.

`make bench ARGS="--minutes 10"` starts a cluster of its own with a warm worker; `--url` and `--api-key` take a running
one. Every figure stands beside what it must reach; the exit code is 1 if one does not.
"""

from __future__ import annotations

import asyncio
import statistics
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated

import typer
from prometheus_client.parser import text_string_to_metric_families
from rich.console import Console
from rich.table import Table

sys.path.insert(0, str(Path(__file__).parents[1]))  # so that it also runs as a file

from benchmarks.viewer import FPS, MODEL, Viewer, p95, signed_in
from tests.support.api import Api
from tests.support.server import Server

FRAMES = 29
CHUNK_S = FRAMES / FPS
SCENE = 40
"""Chunks between scene cuts, below the ceiling of 48."""
PROMPTS = ("a red dune at dawn", "a harbour at night", "a forest after rain", "a city of glass")

Row = tuple[str, str, str, bool]


async def admission(api: Api, rounds: int) -> list[Row]:
    """Request to SDP answer, and to the first decoded picture, on a warm worker."""
    answers, pictures = [], []
    for n in range(rounds + 1):
        asked = time.perf_counter()
        async with await Viewer.create(api, MODEL) as client:
            await client.connect()
            client.command("set_shot", prompt=PROMPTS[0])
            client.command("start")
            await client.until(lambda client=client: bool(client.frames))
            if n:  # the first one warms connections up
                answers.append(1000 * (client.answered_at - asked))
                pictures.append(1000 * (client.frames[0][0] - asked))
    limit = 1000 * CHUNK_S + 300
    return [
        _row("POST /sessions → SDP answer, p50", statistics.median(answers), "ms", 150),
        _row("POST /sessions → SDP answer, p95", p95(answers), "ms", None),
        _row("POST /sessions → first picture, p50", statistics.median(pictures), "ms", limit),
        _row("POST /sessions → first picture, max", max(pictures), "ms", limit),
    ]


async def prompts(api: Api, changes: int) -> list[Row]:
    """From sending a shot to the first picture made with it, in chunks: up to one to the boundary, one of buffer."""
    client = await Viewer.create(api, MODEL)
    await client.connect()
    client.command("set_shot", prompt=PROMPTS[0])
    client.command("start")
    delays = []
    for n in range(changes):
        await asyncio.sleep(CHUNK_S * (1 + (n % 7) / 7))  # at every phase of a chunk
        prompt = f"{PROMPTS[(n + 1) % len(PROMPTS)]}, {n}"
        sent, seen = time.perf_counter(), len(client.frames)
        client.command("set_shot", prompt=prompt)
        await client.until(lambda p=prompt: any(d["active_prompt"] == p for _, d in client.of_type("chunk_complete")))
        chunk = next(d for _, d in client.of_type("chunk_complete") if d["active_prompt"] == prompt)
        first = (chunk["session_chunk"] - 1) * FRAMES
        await client.until(lambda first=first: client.frames[-1][1] >= first)
        shown = next(at for at, number in client.frames[seen:] if number >= first)
        delays.append((shown - sent) / CHUNK_S)
    await client.close()
    return [
        _row("set_shot → changed picture, p50", statistics.median(delays), "chunks", None),
        _row("set_shot → changed picture, max", max(delays), "chunks", 2.0),
    ]


async def steady(api: Api, minutes: float, metrics_url: str, pid: int) -> list[Row]:
    """Minutes of one session: rate, losses, and whether memory or latency grow."""
    before = _counters((await api.http.get(metrics_url)).text)
    client = await Viewer.create(api, MODEL)
    await client.connect()
    client.command("set_shot", prompt=PROMPTS[0])
    chunks = int(minutes * 60 / CHUNK_S)
    for n, at in enumerate(range(SCENE, chunks, SCENE)):
        client.command("schedule_scene_cut", prompt=PROMPTS[n % len(PROMPTS)], at_session_chunk=at)
    client.command("start")
    warm = min(60.0, minutes * 12)
    await client.until(lambda: len(client.frames) > warm * FPS, limit_s=2 * warm + 30)
    memory = _rss_mb(pid)
    await client.until(lambda: len(client.of_type("chunk_complete")) >= chunks, limit_s=minutes * 90)
    grown = _rss_mb(pid) - memory
    after = _counters((await api.http.get(metrics_url)).text)
    pushed, encoded = (after[name] - before[name] for name in ("pushed", "encoded"))
    rows = _judge(client, grown)
    # What the pacer still holds, at most a chunk, is not lost.
    rows.append(_row("pictures from the engine and not encoded", pushed - encoded, f"of {pushed:.0f}", FRAMES))
    await client.close()
    return rows


def _judge(client: Viewer, grown: float) -> list[Row]:
    frames = client.frames[FPS:]
    rate = (len(frames) - 1) / (frames[-1][0] - frames[0][0])
    numbers = [number for _, number in frames]
    missing = numbers[-1] - numbers[0] + 1 - len(set(numbers))
    waits = _waits(client)
    fifth = max(1, len(waits) // 5)
    growth = 1000 * (statistics.median(waits[-fifth:]) - statistics.median(waits[:fifth]))
    return [
        ("received rate", f"{rate:.2f} fps", "24 ± 2 %", abs(rate / FPS - 1) <= 0.02),
        _row("pictures missing at the client", missing, f"of {len(numbers)}", 0),
        _row("latency, last fifth against first", growth, "ms", 100),
        _row("memory of the worker, growth after warm-up", grown, "MB", 50),
    ]


def _waits(client: Viewer) -> list[float]:
    """Seconds from a chunk's completion to its last picture at the client."""
    arrived: dict[int, float] = {}
    for at, number in client.frames:
        arrived.setdefault(number, at)
    ends = [(at, data["session_chunk"] * FRAMES - 1) for at, data in client.of_type("chunk_complete")]
    return [arrived[number] - at for at, number in ends if number in arrived]


def _counters(text: str) -> dict[str, float]:
    names = {"llc_frames_total": "pushed", "llc_frames_encoded_total": "encoded"}
    found = dict.fromkeys(names.values(), 0.0)
    for family in text_string_to_metric_families(text):
        for sample in family.samples:
            if sample.name in names:
                found[names[sample.name]] += sample.value
    return found


def _rss_mb(pid: int) -> float:
    status = Path(f"/proc/{pid}/status").read_text()
    return int(status.split("VmRSS:")[1].split()[0]) / 1024


def _row(what: str, value: float, unit: str, limit: float | None) -> Row:
    asked = "" if limit is None else f"≤ {limit:g}"
    shown = f"{value:.2f}" if unit == "chunks" else f"{value:.0f}"
    return what, f"{shown} {unit}", asked, limit is None or value <= limit


async def measure(url: str, key: str, rounds: int, changes: int, minutes: float) -> list[Row]:
    """All parts, one after another, against a running cluster."""
    from cli.attach import with_cluster
    from cluster.settings import Settings

    async with signed_in(url, key) as api:
        rows = await admission(api, rounds)
        rows += await prompts(api, changes)
        workers = await with_cluster(Settings(), lambda cluster: cluster.workers())
        worker = next(w for w in workers if w.model == MODEL)
        rows += await steady(api, minutes, f"http://127.0.0.1:{worker.metrics_port}/metrics", worker.pid)
    return rows


@contextmanager
def _target(url: str, key: str) -> Iterator[tuple[str, str]]:
    if url:
        yield url, key
        return
    pools = [{"model": MODEL, "min_warm": 1, "max_workers": 1}]
    with Server.start(pools, keep="off") as server:
        yield server.url, server.api_key


def main(
    url: Annotated[str, typer.Option(help="A running cluster; none starts one.")] = "",
    api_key: Annotated[str, typer.Option(help="A key of it.")] = "",
    rounds: Annotated[int, typer.Option(help="Sessions opened for the admission figures.")] = 20,
    changes: Annotated[int, typer.Option(help="Prompt changes.")] = 14,
    minutes: Annotated[float, typer.Option(help="Length of the steady session.")] = 1.0,
) -> None:
    """Measure and print the table."""
    with _target(url, api_key) as (base, key):
        rows = asyncio.run(measure(base, key, rounds, changes, minutes))
    table = Table("figure", "measured", "to reach", "")
    for what, measured, asked, good in rows:
        table.add_row(what, measured, asked, "ok" if good else "missed")
    Console().print(table)
    raise typer.Exit(0 if all(good for *_, good in rows) else 1)


if __name__ == "__main__":
    typer.run(main)
