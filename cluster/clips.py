"""What is known of a recording, and which of its segments make a clip. Pure: times are seconds of media time.

Media time is what was recorded: pictures over frame rate, from 0, in which pauses take no time.
"""

from __future__ import annotations

from collections.abc import Sequence

from pydantic import BaseModel, ConfigDict

from cluster.errors import ClipGone, OutsideRecording

ROUNDING_S = 0.002
"""Times come back from clients with three digits."""


class Segment(BaseModel):
    """A piece of a recording that begins with a keyframe. `size` in bytes."""

    model_config = ConfigDict(frozen=True)

    number: int
    start_s: float
    duration_s: float
    size: int

    @property
    def end_s(self) -> float:
        """Where the next one begins."""
        return self.start_s + self.duration_s


class RecordingIndex(BaseModel):
    """A recording as Redis knows it: one session under one epoch, held by a worker until it is `stored`."""

    model_config = ConfigDict(frozen=True)

    session_id: str
    epoch: int
    worker: str
    stored: bool = False
    segments: tuple[Segment, ...] = ()

    def clip(self, start_s: float, end_s: float) -> tuple[Segment, ...] | None:
        """The segments of a clip of a stored recording. Raises as `select`."""
        return select(self.segments, start_s, end_s, self.segments[-1].end_s if self.segments else 0.0)


def select(segments: Sequence[Segment], start_s: float, end_s: float, now_s: float) -> tuple[Segment, ...] | None:
    """The segments that hold a stretch of time, whole; None while the last of them is not there yet.

    Raises:
        OutsideRecording: no such stretch can be in a recording that is `now_s` long.
        ClipGone: its beginning has been dropped.
    """
    if not 0 <= start_s < end_s <= now_s + ROUNDING_S:  # never true of a NaN, nor of infinity
        raise OutsideRecording("the clip is not within the recording")
    if segments and start_s < segments[0].start_s - ROUNDING_S:
        raise ClipGone("the clip is no longer kept")
    if not segments or segments[-1].end_s < end_s - ROUNDING_S:
        return None
    begin, end = start_s + ROUNDING_S, end_s - ROUNDING_S
    found = tuple(each for each in segments if each.end_s > begin and each.start_s < end)
    return found or tuple(segments[-1:])  # a stretch shorter than the rounding
