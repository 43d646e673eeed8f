"""Runs a published client as a program of its own against the session's server."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
from scenario import Event

from tests.support.server import Server

PlayClient = Callable[..., list[Event]]

LIMIT_S = 45


@pytest.fixture
def play(server: Server) -> PlayClient:
    """`play(command, model, needs)`: the events of the client started by `command`, which needs the paths `needs`."""

    def run(command: list[str], model: str, needs: list[Path]) -> list[Event]:
        for path in needs:
            if not path.exists():
                pytest.fail(f"{path} is missing: `make clients` installs it", pytrace=False)
        arguments = ["--url", server.url, "--api-key", server.api_key, "--model", model, "--limit", str(LIMIT_S)]
        done = subprocess.run([*command, *arguments], capture_output=True, text=True, timeout=LIMIT_S + 10, check=False)
        events = [json.loads(line) for line in done.stdout.splitlines()]
        if done.returncode != 0:
            pytest.fail(f"{_story(events)}\n{done.stderr[-2000:]}", pytrace=False)
        return events

    return run


def _story(events: list[Event]) -> str:
    """The end of the log without its pictures, for people."""
    pictures = sum(event["event"] == "frame" for event in events)
    words = [json.dumps(event) for event in events if event["event"] != "frame"]
    return "\n".join([f"{pictures} pictures and", *words[-12:]])
