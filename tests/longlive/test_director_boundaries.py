"""What happens at, between and across chunk boundaries."""

from __future__ import annotations

import pytest
from directing import begin, end, give, names, play, refused, started, state

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
    SetShot,
    Start,
)
from longlive.refusals import ALREADY_PAUSED, NOT_PAUSED, PAUSE_PENDING
from longlive.spec import CHUNKS_PER_SCENE
from models.contract import Command
from models.echo import SetEffect

pytestmark = pytest.mark.fast


class TestShots:
    def test_set_shot_before_start_replaces_the_opening_shot(self) -> None:
        director = started("a", SetShot(prompt="b"))
        assert begin(director).prompt == "b"

    def test_a_later_live_shot_replaces_the_earlier(self) -> None:
        director = started()
        play(director)
        give(director, SetShot(prompt="b"), SetShot(prompt="c"))
        play(director)
        assert state(director).current_prompt == "c"
        assert begin(director).kind == "continue"

    def test_a_live_shot_between_start_and_the_first_chunk_is_what_it_opens_with(self) -> None:
        director = started("a", ScheduleShot(prompt="b", at_session_chunk=0))
        give(director, SetShot(prompt="c"))
        plan = begin(director)
        assert (plan.kind, plan.prompt, names(plan.messages)) == ("open", "c", ["generation_started", "state"])

    def test_the_prompt_in_force_changes_at_the_boundary(self) -> None:
        director = started()
        plan = begin(director)
        give(director, SetShot(prompt="b"))
        assert state(director).current_prompt == "opening"
        assert end(director, plan)[0].model_dump()["active_prompt"] == "opening"
        assert state(director).current_prompt == "opening"
        plan = begin(director)
        assert (plan.messages, state(director).current_prompt) == ((state(director),), "b")

    def test_a_shot_spends_from_the_scene(self) -> None:
        director = started()
        for n in range(CHUNKS_PER_SCENE):
            give(director, SetShot(prompt=f"beat {n}"))
            play(director)
        assert not state(director).started


class TestCuts:
    def test_a_second_cut_before_the_boundary_replaces_the_first(self) -> None:
        director = started()
        play(director)
        give(director, CutScene(prompt="b"), CutScene(prompt="c"))
        assert begin(director).prompt == "c"

    def test_a_cut_gives_the_new_scene_a_full_budget(self) -> None:
        director = started()
        play(director, 30)
        give(director, CutScene(prompt="b"))
        play(director, CHUNKS_PER_SCENE - 1)
        assert state(director).started
        assert names(play(director))[1] == "generation_complete"

    @pytest.mark.parametrize("cut", [CutScene(prompt="b"), ScheduleSceneCut(prompt="b", at_session_chunk=48)])
    def test_a_cut_waiting_at_the_last_boundary_prevents_completion(self, cut: Command) -> None:
        director = started()
        play(director, CHUNKS_PER_SCENE - 1)
        plan = begin(director)
        give(director, cut)
        assert names(end(director, plan)) == ["chunk_complete", "state"]
        assert (state(director).started, state(director).current_chunk) == (True, 47)
        plan = begin(director)
        assert (plan.kind, plan.chunk, plan.scene_chunk) == ("cut", 48, 0)
        assert (state(director).current_chunk, state(director).session_chunk) == (0, 48)

    @pytest.mark.parametrize("at", [49, 100])
    def test_a_cut_planned_beyond_the_scene_does_not(self, at: int) -> None:
        director = started("a", ScheduleSceneCut(prompt="b", at_session_chunk=at))
        assert names(play(director, CHUNKS_PER_SCENE)) == ["chunk_complete", "generation_complete", "state"]
        assert state(director).scheduled_scene_cuts == [at]

    def test_a_shot_planned_at_the_last_boundary_does_not(self) -> None:
        director = started("a", ScheduleShot(prompt="b", at_session_chunk=48))
        assert "generation_complete" in names(play(director, CHUNKS_PER_SCENE))


class TestSchedule:
    def test_one_beat_of_a_kind_for_each_count(self) -> None:
        director = started(
            "a", ScheduleShot(prompt="b", at_session_chunk=1), ScheduleShot(prompt="c", at_session_chunk=1)
        )
        assert state(director).scheduled_shots == [1]
        play(director)
        assert begin(director).prompt == "c"

    def test_counts_are_listed_in_order(self) -> None:
        targets = [30, 4, 17]
        shots = [ScheduleShot(prompt="s", at_session_chunk=t) for t in targets]
        cuts = [ScheduleSceneCut(prompt="c", at_session_chunk=t) for t in targets]
        now = state(started("a", *shots, *cuts))
        assert now.scheduled_shots == now.scheduled_scene_cuts == [4, 17, 30]

    def test_shot_and_cut_may_share_a_count_until_it_comes(self) -> None:
        director = started(
            "a", ScheduleShot(prompt="s", at_session_chunk=1), ScheduleSceneCut(prompt="c", at_session_chunk=1)
        )
        play(director)
        assert (state(director).scheduled_shots, state(director).scheduled_scene_cuts) == ([1], [1])
        assert begin(director).prompt == "c"
        assert (state(director).scheduled_shots, state(director).scheduled_scene_cuts) == ([], [])


class TestPause:
    def test_at_rest_between_chunks_it_is_immediate(self) -> None:
        director = started()
        play(director, 2)
        assert give(director, Pause()) == [GenerationPaused(chunk_index=1), state(director)]
        assert state(director).paused

    def test_before_the_first_chunk(self) -> None:
        director = started()
        assert give(director, Pause()) == [GenerationPaused(chunk_index=0), state(director)]
        assert director.begin_chunk() is None
        assert give(director, Resume())[0] == GenerationResumed(chunk_index=0)
        assert names(begin(director).messages) == ["generation_started", "state"]

    def test_twice_is_refused(self) -> None:
        director = started()
        plan = begin(director)
        give(director, Pause())
        assert refused(director, Pause()) == PAUSE_PENDING
        assert refused(director, Resume()) == NOT_PAUSED
        end(director, plan)
        assert refused(director, Pause()) == ALREADY_PAUSED

    def test_resume_names_the_next_chunk(self) -> None:
        director = started()
        play(director, 2)
        give(director, Pause())
        assert give(director, Resume()) == [GenerationResumed(chunk_index=2), state(director)]
        assert begin(director).scene_chunk == 2

    @pytest.mark.parametrize("cut", [CutScene(prompt="b"), ScheduleSceneCut(prompt="b", at_session_chunk=2)])
    def test_resume_before_a_cut_names_the_first_chunk_of_the_scene(self, cut: Command) -> None:
        director = started()
        play(director, 2)
        give(director, Pause(), cut)
        assert give(director, Resume())[0] == GenerationResumed(chunk_index=0)
        assert begin(director).scene_chunk == 0

    def test_a_shot_given_while_paused_waits_for_the_next_boundary(self) -> None:
        director = started()
        play(director)
        give(director, Pause(), SetShot(prompt="b"))
        assert state(director).current_prompt == "opening"
        give(director, Resume())
        assert begin(director).prompt == "b"

    def test_completion_wins_over_a_pause_that_waits(self) -> None:
        director = started()
        play(director, CHUNKS_PER_SCENE - 1)
        plan = begin(director)
        give(director, Pause())
        assert names(end(director, plan)) == ["chunk_complete", "generation_complete", "state"]
        assert (state(director).started, state(director).paused) == (False, False)

    def test_a_cut_that_waits_lets_the_last_chunk_pause(self) -> None:
        director = started("a", ScheduleSceneCut(prompt="b", at_session_chunk=48))
        play(director, CHUNKS_PER_SCENE - 1)
        plan = begin(director)
        give(director, Pause())
        assert names(end(director, plan)) == ["chunk_complete", "generation_paused", "state"]


class TestReset:
    def test_the_chunk_in_flight_is_ignored(self) -> None:
        director = started()
        plan = begin(director)
        give(director, Reset())
        before = director.snapshot()
        assert end(director, plan, frames=0) == []
        assert director.snapshot() == before

    def test_a_new_run_may_begin_before_the_old_chunk_ends(self) -> None:
        director = started()
        abandoned = begin(director)
        give(director, Reset(), SetShot(prompt="b"), Start())
        plan = begin(director)
        assert end(director, abandoned) == []
        assert (plan.kind, plan.prompt) == ("open", "b")
        assert names(end(director, plan)) == ["chunk_complete", "state"]

    def test_everything_but_the_seed_is_as_new(self) -> None:
        director = started("a", ScheduleShot(prompt="b", at_session_chunk=9), CutScene(prompt="c"))
        play(director, 3)
        give(director, Reset())
        assert state(director) == state(LongLiveDirector())

    def test_every_start_and_every_reset_is_another_run(self) -> None:
        director = LongLiveDirector()
        runs = [director.run]
        for command in (
            SetShot(prompt="a"),
            Start(),
            Pause(),
            Resume(),
            Reset(),
            Reset(),
            SetShot(prompt="a"),
            Start(),
        ):
            give(director, command)
            runs.append(director.run)
        assert runs == [0, 0, 1, 1, 1, 2, 3, 3, 4]
        refused(director, Start())
        assert director.run == 4


class TestMisuse:
    def test_a_chunk_begun_twice(self) -> None:
        director = started()
        begin(director)
        with pytest.raises(AssertionError):
            director.begin_chunk()

    def test_a_chunk_ended_twice(self) -> None:
        director = started()
        plan = begin(director)
        end(director, plan)
        with pytest.raises(AssertionError):
            end(director, plan)

    def test_a_command_of_another_model(self) -> None:
        with pytest.raises(TypeError, match="SetEffect"):
            started().handle(SetEffect())
