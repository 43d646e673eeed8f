"""The gateway's side of recordings: from the worker while it has them, else from the archive."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import TypeVar

from cluster.api import WorkerApi, WorkerGone
from cluster.archive import Archive
from cluster.clips import RecordingIndex, Segment
from cluster.errors import ClipGone
from cluster.lookup import WorkerOf, answered

T = TypeVar("T")


class Footage:
    """Of all sessions of one cluster. All methods raise ClipGone and Unavailable."""

    def __init__(self, archive: Archive, worker_of: WorkerOf) -> None:
        self._archive = archive
        self._worker_of = worker_of

    async def clip(
        self, tenant: str, session_id: str, epoch: int, start_s: float, end_s: float
    ) -> tuple[Segment, ...] | None:
        """The segments of a clip, None while the last is not there. Raises OutsideRecording."""
        index, segments = await self._find(
            tenant, session_id, epoch, lambda worker: worker.clip(session_id, epoch, start_s, end_s)
        )
        return index.clip(start_s, end_s) if index.stored else segments

    async def file(self, tenant: str, session_id: str, epoch: int, name: str) -> bytes:
        """A file of a recording."""
        index, data = await self._find(
            tenant, session_id, epoch, lambda worker: worker.recorded(session_id, epoch, name)
        )
        return await self._archive.read(index, name) if data is None else data

    async def _find(
        self, tenant: str, session_id: str, epoch: int, ask: Callable[[WorkerApi], Awaitable[T]]
    ) -> tuple[RecordingIndex, T | None]:
        """The recording's entry, and what its worker says unless it is archived."""
        index = await answered(self._archive.find(tenant, session_id, epoch))
        if not index.stored:
            with suppress(WorkerGone, ClipGone):
                return index, await ask(await self._worker_of(index.worker))
            index = await answered(self._archive.find(tenant, session_id, epoch))
            if not index.stored:  # the worker has it no more, and never brought it here
                raise ClipGone("the recording is no longer kept")
        return index, None
