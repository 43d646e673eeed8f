"""A worker's recordings: begun, archived or forgotten; its folder; and the playlist that is made of them."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest
from redis.asyncio import Redis

from cluster import recordings as recordings_module
from cluster.archive import Archive
from cluster.clips import Segment, select
from cluster.errors import ClipGone, OutsideRecording
from cluster.janitor import sweep
from cluster.recordings import Recordings, clip_reply
from cluster.settings import RecordingSettings, Settings, StorageSettings
from cluster.storage import open_storage
from models.contract import Track, VideoFormat
from tests.support.films import FPS, HEIGHT, WIDTH, Camera, play
from tests.support.grants import granted
from tests.support.waiting import eventually
from wire.frames import ClipFailed, ClipReady, RequestClip, RequestRecording
from wire.playlist import media_playlist

pytestmark = pytest.mark.fast

MAIN = Track("main_video", "video", "out", VideoFormat(WIDTH, HEIGHT, FPS))
GRANT = granted("6f9a", "key_t", epoch=3)

Start = Callable[..., Recordings]


@pytest.fixture
def settings(settings: Settings, tmp_path: Path) -> Settings:
    recording = RecordingSettings(keep="clips", folder=tmp_path / "recordings")
    return settings.model_copy(update={"recording": recording})


@pytest.fixture
async def start(redis: Redis, settings: Settings) -> AsyncIterator[Start]:
    """Starts the recordings of a worker; keywords change the settings."""
    started: list[Recordings] = []

    def begin(idle: Callable[[], None] = lambda: None, **changes: object) -> Recordings:
        own = settings.model_copy(update=changes)
        started.append(Recordings("w1", redis, open_storage(own), own, idle))
        return started[-1]

    yield begin
    for each in started:
        await each.close()


@pytest.fixture
def archive(redis: Redis, settings: Settings) -> Archive:
    """As the gateway has it."""
    return Archive(redis, open_storage(settings), settings)


async def test_a_recording_that_was_asked_for_is_archived_and_then_the_worker_is_idle(start, archive, settings):
    told: list[bool] = []
    recordings = start(idle=lambda: told.append(recordings.busy))
    recorder = recordings.open(GRANT, MAIN)
    await Camera(recorder).show(0, 5 * FPS)
    reply = clip_reply(recorder, GRANT, RequestClip(2.0, "ctrl_7"), 1000)
    assert isinstance(reply, ClipReady)
    assert reply.playlist_url == "/clips?session_id=6f9a&recording=3&start=3.000&end=5.000"
    assert (reply.request_id, reply.kind) == ("ctrl_7", "snap")
    recordings.finish(GRANT)
    assert recordings.busy
    await eventually(lambda: told)
    assert told == [False]
    index = await archive.find("key_t", "6f9a", 3)
    assert index.stored
    names = ["init.mp4", *(f"chunk_{each.number:05d}.m4s" for each in index.clip(3.0, 5.0) or ())]
    assert play(b"".join([await archive.read(index, name) for name in names])).numbers == list(range(5 * FPS))
    with pytest.raises(ClipGone):
        await archive.read(index, "chunk_00099.m4s")
    with pytest.raises(ClipGone):
        await archive.find("key_other", "6f9a", 3)
    assert not list(settings.recording.folder.rglob("*.m4s")), "nothing is left on the worker"


async def test_what_nobody_asked_for_is_forgotten(start, archive, settings):
    recordings = start()
    recorder = recordings.open(GRANT, MAIN)
    assert isinstance(clip_reply(recorder, GRANT, RequestRecording(), 0), ClipFailed), "there are no pictures yet"
    await Camera(recorder).show(0, FPS)
    recordings.finish(GRANT)
    await eventually(lambda: not recordings.busy)
    with pytest.raises(ClipGone):
        await archive.find("key_t", "6f9a", 3)
    assert not settings.storage.folder.exists()
    recordings.finish(GRANT)  # again is no error


async def test_a_storage_that_does_not_work_loses_the_recording_and_says_so(start, archive, tmp_path, monkeypatch):
    monkeypatch.setattr(recordings_module, "RETRY_S", 0.0)
    (tmp_path / "file").touch()
    recordings = start(storage=StorageSettings(folder=tmp_path / "file" / "below"))
    recorder = recordings.open(GRANT, MAIN)
    await Camera(recorder).show(0, FPS)
    recorder.clip(1.0)
    recordings.finish(GRANT)
    await eventually(lambda: not recordings.busy)
    assert not (await archive.find("key_t", "6f9a", 3)).stored
    with pytest.raises(ClipGone):
        recordings.segments("6f9a", 3, 0.0, 1.0)


async def test_the_folders_of_dead_workers_are_swept_and_those_of_others_are_not(start, settings):
    dead = settings.recording.folder / "worker-dead" / "s-1"
    dead.mkdir(parents=True)
    (dead / "chunk_00000.m4s").touch()
    first = start()
    await Camera(first.open(GRANT, MAIN)).show(0, 5 * FPS)
    start()
    assert not dead.exists()
    assert list(settings.recording.folder.rglob("chunk_00000.m4s"))


async def test_recording_is_off_unless_it_is_asked_for(start, settings):
    recordings = start(recording=RecordingSettings())
    assert recordings.open(GRANT, MAIN) is None
    recordings.finish(GRANT)
    assert not recordings.busy


async def test_stored_recordings_go_when_their_time_is_over(start, archive, settings):
    recordings = start()
    recorder = recordings.open(GRANT, MAIN)
    await Camera(recorder).show(0, FPS)
    recorder.clip(1.0)
    recordings.finish(GRANT)
    await eventually(lambda: not recordings.busy)
    index = await archive.find("key_t", "6f9a", 3)
    await sweep(open_storage(settings), settings)
    assert await archive.read(index, "init.mp4")
    over = settings.recording.model_copy(update={"retention_s": 0})
    await sweep(open_storage(settings), settings.model_copy(update={"recording": over}))
    with pytest.raises(ClipGone):
        await archive.read(index, "init.mp4")


def segments(*durations: float, first: int = 0, start_s: float = 0.0) -> list[Segment]:
    found = []
    for number, duration_s in enumerate(durations, first):
        found.append(Segment(number=number, start_s=start_s, duration_s=duration_s, size=1))
        start_s += duration_s
    return found


@pytest.mark.parametrize(
    ("start_s", "end_s", "numbers"),
    [
        (0, 4, [0]),
        (0, 4.001, [0]),
        (3.999, 8, [1]),
        (1, 9, [0, 1, 2]),
        (8, 9.5, [2]),
        (0, 9.501, [0, 1, 2]),
        (9.4999, 9.5, [2]),
    ],
)
def test_a_clip_is_the_segments_that_hold_it(start_s, end_s, numbers):
    found = select(segments(4, 4, 1.5), start_s, end_s, 9.5)
    assert [each.number for each in found or ()] == numbers


def test_a_clip_is_pending_gone_or_outside():
    kept = segments(4, 4, first=3, start_s=12.0)
    assert select(kept, 14, 21, 22.0) is None
    assert select([], 0, 1, 2.0) is None
    with pytest.raises(ClipGone):
        select(kept, 11, 15, 22.0)
    for start_s, end_s in ((14, 23), (-1, 15), (15, 14), (15, float("inf")), (float("nan"), 15), (15, float("nan"))):
        with pytest.raises(OutsideRecording):
            select(kept, start_s, end_s, 22.0)


def test_the_playlist_says_what_players_need():
    text = media_playlist("t/init.mp4", [("t/chunk_00000.m4s", 4.0), ("t/chunk_00001.m4s", 1.25)])
    assert text.splitlines() == [
        "#EXTM3U",
        "#EXT-X-VERSION:7",
        "#EXT-X-TARGETDURATION:4",
        "#EXT-X-PLAYLIST-TYPE:VOD",
        "#EXT-X-INDEPENDENT-SEGMENTS",
        '#EXT-X-MAP:URI="t/init.mp4"',
        "#EXTINF:4.000000,",
        "t/chunk_00000.m4s",
        "#EXTINF:1.250000,",
        "t/chunk_00001.m4s",
        "#EXT-X-ENDLIST",
    ]
