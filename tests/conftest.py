"""Fixtures for all rooms. Real parts only: Redis is a redis-server, workers are workers, peers are peers."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from cluster.client import ClusterClient
from cluster.redis_server import EmbeddedRedis
from cluster.settings import LimitSettings, PoolSettings, Settings, StorageSettings
from tests.support.local import LocalCluster
from tests.support.server import Server

CATEGORIES = {"fast", "slow", "media", "clock", "ray", "clients"}


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    unmarked = [item.nodeid for item in items if not CATEGORIES & {mark.name for mark in item.iter_markers()}]
    if unmarked:
        raise pytest.UsageError(f"tests without a category ({', '.join(sorted(CATEGORIES))}): {unmarked}")
    items.sort(key=lambda item: item.get_closest_marker("last") is not None)


@pytest.fixture(scope="session")
def redis_server() -> Iterator[EmbeddedRedis]:
    """One real Redis for all tests; each test has its own cluster name in it."""
    with EmbeddedRedis() as server:
        yield server


@pytest.fixture
def api_key() -> str:
    """A raw API key that the cluster accepts."""
    return "rk_test"


@pytest.fixture
def settings(api_key: str, request: pytest.FixtureRequest, tmp_path: Path) -> Settings:
    """Settings of a cluster of this test's own."""
    return Settings(
        cluster=f"test-{abs(hash(request.node.nodeid)):x}-{os.getpid()}",
        api_keys=(api_key, "rk_other"),
        pools=(PoolSettings(model="longlive-v2"), PoolSettings(model="echo", max_workers=2)),
        storage=StorageSettings(folder=tmp_path / "files"),
        limits=LimitSettings(sdp_answer_wait_s=2.0),
        metrics_port=0,
    )


@pytest.fixture
async def local(settings: Settings, redis_server: EmbeddedRedis) -> AsyncIterator[LocalCluster]:
    """A cluster in this process."""
    cluster = LocalCluster(settings, redis_server.url)
    yield cluster
    await cluster.close()


@pytest.fixture
def cluster(local: LocalCluster) -> ClusterClient:
    """The gateway's door into that cluster."""
    return local.client


@pytest.fixture(scope="session")
def server() -> Iterator[Server]:
    """The whole cluster as its users start it: `longlive-cluster serve` with Ray, Serve, Redis and both models."""
    with Server.start() as running:
        yield running
