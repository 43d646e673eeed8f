"""Random deaths under live sessions: `python -m benchmarks.chaos --minutes 10`, or `make chaos`.

A real cluster; clients that direct their sessions over WebRTC, each in a network namespace of its own, and a stranger
that tries to get at them; now and then, by a seed, a worker, the allocator, a gateway replica or Redis is killed, a
worker stopped, or a client's wire unplugged or replaced. Where namespaces cannot be made, the report says so. The exit
code is 1 if anything is not as promised. `--report FILE` writes what was found as JSON, and beside it as
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
from collections.abc import Awaitable, Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import AsyncExitStack, ExitStack, suppress
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any

import typer
from redis.exceptions import RedisError
from rich.console import Console

sys.path.insert(0, str(Path(__file__).parents[1]))  # so that it also runs as a file

from benchmarks.chaos_networks import CLUSTER, Home, homes
from benchmarks.chaos_players import DARK_S, REASON, Account, Director, Outage, Stranger
from benchmarks.chaos_report import Report, markdown
from benchmarks.chaos_seat import Seat
from benchmarks.stage import ALLOCATOR, REPLICA, Stage
from benchmarks.viewer import MODEL, signed_in
from cluster.allocator import MAX_MOVES
from cluster.api import WorkerState, WorkerStatus
from cluster.errors import Unavailable
from cluster.integrity import Inspector, Kind, Violation
from tests.support.client import Client
from tests.support.netns import NoNamespaces
from tests.support.server import KEY, WORKERS

STRANGER_KEY = "rk_stranger"
LOCAL, EVERYWHERE = "127.0.0.1", "0.0.0.0"
REDIS_S = (0.5, 4.0)
"""How long Redis is away."""
FLUSHED_S = 6.0
"""After it is back: what is to be written is tried again every 5 s at most."""
BRIEF_S = (0.3, 2.0)
"""How long a client is without a network and may keep its connection."""
LONG_S = (5.0, 8.0)
"""How long it is without one and has given its connection up; aiortc would wait for half a minute."""
LIVELY_S = 0.5
"""Whoever has seen a picture so recently has a connection that is good for another one."""
MOVING_S = (0.3, 4.0)
"""Until it has another one."""
SETTLED_S = 60.0
"""How long the cluster may take, at the end, until everything fits."""
LOOK_EVERY_S = 2.0
NOT_ANSWERED = (Unavailable, RedisError, LookupError)


class Killer:
    """Deaths by the dice."""

    def __init__(
        self, stage: Stage, account: Account, outage: Outage, seats: Sequence[Seat], dice: random.Random
    ) -> None:
        self._stage = stage
        self._account = account
        self._outage = outage
        self._wired = [seat for seat in seats if seat.home]
        self._dice = dice
        self.kills: Counter[str] = Counter()

    async def run(self, every_s: float, end: float) -> None:
        """Kill about so often, until then."""
        ways: dict[str, tuple[int, Callable[[], Awaitable[None]]]] = {
            "worker killed": (10, lambda: self._worker(signal.SIGKILL)),
            "worker stopped": (3, lambda: self._worker(signal.SIGSTOP)),
            "allocator killed": (4, lambda: self._processes(ALLOCATOR)),
            "gateway replica killed": (4, lambda: self._processes(REPLICA)),
            "Redis killed": (2, self._redis),
        }
        if self._wired:
            ways |= {
                "client unplugged for a moment": (2, self._brief),
                "client unplugged": (2, self._long),
                "client moved to another network": (2, self._move),
            }
        while (at := time.monotonic() + self._dice.uniform(0.5, 1.5) * every_s) < end:
            await asyncio.sleep(at - time.monotonic())
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

    async def _watching(self) -> tuple[Director, Client, Home]:
        """One who has a network and is shown pictures, as soon as there is one."""
        while True:
            found = [(each.director, each.home) for each in self._wired]  # which are of other threads
            directing = [(one, one.connection, home) for one, home in found if one and one.sees(LIVELY_S)]
            if able := [(one, client, home) for one, client, home in directing if client and home]:
                return self._dice.choice(able)
            await asyncio.sleep(0.2)

    async def _brief(self) -> None:
        director, connection, home = await self._watching()
        with home.unplugged():
            await asyncio.sleep(self._dice.uniform(*BRIEF_S))
        back = time.monotonic()
        self._account.brief += 1
        while director.connection is connection and time.monotonic() < back + DARK_S:
            if director.sees(time.monotonic() - back):
                self._account.outlasted += 1
                return
            await asyncio.sleep(0.1)

    async def _long(self) -> None:
        _, _, home = await self._watching()
        with home.unplugged():
            await asyncio.sleep(self._dice.uniform(*LONG_S))

    async def _move(self) -> None:
        _, _, home = await self._watching()
        with home.moving():
            await asyncio.sleep(self._dice.uniform(*MOVING_S))

    async def _redis(self) -> None:
        self._outage.over_at = float("inf")
        self._stage.redis.kill()
        await asyncio.sleep(self._dice.uniform(*REDIS_S))
        await asyncio.to_thread(self._stage.redis.start)
        self._outage.over_at = time.monotonic() + FLUSHED_S


async def intrude(stranger: Stranger, dice: random.Random, seats: Sequence[Seat]) -> None:
    """Try on a session every now and then, until cancelled."""
    while True:
        await asyncio.sleep(dice.uniform(1, 4))
        if ids := [each for seat in seats if (each := seat.session_id)]:
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


async def ends(stage: Stage, account: Account) -> dict[str, int]:
    """By the registry, why how many sessions ended."""
    ended = Counter({REASON: 0})
    async for key in stage.store.redis.scan_iter("longlive:*:session:*"):
        state, reason = (value.decode() for value in await stage.store.redis.hmget(key, ["state", "reason"]))
        session_id = key.decode().rpartition(":")[2]
        if state != "CLOSED" or not reason:
            account.violated(session_id, f"{state} in the end, for {reason or 'no reason'}")
        ended[reason] += 1
    return dict(ended)


async def run(seconds: float, sessions: int, every_s: float, seed: int) -> Report:
    """Bring a cluster up, and break it for so long."""
    no_networks = ""
    with ExitStack() as stack:
        try:
            found: list[Home] | list[None] = stack.enter_context(homes(sessions))
        except NoNamespaces as error:
            found, no_networks = [None] * sessions, str(error).strip()
        return await broken(found, no_networks, seconds, every_s, seed)


async def broken(where: Sequence[Home | None], no_networks: str, seconds: float, every_s: float, seed: int) -> Report:
    """What as many find out, one in each home, or all in this network and `no_networks` says why."""
    dice, account, outage, sessions = random.Random(seed), Account(), Outage(), len(where)
    pools = ({"model": MODEL, "min_warm": 1, "max_workers": sessions + 1},)
    load_before = os.getloadavg()[0]
    async with AsyncExitStack() as stack:
        more = {"LLC_API_KEYS": f"{KEY},{STRANGER_KEY}"}
        stage = await stack.enter_async_context(Stage.raised(pools, more, LOCAL if no_networks else EVERYWHERE))
        url = stage.server.url if no_networks else stage.server.url.replace(LOCAL, CLUSTER)
        api = await stack.enter_async_context(signed_in(stage.server.url, KEY))
        other = await stack.enter_async_context(signed_in(stage.server.url, STRANGER_KEY))
        headers = {"Authorization": api.http.headers["Authorization"]}
        await stage.spare(MODEL)
        killing = random.Random(dice.random())
        seats = [Seat(url, headers, outage, home, random.Random(dice.random())) for home in where]
        killer = Killer(stage, account, outage, seats, killing)
        begun = time.monotonic()
        end = begun + seconds
        others: list[Awaitable[Any]] = [killer.run(every_s, end), look(stage, account)]
        others.append(intrude(Stranger(other, account), random.Random(dice.random()), seats))
        beside = [asyncio.ensure_future(each) for each in others]
        run_in = asyncio.get_running_loop().run_in_executor
        with ThreadPoolExecutor(sessions, "director") as threads:
            await asyncio.gather(*(run_in(threads, seat.play, end) for seat in seats))
        for task in beside:
            task.cancel()
        failures = [
            each for each in await asyncio.gather(*beside, return_exceptions=True) if isinstance(each, Exception)
        ]
        if failures:
            raise ExceptionGroup("chaos itself has failed", failures)
        if left := await settled(stage):
            account.violated("in the end", str(left))
        ended = await ends(stage, account)
        loads, took_s = (load_before, os.getloadavg()[0]), time.monotonic() - begun
        whole = sum((seat.account for seat in seats), account)
        return Report(seed, seconds, sessions, every_s, took_s, loads, dict(killer.kills), ended, no_networks, whole)


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
