"""Where files are kept: one interface, with a folder or an S3-compatible bucket behind it.

Keys are ours, never a client's words: `uploads/<id>`. A folder serves processes that share it, on one machine or by a
network file system; a cluster of several machines wants a bucket.
"""

from __future__ import annotations

import asyncio
import os
import re
import shutil
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO, Protocol

from cluster import metrics
from cluster.disks import storage_folder
from cluster.settings import Settings

_KEY = re.compile(r"[\w-]+(/[\w-]+)+", re.ASCII)


class StorageError(Exception):
    """The storage did not do what it was asked to."""


class NotStored(StorageError):
    """Nothing is kept under this key."""


class Storage(Protocol):
    """Bytes under keys. Every method works off the event loop and raises `StorageError`."""

    async def put(self, key: str, source: BinaryIO) -> None:
        """Keep what is left to read of a file under a key, in place of what is there; `source` may be closed after."""
        ...

    async def get(self, key: str) -> bytes:
        """All of a file; raises `NotStored`."""
        ...

    async def delete(self, keys: Iterable[str]) -> None:
        """Forget files; those that are not there are no error."""
        ...

    async def drop_older(self, prefix: str, age_s: float) -> int:
        """Forget what was kept longer ago than this under keys that begin with `prefix/`; how many that were."""
        ...


def open_storage(settings: Settings) -> Storage:
    """The storage of the settings. Reaches for nothing yet."""
    chosen = settings.storage
    if chosen.s3_bucket is not None:
        from cluster.s3 import S3Storage  # boto3 is an optional extra

        return S3Storage(chosen)
    folder = storage_folder(settings)
    metrics.watch_disk("storage", folder)
    return FolderStorage(folder)


class FolderStorage:
    """Files below a folder that only this user can read; it is made when the first file comes."""

    def __init__(self, root: Path) -> None:
        self._root = root

    async def put(self, key: str, source: BinaryIO) -> None:
        """See `Storage.put`."""
        await asyncio.to_thread(self._put, self._path(key), source)

    async def get(self, key: str) -> bytes:
        """See `Storage.get`."""
        return await asyncio.to_thread(_read, self._path(key))

    async def delete(self, keys: Iterable[str]) -> None:
        """See `Storage.delete`."""
        await asyncio.to_thread(_unlink, [self._path(key) for key in keys])

    async def drop_older(self, prefix: str, age_s: float) -> int:
        """See `Storage.drop_older`. What a process left half written when it died goes too."""
        return await asyncio.to_thread(_drop_older, self._path(f"{prefix}/any").parent, time.time() - age_s)

    def _path(self, key: str) -> Path:
        if _KEY.fullmatch(key) is None:
            raise StorageError("not a key")
        return self._root / key

    def _put(self, path: Path, source: BinaryIO) -> None:
        """Whole or not at all, whoever reads meanwhile."""
        with _typed():
            self._root.mkdir(mode=0o700, parents=True, exist_ok=True)
            if self._root.stat().st_uid != os.getuid():  # the default is in a folder that everyone can write to
                raise StorageError(f"{self._root} belongs to somebody else")
            path.parent.mkdir(exist_ok=True, parents=True)
            partial = path.with_name(f".{path.name}.partial")
            with partial.open("wb") as target:
                shutil.copyfileobj(source, target)
            partial.replace(path)


@contextmanager
def _typed() -> Iterator[None]:
    try:
        yield
    except FileNotFoundError as error:
        raise NotStored("there is no such file") from error
    except OSError as error:
        raise StorageError(error.strerror or "input or output failed") from error


def _read(path: Path) -> bytes:
    with _typed():
        return path.read_bytes()


def _unlink(paths: Iterable[Path]) -> None:
    with _typed():
        for path in paths:
            path.unlink(missing_ok=True)


def _drop_older(folder: Path, before: float) -> int:
    dropped = 0
    with _typed():
        for path in folder.iterdir() if folder.is_dir() else ():
            with suppress(FileNotFoundError):  # somebody else was faster
                if path.is_file() and path.stat().st_mtime < before:
                    path.unlink()
                    dropped += 1
    return dropped
