"""What a viewer may ask for: every message there is has an answer to that."""

from __future__ import annotations

from typing import get_args

import pytest

from cluster.roles import refusal
from wire import frames
from wire.frames import Channel, ClientMessage, ClipFailed, Refused, UploadReference
from wire.http import FORBIDDEN_ROLE, Role

pytestmark = pytest.mark.fast

REFERENCE = UploadReference("6f0b8a52-0000-4000-8000-000000000001", "dog.png", "image/png", 9)
ALLOWED = [
    frames.Ping(),
    frames.ClientStats(),
    frames.RequestSchema("ctrl_1"),
    frames.RequestCapabilities(),
    frames.RequestClip(5.0, "ctrl_1"),
    frames.ResumeTrack("main_video"),
    frames.PauseTrack("main_video"),
    frames.FileUploaded(REFERENCE),
    frames.UnpublishTrack("webcam"),
]
REFUSED = [
    frames.Command("start", {}, request_id="data_1"),
    frames.PublishTrack("webcam", "ctrl_2"),
    frames.RequestRecording("ctrl_3"),
]


def test_every_message_is_decided_on() -> None:
    assert {type(message) for message in (*ALLOWED, *REFUSED)} == set(get_args(ClientMessage))


@pytest.mark.parametrize("message", [*ALLOWED, *REFUSED])
def test_a_director_asks_for_anything(message: ClientMessage) -> None:
    assert refusal(Role.DIRECTOR, message) is None


@pytest.mark.parametrize("message", ALLOWED)
def test_a_viewer_asks_for_what_changes_nothing(message: ClientMessage) -> None:
    assert refusal(Role.VIEWER, message) is None


def test_a_viewer_is_refused_under_the_name_and_id_of_what_it_asked_for() -> None:
    command, track, recording = (refusal(Role.VIEWER, message) for message in REFUSED)
    assert isinstance(command, Refused)
    assert (command.code, command.method, command.request_id) == (FORBIDDEN_ROLE, "start", "data_1")
    assert command.channel is Channel.DATA
    assert isinstance(track, Refused)
    assert (track.code, track.method, track.request_id) == (FORBIDDEN_ROLE, "publish_track", "ctrl_2")
    assert track.channel is Channel.CONTROL
    assert isinstance(recording, ClipFailed)
    assert recording.request_id == "ctrl_3"
