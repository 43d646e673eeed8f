"""The console script as its users run it."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path

import httpx
import pytest

from tests.support.server import Server, free_port

pytestmark = pytest.mark.ray

Run = Callable[..., subprocess.CompletedProcess]
SCRIPT = Path(sys.executable).with_name("longlive-cluster")


def run(
    *arguments: str, cwd: Path | None = None, limit_s: float = 90, **environment: str
) -> subprocess.CompletedProcess:
    return subprocess.run(
        [SCRIPT, *arguments],
        capture_output=True,
        text=True,
        timeout=limit_s,
        cwd=cwd,
        env=os.environ | {"COLUMNS": "200"} | environment,
        check=False,
    )


@pytest.fixture
def run_there(server: Server) -> Run:
    """At that cluster, whatever else runs on this machine."""
    return partial(run, **server.environment())


def test_keys_open_the_door_and_close_it_again(server: Server, run_there: Run):
    made = run_there("keys", "create", "a test")
    assert made.returncode == 0, made.stderr
    raw = made.stdout.strip()
    key_id = next(word for word in made.stderr.split() if word.startswith("key_"))

    token = httpx.post(f"{server.url}/tokens", headers={"Reactor-API-Key": raw})
    headers = {"Authorization": f"Bearer {token.json()['jwt']}"}
    unknown = f"{server.url}/sessions/00000000-0000-0000-0000-000000000000"
    assert httpx.get(unknown, headers=headers).status_code == 404
    assert key_id in run_there("keys", "list").stdout

    assert run_there("keys", "revoke", key_id).returncode == 0
    assert httpx.post(f"{server.url}/tokens", headers={"Reactor-API-Key": raw}).status_code == 401
    assert httpx.get(unknown, headers=headers).status_code == 401, "a revoked key's tokens end with it"
    assert run_there("keys", "revoke", key_id).returncode == 1


def test_a_worker_that_is_not_there_is_not_drained(run_there: Run):
    unknown = run_there("drain", "nobody")
    assert unknown.returncode == 1
    assert unknown.stderr.splitlines()[-1] == "no worker and no node named nobody"


def test_serve_refuses_a_taken_port_in_one_line(server: Server):
    port = server.url.rpartition(":")[2]
    refused = run("serve", "--host", "127.0.0.1", "--port", port)
    assert refused.returncode == 1
    assert "is taken" in refused.stderr
    assert "Traceback" not in refused.stderr


def test_a_wrong_setting_is_named():
    refused = run("serve", LLC_POOLS='[{"model": "echo", "max_workers": 0}]')
    assert refused.returncode == 1
    assert "LLC_POOLS__0__MAX_WORKERS" in refused.stderr


def test_doctor_has_a_line_for_everything_and_a_remedy_for_what_is_bad():
    healthy = run("doctor", "--port", str(free_port()))
    assert healthy.returncode == 0, healthy.stdout
    lines = [line.split()[1].rstrip(":") for line in healthy.stdout.splitlines()]
    assert lines == ["python", "torch", "gpu", "redis", "gateway", "metrics", "codecs", "webrtc", "models", "sdk"]

    ill = run("doctor", LLC_REDIS_URL="redis://127.0.0.1:1", LLC_POOLS='[{"model": "nonesuch"}]')
    assert ill.returncode == 1
    assert "check LLC_REDIS_URL" in ill.stdout
    assert "check LLC_POOLS" in ill.stdout


def test_demo_plays_its_storyboard(tmp_path: Path):
    played = run("demo", "--once", "--host", "127.0.0.1", "--port", str(free_port()), cwd=tmp_path, limit_s=150)
    assert played.returncode == 0, played.stdout + played.stderr
    assert "every beat fired where it was planned" in played.stdout
    assert (tmp_path / "demo.mp4").stat().st_size > 10_000
    assert (tmp_path / "demo.png").stat().st_size > 10_000
