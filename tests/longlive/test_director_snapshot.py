"""A session goes on elsewhere from its director's snapshot."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import pytest
from directing import begin, end, give, moved, names, play, refused, started, state

from longlive.director import LongLiveDirector
from longlive.protocol import (
    CutScene,
    GenerationPaused,
    GenerationResumed,
    Pause,
    Reset,
    Resume,
    ScheduleSceneCut,
    ScheduleShot,
    SetSeed,
    SetShot,
)
from longlive.refusals import PAUSE_PENDING
from longlive.spec import CHUNKS_PER_SCENE
from models.contract import Command

pytestmark = pytest.mark.fast


def at_a_cut() -> LongLiveDirector:
    director = started(
        "a", ScheduleSceneCut(prompt="b", at_session_chunk=2), ScheduleShot(prompt="c", at_session_chunk=5)
    )
    play(director, 2)
    return director


def test_a_restored_director_stands_where_the_other_stood() -> None:
    director = at_a_cut()
    other = moved(director)
    assert (state(other), other.run, other.snapshot()) == (state(director), director.run, director.snapshot())
    assert begin(other) == begin(director)


@pytest.mark.parametrize(
    "before",
    [
        [],
        [SetShot(prompt="x")],
        [CutScene(prompt="x")],
        [ScheduleShot(prompt="x", at_session_chunk=1)],
        [ScheduleSceneCut(prompt="x", at_session_chunk=1)],
        [CutScene(prompt="x"), ScheduleSceneCut(prompt="y", at_session_chunk=1), SetShot(prompt="z")],
    ],
)
def test_an_open_chunk_is_planned_again_the_same(before: list[Command]) -> None:
    director = started()
    play(director)
    give(director, *before)
    plan = begin(director)
    other = moved(director)
    assert state(other) == state(director)
    assert begin(other) == plan
    assert begin(moved(moved(other))) == plan


def test_the_first_chunk_is_announced_again() -> None:
    director = started("a", CutScene(prompt="b"))
    plan = begin(director)
    assert begin(moved(director)) == plan
    assert names(plan.messages) == ["scene_cut", "generation_started", "state"]


def test_what_came_while_the_chunk_was_open_waits_for_the_boundary_after_it() -> None:
    director = at_a_cut()
    plan = begin(director)
    give(director, SetShot(prompt="x"), ScheduleShot(prompt="late", at_session_chunk=2), SetSeed(seed=7))
    other = moved(director)
    again = begin(other)
    assert (again.prompt, again.kind, again.scene_chunk, again.seed) == (plan.prompt, "cut", 0, 42)
    end(other, again)
    following = begin(other)
    assert (following.prompt, following.kind, state(other).seed) == ("x", "shot", 7)


def test_the_boundary_of_an_open_chunk_stays_past() -> None:
    director = at_a_cut()
    begin(director)
    other = moved(director)
    give(other, ScheduleShot(prompt="late", at_session_chunk=2))
    assert state(other).scheduled_shots == [5]


def test_a_pause_that_waits_still_waits_for_the_chunk() -> None:
    director = at_a_cut()
    begin(director)
    give(director, Pause())
    other = moved(director)
    assert refused(other, Pause()) == PAUSE_PENDING
    assert names(end(other, begin(other))) == ["chunk_complete", "generation_paused", "state"]


def test_a_pause_before_the_chunk_is_planned_again_is_immediate() -> None:
    director = started()
    play(director, 2)
    begin(director)
    give(director, CutScene(prompt="after"))
    other = moved(director)
    assert give(other, Pause()) == [GenerationPaused(chunk_index=1), state(other)]
    assert other.begin_chunk() is None
    assert give(other, Resume())[0] == GenerationResumed(chunk_index=2)
    plan = begin(other)
    assert (plan.prompt, plan.kind) == ("opening", "continue")
    end(other, plan)
    assert begin(other).prompt == "after"


def test_a_complete_run_stays_locked() -> None:
    director = started()
    play(director, CHUNKS_PER_SCENE)
    other = moved(director)
    refused(other, SetShot(prompt="x"))
    give(other, Reset(), SetShot(prompt="x"))


def test_a_snapshot_is_not_changed_by_what_follows() -> None:
    director = at_a_cut()
    snapshot = director.snapshot()
    kept = copy.deepcopy(snapshot)
    play(director, 2)
    give(director, ScheduleShot(prompt="z", at_session_chunk=40))
    assert snapshot == kept


Spoil = Callable[[dict[str, Any]], Any]

BEAT = {"kind": "shot", "prompt": "x", "at": 7}

SPOILS: dict[str, Spoil] = {
    "nothing": lambda s: s.clear(),
    "another model": lambda s: s.update(model="helios"),
    "another version": lambda s: s.update(version=2),
    "no version": lambda s: s.pop("version"),
    "an unknown field": lambda s: s.update(mood="blue"),
    "a string for a count": lambda s: s.update(frames="58"),
    "a bool for a count": lambda s: s.update(session_chunk=True),
    "a fraction": lambda s: s.update(session_chunk=2.5),
    "a negative count": lambda s: s.update(frames=-1),
    "a negative seed": lambda s: s.update(seed=-1),
    "an unknown phase": lambda s: s.update(phase="dreaming"),
    "no prompt in a run": lambda s: s.update(prompt=None),
    "a blank prompt": lambda s: s.update(prompt=" "),
    "a run that never began": lambda s: s.update(run=0),
    "an idle session with chunks": lambda s: s.update(phase="idle"),
    "a complete scene with budget left": lambda s: s.update(phase="complete"),
    "a scene longer than the run": lambda s: s.update(scene_chunk=3),
    "a scene over budget": lambda s: s.update(session_chunk=90, scene_chunk=49),
    "a spent scene that goes on": lambda s: s.update(session_chunk=48, scene_chunk=48, schedule={"beats": []}),
    "a complete run with a chunk in the making": lambda s: s.update(
        phase="complete",
        session_chunk=48,
        scene_chunk=48,
        schedule={"beats": []},
        crossing={"kind": "continue", "cut": False},
    ),
    "a scene without chunks at rest": lambda s: s.update(scene_chunk=0),
    "a pause that waits for no chunk": lambda s: s.update(phase="pausing"),
    "a past beat": lambda s: s["schedule"]["beats"].append({**BEAT, "at": 1}),
    "a negative beat": lambda s: s["schedule"]["beats"].append({**BEAT, "at": -1}),
    "two beats in one slot": lambda s: s["schedule"]["beats"].extend([BEAT, BEAT]),
    "a blank beat": lambda s: s["schedule"]["beats"].append({**BEAT, "prompt": ""}),
    "a beat of no kind": lambda s: s["schedule"]["beats"].append({**BEAT, "kind": "dissolve"}),
    "a schedule of another shape": lambda s: s.update(schedule={"7": "x"}),
    "an opening after the first chunk": lambda s: s.update(crossing={"kind": "open", "cut": False}),
    "a cut inside a scene": lambda s: s.update(crossing={"kind": "cut", "cut": True}),
    "a shot that cuts": lambda s: s.update(crossing={"kind": "shot", "cut": True}),
    "a beat at a crossed boundary": lambda s: s.update(crossing={"kind": "continue", "cut": False}),
}


@pytest.mark.parametrize("spoil", SPOILS.values(), ids=SPOILS.keys())
def test_a_malformed_snapshot_is_refused_and_changes_nothing(spoil: Spoil) -> None:
    director = at_a_cut()
    before = director.snapshot()
    spoiled = director.snapshot()
    spoil(spoiled)
    with pytest.raises(ValueError, match="a director's snapshot"):
        director.restore(spoiled)
    assert director.snapshot() == before
    assert begin(director).prompt == "b"


@pytest.mark.parametrize("thing", [None, [], "snapshot", 3])
def test_what_is_no_mapping_is_refused(thing: Any) -> None:
    with pytest.raises(ValueError, match="a director's snapshot"):
        LongLiveDirector().restore(thing)


def test_the_refusal_tells_no_prompt() -> None:
    spoiled = started("a secret dune").snapshot() | {"frames": "many", "run": 0}
    with pytest.raises(ValueError, match="a director's snapshot") as error:
        LongLiveDirector().restore(spoiled)
    assert "secret" not in str(error.value)
