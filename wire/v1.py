"""Protocol v1 of the data channels: protobuf, one message of `reactor_wire.proto` per binary frame.

Every request carries an id and is owed one response with it, an empty one if need be. What has no id travels as a
notification.
"""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext
from dataclasses import asdict
from typing import TypeVar

from google.protobuf.message import DecodeError, Message

from wire import reactor_wire_pb2 as pb
from wire.codec import Frame
from wire.frames import (
    Channel,
    ClientMessage,
    ClientStats,
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
from wire.structs import from_struct, to_struct
from wire.values import check_arguments, check_size, duration, name, owing, plain, upload

_M = TypeVar("_M", bound=Message)


class ProtobufCodec:
    """The codec of protocol v1."""

    version = "v1"

    def decode(self, frame: Frame) -> ClientMessage:
        """Read one inbound frame.

        Raises:
            FrameError: not a message of this protocol.
        """
        if isinstance(frame.payload, str):
            raise FrameError("a text frame on a connection of protocol v1")
        check_size(frame.payload)
        if frame.channel is Channel.CONTROL:
            return _control_message(_parse(pb.ControlClientMessage(), frame.payload))
        return _data_message(_parse(pb.DataClientMessage(), frame.payload))

    def encode(self, message: ServerMessage) -> Frame | None:
        """Write one outbound message; None for those that v1 has no frame for.

        Raises:
            FrameError: the frame would be larger than a client accepts.
            ValueError: a number of the message is not finite.
        """
        match message:
            case ModelMessage(type=kind, data=data):
                reply = pb.DataServerMessage(message=pb.ModelMessage(type=kind, data=to_struct(data)))
                return _frame(reply, message.request_id)
            case CommandAccepted():
                return _frame(pb.DataServerMessage(), message.request_id)
            case Refused():
                return _refusal(message)
            case ModelSchema(openapi=openapi):
                schema = pb.ModelSchema(openapi=to_struct(openapi))
                return _frame(pb.ControlServerMessage(model_schema=schema), message.request_id)
            case ClipReady():
                return _frame(pb.ControlServerMessage(clip_ready=_clip(message)), message.request_id)
            case ClipFailed(reason=reason):
                failed = pb.ClipFailed(reason=reason)
                return _frame(pb.ControlServerMessage(clip_failed=failed), message.request_id)
            case TrackPublished(name=track):
                published = pb.TrackName(name=track)
                return _frame(pb.ControlServerMessage(publish_track=published), message.request_id)
            case Moderation():
                return _frame(pb.ControlServerMessage(moderation=pb.Moderation(**asdict(message))))
            case SessionEnded(reason=reason):
                return _frame(pb.ControlServerMessage(session_ended=pb.SessionEnded(reason=reason)))
            case ModelCapabilities():
                return None


# --- reading ------------------------------------------------------------------------------------------------------


def _parse(message: _M, payload: bytes) -> _M:
    try:
        message.ParseFromString(payload)
    except DecodeError:
        raise FrameError("not protobuf") from None
    return message


def _control_message(message: pb.ControlClientMessage) -> ClientMessage:
    request_id = _request_id(message)
    payload = message.WhichOneof("payload")
    match payload:
        case "ping":
            return Ping()
        case "client_stats":
            return ClientStats()
        case "request_schema":
            return RequestSchema(request_id)
        case "request_recording":
            return RequestRecording(request_id)
        case "request_clip":
            with _owed("invalid_request", payload, Channel.CONTROL, request_id):
                return RequestClip(duration(message.request_clip.duration_seconds), request_id)
        case "publish_track":
            with _owed("invalid_request", payload, Channel.CONTROL, request_id):
                return PublishTrack(name(message.publish_track.name, "track"), request_id)
        case "unpublish_track":
            return UnpublishTrack(name(message.unpublish_track.name, "track"))
        case "pause_track":
            return PauseTrack(name(message.pause_track.name, "track"))
        case "resume_track":
            return ResumeTrack(name(message.resume_track.name, "track"))
        case "file_uploaded":
            return FileUploaded(_upload(message.file_uploaded))
        case _:
            raise _unknown(payload, Channel.CONTROL, request_id)


def _data_message(message: pb.DataClientMessage) -> Command:
    request_id = _request_id(message)
    payload = message.WhichOneof("payload")
    if payload != "command":
        raise _unknown(payload, Channel.DATA, request_id)
    command = message.command
    with _owed("invalid_command", command.type, Channel.DATA, request_id):
        kind = name(command.type, "command")
        data = plain(from_struct(command.data))
        uploads = {name(key, "upload"): _upload(value) for key, value in command.uploads.items()}
        check_arguments(data, uploads)
    return Command(kind, data, uploads, request_id)


def _request_id(message: pb.ControlClientMessage | pb.DataClientMessage) -> str | None:
    match message.kind:
        case pb.MESSAGE_KIND_REQUEST:
            return name(message.request_id, "request_id")
        case pb.MESSAGE_KIND_NOTIFICATION:
            return None
        case _:
            raise FrameError("neither a request nor a notification")


def _owed(code: str, method: str, channel: Channel, request_id: str | None) -> AbstractContextManager[None]:
    """A request is owed an answer, a notification is not."""
    return nullcontext() if request_id is None else owing(Refused(code, "", method, channel, request_id))


def _unknown(payload: str | None, channel: Channel, request_id: str | None) -> FrameError:
    if request_id is None:
        return FrameError("unknown notification")
    return FrameError(
        "unknown request", Refused("unknown_method", "unknown method", payload or "", channel, request_id)
    )


def _upload(reference: pb.UploadReference) -> UploadReference:
    return upload(reference.upload_id, reference.name, reference.mime_type, reference.size)


# --- writing ------------------------------------------------------------------------------------------------------


def _refusal(refused: Refused) -> Frame:
    error = pb.Error(code=refused.code, message=refused.message)
    if refused.channel is Channel.CONTROL:
        return _frame(pb.ControlServerMessage(error=error), refused.request_id)
    return _frame(pb.DataServerMessage(error=error), refused.request_id)


def _clip(message: ClipReady) -> pb.ClipReady:
    fields = asdict(message)
    del fields["request_id"]
    return pb.ClipReady(**fields)


def _frame(message: pb.ControlServerMessage | pb.DataServerMessage, request_id: str | None = None) -> Frame:
    if request_id is None:
        message.kind = pb.MESSAGE_KIND_NOTIFICATION
    else:
        message.kind = pb.MESSAGE_KIND_RESPONSE
        message.request_id = request_id
    payload = message.SerializeToString()
    check_size(payload)
    return Frame(Channel.DATA if isinstance(message, pb.DataServerMessage) else Channel.CONTROL, payload)
