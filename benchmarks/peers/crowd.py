"""Viewers that do not decode, in a process of their own.

As a program it prints a line when all are connected; then, for each line that comes in, the pictures that each has
received so far, as a JSON list; and ends with its input.
"""

from __future__ import annotations

import asyncio
import json
import sys
from asyncio.subprocess import PIPE, Process
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager

import typer
from aiortc import rtcrtpreceiver

from benchmarks.peers.apis import Address
from benchmarks.watchers import READY, Watcher, not_decoding


class Crowd:
    """Its other end."""

    def __init__(self, process: Process | None) -> None:
        self._process = process

    @classmethod
    @asynccontextmanager
    async def gathered(cls, address: Address, session_id: str, codec: str, viewers: int) -> AsyncIterator[Crowd]:
        """So many more viewers of a session, connected; none are no process."""
        if not viewers:
            yield cls(None)
            return
        where = (address.contestant, address.url, address.key, session_id, codec, str(viewers))
        command = (sys.executable, "-m", "benchmarks.peers.crowd", *where)
        process = await asyncio.create_subprocess_exec(*command, stdin=PIPE, stdout=PIPE)
        try:
            crowd = cls(process)
            await crowd._line()
            yield crowd
        finally:
            assert process.stdin is not None
            process.stdin.close()
            await process.wait()

    async def pictures(self) -> list[int]:
        """Pictures received so far, by each."""
        if self._process is None:
            return []
        assert self._process.stdin is not None
        self._process.stdin.write(b"\n")
        counts: list[int] = json.loads(await self._line())
        return counts

    async def _line(self) -> bytes:
        assert self._process is not None
        assert self._process.stdout is not None
        line = await self._process.stdout.readline()
        if not line:
            raise RuntimeError("the crowd's process has ended")
        return line


async def watch(address: Address, session_id: str, codec: str, viewers: int) -> None:
    async with AsyncExitStack() as stack:
        api = await stack.enter_async_context(address.api())
        watchers = [Watcher(api, session_id, codec) for _ in range(viewers)]
        for watcher in watchers:
            stack.push_async_callback(watcher.client.close)
            await watcher.client.connect()
        print(READY, flush=True)
        while await asyncio.to_thread(sys.stdin.readline):
            print(json.dumps([watcher.pictures for watcher in watchers]), flush=True)


def main(contestant: str, url: str, key: str, session_id: str, codec: str, viewers: int) -> None:
    """Watch until the input ends."""
    rtcrtpreceiver.decoder_worker = not_decoding
    asyncio.run(watch(Address(contestant, url, key), session_id, codec, viewers))


if __name__ == "__main__":
    typer.run(main)
