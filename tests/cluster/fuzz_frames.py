"""Data-channel frames as no client should send them: noise, broken captures, commands with wild values.

All of it follows from a seed.
"""

from __future__ import annotations

import json
import random
import uuid
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from models.contract import ModelSpec
from tests.support.client_frames import write_v0, write_v1
from wire.codec import Frame
from wire.frames import (
    Channel,
    ClientMessage,
    ClientStats,
    Command,
    FileUploaded,
    PauseTrack,
    Ping,
    PublishTrack,
    RequestCapabilities,
    RequestClip,
    RequestRecording,
    RequestSchema,
    ResumeTrack,
    UnpublishTrack,
    UploadReference,
)
from wire.values import MAX_FRAME_BYTES, MAX_NAME_CHARS

Protocol = Literal["v0", "v1"]
CAPTURED = Path(__file__).parents[1] / "wire" / "captured"
RARELY = 0.001
"""Share of the frames that are as large as frames can be, or larger."""

DEEP: Any = 0
for _ in range(40):
    DEEP = [DEEP]

WILD: Sequence[Any] = (
    *(None, True, False, [], {}, "", " ", "\0", "None", "ü" * 7, "x" * 300, "../../etc/passwd", "{}", "a b"),
    *(0, 1, -1, 0.5, 2, 3, 47, 48, 49, 1e9, -1e9, 2**31, 2**53, -(2**53), 1e300, -1e300, 5e-324),
    *([[]], [1, "a", None], {"a": {"b": []}}, {"upload_id": ""}, {"upload_id": str(uuid.UUID(int=7))}, DEEP),
)
"""Values that both protocols can write."""

WILD_JSON: Sequence[Any] = (
    *WILD,
    *(2**63, -(2**63) - 1, 10**400, float("nan"), float("inf"), -float("inf"), "\ud800", {"\udfff": 1}),
)


@dataclass(frozen=True)
class Shot:
    """A frame. `owed` is what names the answer to a command: its request id, in v0 the name of one that is refused."""

    channel: Channel
    payload: str | bytes
    owed: str | None = None


class Frames:
    """See the module. `spec` tells which commands and arguments there are to be wrong about."""

    def __init__(self, seed: int, spec: ModelSpec) -> None:
        self._dice = random.Random(seed)
        self._count = 1_000_000  # beyond the ids in the captures
        self._arguments = {
            command.wire_name(): sorted(command.model_json_schema().get("properties", {})) for command in spec.commands
        }
        self._tracks = [track.name for track in spec.tracks]
        self._captured = {"v0": _captured("jshead_frames.jsonl"), "v1": _captured("py113_frames.jsonl")}

    def next(self, protocol: Protocol) -> Shot:
        """One more frame, mostly of the protocol."""
        dice = self._dice
        if dice.random() < RARELY:
            return self._huge(protocol)
        if dice.random() < 0.03:
            wrong = self._command("v0" if protocol == "v1" else "v1")
            return Shot(wrong.channel, wrong.payload)
        makers: list[Callable[[Protocol], Shot]] = [self._command, self._request, self._mutant, self._noise]
        return dice.choices(makers, (6, 1, 3, 2))[0](protocol)

    def _command(self, protocol: Protocol) -> Shot:
        dice = self._dice
        self._count += 1
        unknown = dice.choice(["", f"unknown {self._count}", f"{self._count}".zfill(256), f"é{self._count}"])
        name = dice.choice(list(self._arguments)) if dice.random() < 0.9 else unknown
        data = {argument: self._value(argument, protocol) for argument in self._some(self._arguments.get(name, ()))}
        if dice.random() < 0.1:
            data[dice.choice(["extra", "", "prompt", "type"])] = self._wild(protocol)
        uploads = {"image": self._upload()} if dice.random() < 0.05 else {}
        request_id = f"data_{self._count}" if protocol == "v1" and dice.random() < 0.9 else None
        frame = write(protocol, Command(name, data, uploads, request_id))
        refused = name if protocol == "v0" and name and name not in self._arguments else None
        return Shot(frame.channel, frame.payload, request_id or refused)

    def _value(self, argument: str, protocol: Protocol) -> Any:
        dice = self._dice
        if dice.random() < 0.3:
            return self._wild(protocol)
        match argument:
            case "prompt":
                return dice.choice(["a dune", "rain", "dusk " * dice.choice([1, 40, 3000]), "\N{ROCKET}" * 4096])
            case "effect":
                return dice.choice(["none", "sepia", "Sepia"])
            case "intensity":
                return dice.random() * 1.1
            case _:
                return dice.randrange(-1, 60)

    def _wild(self, protocol: Protocol) -> Any:
        return self._dice.choice(WILD_JSON if protocol == "v0" else WILD)

    def _some(self, names: Sequence[str]) -> list[str]:
        return [name for name in names if self._dice.random() < 0.85]

    def _upload(self) -> UploadReference:
        dice = self._dice
        file_id = dice.choice(["", "nothing", str(uuid.UUID(int=dice.getrandbits(128))), "x" * MAX_NAME_CHARS])
        return UploadReference(file_id, dice.choice(["a.png", "../a", ""]), "image/png", dice.choice([0, 7, 2**62]))

    def _request(self, protocol: Protocol) -> Shot:
        dice = self._dice
        self._count += 1
        own = f"ctrl_{self._count}"
        request_id = own if protocol == "v1" else None
        track = dice.choice([*self._tracks, "main_video", "nothing", "x" * MAX_NAME_CHARS])
        seconds = dice.choice([0.0, -1.0, 1.0, 300.0, 1e9, 5e-324, float("inf"), float("nan")])
        messages: list[ClientMessage] = [
            *(ResumeTrack(track), PauseTrack(track), UnpublishTrack(track), PublishTrack(track, own)),
            *(Ping(), FileUploaded(self._upload()), RequestClip(seconds, request_id)),
            *(RequestSchema(request_id), RequestRecording(request_id)),
            ClientStats() if protocol == "v1" else RequestCapabilities(),
        ]
        frame = write(protocol, dice.choice(messages))
        return Shot(frame.channel, frame.payload)

    def _mutant(self, protocol: Protocol) -> Shot:
        """Of a captured frame or of a command: bytes lost, doubled, changed, put in."""
        dice = self._dice
        seen = dice.choice(self._captured[protocol])
        whole = seen if dice.random() < 0.5 else self._command(protocol)
        payload = bytearray(_bytes(whole.payload))
        for _ in range(dice.choice([1, 1, 2, 8])):
            at = dice.randrange(len(payload) + 1)
            piece = dice.choice([b"", b"\0", b'"', b"}", b"\xff", b"\x0a", payload[at : at + 9] * 2, dice.randbytes(3)])
            payload[at : at + dice.choice([0, 1, 1, 2, 20])] = piece
        channel = whole.channel if dice.random() < 0.9 else dice.choice(list(Channel))
        return Shot(channel, self._carried(bytes(payload)))

    def _noise(self, protocol: Protocol) -> Shot:
        dice = self._dice
        start = dice.choice([b"", b"", b"{", b"[", b" \n{", b"\x0a\x06data_1\x10\x01\x52", b"\x10\x03", b"\x10\x02"])
        return Shot(dice.choice(list(Channel)), self._carried(start + dice.randbytes(dice.choice([0, 1, 7, 60, 900]))))

    def _huge(self, protocol: Protocol) -> Shot:
        size = MAX_FRAME_BYTES + self._dice.choice([-1, 0, 1, MAX_FRAME_BYTES, 2**20])
        small = _bytes(write(protocol, Command("set_shot", {"prompt": ""}, request_id="data_0")).payload)
        fit = Command("set_shot", {"prompt": "y" * (size - len(small))}, request_id="data_0")
        frame = write(protocol, fit)
        return Shot(frame.channel, frame.payload)

    def _carried(self, payload: bytes) -> str | bytes:
        """As text where it is text: a data channel tells the two apart."""
        if self._dice.random() < 0.3:
            return payload
        try:
            return payload.decode()
        except UnicodeDecodeError:
            return payload


def write(protocol: Protocol, message: ClientMessage) -> Frame:
    """The message as a client of the protocol sends it; v0 has no ids for commands."""
    if protocol == "v0" and isinstance(message, Command):
        message = Command(message.name, message.data, message.uploads)
    return write_v0(message) if protocol == "v0" else write_v1(message)


def _bytes(payload: str | bytes) -> bytes:
    return payload.encode(errors="surrogatepass") if isinstance(payload, str) else payload


def _captured(name: str) -> list[Shot]:
    """What clients were seen to send, as far as it was written down whole."""
    shots = []
    for line in (CAPTURED / name).read_text().splitlines():
        seen = json.loads(line)
        payload = bytes.fromhex(seen["hex"]) if "hex" in seen else seen["text"]
        if seen["from"] == "client" and ("length" not in seen or seen["length"] == len(payload)):
            shots.append(Shot(Channel(seen["channel"]), payload))
    return shots
