"""The demo with a death in it: the worker is killed on stage, and the story goes on elsewhere.

The client is the published SDK. It hears of the move by the session's events and reconnects; what is on screen
meanwhile, and after it, is captioned in `failover.mp4`.
"""

from __future__ import annotations

import asyncio
import os
import signal
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
from rich.console import Console

from cli.demo import LOST_SHARE, MODEL, Watcher, direct, staged, watch
from cli.film import Picture, captioned, write_video
from cli.storyboard import CHUNKS, verdict
from cluster.api import WorkerState, WorkerStatus
from cluster.client import ClusterClient
from cluster.settings import PoolSettings, Settings
from longlive.spec import FPS, FRESH

KILL_AFTER = 4
"""Chunks: in the midst of the second beat."""
SPARE_S = 120.0
"""How long two workers may take to load."""
PAUSE_S = 0.5
"""A gap between two pictures that is shown as one."""
DARK_S = 4.0
CAPTION_S = 2.5
"""How long it is said which worker has gone on."""
FILM = Path("failover.mp4")


@dataclass
class Death:
    """What happened, in seconds of `time.monotonic`."""

    of: str = ""
    successor: str = ""
    killed_at: float = 0.0


def with_spare(settings: Settings) -> Settings:
    """The settings, with a worker more than the story needs."""

    def spared(pool: PoolSettings) -> PoolSettings:
        if pool.model != MODEL:
            return pool
        return pool.model_copy(update={"min_warm": max(1, pool.min_warm), "max_workers": max(2, pool.max_workers)})

    return settings.model_copy(update={"pools": tuple(map(spared, settings.pools))})


async def play(url: str, key: str, settings: Settings, console: Console) -> bool:
    """Play the storyboard at `url`, and kill its worker; True if it went on as planned."""
    watcher, death = Watcher(), Death()
    async with staged(watcher, url, key, settings, console) as (reactor, cluster):
        await _spare(cluster)
        await direct(reactor)
        async with asyncio.timeout(SPARE_S):
            while len(watcher.chunks()) < KILL_AFTER:
                await watcher.change(0.1)
            first = await _holder(cluster, reactor.session_id)
            async for event in _events(url, key, reactor.session_id):
                if not death.of:  # the first tells how the session stands
                    death.of, death.killed_at = first.name, time.monotonic()
                    os.kill(first.pid, signal.SIGKILL)
                elif event == "worker":
                    break
            await reactor.reconnect()
        guard = asyncio.create_task(_keep_in_view(reactor, watcher))
        await watch(watcher, FRESH.frames(CHUNKS))
        guard.cancel()
        death.successor = (await _holder(cluster, reactor.session_id)).name
    return _report(watcher, death, console)


async def _keep_in_view(reactor: Any, watcher: Watcher) -> None:
    """Reconnect again where pictures stay away: version 1.13 of the SDK sometimes decodes them after a reconnect and
    does not hand them out."""
    while True:
        seen = len(watcher.pictures)
        await asyncio.sleep(DARK_S)
        if len(watcher.pictures) == seen:
            await reactor.reconnect()


async def _spare(cluster: ClusterClient) -> None:
    """Wait for a loaded worker that holds nothing."""
    async with asyncio.timeout(SPARE_S):
        while True:  # nobody here is told of workers
            if any(w.model == MODEL and w.state is WorkerState.IDLE for w in await cluster.workers()):
                return
            await asyncio.sleep(0.2)


async def _holder(cluster: ClusterClient, session_id: str) -> WorkerStatus:
    workers = await cluster.workers()
    return next(w for w in workers if any(held.session_id == session_id for held in w.sessions))


async def _events(url: str, key: str, session_id: str) -> AsyncIterator[str]:
    """Names of the session's events; `worker` says that it has another one."""
    async with httpx.AsyncClient(base_url=url, timeout=SPARE_S) as http:
        token = (await http.post("/tokens", headers={"Reactor-API-Key": key})).raise_for_status().json()["jwt"]
        bearer = {"Authorization": f"Bearer {token}"}
        async with http.stream("GET", f"/sessions/{session_id}/events", headers=bearer) as answer:
            answer.raise_for_status()
            async for line in answer.aiter_lines():
                if line.startswith("event: "):
                    yield line.removeprefix("event: ")


def _report(watcher: Watcher, death: Death, console: Console) -> bool:
    wrong = [watcher.failure] if watcher.failure else verdict(watcher.messages)
    expected = FRESH.frames(CHUNKS)
    seen = len({number for number, _ in watcher.pictures if number < expected})
    if seen < (1 - LOST_SHARE) * expected - FRESH.first:  # what the dead worker had made and not yet shown is lost
        wrong.append(f"only {seen} of {expected} pictures came")
    if not any(message["type"] == "session_moved" for message in watcher.messages):
        wrong.append("nobody was told that the session has moved")
    film, dark_s = cut(watcher, death)
    if film:
        write_video(FILM, film, FPS)
    console.print(f"\n{death.of} was killed after chunk {KILL_AFTER}; {death.successor} went on", highlight=False)
    console.print(f"{dark_s:.1f} s from the kill to the next picture; written: {FILM}", highlight=False)
    for line in wrong:
        console.print(f"not as planned: {line}", style="red", highlight=False)
    if not wrong:
        console.print("every beat fired where it was planned", style="green")
    return not wrong


def cut(watcher: Watcher, death: Death) -> tuple[list[Picture], float]:
    """The film, in real time where there were no pictures, and the seconds from the kill to the next picture.

    What was on its way at the kill was still shown; the pause begins with the last of it.
    """
    film: list[Picture] = []
    before, back_at, last = float("inf"), float("inf"), None
    for at, (_, rgb) in zip(watcher.shown_at, watcher.pictures, strict=True):
        if last is not None and at > death.killed_at and at - before > PAUSE_S:
            why = "no pictures" if back_at < at else "worker killed: no pictures"
            back_at = min(back_at, at)
            film += (captioned(last, f"{why} for {n / FPS:.1f} s") for n in range(round((at - before) * FPS)))
        is_told = back_at <= at < back_at + CAPTION_S
        film.append(captioned(rgb, "another worker goes on with the scene") if is_told else rgb)
        before, last = at, rgb
    return film, back_at - death.killed_at
