"""The index of uploads in Redis. The bytes are in the storage, under `key_of`.

    <cluster>:slot:<digest>                 `<tenant>/<upload id>`; expires. The digest is that of an upload URL's token
    <cluster>:<tenant>:upload:<upload id>   hash, `UploadRecord`; expires
    <cluster>:<tenant>:uploads:<session>    sorted set of upload ids by the time they expire

An upload belongs to one session. Its URL works for one attempt; one that fails for no fault of the client's bytes (the
connection broke, the storage was away) may be repeated.
"""

from __future__ import annotations

import hashlib
import secrets
import time
import uuid
from enum import StrEnum
from typing import Any

from pydantic import BaseModel, ConfigDict
from redis.asyncio import Redis

from cluster.errors import Conflict, NotFound, QuotaExceeded
from cluster.settings import Settings
from cluster.store import text
from wire.uploads import CreateUpload

PREFIX = "uploads"
"""Beginning of the storage keys."""

_MOVE = """
local state = redis.call('HGET', KEYS[1], 'state')
if not state then return '' end
if state == ARGV[1] then
  redis.call('HSET', KEYS[1], 'state', ARGV[2], 'mime_type', ARGV[3])
  redis.call('EXPIRE', KEYS[1], ARGV[4])
end
return state
"""


class UploadState(StrEnum):
    """pending → receiving → stored | refused; back to pending after a failure that may be tried again."""

    PENDING = "pending"
    RECEIVING = "receiving"
    STORED = "stored"
    REFUSED = "refused"


class UploadRecord(BaseModel):
    """What is known of an upload. `mime_type` is empty until the bytes have told it; `size` in bytes."""

    model_config = ConfigDict(frozen=True)

    upload_id: str
    tenant: str
    session_id: str
    name: str
    size: int
    mime_type: str = ""
    state: UploadState = UploadState.PENDING


def key_of(upload_id: str) -> str:
    """Storage key of an upload's bytes."""
    return f"{PREFIX}/{upload_id}"


class UploadIndex:
    """The uploads of one cluster. Raises redis-py's `RedisError` when Redis does not answer."""

    def __init__(self, redis: Redis, settings: Settings) -> None:
        self._redis = redis
        self._cluster = settings.cluster
        self._limits = settings.uploads
        self._move = redis.register_script(_MOVE)

    async def create(self, tenant: str, session_id: str, request: CreateUpload) -> tuple[UploadRecord, str]:
        """A new upload, and the token of its URL, which is not kept. Raises QuotaExceeded."""
        record = UploadRecord(
            upload_id=str(uuid.uuid4()), tenant=tenant, session_id=session_id, name=request.name, size=request.size
        )
        token = secrets.token_urlsafe(32)
        await self._admit(record)
        slot_s = self._limits.slot_ttl_s
        async with self._redis.pipeline(transaction=True) as pipe:
            key = self._record(tenant, record.upload_id)
            fields: dict[Any, Any] = record.model_dump(mode="json")
            pipe.hset(key, mapping=fields)
            pipe.expire(key, slot_s + self._limits.ttl_s)
            pipe.set(self._slot(token), f"{tenant}/{record.upload_id}", ex=slot_s)
            await pipe.execute()
        return record, token

    async def claim(self, token: str) -> UploadRecord:
        """Begin the one attempt of a URL. Raises NotFound, and Conflict for the second."""
        owner = await self._redis.get(self._slot(token))
        tenant, _, upload_id = text(owner or "").rpartition("/")
        record = await self.get(tenant, upload_id) if owner else None
        if record is None:
            raise NotFound("no such upload, or its time is over")
        if await self.move(record, UploadState.PENDING, UploadState.RECEIVING) is not UploadState.PENDING:
            raise Conflict("the upload has been made")
        return record

    async def move(
        self, record: UploadRecord, of: UploadState, to: UploadState, mime_type: str = ""
    ) -> UploadState | None:
        """Change the state if it is `of`; the state it had, None if the upload is no longer known."""
        args = [of.value, to.value, mime_type, self._limits.ttl_s]
        before = text(await self._move(keys=[self._record(record.tenant, record.upload_id)], args=args))
        return UploadState(before) if before else None

    async def get(self, tenant: str, upload_id: str) -> UploadRecord | None:
        """The record, None if there is none (or it has expired)."""
        fields = await self._redis.hgetall(self._record(tenant, upload_id))
        return UploadRecord.model_validate({text(k): text(v) for k, v in fields.items()}) if fields else None

    async def drop(self, tenant: str, session_id: str) -> list[str]:
        """Forget the uploads of a session; their ids."""
        name = self._of_session(tenant, session_id)
        members: list[Any] = await self._redis.zrange(name, 0, -1)
        ids = [text(member) for member in members]
        await self._redis.delete(name, *(self._record(tenant, upload_id) for upload_id in ids))
        return ids

    async def _admit(self, record: UploadRecord) -> None:
        """Count the upload against its session, at once, so that two that come together are counted twice."""
        name = self._of_session(record.tenant, record.session_id)
        now, lifetime_s = time.time(), self._limits.slot_ttl_s + self._limits.ttl_s
        async with self._redis.pipeline(transaction=True) as pipe:
            pipe.zremrangebyscore(name, "-inf", now)
            pipe.zadd(name, {record.upload_id: now + lifetime_s})
            pipe.zcard(name)
            pipe.expire(name, lifetime_s)
            count = (await pipe.execute())[2]
        if count > self._limits.max_per_session:
            await self._redis.zrem(name, record.upload_id)
            raise QuotaExceeded(f"at most {self._limits.max_per_session} uploads of a session at a time")

    def _slot(self, token: str) -> str:
        return f"{self._cluster}:slot:{hashlib.sha256(token.encode(errors='replace')).hexdigest()}"

    def _record(self, tenant: str, upload_id: str) -> str:
        return f"{self._cluster}:{tenant}:upload:{upload_id}"

    def _of_session(self, tenant: str, session_id: str) -> str:
        return f"{self._cluster}:{tenant}:uploads:{session_id}"
