"""What every published client plays against the server, and the log of what it saw. Shared by the client scripts.

The scripts run in different environments, so this file needs nothing but the standard library and numpy. Each script
takes `--url --api-key --model`, plays the scenario of that model and prints one JSON object per line:

    {"event": "status", "status": "ready"}          {"event": "connected", "session_id": "…"}
    {"event": "sent", "command": "start"}           {"event": "message", "type": "state", "data": {…}}
    {"event": "frame", "n": 17, "size": [320, 192]} {"event": "error", "code": "…", "message": "…"}
    {"event": "clip", "seconds": 2.4, "size": 41234} {"event": "adopted"}
    {"event": "schema", "commands": ["/events/set_image", …]}
    {"event": "done"}                               {"event": "failed", "waiting_for": "…", "reason": "…"}

`n` is the number stamped into the picture, null where none can be read; pictures of `echo` carry `halves` instead, the
mean RGB of the left and of the right half. The exit status is 0 only after `done`.
"""

from __future__ import annotations

import argparse
import asyncio
import importlib.util
import json
import struct
import sys
import zlib
from collections.abc import Awaitable, Callable
from contextlib import AbstractAsyncContextManager
from pathlib import Path
from typing import Any, Protocol

import numpy as np

Event = dict[str, Any]
Look = Callable[[np.ndarray], Event]
"""What a `frame` event tells of a uint8 [h, w, 3] picture."""

CHROMIUM = "/usr/bin/chromium"

OPENING, SHOT, CUT = "a red dune at dawn", "the same dune at noon", "a harbour at night"
SHOT_AT, CUT_AT, LAST_CHUNK = 1, 3, 5
"""`session_chunk` of the soft shot and of the hard cut, and how many chunks are watched."""

FAR = 40
"""A chunk that no scenario reaches."""

FRAMES_PER_CHUNK = 29
DISCONNECT_S = 5
WEBCAM_SIZE = (320, 240)
"""Width and height of the published test picture: its left half is white, its right half black."""
STILL_NAME = "../../../tmp/still.png"
"""Name of the uploaded test picture, the negative of the published one; a name is never a path."""


class ClientFailed(Exception):
    """The SDK under test reported an error."""


class Client(Protocol):
    """One published SDK, reduced to what the scenarios need."""

    async def connect(self) -> str:
        """Connect until `ready`; returns the session id."""
        ...

    async def send(self, command: str, data: dict[str, Any]) -> None:
        """Send a command."""
        ...

    async def send_file(self, command: str, argument: str, data: bytes, name: str) -> None:
        """Upload a PNG, and send a command with it as the argument."""
        ...

    async def publish(self) -> None:
        """Publish the test picture as `webcam`."""
        ...

    async def unpublish(self) -> bool:
        """Take `webcam` back; False where the SDK cannot tell the server."""
        ...

    async def rest(self) -> bool:
        """Pause `main_video` and resume it; False where the SDK cannot."""
        ...

    async def reconnect(self) -> None:
        """Give the connection up, keep the session, and come back to it until `ready`."""
        ...

    async def adopt(self) -> bool:
        """Join the session with a second client until it has a state, and leave; False where the SDK cannot."""
        ...

    async def schema(self) -> dict[str, Any] | None:
        """The model's OpenAPI document; None where the SDK does not ask for it."""
        ...

    async def clip(self, seconds: float | None) -> tuple[float, bytes]:
        """A clip of the last seconds, None is the whole recording: its length and its file. Not in every SDK."""
        ...

    async def disconnect(self) -> None:
        """Disconnect for good."""
        ...


class Log:
    """The events so far: printed as they come, and waited for."""

    def __init__(self) -> None:
        self.events: list[Event] = []
        self.waiting_for = "the connection"
        self._changed = asyncio.Event()

    def write(self, event: str, **fields: Any) -> None:
        """Add an event. Call it on the loop's thread."""
        entry = {"event": event, **fields}
        sys.stdout.write(json.dumps(entry) + "\n")
        sys.stdout.flush()
        self.events.append(entry)
        self._changed.set()

    async def until(self, what: str, there: Callable[[list[Event]], bool]) -> None:
        """Wait until `there` holds of the events; raises ClientFailed at the first error event."""
        self.waiting_for = what
        while not there(self.events):
            if error := next((e for e in self.events if e["event"] == "error"), None):
                raise ClientFailed(str(error))
            self._changed.clear()
            await self._changed.wait()


def messages(events: list[Event], kind: str) -> list[dict[str, Any]]:
    """The data of all messages of one type, in order."""
    return [e["data"] for e in events if e["event"] == "message" and e["type"] == kind]


def _newest_stamp(events: list[Event]) -> int:
    return max((e["n"] for e in events if e["event"] == "frame" and e["n"] is not None), default=-1)


async def storyboard(client: Client, log: Log) -> None:
    """Opening shot, soft shot, hard cut; edits, a pause, a second client, a refused command, a reset; a reconnect."""
    log.write("connected", session_id=await client.connect())
    await log.until("the state owed to a new connection", lambda events: bool(messages(events, "state")))
    for command, data in (
        ("set_shot", {"prompt": OPENING}),
        ("schedule_shot", {"prompt": SHOT, "at_session_chunk": SHOT_AT}),
        ("schedule_scene_cut", {"prompt": CUT, "at_session_chunk": CUT_AT}),
        ("start", {}),
    ):
        await _send(client, log, command, data)
    await log.until("the last chunk", lambda events: len(messages(events, "chunk_complete")) >= LAST_CHUNK)
    await log.until("pictures after the cut", lambda events: _newest_stamp(events) >= CUT_AT * FRAMES_PER_CHUNK)
    await _edit(client, log)
    if await client.adopt():
        log.write("adopted")
    await _send(client, log, "set_shot", {"prompt": "  "})
    await log.until("command_error", lambda events: bool(messages(events, "command_error")))
    await _send(client, log, "reset", {})
    await log.until("generation_reset", lambda events: bool(messages(events, "generation_reset")))
    await log.until("the state after the reset", lambda events: not messages(events, "state")[-1]["started"])
    await _come_back(client, log)


async def _edit(client: Client, log: Log) -> None:
    """The commands that the published packages have no names for; a pause, and on."""
    for command, data, answer in (
        ("schedule_shot", {"prompt": SHOT, "at_session_chunk": FAR}, "shot_scheduled"),
        ("move_beat", {"from": FAR, "to": FAR + 1}, "beat_moved"),
        ("list_beats", {}, "beats_listed"),
        ("unschedule", {"at_session_chunk": FAR + 1}, "unscheduled"),
        ("pause", {}, "generation_paused"),
        ("resume", {}, "generation_resumed"),
    ):
        await _send(client, log, command, data)
        await log.until(answer, lambda events, answer=answer: bool(messages(events, answer)))


async def _come_back(client: Client, log: Log) -> None:
    states, frames = len(messages(log.events, "state")), _frames(log.events)
    await client.reconnect()
    await log.until("the state owed after a reconnect", lambda events: len(messages(events, "state")) > states)
    await log.until("a picture after a reconnect", lambda events: _frames(events) > frames)


def _frames(events: list[Event]) -> int:
    return sum(event["event"] == "frame" for event in events)


async def clips(client: Client, log: Log, folder: Path) -> None:
    """A story of two chunks, while it goes on a clip of it, and paused the whole of it."""
    log.write("connected", session_id=await client.connect())
    await _send(client, log, "set_shot", {"prompt": OPENING})
    await _send(client, log, "start", {})
    await log.until("the second chunk's pictures", lambda events: _newest_stamp(events) >= FRAMES_PER_CHUNK + 12)
    await _save_clip(client, log, 1.0, folder / "clip.mp4")
    await _send(client, log, "pause", {})
    await log.until("the pause", lambda events: bool(messages(events, "generation_paused")))
    await _save_clip(client, log, None, folder / "recording.mp4")


async def _save_clip(client: Client, log: Log, seconds: float | None, path: Path) -> None:
    length, data = await client.clip(seconds)
    await asyncio.to_thread(path.write_bytes, data)
    log.write("clip", seconds=length, size=len(data))


async def echo(client: Client, log: Log) -> None:
    """Upload a picture and see it; publish another, see it come back, invert it, take it back; pause and go on."""
    log.write("connected", session_id=await client.connect())
    await log.until("the effect in force", lambda events: bool(messages(events, "effect_changed")))
    await log.until("a picture", lambda events: any(e["event"] == "frame" for e in events))
    log.write("sent", command="set_image")
    await client.send_file("set_image", "image", _png(webcam_picture()[:, ::-1]), STILL_NAME)
    await log.until("the picture's acceptance", lambda events: bool(messages(events, "image_accepted")))
    await log.until("the uploaded picture", lambda events: _shows(events, left_is_white=False))
    await client.publish()
    await log.until("the published picture", lambda events: _shows(events, left_is_white=True))
    await _send(client, log, "set_effect", {"effect": "invert"})
    await log.until("the effect's change", lambda events: messages(events, "effect_changed")[-1]["effect"] == "invert")
    await log.until("the inverted picture", lambda events: _shows(events, left_is_white=False))
    if await client.unpublish():
        await log.until("the uploaded picture, inverted", lambda events: _shows(events, left_is_white=True))
    if await client.rest():
        frames = _frames(log.events)
        await log.until("a picture after a pause", lambda events: _frames(events) > frames)
    if (schema := await client.schema()) is not None:
        log.write("schema", commands=sorted(schema["paths"]))


async def _send(client: Client, log: Log, command: str, data: dict[str, Any]) -> None:
    log.write("sent", command=command)
    await client.send(command, data)


def _shows(events: list[Event], *, left_is_white: bool) -> bool:
    """Whether the newest picture is the test picture, or its negative."""
    halves = next(e["halves"] for e in reversed(events) if e["event"] == "frame")
    bright, dark = halves if left_is_white else reversed(halves)
    return min(bright) > 200 and max(dark) < 55


SCENARIOS: dict[str, Callable[[Client, Log], Awaitable[None]]] = {"longlive-v2": storyboard, "echo": echo}


# --- pictures -------------------------------------------------------------------------------------------------------


def _stamp_reader() -> Callable[[np.ndarray], int | None]:
    """`read` of the repository's `longlive/stamp.py`, loaded from its file: the package itself needs torch."""
    path = Path(__file__).parents[2] / "longlive" / "stamp.py"
    spec = importlib.util.spec_from_file_location("stamp", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.read


def frame_reader(model: str) -> Look:
    """What is to be seen of the pictures of `model`."""
    if model == "echo":
        return _halves
    read = _stamp_reader()
    return lambda rgb: {"n": read(rgb), "size": [rgb.shape[1], rgb.shape[0]]}


def _halves(rgb: np.ndarray) -> Event:
    height, width, _ = rgb.shape
    left, right = (half.mean((0, 1)).round().astype(int).tolist() for half in np.split(rgb, [width // 2], axis=1))
    return {"n": None, "size": [width, height], "halves": [left, right]}


def webcam_picture() -> np.ndarray:
    """The test picture as uint8 [h, w, 3]."""
    width, height = WEBCAM_SIZE
    picture = np.zeros((height, width, 3), np.uint8)
    picture[:, : width // 2] = 255
    return picture


def _png(rgb: np.ndarray) -> bytes:
    """The PNG file of a uint8 [h, w, 3] picture."""
    height, width, _ = rgb.shape
    lines = b"".join(b"\0" + line.tobytes() for line in rgb)
    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    parts = [(b"IHDR", header), (b"IDAT", zlib.compress(lines)), (b"IEND", b"")]
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data)) for kind, data in parts
    )


# --- the script -----------------------------------------------------------------------------------------------------


OpenClient = Callable[[argparse.Namespace, Log], AbstractAsyncContextManager[Client]]


def main(open_client: OpenClient) -> None:
    """Parse the command line, play the scenario of `--model` and disconnect; exit with 0 if all came to its end."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--url", required=True, help="base URL of the server")
    parser.add_argument("--api-key", required=True)
    parser.add_argument("--model", required=True, choices=SCENARIOS)
    parser.add_argument("--clips", type=Path, help="play the scenario of clips and write them into this folder")
    parser.add_argument("--limit", type=float, default=30.0, help="give up after this many seconds")
    args = parser.parse_args()
    sys.exit(asyncio.run(_play(args, open_client)))


async def _play(args: argparse.Namespace, open_client: OpenClient) -> int:
    log = Log()
    try:
        async with open_client(args, log) as client:
            try:
                async with asyncio.timeout(args.limit):
                    if args.clips is None:
                        await SCENARIOS[args.model](client, log)
                    else:
                        await clips(client, log, args.clips)
            finally:  # also after a failure: the session would hold its worker for the next test
                async with asyncio.timeout(DISCONNECT_S):
                    await client.disconnect()
    except (TimeoutError, ClientFailed) as error:
        log.write("failed", waiting_for=log.waiting_for, reason=str(error) or "time is up")
        return 1
    log.write("done")
    return 0
