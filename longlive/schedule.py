"""Beats that wait for their chunk boundary, and which of them wins when several are due at once."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

Count = Annotated[int, Field(ge=0)]


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
        self.beats = [b for b in self.beats if b.slot != beat.slot] + [beat]

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
