"""A real Prometheus and a live cluster with a session that plays: every query that we ship is taken and finds data."""

from __future__ import annotations

import asyncio
import re
import time
from collections.abc import Iterator
from itertools import chain
from pathlib import Path
from urllib.parse import urlparse

import httpx
import pytest
import yaml

from helm.panels import ALL
from tests.support.api import Api
from tests.support.client import Client
from tests.support.prometheus import Prometheus, prometheus
from tests.support.server import METRICS_PORTS, Server

pytestmark = pytest.mark.ray

ROOT = Path(__file__).parents[2]
RULES = ROOT / "helm" / "longlive-cluster" / "files" / "rules" / "alerts.yaml"
ALERTS = {
    rule["alert"]: rule["expr"] for group in yaml.safe_load(RULES.read_text())["groups"] for rule in group["rules"]
}
PANELS = [panel for dashboard in ALL for panel in dashboard.panels]
CHUNKS = 2
LIMIT_S = 20.0
LOOK_EVERY_S = 0.1
STAGES = {"text", "denoise", "decode", "commit", "encode", "publish", "total"}
MUST_GROW = (
    "llc_playout_lead_seconds_count",
    "llc_frames_total",
    'llc_frames_encoded_total{codec=~"VP8|H264"}',
    "llc_encoded_bytes_total",
    "llc_rtp_packets_total",
    "llc_rtp_round_trip_seconds_count",
    "llc_command_seconds_count",
    "llc_admission_seconds_count",
    "llc_snapshot_seconds_count",
    "llc_snapshot_bytes_total",
    'llc_gateway_requests_total{route="/sessions/{session_id}"}',
    "llc_redis_up",
    "llc_disk_free_bytes",
    'llc_workers{state="busy"}',
)


def asked(query: str) -> str:
    """A panel's query with Grafana's variables filled in."""
    return query.replace("$__rate_interval", "15s").replace("$model", ".*")


class Scraped:
    """A Prometheus that has seen a session play, and the session still does."""

    def __init__(self, told: Prometheus) -> None:
        self.told = told
        self.missing = [asked(query) for panel in PANELS if not panel.why_empty for query in panel.queries.values()]
        self.missing += [f"{series} > 0" for series in MUST_GROW]

    async def play(self, server: Server) -> None:
        async with httpx.AsyncClient(base_url=server.url, timeout=30) as http:
            api = Api(http)
            await api.sign_in(server.api_key)
            async with await Client.create(api, "longlive-v2") as client:
                await client.connect()
                client.peer.command("set_shot", {"prompt": "a red dune at dawn"})
                client.peer.command("start", {})
                await client.peer.until(lambda: self._chunks(client) >= CHUNKS)
                await asyncio.to_thread(self._until_scraped)

    @staticmethod
    def _chunks(client: Client) -> int:
        return sum(kind == "chunk_complete" for kind, _ in client.peer.messages)

    def _until_scraped(self) -> None:
        """Each query has found what it must, or the time is over."""
        deadline = time.monotonic() + LIMIT_S
        while self.missing and time.monotonic() < deadline:
            self.missing = [query for query in self.missing if not self.told.query(query)]
            time.sleep(LOOK_EVERY_S)


@pytest.fixture(scope="module")
def scraped(server: Server, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Scraped]:
    host = urlparse(server.url).hostname
    ports = range(server.metrics_port, server.metrics_port + METRICS_PORTS)
    targets = {"cluster": [f"{host}:{port}" for port in ports]}
    with prometheus(tmp_path_factory.mktemp("prometheus"), targets, [RULES]) as told:
        scraped = Scraped(told)
        asyncio.run(scraped.play(server))
        yield scraped


def test_every_panel_and_series_has_data(scraped: Scraped):
    assert scraped.missing == []


def test_panels_that_may_be_empty_are_taken(scraped: Scraped):
    for panel in PANELS:
        for query in panel.queries.values() if panel.why_empty else ():
            scraped.told.query(asked(query))


def test_every_alert_is_evaluated_and_none_is_for_nothing(scraped: Scraped):
    for expression in ALERTS.values():
        scraped.told.query(expression)
    rules = {rule["name"]: rule for rule in scraped.told.rules()}
    assert set(rules) == set(ALERTS)
    assert {name: rule["lastError"] for name, rule in rules.items() if rule.get("lastError")} == {}
    assert rules["LongliveAllocatorAbsent"]["state"] == rules["LongliveRedisDown"]["state"] == "inactive"


def test_every_stage_of_a_chunk_is_measured(scraped: Scraped):
    stages = scraped.told.query("max by (stage) (max_over_time(llc_chunk_seconds_count[1m])) > 0")
    assert {each["metric"]["stage"] for each in stages} == STAGES


def test_no_series_has_a_label_of_a_session(scraped: Scraped):
    found = scraped.told.query('{__name__=~"llc_.*"}')
    assert found
    labels = set(chain.from_iterable(each["metric"] for each in found))
    assert not labels & {"session", "session_id", "connection_id", "tenant", "path"}
    assert not [
        each for each in found if any(re.search(r"[0-9a-f]{8}-[0-9a-f]{4}", v) for v in each["metric"].values())
    ]


def test_the_queries_of_the_runbooks_are_taken(scraped: Scraped):
    pages = (ROOT / "docs" / "runbooks").glob("*.md")
    blocks = [block for page in pages for block in re.findall(r"```promql\n(.*?)```", page.read_text(), re.DOTALL)]
    queries = [line for block in blocks for line in block.splitlines()]
    assert len(queries) >= len(ALERTS)
    for query in queries:
        scraped.told.query(query)
