"""Viewers that count pictures and do not decode them: a process of its own for `benchmarks.viewers`.

Prints a line when all are connected; then, for each line that comes in, the pictures that each viewer has received so
far, as a JSON list. Ends with its input.
"""

from __future__ import annotations

import asyncio
import json
import queue
import sys
import threading
from contextlib import AsyncExitStack
from typing import Annotated, Any

import typer
from aiortc import rtcrtpreceiver

from benchmarks.viewer import signed_in
from tests.support.api import Api
from tests.support.client import Client

READY = "ready"


def not_decoding(
    loop: asyncio.AbstractEventLoop, inbound: queue.Queue[Any], outbound: asyncio.Queue[Any], _: threading.Event
) -> None:
    """In the place of aiortc's decoder: packets are put together to pictures, and these are passed on as they are."""
    while (item := inbound.get()) is not None:
        loop.call_soon_threadsafe(outbound.put_nowait, item[1])
    loop.call_soon_threadsafe(outbound.put_nowait, None)


class Watcher:
    """One viewer."""

    def __init__(self, api: Api, session_id: str, codec: str) -> None:
        self.pictures = 0
        self.client = Client(api, session_id, codecs=(codec,), on_frame=self._count)

    def _count(self, _: str, frame: object) -> None:
        self.pictures += 1


async def watch(url: str, key: str, session_id: str, codecs: list[str]) -> None:
    """One viewer for each of the codecs."""
    async with AsyncExitStack() as stack:
        api = await stack.enter_async_context(signed_in(url, key))
        watchers = [Watcher(api, session_id, codec) for codec in codecs]
        for watcher in watchers:
            await watcher.client.connect()
            stack.push_async_callback(watcher.client.close)
        _say(READY)
        while await asyncio.to_thread(sys.stdin.readline):
            _say([watcher.pictures for watcher in watchers])


def _say(what: object) -> None:
    sys.stdout.write(json.dumps(what) + "\n")
    sys.stdout.flush()


def main(url: str, key: str, session_id: str, codecs: Annotated[list[str], typer.Argument()]) -> None:
    """Watch until the input ends."""
    rtcrtpreceiver.decoder_worker = not_decoding
    asyncio.run(watch(url, key, session_id, codecs))


if __name__ == "__main__":
    typer.run(main)
