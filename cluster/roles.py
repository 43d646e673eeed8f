"""What a connection may ask for by the role of its token: a director everything, a viewer what changes nothing."""

from __future__ import annotations

from typing import assert_never

from wire.frames import (
    Channel,
    ClientMessage,
    ClientStats,
    ClipFailed,
    Command,
    FileUploaded,
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
    UnpublishTrack,
)
from wire.http import FORBIDDEN_ROLE, Role

COMMANDS = "viewers send no commands"
TRACKS = "viewers publish no tracks"
RECORDINGS = "viewers have clips, not the recording"


def refusal(role: Role, message: ClientMessage) -> ServerMessage | None:
    """What is answered instead of doing what is asked for; None where the role allows it."""
    if role is Role.DIRECTOR:
        return None
    match message:
        case Command(name=name, request_id=request_id):
            return Refused(FORBIDDEN_ROLE, COMMANDS, name, Channel.DATA, request_id)
        case PublishTrack(request_id=request_id):
            return Refused(FORBIDDEN_ROLE, TRACKS, "publish_track", Channel.CONTROL, request_id)
        case RequestRecording(request_id=request_id):  # from then on nothing of it would be dropped
            return ClipFailed(RECORDINGS, request_id)
        case RequestSchema() | RequestCapabilities() | RequestClip() | ResumeTrack() | PauseTrack():
            return None
        case Ping() | ClientStats() | FileUploaded() | UnpublishTrack():  # mean nothing from who has nothing
            return None
        case _:
            assert_never(message)
