"""A real Prometheus, and its promtool, as Debian has them (`make prometheus`)."""

from __future__ import annotations

import shutil
import subprocess
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import yaml

from tests.support.server import free_port

START_S = 30.0
SCRAPE_S = 1


class BadQuery(Exception):
    """Prometheus does not take the query; the text is its own."""


@dataclass(frozen=True)
class Prometheus:
    """One that runs."""

    http: httpx.Client

    def query(self, expression: str) -> list[dict[str, Any]]:
        """The instant vector that an expression has now. Raises BadQuery."""
        answer = self._get("query", query=expression)
        return list(answer["result"])

    def history(self, expression: str, start: float, end: float, step_s: float) -> list[dict[str, Any]]:
        """The same over a time, in unix seconds. Raises BadQuery."""
        answer = self._get("query_range", query=expression, start=start, end=end, step=step_s)
        return list(answer["result"])

    def rules(self) -> list[dict[str, Any]]:
        """Every rule with what came of its last evaluation."""
        return [rule for group in self._get("rules")["groups"] for rule in group["rules"]]

    def _get(self, what: str, **parameters: Any) -> dict[str, Any]:
        answer = self.http.get(f"/api/v1/{what}", params=parameters).json()
        if answer["status"] != "success":
            raise BadQuery(f"{answer['error']}: {parameters}")
        data: dict[str, Any] = answer["data"]
        return data


@contextmanager
def prometheus(folder: Path, targets: Mapping[str, Sequence[str]], rules: Sequence[Path]) -> Iterator[Prometheus]:
    """Start one that scrapes these addresses by job every second and evaluates these rules; end it."""
    address = f"127.0.0.1:{free_port()}"
    config = folder / "prometheus.yml"
    config.write_text(yaml.safe_dump(_config(targets, rules)))
    command = [
        _binary("prometheus"),
        f"--config.file={config}",
        f"--storage.tsdb.path={folder / 'data'}",
        f"--web.listen-address={address}",
        "--log.level=warn",
    ]
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen(command, stdout=log, stderr=log)
    try:
        with httpx.Client(base_url=f"http://{address}", verify=False, timeout=10) as http:
            _wait(process, http, folder / "log")
            yield Prometheus(http)
    finally:
        process.terminate()
        process.wait(30)


def promtool(*arguments: str, told: str = "") -> None:
    """Run promtool. Raises AssertionError with what it says."""
    done = subprocess.run([_binary("promtool"), *arguments], input=told, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def _config(targets: Mapping[str, Sequence[str]], rules: Sequence[Path]) -> dict[str, Any]:
    return {
        "global": {"scrape_interval": f"{SCRAPE_S}s", "evaluation_interval": f"{SCRAPE_S}s"},
        "rule_files": [str(path) for path in rules],
        "scrape_configs": [
            {"job_name": job, "static_configs": [{"targets": list(addresses)}]} for job, addresses in targets.items()
        ],
    }


def _binary(name: str) -> str:
    found = shutil.which(name)
    if found is None:
        raise RuntimeError(f"{name} is not here: run `make prometheus`")
    return found


def _wait(process: subprocess.Popen[bytes], http: httpx.Client, log: Path) -> None:
    deadline = time.monotonic() + START_S
    while process.poll() is None and time.monotonic() < deadline:
        try:
            if http.get("/-/ready").status_code == 200:
                return
        except httpx.TransportError:
            pass
        time.sleep(0.05)
    process.terminate()
    raise RuntimeError(f"Prometheus did not start: {log.read_text()[-2000:]}")
