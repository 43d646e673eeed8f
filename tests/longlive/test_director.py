"""The rows L1 to L21 of the wire facts, by name: where the published documents disagree or are silent."""

from __future__ import annotations

import pytest
from directing import FRAMES, begin, end, give, names, play, refused, started, state

from longlive.director import RESET_REASON, LongLiveDirector
from longlive.protocol import (
    ChunkComplete,
    CutScene,
    GenerationComplete,
    GenerationPaused,
    GenerationReset,
    GenerationStarted,
    MoveBeat,
    Pause,
    Reset,
    Resume,
    SceneCut,
    SceneCutScheduled,
    ScheduleSceneCut,
    ScheduleShot,
    SetSeed,
    SetShot,
    ShotScheduled,
    ShotSet,
    Start,
    Unschedule,
)
from longlive.refusals import (
    ALREADY_STARTED,
    NEGATIVE_CHUNK,
    NO_OPENING_SHOT,
    NOT_GENERATING,
    NOT_PAUSED,
    PROMPT_EMPTY,
    RUN_COMPLETE,
)
from longlive.spec import CHUNKS_PER_SCENE
from models.contract import Command, Director, Geometry

pytestmark = pytest.mark.fast

LOCKED: list[Command] = [
    SetShot(prompt="x"),
    CutScene(prompt="x"),
    ScheduleShot(prompt="x", at_session_chunk=99),
    ScheduleSceneCut(prompt="x", at_session_chunk=99),
    Unschedule(at_session_chunk=99),
    MoveBeat.model_validate({"from": 99, "to": 100}),
    Start(),
    Pause(),
    Resume(),
]


def completed() -> LongLiveDirector:
    director = started()
    play(director, CHUNKS_PER_SCENE)
    return director


def test_a_new_session() -> None:
    director: Director = LongLiveDirector()
    (message,) = director.connect()
    assert message.model_dump() == {
        "running": False,
        "started": False,
        "paused": False,
        "current_chunk": 0,
        "session_chunk": 0,
        "current_frame": 0,
        "current_prompt": None,
        "has_prompt": False,
        "seed": 42,
        "scheduled_shots": [],
        "scheduled_scene_cuts": [],
    }
    assert director.begin_chunk() is None
    assert director.run == 0


@pytest.mark.parametrize("prompt", ["", " ", "\t\n", "\u00a0\u2003"])
@pytest.mark.parametrize("command", [SetShot, CutScene, ScheduleShot, ScheduleSceneCut])
def test_l1_a_blank_prompt_is_refused(command: type[Command], prompt: str) -> None:
    assert refused(started(), command.model_validate({"prompt": prompt})) == PROMPT_EMPTY
    assert refused(started(), command()) == PROMPT_EMPTY


def test_l1_a_prompt_is_kept_as_sent() -> None:
    director = LongLiveDirector()
    assert give(director, SetShot(prompt="  a dune\n")) == [ShotSet(prompt="  a dune\n"), state(director)]
    assert state(director).current_prompt == "  a dune\n"


def test_l2_start_emits_state_then_generation_started_with_the_first_chunk() -> None:
    director = LongLiveDirector()
    give(director, SetShot(prompt="dune"))
    assert names(give(director, Start())) == ["state"]
    assert state(director).running
    plan = begin(director)
    announced = GenerationStarted(prompt="dune", chunk_num=48, frame_num=48 * FRAMES)
    assert plan.messages == (announced, state(director))
    assert (plan.kind, plan.prompt, plan.chunk, plan.scene_chunk) == ("open", "dune", 0, 0)
    end(director, plan)
    assert begin(director).messages == ()


@pytest.mark.parametrize("commands", [[], [SetShot(prompt="a")], [SetShot(prompt="a"), Start(), Pause()]])
def test_l3_reset_is_never_refused(commands: list[Command]) -> None:
    director = LongLiveDirector()
    give(director, *commands)
    assert names(give(director, Reset())) == ["generation_reset", "state"]
    assert names(give(completed(), Reset())) == ["generation_reset", "state"]


def test_l4_a_soft_shot_emits_no_scene_cut() -> None:
    director = started()
    play(director)
    give(director, SetShot(prompt="live"), ScheduleShot(prompt="planned", at_session_chunk=2))
    for prompt in ("live", "planned"):
        plan = begin(director)
        assert (plan.kind, plan.prompt, names(plan.messages)) == ("shot", prompt, ["state"])
        end(director, plan)


def test_l4_a_scheduled_cut_that_fires_emits_scene_cut() -> None:
    director = started("a", ScheduleSceneCut(prompt="b", at_session_chunk=2))
    play(director, 2)
    plan = begin(director)
    assert plan.messages == (SceneCut(prompt="b", at_session_chunk=2), state(director))
    assert (plan.kind, plan.scene_chunk, plan.chunk) == ("cut", 0, 2)


def test_l5_completion_ends_and_locks_the_run() -> None:
    director = completed()
    now = state(director)
    assert (now.started, now.running, now.paused) == (False, False, False)
    assert (now.current_chunk, now.session_chunk, now.current_prompt) == (47, 48, "opening")
    assert director.begin_chunk() is None
    assert {refused(director, command) for command in LOCKED} == {RUN_COMPLETE}


def test_l5_completion_leaves_seed_and_reset_open() -> None:
    director = completed()
    assert names(give(director, SetSeed(seed=7))) == ["state"]
    give(director, Reset(), SetShot(prompt="again"), Start())
    assert begin(director).seed == 7


def test_l5_what_never_fired_stays_listed_until_reset() -> None:
    director = started("a", ScheduleShot(prompt="b", at_session_chunk=60))
    play(director, CHUNKS_PER_SCENE)
    assert state(director).scheduled_shots == [60]
    give(director, Reset())
    assert state(director).scheduled_shots == []


def test_l6_session_chunk_outlives_cuts_and_is_zero_after_start_and_reset() -> None:
    director = started()
    play(director, 5)
    give(director, CutScene(prompt="b"))
    play(director, 3)
    assert (state(director).session_chunk, state(director).current_chunk) == (8, 2)
    give(director, Reset())
    assert state(director).session_chunk == 0
    give(director, SetShot(prompt="c"), Start())
    assert state(director).session_chunk == 0


def test_l7_session_chunk_is_a_count_and_chunk_index_an_index() -> None:
    director = started()
    assert (state(director).session_chunk, state(director).current_chunk) == (0, 0)
    first, second = play(director), play(director)
    assert first[0] == ChunkComplete(chunk_index=0, session_chunk=1, frames_emitted=29, active_prompt="opening")
    assert second[0] == ChunkComplete(chunk_index=1, session_chunk=2, frames_emitted=58, active_prompt="opening")
    assert (state(director).session_chunk, state(director).current_chunk) == (2, 1)


def test_l7_a_target_counts_completed_chunks() -> None:
    director = started("a", ScheduleShot(prompt="b", at_session_chunk=2))
    plans = []
    for _ in range(4):
        plans.append(begin(director))
        end(director, plans[-1])
    assert [(p.chunk, p.prompt, p.kind) for p in plans] == [
        (0, "a", "open"),
        (1, "a", "continue"),
        (2, "b", "shot"),
        (3, "b", "continue"),
    ]


def test_l8_frames_count_from_reset_and_as_emitted() -> None:
    director = started()
    end(director, begin(director), frames=29)
    end(director, begin(director), frames=32)
    assert state(director).current_frame == 61
    give(director, Reset())
    assert state(director).current_frame == 0


def test_l9_a_past_target_is_accepted_and_not_kept() -> None:
    director = started()
    play(director, 3)
    answer = give(director, ScheduleShot(prompt="b", at_session_chunk=2))
    assert answer == [ShotScheduled(prompt="b", at_session_chunk=2), state(director)]
    answer = give(director, ScheduleSceneCut(prompt="b", at_session_chunk=0))
    assert answer == [SceneCutScheduled(prompt="b", at_session_chunk=0), state(director)]
    assert (state(director).scheduled_shots, state(director).scheduled_scene_cuts) == ([], [])


def test_l9_the_present_count_is_past_only_while_its_chunk_is_in_flight() -> None:
    director = started()
    play(director, 3)
    plan = begin(director)
    give(director, ScheduleShot(prompt="late", at_session_chunk=3))
    assert state(director).scheduled_shots == []
    end(director, plan)
    give(director, ScheduleShot(prompt="in time", at_session_chunk=4))
    assert state(director).scheduled_shots == [4]
    assert begin(director).prompt == "in time"


def test_l9_before_start_nothing_is_past() -> None:
    director = started("a", ScheduleShot(prompt="b", at_session_chunk=0))
    assert state(director).scheduled_shots == [0]
    plan = begin(director)
    assert (plan.prompt, plan.kind) == ("b", "open")


def test_l9_a_negative_target_is_refused() -> None:
    for command in (ScheduleShot, ScheduleSceneCut):
        assert refused(started(), command(prompt="b", at_session_chunk=-1)) == NEGATIVE_CHUNK
        assert refused(started(), command(prompt="b")) == NEGATIVE_CHUNK


def test_l10_generation_started_tells_the_length_of_one_scene() -> None:
    director = LongLiveDirector(Geometry(first=10, later=12))
    give(director, SetShot(prompt="a"), Start())
    assert begin(director).messages[0] == GenerationStarted(prompt="a", chunk_num=48, frame_num=10 + 47 * 12)


def test_l11_total_chunks_counts_all_scenes() -> None:
    director = started("a", ScheduleSceneCut(prompt="b", at_session_chunk=10))
    said = play(director, 10 + CHUNKS_PER_SCENE)
    assert names(said) == ["chunk_complete", "generation_complete", "state"]
    assert said[1] == GenerationComplete(total_chunks=58)


def test_l12_reset_keeps_the_seed() -> None:
    director = started()
    give(director, SetSeed(seed=7), Reset())
    assert state(director).seed == 7


def test_l12_the_seed_is_read_at_start() -> None:
    director = started("a", SetSeed(seed=5))
    give(director, SetSeed(seed=7))
    assert (begin(director).seed, state(director).seed) == (5, 7)


def test_l13_a_cut_before_start_waits_and_is_no_opening_shot() -> None:
    director = LongLiveDirector()
    assert names(give(director, CutScene(prompt="cut"))) == ["state"]
    assert not state(director).has_prompt
    assert refused(director, Start()) == NO_OPENING_SHOT
    give(director, SetShot(prompt="opening"), Start())
    plan = begin(director)
    assert (plan.kind, plan.prompt, plan.scene_chunk) == ("open", "cut", 0)
    assert names(plan.messages) == ["scene_cut", "generation_started", "state"]
    assert plan.messages[0] == SceneCut(prompt="cut", at_session_chunk=0)
    assert isinstance(plan.messages[1], GenerationStarted)
    assert plan.messages[1].prompt == "cut"


def test_l13_a_cut_scheduled_at_zero_is_announced_too() -> None:
    plan = begin(started("a", ScheduleSceneCut(prompt="cut", at_session_chunk=0)))
    assert (plan.kind, plan.prompt) == ("open", "cut")
    assert names(plan.messages) == ["scene_cut", "generation_started", "state"]


def test_l14_a_shot_scheduled_at_zero_does_not_replace_set_shot() -> None:
    director = LongLiveDirector()
    give(director, ScheduleShot(prompt="b", at_session_chunk=0))
    assert refused(director, Start()) == NO_OPENING_SHOT


def test_l15_start_is_refused_while_started() -> None:
    director = started()
    assert refused(director, Start()) == ALREADY_STARTED
    give(director, Pause())
    assert refused(director, Start()) == ALREADY_STARTED


def test_l16_a_pause_takes_effect_at_the_end_of_the_chunk() -> None:
    director = started()
    play(director, 2)
    plan = begin(director)
    assert names(give(director, Pause())) == ["state"]
    assert (state(director).paused, state(director).running) == (False, True)
    said = end(director, plan)
    assert names(said) == ["chunk_complete", "generation_paused", "state"]
    assert said[1] == GenerationPaused(chunk_index=2)
    assert (state(director).paused, state(director).running, state(director).started) == (True, False, True)
    assert director.begin_chunk() is None


@pytest.mark.parametrize("command", [Pause(), Resume(), Start(), SetShot(), ScheduleShot(prompt="a")])
def test_l17_a_refused_command_changes_nothing_and_emits_no_state(command: Command) -> None:
    refused(LongLiveDirector(), command)


def test_l18_live_cut_over_scheduled_cut_over_live_shot_over_scheduled_shot() -> None:
    beats: list[tuple[Command, str]] = [
        (CutScene(prompt="live cut"), "cut"),
        (ScheduleSceneCut(prompt="scheduled cut", at_session_chunk=1), "cut"),
        (SetShot(prompt="live shot"), "shot"),
        (ScheduleShot(prompt="scheduled shot", at_session_chunk=1), "shot"),
    ]
    for strongest, (command, kind) in enumerate(beats):
        for order in (beats[strongest:], beats[strongest:][::-1]):
            director = started()
            play(director)
            give(director, *(c for c, _ in order))
            plan = begin(director)
            assert (plan.prompt, plan.kind) == (command.model_dump()["prompt"], kind)
            end(director, plan)
            assert (state(director).scheduled_shots, state(director).scheduled_scene_cuts) == ([], [])
            assert begin(director).kind == "continue"


def test_l19_reasons() -> None:
    assert give(started(), Reset())[0] == GenerationReset(reason=RESET_REASON)
    director = LongLiveDirector()
    assert refused(director, Pause()) == NOT_GENERATING
    assert refused(director, Resume()) == NOT_PAUSED
    assert refused(director, Start()) == NO_OPENING_SHOT


def test_l20_of_the_published_commands_only_reset_clears_the_schedule() -> None:
    director = started(
        "a", ScheduleShot(prompt="b", at_session_chunk=9), ScheduleSceneCut(prompt="c", at_session_chunk=4)
    )
    give(director, Pause(), Resume(), SetSeed(seed=1), SetShot(prompt="d"))
    assert (state(director).scheduled_shots, state(director).scheduled_scene_cuts) == ([9], [4])
    give(director, Reset())
    assert (state(director).scheduled_shots, state(director).scheduled_scene_cuts) == ([], [])


def test_l21_only_a_cut_opens_a_scene_without_memory() -> None:
    director = started(
        "a", ScheduleShot(prompt="b", at_session_chunk=1), ScheduleSceneCut(prompt="c", at_session_chunk=2)
    )
    kinds = []
    for _ in range(4):
        plan = begin(director)
        kinds.append((plan.kind, plan.scene_chunk))
        end(director, plan)
    assert kinds == [("open", 0), ("shot", 1), ("cut", 0), ("continue", 1)]
