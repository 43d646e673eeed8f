"""Any sequence of commands, chunks, resets and moves to another worker, against a plain account of the rules.

The account keeps lists and dictionaries where the director keeps counters and beats, and predicts every answer, plan
and state. After every step the session is also moved to a fresh director, which must stand and plan the same.
"""

from __future__ import annotations

import copy
from dataclasses import dataclass, field

import pytest
from directing import begin, end, move, moved, names, state
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from longlive.director import LongLiveDirector, LongLivePlan
from longlive.protocol import (
    BeatsListed,
    CutScene,
    ListBeats,
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
from models.contract import Command, CommandError

pytestmark = pytest.mark.slow

BUDGET = 48
KIND: dict[type[Command], str] = {SetShot: "shot", CutScene: "cut", ScheduleShot: "shot", ScheduleSceneCut: "cut"}
PROMPTS = st.sampled_from([*"abcdefghijkl", " "])
COMMANDS = st.one_of(
    st.builds(SetShot, prompt=PROMPTS),
    st.builds(CutScene, prompt=PROMPTS),
    st.builds(ScheduleShot, prompt=PROMPTS, at_session_chunk=st.integers(-2, 6)),  # given relative to the count
    st.builds(ScheduleSceneCut, prompt=PROMPTS, at_session_chunk=st.integers(-2, 6)),
    st.builds(Unschedule, at_session_chunk=st.integers(-2, 6)),
    st.builds(move, st.integers(-2, 6), st.integers(-2, 6)),
    st.builds(ListBeats),
    st.builds(SetSeed, seed=st.integers(0, 2**70)),
    st.builds(Start),
    st.builds(Pause),
    st.builds(Resume),
)


@dataclass
class Account:
    """What a session is to be, told with the history of its run."""

    seed: int = 42
    run: int = 0
    run_seed: int = 42
    mode: str = "idle"
    scenes: list[int] = field(default_factory=lambda: [0])
    """Chunks completed in each scene of the run."""
    frames: int = 0
    prompt: str | None = None
    waiting: dict[tuple[str, int | None], str] = field(default_factory=dict)
    crossed: str | None = None
    """Kind of the boundary crossed for the chunk that is open, or lost with its worker."""

    @property
    def count(self) -> int:
        return sum(self.scenes)

    @property
    def started(self) -> bool:
        return self.mode in ("on", "pausing", "paused")

    def winner(self) -> tuple[str, int | None] | None:
        """The slot of the beat that fires at the boundary after `count` chunks."""
        order: list[tuple[str, int | None]] = [("cut", None), ("cut", self.count), ("shot", None), ("shot", self.count)]
        return next((slot for slot in order if slot in self.waiting), None)

    def planned(self, at: int) -> set[str]:
        return {kind for kind, when in self.waiting if when == at}

    def is_ahead(self, at: int) -> bool:
        return at >= self.count + (self.crossed is not None)

    def may_lose(self, at: int) -> bool:
        """Whether something is planned there, and the run can do without."""
        left = {slot for slot in self.waiting if slot[1] != at}
        goes_on = self.scenes[-1] < BUDGET or bool(left & {("cut", None), ("cut", self.count)})
        return self.is_ahead(at) and bool(self.planned(at)) and goes_on

    def accepts(self, command: Command) -> bool:
        if isinstance(command, Reset | SetSeed | ListBeats):
            return True
        if self.mode == "locked":
            return False
        match command:
            case Unschedule(at_session_chunk=at):
                return self.may_lose(at)
            case MoveBeat(from_=at, to=to):
                return self.may_lose(at) and self.is_ahead(to) and not self.planned(to)
            case ScheduleShot() | ScheduleSceneCut():
                return bool(command.prompt.strip()) and command.at_session_chunk >= 0
            case SetShot() | CutScene():
                return bool(command.prompt.strip())
            case Start():
                return not self.started and self.prompt is not None
            case Pause():
                return self.mode == "on"
            case _:
                return self.mode == "paused"

    def apply(self, command: Command, in_flight: bool) -> list[str]:
        """Take an accepted command; the names of the messages it is to be answered with."""
        match command:
            case SetShot(prompt=prompt) if not self.started:
                self.prompt = prompt
                return ["shot_set", "state"]
            case SetShot(prompt=prompt):
                self.waiting["shot", None] = prompt
                return ["shot_set", "state"]
            case CutScene(prompt=prompt):
                self.waiting["cut", None] = prompt
            case (
                ScheduleShot(prompt=prompt, at_session_chunk=at) | ScheduleSceneCut(prompt=prompt, at_session_chunk=at)
            ):
                if self.is_ahead(at):
                    self.waiting[KIND[type(command)], at] = prompt
                return ["shot_scheduled" if isinstance(command, ScheduleShot) else "scene_cut_scheduled", "state"]
            case Unschedule(at_session_chunk=at):
                for kind in self.planned(at):
                    del self.waiting[kind, at]
                return ["unscheduled", "state"]
            case MoveBeat(from_=at, to=to):
                for kind in self.planned(at):
                    self.waiting[kind, to] = self.waiting.pop((kind, at))
                return ["beat_moved", "state"]
            case ListBeats():
                return ["beats_listed", "state"]
            case SetSeed(seed=seed):
                self.seed = seed
            case Start():
                self.run, self.run_seed, self.mode = self.run + 1, self.seed, "on"
            case Pause() if in_flight:
                self.mode = "pausing"
            case Pause():
                self.mode = "paused"
                return ["generation_paused", "state"]
            case Resume():
                self.mode = "on"
                return ["generation_resumed", "state"]
            case Reset():
                vars(self).update(vars(Account(seed=self.seed, run=self.run + 1)))
                return ["generation_reset", "state"]
        return ["state"]

    def cross(self) -> list[str]:
        """Cross the boundary; the names of the messages that go with the plan."""
        slot = self.winner()
        if slot is not None:
            self.prompt = self.waiting[slot]
        cut = slot is not None and slot[0] == "cut"
        first = self.count == 0
        if cut and not first:
            self.scenes.append(0)
        self.waiting = {s: p for s, p in self.waiting.items() if s[1] not in (None, self.count)}
        self.crossed = "open" if first else slot[0] if slot else "continue"
        said = ["scene_cut"] * cut + ["generation_started"] * first
        return [*said, "state"] if said or slot else []

    def finish(self, frames: int) -> list[str]:
        """End the chunk; the names of the messages."""
        self.scenes[-1] += 1
        self.frames += frames
        self.crossed = None
        slot = self.winner()
        if self.scenes[-1] == BUDGET and (slot is None or slot[0] != "cut"):
            self.mode = "locked"
            return ["chunk_complete", "generation_complete", "state"]
        if self.mode == "pausing":
            self.mode = "paused"
            return ["chunk_complete", "generation_paused", "state"]
        return ["chunk_complete", "state"]

    def timeline(self) -> list[tuple[int, str, str]]:
        """Chunk, kind and prompt of what is planned, in the order of the wire."""
        names = {"cut": "scene_cut", "shot": "shot"}
        return sorted((at, names[kind], prompt) for (kind, at), prompt in self.waiting.items() if at is not None)

    def targets(self, kind: str) -> list[int]:
        return sorted(at for k, at in self.waiting if k == kind and at is not None)


class Session(RuleBasedStateMachine):
    def __init__(self) -> None:
        super().__init__()
        self.director = LongLiveDirector()
        self.account = Account()
        self.open: LongLivePlan | None = None
        self.again: LongLivePlan | None = None  # the chunk that was open when its worker was lost
        self.abandoned: LongLivePlan | None = None

    def give(self, command: Command) -> None:
        before = self.director.snapshot()
        said = list(self.director.handle(command))
        if not self.account.accepts(command):
            assert [(type(m), m.model_dump().get("command")) for m in said] == [(CommandError, command.wire_name())]
            assert self.director.snapshot() == before
            return
        assert names(said) == self.account.apply(command, self.open is not None)
        assert said[-1] == state(self.director)
        if isinstance(command, Resume):
            assert said[0].model_dump()["chunk_index"] == begin(moved(self.director)).scene_chunk

    def make_chunks(self, chunks: int) -> None:
        for _ in range(chunks):
            if self.open is None:
                self.begin_chunk()
            if self.open is not None:
                self.end_chunk(frames=29)

    @rule(command=COMMANDS)
    def command(self, command: Command) -> None:
        count = self.account.count
        if isinstance(command, ScheduleShot | ScheduleSceneCut | Unschedule):
            command = command.model_copy(update={"at_session_chunk": count + command.at_session_chunk})
        if isinstance(command, MoveBeat):
            command = move(count + command.from_, count + command.to)
        self.give(command)

    @precondition(lambda self: self.account.timeline())
    @rule(pick=st.integers(0, 20), to=st.none() | st.integers(-1, 6))
    def edit_what_is_planned(self, pick: int, to: int | None) -> None:
        timeline = self.account.timeline()
        at = timeline[pick % len(timeline)][0]
        self.give(Unschedule(at_session_chunk=at) if to is None else move(at, self.account.count + to))

    @precondition(lambda self: self.account.mode == "on")
    @rule(saved=st.booleans(), to=st.none() | st.integers(-1, 3))
    def edit_the_cut_that_goes_on(self, saved: bool, to: int | None) -> None:
        self.make_chunks(BUDGET - 1 - self.account.scenes[-1])
        if self.account.mode != "on":
            return
        self.commands_in_flight([ScheduleSceneCut(prompt="goes on", at_session_chunk=1)])
        self.make_chunks(1)
        if saved:
            self.give(CutScene(prompt="goes on too"))
        at = self.account.count
        self.give(Unschedule(at_session_chunk=at) if to is None else move(at, at + to))

    @rule(commands=st.lists(COMMANDS, min_size=1, max_size=3))
    def commands_in_flight(self, commands: list[Command]) -> None:
        if self.open is None:
            self.begin_chunk()
        for command in commands:
            self.command(command)

    @rule(beats=st.lists(st.sampled_from(list(KIND)), min_size=2, max_size=4, unique=True))
    def beats_for_one_boundary(self, beats: list[type[Command]]) -> None:
        at = self.account.count + (self.account.crossed is not None)
        for number, beat in enumerate(beats):
            target = {"at_session_chunk": at} if beat in (ScheduleShot, ScheduleSceneCut) else {}
            self.give(beat.model_validate({"prompt": f"beat {number}", **target}))
        self.make_chunks(2)

    @initialize(before=st.lists(COMMANDS, max_size=2))
    def some_commands_first(self, before: list[Command]) -> None:
        for command in before:
            self.command(command)
        self.open_and_start("opening")

    @precondition(lambda self: not self.account.started)
    @rule(prompt=PROMPTS)
    def open_and_start(self, prompt: str) -> None:
        self.give(SetShot(prompt=prompt))
        self.give(Start())

    @rule(sure=st.sampled_from([False, False, True]))
    def reset(self, sure: bool) -> None:
        if not (sure or self.account.mode == "locked"):
            return
        self.give(Reset())
        self.abandoned, self.open, self.again = self.open or self.abandoned, None, None

    @precondition(lambda self: self.open is None)
    @rule()
    def begin_chunk(self) -> None:
        a = self.account
        plan = self.director.begin_chunk()
        if a.mode not in ("on", "pausing"):
            assert plan is None
            return
        assert plan is not None
        if self.again is None:
            assert names(plan.messages) == a.cross()
        assert not plan.messages or plan.messages[-1] == state(self.director)
        assert (plan.run, plan.chunk, plan.seed) == (a.run, a.count, a.run_seed)
        assert (plan.prompt, plan.kind, plan.scene_chunk) == (a.prompt, a.crossed, a.scenes[-1])
        self.open, self.again = plan, None

    @precondition(lambda self: self.open is not None)
    @rule(frames=st.sampled_from([29, 32]))
    def end_chunk(self, frames: int) -> None:
        assert self.open is not None
        expected = self.account.finish(frames)
        said = end(self.director, self.open, frames)
        assert names(said) == expected
        assert said[0].model_dump() == {
            "chunk_index": self.account.scenes[-1] - 1,
            "session_chunk": self.account.count,
            "frames_emitted": self.account.frames,
            "active_prompt": self.account.prompt,
        }
        if expected[1] == "generation_paused":
            assert said[1].model_dump()["chunk_index"] == self.account.scenes[-1] - 1
        self.open = None

    @rule(chunks=st.integers(1, 5))
    def play(self, chunks: int) -> None:
        self.make_chunks(chunks)

    @precondition(lambda self: self.account.mode == "on")
    @rule(commands=st.lists(COMMANDS, max_size=3))
    def play_the_last_chunk_of_the_scene(self, commands: list[Command]) -> None:
        self.make_chunks(BUDGET - 1 - self.account.scenes[-1])
        if self.account.mode == "on":
            self.commands_in_flight(commands)
        self.make_chunks(1)

    @precondition(lambda self: self.abandoned is not None)
    @rule()
    def an_abandoned_chunk_ends(self) -> None:
        assert self.abandoned is not None
        before = self.director.snapshot()
        assert end(self.director, self.abandoned) == []
        assert self.director.snapshot() == before
        self.abandoned = None

    @rule()
    def move(self) -> None:
        self.director = moved(self.director)
        self.again, self.open = self.open or self.again, None

    @invariant()
    def the_state_is_as_accounted(self) -> None:
        a = self.account
        assert state(self.director).model_dump() == {
            "running": a.mode in ("on", "pausing"),
            "started": a.started,
            "paused": a.mode == "paused",
            "current_chunk": max(0, a.scenes[-1] - 1),
            "session_chunk": a.count,
            "current_frame": a.frames,
            "current_prompt": a.prompt,
            "has_prompt": a.prompt is not None,
            "seed": a.seed,
            "scheduled_shots": a.targets("shot"),
            "scheduled_scene_cuts": a.targets("cut"),
        }
        assert self.director.run == a.run

    @invariant()
    def the_timeline_is_as_accounted(self) -> None:
        (listed, _) = moved(self.director).handle(ListBeats())
        assert isinstance(listed, BeatsListed)
        assert [(b.at_session_chunk, b.kind, b.prompt) for b in listed.beats] == self.account.timeline()

    @invariant()
    def no_scene_is_over_budget(self) -> None:
        assert all(chunks <= BUDGET for chunks in self.account.scenes)

    @invariant()
    def a_moved_session_stands_and_plans_the_same(self) -> None:
        other = moved(self.director)
        assert (state(other), other.run) == (state(self.director), self.director.run)
        plan = other.begin_chunk()
        if self.open is not None:
            assert plan is not None
            assert {**as_dict(plan), "messages": names(plan.messages)} == {
                **as_dict(self.open),
                "messages": names(self.open.messages),
            }
        else:
            assert plan == copy.deepcopy(self.director).begin_chunk()


def as_dict(plan: LongLivePlan) -> dict[str, object]:
    return {name: getattr(plan, name) for name in ("run", "chunk", "prompt", "kind", "scene_chunk", "seed")}


TestSession = Session.TestCase
TestSession.settings = settings(max_examples=70, stateful_step_count=50, deadline=None)
