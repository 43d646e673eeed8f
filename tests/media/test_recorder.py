"""What is recorded: segments that play, alone and together, with every picture in them once and no pause."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest

from cluster.errors import ClipGone, OutsideRecording
from cluster.media import recorder as recorder_module
from cluster.media.output import VideoCodec, VideoOutput
from cluster.media.recorder import CRASHED, NOTHING_YET, ClipRefused, Recorder
from cluster.media.recording import Recording
from cluster.settings import MediaSettings, RecordingSettings
from tests.support.films import FPS, HEIGHT, WIDTH, Camera, play, stamped
from tests.support.waiting import eventually

pytestmark = pytest.mark.slow

Record = Callable[..., tuple[Recorder, Camera]]


@pytest.fixture
async def record(tmp_path: Path) -> AsyncIterator[Record]:
    """Begins recordings; keywords are settings."""
    begun: list[Recorder] = []

    def begin(**changes: object) -> tuple[Recorder, Camera]:
        settings = RecordingSettings(keep="clips").model_copy(update=changes)
        made = Recorder(Recording(tmp_path / str(len(begun)), settings), FPS, settings.window_s)
        begun.append(made)
        return made, Camera(made)

    yield begin
    for each in begun:
        await each.close()


async def written(recorder: Recorder) -> None:
    """Until all that is closed is on disk."""
    await eventually(lambda: recorder.failed or not recorder._waiting)


async def fetch(recorder: Recorder, start_s: float, end_s: float) -> bytes:
    """A clip as clients put it together."""
    segments = await eventually(lambda: recorder.segments(start_s, end_s))
    names = ["init.mp4", *(f"chunk_{each.number:05d}.m4s" for each in segments)]
    return b"".join([await recorder.recording.read(name) for name in names])


async def test_a_clip_of_the_last_seconds_plays_with_every_picture_in_it(record):
    recorder, camera = record()
    await camera.show(0, 10 * FPS)
    clip = recorder.clip(3.0)
    assert clip == (7.0, 10.0, 10.0)
    film = play(await fetch(recorder, clip.start_s, clip.end_s))
    assert film.numbers == list(range(4 * FPS, 10 * FPS)), "from the beginning of the segment in which it begins"
    assert film.keyframes[0]
    assert film.times[0] == pytest.approx(4.0)
    assert film.seconds == pytest.approx(6.0)


async def test_the_whole_recording_plays_and_each_segment_plays_alone(record):
    recorder, camera = record()
    await camera.show(0, 9 * FPS)
    clip = recorder.clip(None)
    film = play(await fetch(recorder, clip.start_s, clip.end_s))
    assert film.numbers == list(range(9 * FPS))
    assert [n for n, keyframe in enumerate(film.keyframes) if keyframe] == [n * 2 * FPS for n in range(5)]
    segments = recorder.segments(0.0, 9.0)
    assert [(each.start_s, each.duration_s) for each in segments] == [(0, 4), (4, 4), (8, 1)]
    alone = play(await fetch(recorder, 4.5, 7.5))
    assert alone.numbers == list(range(4 * FPS, 8 * FPS))
    assert alone.keyframes[0]


async def test_segments_stay_within_four_seconds_whenever_viewers_ask_for_keyframes(record):
    recorder, camera = record()
    await camera.show(0, 12 * FPS, keyframes=(7, 30, 31, 95, 97, 200))
    recorder.clip(None)
    film = play(await fetch(recorder, 0.0, 12.0))
    assert film.numbers == list(range(12 * FPS))
    assert max(each.duration_s for each in recorder.recording.segments) <= 4.0


async def test_a_pause_closes_the_segment_and_takes_no_time(record, monkeypatch):
    monkeypatch.setattr(recorder_module, "IDLE_S", 0.01)
    recorder, camera = record()
    await camera.show(0, 30)
    await eventually(lambda: recorder.recording.number == 1)
    await camera.show(29, 3, repeat=True)  # viewers that join while it is paused
    await camera.show(30, 30)
    recorder.clip(None)
    film = play(await fetch(recorder, 0.0, 60 / FPS))
    assert film.numbers == list(range(60))
    assert film.keyframes[30], "nothing refers to a picture that is not in the file"
    assert film.seconds == pytest.approx(60 / FPS)


async def test_a_repeated_picture_within_a_segment_leaves_no_trace(record):
    recorder, camera = record()
    await camera.show(0, 20)
    await camera.show(19, 1, repeat=True)
    await camera.show(20, 20)
    recorder.clip(None)
    film = play(await fetch(recorder, 0.0, 40 / FPS))
    assert film.numbers == list(range(40))


async def test_a_recording_goes_on_when_the_encoder_is_opened_anew_for_another_rate(record):
    recorder, camera = record()
    for second, rate in enumerate((100_000, 6_000_000, 300_000)):
        camera.rate = rate
        await camera.show(4 * second * FPS, 4 * FPS)
    recorder.clip(None)
    assert play(await fetch(recorder, 0.0, 12.0)).numbers == list(range(12 * FPS))


async def test_pictures_that_the_encoder_failed_on_are_missing_and_nothing_else(record):
    recorder, camera = record()
    await camera.show(0, 20)
    camera.fail()
    await camera.show(20, 20)
    recorder.clip(None)
    assert play(await fetch(recorder, 0.0, 40 / FPS)).numbers == list(range(40))


async def test_clips_asked_for_in_quick_succession_do_not_shatter_the_recording(record):
    recorder, camera = record()
    for second in range(4):
        for part in range(0, FPS, 4):
            await camera.show(second * FPS + part, 4)
            recorder.clip(1.0)
    assert play(await fetch(recorder, 0.0, 4.0)).numbers == list(range(4 * FPS))
    assert recorder.recording.number <= 8
    await camera.show(4 * FPS, 4)
    end_s = recorder.clip(1.0).end_s
    assert recorder.segments(end_s - 1, end_s) is None, "not yet"
    await camera.show(4 * FPS + 4, FPS)
    assert play(await fetch(recorder, end_s - 1, end_s)).numbers[-1] >= 4 * FPS + 3


async def test_what_is_before_the_window_is_dropped_unless_the_whole_was_asked_for(record):
    recorder, camera = record(window_s=8)
    await camera.show(0, 24 * FPS)
    await written(recorder)
    oldest = recorder.recording.segments[0]
    assert oldest.start_s > 8
    assert recorder.clip(60.0).start_s == pytest.approx(16.0)
    with pytest.raises(ClipGone):
        recorder.segments(0.0, 3.0)
    with pytest.raises(ClipGone):
        await recorder.recording.read("chunk_00000.m4s")
    start_s = recorder.clip(None).start_s
    await camera.show(24 * FPS, 24 * FPS)
    await written(recorder)
    assert recorder.recording.segments[0].start_s == start_s == oldest.start_s


async def test_the_oldest_segments_make_way_when_the_budget_is_used_up(record):
    recorder, camera = record(keep="whole", max_bytes=300_000)
    await camera.show(0, 24 * FPS)
    await written(recorder)
    files = list(recorder.recording.folder.glob("*.m4s"))
    assert sum(file.stat().st_size for file in files) <= 300_000
    assert len(files) == len(recorder.recording.segments) < recorder.recording.number


async def test_times_that_are_none_are_refused(record):
    recorder, camera = record()
    await camera.show(0, 5 * FPS)
    recorder.clip(1.0)
    nan, infinite = float("nan"), float("inf")
    for start_s, end_s in [(-1, 2), (2, 1), (2, 2), (0, 6), (7, 8), (0, infinite), (nan, 3), (0, nan), (-infinite, 2)]:
        with pytest.raises(OutsideRecording):
            recorder.segments(start_s, end_s)


async def test_without_pictures_there_is_no_clip(record):
    recorder, _ = record()
    with pytest.raises(ClipRefused, match=NOTHING_YET):
        recorder.clip(3.0)


async def test_a_disk_that_fails_ends_the_recording_and_not_the_session(record, tmp_path):
    (tmp_path / "0").write_text("in the way")
    recorder, camera = record()
    await camera.show(0, 5 * FPS)
    await eventually(lambda: recorder.failed)
    await camera.show(5 * FPS, FPS)
    with pytest.raises(ClipRefused, match=CRASHED):
        recorder.clip(3.0)


async def test_the_sidecar_has_the_lines_of_the_log_in_their_order(record):
    recorder, camera = record()
    recorder.note(b"first\n")
    await camera.show(0, FPS)
    recorder.note("Dünen\n".encode())
    recorder.clip(1.0)
    await written(recorder)
    assert (await recorder.recording.read("events.jsonl")).decode() == "first\nDünen\n"


async def test_an_output_is_recorded_whether_or_not_anybody_watches(record, clock):
    recorder, _ = record()
    output = VideoOutput("main_video", WIDTH, HEIGHT, FPS, MediaSettings(), clock=clock)
    output.record(recorder)
    viewer = output.viewer(VideoCodec.H264)
    for chunk in range(4):
        if chunk == 1:
            viewer.resume()
        if chunk == 3:
            viewer.stop()
        output.push(stamped(chunk * FPS, FPS))
        for _ in range(FPS + 12):
            clock.advance(1 / FPS)
            output._drive()
            await eventually(lambda: all(feed.room > 4 for feed in output._feeds.values()))
    await eventually(lambda: recorder.now_s == 4.0)
    recorder.clip(None)
    assert play(await fetch(recorder, 0.0, 4.0)).numbers == list(range(4 * FPS))
    await output.close()
