"""The recordings on a worker: begun with its sessions, asked for by the gateway, archived when the sessions are over.

A worker's files lie in a folder of its own, which it holds a lock on: the next worker to start on the machine deletes
the folders that nobody holds any more.
"""

from __future__ import annotations

import asyncio
import fcntl
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import structlog
from redis.asyncio import Redis
from redis.exceptions import RedisError
from tenacity import AsyncRetrying, retry_if_exception_type, wait_exponential

from cluster import metrics
from cluster.archive import Archive
from cluster.clips import RecordingIndex, Segment
from cluster.disks import shared_folder
from cluster.errors import ClipGone
from cluster.media.recorder import ClipRefused, Recorder
from cluster.media.recording import Recording
from cluster.records import Grant
from cluster.settings import Settings
from cluster.storage import Storage, StorageError
from cluster.tasks import Tasks
from models.contract import Track
from wire.frames import ClipFailed, ClipReady, RequestClip, RequestRecording
from wire.playlist import playlist_url

log = structlog.get_logger(__name__)

WRITTEN_MS = 200
"""What it takes, as a rule, to close a segment and write it."""
ATTEMPTS = 5
RETRY_S = 2.0
"""How often an archive that does not answer is asked to take a recording, and how long apart."""

_RETRYING = AsyncRetrying(retry=retry_if_exception_type(RedisError), wait=wait_exponential(multiplier=0.1, max=5.0))

Key = tuple[str, int]
"""Session and epoch."""


class Recordings:
    """One per worker. `idle` is called whenever the last recording of a session that is over has been archived."""

    def __init__(
        self, worker: str, redis: Redis, storage: Storage, settings: Settings, idle: Callable[[], None]
    ) -> None:
        self._worker = worker
        self._settings = settings
        self._archive = Archive(redis, storage, settings)
        self._idle = idle
        self._folder = None if settings.recording.keep == "off" else _Folder(settings)
        if self._folder is not None:
            metrics.watch_disk("recordings", self._folder.path)
        self._recorders: dict[Key, Recorder] = {}
        self._announcing = Tasks("archive")
        self._archiving = Tasks("archive")

    @property
    def busy(self) -> bool:
        """Whether recordings of sessions that are over are still being archived."""
        return bool(len(self._archiving))

    def open(self, grant: Grant, main: Track) -> Recorder | None:
        """Begin the recording of a session's main track; None where recording is off."""
        if self._folder is None or main.video is None:
            return None
        recording = Recording(self._folder.path / f"{grant.session_id}-{grant.epoch}", self._settings.recording)
        recorder = Recorder(recording, main.video.fps, self._settings.recording.window_s)
        self._recorders[grant.session_id, grant.epoch] = recorder
        self._announcing.start(_RETRYING.copy()(self._archive.announce, grant.tenant, self._index(grant)))
        return recorder

    def segments(self, session_id: str, epoch: int, start_s: float, end_s: float) -> tuple[Segment, ...] | None:
        """The segments of a clip, None while the last one is not there. Raises ClipGone, OutsideRecording."""
        try:
            return self._recorder(session_id, epoch).segments(start_s, end_s)
        except ClipRefused as error:
            raise ClipGone(str(error)) from None

    async def read(self, session_id: str, epoch: int, name: str) -> bytes:
        """A file of a recording; raises ClipGone."""
        return await self._recorder(session_id, epoch).recording.read(name)

    def finish(self, grant: Grant) -> None:
        """The session is over, or another worker's: archive its recording if anybody wants it, and forget it."""
        if (grant.session_id, grant.epoch) not in self._recorders:
            return
        self._archiving.start(self._finish(grant)).add_done_callback(lambda _: self._idle())

    async def close(self) -> None:
        """Wait until all that is finished is archived; delete the rest, and the folder."""
        await self._archiving.join()
        await self._announcing.close()
        await asyncio.gather(*(recorder.close() for recorder in self._recorders.values()))
        if self._folder is not None:
            await asyncio.to_thread(self._folder.remove)

    async def _finish(self, grant: Grant) -> None:
        recorder = self._recorders[grant.session_id, grant.epoch]
        try:
            await recorder.close()
            await self._put_away(grant, recorder)
        finally:
            del self._recorders[grant.session_id, grant.epoch]
            await asyncio.to_thread(shutil.rmtree, recorder.recording.folder, ignore_errors=True)

    async def _put_away(self, grant: Grant, recorder: Recorder) -> None:
        recording = recorder.recording
        index = self._index(grant).model_copy(update={"segments": tuple(recording.segments)})
        for attempt in range(1, ATTEMPTS + 1):
            try:
                if recorder.asked and index.segments:
                    await self._archive.keep(grant.tenant, index, await asyncio.to_thread(recording.written))
                else:
                    await self._archive.forget(grant.tenant, index)
                return
            except (RedisError, StorageError, OSError) as error:
                log.warning("recording_not_archived", session_id=grant.session_id, error=str(error), attempt=attempt)
                await asyncio.sleep(RETRY_S)

    def _recorder(self, session_id: str, epoch: int) -> Recorder:
        try:
            return self._recorders[session_id, epoch]
        except KeyError:
            raise ClipGone("no such recording here") from None

    def _index(self, grant: Grant) -> RecordingIndex:
        return RecordingIndex(session_id=grant.session_id, epoch=grant.epoch, worker=self._worker)


class _Folder:
    """A worker's own folder below the one of the settings; the lock goes with the process."""

    def __init__(self, settings: Settings) -> None:
        shared = shared_folder(settings, "recordings")
        root = settings.recording.folder or shared
        root.mkdir(mode=0o700, parents=True, exist_ok=True)
        if root == shared and root.stat().st_uid != os.getuid():  # everyone can write to where it is
            raise PermissionError(f"{root} belongs to somebody else")
        with _held(root):  # nobody sweeps between the making of a folder and its lock
            _sweep(root)
            self.path = Path(tempfile.mkdtemp(prefix="worker-", dir=root))
            self._lock = os.open(self.path, os.O_RDONLY)
            fcntl.flock(self._lock, fcntl.LOCK_EX)

    def remove(self) -> None:
        """Delete it with all that is in it."""
        shutil.rmtree(self.path, ignore_errors=True)
        os.close(self._lock)


def _sweep(root: Path) -> None:
    for left in root.glob("worker-*"):
        with suppress(BlockingIOError, FileNotFoundError), _held(left, fcntl.LOCK_NB):
            shutil.rmtree(left, ignore_errors=True)


def clip_reply(
    recorder: Recorder, grant: Grant, message: RequestClip | RequestRecording, now_ms: int
) -> ClipReady | ClipFailed:
    """What the asker is told; `now_ms` is the time in milliseconds of the epoch."""
    duration_s = message.duration_seconds if isinstance(message, RequestClip) else None
    try:
        clip = recorder.clip(duration_s)
    except ClipRefused as error:
        return ClipFailed(str(error), message.request_id)
    return ClipReady(
        session_id=grant.session_id,
        kind="recording" if duration_s is None else "snap",
        start_marker=clip.start_s,
        end_marker=clip.end_s,
        now_marker=clip.now_s,
        predicted_ready_at_ms=now_ms + WRITTEN_MS,
        playlist_url=playlist_url(grant.session_id, grant.epoch, clip.start_s, clip.end_s),
        request_id=message.request_id,
    )


@contextmanager
def _held(folder: Path, flags: int = 0) -> Iterator[None]:
    lock = os.open(folder, os.O_RDONLY)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | flags)
        yield
    finally:
        os.close(lock)
