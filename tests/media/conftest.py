"""A session's side of the media path: outputs, connections, and a listener that writes down what it hears."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest

from cluster.media.connection import Connection
from cluster.media.output import VideoOutput
from cluster.settings import MediaSettings
from tests.support.clock import FakeClock
from tests.support.rtc_client import WAIT_S, RtcClient
from wire.frames import Command, ModelMessage, RequestSchema


class Journal:
    """A listener. `events` are ("opened"|"message"|"closed", connection id, detail)."""

    def __init__(self) -> None:
        self.events: list[tuple[str, int, Any]] = []
        self._changed = asyncio.Event()

    def opened(self, connection: Connection) -> None:
        self._note("opened", connection.id, None)
        connection.send(ModelMessage("state", {"greeting": connection.id}))

    def message(self, connection: Connection, message: Any) -> None:
        self._note("message", connection.id, message)

    def closed(self, connection: Connection, reason: str) -> None:
        self._note("closed", connection.id, reason)

    def _note(self, *event: Any) -> None:
        self.events.append(event)
        self._changed.set()

    def kinds(self) -> list[str]:
        return [kind for kind, _, _ in self.events]

    def commands(self) -> list[str]:
        return [detail.name for _, _, detail in self.events if isinstance(detail, Command)]

    async def until(self, condition: Callable[[Journal], bool]) -> None:
        async with asyncio.timeout(WAIT_S):
            while not condition(self):
                self._changed.clear()
                await self._changed.wait()


class Scene:
    """A session with one video output, and whoever connects to it."""

    def __init__(self, settings: MediaSettings) -> None:
        self.settings = settings
        self.journal = Journal()
        self.video = VideoOutput("main_video", 320, 176, 24, settings)
        self.outputs: dict[str, Any] = {"main_video": self.video}
        self.inputs: dict[str, Any] = {}
        self.connections: dict[int, Connection] = {}
        self.clients: list[RtcClient] = []

    def connection(self, connection_id: int = 1002, **more: Any) -> Connection:
        made = self.connections[connection_id] = Connection(
            connection_id,
            outputs=self.outputs,
            inputs=self.inputs,
            settings=more.pop("settings", self.settings),
            listener=self.journal,
            **more,
        )
        return made

    def client(self, *args: Any, **more: Any) -> RtcClient:
        made = RtcClient(*args, **more)
        self.clients.append(made)
        return made

    async def join(self, connection_id: int = 1002, *, resume: bool = True, **more: Any) -> RtcClient:
        """A client that is connected, and watches if `resume`."""
        client = self.client(**more)
        await client.connect(self.connection(connection_id))
        if resume:
            await self.resume(client)
        return client

    async def resume(self, client: RtcClient) -> None:
        client.notify("resume_track", "main_video")
        await self.settled(client)

    async def settled(self, client: RtcClient) -> None:
        """Return once the connection has read everything that the client has sent on `control`."""
        before = self._schemas()
        client.send("data", '{"scope":"runtime","data":{"type":"requestSchema","data":{}}}')
        await self.journal.until(lambda _: self._schemas() > before)

    def _schemas(self) -> int:
        return sum(isinstance(detail, RequestSchema) for _, _, detail in self.journal.events)

    async def close(self) -> None:
        for client in self.clients:
            await client.close()
        for connection in self.connections.values():
            await connection.close()
        for output in self.outputs.values():
            await output.close()


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


@pytest.fixture
def media_settings() -> MediaSettings:
    return MediaSettings()


@pytest.fixture
async def scene(media_settings: MediaSettings) -> AsyncIterator[Scene]:
    """Checks at the end that nothing is left: no task, no thread."""
    threads, tasks = set(threading.enumerate()), asyncio.all_tasks()
    scene = Scene(media_settings)
    yield scene
    await scene.close()
    await asyncio.sleep(0)  # the client's own tasks
    assert asyncio.all_tasks() - {asyncio.current_task()} <= tasks
    left = {thread.name for thread in set(threading.enumerate()) - threads}
    assert not {name for name in left if not name.startswith("asyncio_")}, "only the loop's own executor may stay"
