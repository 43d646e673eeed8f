"""The disks that files are kept on: where they are, and which of them are full."""

from __future__ import annotations

import asyncio
import os
import shutil
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import NamedTuple

import structlog

from cluster.settings import Settings
from wire.http import Disk

log = structlog.get_logger(__name__)

LEAST_FREE = 0.05
"""Of a disk; with less it is full. The alert LongliveDiskFull has the same bound."""
LOOK_S = 10.0


class Space(NamedTuple):
    """Of a disk, in bytes."""

    free: int
    size: int

    @property
    def is_full(self) -> bool:
        """Whether so little is free that writing will soon fail."""
        return self.free < LEAST_FREE * self.size


def space(folder: Path) -> Space:
    """Of the disk that a folder is on, or will be once it is made. Raises OSError."""
    there = next(each for each in (folder, *folder.absolute().parents) if each.exists())
    usage = shutil.disk_usage(there)
    return Space(usage.free, usage.total)


def shared_folder(settings: Settings, name: str) -> Path:
    """This cluster's and user's own, below the system's folder for temporary files."""
    return Path(tempfile.gettempdir()) / f"{settings.cluster}-{name}-{os.getuid()}"


def storage_folder(settings: Settings) -> Path:
    """Where files are stored, if it is not in a bucket."""
    return settings.storage.folder or shared_folder(settings, "files")


def folders(settings: Settings, *, recordings: bool) -> dict[Disk, Path]:
    """Where a process keeps files; `recordings`: whether open sessions' recordings are among them."""
    found: dict[Disk, Path] = {}
    if settings.storage.s3_bucket is None:
        found[Disk.STORAGE] = storage_folder(settings)
    if recordings and settings.recording.keep != "off":
        found[Disk.RECORDINGS] = settings.recording.folder or shared_folder(settings, "recordings")
    return found


class Disks:
    """Looks from time to time which disks are full; `changed` is called when it is others than before."""

    def __init__(self, folders: Mapping[Disk, Path], changed: Callable[[], None] | None = None) -> None:
        self._folders = folders
        self._changed = changed
        self.full: tuple[Disk, ...] = ()

    async def run(self) -> None:
        """Look until cancelled; in a thread, as a network's file system may hang."""
        while self._folders:
            full = await asyncio.to_thread(self._look)
            if full != self.full:
                self.full = full
                log.warning("disks_full" if full else "disks_free_again", disks=list(full))
                if self._changed is not None:
                    self._changed()
            await asyncio.sleep(LOOK_S)

    def _look(self) -> tuple[Disk, ...]:
        return tuple(disk for disk, folder in self._folders.items() if _is_full(disk, folder))


def _is_full(disk: Disk, folder: Path) -> bool:
    try:
        return space(folder).is_full
    except OSError as error:
        log.warning("disk_not_looked_at", disk=disk.value, error=error.strerror)
        return False
