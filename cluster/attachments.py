"""The worker's side of uploads: the files that a command refers to."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

import structlog
from redis.asyncio import Redis
from redis.exceptions import RedisError

from cluster.errors import CommandRefused
from cluster.records import Grant
from cluster.settings import Settings
from cluster.storage import NotStored, Storage, StorageError
from cluster.uploads import UploadIndex, UploadRecord, UploadState, key_of
from models.files import Upload

log = structlog.get_logger(__name__)

LOOK_EVERY_S = 0.05
DROP_S = 2.0
"""The end of a session waits for the storage no longer than this."""
GONE = "the upload is not known here, or has expired"
LATE = "the upload did not arrive in time"
REFUSED = "the upload was refused"
AWAY = "the upload cannot be read now"


class UnresolvedUpload(CommandRefused):
    """A file that a command needs is not to be had."""

    code = "unresolved_upload"


class Attachments:
    """The files of one session. `gate` is shared by the sessions of a worker: it bounds what they hold in memory."""

    def __init__(
        self, grant: Grant, redis: Redis, storage: Storage, settings: Settings, gate: asyncio.Semaphore
    ) -> None:
        self._grant = grant
        self._index = UploadIndex(redis, settings)
        self._storage = storage
        self._limits = settings.uploads
        self._gate = gate

    async def fetch(self, upload_ids: Sequence[str], since: float) -> dict[str, Upload]:
        """The files by id. One that is still on its way is waited for, `wait_s` from `since` (time of the loop).

        Raises:
            UnresolvedUpload: one of them is not to be had.
        """
        if len(upload_ids) > self._limits.max_per_command:
            raise UnresolvedUpload(f"a command takes at most {self._limits.max_per_command} files")
        try:
            records = [await self._arrived(upload_id, since + self._limits.wait_s) for upload_id in upload_ids]
            async with asyncio.timeout(self._limits.wait_s), self._gate:
                return {record.upload_id: await self._read(record) for record in records}
        except NotStored:
            raise UnresolvedUpload(GONE) from None
        except (RedisError, StorageError, TimeoutError) as error:
            log.warning("upload_unreadable", session_id=self._grant.session_id, error=type(error).__name__)
            raise UnresolvedUpload(AWAY) from error

    async def drop(self) -> None:
        """Forget all files of the session. What cannot be deleted now, its age deletes."""
        try:
            async with asyncio.timeout(DROP_S):
                dropped = await self._index.drop(self._grant.tenant, self._grant.session_id)
                if dropped:
                    await self._storage.delete([key_of(upload_id) for upload_id in dropped])
        except (RedisError, StorageError, TimeoutError) as error:
            log.warning("uploads_not_dropped", session_id=self._grant.session_id, error=type(error).__name__)

    async def _arrived(self, upload_id: str, until: float) -> UploadRecord:
        loop = asyncio.get_running_loop()
        while True:
            record = await self._index.get(self._grant.tenant, upload_id)
            if record is None or record.session_id != self._grant.session_id:
                raise UnresolvedUpload(GONE)
            if record.state is UploadState.STORED:
                return record
            if record.state is UploadState.REFUSED:
                raise UnresolvedUpload(REFUSED)
            if loop.time() >= until:
                raise UnresolvedUpload(LATE)
            await asyncio.sleep(LOOK_EVERY_S)

    async def _read(self, record: UploadRecord) -> Upload:
        data = await self._storage.get(key_of(record.upload_id))
        return Upload(record.upload_id, record.name, record.mime_type, data)
