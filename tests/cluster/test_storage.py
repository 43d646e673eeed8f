"""The two storages do the same: a folder, and a bucket of an S3 of this test's own (moto's server)."""

from __future__ import annotations

import asyncio
import os
import tempfile
from collections.abc import Iterator
from io import BytesIO
from pathlib import Path

import boto3
import pytest
from moto.server import ThreadedMotoServer

from cluster.settings import Settings, StorageSettings
from cluster.storage import FolderStorage, NotStored, Storage, StorageError, open_storage
from tests.support.server import free_port

pytestmark = pytest.mark.slow

BUCKET = "files"


@pytest.fixture(scope="module")
def s3_endpoint() -> Iterator[str]:
    """An object store with one bucket."""
    credentials = {"AWS_ACCESS_KEY_ID": "tests", "AWS_SECRET_ACCESS_KEY": "tests", "AWS_DEFAULT_REGION": "us-east-1"}
    server = ThreadedMotoServer("127.0.0.1", free_port(), verbose=False)
    with pytest.MonkeyPatch.context() as patch:
        for name, value in credentials.items():
            patch.setenv(name, value)
        server.start()
        endpoint = "http://{}:{}".format(*server.get_host_and_port())
        boto3.client("s3", endpoint_url=endpoint).create_bucket(Bucket=BUCKET)
        yield endpoint
        server.stop()


@pytest.fixture(params=["folder", "s3"])
def storage(request: pytest.FixtureRequest, tmp_path: Path, settings: Settings) -> Storage:
    chosen = StorageSettings(folder=tmp_path / "kept")
    if request.param == "s3":
        endpoint = request.getfixturevalue("s3_endpoint")
        chosen = StorageSettings(s3_bucket=BUCKET, s3_endpoint=endpoint, s3_prefix=request.node.name)
    return open_storage(settings.model_copy(update={"storage": chosen}))


async def test_what_was_put_is_there_until_it_is_deleted(storage: Storage):
    data = os.urandom(100_000)
    await storage.put("uploads/a", BytesIO(data))
    await storage.put("uploads/b", BytesIO(b"other"))
    assert await storage.get("uploads/a") == data
    await storage.put("uploads/a", BytesIO(b"new"))
    assert await storage.get("uploads/a") == b"new"
    await storage.delete(["uploads/a", "uploads/never"])
    with pytest.raises(NotStored):
        await storage.get("uploads/a")
    assert await storage.get("uploads/b") == b"other"
    await storage.delete([])


async def test_many_are_deleted(storage: Storage):
    keys = [f"uploads/{n}" for n in range(1100)]
    for key in keys[:2] + keys[-2:]:
        await storage.put(key, BytesIO(b"x"))
    await storage.delete(keys)
    assert await storage.drop_older("uploads", -10) == 0


async def test_only_what_is_old_and_under_the_prefix_is_dropped(storage: Storage):
    assert await storage.drop_older("uploads", -10) == 0, "nothing was ever put"
    for key in ("uploads/a", "uploads/b", "clips/c"):
        await storage.put(key, BytesIO(b"x"))
    assert await storage.drop_older("uploads", 60) == 0
    assert await storage.drop_older("uploads", -10) == 2, "ten seconds from now all is old"
    with pytest.raises(NotStored):
        await storage.get("uploads/a")
    assert await storage.get("clips/c") == b"x"


async def test_the_loop_runs_on_meanwhile(storage: Storage):
    turns = 0

    async def count() -> None:
        nonlocal turns
        while True:
            await asyncio.sleep(0)
            turns += 1

    counting = asyncio.create_task(count())
    await storage.put("uploads/a", BytesIO(bytes(5_000_000)))
    assert len(await storage.get("uploads/a")) == 5_000_000
    counting.cancel()
    assert turns > 0


@pytest.mark.parametrize(
    "key", ["uploads/../../x", "/etc/passwd", "uploads/", "x", "uploads/a\0", "uploads/.a", "a//b"]
)
async def test_a_folder_takes_no_path_for_a_key(tmp_path: Path, key: str):
    storage = FolderStorage(tmp_path / "kept")
    for attempt in (storage.put(key, BytesIO(b"x")), storage.get(key), storage.delete([key])):
        with pytest.raises(StorageError, match="not a key"):
            await attempt
    assert os.listdir(tmp_path) == []


async def test_a_folder_is_for_this_user_alone(tmp_path: Path):
    await FolderStorage(tmp_path / "kept").put("uploads/a", BytesIO(b"x"))
    assert (tmp_path / "kept").stat().st_mode & 0o077 == 0


async def test_what_was_left_half_written_is_dropped_too(tmp_path: Path):
    storage = FolderStorage(tmp_path / "kept")
    await storage.put("uploads/a", BytesIO(b"x"))
    (tmp_path / "kept" / "uploads" / ".b.partial").write_bytes(b"ha")
    assert await storage.drop_older("uploads", -10) == 2


async def test_a_full_disk_and_a_folder_that_is_none_are_typed(tmp_path: Path):
    (tmp_path / "kept").write_bytes(b"a file")
    with pytest.raises(StorageError):
        await FolderStorage(tmp_path / "kept").put("uploads/a", BytesIO(b"x"))
    (tmp_path / "full" / "uploads").mkdir(parents=True)
    (tmp_path / "full" / "uploads" / ".a.partial").symlink_to("/dev/full")
    with pytest.raises(StorageError, match="No space"):
        await FolderStorage(tmp_path / "full").put("uploads/a", BytesIO(b"x"))


@pytest.mark.parametrize("bucket", [BUCKET, "no-such-bucket"])
async def test_an_object_store_that_fails_is_typed(s3_endpoint: str, settings: Settings, bucket: str):
    endpoint = s3_endpoint if bucket != BUCKET else f"http://127.0.0.1:{free_port()}"
    chosen = StorageSettings(s3_bucket=bucket, s3_endpoint=endpoint)
    storage = open_storage(settings.model_copy(update={"storage": chosen}))
    for attempt in (storage.put("uploads/a", BytesIO(b"x")), storage.get("uploads/a"), storage.delete(["uploads/a"])):
        with pytest.raises(StorageError):
            await attempt


def test_without_settings_files_are_kept_in_a_folder_of_this_cluster_and_user(settings: Settings):
    storage = open_storage(settings.model_copy(update={"storage": StorageSettings()}))
    assert isinstance(storage, FolderStorage)
    assert storage._root == Path(tempfile.gettempdir()) / f"{settings.cluster}-files-{os.getuid()}"
    assert not storage._root.exists(), "nothing is made before it is needed"
