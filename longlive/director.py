"""Directs a session: commands and chunk boundaries in, messages and chunk plans out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from pydantic import ValidationError

from longlive.progress import Crossing, Kind, Progress
from longlive.protocol import (
    BeatMoved,
    BeatsListed,
    ChunkComplete,
    CutScene,
    GenerationComplete,
    GenerationPaused,
    GenerationReset,
    GenerationResumed,
    GenerationStarted,
    ListBeats,
    ListedBeat,
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
    Unscheduled,
)
from longlive.refusals import refusal
from longlive.schedule import Beat
from longlive.spec import CHUNKS_PER_SCENE, FRESH
from models.contract import ChunkPlan, ChunkResult, Command, CommandError, Geometry, Message
from models.snapshots import not_taken_up

DEFAULT_SEED = SetSeed().seed
RESET_REASON = "client requested reset"


@dataclass(frozen=True, slots=True, kw_only=True)
class LongLivePlan(ChunkPlan):
    """The next chunk. `chunk` counts from 0 over the whole run, `scene_chunk` from 0 in the scene.

    `kind`: `open` is the first chunk of the run, `shot` the first under a new prompt in the same scene, `cut` the
    first of a new scene that remembers nothing.
    """

    prompt: str
    kind: Kind
    scene_chunk: int
    seed: int


class LongLiveDirector:
    """A session's director. Every accepted command ends in one `State`; a refused one is a lone `CommandError`."""

    def __init__(self, geometry: Geometry = FRESH) -> None:
        self._geometry = geometry
        self._progress = Progress.idle(run=0, seed=DEFAULT_SEED)
        self._open: LongLivePlan | None = None

    @property
    def run(self) -> int:
        """Goes up at every accepted start and at every reset."""
        return self._progress.run

    def connect(self) -> Sequence[Message]:
        """The state, and what is planned if anything is: a state does not say its prompts."""
        planned = self._planned()
        return [self._progress.state(), *([planned] if planned.beats else [])]

    def handle(self, command: Command) -> Sequence[Message]:
        """Apply the command, or refuse it; raises TypeError when it is not one of this model."""
        reason = refusal(command, self._progress)
        if reason is not None:
            return [CommandError(command=command.wire_name(), reason=reason)]
        return [*self._apply(command), self._progress.state()]

    def begin_chunk(self) -> LongLivePlan | None:
        """Cross the next boundary: the strongest beat due there fires. None unless generating."""
        assert self._open is None, "the chunk begun last has not ended"
        p = self._progress
        if not p.generating:
            return None
        crossing = p.cross()
        assert p.prompt is not None, "a run has a prompt"
        self._open = LongLivePlan(
            run=p.run,
            chunk=p.session_chunk,
            messages=self._crossing_messages(crossing, p.prompt),
            prompt=p.prompt,
            kind=crossing.kind,
            scene_chunk=p.scene_chunk,
            seed=p.run_seed,
        )
        return self._open

    def end_chunk(self, result: ChunkResult) -> Sequence[Message]:
        """Count the chunk; come to rest if a pause was asked for, or complete the run if its scene is used up."""
        if result.plan.run != self.run:
            return []
        plan, p = self._open, self._progress
        assert plan is not None, "no chunk is begun"
        assert plan == result.plan, "not the chunk begun last"
        self._open = None
        p.complete_chunk(result.frames)
        messages: list[Message] = [
            ChunkComplete(
                chunk_index=plan.scene_chunk,
                session_chunk=p.session_chunk,
                frames_emitted=p.frames,
                active_prompt=plan.prompt,
            )
        ]
        if p.phase == "complete":
            messages.append(GenerationComplete(total_chunks=p.session_chunk))
        elif p.phase == "paused":
            messages.append(GenerationPaused(chunk_index=p.current_chunk))
        return [*messages, p.state()]

    def snapshot(self) -> dict[str, Any]:
        """The session's progress, JSON-safe. A chunk in the making will be planned again, the same."""
        return self._progress.model_dump(mode="json")

    def restore(self, state: Mapping[str, Any]) -> None:
        """Go on from a snapshot. Raises OtherVersion and ValueError, changing nothing, when it is none of ours."""
        try:
            self._progress = Progress.model_validate(dict(state) if isinstance(state, Mapping) else state)
        except ValidationError as error:
            raise not_taken_up(error, "a director's snapshot") from None
        self._open = None

    def contents(self) -> Sequence[str]:
        """The prompt in force and those of all beats."""
        p = self._progress
        return [*([] if p.prompt is None else [p.prompt]), *(beat.prompt for beat in p.schedule.beats)]

    def _apply(self, command: Command) -> list[Message]:
        match command:
            case SetShot(prompt=prompt):
                self._set_shot(prompt)
                return [ShotSet(prompt=prompt)]
            case CutScene(prompt=prompt):
                self._plant(Beat(kind="cut", prompt=prompt, at=None))
                return []
            case ScheduleShot(prompt=prompt, at_session_chunk=at):
                self._plant(Beat(kind="shot", prompt=prompt, at=at))
                return [ShotScheduled(prompt=prompt, at_session_chunk=at)]
            case ScheduleSceneCut(prompt=prompt, at_session_chunk=at):
                self._plant(Beat(kind="cut", prompt=prompt, at=at))
                return [SceneCutScheduled(prompt=prompt, at_session_chunk=at)]
            case SetSeed(seed=seed):
                self._progress.seed = seed
                return []
            case Unschedule() | MoveBeat() | ListBeats():
                return [self._edit(command)]
            case _:
                return self._transport(command)

    def _edit(self, command: Unschedule | MoveBeat | ListBeats) -> Message:
        schedule = self._progress.schedule
        match command:
            case Unschedule(at_session_chunk=at):
                schedule.remove(at)
                return Unscheduled(at_session_chunk=at)
            case MoveBeat(from_=at, to=to):
                schedule.move(at, to)
                return BeatMoved.model_validate({"from": at, "to": to})
            case ListBeats():
                return self._planned()

    def _planned(self) -> BeatsListed:
        return BeatsListed(beats=[_listed(beat) for beat in self._progress.schedule.listed()])

    def _transport(self, command: Command) -> list[Message]:
        match command:
            case Start():
                self._progress.start()
                return []
            case Pause():
                return self._pause()
            case Resume():
                return self._resume()
            case Reset():
                return self._reset()
            case _:
                raise TypeError(f"not a command of this model: {type(command).__name__}")

    def _set_shot(self, prompt: str) -> None:
        if self._progress.started:
            self._plant(Beat(kind="shot", prompt=prompt, at=None))
        else:
            self._progress.prompt = prompt

    def _plant(self, beat: Beat) -> None:
        """A beat whose boundary is past would never fire, so it is not kept."""
        if beat.at is None or not self._progress.is_past(beat.at):
            self._progress.schedule.plant(beat)

    def _pause(self) -> list[Message]:
        p = self._progress
        if self._open is not None:
            p.phase = "pausing"
            return []
        p.phase = "paused"
        return [GenerationPaused(chunk_index=p.current_chunk)]

    def _resume(self) -> list[Message]:
        p = self._progress
        p.phase = "generating"
        return [GenerationResumed(chunk_index=0 if p.cut_next else p.scene_chunk)]

    def _reset(self) -> list[Message]:
        self._progress = Progress.idle(run=self.run + 1, seed=self._progress.seed)
        self._open = None
        return [GenerationReset(reason=RESET_REASON)]

    def _crossing_messages(self, crossing: Crossing, prompt: str) -> tuple[Message, ...]:
        if crossing.kind == "continue":
            return ()
        messages: list[Message] = []
        if crossing.cut:
            messages.append(SceneCut(prompt=prompt, at_session_chunk=self._progress.session_chunk))
        if crossing.kind == "open":
            frames = self._geometry.frames(CHUNKS_PER_SCENE)
            messages.append(GenerationStarted(prompt=prompt, chunk_num=CHUNKS_PER_SCENE, frame_num=frames))
        return (*messages, self._progress.state())


def _listed(beat: Beat) -> ListedBeat:
    assert beat.at is not None, "a live beat is not on the timeline"
    kind: Literal["shot", "scene_cut"] = "shot" if beat.kind == "shot" else "scene_cut"
    return ListedBeat(kind=kind, prompt=beat.prompt, at_session_chunk=beat.at)
