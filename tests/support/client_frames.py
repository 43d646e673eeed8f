"""The clients' half of both protocols, written from the field tables and not from the codecs under test."""

from __future__ import annotations

import json
from dataclasses import asdict
from typing import Any

from google.protobuf import json_format

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
)

TRACK_EVENTS = {ResumeTrack: "resume_track", PauseTrack: "pause_track", UnpublishTrack: "unpublish_track"}


# --- v0 ------------------------------------------------------------------------------------------------------------


def write_v0(message: ClientMessage) -> Frame:
    match message:
        case Command(name=name, data=data, uploads=uploads):
            inner: dict[str, Any] = {"type": name, "data": data}
            if uploads:
                inner["uploads"] = {key: asdict(value) for key, value in uploads.items()}
            return _json(Channel.DATA, {"scope": "application", "data": inner})
        case Ping():
            return _runtime("ping", {})
        case RequestSchema():
            return _runtime("requestSchema", {})
        case RequestCapabilities():
            return _runtime("requestCapabilities", {})
        case FileUploaded(upload=upload):
            return _runtime("fileUploaded", asdict(upload))
        case RequestClip(duration_seconds=seconds):
            return _runtime("requestClip", {"duration_seconds": seconds})
        case RequestRecording():
            return _runtime("requestRecording", {})
        case PublishTrack(name=name, request_id=request_id):
            request = {"type": "request", "method": "publish_track", "request_id": request_id, "data": {"name": name}}
            return _json(Channel.CONTROL, request)
        case ResumeTrack(name=name) | PauseTrack(name=name) | UnpublishTrack(name=name):
            event = TRACK_EVENTS[type(message)]
            return _json(Channel.CONTROL, {"type": "notification", "event": event, "data": {"name": name}})
        case ClientStats():
            raise AssertionError("not of v0")


def read_v0(frame: Frame) -> Any:
    """A server message as a v0 client sees it; a `ServerMessage` where v0 carries all of one."""
    document = json.loads(frame.payload)
    if frame.channel is Channel.CONTROL:
        assert document.pop("type") == "response"
        return document
    inner = document["data"]
    kind, data = inner["type"], inner["data"]
    if document["scope"] == "application":
        return ModelMessage(kind, data)
    match kind:
        case "modelSchema":
            return ModelSchema(data)
        case "modelCapabilities":
            return ModelCapabilities(data)
        case "clipReady":
            return ClipReady(**data)
        case "clipFailed":
            return ClipFailed(**data)
        case "moderation":
            return Moderation(**{**data, "categories": tuple(data["categories"])})
        case "sessionEnded":
            return SessionEnded(**data)
    raise AssertionError(kind)


def _runtime(kind: str, data: Any) -> Frame:
    return _json(Channel.DATA, {"scope": "runtime", "data": {"type": kind, "data": data}})


def _json(channel: Channel, document: Any) -> Frame:
    return Frame(channel, json.dumps(document))


# --- v1 ------------------------------------------------------------------------------------------------------------


def write_v1(message: ClientMessage) -> Frame:
    match message:
        case Command(name=name, data=data, uploads=uploads, request_id=request_id):
            command = pb.Command(type=name, uploads={key: _upload(value) for key, value in uploads.items()})
            command.data.update(dict(data))
            command.data.SetInParent()
            return _v1(pb.DataClientMessage(command=command), request_id)
        case Ping():
            return _v1(pb.ControlClientMessage(ping=pb.Ping()), None)
        case ClientStats():
            return _v1(pb.ControlClientMessage(client_stats=pb.ClientStats()), None)
        case RequestSchema(request_id=request_id):
            return _v1(pb.ControlClientMessage(request_schema=pb.RequestSchema()), request_id)
        case RequestRecording(request_id=request_id):
            return _v1(pb.ControlClientMessage(request_recording=pb.RequestRecording()), request_id)
        case RequestClip(duration_seconds=seconds, request_id=request_id):
            clip = pb.RequestClip(duration_seconds=seconds)
            return _v1(pb.ControlClientMessage(request_clip=clip), request_id)
        case FileUploaded(upload=upload):
            return _v1(pb.ControlClientMessage(file_uploaded=_upload(upload)), None)
        case PublishTrack(name=name, request_id=request_id):
            return _v1(pb.ControlClientMessage(publish_track=pb.TrackName(name=name)), request_id)
        case ResumeTrack(name=name) | PauseTrack(name=name) | UnpublishTrack(name=name):
            track = {TRACK_EVENTS[type(message)]: pb.TrackName(name=name)}
            return _v1(pb.ControlClientMessage(**track), None)
        case RequestCapabilities():
            raise AssertionError("not of v1")


def read_v1(frame: Frame) -> ServerMessage:
    """A server message as a v1 client sees it; of a refusal, its `method` is not told."""
    envelope = pb.DataServerMessage() if frame.channel is Channel.DATA else pb.ControlServerMessage()
    envelope.ParseFromString(frame.payload)
    answers = envelope.kind == pb.MESSAGE_KIND_RESPONSE
    assert answers or envelope.kind == pb.MESSAGE_KIND_NOTIFICATION
    assert answers == bool(envelope.request_id)
    request_id = envelope.request_id or None
    kind = envelope.WhichOneof("payload")
    if kind is None:
        return CommandAccepted(request_id)
    payload = getattr(envelope, kind)
    match kind:
        case "message":
            return ModelMessage(payload.type, json_format.MessageToDict(payload.data), request_id)
        case "model_schema":
            return ModelSchema(json_format.MessageToDict(payload.openapi), request_id)
        case "clip_ready":
            return ClipReady(**_fields(payload), request_id=request_id)
        case "clip_failed":
            return ClipFailed(payload.reason, request_id)
        case "publish_track":
            return TrackPublished(payload.name, request_id)
        case "moderation":
            return Moderation(**{**_fields(payload), "categories": tuple(payload.categories)})
        case "session_ended":
            return SessionEnded(payload.reason)
        case "error":
            return Refused(payload.code, payload.message, "", frame.channel, request_id)
    raise AssertionError(kind)


def _fields(payload: Any) -> dict[str, Any]:
    return {field.name: getattr(payload, field.name) for field in payload.DESCRIPTOR.fields}


def _upload(upload: Any) -> pb.UploadReference:
    return pb.UploadReference(**asdict(upload))


def _v1(envelope: Any, request_id: str | None) -> Frame:
    envelope.kind = pb.MESSAGE_KIND_NOTIFICATION if request_id is None else pb.MESSAGE_KIND_REQUEST
    envelope.request_id = request_id or ""
    channel = Channel.DATA if isinstance(envelope, pb.DataClientMessage) else Channel.CONTROL
    return Frame(channel, envelope.SerializeToString())
