"""Deletes uploaded files and recordings whose time is over. Their index entries expire by themselves.

It goes by the age of the files and asks no index, so it also finds what a process that died, or a Redis that was lost,
has left behind.
"""

from __future__ import annotations

import asyncio

import structlog

from cluster import archive
from cluster.settings import Settings
from cluster.storage import Storage, StorageError
from cluster.uploads import PREFIX

log = structlog.get_logger(__name__)

SWEEP_EVERY_S = 300.0


async def keep_clean(storage: Storage, settings: Settings, every_s: float = SWEEP_EVERY_S) -> None:
    """Sweep until cancelled."""
    while True:
        await sweep(storage, settings)
        await asyncio.sleep(every_s)


async def sweep(storage: Storage, settings: Settings) -> None:
    """Delete what is too old; a storage that does not answer is asked again the next time."""
    try:
        uploads = await storage.drop_older(PREFIX, settings.uploads.ttl_s)
        recordings = await storage.drop_older(archive.PREFIX, settings.recording.retention_s)
    except StorageError as error:
        log.warning("storage_unavailable", during="sweep", error=str(error))
        return
    if uploads or recordings:
        log.info("files_expired", uploads=uploads, recordings=recordings)
