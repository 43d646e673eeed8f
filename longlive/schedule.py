"""Beats that wait for their chunk boundary, and which of them wins when several are due at once."""

from __future__ import annotations

import json
from functools import cached_property
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

Count = Annotated[int, Field(ge=0)]

MAX_BEATS = 1024
"""Beats that may be scheduled at a time."""

MAX_PROMPTS_BYTES = 131_072
"""Bytes of their prompts together, written as JSON: with `MAX_BEATS`, a list of all fits into one data-channel message
(256 KiB) of either protocol."""


class Beat(BaseModel):
    """A change of prompt that waits: for the next boundary when `at` is None (live), else for the boundary at which
    `at` chunks of the run are complete (scheduled)."""

    model_config = ConfigDict(strict=True, extra="forbid", frozen=True, hide_input_in_errors=True)

    kind: Literal["shot", "cut"]
    prompt: str
    at: Count | None

    @property
    def slot(self) -> tuple[str, int | None]:
        """What a beat shares with the one it replaces."""
        return self.kind, self.at

    @cached_property
    def size(self) -> int:
        """Bytes of the prompt, written as JSON."""
        return len(json.dumps(self.prompt, ensure_ascii=False).encode())

    @property
    def rank(self) -> tuple[bool, bool]:
        """Smallest wins: live cut, scheduled cut, live shot, scheduled shot."""
        return self.kind == "shot", self.at is not None


class Schedule(BaseModel):
    """The waiting beats of a session, at most one for each kind and boundary."""

    model_config = ConfigDict(strict=True, extra="forbid", hide_input_in_errors=True)

    beats: list[Beat]

    def plant(self, beat: Beat) -> None:
        """Let the beat wait, in place of one of the same kind for the same boundary."""
        self.beats = [*self._others(beat), beat]

    def has_room(self, beat: Beat) -> bool:
        """Whether the scheduled beat may wait too, in place of one of the same kind for the same boundary."""
        scheduled = [b for b in self._others(beat) if b.at is not None]
        return len(scheduled) < MAX_BEATS and beat.size + sum(b.size for b in scheduled) <= MAX_PROMPTS_BYTES

    def at(self, chunk: int) -> list[Beat]:
        """The beats scheduled for the boundary before session-wide `chunk`."""
        return [b for b in self.beats if b.at == chunk]

    def remove(self, chunk: int) -> None:
        """Take away the beats scheduled for a boundary."""
        self.beats = [b for b in self.beats if b.at != chunk]

    def move(self, chunk: int, to: int) -> None:
        """Let the beats scheduled for a boundary wait for another, to which none is."""
        self.beats = [b.model_copy(update={"at": to}) if b.at == chunk else b for b in self.beats]

    def listed(self) -> list[Beat]:
        """The scheduled beats, by boundary and then by rank."""
        return sorted((b for b in self.beats if b.at is not None), key=lambda b: (b.at, b.rank))

    def due(self, chunk: int) -> Beat | None:
        """The beat that the boundary before session-wide `chunk` will bring."""
        return min((b for b in self.beats if b.at in (None, chunk)), key=lambda b: b.rank, default=None)

    def take(self, chunk: int) -> Beat | None:
        """The beat due at that boundary; the beats it supersedes there are gone with it."""
        beat = self.due(chunk)
        self.beats = [b for b in self.beats if b.at not in (None, chunk)]
        return beat

    def cut_due(self, chunk: int) -> bool:
        """Whether that boundary will bring a new scene."""
        beat = self.due(chunk)
        return beat is not None and beat.kind == "cut"

    def scheduled(self, kind: Literal["shot", "cut"]) -> list[int]:
        """Chunk counts of the scheduled beats of a kind, ascending."""
        return sorted(b.at for b in self.beats if b.kind == kind and b.at is not None)

    def _others(self, beat: Beat) -> list[Beat]:
        """The beats that `beat` does not take the place of."""
        return [b for b in self.beats if b.at != beat.at or b.kind != beat.kind]
