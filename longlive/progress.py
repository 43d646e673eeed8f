"""Where a session stands: everything of a director that outlives its process.

A boundary that has been crossed is part of it, the chunk that then opened is not: whoever takes over plans that chunk
again, the same, and beats that arrived meanwhile still wait for the boundary after it.
"""

from __future__ import annotations

from typing import Literal, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

from longlive.protocol import State
from longlive.schedule import Count, Schedule
from longlive.spec import CHUNKS_PER_SCENE

Phase = Literal["idle", "generating", "pausing", "paused", "complete"]
"""`pausing` waits for the end of the chunk in the making; `complete` is locked until a reset."""

Kind = Literal["open", "continue", "shot", "cut"]
"""What a boundary is: the first of the run, none that one sees, a soft change, a new scene."""


class Crossing(BaseModel):
    """The boundary before the chunk in the making. `cut`: a scene cut fired, which at the first chunk is no `kind`."""

    model_config = ConfigDict(strict=True, extra="forbid", frozen=True, hide_input_in_errors=True)

    kind: Kind
    cut: bool


class Progress(BaseModel):
    """Counters, prompt, beats and phase of a session. Validation admits only what a director can reach."""

    model_config = ConfigDict(strict=True, extra="forbid", hide_input_in_errors=True)

    model: Literal["longlive-v2"]
    version: Literal[1]
    run: Count
    phase: Phase
    seed: Count
    run_seed: Count = Field(description="The seed that `start` has read.")
    session_chunk: Count = Field(description="Chunks completed in the run.")
    scene_chunk: int = Field(ge=0, le=CHUNKS_PER_SCENE, description="Chunks completed in the scene.")
    frames: Count = Field(description="Frames emitted since the session began or was last reset.")
    prompt: str | None = Field(description="The prompt in force; before `start`, the opening shot.")
    schedule: Schedule
    crossing: Crossing | None = Field(description="Set from the start of a chunk to its end.")

    @classmethod
    def idle(cls, run: int, seed: int) -> Self:
        """A session that nobody has directed yet."""
        return cls(
            model="longlive-v2",
            version=1,
            run=run,
            phase="idle",
            seed=seed,
            run_seed=seed,
            session_chunk=0,
            scene_chunk=0,
            frames=0,
            prompt=None,
            schedule=Schedule(beats=[]),
            crossing=None,
        )

    @property
    def started(self) -> bool:
        """A run is going on, paused or not."""
        return self.phase in ("generating", "pausing", "paused")

    @property
    def generating(self) -> bool:
        """A chunk is being made or is to be made next."""
        return self.phase in ("generating", "pausing")

    @property
    def current_chunk(self) -> int:
        """Index in its scene of the last complete chunk; 0 before the first."""
        return max(0, self.scene_chunk - 1)

    @property
    def cut_next(self) -> bool:
        """Whether the next chunk will open a new scene by a cut that has not fired yet."""
        return self.crossing is None and self.schedule.cut_due(self.session_chunk)

    def is_past(self, chunk: int) -> bool:
        """Whether the boundary before session-wide `chunk` has been crossed in this run."""
        return chunk < self.session_chunk or (chunk == self.session_chunk and self.crossing is not None)

    def hangs_on(self, chunk: int) -> bool:
        """Whether a run whose scene is used up goes on only by the cut scheduled for the boundary before `chunk`."""
        spent = self.scene_chunk == CHUNKS_PER_SCENE and chunk == self.session_chunk
        return spent and not any(b.slot == ("cut", None) for b in self.schedule.beats)

    def start(self) -> None:
        """Begin the run: its first boundary comes next."""
        self.run += 1
        self.phase = "generating"
        self.run_seed = self.seed

    def cross(self) -> Crossing:
        """Cross the boundary before the next chunk; crossing it again changes nothing."""
        if self.crossing is None:
            beat = self.schedule.take(self.session_chunk)
            cut = beat is not None and beat.kind == "cut"
            if beat is not None:
                self.prompt = beat.prompt
            if cut:
                self.scene_chunk = 0
            kind: Kind = "open" if self.session_chunk == 0 else beat.kind if beat is not None else "continue"
            self.crossing = Crossing(kind=kind, cut=cut)
        return self.crossing

    def complete_chunk(self, frames: int) -> None:
        """Count the chunk in the making, then settle a pause asked for, or the end of the run."""
        self.crossing = None
        self.session_chunk += 1
        self.scene_chunk += 1
        self.frames += frames
        if self.scene_chunk == CHUNKS_PER_SCENE and not self.cut_next:
            self.phase = "complete"
        elif self.phase == "pausing":
            self.phase = "paused"

    def state(self) -> State:
        """As clients see it."""
        return State(
            running=self.generating,
            started=self.started,
            paused=self.phase == "paused",
            current_chunk=self.current_chunk,
            session_chunk=self.session_chunk,
            current_frame=self.frames,
            current_prompt=self.prompt,
            has_prompt=self.prompt is not None,
            seed=self.seed,
            scheduled_shots=self.schedule.scheduled("shot"),
            scheduled_scene_cuts=self.schedule.scheduled("cut"),
        )

    @model_validator(mode="after")
    def _is_reachable(self) -> Self:
        if not (self._counters_fit() and self._phase_fits() and self._beats_fit()):
            raise ValueError("counters, phase and beats do not fit together")
        return self

    def _counters_fit(self) -> bool:
        first, new_scene = self.session_chunk == 0, self.scene_chunk == 0
        if self.scene_chunk > self.session_chunk:
            return False
        match self.crossing:
            case None:
                return first == new_scene
            case Crossing(kind="open"):
                return first
            case Crossing(kind="cut", cut=cut):
                return cut and new_scene and not first
            case Crossing(cut=cut):
                return not (cut or new_scene or first)

    def _phase_fits(self) -> bool:
        at_rest = self.crossing is None
        spent = self.scene_chunk == CHUNKS_PER_SCENE and not self.cut_next
        if (self.phase == "complete") != spent or (spent and not at_rest):
            return False
        if self.phase == "idle":
            return at_rest and self.session_chunk == self.frames == 0
        return self.run > 0 and self.prompt is not None and (self.phase != "pausing" or not at_rest)

    def _beats_fit(self) -> bool:
        beats = self.schedule.beats
        prompts = [b.prompt for b in beats] + ([] if self.prompt is None else [self.prompt])
        return (
            len({b.slot for b in beats}) == len(beats)
            and not any(b.at is not None and self.is_past(b.at) for b in beats)
            and not any(p.strip() == "" for p in prompts)
        )
