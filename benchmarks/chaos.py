"""Random deaths under live sessions: `python -m benchmarks.chaos --minutes 10`, or `make chaos`.

A real cluster; clients that direct their sessions over WebRTC, and a stranger that tries to get at them; now and then,
by a seed, a worker, the allocator, a gateway replica or Redis is killed, a worker stopped, or a client's network lost.
The exit code is 1 if anything is not as promised. `--report FILE` writes what was found as JSON, and beside it as
Markdown.
"""

from __future__ import annotations

import asyncio
import json
import os
import random
import signal
import sys
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Collection, Mapping
from contextlib import AsyncExitStack, suppress
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any

import typer
from redis.exceptions import RedisError
from rich.console import Console

sys.path.insert(0, str(Path(__file__).parents[1]))  # so that it also runs as a file

from benchmarks.chaos_players import REASON, Account, Director, Stranger
from benchmarks.chaos_report import Report, markdown
from benchmarks.stage import ALLOCATOR, REPLICA, Stage
from benchmarks.viewer import MODEL, signed_in
from cluster.allocator import MAX_MOVES
from cluster.api import WorkerState, WorkerStatus
from cluster.errors import Unavailable
from cluster.integrity import Inspector, Kind, Violation
from tests.support.server import KEY, WORKERS

STRANGER_KEY = "rk_stranger"
LIFE_S = (25.0, 45.0)
"""How long a session is played."""
AWAY_S = (0.5, 4.0)
"""How long Redis is away."""
FLUSHED_S = 6.0
"""After it is back: what is to be written is tried again every 5 s at most."""
SETTLED_S = 60.0
"""How long the cluster may take, at the end, until everything fits."""
LOOK_EVERY_S = 2.0
NOT_ANSWERED = (Unavailable, RedisError, LookupError)


class Killer:
    """Deaths by the dice."""

    def __init__(self, stage: Stage, account: Account, playing: Mapping[str, Director], dice: random.Random) -> None:
        self._stage = stage
        self._account = account
        self._playing = playing
        self._dice = dice
        self.kills: Counter[str] = Counter()

    async def run(self, every_s: float) -> None:
        """Kill about so often, until cancelled."""
        ways: dict[str, tuple[int, Callable[[], Awaitable[None]]]] = {
            "worker killed": (10, lambda: self._worker(signal.SIGKILL)),
            "worker stopped": (3, lambda: self._worker(signal.SIGSTOP)),
            "allocator killed": (4, lambda: self._processes(ALLOCATOR)),
            "gateway replica killed": (4, lambda: self._processes(REPLICA)),
            "Redis killed": (2, self._redis),
            "client's network lost": (3, self._network),
        }
        while True:
            await asyncio.sleep(self._dice.uniform(0.5, 1.5) * every_s)
            (way,) = self._dice.choices(list(ways), [weight for weight, _ in ways.values()])
            await ways[way][1]()
            self.kills[way] += 1

    async def _worker(self, number: signal.Signals) -> None:
        while True:  # until one is there again
            with suppress(*NOT_ANSWERED, ProcessLookupError):
                if workers := [each for each in await self._stage.cluster.workers() if await self._may_die(each)]:
                    os.kill(self._dice.choice(workers).pid, number)
                    return
            await asyncio.sleep(0.2)

    async def _may_die(self, worker: WorkerStatus) -> bool:
        """A session that has lost as many workers as one may would be ended, as is said."""
        for held in worker.sessions:
            record = await self._stage.store.get(held.tenant, held.session_id)
            if record is not None and record.moves >= MAX_MOVES:
                return False
        return worker.state is not WorkerState.LOADING

    async def _processes(self, title: str) -> None:
        while not self._stage.kill(title):
            await asyncio.sleep(0.2)

    async def _network(self) -> None:
        while not self._playing:
            await asyncio.sleep(0.2)
        self._playing[self._dice.choice(sorted(self._playing))].lose_network()

    async def _redis(self) -> None:
        self._account.redis_back_at = float("inf")
        self._stage.redis.kill()
        await asyncio.sleep(self._dice.uniform(*AWAY_S))
        await asyncio.to_thread(self._stage.redis.start)
        self._account.redis_back_at = time.monotonic() + FLUSHED_S


async def direct(make: Callable[[], Director], dice: random.Random, end: float, playing: dict[str, Director]) -> None:
    """One session after another until the end."""
    while (left := end - time.monotonic()) > 0:
        director = make()
        play = asyncio.create_task(director.play(min(left, dice.uniform(*LIFE_S))))
        while not play.done():
            await asyncio.wait([play], timeout=1)
            if director.session_id:
                playing[director.session_id] = director
        playing.pop(director.session_id, None)
        await play


async def intrude(stranger: Stranger, dice: random.Random, playing: Collection[str]) -> None:
    """Try on a session every now and then, until cancelled."""
    while True:
        await asyncio.sleep(dice.uniform(1, 4))
        if ids := sorted(playing):
            await stranger.try_on(dice.choice(ids))


async def look(stage: Stage, account: Account) -> None:
    """Look for sessions on two workers until cancelled."""
    inspector = Inspector()
    while True:
        await asyncio.sleep(LOOK_EVERY_S)
        with suppress(*NOT_ANSWERED):
            for each in inspector.lasting(await stage.cluster.check_integrity()):
                if each.kind is Kind.TWO_WORKERS:
                    account.violated(each.subject, f"on two workers: {each.detail}")


async def settled(stage: Stage) -> frozenset[Violation] | str:
    """What still does not fit when the cluster has had time."""
    limit = time.monotonic() + SETTLED_S
    while True:
        found: frozenset[Violation] | str = "no answer"
        with suppress(*NOT_ANSWERED):
            found = await stage.cluster.check_integrity()
            known = {worker.pid for worker in await stage.cluster.workers() if not worker.sessions}
            processes = set(stage.server.pids(WORKERS))
            if not found and processes == known:
                return frozenset()
            found = found or f"processes {sorted(processes)}, workers without sessions {sorted(known)}"
        if time.monotonic() > limit:
            return found
        await asyncio.sleep(1)


async def ends(stage: Stage, account: Account) -> None:
    """By the registry, why each session ended."""
    async for key in stage.store.redis.scan_iter("longlive:*:session:*"):
        state, reason = (value.decode() for value in await stage.store.redis.hmget(key, ["state", "reason"]))
        session_id = key.decode().rpartition(":")[2]
        if state != "CLOSED" or not reason:
            account.violated(session_id, f"{state} in the end, for {reason or 'no reason'}")
        account.ended[reason] = account.ended.get(reason, 0) + 1


async def run(seconds: float, sessions: int, every_s: float, seed: int) -> Report:
    """Bring a cluster up, and break it for so long."""
    dice, account, playing = random.Random(seed), Account(), dict[str, Director]()
    pools = ({"model": MODEL, "min_warm": 1, "max_workers": sessions + 1},)
    load_before = os.getloadavg()[0]
    async with AsyncExitStack() as stack:
        stage = await stack.enter_async_context(Stage.raised(pools, {"LLC_API_KEYS": f"{KEY},{STRANGER_KEY}"}))
        api = await stack.enter_async_context(signed_in(stage.server.url, KEY))
        other = await stack.enter_async_context(signed_in(stage.server.url, STRANGER_KEY))
        killer = Killer(stage, account, playing, random.Random(dice.random()))
        begun = time.monotonic()
        others: list[Awaitable[Any]] = [killer.run(every_s), look(stage, account)]
        others.append(intrude(Stranger(other, account), random.Random(dice.random()), playing))
        beside = [asyncio.ensure_future(each) for each in others]
        seeds = [random.Random(dice.random()) for _ in range(sessions)]
        plays = [direct(lambda own=own: Director(api, account, own), own, begun + seconds, playing) for own in seeds]
        await asyncio.gather(*plays)
        for task in beside:
            task.cancel()
        failures = [
            each for each in await asyncio.gather(*beside, return_exceptions=True) if isinstance(each, Exception)
        ]
        if failures:
            raise ExceptionGroup("chaos itself has failed", failures)
        if left := await settled(stage):
            account.violated("in the end", str(left))
        await ends(stage, account)
        account.ended.setdefault(REASON, 0)
        loads = (load_before, os.getloadavg()[0])
        return Report(seed, seconds, sessions, every_s, time.monotonic() - begun, loads, dict(killer.kills), account)


def main(
    minutes: Annotated[float, typer.Option(min=0.1, help="How long sessions are played.")] = 1.0,
    sessions: Annotated[int, typer.Option(min=1, help="Sessions at a time; one worker more is there.")] = 2,
    every: Annotated[float, typer.Option(min=1, help="Seconds between two deaths, on average.")] = 8.0,
    seed: Annotated[int, typer.Option(help="Of the dice.")] = 1,
    report: Annotated[Path | None, typer.Option(help="File for the JSON; the Markdown is put beside it.")] = None,
) -> None:
    """Break a cluster, and tell what held."""
    found = asyncio.run(run(60 * minutes, sessions, every, seed))
    text = markdown(found)
    if report is not None:
        report.write_text(json.dumps(asdict(found), indent=2) + "\n")
        report.with_suffix(".md").write_text(text)
    Console().print(text, highlight=False, soft_wrap=True)
    raise typer.Exit(1 if found.account.violations else 0)


if __name__ == "__main__":
    typer.run(main)
