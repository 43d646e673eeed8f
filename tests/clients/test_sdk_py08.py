"""`reactor-sdk` 0.8.0: pure Python on aiortc, JSON protocol v0, H.264 first. Lives in an environment of its own."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from checks import check_clips, check_echo, check_messages, check_pictures, check_session_is_over
from scenario import messages

from tests.support.server import Server

pytestmark = pytest.mark.clients

PYTHON = Path(__file__).parents[2] / ".venv-reactor-0.8" / "bin" / "python"
COMMAND = [str(PYTHON), str(Path(__file__).parent / "py08.py")]


def test_plays_a_storyboard(server: Server, play: Any) -> None:
    events = play(COMMAND, "longlive-v2", [PYTHON])
    check_messages(events)
    check_pictures(events, missing=0.1)
    check_session_is_over(server, events)
    assert all(type(chunk["session_chunk"]) is int for chunk in messages(events, "chunk_complete"))


def test_publishes_a_webcam_to_echo(server: Server, play: Any) -> None:
    events = play(COMMAND, "echo", [PYTHON])
    check_echo(events)
    check_session_is_over(server, events)


def test_downloads_a_clip_and_the_recording(server: Server, play: Any, tmp_path: Path) -> None:
    events = play([*COMMAND, "--clips", str(tmp_path)], "longlive-v2", [PYTHON])
    check_clips(events, tmp_path)
    check_session_is_over(server, events)
