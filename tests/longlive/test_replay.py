"""A recorded log makes the same session again."""

from __future__ import annotations

import itertools
import json
from dataclasses import replace

import numpy as np
import pytest
from directing import move
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from longlive.director import LongLiveDirector, LongLivePlan
from longlive.network import Network
from longlive.parts import constructed
from longlive.protocol import (
    CutScene,
    MoveBeat,
    Pause,
    Reset,
    Resume,
    ScheduleSceneCut,
    ScheduleShot,
    SetSeed,
    SetShot,
    Start,
    Unschedule,
)
from longlive.replay import Made, Recorder, ReplayError, read_log, replay
from longlive.replica import LongLiveStream
from models.contract import ChunkResult, Command, Geometry
from models.media import VideoFrames
from tests.longlive.networks import CITY, FOX, small

pytestmark = pytest.mark.slow

BEGIN, END = "begin", "end"
Step = Command | str

AT = st.integers(0, 6)
COMMANDS = st.one_of(
    st.builds(SetShot, prompt=st.sampled_from("ab ")),
    st.builds(CutScene, prompt=st.sampled_from("cd")),
    st.builds(ScheduleShot, prompt=st.sampled_from("ef"), at_session_chunk=AT),
    st.builds(ScheduleSceneCut, prompt=st.sampled_from("gh"), at_session_chunk=AT),
    st.builds(Unschedule, at_session_chunk=AT),
    st.builds(move, AT, AT),
    st.builds(SetSeed, seed=st.integers(0, 9)),
    st.sampled_from([Start(), Start(), Pause(), Resume(), Resume(), Reset()]),
)
STEPS = st.lists(st.one_of(COMMANDS, st.just(BEGIN), st.just(END)), max_size=60)


class Live:
    """A session that is recorded: its log, and the chunks as they were made."""

    def __init__(self, stream: LongLiveStream | None = None, director: LongLiveDirector | None = None) -> None:
        self.director = director or LongLiveDirector()
        self.stream = stream
        self.recorder = Recorder()
        self.log: list[str] = []
        self.plans: list[LongLivePlan] = []
        self.frames: list[NDArray[np.uint8]] = []
        self.open: LongLivePlan | None = None

    def play(self, *steps: Step) -> None:
        for step in steps:
            if isinstance(step, Command):
                self.log.append(self.recorder.line(step))
                self.director.handle(step)
            elif step == BEGIN and self.open is None:
                self.begin()
            elif step == END and self.open is not None:
                self.end(self.open)

    def begin(self) -> None:
        self.open = self.director.begin_chunk()
        if self.open is not None:
            self.recorder.began()
            self.plans.append(self.open)

    def end(self, plan: LongLivePlan) -> None:
        count = 29
        if self.stream is not None:
            self.stream.prepare(plan)
            media = list(self.stream.decode(self.stream.generate({})))
            self.stream.commit()
            self.frames.append(np.concatenate([part.rgb for part in media if isinstance(part, VideoFrames)]))
            count = len(self.frames[-1])
        self.director.end_chunk(ChunkResult(plan, count))
        self.recorder.ended()
        self.open = None


def again(live: Live, stream: LongLiveStream | None = None) -> list[Made]:
    """As many chunks as were made live."""
    return list(itertools.islice(replay(read_log(live.log), LongLiveDirector(), stream), len(live.plans)))


@given(STEPS)
@settings(max_examples=200, deadline=None)
def test_any_session_is_planned_again_the_same(steps: list[Step]) -> None:
    live = Live()
    live.play(SetShot(prompt="opening"), Start(), *steps, END)
    assert [chunk.plan for chunk in again(live)] == live.plans


def test_where_a_command_came_matters_and_is_kept() -> None:
    in_flight, at_rest = Live(), Live()
    opening: list[Step] = [SetShot(prompt="a"), Start(), BEGIN]
    in_flight.play(*opening, Pause(), Resume(), END)
    at_rest.play(*opening, END, Pause(), Resume())
    assert json.loads(in_flight.log[-1]) == {"boundary": 1, "in_flight": True, "command": "resume", "arguments": {}}
    for live, paused in ((in_flight, True), (at_rest, False)):
        chunks = len(list(replay(read_log(live.log), LongLiveDirector())))
        assert chunks == (1 if paused else 48)


def test_a_log_may_begin_with_a_snapshot() -> None:
    before = Live()
    before.play(SetShot(prompt="a"), ScheduleSceneCut(prompt="b", at_session_chunk=2), Start(), BEGIN, END)
    snapshot = before.director.snapshot()
    live = Live(director=before.director)
    live.play(BEGIN, MoveBeat.model_validate({"from": 2, "to": 3}), END, BEGIN, END, BEGIN, END)
    restored = LongLiveDirector()
    restored.restore(snapshot)
    made = list(itertools.islice(replay(read_log(live.log), restored), 3))
    assert [chunk.plan for chunk in made] == live.plans
    assert [chunk.plan.kind for chunk in made] == ["continue", "continue", "cut"]


def test_pictures_that_nobody_makes_are_counted() -> None:
    live = Live()
    live.play(SetShot(prompt="a"), Start())
    director = LongLiveDirector()
    chunks = replay(read_log(live.log), director, geometry=Geometry(first=29, later=32))
    frames = [director.snapshot()["frames"] for _ in itertools.islice(chunks, 3)]
    assert frames == [29, 61, 93]


@pytest.fixture(scope="module")
def networks() -> tuple[Network, Network]:
    """The same weights twice. The pictures are too small for a stamp."""
    preset = replace(small(prompts=4), stamp=False)
    return Network(preset, "cpu", constructed(preset, seed=5)), Network(preset, "cpu", constructed(preset, seed=5))


def test_the_same_pictures_bit_for_bit(networks: tuple[Network, Network]) -> None:
    live = Live(LongLiveStream(networks[0]))
    live.play(SetSeed(seed=7), SetShot(prompt=FOX), ScheduleSceneCut(prompt=CITY, at_session_chunk=2), Start(), BEGIN)
    live.play(MoveBeat.model_validate({"from": 2, "to": 3}), END, BEGIN, SetShot(prompt=CITY), END, BEGIN, END, BEGIN)
    live.play(SetSeed(seed=8), Reset(), SetShot(prompt=FOX), Start(), END, BEGIN, END)
    assert [plan.kind for plan in live.plans] == ["open", "continue", "shot", "cut", "open"]
    made = again(live, LongLiveStream(networks[1]))
    assert [chunk.plan for chunk in made] == live.plans
    for chunk, frames in zip(made, live.frames, strict=True):
        assert chunk.frames is not None
        assert np.array_equal(chunk.frames, frames)
    assert not np.array_equal(live.frames[0], live.frames[-1]), "another seed"


@pytest.mark.parametrize(
    ("lines", "says"),
    [
        (["{"], "line 1"),
        (["[]"], "line 1"),
        (['{"boundary": 0, "in_flight": false, "command": "start"}'], "arguments"),
        (['{"boundary": -1, "in_flight": false, "command": "start", "arguments": {}}'], "boundary"),
        (['{"boundary": "0", "in_flight": false, "command": "start", "arguments": {}}'], "boundary"),
    ],
)
def test_a_line_that_is_no_event_is_refused(lines: list[str], says: str) -> None:
    with pytest.raises(ReplayError, match=says):
        read_log(lines)


def line(boundary: int, in_flight: bool, command: str, **arguments: object) -> str:
    return json.dumps({"boundary": boundary, "in_flight": in_flight, "command": command, "arguments": arguments})


def test_lines_in_disorder_are_refused() -> None:
    with pytest.raises(ReplayError, match="line 2"):
        read_log([line(1, False, "pause"), line(1, True, "pause")])


@pytest.mark.parametrize(
    ("event", "says"),
    [
        (line(0, False, "teleport"), "unknown command"),
        (line(0, False, "set_shot", prompt=["a secret dune"]), "set_shot: these arguments do not fit: prompt$"),
        (line(3, False, "start"), "rests after 0 chunks; a command came after 3"),
        (line(0, True, "start"), "rests after 0 chunks"),
    ],
)
def test_a_log_of_no_session_is_refused(event: str, says: str) -> None:
    with pytest.raises(ReplayError, match=says):
        list(replay(read_log([event]), LongLiveDirector()))
