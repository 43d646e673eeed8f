"""Protocol v1, frame by frame. Bytes are the captured ones where there are any."""

from __future__ import annotations

from typing import Any

import pytest
from google.protobuf.struct_pb2 import Struct, Value

from wire import MAX_FRAME_BYTES, MAX_NAME_CHARS, V1, Channel, Frame, FrameError
from wire import reactor_wire_pb2 as pb
from wire.frames import (
    ClientStats,
    ClipFailed,
    Command,
    CommandAccepted,
    ModelCapabilities,
    ModelMessage,
    Ping,
    Refused,
    RequestSchema,
    ResumeTrack,
    SessionEnded,
)

pytestmark = pytest.mark.fast

REQUEST, NOTIFICATION = pb.MESSAGE_KIND_REQUEST, pb.MESSAGE_KIND_NOTIFICATION


def data_frame(command: pb.Command, kind: int = REQUEST, request_id: str = "data_1") -> Frame:
    message = pb.DataClientMessage(kind=kind, request_id=request_id, command=command)
    return Frame(Channel.DATA, message.SerializeToString())


def control_frame(kind: int = REQUEST, request_id: str = "ctrl_1", **payload: Any) -> Frame:
    message = pb.ControlClientMessage(kind=kind, request_id=request_id, **payload)
    return Frame(Channel.CONTROL, message.SerializeToString())


def refused(frame: Frame) -> FrameError:
    with pytest.raises(FrameError) as caught:
        V1.decode(frame)
    return caught.value


def with_number(number: float) -> pb.Command:
    return pb.Command(type="set_seed", data=Struct(fields={"seed": Value(number_value=number)}))


@pytest.mark.parametrize(
    ("hexed", "message"),
    [
        ("10038a010c0a0a6d61696e5f766964656f", ResumeTrack("main_video")),
        ("10035200", Ping()),
        ("0a066374726c5f3110015a00", RequestSchema("ctrl_1")),
        ("10039a01040a020801", ClientStats()),
    ],
)
def test_control_bytes(hexed: str, message: Any) -> None:
    assert V1.decode(Frame(Channel.CONTROL, bytes.fromhex(hexed))) == message


@pytest.mark.parametrize(
    ("message", "channel", "hexed"),
    [
        (CommandAccepted("data_1"), Channel.DATA, "0a06646174615f311002"),
        (SessionEnded("bye"), Channel.CONTROL, "10037a050a03627965"),
        (
            Refused("invalid_command", "unknown command", "nope", Channel.DATA, "data_3"),
            Channel.DATA,
            "0a06646174615f331002c202220a0f" + b"invalid_command".hex() + "120f" + b"unknown command".hex(),
        ),
    ],
)
def test_server_bytes(message: Any, channel: Channel, hexed: str) -> None:
    assert V1.encode(message) == Frame(channel, bytes.fromhex(hexed))


def test_integral_doubles_become_integers() -> None:
    for number, expected in ((7.0, 7), (-1.0, -1), (-0.0, 0), (2.0**53, 2**53), (0.25, 0.25)):
        seed = V1.decode(data_frame(with_number(number))).data["seed"]
        assert (seed, type(seed)) == (expected, type(expected))


@pytest.mark.parametrize("number", [float("nan"), float("inf"), float("-inf"), 1e300, 2.0**63])
def test_numbers_that_are_none(number: float) -> None:
    refusal = refused(data_frame(with_number(number))).refusal
    assert refusal is not None
    assert (refusal.code, refusal.request_id) == ("invalid_command", "data_1")
    assert refused(data_frame(with_number(number), NOTIFICATION, "")).refusal is None


def test_a_value_of_no_kind() -> None:
    error = refused(data_frame(pb.Command(type="set_seed", data=Struct(fields={"seed": Value()}))))
    assert error.refusal == Refused("invalid_command", "a value of no kind", "set_seed", Channel.DATA, "data_1")


def test_a_command_needs_no_data() -> None:
    assert V1.decode(data_frame(pb.Command(type="start"))) == Command("start", {}, {}, "data_1")


def test_a_notification_has_no_id() -> None:
    assert V1.decode(data_frame(pb.Command(type="start"), NOTIFICATION, "data_1")).request_id is None


@pytest.mark.parametrize(
    "command",
    [
        pb.Command(),
        pb.Command(type="x" * (MAX_NAME_CHARS + 1)),
        pb.Command(type="set_image", uploads={"image": pb.UploadReference()}),
        pb.Command(type="set_image", uploads={"image": pb.UploadReference(upload_id="u", size=-1)}),
        pb.Command(
            type="set_image",
            data=Struct(fields={"image": Value(bool_value=True)}),
            uploads={"image": pb.UploadReference(upload_id="u")},
        ),
    ],
)
def test_commands_that_are_refused(command: pb.Command) -> None:
    refusal = refused(data_frame(command)).refusal
    assert refusal is not None
    frame = V1.encode(refusal)
    assert frame is not None
    answer = pb.DataServerMessage.FromString(frame.payload)
    assert (answer.request_id, answer.kind, answer.error.code) == (
        "data_1",
        pb.MESSAGE_KIND_RESPONSE,
        "invalid_command",
    )


@pytest.mark.parametrize(
    ("payload", "code"),
    [
        ({"request_clip": pb.RequestClip()}, "invalid_request"),
        ({"request_clip": pb.RequestClip(duration_seconds=float("nan"))}, "invalid_request"),
        ({"publish_track": pb.TrackName()}, "invalid_request"),
        ({"error": pb.Error(code="x")}, "unknown_method"),
        ({}, "unknown_method"),
    ],
)
def test_control_requests_that_are_refused(payload: Any, code: str) -> None:
    refusal = refused(control_frame(**payload)).refusal
    assert refusal is not None
    assert (refusal.code, refusal.channel, refusal.request_id) == (code, Channel.CONTROL, "ctrl_1")
    assert refused(control_frame(NOTIFICATION, "", **payload)).refusal is None


def test_stepped_generation_is_not_offered() -> None:
    message = pb.DataClientMessage(kind=REQUEST, request_id="data_1", request_step=pb.RequestStep())
    refusal = refused(Frame(Channel.DATA, message.SerializeToString())).refusal
    assert refusal == Refused("unknown_method", "unknown method", "request_step", Channel.DATA, "data_1")


@pytest.mark.parametrize(
    "frame",
    [
        Frame(Channel.DATA, b""),
        Frame(Channel.DATA, "{}"),
        Frame(Channel.DATA, b'{"type":"start"}'),
        Frame(Channel.CONTROL, b"\x0a\x02\xff\xfe\x10\x01\x5a\x00"),
        control_frame(pb.MESSAGE_KIND_RESPONSE, ping=pb.Ping()),
        control_frame(7, ping=pb.Ping()),
        control_frame(REQUEST, "", request_schema=pb.RequestSchema()),
        control_frame(REQUEST, "x" * (MAX_NAME_CHARS + 1), request_schema=pb.RequestSchema()),
        control_frame(NOTIFICATION, "", resume_track=pb.TrackName()),
        control_frame(NOTIFICATION, "", file_uploaded=pb.UploadReference()),
    ],
)
def test_frames_that_are_owed_nothing(frame: Frame) -> None:
    assert refused(frame).refusal is None


def test_a_broadcast_is_a_notification_and_a_reply_a_response() -> None:
    for request_id, kind in ((None, NOTIFICATION), ("data_1", pb.MESSAGE_KIND_RESPONSE)):
        frame = V1.encode(ModelMessage("state", {"paused": False}, request_id))
        assert frame is not None
        message = pb.DataServerMessage.FromString(frame.payload)
        assert (message.kind, message.request_id) == (kind, request_id or "")


def test_what_cannot_leave() -> None:
    assert V1.encode(ModelCapabilities({})) is None
    with pytest.raises(FrameError, match="larger"):
        V1.encode(ClipFailed("x" * MAX_FRAME_BYTES, "ctrl_1"))
    for bad in (float("nan"), {1, 2}):
        with pytest.raises(ValueError, match="not"):
            V1.encode(ModelMessage("state", {"value": bad}))
