"""Frames and bodies seen from published clients mean what they meant."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from google.protobuf import text_format
from pydantic import BaseModel

from tests.support.client_frames import read_v1
from wire import V0, V1, Channel, Frame, FrameError, codec_for_client, codec_for_first_frame
from wire import reactor_wire_pb2 as pb
from wire.frames import (
    ClipReady,
    Command,
    FileUploaded,
    ModelMessage,
    Ping,
    RequestClip,
    RequestSchema,
    ResumeTrack,
    UploadReference,
)
from wire.http import ClientInfo, CreateSession, IceCandidates, SdpOffer, Session
from wire.uploads import CreateUpload

pytestmark = pytest.mark.fast

CAPTURED = Path(__file__).parent / "captured"
PROTOBUF = {
    ("client", "control"): pb.ControlClientMessage,
    ("client", "data"): pb.DataClientMessage,
    ("server", "control"): pb.ControlServerMessage,
    ("server", "data"): pb.DataServerMessage,
}
JS_UPLOAD = UploadReference("23323b930e4b463895cd0861341be54f", "a.txt", "text/plain", 5)
PY_UPLOAD = UploadReference("0d79dc0eef7f40aea9cd6280d2e12d59", "a.txt", "text/plain", 11)


def lines(name: str, **having: str) -> list[dict[str, Any]]:
    found = [json.loads(line) for line in (CAPTURED / name).read_text().splitlines()]
    return [line for line in found if all(line[key] == value for key, value in having.items())]


def protobuf(line: dict[str, Any]) -> Any:
    """The captured message from its text form, checked against the captured length."""
    message = text_format.Parse(line["text"], PROTOBUF[line["from"], line["channel"]]())
    assert message.ByteSize() == line["length"]
    return message


def test_what_js_sent() -> None:
    frames = [
        Frame(Channel(line["channel"]), line["text"]) for line in lines("jshead_frames.jsonl", **{"from": "client"})
    ]
    assert all(codec_for_first_frame(frame.payload) is V0 for frame in frames)
    assert [V0.decode(frame) for frame in frames] == [
        RequestSchema(),
        Command("set_shot", {"prompt": "a red dune at golden hour"}),
        Command("start", {}),
        ResumeTrack("main_video"),
        Command("nope", {}),
        Command("set_shot", {"prompt": ""}),
        Command("set_seed", {"seed": -1}),
        FileUploaded(JS_UPLOAD),
        Command("set_image", {}, {"image": JS_UPLOAD}),
        Ping(),
        RequestClip(3.0),
    ]


@pytest.mark.parametrize("line", lines("jshead_frames.jsonl", **{"from": "server"}), ids=lambda line: line["text"][:60])
def test_what_js_was_sent(line: dict[str, Any]) -> None:
    document = json.loads(line["text"])
    inner = document["data"]
    message = ClipReady(**inner["data"]) if inner["type"] == "clipReady" else ModelMessage(inner["type"], inner["data"])
    frame = V0.encode(message)
    assert frame is not None
    assert frame.channel == line["channel"]
    assert json.loads(frame.payload) == document


@pytest.mark.parametrize("line", lines("py113_frames.jsonl", **{"from": "client"}), ids=lambda line: line["text"][:60])
def test_the_proto_writes_the_captured_bytes(line: dict[str, Any]) -> None:
    assert protobuf(line).SerializeToString(deterministic=True).startswith(bytes.fromhex(line["hex"]))


def test_what_python_sent() -> None:
    captured = lines("py113_frames.jsonl", **{"from": "client"})
    frames = [Frame(Channel(line["channel"]), protobuf(line).SerializeToString()) for line in captured]
    assert all(codec_for_first_frame(frame.payload) is V1 for frame in frames)
    assert [V1.decode(frame) for frame in frames] == [
        ResumeTrack("main_video"),
        Ping(),
        RequestSchema("ctrl_1"),
        Command("set_shot", {"prompt": "a red dune"}, {}, "data_1"),
        Command("start", {}, {}, "data_2"),
        Command("nope", {}, {}, "data_3"),
        Command("set_shot", {}, {}, "data_4"),
        Command("set_seed", {"seed": -1}, {}, "data_5"),
        Command("set_seed", {"seed": 7}, {}, "data_6"),
        Command("set_seed", {"seed": "x"}, {}, "data_7"),
        Command("set_shot", {"prompt": ""}, {}, "data_8"),
        Command("set_shot", {"prompt": "x", "extra": 1}, {}, "data_9"),
        FileUploaded(PY_UPLOAD),
        Command("set_image", {}, {"image": PY_UPLOAD}, "data_10"),
        RequestClip(3.0, "ctrl_2"),
    ]


@pytest.mark.parametrize("line", lines("py113_frames.jsonl", **{"from": "server"}), ids=lambda line: line["text"][:60])
def test_what_python_was_sent(line: dict[str, Any]) -> None:
    message = protobuf(line)
    frame = V1.encode(read_v1(Frame(Channel(line["channel"]), message.SerializeToString())))
    assert frame is not None
    assert frame.channel == line["channel"]
    assert type(message).FromString(frame.payload) == message
    assert len(frame.payload) == line["length"]


@pytest.mark.parametrize("codec", [V0, V1])
def test_the_other_protocol_is_not_read(codec: Any) -> None:
    name = "py113_frames.jsonl" if codec is V0 else "jshead_frames.jsonl"
    for line in lines(name, **{"from": "client"}):
        payload = protobuf(line).SerializeToString() if codec is V0 else line["text"].encode()
        with pytest.raises(FrameError):
            codec.decode(Frame(Channel(line["channel"]), payload))


@pytest.mark.parametrize(
    "line", lines("http_requests.jsonl"), ids=lambda line: f"{line['client']} {line['path'][-16:]}"
)
def test_bodies(line: dict[str, Any]) -> None:
    kinds: dict[str, type[BaseModel] | None] = {
        "sessions": CreateSession,
        "sdp_params": SdpOffer,
        "ice_candidates": IceCandidates,
        "uploads": CreateUpload,
        "connections": None,  # the body says nothing
    }
    kind = kinds[line["path"].rpartition("/")[2]]
    if kind is None:
        assert line["body"] == {}
        return
    body = kind.model_validate(line["body"])
    assert contains(line["body"], body.model_dump(mode="json", by_alias=True))


@pytest.mark.parametrize(
    "line", lines("sessions.jsonl"), ids=lambda line: f"{line['client']} {line['session']['state']}"
)
def test_sessions(line: dict[str, Any]) -> None:
    session = Session.model_validate(line["session"])
    assert session.model_dump(mode="json", by_alias=True, exclude_unset=True) == line["session"]


@pytest.mark.parametrize(
    ("client", "codec"), [("js290", V0), ("jshead_chromium", V0), ("jshead_node", V0), ("py113", V1)]
)
def test_offers_tell_the_protocol(client: str, codec: Any) -> None:
    (line,) = [line for line in lines("http_requests.jsonl", client=client) if line["path"].endswith("sdp_params")]
    assert codec_for_client(ClientInfo(**line["body"]["client_info"]), line["body"]["sdp_offer"]) is codec


def contains(captured: Any, ours: Any) -> bool:
    """Nothing of a captured body is lost or changed in our model of it."""
    if isinstance(captured, dict):
        return isinstance(ours, dict) and all(
            key in ours and contains(value, ours[key]) for key, value in captured.items()
        )
    if isinstance(captured, list):
        return len(captured) == len(ours) and all(map(contains, captured, ours))
    return captured == ours
