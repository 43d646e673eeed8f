"""A recorded log makes the same session again."""

from __future__ import annotations

import asyncio
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from directing import move
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from typer.testing import CliRunner

from cluster.eventlog import EventLog
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
from longlive.replay import Made, ReplayError, app, read_log, replay
from longlive.replica import LongLiveStream
from models.contract import ChunkResult, Command
from models.events import EventLogError, Opened, State
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


def beginning(**changes: Any) -> Opened:
    fields = {"session_id": "s", "epoch": 1, "model": "longlive-v2", "preset": "tiny", "options": {}}
    return Opened(**({"t": 0.0, **fields, "restored": False, "state": None} | changes))


class Live:
    """A session whose log is kept, and its chunks as they were made."""

    def __init__(self, stream: LongLiveStream | None = None, state: State | None = None) -> None:
        self.events = EventLog(lambda: 0.0)
        asyncio.run(self.events.begin(beginning(restored=state is not None, state=state)))
        self.director = self.events.director(LongLiveDirector())
        if state is not None:
            self.director.restore(state.director)
        self.stream = None if stream is None else self.events.stream(stream)
        self.plans: list[LongLivePlan] = []
        self.frames: list[NDArray[np.uint8]] = []
        self.open: LongLivePlan | None = None

    @property
    def log(self) -> list[bytes]:
        return self.events.data().splitlines()

    def play(self, *steps: Step) -> None:
        for step in steps:
            if isinstance(step, Command):
                self.director.handle(step)
            elif step == BEGIN and self.open is None:
                self.open = self.director.begin_chunk()
                self.plans += [self.open] if self.open is not None else []
            elif step == END and self.open is not None:
                self.end(self.open)

    def end(self, plan: LongLivePlan) -> None:
        count = 29
        if self.stream is not None:
            self.stream.prepare(plan)
            media = list(self.stream.decode(self.stream.generate({})))
            self.stream.commit()
            self.frames.append(np.concatenate([part.rgb for part in media if isinstance(part, VideoFrames)]))
            count = len(self.frames[-1])
        self.director.end_chunk(ChunkResult(plan, count))
        self.open = None


def again(live: Live, stream: LongLiveStream | None = None) -> list[Made]:
    """Its chunks, made from the log."""
    return list(replay(read_log(live.log), LongLiveDirector(), stream))


@given(STEPS)
@settings(max_examples=200, deadline=None)
def test_any_session_is_planned_again_the_same(steps: list[Step]) -> None:
    live = Live()
    live.play(SetShot(prompt="opening"), Start(), *steps, END)
    assert [chunk.plan for chunk in again(live)] == live.plans


def test_where_a_command_came_matters_and_is_kept() -> None:
    in_flight, at_rest = Live(), Live()
    opening: list[Step] = [SetShot(prompt="a"), Start(), BEGIN]
    in_flight.play(*opening, Pause(), Resume(), END, BEGIN, END)
    at_rest.play(*opening, END, Pause(), Resume(), BEGIN, END)
    for live, place in ((in_flight, (1, False)), (at_rest, (1, True))):
        log = read_log(live.log)
        assert [(event.type, event.place) for event in log.commands[2:]] == [("pause", place), ("resume", place)]
        assert [event.accepted for event in log.commands[2:]] == [True, live is at_rest], "no resume before the pause"
        assert [chunk.plan for chunk in again(live)] == live.plans
    assert (len(in_flight.plans), len(at_rest.plans)) == (1, 2)


def test_a_log_goes_on_from_a_snapshot() -> None:
    before = Live()
    before.play(SetShot(prompt="a"), ScheduleSceneCut(prompt="b", at_session_chunk=2), Start(), BEGIN, END)
    live = Live(state=State(director=before.director.snapshot(), stream=b""))
    live.play(BEGIN, MoveBeat.model_validate({"from": 2, "to": 3}), END, BEGIN, END, BEGIN, END)
    made = again(live)
    assert [chunk.plan for chunk in made] == live.plans
    assert [chunk.plan.kind for chunk in made] == ["continue", "continue", "cut"]


def test_a_chunk_that_never_ended_is_left_out_with_the_commands_that_came_in_it() -> None:
    live = Live()
    live.play(SetShot(prompt="a"), Start(), BEGIN, END, SetSeed(seed=3), BEGIN, Reset())
    assert [chunk.plan for chunk in again(live)] == live.plans[:1]


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
    assert all(chunk.same for chunk in made)
    assert not np.array_equal(live.frames[0], live.frames[-1]), "another seed"


def test_a_difference_is_told(networks: tuple[Network, Network]) -> None:
    live = Live(LongLiveStream(networks[0]))
    live.play(SetShot(prompt=FOX), Start(), BEGIN, END)
    log = read_log(live.log)
    assert all(chunk.same for chunk in replay(log, LongLiveDirector(), LongLiveStream(networks[1])))
    other = replace(log, chunks=(log.chunks[0].model_copy(update={"digest": "0" * 64}),))
    assert not any(chunk.same for chunk in replay(other, LongLiveDirector(), LongLiveStream(networks[1])))


FIRST = beginning().model_dump_json()


def line(boundary: int, in_flight: bool, command: str, accepted: bool = True, **arguments: object) -> str:
    place = {"t": 0.0, "boundary": boundary, "in_flight": in_flight}
    return json.dumps({"kind": "command", **place, "type": command, "data": arguments, "accepted": accepted})


def chunk(boundary: int) -> str:
    fields = {"t": 0.0, "boundary": boundary, "plan": {}, "frames": 29, "digest": ""}
    return json.dumps({"kind": "chunk", **fields})


@pytest.mark.parametrize(
    ("lines", "says"),
    [
        ([], "empty"),
        (["{"], "line 1"),
        (["[]"], "line 1"),
        ([line(0, False, "start")], "line 1: a log begins"),
        ([FIRST, FIRST], "line 2: a log begins"),
        ([FIRST.replace('"version":1', '"version":2')], "line 1 is no event: .* at opened.version"),
        ([FIRST, '{"kind": "secret prompt", "t": 0.0}'], "line 2"),
        (
            [FIRST, line(0, False, "start").replace('"data": {}', '"data": []')],
            "line 2 .* at command.data",
        ),
        ([FIRST, line(-1, False, "start")], "line 2 .* at command.boundary"),
        ([FIRST, line(0, False, "start").replace('ary": 0', 'ary": "0"')], "line 2 .* at command.boundary"),
        ([FIRST, line(1, False, "pause"), line(1, True, "pause")], "line 3: it comes before"),
        ([FIRST, line(2, True, "pause"), chunk(1)], "line 3: it comes before"),
        ([FIRST, '{"kind": "truncated", "t": 1.0}', line(1, True, "pause")], "line 3: it comes after"),
        ([FIRST, '{"kind": "message", "t": NaN, "type": "state", "data": {}}'], "line 2"),
        ([beginning(model="echo").model_dump_json()], "one of echo"),
        ([beginning(restored=True).model_dump_json()], "too large"),
    ],
)
def test_what_is_no_log_is_refused(lines: list[str], says: str) -> None:
    with pytest.raises(EventLogError, match=says) as refused:
        read_log(lines)
    assert "secret" not in str(refused.value)


@pytest.mark.parametrize(
    ("events", "says"),
    [
        ([line(0, False, "teleport")], "unknown command"),
        ([line(0, False, "set_shot", prompt=["a secret dune"])], "set_shot: these arguments do not fit: prompt$"),
        ([line(0, False, "start")], "start is refused now"),
        ([line(0, False, "reset", accepted=False)], "reset is accepted now"),
        ([line(3, False, "pause")], "has 0 chunks; a command came after 3"),
        ([line(0, True, "start"), chunk(1)], "no chunk is in flight where start came"),
        ([chunk(1)], "does not come to chunk 1"),
        ([line(0, False, "set_shot", prompt="a"), line(0, False, "start"), chunk(2)], "does not come to chunk 2"),
    ],
)
def test_a_log_of_no_session_is_refused(events: list[str], says: str) -> None:
    with pytest.raises(ReplayError, match=says):
        list(replay(read_log([FIRST, *events]), LongLiveDirector()))


@pytest.mark.parametrize("state", [State(director={"prompt": "secret"}, stream=b""), State(director={}, stream=b"x")])
def test_a_log_that_begins_with_no_snapshot_of_ours_is_refused(state: State) -> None:
    log = read_log([beginning(restored=True, state=state).model_dump_json()])
    with pytest.raises(ReplayError, match="cannot be taken up") as refused:
        list(replay(log, LongLiveDirector()))
    assert "secret" not in str(refused.value)


def test_the_command_line_refuses_a_bad_log_without_repeating_it(tmp_path: Path) -> None:
    path = tmp_path / "events.jsonl"
    path.write_text("a secret dune")
    told = CliRunner().invoke(app, [str(path)])
    assert (told.exit_code, "line 1" in told.output, "secret" in told.output) == (2, True, False)
