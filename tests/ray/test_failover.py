"""Death on a real Ray cluster: of a worker under a session, and of the allocator."""

from __future__ import annotations

import asyncio
import os
import signal
from contextlib import suppress
from typing import Any

import numpy as np
import pytest
from reactor_sdk import Reactor

from longlive import stamp
from tests.support.server import Server

pytestmark = pytest.mark.ray

WAIT_S = 60.0


class Story:
    """What one SDK client has seen, and a way to wait for more."""

    def __init__(self, server: Server) -> None:
        self.reactor = Reactor("longlive-v2", api_key=server.api_key, api_url=server.url)
        self.messages: list[dict[str, Any]] = []
        self.numbers: list[int] = []
        self.statuses: list[str] = []
        self._changed = asyncio.Event()
        self._loop = asyncio.get_running_loop()
        self.reactor.on_message(self._message)
        self.reactor.on_status(self._status)
        self.reactor.track("main_video").on_frame(self._frame)

    def _message(self, message: dict[str, Any]) -> None:
        self.messages.append(message)
        self._changed.set()

    def _status(self, status: Any) -> None:
        self.statuses.append(status.value)
        self._changed.set()

    def _frame(self, rgb: np.ndarray) -> None:
        number = stamp.read(np.array(rgb))
        if number is not None:
            with suppress(RuntimeError):  # the loop is gone: a test has failed already
                self._loop.call_soon_threadsafe(self._number, number)

    def _number(self, number: int) -> None:
        self.numbers.append(number)
        self._changed.set()

    def last(self, kind: str) -> dict[str, Any]:
        return next((m["data"] for m in reversed(self.messages) if m["type"] == kind), {})

    async def until(self, condition: Any) -> None:
        async with asyncio.timeout(WAIT_S):
            while not condition():
                self._changed.clear()
                await self._changed.wait()


async def test_killed_worker_does_not_end_the_session(server: Server):
    story = Story(server)
    await story.reactor.connect()
    await story.reactor.send_command("set_shot", {"prompt": "a red dune"})
    await story.reactor.send_command("schedule_scene_cut", {"prompt": "a harbour", "at_session_chunk": 500})
    await story.reactor.send_command("start", {})
    await story.until(lambda: story.last("chunk_complete").get("session_chunk", 0) >= 2 and len(story.numbers) > 20)

    first = await asyncio.to_thread(server.holder, story.reactor.session_id)
    before = story.last("chunk_complete")["session_chunk"]
    os.kill(first["pid"], signal.SIGKILL)
    await story.until(lambda: story.statuses[-1] == "disconnected")
    count = len(story.numbers)
    await story.reactor.reconnect()
    await story.until(lambda: story.last("chunk_complete")["session_chunk"] > before + 1)
    await story.until(lambda: len(story.numbers) > count + 20)

    second = await asyncio.to_thread(server.holder, story.reactor.session_id)
    assert second["name"] != first["name"]
    assert second["sessions"][0]["epoch"] > first["sessions"][0]["epoch"]
    state = story.last("state")
    assert state["current_prompt"] == "a red dune"
    assert state["scheduled_scene_cuts"] == [500]
    after = [m["data"]["session_chunk"] for m in story.messages if m["type"] == "chunk_complete"]
    # The chunk in flight at the death may come twice; none is left out.
    assert {int(n) for n in after} == set(range(1, int(after[-1]) + 1))
    await story.reactor.disconnect()
    story.reactor.close()


async def test_killed_allocator_cuts_no_session_and_admits_new_ones(server: Server):
    story = Story(server)
    await story.reactor.connect()
    await story.reactor.send_command("set_shot", {"prompt": "a red dune"})
    await story.reactor.send_command("start", {})
    await story.until(lambda: story.last("chunk_complete").get("session_chunk", 0) >= 1)

    (allocator,) = server.pids("ray::_RayAllocator")
    os.kill(allocator, signal.SIGKILL)
    other = Story(server)
    await other.reactor.connect()  # at once: the gateway waits for the new allocator
    await other.reactor.disconnect()
    other.reactor.close()

    chunk = story.last("chunk_complete")["session_chunk"]
    await story.until(lambda: story.last("chunk_complete")["session_chunk"] > chunk + 1)
    assert "disconnected" not in story.statuses
    await story.reactor.disconnect()
    story.reactor.close()
