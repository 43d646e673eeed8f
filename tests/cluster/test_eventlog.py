"""The log that a session keeps of itself: what is in it, where, and how much."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import pytest

from cluster.eventlog import EventLog, opened
from cluster.journal import Snapshot
from cluster.settings import PoolSettings
from models.contract import ChunkResult
from models.echo import EchoDirector, SetEffect, SetImage
from models.events import ChunkMade, CommandApplied, MessageSent, Opened, Truncated, decode, sampled
from models.files import Upload
from models.media import AudioSamples, Media, VideoFrames
from tests.support.grants import granted
from tests.support.pictures import noise

pytestmark = pytest.mark.fast

GRANT = granted(tenant="key_a", epoch=4)
POOL = PoolSettings(model="echo", options={"weights": "/secret/folder/v2", "steps": 3, "compile": True})
RGB = np.arange(2 * 4 * 6 * 3, dtype=np.uint8).reshape(2, 4, 6, 3)


class Film:
    """A stream of two pieces of media."""

    def prepare(self, plan: Any) -> None: ...
    def generate(self, inputs: Any) -> Any: ...
    def commit(self) -> None: ...
    def restore(self, state: bytes) -> None: ...
    def close(self) -> None: ...
    def snapshot(self, *, exact: bool = False) -> bytes:
        return b"exact" if exact else b""

    def contents(self, state: bytes) -> Sequence[str | Upload]:
        return [state.decode()]

    def decode(self, latents: Any) -> Iterator[Media]:
        yield VideoFrames("main_video", RGB[:1])
        yield AudioSamples("main_audio", np.zeros((4, 1), np.int16), 48_000)
        yield VideoFrames("main_video", RGB[1:])


@pytest.fixture
async def log() -> EventLog:
    seconds = iter(np.arange(0, 100, 0.5).tolist())
    log = EventLog(lambda: next(seconds))
    await log.begin(opened(GRANT, POOL, None))
    return log


async def test_a_session_is_written_down_as_it_happens(log):
    director, stream = log.director(EchoDirector()), log.stream(Film())
    director.handle(SetEffect(effect="sepia"))
    plan = director.begin_chunk()
    stream.prepare(plan)
    media = list(stream.decode(stream.generate({})))
    director.handle(SetImage(image=Upload("u1", "a.png", "image/png", b"no picture")))
    director.end_chunk(ChunkResult(plan, 2))
    director.handle(SetImage(image=Upload("u2", "b.png", "image/png", noise())))
    assert len(media) == 3

    first, *events = decode(log.data().splitlines())
    assert isinstance(first, Opened)
    assert (first.session_id, first.epoch, first.model, first.preset) == ("s1", 4, "echo", "tiny")
    assert first.options == {"weights": "v2", "steps": 3, "compile": True}, "where it lies is nobody's business"
    applied = [event for event in events if isinstance(event, CommandApplied)]
    assert [(event.type, event.place, event.accepted) for event in applied] == [
        ("set_effect", (0, True), True),
        ("set_image", (1, False), False),
        ("set_image", (1, True), True),
    ]
    assert applied[1].data == {"image": {"upload_id": "u1", "name": "a.png", "mime_type": "image/png", "size": 10}}
    (made,) = [event for event in events if isinstance(event, ChunkMade)]
    assert made.plan == {"run": 0, "chunk": 0, "effect": "sepia", "intensity": 1.0, "still": None}
    assert (made.frames, made.digest) == (2, hashlib.sha256(sampled(RGB)).hexdigest())
    told = [event.type for event in events if isinstance(event, MessageSent)]
    assert told == ["effect_changed", "command_error", "image_accepted"]
    times = [event.t for event in events]
    assert times == sorted(times)


async def test_every_line_goes_to_the_sidecar_too():
    lines: list[bytes] = []
    log = EventLog(lambda: 0.0, lines.append)
    await log.begin(opened(GRANT, POOL, None))
    log.director(EchoDirector()).handle(SetEffect(effect="blur"))
    assert b"".join(lines) == log.data()
    assert [json.loads(line)["kind"] for line in lines] == ["opened", "command", "message"]


async def test_a_log_is_bounded_and_says_where_it_ends():
    log = EventLog(lambda: 0.0, limit=2000)
    await log.begin(opened(GRANT, POOL, None))
    director = log.director(EchoDirector())
    for _ in range(50):
        director.handle(SetEffect(effect="blur"))
    events = list(decode(log.data().splitlines()))
    assert isinstance(events[-1], Truncated)
    assert 1900 < len(log.data()) < 2100


@pytest.mark.parametrize(("size", "kept"), [(1000, True), (100_000, False)])
async def test_a_log_begins_with_the_snapshot_that_the_session_went_on_from(size, kept):
    log = EventLog(lambda: 0.0, limit=50_000)
    snapshot = Snapshot(model="echo", director={"effect": "blur"}, stream=bytes(size))
    await log.begin(opened(GRANT, POOL, snapshot))
    (first,) = decode(log.data().splitlines())
    assert isinstance(first, Opened)
    assert first.restored
    assert (first.state is not None) == kept
    if first.state is not None:
        assert (first.state.director, first.state.stream) == (snapshot.director, snapshot.stream)


async def test_a_command_that_comes_before_the_session_is_open_stands_in_its_place():
    log = EventLog(lambda: 0.0)
    log.director(EchoDirector()).handle(SetEffect(effect="blur"))
    await log.begin(opened(GRANT, POOL, None))
    log.director(EchoDirector()).handle(SetEffect(effect="sepia"))
    applied = [event.data["effect"] for event in decode(log.data().splitlines()) if isinstance(event, CommandApplied)]
    assert applied == ["blur", "sepia"]


def test_what_stands_between_session_and_model_changes_nothing():
    log = EventLog(lambda: 0.0)
    director, stream = log.director(EchoDirector()), log.stream(Film())
    director.restore({"effect": "invert", "intensity": 0.5, "image": None})
    assert director.snapshot() == {"effect": "invert", "intensity": 0.5, "image": None}
    assert [message.effect for message in director.connect()] == ["invert"]
    assert (director.run, list(director.contents())) == (0, [])
    assert (stream.snapshot(), stream.snapshot(exact=True), stream.contents(b"x")) == (b"", b"exact", ["x"])
