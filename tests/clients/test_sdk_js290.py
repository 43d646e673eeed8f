"""`@reactor-team/js-sdk` 2.9.0 in Chromium: the flat signalling path, no control channel, every call cross-origin."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import pytest
from checks import check_echo, check_messages, check_pictures, check_session_is_over
from scenario import CHROMIUM

from tests.support.server import Server

pytestmark = pytest.mark.clients

FOLDER = Path(__file__).parent / "js290"
COMMAND = [sys.executable, str(FOLDER / "drive.py")]
NEEDS = [Path(CHROMIUM), FOLDER / "dist" / "page.js"]


def test_plays_a_storyboard(server: Server, play: Any) -> None:
    events = play(COMMAND, "longlive-v2", NEEDS)
    check_messages(events)
    check_pictures(events, missing=0.3)
    check_session_is_over(server, events)


def test_publishes_a_webcam_to_echo(server: Server, play: Any) -> None:
    events = play(COMMAND, "echo", NEEDS)
    check_echo(events)
    check_session_is_over(server, events)
