"""The demo's client: the published Python SDK plays a storyboard on the cluster and watches it."""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any

import httpx
import numpy as np
from prometheus_client.parser import text_string_to_metric_families
from rich.console import Console
from rich.live import Live
from rich.table import Column, Table

from cli.film import Picture, write_sheet, write_video
from cli.storyboard import BEATS, CHUNKS, Beat, beat_of, verdict
from cluster.client import ClusterClient
from cluster.settings import Settings
from longlive import stamp
from longlive.spec import FPS, FRESH

MODEL = "longlive-v2"
PLAY_TIMEOUT_S = 60.0
LOST_SHARE = 0.05
"""Pictures that may be missing on the way through WebRTC, which is not a reliable transport."""

SNIPPET = """
    from reactor_sdk import Reactor

    reactor = Reactor("{model}", api_key="{key}", api_url="{url}")
    await reactor.connect()
    reactor.track("main_video").on_frame(lambda rgb: print(rgb.shape))
    await reactor.send_command("set_shot", {{"prompt": "A sunset over the ocean"}})
    await reactor.send_command("start", {{}})
"""


class Watcher:
    """What comes back: messages, pictures with their numbers, and the time of each."""

    def __init__(self) -> None:
        self.status = "disconnected"
        self.failure = ""
        self.messages: list[dict[str, Any]] = []
        self.pictures: list[tuple[int, Picture]] = []
        self.shown_at: list[float] = []
        """Of each picture, of `time.monotonic`."""
        self._recent: deque[float] = deque()
        self._news = asyncio.Event()

    def message(self, message: dict[str, Any]) -> None:
        """One message of the model."""
        self.messages.append(message)
        self._news.set()

    def picture(self, rgb: Picture) -> None:
        """One picture; its number is read from its corner strip."""
        number = stamp.read(rgb)
        now = time.monotonic()
        self._recent.append(now)
        while self._recent[0] < now - 1:
            self._recent.popleft()
        if number is not None:
            self.pictures.append((number, rgb))
            self.shown_at.append(now)
        self._news.set()

    @property
    def fps(self) -> int:
        """Pictures received within the last second."""
        return sum(at > time.monotonic() - 1 for at in self._recent)

    def chunks(self) -> list[dict[str, Any]]:
        """The completed chunks so far."""
        return [message["data"] for message in self.messages if message["type"] == "chunk_complete"]

    async def change(self, at_most_s: float) -> None:
        """Return at the next news, or after a while without."""
        self._news.clear()
        with suppress(TimeoutError):
            await asyncio.wait_for(self._news.wait(), at_most_s)


async def play(url: str, key: str, settings: Settings, console: Console) -> bool:
    """Play the storyboard at `url`; True if frames came and every beat fired where it was planned."""
    watcher = Watcher()
    async with staged(watcher, url, key, settings, console) as (reactor, _):
        await direct(reactor)
        await watch(watcher, FRESH.frames(CHUNKS))
    return _report(watcher, url, key, console)


@asynccontextmanager
async def staged(
    watcher: Watcher, url: str, key: str, settings: Settings, console: Console
) -> AsyncIterator[tuple[Any, ClusterClient]]:
    """A connected SDK client, whom the watcher hears, and the cluster's inner door; the live table is shown meanwhile.
    What the SDK refuses ends the block and is kept in the watcher."""
    from reactor_sdk import Reactor, ReactorError

    cluster = await ClusterClient.connect(settings)
    loop = asyncio.get_running_loop()
    reactor = Reactor(MODEL, api_key=key, api_url=url)
    reactor.on_status(lambda status: setattr(watcher, "status", status.value))
    reactor.on_message(watcher.message)
    reactor.track("main_video").on_frame(
        lambda rgb: loop.call_soon_threadsafe(watcher.picture, np.array(rgb, dtype=np.uint8))
    )
    board = Board(watcher)
    with Live(board.table(), console=console, refresh_per_second=8) as live:
        shown = asyncio.create_task(board.keep(live, cluster))
        try:
            await reactor.connect()
            yield reactor, cluster
            await reactor.send_command("reset", {})
            await reactor.disconnect()
        except ReactorError as error:
            watcher.failure = f"{error.code}: {error}"
        finally:
            shown.cancel()
            await asyncio.gather(shown, return_exceptions=True)
            reactor.close()
            live.update(board.table())
            await cluster.close()


async def direct(reactor: Any) -> None:
    """Plan the storyboard, and start."""
    await reactor.send_command("set_shot", {"prompt": BEATS[0].prompt})
    for beat in BEATS[1:]:
        command = "schedule_scene_cut" if beat.kind == "hard cut" else "schedule_shot"
        await reactor.send_command(command, {"prompt": beat.prompt, "at_session_chunk": beat.at})
    await reactor.send_command("start", {})


async def watch(watcher: Watcher, frames: int) -> None:
    """Return when all chunks and so many pictures have come, or after a while."""
    deadline = time.monotonic() + PLAY_TIMEOUT_S
    while time.monotonic() < deadline:
        if len(watcher.chunks()) >= CHUNKS and watcher.pictures and watcher.pictures[-1][0] >= frames - 1:
            return
        await watcher.change(0.5)


class Board:
    """The live table: one line a chunk."""

    def __init__(self, watcher: Watcher) -> None:
        self._watcher = watcher
        self._rows: list[tuple[str, ...]] = []
        self._engine_s = 0.0

    def table(self) -> Table:
        """The table as it stands."""
        table = Table(
            Column("state", min_width=10),
            Column("chunk", min_width=5),
            Column("beat", min_width=12),
            Column("prompt", ratio=1, no_wrap=True),
            Column("ms per\nchunk", min_width=6),
            Column("fps\nreceived", min_width=8),
            expand=True,
        )
        for row in [*self._rows, (self._watcher.status, "", "", "", "", "")]:
            table.add_row(*row)
        return table

    async def keep(self, live: Live, cluster: ClusterClient) -> None:
        """Add a line at every chunk until cancelled."""
        async with httpx.AsyncClient(timeout=2) as http:
            while True:
                await self._watcher.change(0.25)
                for chunk in self._watcher.chunks()[len(self._rows) :]:
                    spent = await _engine_seconds(http, cluster)
                    took, self._engine_s = spent - self._engine_s, spent
                    beat = beat_of(chunk["session_chunk"] - 1)
                    fired = beat.kind if beat.at == chunk["session_chunk"] - 1 else ""
                    cells = ("generating", str(int(chunk["session_chunk"])), fired, chunk["active_prompt"])
                    self._rows.append((*cells, f"{1000 * took:.0f}", str(self._watcher.fps)))
                live.update(self.table())


async def _engine_seconds(http: httpx.AsyncClient, cluster: ClusterClient) -> float:
    """Seconds that the workers have spent on chunks so far, by their own metrics."""
    total = 0.0
    for worker in await cluster.workers():
        if worker.model == MODEL and worker.metrics_port:
            text = (await http.get(f"http://127.0.0.1:{worker.metrics_port}/metrics")).text
            total += sum(
                sample.value
                for family in text_string_to_metric_families(text)
                for sample in family.samples
                if sample.name == "llc_chunk_seconds_sum" and sample.labels["stage"] == "total"
            )
    return total


def _report(watcher: Watcher, url: str, key: str, console: Console) -> bool:
    console.print()
    numbers = [number for number, _ in watcher.pictures]
    wrong = [watcher.failure] if watcher.failure else verdict(watcher.messages)
    expected = FRESH.frames(CHUNKS)
    seen = len({n for n in numbers if n < expected})
    if seen < (1 - LOST_SHARE) * expected:
        wrong.append(f"only {seen} of {expected} pictures came")
    if numbers != sorted(numbers):
        wrong.append("pictures came out of order")
    if watcher.pictures:
        write_video(Path("demo.mp4"), [rgb for _, rgb in watcher.pictures], FPS)
        write_sheet(Path("demo.png"), _by_beat(watcher.pictures))
        console.print(f"{seen} of {expected} pictures, in order; written: demo.mp4, demo.png", highlight=False)
    for line in wrong:
        console.print(f"not as planned: {line}", style="red", highlight=False)
    if not wrong:
        console.print("every beat fired where it was planned", style="green")
    console.print(f"\nthe studio: {url}/studio#key={key}\nthe SDK:", highlight=False, soft_wrap=True)
    console.print(SNIPPET.format(model=MODEL, key=key, url=url), highlight=False, soft_wrap=True)
    return not wrong


def _by_beat(pictures: list[tuple[int, Picture]]) -> dict[Beat, list[Picture]]:
    rows: dict[Beat, list[Picture]] = {beat: [] for beat in BEATS}
    for number, rgb in pictures:
        rows[beat_of(number // FRESH.first)].append(rgb)
    return rows
