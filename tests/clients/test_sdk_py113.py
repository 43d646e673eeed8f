"""`reactor-sdk` 1.13.0: native libwebrtc, binary protocol v1, VP8 only."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import pytest
from checks import check_clips, check_echo, check_messages, check_pictures, check_session_is_over

from tests.support.server import Server

pytestmark = pytest.mark.clients

COMMAND = [sys.executable, str(Path(__file__).parent / "py113.py")]


def test_plays_a_storyboard(server: Server, play: Any) -> None:
    events = play(COMMAND, "longlive-v2", [])
    check_messages(events)
    check_pictures(events, missing=0.3)
    check_session_is_over(server, events)


def test_publishes_a_webcam_to_echo(server: Server, play: Any) -> None:
    events = play(COMMAND, "echo", [])
    check_echo(events)
    check_session_is_over(server, events)


def test_downloads_a_clip_and_the_recording(server: Server, play: Any, tmp_path: Path) -> None:
    events = play([*COMMAND, "--clips", str(tmp_path)], "longlive-v2", [])
    check_clips(events, tmp_path)
    check_session_is_over(server, events)
