"""The gateway's side of uploads: slots, and the way of the bytes from a request to the storage.

A body is written to a file without a name while it comes and is never held in memory; one byte too many ends it. What
the file is, its bytes tell (`cluster.content`).
"""

from __future__ import annotations

import asyncio
import hashlib
import tempfile
from collections.abc import AsyncIterator, Mapping
from typing import Any, BinaryIO, cast

from redis.asyncio import Redis

from cluster.content import identify
from cluster.errors import DigestMismatch, SizeMismatch, Unavailable, UploadRefused, UploadTooLarge
from cluster.settings import Settings
from cluster.storage import StorageError, open_storage
from cluster.uploads import UploadIndex, UploadRecord, UploadState, key_of
from wire.uploads import CreateUpload

PIECE_BYTES = 2**20
"""Written to the file at a time."""
MAX_DECODING = 2
"""Pictures that one process decodes at a time: one of 40 megapixels takes 160 MB."""

Digests = Mapping[str, bytes]
"""Digests that the client says, by their names in hashlib."""


class Intake:
    """One per gateway process. Raises redis-py's `RedisError` when Redis does not answer."""

    def __init__(self, redis: Redis, settings: Settings) -> None:
        self._limits = settings.uploads
        self._index = UploadIndex(redis, settings)
        self._storage = open_storage(settings)
        self._decoding = asyncio.Semaphore(MAX_DECODING)

    async def create(self, tenant: str, session_id: str, request: CreateUpload) -> tuple[UploadRecord, str]:
        """A slot: the upload, and the token of its URL. Raises UploadTooLarge, QuotaExceeded."""
        if request.size > self._limits.max_bytes:
            raise UploadTooLarge(f"a file has at most {self._limits.max_bytes} bytes")
        return await self._index.create(tenant, session_id, request)

    async def receive(self, token: str, body: AsyncIterator[bytes], length: int | None, digests: Digests) -> None:
        """Take the bytes of an upload; `length` is what the request declares.

        Raises:
            NotFound, Conflict: no such slot, or it has been used.
            UploadRefused: the bytes will not do; the slot is used up.
            Unavailable: the storage does not take them now; the slot may be used again.
        """
        record = await self._index.claim(token)
        outcome, mime_type = UploadState.PENDING, ""
        try:
            mime_type = await self._take(record, body, length, digests)
            outcome = UploadState.STORED
        except UploadRefused:
            outcome = UploadState.REFUSED
            raise
        finally:
            await self._index.move(record, UploadState.RECEIVING, outcome, mime_type)

    async def _take(
        self, record: UploadRecord, body: AsyncIterator[bytes], length: int | None, digests: Digests
    ) -> str:
        if length is not None and length != record.size:
            raise SizeMismatch(f"{record.size} bytes were announced")
        try:
            with tempfile.TemporaryFile(prefix="upload-") as unnamed:
                file = cast(BinaryIO, unnamed)
                async with asyncio.timeout(self._limits.slot_ttl_s):
                    await _write(body, file, record.size, digests)
                async with self._decoding:
                    mime_type = await asyncio.to_thread(identify, file, self._limits.types, self._limits.max_pixels)
                file.seek(0)
                await self._storage.put(key_of(record.upload_id), file)
        except TimeoutError:
            raise UploadRefused("the bytes did not come in time") from None
        except (StorageError, OSError) as error:
            raise Unavailable("the file cannot be stored now") from error
        return mime_type


async def _write(body: AsyncIterator[bytes], file: BinaryIO, size: int, digests: Digests) -> None:
    """Write a body of exactly `size` bytes that has these digests; raises SizeMismatch, DigestMismatch."""
    hashes = {name: hashlib.new(name) for name in digests}
    received, piece = 0, bytearray()
    async for part in body:
        received += len(part)
        if received > size:
            break
        piece += part
        if len(piece) >= PIECE_BYTES:
            await asyncio.to_thread(_append, file, bytes(piece), list(hashes.values()))
            piece.clear()
    if received != size:
        raise SizeMismatch(f"{size} bytes were announced")
    await asyncio.to_thread(_append, file, bytes(piece), list(hashes.values()))
    if any(hashes[name].digest() != said for name, said in digests.items()):
        raise DigestMismatch("the bytes have another digest")


def _append(file: BinaryIO, piece: bytes, hashes: list[Any]) -> None:
    file.write(piece)
    file.flush()
    for each in hashes:
        each.update(piece)
