"""Thousands of sessions that wait: how fast they are queued, and what it costs to poll and to follow them.

`python -m benchmarks.waiters`: a cluster whose model no worker can be started for, a Redis of its own, and this process
as the client of its public wire. Sessions are created at a steady rate, then each is polled as the published clients do
(every 10 s), then each is followed by an event stream as well, while some leave the queue and so move all others.
Latencies count from when a request was due. The exit code is 1 if a request fails or a goal is missed.
"""

from __future__ import annotations

import asyncio
import gc
import json
import os
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any

import aiohttp
import typer
from rich.console import Console
from rich.table import Table

sys.path.insert(0, str(Path(__file__).parents[1]))  # so that it also runs as a file

from tests.support.redis_process import RedisProcess
from tests.support.server import Server

PER_S = 200
POLL_P99_S = 0.1
BYTES_EACH = 10_240
MODEL = "echo"
POOLS = ({"model": MODEL, "num_gpus": 1, "max_workers": 1},)
"""This machine has no GPU, so its worker never starts and everybody waits."""
ACCOUNTS = 20
TITLES = {
    "gateway": "ray::ServeReplica:gateway",
    "allocator": "ray::_RayAllocator",
    "proxy": "ray::ProxyActor",
}
LISTENED = 20
"""Of the last in the queue, whose events are looked at one by one."""


@dataclass(slots=True)
class Outcome:
    """Of many requests: their latencies in seconds, and what went wrong."""

    seconds: list[float] = field(default_factory=list)
    failures: list[str] = field(default_factory=list)

    def quantile(self, share: float) -> float:
        """The latency that so many do not exceed."""
        return sorted(self.seconds)[int(share * (len(self.seconds) - 1))] if self.seconds else float("nan")


@dataclass(frozen=True, slots=True)
class Usage:
    """CPU seconds so far and resident bytes, by part of the cluster."""

    cpu_s: dict[str, float]
    bytes: dict[str, int]

    @classmethod
    def of(cls, server: Server, redis: RedisProcess) -> Usage:
        """Now."""
        pids = {name: server.pids(title) for name, title in TITLES.items()} | {"Redis": [redis.pid]}
        return cls(
            {name: sum(map(_cpu_s, each)) for name, each in pids.items()},
            {name: sum(map(_resident, each)) for name, each in pids.items()},
        )


def _cpu_s(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def _resident(pid: int) -> int:
    return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


class Crowd:
    """The client of everybody who waits. `sessions` are ids and the header that authorises each."""

    def __init__(self, http: aiohttp.ClientSession, tokens: Sequence[dict[str, str]]) -> None:
        self._http = http
        self._tokens = tokens
        self.sessions: list[tuple[str, dict[str, str]]] = []
        self.events = 0
        self.positions: dict[str, tuple[float, int]] = {}
        """Of those that are listened to: when its newest place was told, and that place."""
        self._news = asyncio.Event()

    @classmethod
    @asynccontextmanager
    async def signed_in(cls, url: str, keys: Sequence[str]) -> AsyncIterator[Crowd]:
        """With a token of each key."""
        connector = aiohttp.TCPConnector(limit=0)
        timeout = aiohttp.ClientTimeout(total=None, sock_connect=30)
        async with aiohttp.ClientSession(url, connector=connector, timeout=timeout) as http:
            tokens = []
            for key in keys:
                async with http.post("/tokens", headers={"Reactor-API-Key": key}) as reply:
                    reply.raise_for_status()
                    tokens.append({"Authorization": f"Bearer {(await reply.json())['jwt']}"})
            yield cls(http, tokens)

    async def create(self, number: int) -> None:
        """One more waits."""
        headers = self._tokens[number % len(self._tokens)]
        async with self._http.post("/sessions", json={"model": {"name": MODEL}}, headers=headers) as reply:
            await _good(reply)
            self.sessions.append(((await reply.json())["session_id"], headers))

    async def poll(self, number: int) -> None:
        """Ask for one of them."""
        session_id, headers = self.sessions[number % len(self.sessions)]
        async with self._http.get(f"/sessions/{session_id}", headers=headers) as reply:
            await _good(reply)
            if (await reply.json())["state"] != "PENDING":
                raise RuntimeError("it does not wait")

    async def leave(self, session_id: str, headers: dict[str, str]) -> None:
        """One waits no longer."""
        async with self._http.delete(f"/sessions/{session_id}", headers=headers) as reply:
            await _good(reply)

    async def follow(self, session_id: str, headers: dict[str, str], begun: asyncio.Event, listened: bool) -> None:
        """Its events until it is over."""
        async with self._http.get(f"/sessions/{session_id}/events", headers=headers) as reply:
            await _good(reply)
            async for line in reply.content:
                if line.startswith(b"data: "):
                    self.events += 1
                    begun.set()
                    if listened and (queue := json.loads(line[6:]).get("queue")):
                        self.positions[session_id] = (time.perf_counter(), queue["position"])
                        self._news.set()

    async def moved_up(self, session_id: str, position: int) -> float:
        """When a follower was told that it stands at this position, or before it."""
        while self.positions[session_id][1] > position:
            self._news.clear()
            await self._news.wait()
        return self.positions[session_id][0]


async def _good(reply: aiohttp.ClientResponse) -> None:
    if reply.status >= 400:
        raise RuntimeError(f"{reply.status} {(await reply.text())[:200]}")


async def at_rate(per_s: float, count: int, ask: Callable[[int], Awaitable[None]]) -> Outcome:
    """Begin so many requests a second, whatever becomes of those before."""
    outcome, begun = Outcome(), time.perf_counter()

    async def one(number: int, due: float) -> None:
        try:
            await ask(number)
        except (aiohttp.ClientError, RuntimeError) as failure:
            outcome.failures.append(f"{type(failure).__name__}: {failure}")
        else:
            outcome.seconds.append(time.perf_counter() - due)

    async with asyncio.TaskGroup() as group:
        for number in range(count):
            due = begun + number / per_s
            await asyncio.sleep(max(0.0, due - time.perf_counter()))
            group.create_task(one(number, due))
    return outcome


async def followed(crowd: Crowd, group: asyncio.TaskGroup) -> tuple[list[asyncio.Task[None]], float]:
    """Every session by a stream of its own; how long it took until each had its first event."""
    begun, tasks, first = time.perf_counter(), [], []
    last = len(crowd.sessions) - LISTENED
    for number, (session_id, headers) in enumerate(crowd.sessions):
        first.append(asyncio.Event())
        tasks.append(group.create_task(crowd.follow(session_id, headers, first[-1], number >= last)))
        if number % 50 == 49:
            await asyncio.gather(*(each.wait() for each in first[-50:]))
    await asyncio.gather(*(each.wait() for each in first))
    return tasks, time.perf_counter() - begun


async def leaving(crowd: Crowd, every_s: float, seconds: float) -> Outcome:
    """Have the oldest of an account leave, one after the other; until its newest was told of a better place."""
    outcome = Outcome()
    end = time.perf_counter() + seconds
    session_id, own = crowd.sessions[-1]
    for leaver, headers in [each for each in crowd.sessions[:-1] if each[1] is own]:
        if time.perf_counter() + every_s > end:
            break
        crowd.sessions.remove((leaver, headers))
        before, asked = crowd.positions[session_id][1], time.perf_counter()
        await crowd.leave(leaver, headers)
        outcome.seconds.append(await crowd.moved_up(session_id, before - 1) - asked)
        await asyncio.sleep(max(0.0, asked + every_s - time.perf_counter()))
    return outcome


class Report:
    """What each phase took."""

    def __init__(self, server: Server, redis: RedisProcess) -> None:
        self._server, self._redis = server, redis
        self._phases = Table("", "requests", "failed", "p50", "p99", "max", *(f"CPU {name}" for name in self._parts()))
        self._memory = Table("", *self._parts())
        self.before = Usage.of(server, redis)
        self._last, self._at = self.before, time.perf_counter()

    def _parts(self) -> list[str]:
        return [*TITLES, "Redis"]

    def begin(self) -> None:
        """A phase begins."""
        self._last, self._at = Usage.of(self._server, self._redis), time.perf_counter()

    def phase(self, name: str, outcome: Outcome, per: int | None = None) -> None:
        """It has ended; CPU is said by request, or as a share of a core."""
        now, seconds = Usage.of(self._server, self._redis), time.perf_counter() - self._at
        used = {part: now.cpu_s[part] - self._last.cpu_s[part] for part in now.cpu_s}
        times = [f"{1000 * t:.0f} ms" for t in (outcome.quantile(0.5), outcome.quantile(0.99), outcome.quantile(1))]
        cpu = [f"{1000 * each / per:.2f} ms" if per else f"{100 * each / seconds:.0f} %" for each in used.values()]
        count = len(outcome.seconds) + len(outcome.failures)
        load = f"{name}; load {os.getloadavg()[0]:.1f}"
        self._phases.add_row(load, str(count), str(len(outcome.failures)), *times, *cpu)

    def grown(self, name: str, count: int) -> float:
        """Bytes for each of `count` since the beginning, over all parts."""
        now = Usage.of(self._server, self._redis)
        more = {part: (now.bytes[part] - self.before.bytes[part]) / count for part in now.bytes}
        self._memory.add_row(name, *(f"{each / 1024:.1f} KiB" for each in more.values()))
        return sum(more.values())

    def show(self) -> None:
        """Print both tables."""
        Console(width=200).print(self._phases, self._memory)


async def measure(
    server: Server, redis: RedisProcess, keys: Sequence[str], count: int, per_s: float, seconds: float, every_s: float
) -> bool:
    """All phases; whether the goals are met."""
    gc.disable()  # this client's pauses are nobody's latency
    async with Crowd.signed_in(server.url, keys) as crowd:
        for number in range(50):
            await crowd.create(number)  # what is built once is built
        report = Report(server, redis)
        created = await at_rate(per_s, count, crowd.create)
        report.phase(f"created, {per_s:g} a second", created, count)
        each = report.grown("waiting", count)
        report.begin()
        polls = int(len(crowd.sessions) / 10 * seconds)
        polled = await at_rate(len(crowd.sessions) / 10, polls, crowd.poll)
        report.phase("polled every 10 s", polled)
        report.begin()
        async with asyncio.TaskGroup() as group:
            streams, took_s = await followed(crowd, group)
            report.phase("streams opened", Outcome([took_s]), len(streams))
            report.grown("waiting and followed", count)
            report.begin()
            both = await at_rate(len(crowd.sessions) / 10, polls, crowd.poll)
            report.phase("polled, followed", both)
            report.begin()
            before = crowd.events
            left, again = await asyncio.gather(
                leaving(crowd, every_s, seconds), at_rate(len(crowd.sessions) / 10, polls, crowd.poll)
            )
            report.phase("polled, followed, some leave", again)
            report.phase(f"until the account's last is told; {(crowd.events - before) / seconds:.0f} events/s", left)
            report.grown("the same, afterwards", count)
            for stream in streams:
                stream.cancel()
        report.show()
    outcomes = (created, polled, both, again)
    for failure in sorted({failure for outcome in outcomes for failure in outcome.failures})[:10]:
        print(failure)
    good = not any(outcome.failures for outcome in outcomes)
    return good and max(o.quantile(0.99) for o in (polled, both)) <= POLL_P99_S and each <= BYTES_EACH


def main(
    sessions: Annotated[int, typer.Option(min=LISTENED, help="How many wait.")] = 2000,
    per_s: Annotated[float, typer.Option(min=1, help="Creations a second.")] = PER_S,
    seconds: Annotated[float, typer.Option(min=5, help="Of each phase of polling.")] = 20,
    leave_every_s: Annotated[float, typer.Option(min=0.5, help="Between two that leave the queue.")] = 2,
    one_core: Annotated[bool, typer.Option(help="The whole cluster on one core, this client on the others.")] = False,
    env: Annotated[list[str] | None, typer.Option(help="NAME=VALUE for the cluster's environment.")] = None,
) -> None:
    """Measure and print the tables."""
    keys = [f"rk_waiter_{number:02}" for number in range(ACCOUNTS)]
    more: dict[str, Any] = {
        "LLC_API_KEYS": ",".join(keys),
        "LLC_LIMITS__MAX_QUEUE": str(10 * sessions),
        "LLC_LIMITS__MAX_SESSIONS_PER_TENANT": str(sessions),
        "LLC_LIMITS__MAX_CREATIONS_PER_MINUTE": str(60 * sessions),
        **dict(each.split("=", 1) for each in env or ()),
    }
    cores = os.sched_getaffinity(0)
    if one_core:
        os.sched_setaffinity(0, {min(cores)})
    load = os.getloadavg()[0]
    with RedisProcess() as redis, Server.start(POOLS, "off", {**more, "LLC_REDIS_URL": redis.url}) as server:
        if one_core:
            os.sched_setaffinity(0, cores - {min(cores)})
        good = asyncio.run(measure(server, redis, keys, sessions, per_s, seconds, leave_every_s))
    print(f"load {load:.1f} before, {os.getloadavg()[0]:.1f} after")
    raise typer.Exit(0 if good else 1)


if __name__ == "__main__":
    typer.run(main)
