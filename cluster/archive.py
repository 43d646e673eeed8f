"""Recordings of sessions that are over, in the storage; and the index of all recordings in Redis.

    <cluster>:<tenant>:recording:<session>:<epoch>    JSON, `RecordingIndex`; expires

An entry is made when a recording begins and names the worker that has it; once `stored`, the storage has it, under
`recordings/<session>-<epoch>-<name>`. Storage keys lie in one folder, as its clean-up goes by the age of files.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from pathlib import Path

from redis.asyncio import Redis

from cluster.clips import RecordingIndex
from cluster.errors import ClipGone, Unavailable
from cluster.settings import Settings
from cluster.storage import NotStored, Storage, StorageError

PREFIX = "recordings"
"""Beginning of the storage keys."""


class Archive:
    """Raises redis-py's `RedisError` when Redis does not answer."""

    def __init__(self, redis: Redis, storage: Storage, settings: Settings) -> None:
        self._redis = redis
        self._storage = storage
        self._cluster = settings.cluster
        self._kept_s = settings.recording.retention_s
        self._held_s = settings.limits.max_session_s + self._kept_s

    async def announce(self, tenant: str, index: RecordingIndex) -> None:
        """A recording begins."""
        await self._redis.set(self._key(tenant, index), index.model_dump_json(), ex=self._held_s, nx=True)

    async def forget(self, tenant: str, index: RecordingIndex) -> None:
        """There is nothing of a recording that anybody wants."""
        await self._redis.delete(self._key(tenant, index))

    async def keep(self, tenant: str, index: RecordingIndex, files: Mapping[str, Path]) -> None:
        """Put a finished recording's files into the storage, then say so. Raises StorageError, OSError as well."""
        for name, path in files.items():
            with await asyncio.to_thread(path.open, "rb") as file:
                await self._storage.put(_storage_key(index, name), file)
        stored = index.model_copy(update={"stored": True})
        await self._redis.set(self._key(tenant, index), stored.model_dump_json(), ex=self._kept_s)

    async def find(self, tenant: str, session_id: str, epoch: int) -> RecordingIndex:
        """The entry of a recording; raises ClipGone where there is none."""
        wanted = RecordingIndex(session_id=session_id, epoch=epoch, worker="")
        entry = await self._redis.get(self._key(tenant, wanted))
        if entry is None:
            raise ClipGone("no such recording, or it is no longer kept")
        return RecordingIndex.model_validate_json(entry)

    async def read(self, index: RecordingIndex, name: str) -> bytes:
        """A file of a stored recording; raises ClipGone, Unavailable."""
        try:
            return await self._storage.get(_storage_key(index, name))
        except NotStored:
            raise ClipGone("this part of the recording is not kept") from None
        except StorageError as error:
            raise Unavailable("the storage does not answer") from error

    def _key(self, tenant: str, index: RecordingIndex) -> str:
        return f"{self._cluster}:{tenant}:recording:{index.session_id}:{index.epoch}"


def _storage_key(index: RecordingIndex, name: str) -> str:
    return f"{PREFIX}/{index.session_id}-{index.epoch}-{name.partition('.')[0]}"  # keys have no dots
