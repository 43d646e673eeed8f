"""`reactor-sdk` 1.13.0 (native libwebrtc, protocol v1 in protobuf) as a script; see `scenario` for what it prints."""

from __future__ import annotations

import argparse
import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, closing
from typing import Any

import numpy as np
from reactor_sdk import Reactor, ReactorError
from scenario import WEBCAM_SIZE, ClientFailed, Log, frame_reader, main, webcam_picture


class Python113:
    """The SDK; its frames arrive on a thread of its own, everything else on the loop."""

    def __init__(self, args: argparse.Namespace, log: Log) -> None:
        self._args = args
        self._log = log
        self._loop = asyncio.get_running_loop()
        self._look = frame_reader(args.model)
        self._camera: asyncio.Task[None] | None = None
        self._reactor = Reactor(args.model, api_key=args.api_key, api_url=args.url)
        self._reactor.on_status(lambda status: log.write("status", status=status.value))
        self._reactor.on_message(lambda message: log.write("message", type=message["type"], data=message["data"]))
        self._reactor.on_error(lambda error: log.write("error", code=error.code, message=str(error)))
        self._reactor.track("main_video").on_frame(self._on_frame)

    def _on_frame(self, rgb: np.ndarray) -> None:
        event = self._look(rgb)
        self._loop.call_soon_threadsafe(lambda: self._log.write("frame", **event))

    async def connect(self) -> str:
        """Connect until `ready`; returns the session id."""
        await self._reactor.connect()
        assert self._reactor.session_id is not None
        return self._reactor.session_id

    async def send(self, command: str, data: dict[str, Any]) -> None:
        """Send a command and await its reply; an error reply is a failure."""
        try:
            await self._reactor.send_command(command, data)
        except ReactorError as error:
            raise ClientFailed(f"{command}: {error}") from error

    async def send_file(self, command: str, argument: str, data: bytes, name: str) -> None:
        """Upload a file and send a command with it; an error reply is a failure."""
        await self.send(command, {argument: await self._reactor.upload_file(data, name=name)})

    async def publish(self) -> None:
        """Win the `webcam` slot and push the test picture into it until the end."""
        track = await self._reactor.track("webcam").publish()
        width, height = WEBCAM_SIZE
        bgra = np.dstack([webcam_picture(), np.full((height, width), 255, np.uint8)]).tobytes()

        async def push() -> None:
            while True:
                track.push_frame(bgra, width=width, height=height)
                await asyncio.sleep(1 / 24)

        self._camera = asyncio.create_task(push())

    async def unpublish(self) -> bool:
        """Give the slot back."""
        assert self._camera is not None
        self._camera.cancel()
        self._reactor.track("webcam").unpublish()
        return True

    async def rest(self) -> bool:
        """Pause and resume the pictures."""
        track = self._reactor.track("main_video")
        await track.pause()
        await track.resume()
        return True

    async def reconnect(self) -> None:
        """A new peer on the same connection."""
        await self._reactor.reconnect()

    async def adopt(self) -> bool:
        """A second client; leaving, it keeps the session."""
        there = asyncio.Event()
        with closing(Reactor(self._args.model, api_key=self._args.api_key, api_url=self._args.url)) as other:
            other.on_message(lambda message: there.set() if message["type"] == "state" else None)
            await other.connect(session_id=self._reactor.session_id)
            await there.wait()
            await other.disconnect()
        return True

    async def schema(self) -> dict[str, Any]:
        """Ask for the model's schema."""
        return await self._reactor.request_schema()

    async def clip(self, seconds: float | None) -> tuple[float, bytes]:
        """Ask for a clip and download it."""
        asked = self._reactor.request_recording() if seconds is None else self._reactor.request_clip(seconds)
        clip = await asked
        data = await self._reactor.download(clip)
        assert data is not None
        return clip.end_marker - clip.start_marker, data

    async def disconnect(self) -> None:
        """Disconnect; deletes the session."""
        if self._camera is not None:
            self._camera.cancel()
        await self._reactor.disconnect()

    def close(self) -> None:
        """Free the native client."""
        self._reactor.close()


@asynccontextmanager
async def open_client(args: argparse.Namespace, log: Log) -> AsyncIterator[Python113]:
    """The client, freed at the end."""
    with closing(Python113(args, log)) as client:
        yield client


if __name__ == "__main__":
    main(open_client)
