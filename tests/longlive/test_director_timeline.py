"""Editing what is planned: `unschedule`, `move_beat`, `list_beats`."""

from __future__ import annotations

from typing import Any

import pytest
from directing import begin, end, give, move, moved, names, play, refused, started, state

from longlive.director import LongLiveDirector
from longlive.protocol import (
    BeatMoved,
    BeatsListed,
    CutScene,
    ListBeats,
    ListedBeat,
    Pause,
    Reset,
    ScheduleSceneCut,
    ScheduleShot,
    Unschedule,
    Unscheduled,
)
from longlive.refusals import CUT_NEEDED, NEGATIVE_CHUNK, NEGATIVE_MOVE, NOTHING_SCHEDULED, OCCUPIED, PAST_CHUNK
from longlive.spec import CHUNKS_PER_SCENE
from models.contract import Command

pytestmark = pytest.mark.fast


def shot(at: int, prompt: str = "s") -> ScheduleShot:
    return ScheduleShot(prompt=prompt, at_session_chunk=at)


def cut(at: int, prompt: str = "c") -> ScheduleSceneCut:
    return ScheduleSceneCut(prompt=prompt, at_session_chunk=at)


def unschedule(at: int) -> Unschedule:
    return Unschedule(at_session_chunk=at)


def planned(director: LongLiveDirector) -> tuple[list[int], list[int]]:
    now = state(director)
    return now.scheduled_shots, now.scheduled_scene_cuts


class TestUnschedule:
    @pytest.mark.parametrize("beat", [shot(2), cut(2)])
    def test_what_is_taken_away_does_not_happen(self, beat: Command) -> None:
        director = started("a", beat, shot(9))
        assert give(director, unschedule(2)) == [Unscheduled(at_session_chunk=2), state(director)]
        assert planned(director) == ([9], [])
        play(director, 2)
        plan = begin(director)
        assert (plan.kind, plan.prompt) == ("continue", "a")

    def test_a_shot_and_a_cut_for_one_chunk_go_together(self) -> None:
        director = started("a", shot(2), cut(2))
        give(director, unschedule(2))
        assert planned(director) == ([], [])

    def test_it_works_before_start_and_in_a_pause(self) -> None:
        director = started("a", shot(0), shot(1), unschedule(0))
        give(director, Pause(), unschedule(1))
        assert planned(director) == ([], [])

    def test_live_beats_are_not_planned(self) -> None:
        director = started()
        give(director, CutScene(prompt="live"))
        assert refused(director, unschedule(0)) == NOTHING_SCHEDULED
        plan = begin(director)
        assert plan.prompt == "live"

    def test_a_chunk_in_flight_is_past(self) -> None:
        director = started("a", shot(0), shot(1))
        plan = begin(director)
        assert refused(director, unschedule(0)) == PAST_CHUNK
        end(director, plan)
        give(director, unschedule(1))
        assert begin(director).kind == "continue"
        assert refused(director, unschedule(1)) == PAST_CHUNK

    @pytest.mark.parametrize("at", [-1, -7])
    def test_a_negative_chunk_is_refused(self, at: int) -> None:
        assert refused(started(), unschedule(at)) == NEGATIVE_CHUNK
        assert refused(started(), Unschedule()) == NEGATIVE_CHUNK

    def test_in_flight_the_last_chunk_may_lose_its_cut_and_completes_the_run(self) -> None:
        director = started("a", cut(CHUNKS_PER_SCENE))
        play(director, CHUNKS_PER_SCENE - 1)
        plan = begin(director)
        give(director, unschedule(CHUNKS_PER_SCENE))
        assert names(end(director, plan)) == ["chunk_complete", "generation_complete", "state"]


class TestMoveBeat:
    def test_it_happens_where_it_was_moved_to(self) -> None:
        director = started("a", cut(1, "b"))
        assert give(director, move(1, 2)) == [BeatMoved.model_validate({"from": 1, "to": 2}), state(director)]
        kinds = []
        for _ in range(3):
            plan = begin(director)
            kinds.append((plan.kind, plan.prompt))
            end(director, plan)
        assert kinds == [("open", "a"), ("continue", "a"), ("cut", "b")]

    def test_a_shot_and_a_cut_for_one_chunk_move_together(self) -> None:
        director = started("a", shot(2), cut(2), shot(3))
        give(director, move(2, 7))
        assert planned(director) == ([3, 7], [7])

    @pytest.mark.parametrize("there", [shot(5), cut(5)])
    def test_two_beats_do_not_share_a_chunk_by_moving(self, there: Command) -> None:
        assert refused(started("a", shot(2), there), move(2, 5)) == OCCUPIED
        assert refused(started("a", cut(2), there), move(2, 5)) == OCCUPIED

    def test_where_it_stands_is_occupied_by_itself(self) -> None:
        assert refused(started("a", shot(2)), move(2, 2)) == OCCUPIED

    def test_neither_end_may_be_past(self) -> None:
        director = started("a", shot(5))
        play(director, 3)
        plan = begin(director)
        assert refused(director, move(2, 7)) == PAST_CHUNK
        assert refused(director, move(5, 3)) == PAST_CHUNK
        give(director, move(5, 4))
        end(director, plan)
        assert begin(director).kind == "shot"

    @pytest.mark.parametrize(("at", "to"), [(-1, 5), (2, -1), (-1, -1)])
    def test_neither_end_may_be_negative(self, at: int, to: int) -> None:
        assert refused(started("a", shot(2)), move(at, to)) == NEGATIVE_MOVE

    def test_nothing_cannot_be_moved(self) -> None:
        assert refused(started("a", shot(2)), move(3, 4)) == NOTHING_SCHEDULED


class TestTheCutThatGoesOn:
    @pytest.mark.parametrize("edit", [unschedule(48), move(48, 50)])
    @pytest.mark.parametrize("pause", [(), (Pause(),)])
    def test_it_can_be_neither_taken_away_nor_moved(self, edit: Command, pause: tuple[Command, ...]) -> None:
        director = started("a", cut(48, "b"))
        play(director, CHUNKS_PER_SCENE)
        give(director, *pause)
        assert refused(director, edit) == CUT_NEEDED
        give(director, cut(48, "another"))
        assert planned(director) == ([], [48])

    def test_a_live_cut_does_as_well(self) -> None:
        director = started("a", cut(48, "b"))
        play(director, CHUNKS_PER_SCENE)
        give(director, CutScene(prompt="live"), unschedule(48))
        plan = begin(director)
        assert (plan.kind, plan.prompt) == ("cut", "live")


class TestListBeats:
    def test_kind_prompt_and_chunk_in_order(self) -> None:
        director = started(
            "a", shot(9, "late"), cut(4, "new"), shot(4, "spent"), shot(2, "first"), CutScene(prompt="l")
        )
        assert give(director, ListBeats()) == [
            BeatsListed(
                beats=[
                    ListedBeat(kind="shot", prompt="first", at_session_chunk=2),
                    ListedBeat(kind="scene_cut", prompt="new", at_session_chunk=4),
                    ListedBeat(kind="shot", prompt="spent", at_session_chunk=4),
                    ListedBeat(kind="shot", prompt="late", at_session_chunk=9),
                ]
            ),
            state(director),
        ]

    def test_who_connects_is_told(self) -> None:
        director = started("a", cut(4, "new"))
        assert director.connect() == [
            state(director),
            BeatsListed(beats=[ListedBeat(kind="scene_cut", prompt="new", at_session_chunk=4)]),
        ]
        give(director, unschedule(4))
        assert director.connect() == [state(director)], "nothing is planned"

    def test_an_empty_list(self) -> None:
        director = LongLiveDirector()
        assert give(director, ListBeats())[0] == BeatsListed(beats=[])

    def test_after_completion_it_shows_what_never_happened(self) -> None:
        director = started("a", shot(60, "b"))
        play(director, CHUNKS_PER_SCENE)
        never = ListedBeat(kind="shot", prompt="b", at_session_chunk=60)
        assert give(director, ListBeats())[0] == BeatsListed(beats=[never])
        give(director, Reset())
        assert give(director, ListBeats())[0] == BeatsListed(beats=[])


BEFORE_EDITING: dict[str, Any] = {
    "model": "longlive-v2",
    "version": 1,
    "run": 1,
    "phase": "generating",
    "seed": 42,
    "run_seed": 42,
    "session_chunk": 2,
    "scene_chunk": 2,
    "frames": 58,
    "prompt": "a",
    "schedule": {"beats": [{"kind": "cut", "prompt": "b", "at": 2}, {"kind": "shot", "prompt": "c", "at": 5}]},
    "crossing": None,
}


def test_a_snapshot_of_before_these_commands_is_still_taken() -> None:
    director = LongLiveDirector()
    director.restore(BEFORE_EDITING)
    assert director.snapshot() == BEFORE_EDITING
    give(director, move(5, 3), unschedule(2))
    assert planned(moved(director)) == ([3], [])
