"""The messages of the data channels, in one form behind both codecs.

A frame that arrives becomes a `ClientMessage`; a `ServerMessage` leaves as a frame. Which bytes stand for them is
the codec's business (`wire.v0` JSON text, `wire.v1` protobuf); nothing outside `wire` sees a codec's own types.

`request_id` is the correlation id of protocol v1 (`data_1`, `ctrl_1`, …) and of v0's control requests; None where the
frame asked for no reply.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, Literal

JsonObject = Mapping[str, Any]


class Channel(StrEnum):
    """Label of a data channel."""

    DATA = "data"
    CONTROL = "control"


@dataclass(frozen=True, slots=True)
class UploadReference:
    """A file a client has put in place before the command that uses it. `size` is in bytes."""

    upload_id: str
    name: str
    mime_type: str
    size: int


# --- client to server ---------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Command:
    """A model command, not yet validated against the model's schema."""

    name: str
    data: JsonObject
    uploads: Mapping[str, UploadReference] = field(default_factory=dict)
    request_id: str | None = None


@dataclass(frozen=True, slots=True)
class Ping:
    """The client is alive. Never answered."""


@dataclass(frozen=True, slots=True)
class RequestSchema:
    """Asks for the model's OpenAPI document; answered by `ModelSchema` to the asker only."""

    request_id: str | None = None


@dataclass(frozen=True, slots=True)
class RequestCapabilities:
    """The deprecated v0 form of `RequestSchema`; answered by `ModelCapabilities`."""


@dataclass(frozen=True, slots=True)
class FileUploaded:
    """An upload is complete."""

    upload: UploadReference


@dataclass(frozen=True, slots=True)
class RequestClip:
    """Asks for the last `duration_seconds` of the session's recording."""

    duration_seconds: float
    request_id: str | None = None


@dataclass(frozen=True, slots=True)
class RequestRecording:
    """Asks for the whole recording."""

    request_id: str | None = None


@dataclass(frozen=True, slots=True)
class PublishTrack:
    """The client wants to be the publisher of an inbound track."""

    name: str
    request_id: str | None = None


@dataclass(frozen=True, slots=True)
class UnpublishTrack:
    """The client gives its publisher's slot back."""

    name: str


@dataclass(frozen=True, slots=True)
class ResumeTrack:
    """Start sending an outbound track to this connection (they start paused)."""

    name: str


@dataclass(frozen=True, slots=True)
class PauseTrack:
    """Stop sending an outbound track to this connection."""

    name: str


@dataclass(frozen=True, slots=True)
class ClientStats:
    """Telemetry of protocol v1; counts as a sign of life, otherwise ignored."""


ClientMessage = (
    Command
    | Ping
    | RequestSchema
    | RequestCapabilities
    | FileUploaded
    | RequestClip
    | RequestRecording
    | PublishTrack
    | UnpublishTrack
    | ResumeTrack
    | PauseTrack
    | ClientStats
)

# --- server to client ---------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class ModelMessage:
    """A model's message. With a `request_id` it is the reply to that command (v1); without, a broadcast."""

    type: str
    data: JsonObject
    request_id: str | None = None


@dataclass(frozen=True, slots=True)
class CommandAccepted:
    """The empty reply that ends a v1 command's turn; v0 has no such frame."""

    request_id: str


@dataclass(frozen=True, slots=True)
class ModelSchema:
    """The model's OpenAPI 3.1 document."""

    openapi: JsonObject
    request_id: str | None = None


@dataclass(frozen=True, slots=True)
class ModelCapabilities:
    """v0's deprecated reply to `RequestCapabilities`: the `capabilities` object of the session."""

    capabilities: JsonObject


@dataclass(frozen=True, slots=True)
class ClipReady:
    """A clip can be fetched. Markers are seconds of media time, `predicted_ready_at_ms` epoch milliseconds."""

    session_id: str
    kind: Literal["snap", "recording"]
    start_marker: float
    end_marker: float
    now_marker: float
    predicted_ready_at_ms: int
    playlist_url: str
    request_id: str | None = None


@dataclass(frozen=True, slots=True)
class ClipFailed:
    """No clip; `reason` is shown to the user."""

    reason: str
    request_id: str | None = None


@dataclass(frozen=True, slots=True)
class Moderation:
    """A prompt or an image was warned about, or ends the session."""

    action: Literal["warn", "terminate"]
    input_kind: Literal["text", "image"]
    command: str
    categories: tuple[str, ...]
    message: str


@dataclass(frozen=True, slots=True)
class SessionEnded:
    """The last message of a session; sent before the peer is closed."""

    reason: str


@dataclass(frozen=True, slots=True)
class TrackPublished:
    """The asker of `PublishTrack` holds the slot now."""

    name: str
    request_id: str | None = None


@dataclass(frozen=True, slots=True)
class Refused:
    """A request or command was not accepted.

    `code` is stable (`invalid_command`, `publish_refused`, …), `message` is for people. `method` is what was asked for:
    a control method of v0 (`publish_track`), or the command's name. `channel` is where the request came in.
    v0 has no error frame for commands: there the codec writes the model-level `command_error {command, reason}`.
    """

    code: str
    message: str
    method: str
    channel: Channel
    request_id: str | None = None


ServerMessage = (
    ModelMessage
    | CommandAccepted
    | ModelSchema
    | ModelCapabilities
    | ClipReady
    | ClipFailed
    | Moderation
    | SessionEnded
    | TrackPublished
    | Refused
)


class FrameError(ValueError):
    """A frame could not be read. The connection goes on; `refusal` is what to answer, None where nothing is owed."""

    def __init__(self, reason: str, refusal: Refused | None = None) -> None:
        super().__init__(reason)
        self.reason = reason
        self.refusal = refusal
