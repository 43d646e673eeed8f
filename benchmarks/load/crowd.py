"""Players in processes of their own, from the side of the load test."""

from __future__ import annotations

import asyncio
import itertools
import os
import sys
from asyncio.subprocess import PIPE, Process
from collections.abc import Sequence
from contextlib import suppress

from benchmarks.load.seen import KEY, Job, News, Part, Seen
from benchmarks.load.target import PLAYERS
from tests.support.server import ROOT

LINE = 1 << 28
"""Most bytes of a line: an hour of a player's pictures is a few MB."""
LEAVE_S = 60.0


class Died(Exception):
    """A process of players has ended before its time; its own words are on the standard error output."""


class Crowd:
    """Sessions that play."""

    def __init__(self, processes: Sequence[Process]) -> None:
        self._processes = processes
        self._seen: list[Seen] = []
        self._begun = 0
        self._news = asyncio.Event()
        self._readers = [asyncio.create_task(self._read(process)) for process in processes]

    @classmethod
    async def ready(cls, count: int, key: str) -> Crowd:
        """So many processes, with everything loaded. Raises Died."""
        return cls(await asyncio.gather(*(_process(key) for _ in range(count))))

    async def play(self, job: Job) -> None:
        """Have the job's sessions played, in turns by the processes."""
        for number, process in enumerate(self._processes):
            share = job.model_copy(update={"parts": job.parts[number :: len(self._processes)]})
            assert process.stdin is not None
            process.stdin.write(share.model_dump_json().encode() + b"\n")
            await process.stdin.drain()

    async def begun(self, sessions: int) -> None:
        """Return when so many have their first picture, or have failed. Raises Died."""
        while self._begun < sessions:
            self._news.clear()
            await self._news.wait()
            for reader in self._readers:
                if reader.done():
                    reader.result()

    async def leave(self) -> list[Seen]:
        """End all that still play; what was seen of all. Raises Died, TimeoutError."""
        for process in self._processes:
            assert process.stdin is not None
            process.stdin.close()
        async with asyncio.timeout(LEAVE_S):
            await asyncio.gather(*self._readers)
        return self._seen

    async def stop(self) -> None:
        """End the processes, whatever they do."""
        for process, reader in zip(self._processes, self._readers, strict=True):
            reader.cancel()
            with suppress(ProcessLookupError):
                process.kill()
            await process.wait()

    async def _read(self, process: Process) -> None:
        assert process.stdout is not None
        try:
            async for line in process.stdout:
                news = News.model_validate_json(line)
                self._begun += news.begun
                self._seen += news.seen
                self._news.set()
            if await process.wait():
                raise Died(f"a process of players ended with {process.returncode}")
        finally:
            self._news.set()


async def _process(key: str) -> Process:
    command, environment = (sys.executable, "-m", PLAYERS), os.environ | {KEY: key}
    process = await asyncio.create_subprocess_exec(
        *command, stdin=PIPE, stdout=PIPE, limit=LINE, env=environment, cwd=ROOT
    )
    assert process.stdout is not None
    if not await process.stdout.readline():
        raise Died(f"a process of players ended with {await process.wait()} before it played")
    return process


def parts(arrivals: Sequence[float], begin: float, lasting: float | None) -> tuple[Part, ...]:
    """Sessions that come so many seconds after `begin`, and play so long, or until they are told to leave."""
    leaves = itertools.repeat(None) if lasting is None else (begin + at + lasting for at in arrivals)
    return tuple(Part(at=begin + at, leave=leave) for at, leave in zip(arrivals, leaves, strict=False))
