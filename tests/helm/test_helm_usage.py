"""The CronJob that writes the usage of a day: its command and its environment are enough for the programme."""

from __future__ import annotations

import asyncio
import os
import shlex
from datetime import UTC, datetime, time
from pathlib import Path
from typing import Any

import pytest
from redis.asyncio import Redis
from typer.testing import CliRunner

from cli.main import app
from cli.usage import yesterday
from cluster.ledger import Ledger
from cluster.redis_server import EmbeddedRedis
from cluster.settings import Settings
from cluster.usage import State, UsageStore
from tests.helm.chart import Object, Refused, containers, objects, of_kind, pods, with_values
from tests.helm.environment import environment

pytestmark = pytest.mark.slow


def exported(**values: Any) -> tuple[Object, list[Object]]:
    """Its one container, and the manifest."""
    found = objects(with_values({"usageExport": {"enabled": True} | values}))
    (pod,) = (pod for name, pod in pods(found) if name.startswith("CronJob/"))
    (container,) = containers(pod)
    return container, found


def test_it_is_off_unless_it_is_asked_for():
    assert of_kind(objects(with_values({})), "CronJob") == []


def test_names_are_never_too_long():
    long = {"fullnameOverride": "a" * 47, "usageExport": {"enabled": True}}
    (job,) = of_kind(objects(with_values(long)), "CronJob")
    assert len(job["metadata"]["name"]) == 52


def test_it_is_given_redis_and_nothing_else():
    """No API keys, no signing secrets: their settings would want each other."""
    container, found = exported()
    url = {"LLC_REDIS_URL": "redis://llc-longlive-cluster-redis:6379/0"}
    assert environment(container, found) == {"HOME": "/tmp"} | url
    named = objects(with_values({"usageExport": {"enabled": True}, "settings": {"cluster": "east"}}))
    (pod,) = (pod for name, pod in pods(named) if name.startswith("CronJob/"))
    assert environment(containers(pod)[0], named) == {"HOME": "/tmp", "LLC_CLUSTER": "east"} | url


async def _played(redis_url: str, settings: Settings) -> None:
    async with Redis.from_url(redis_url) as redis:
        noon = datetime.combine(yesterday(), time(12), UTC).timestamp()
        ledger = Ledger(UsageStore(redis, settings), wall=lambda: noon)
        ledger.spent("key_player", "echo", State.GENERATING, 90_000)
        await ledger.write()


def test_its_command_writes_the_file_of_yesterday(
    monkeypatch: pytest.MonkeyPatch, redis_server: EmbeddedRedis, tmp_path: Path
):
    container, _ = exported(claim="longlive-usage")
    program, *arguments = (word.replace("/usage", str(tmp_path)) for word in container["command"])
    assert program == "longlive-cluster", shlex.join(container["command"])
    monkeypatch.setenv("LLC_REDIS_URL", redis_server.url)
    monkeypatch.setenv("LLC_CLUSTER", f"test-export-{os.getpid()}")
    asyncio.run(_played(redis_server.url, Settings()))
    result = CliRunner().invoke(app, arguments)
    assert result.exit_code == 0, result.output
    (file,) = tmp_path.iterdir()
    assert "key_player,echo,0,90.0" in file.read_text()


@pytest.mark.parametrize("schedule", ["", "daily", "@daily", "10 0 * *"])
def test_a_schedule_that_is_none_is_refused(schedule: str):
    with pytest.raises(Refused, match="schedule"):
        exported(schedule=schedule)
