"""The backup that docs/operate.md describes, made and restored as it says: nothing that is worth keeping is missing."""

from __future__ import annotations

import asyncio
import io
import os
import shutil
import subprocess
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from pathlib import Path

import httpx
import pytest

from cluster.journal import Snapshot
from cluster.keys import KeyLimits, KeyRing
from cluster.redis_server import binary
from cluster.settings import PoolSettings, Settings
from cluster.storage import open_storage
from cluster.usage import Counted, Counts, Entry, UsageStore
from gateway.app import create_app
from tests.support.api import Api
from tests.support.local import LocalCluster
from tests.support.pages import commands
from tests.support.planting import plant
from tests.support.redis_process import RedisProcess
from tests.support.waiting import eventually
from wire.http import SaveSnapshot

pytestmark = pytest.mark.slow

PAGE = [each for each in commands("docs/operate.md") if not each.needs]
BACK_UP = [each.text for each in PAGE if each.section == "Back up"]
RESTORE = [each.text for each in PAGE if each.section == "Restore"]
PROGRAMS = {binary(), shutil.which("redis-server") or binary()}
STATE = {"effect": "blur", "intensity": 0.5, "image": None}
NOON = datetime(2026, 11, 20, 12, tzinfo=UTC)


@pytest.fixture(params=sorted(PROGRAMS))
def redis(request: pytest.FixtureRequest) -> Iterator[RedisProcess]:
    """The one that clusters embed, and the one of this machine, which is newer where it is Debian's."""
    with RedisProcess(request.param) as process:
        yield process


@pytest.fixture
def kept(settings: Settings) -> Settings:
    return settings.model_copy(update={"pools": (PoolSettings(model="echo", min_warm=1, max_workers=2),)})


@asynccontextmanager
async def running(settings: Settings, redis: RedisProcess) -> AsyncIterator[tuple[LocalCluster, Api]]:
    cluster = LocalCluster(settings, redis.url)
    try:
        await cluster.idle("echo")
        transport = httpx.ASGITransport(create_app(cluster.client, settings))
        async with httpx.AsyncClient(transport=transport, base_url="http://gateway") as http:
            yield cluster, Api(http)
    finally:
        await cluster.close()


async def type_all(lines: list[str], redis: RedisProcess, files: Path, backup: Path) -> None:
    """In the folders of this test, with the tools of that Redis."""
    tools = f"{Path(redis.program).parent}:{os.environ['PATH']}"
    environment = {"PATH": tools, "LLC_REDIS_URL": redis.url, "LLC_STORAGE__FOLDER": str(files)}
    for line in lines:
        own = line.replace("/srv/backup", str(backup)).replace("/srv/redis", str(redis.folder))
        assert "/srv" not in own
        await asyncio.to_thread(subprocess.run, ["bash", "-euc", own], env=environment, check=True, capture_output=True)


async def use(cluster: LocalCluster, tenant: str) -> None:
    """A file is stored, and a session is charged for."""
    await open_storage(cluster.settings).put("uploads/one", io.BytesIO(b"a picture"))
    used = Counts({Counted(tenant, NOON.date(), "echo", "generating_ms"): 5000})
    await UsageStore(cluster.redis, cluster.settings).add("w1", 1, [Entry(None, used)])


def taken_up(cluster: LocalCluster, session_id: str) -> bool:
    """Whether a worker has the session as it was."""
    try:
        return cluster.session(session_id)._director.snapshot() == STATE
    except LookupError:
        return False


async def test_a_restored_cluster_goes_on_where_the_backup_was_made(
    redis: RedisProcess, kept: Settings, tmp_path: Path
) -> None:
    files, backup = kept.storage.folder, tmp_path / "backup"
    assert files is not None
    backup.mkdir()
    async with running(kept, redis) as (cluster, api):
        account, key = await KeyRing(cluster.redis, kept).create("shop", KeyLimits(max_sessions=7))
        tenant = account.key_id
        await api.sign_in(key)
        session_id = await api.create("echo")
        await api.ready(session_id)
        await plant(cluster.store, tenant, session_id, Snapshot(model="echo", director=STATE, stream=b""))
        saved = await cluster.client.save_snapshot(tenant, session_id, SaveSnapshot(name="a moment"))
        await use(cluster, tenant)
        await type_all(BACK_UP, redis, files, backup)
        token = api.http.headers["Authorization"]

    redis.kill()
    redis.clear()
    shutil.rmtree(files)
    files.mkdir()
    await type_all(RESTORE, redis, files, backup)
    redis.start()

    async with running(kept, redis) as (cluster, api):
        api.http.headers["Authorization"] = token
        await eventually(lambda: taken_up(cluster, session_id))
        await api.sign_in(key)
        assert await cluster.client.saved_snapshots(tenant) == [saved]
        branch = await api.create("echo", from_snapshot=saved.snapshot_id)
        await eventually(lambda: taken_up(cluster, branch))
        assert (await KeyRing(cluster.redis, kept).limits(tenant)).max_sessions == 7
        (day,) = await cluster.client.usage(tenant, NOON.date(), NOON.date())
        assert day.models[0].seconds.generating == 5
        assert await open_storage(kept).get("uploads/one") == b"a picture"
