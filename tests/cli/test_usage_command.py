"""`longlive-cluster usage`, over a Redis that is set."""

from __future__ import annotations

import asyncio
import json
import os
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from redis.asyncio import Redis
from rich.console import Console
from typer.testing import CliRunner, Result

from cli.main import app
from cluster.ledger import Ledger
from cluster.redis_server import EmbeddedRedis
from cluster.settings import PoolSettings, Settings
from cluster.stay import Stay
from cluster.usage import State, UsageStore
from tests.support.clock import FakeClock
from tests.support.grants import granted

pytestmark = pytest.mark.fast

NOON = 1_795_176_000.0
DAY = "2026-11-20"
"""That of `NOON`."""


async def play(url: str, at: float) -> None:
    """One account has a session of `echo` for 90 s, another one waits for it."""
    async with Redis.from_url(url) as redis:
        wall, monotonic = FakeClock(), FakeClock()
        wall.now = at
        ledger = Ledger(UsageStore(redis, Settings()), wall=wall, monotonic=monotonic)
        stay = Stay(ledger, granted(tenant="key_player"), PoolSettings(model="echo", num_gpus=1, sessions_per_worker=2))
        stay.watched(True)
        stay.playing(True)
        monotonic.advance(90)
        stay.made(29, 0.25)
        stay.stop()
        ledger.add("key_player", "echo", "sessions", 1)
        ledger.spent("key_waiter", "longlive-v2", State.WAITING, 4500)
        await ledger.write()


@pytest.fixture(autouse=True)
def played(monkeypatch: pytest.MonkeyPatch, redis_server: EmbeddedRedis, request: pytest.FixtureRequest) -> None:
    monkeypatch.setenv("LLC_REDIS_URL", redis_server.url)
    monkeypatch.setenv("LLC_CLUSTER", f"test-usage-{os.getpid()}-{request.node.name}")
    monkeypatch.setattr("cli.main.console", Console(width=200))
    asyncio.run(play(redis_server.url, NOON))


def usage(*arguments: str) -> Result:
    return CliRunner().invoke(app, ["usage", *arguments])


def test_what_was_played_is_in_the_csv_of_its_day():
    result = usage("--day", DAY, "--format", "csv")
    assert result.exit_code == 0
    head, player, waiter = result.stdout.splitlines()
    assert head == (
        "day,account,model,sessions,generating_s,paused_s,orphaned_s,waiting_s,"
        "gpu_generating_s,gpu_paused_s,gpu_orphaned_s,gpu_s,busy_s,chunks,frames"
    )
    assert player == f"{DAY},key_player,echo,1,90.0,0.0,0.0,0.0,45.0,0.0,0.0,45.0,0.25,1,29"
    assert waiter == f"{DAY},key_waiter,longlive-v2,0,0.0,0.0,0.0,4.5,0.0,0.0,0.0,0.0,0.0,0,0"
    one = usage("--day", DAY, "--format", "csv", "--account", "key_waiter")
    assert one.stdout.splitlines() == [head, waiter]
    nothing = usage("--day", "2026-11-19", "--format", "csv")
    assert (nothing.exit_code, nothing.stdout.splitlines()) == (0, [head]), "a file of such a day has its head"


def test_without_a_day_it_is_yesterday(redis_server: EmbeddedRedis):
    now = datetime.now(UTC)
    for days in (0, 1, 2):  # by the test's end, midnight may have passed
        asyncio.run(play(redis_server.url, (now - timedelta(days=days)).timestamp()))
    said = {json.loads(line)["day"] for line in usage("--format", "json").stdout.splitlines()}
    assert said <= {str((now - timedelta(days=days)).date()) for days in (0, 1)}
    assert len(said) == 1


def test_json_has_the_same_and_numbers_are_numbers():
    found = [json.loads(line) for line in usage("--day", DAY, "--format", "json").stdout.splitlines()]
    assert [(each["account"], each["gpu_s"], each["frames"]) for each in found] == [
        ("key_player", 45.0, 29),
        ("key_waiter", 0.0, 0),
    ]


def test_the_table_is_for_people():
    result = usage("--day", DAY)
    (line,) = (line for line in result.stdout.splitlines() if "key_player" in line)
    assert [cell.strip() for cell in line.split("│")[1:-1]] == [
        *("key_player", "echo", "1", "90.0", "0.0", "0.0", "0.0", "45.0", "0.2", "1", "29")
    ]


def test_a_file_a_day_is_written_whole(tmp_path: Path):
    for _ in range(2):
        result = usage("--day", DAY, "--format", "csv", "--folder", str(tmp_path))
        assert result.exit_code == 0, result.output
    (file,) = tmp_path.iterdir()
    assert file.name == f"usage-{DAY}.csv"
    assert result.stdout.strip() == str(file)
    assert file.read_text() == usage("--day", DAY, "--format", "csv").stdout


@pytest.mark.parametrize(
    ("arguments", "code"),
    [
        (["--day", "20.11.2026"], 2),
        (["--day", "2026-02-30"], 2),
        (["--format", "xml"], 2),
        (["--folder", "/nowhere", "--format", "csv"], 2),
        (["--folder", "/tmp"], 1),
    ],
)
def test_what_it_cannot_do_is_refused(arguments: list[str], code: int):
    assert usage(*arguments).exit_code == code


def test_a_redis_that_does_not_answer_is_said(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("LLC_REDIS_URL", "redis://127.0.0.1:1/0")
    result = usage()
    assert result.exit_code == 1
    assert "Redis does not answer" in result.stderr
