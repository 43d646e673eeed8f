"""`reactor-sdk` 0.8.0 (pure Python on aiortc, protocol v0 in JSON) as a script; see `scenario` for what it prints.

Runs in an environment of its own: the two versions of the package cannot live in one.
"""

from __future__ import annotations

import argparse
import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from fractions import Fraction
from typing import Any

import numpy as np
from aiortc import MediaStreamTrack
from av import VideoFrame
from reactor_sdk import Reactor, fetch_jwt_token
from scenario import Log, frame_reader, main, webcam_picture


class Webcam(MediaStreamTrack):
    """The test picture, 24 times a second."""

    kind = "video"

    def __init__(self) -> None:
        super().__init__()
        self._count = 0

    async def recv(self) -> VideoFrame:
        """The next one."""
        await asyncio.sleep(1 / 24)
        frame = VideoFrame.from_ndarray(webcam_picture())
        frame.pts, frame.time_base = self._count * 3750, Fraction(1, 90_000)
        self._count += 1
        return frame


class Python08:
    """The SDK; everything happens on the loop's thread."""

    def __init__(self, args: argparse.Namespace, log: Log) -> None:
        self._args = args
        self._log = log
        self._look = frame_reader(args.model)
        self._reactor = Reactor(model_name=args.model, api_key=args.api_key, api_url=args.url)
        self._reactor.on_status(lambda status: log.write("status", status=status.value))
        self._reactor.on_message(lambda message: log.write("message", type=message["type"], data=message["data"]))
        self._reactor.on_error(lambda error: log.write("error", code=error.code, message=error.message))
        self._reactor.on_frame(self._on_frame)

    def _on_frame(self, rgb: np.ndarray) -> None:
        self._log.write("frame", **self._look(rgb))

    async def connect(self) -> str:
        """Connect until `ready`; returns the session id. Commands sent before `ready` would be dropped."""
        await self._reactor.connect()
        await self._log.until("ready", lambda events: {"event": "status", "status": "ready"} in events)
        session_id = self._reactor.get_session_id()
        assert session_id is not None
        return session_id

    async def send(self, command: str, data: dict[str, Any]) -> None:
        """Send a command; this protocol has no reply."""
        await self._reactor.send_command(command, data)

    async def send_file(self, command: str, argument: str, data: bytes, name: str) -> None:
        """Upload a file and send a command with it."""
        await self.send(command, {argument: await self._reactor.upload_file(data, name=name)})

    async def publish(self) -> None:
        """Win the `webcam` slot and send the test picture."""
        await self._reactor.publish_track("webcam", Webcam())

    async def unpublish(self) -> bool:
        """Give the slot back."""
        await self._reactor.unpublish_track("webcam")
        return True

    async def rest(self) -> bool:
        """Pause and resume the pictures."""
        await self._reactor.pause_track("main_video")
        await self._reactor.resume_track("main_video")
        return True

    async def reconnect(self) -> None:
        """A new peer for the same session."""
        ready = self._times_ready()
        await self._reactor.disconnect(recoverable=True)
        await self._reactor.reconnect()
        await self._log.until("ready again", lambda events: self._times_ready() > ready)

    def _times_ready(self) -> int:
        return self._log.events.count({"event": "status", "status": "ready"})

    async def adopt(self) -> bool:
        """A second client; leaving, it keeps the session."""
        there = asyncio.Event()
        other = Reactor(model_name=self._args.model, api_key=self._args.api_key, api_url=self._args.url)
        other.on_message(lambda message: there.set() if message["type"] == "state" else None)
        await other.connect(session_id=self._reactor.get_session_id())
        await there.wait()
        await other.disconnect()
        return True

    async def schema(self) -> None:
        """This version never asks."""

    async def clip(self, seconds: float | None) -> tuple[float, bytes]:
        """Ask for a clip and download it; this version wants to be handed the token."""
        asked = self._reactor.request_recording() if seconds is None else self._reactor.request_clip(seconds)
        clip = await asked
        jwt = await fetch_jwt_token(self._args.api_key, self._args.url)
        return clip.end_marker - clip.start_marker, await self._reactor.download_clip_as_file(clip, jwt=jwt)

    async def disconnect(self) -> None:
        """Disconnect; deletes the session."""
        await self._reactor.disconnect()


@asynccontextmanager
async def open_client(args: argparse.Namespace, log: Log) -> AsyncIterator[Python08]:
    """The client; there is nothing to free."""
    yield Python08(args, log)


if __name__ == "__main__":
    main(open_client)
