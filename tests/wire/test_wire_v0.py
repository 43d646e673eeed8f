"""Protocol v0, frame by frame."""

from __future__ import annotations

import json
from typing import Any

import pytest

from wire import MAX_FRAME_BYTES, MAX_NAME_CHARS, V0, Channel, Frame, FrameError
from wire.frames import (
    ClipReady,
    Command,
    CommandAccepted,
    ModelMessage,
    ModelSchema,
    Ping,
    Refused,
    TrackPublished,
    UploadReference,
)

pytestmark = pytest.mark.fast

CLIP = ClipReady("s", "snap", 3.7, 6.7, 6.7, 1795180996633, "/clips?session_id=s", "data_9")


def decode(document: Any, channel: Channel = Channel.DATA) -> Any:
    return V0.decode(Frame(channel, document if isinstance(document, str | bytes) else json.dumps(document)))


def refused(document: Any, channel: Channel = Channel.DATA) -> FrameError:
    with pytest.raises(FrameError) as caught:
        decode(document, channel)
    return caught.value


def encode(message: Any) -> tuple[Channel, Any]:
    frame = V0.encode(message)
    return frame.channel, json.loads(frame.payload)


def test_a_bare_message_is_a_command() -> None:
    assert decode({"type": "start", "data": {}}) == Command("start", {})


@pytest.mark.parametrize("inner", [{"type": "start"}, {"type": "start", "data": None, "uploads": None}])
def test_a_command_may_leave_out_its_data(inner: Any) -> None:
    assert decode({"scope": "application", "data": inner}) == Command("start", {})


def test_json_in_a_binary_frame() -> None:
    assert decode(b' \n{"scope":"runtime","data":{"type":"ping","data":{}}}') == Ping()


def test_integral_numbers_are_integers() -> None:
    data = decode({"type": "set_seed", "data": {"seed": 7.0, "list": [1.0, 0.5], "flag": True}}).data
    assert data == {"seed": 7, "list": [1, 0.5], "flag": True}
    assert [type(n) for n in (data["seed"], data["list"][0], data["flag"])] == [int, int, bool]


@pytest.mark.parametrize("literal", ["NaN", "Infinity", "-Infinity", "1e999", "1e300", str(2**63), "9" * 5000])
def test_numbers_that_are_none(literal: str) -> None:
    refused(f'{{"type":"set_seed","data":{{"seed":{literal}}}}}')


def test_surrogates_are_not_text() -> None:
    assert refused('{"type":"set_shot","data":{"prompt":"\\ud800"}}').reason == "text is not Unicode"


def test_a_command_that_cannot_be_read_is_refused_by_name() -> None:
    error = refused({"scope": "application", "data": {"type": "set_shot", "data": []}})
    assert error.refusal == Refused("invalid_command", "data: expected an object", "set_shot", Channel.DATA)
    channel, document = encode(error.refusal)
    assert channel is Channel.DATA
    assert document["scope"] == "application"
    assert document["data"] == {
        "type": "command_error",
        "data": {"command": "set_shot", "reason": "data: expected an object"},
    }


def test_an_argument_given_twice() -> None:
    upload = {"upload_id": "u", "name": "a.txt", "mime_type": "text/plain", "size": 5}
    assert refused({"type": "set_image", "data": {"image": 1}, "uploads": {"image": upload}}).refusal is not None
    command = decode({"type": "set_image", "data": {}, "uploads": {"image": upload}})
    assert command.uploads == {"image": UploadReference("u", "a.txt", "text/plain", 5)}


@pytest.mark.parametrize("size", [-1, 1.5, True, "5", None])
def test_an_upload_has_a_size(size: object) -> None:
    upload = {"upload_id": "u", "name": "a.txt", "mime_type": "text/plain", "size": size}
    refused({"scope": "runtime", "data": {"type": "fileUploaded", "data": upload}})
    assert refused({"type": "set_image", "uploads": {"image": upload}}).refusal is not None


@pytest.mark.parametrize(
    "document",
    [
        {},
        {"type": ""},
        {"type": 1},
        {"type": "x" * (MAX_NAME_CHARS + 1)},
        {"scope": "application"},
        {"scope": "other", "data": {"type": "start"}},
        {"scope": ["runtime"], "data": {"type": "ping"}},
        {"scope": "runtime", "data": {"type": "shutdown", "data": {}}},
        {"scope": "runtime", "data": {"type": {}, "data": {}}},
        [],
        "null",
        "",
        b"\xff\xfe{}",
    ],
)
def test_no_answer_is_owed_to_what_nobody_asked(document: Any) -> None:
    assert refused(document).refusal is None


@pytest.mark.parametrize(
    ("duration", "reason"),
    [(0, "duration_seconds must be positive"), (-1.5, "duration_seconds must be positive")]
    + [(bad, "invalid duration_seconds") for bad in ("3", None, True, 10**400, float("nan"), float("inf"))],
)
def test_a_clip_is_refused_as_a_failed_clip(duration: object, reason: str) -> None:
    # Clip replies carry no id and are matched in order, so each request must have one.
    error = refused({"scope": "runtime", "data": {"type": "requestClip", "data": {"duration_seconds": duration}}})
    assert encode(error.refusal) == (
        Channel.DATA,
        {"scope": "runtime", "data": {"type": "clipFailed", "data": {"reason": reason}}},
    )


def test_an_unknown_control_request() -> None:
    error = refused({"type": "request", "method": "fly", "request_id": "ctrl_7", "data": {}}, Channel.CONTROL)
    assert encode(error.refusal) == (
        Channel.CONTROL,
        {
            "type": "response",
            "method": "fly",
            "request_id": "ctrl_7",
            "error": {"code": "UNKNOWN_METHOD", "message": "unknown method"},
        },
    )


def test_a_publish_request_without_a_track() -> None:
    request = {"type": "request", "method": "publish_track", "request_id": "ctrl_1", "data": {}}
    error = refused(request, Channel.CONTROL)
    assert error.refusal is not None
    assert (error.refusal.code, error.refusal.request_id) == ("invalid_request", "ctrl_1")


@pytest.mark.parametrize(
    "document",
    [
        {"type": "notification", "event": "explode", "data": {"name": "main_video"}},
        {"type": "notification", "event": ["resume_track"], "data": {"name": "main_video"}},
        {"type": "notification", "event": "resume_track", "data": {}},
        {"type": "request", "method": "publish_track", "data": {"name": "webcam"}},
        {"type": "request", "request_id": "ctrl_1", "data": {"name": "webcam"}},
        {"type": "response", "method": "publish_track", "request_id": "ctrl_1", "data": {}},
        {"scope": "runtime", "data": {"type": "ping", "data": {}}},
    ],
)
def test_control_frames_that_are_owed_nothing(document: Any) -> None:
    assert refused(document, Channel.CONTROL).refusal is None


def test_published_and_refused_tracks() -> None:
    head = {"type": "response", "method": "publish_track", "request_id": "ctrl_1"}
    assert encode(TrackPublished("webcam", "ctrl_1")) == (Channel.CONTROL, {**head, "data": {}})
    error = Refused("publish_refused", "taken", "publish_track", Channel.CONTROL, "ctrl_1")
    assert encode(error) == (Channel.CONTROL, {**head, "error": {"code": "publish_refused", "message": "taken"}})


def test_what_v0_has_no_frame_for() -> None:
    assert V0.encode(CommandAccepted("data_1")) is None
    assert V0.encode(TrackPublished("webcam")) is None
    assert V0.encode(Refused("publish_refused", "taken", "publish_track", Channel.CONTROL)) is None


def test_replies_carry_no_id() -> None:
    for message in (CLIP, ModelSchema({"openapi": "3.1.0"}, "data_1"), ModelMessage("state", {}, "data_1")):
        frame = V0.encode(message)
        assert frame is not None
        assert "request_id" not in frame.payload


def test_integers_leave_as_integers() -> None:
    frame = V0.encode(ModelMessage("state", {"session_chunk": 3, "prompt": "düne"}))
    assert frame is not None
    assert frame.payload == '{"scope":"application","data":{"type":"state","data":{"session_chunk":3,"prompt":"düne"}}}'


def test_what_cannot_leave() -> None:
    with pytest.raises(FrameError, match="larger"):
        V0.encode(ModelMessage("state", {"prompt": "x" * MAX_FRAME_BYTES}))
    with pytest.raises(ValueError, match="not JSON compliant"):
        V0.encode(ModelMessage("state", {"fps": float("nan")}))
