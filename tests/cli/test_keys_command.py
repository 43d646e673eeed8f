"""`longlive-cluster keys`, over a Redis that is set."""

from __future__ import annotations

import os

import pytest
from rich.console import Console
from typer.testing import CliRunner, Result

from cli.main import app
from cluster.redis_server import EmbeddedRedis

pytestmark = pytest.mark.fast


@pytest.fixture(autouse=True)
def environment(monkeypatch: pytest.MonkeyPatch, redis_server: EmbeddedRedis, request: pytest.FixtureRequest) -> None:
    monkeypatch.setenv("LLC_REDIS_URL", redis_server.url)
    monkeypatch.setenv("LLC_CLUSTER", f"test-keys-{os.getpid()}-{request.node.name}")
    monkeypatch.setattr("cli.main.console", Console(width=200))


def keys(*arguments: str) -> Result:
    return CliRunner().invoke(app, ["keys", *arguments])


def made(*arguments: str) -> tuple[str, str]:
    result = keys("create", *arguments)
    assert result.exit_code == 0, result.output
    return result.stderr.split()[0], result.stdout.strip()


def test_a_secret_is_alone_on_stdout():
    key_id, raw = made("laptop")
    assert key_id.startswith("key_")
    assert raw.startswith("rk_")
    rotated = keys("rotate", key_id)
    assert rotated.exit_code == 0
    assert rotated.stdout.strip().startswith("rk_")
    assert rotated.stdout.strip() != raw
    assert "86400 s" in rotated.stderr
    assert raw not in keys("list").output
    assert rotated.stdout.strip() not in keys("list").output


def limits_of(key_id: str) -> tuple[str, ...]:
    """The last four columns of its line: sessions, seconds of one, creations a minute, priority."""
    (line,) = (line for line in keys("list").stdout.splitlines() if key_id in line)
    return tuple(cell.strip() for cell in line.split("│")[5:9])


def test_limits_are_shown_changed_and_taken_away():
    key_id, _ = made("laptop", "--max-sessions", "2", "--max-session-s", "600")
    assert limits_of(key_id) == ("2", "600", "-", "-")
    assert keys("limit", key_id, "--max-creations-per-minute", "7", "--priority", "high").exit_code == 0
    assert limits_of(key_id) == ("-", "-", "7", "high")


@pytest.mark.parametrize("command", ["rotate", "limit", "revoke"])
def test_an_unknown_key_is_said_to_be_one(command: str):
    result = keys(command, "key_of_nobody")
    assert result.exit_code == 1
    assert "no key key_of_nobody" in result.stderr


@pytest.mark.parametrize(
    "arguments",
    [
        ["--max-sessions", "-1"],
        ["--max-session-s", "0"],
        ["--max-session-s", "86401"],
        ["--max-creations-per-minute", "0"],
        ["--priority", "urgent"],
    ],
)
def test_limits_that_are_none_are_refused(arguments: list[str]):
    assert keys("create", "laptop", *arguments).exit_code == 2
    assert keys("rotate", "key_x", "--grace", "-1").exit_code == 2
