"""Protocol v0 of the data channels: JSON text.

On `data` every frame is an envelope `{scope, data: {type, data, uploads?}}`; scope `application` is the model's,
`runtime` the session's. A bare `{type, data}` is the model's too. On `control` there are requests with an id, their
responses, and notifications.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

from wire.codec import Frame
from wire.frames import (
    Channel,
    ClientMessage,
    ClipFailed,
    ClipReady,
    Command,
    CommandAccepted,
    FileUploaded,
    FrameError,
    ModelCapabilities,
    ModelMessage,
    ModelSchema,
    Moderation,
    PauseTrack,
    Ping,
    PublishTrack,
    Refused,
    RequestCapabilities,
    RequestClip,
    RequestRecording,
    RequestSchema,
    ResumeTrack,
    ServerMessage,
    SessionEnded,
    TrackPublished,
    UnpublishTrack,
    UploadReference,
)
from wire.values import check_arguments, check_size, duration, name, owing, plain, upload

_CLIP_REQUESTS = frozenset({"requestClip", "requestRecording"})
_TRACK_EVENTS: dict[str, type[ResumeTrack] | type[PauseTrack] | type[UnpublishTrack]] = {
    "resume_track": ResumeTrack,
    "pause_track": PauseTrack,
    "unpublish_track": UnpublishTrack,
}


class JsonCodec:
    """The codec of protocol v0. Commands and clip requests carry no id here, so replies to them carry none."""

    version = "v0"

    def decode(self, frame: Frame) -> ClientMessage:
        """Read one inbound frame, text or UTF-8 in a binary frame.

        Raises:
            FrameError: not a message of this protocol.
        """
        document = _parse(frame.payload)
        return _control_message(document) if frame.channel is Channel.CONTROL else _data_message(document)

    def encode(self, message: ServerMessage) -> Frame | None:
        """Write one outbound message; None for those that v0 has no frame for.

        Raises:
            FrameError: the frame would be larger than a client accepts.
            ValueError: a number of the message is not finite.
        """
        match message:
            case ModelMessage(type=kind, data=data):
                return _application(kind, data)
            case ModelSchema(openapi=openapi):
                return _runtime("modelSchema", openapi)
            case ModelCapabilities(capabilities=capabilities):
                return _runtime("modelCapabilities", capabilities)
            case ClipReady():
                return _runtime("clipReady", _without_id(message))
            case ClipFailed(reason=reason):
                return _runtime("clipFailed", {"reason": reason})
            case Moderation():
                return _runtime("moderation", asdict(message))
            case SessionEnded(reason=reason):
                return _runtime("sessionEnded", {"reason": reason})
            case TrackPublished(request_id=request_id):
                return _response("publish_track", request_id, data={})
            case Refused():
                return _refusal(message)
            case CommandAccepted():
                return None


# --- reading ------------------------------------------------------------------------------------------------------


def _parse(payload: str | bytes) -> dict[str, Any]:
    check_size(payload)
    try:
        document = json.loads(payload if isinstance(payload, str) else payload.decode())
    except (ValueError, RecursionError):
        # ValueError is every fault of the text, UnicodeDecodeError and integers of thousands of digits included.
        raise FrameError("not JSON") from None
    return _object(document, "frame")


def _data_message(document: dict[str, Any]) -> ClientMessage:
    if "scope" not in document:
        return _command(document)
    inner = _object(document.get("data"), "data")
    match document["scope"]:
        case "application":
            return _command(inner)
        case "runtime":
            return _runtime_message(inner)
        case _:
            raise FrameError("unknown scope")


def _command(inner: dict[str, Any]) -> Command:
    command = name(inner.get("type"), "command")
    with owing(Refused("invalid_command", "", command, Channel.DATA)):
        data = _object(plain(inner.get("data")), "data", absent={})
        references = _object(inner.get("uploads"), "uploads", absent={})
        uploads = {name(key, "upload"): _upload(_object(value, "upload")) for key, value in references.items()}
        check_arguments(data, uploads)
    return Command(command, data, uploads)


def _runtime_message(inner: dict[str, Any]) -> ClientMessage:
    data = _object(inner.get("data"), "data", absent={})
    match inner.get("type"):
        case "ping":
            return Ping()
        case "requestSchema":
            return RequestSchema()
        case "requestCapabilities":
            return RequestCapabilities()
        case "fileUploaded":
            return FileUploaded(_upload(data))
        case "requestClip":
            with owing(Refused("invalid_request", "", "requestClip", Channel.DATA)):
                return RequestClip(duration(data.get("duration_seconds")))
        case "requestRecording":
            return RequestRecording()
        case _:
            raise FrameError("unknown runtime message")


def _control_message(document: dict[str, Any]) -> ClientMessage:
    match document.get("type"):
        case "request":
            return _control_request(document)
        case "notification":
            event = document.get("event")
            if not isinstance(event, str) or event not in _TRACK_EVENTS:
                raise FrameError("unknown control event")
            return _TRACK_EVENTS[event](_track(document))
        case _:
            raise FrameError("unknown control message")


def _control_request(document: dict[str, Any]) -> PublishTrack:
    request_id = name(document.get("request_id"), "request_id")
    method = name(document.get("method"), "method")
    if method != "publish_track":
        refusal = Refused("UNKNOWN_METHOD", "unknown method", method, Channel.CONTROL, request_id)
        raise FrameError("unknown control method", refusal)
    with owing(Refused("invalid_request", "", method, Channel.CONTROL, request_id)):
        return PublishTrack(_track(document), request_id)


def _track(document: dict[str, Any]) -> str:
    return name(_object(document.get("data"), "data").get("name"), "track")


def _upload(data: dict[str, Any]) -> UploadReference:
    return upload(data.get("upload_id"), data.get("name"), data.get("mime_type"), data.get("size"))


def _object(value: Any, what: str, absent: dict[str, Any] | None = None) -> dict[str, Any]:
    if value is None and absent is not None:
        return absent
    if not isinstance(value, dict):
        raise FrameError(f"{what}: expected an object")
    return value


# --- writing ------------------------------------------------------------------------------------------------------


def _application(kind: str, data: Mapping[str, Any]) -> Frame:
    return _envelope("application", kind, data)


def _runtime(kind: str, data: Mapping[str, Any]) -> Frame:
    return _envelope("runtime", kind, data)


def _envelope(scope: str, kind: str, data: Mapping[str, Any]) -> Frame:
    return _frame(Channel.DATA, {"scope": scope, "data": {"type": kind, "data": dict(data)}})


def _refusal(refused: Refused) -> Frame | None:
    if refused.channel is Channel.CONTROL:
        error = {"code": refused.code, "message": refused.message}
        return _response(refused.method, refused.request_id, error=error)
    if refused.method in _CLIP_REQUESTS:
        return _runtime("clipFailed", {"reason": refused.message})
    return _application("command_error", {"command": refused.method, "reason": refused.message})


def _response(method: str, request_id: str | None, **outcome: Mapping[str, str]) -> Frame | None:
    if request_id is None:
        return None
    return _frame(Channel.CONTROL, {"type": "response", "method": method, "request_id": request_id, **outcome})


def _without_id(message: ClipReady) -> dict[str, Any]:
    fields = asdict(message)
    del fields["request_id"]
    return fields


def _frame(channel: Channel, document: dict[str, Any]) -> Frame:
    payload = json.dumps(document, ensure_ascii=False, separators=(",", ":"), allow_nan=False)
    check_size(payload)
    return Frame(channel, payload)
