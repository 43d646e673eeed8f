"""From what players have seen to figures: percentiles, and what is measured at all."""

from __future__ import annotations

import statistics
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from benchmarks.load.playback import Player, Stall, freezes
from benchmarks.load.seen import Seen
from benchmarks.viewer import FPS

WARM_S = 5.0
"""Of each participant, from its first picture on, which are not measured."""
LEAST_S = 5.0
"""Who was measured for less is left out."""
LATE_S = 0.1
"""By the strip, a chunk has missed its deadline if its first picture came so long after it was due."""
UNSEEN_S = 5.0
"""Commands sent so short before the end are not waited for."""


@dataclass(frozen=True, slots=True)
class Span:
    """From when to when, in seconds."""

    begin: float
    end: float

    @property
    def seconds(self) -> float:
        """Its length."""
        return self.end - self.begin

    def __contains__(self, at: float) -> bool:
        return self.begin <= at < self.end


def measured(seen: Seen, window: Span) -> Span | None:
    """The part of the window in which a participant is measured: past its warm-up, before it left. None: too short."""
    if seen.failure or seen.first is None:
        return None
    span = Span(max(window.begin, seen.first + WARM_S), min(window.end, seen.left))
    return span if span.seconds >= LEAST_S else None


def nearest_rank(values: Sequence[float], percent: int) -> float:
    """The smallest value that so many per cent do not exceed (1 to 100): always one of the values."""
    rank = -(-percent * len(values) // 100)
    return sorted(values)[max(rank, 1) - 1]


@dataclass(frozen=True, slots=True)
class Spread:
    """How many there were, and nearest-rank percentiles; None where there were none."""

    count: int
    p50: float | None
    p95: float | None
    p99: float | None
    most: float | None

    @classmethod
    def of(cls, values: Sequence[float]) -> Spread:
        """Of these."""
        if not values:
            return cls(0, None, None, None, None)
        return cls(len(values), *(nearest_rank(values, percent) for percent in (50, 95, 99, 100)))


@dataclass(frozen=True, slots=True)
class Viewed:
    """What was seen, over all participants that were measured; times in seconds.

    Lists have an entry for each of them, or for each event, so that they can be drawn. `boundaries` are chunks whose
    first picture came to a director, `late` those of them that missed their deadline by the strip; `playing` is
    how many sessions there were on the mean.
    """

    directors: int
    viewers: int
    playing: float
    failures: tuple[str, ...]
    seconds: float
    answer_s: tuple[float, ...]
    first_picture_s: tuple[float, ...]
    control_s: tuple[float, ...]
    unseen: int
    fps: tuple[float, ...]
    boundaries: int
    late: int
    freezes: int
    frozen_s: float
    underruns: int
    stalled_s: float

    @classmethod
    def of(cls, everybody: Sequence[Seen], window: Span, buffer_s: float) -> Viewed:
        """Of a step. First pictures and answers are of all directors: they are what warm-up is for the rest."""
        directors = [seen for seen in everybody if seen.role == "director" and not seen.failure]
        spans = [(seen, span) for seen in everybody if (span := measured(seen, window)) is not None]
        controls = [each for seen, span in spans for each in _controls(seen, span)]
        boundaries = [late for seen, span in spans if seen.role == "director" for late in _boundaries(seen, span)]
        frozen = [stall for seen, span in spans for stall in _frozen(seen, span)]
        dry = [stall for seen, span in spans for stall in _dry(seen, span, buffer_s)]
        return cls(
            directors=sum(seen.role == "director" for seen, _ in spans),
            viewers=sum(seen.role == "viewer" for seen, _ in spans),
            playing=sum(_there(seen, window) for seen in directors) / window.seconds,
            failures=tuple(sorted(seen.failure for seen in everybody if seen.failure)),
            seconds=sum(span.seconds for _, span in spans),
            answer_s=tuple(seen.answered - seen.asked for seen in directors),
            first_picture_s=tuple(seen.first - seen.asked for seen in directors if seen.first is not None),
            control_s=tuple(each for each in controls if each is not None),
            unseen=controls.count(None),
            fps=tuple(_rate(seen, span) for seen, span in spans),
            boundaries=len(boundaries),
            late=sum(boundaries),
            freezes=len(frozen),
            frozen_s=sum(stall.seconds for stall in frozen),
            underruns=len(dry),
            stalled_s=sum(stall.seconds for stall in dry),
        )


def _there(seen: Seen, window: Span) -> float:
    """Seconds of the window between the first picture and the leave."""
    return 0.0 if seen.first is None else max(0.0, min(window.end, seen.left) - max(window.begin, seen.first))


def _controls(seen: Seen, span: Span) -> Iterable[float | None]:
    """From a live command to the first picture made with it."""
    asked = [each for each in seen.controls if each.sent in span and each.sent < span.end - UNSEEN_S]
    return [None if each.shown is None else each.shown - each.sent for each in asked]


def _rate(seen: Seen, span: Span) -> float:
    """Pictures a second, each counted once."""
    return len({number for at, number in seen.pictures if at in span}) / span.seconds


def _boundaries(seen: Seen, span: Span) -> list[bool]:
    """For each chunk whether its first picture was late."""
    came: dict[int, float] = {}
    for at, number in seen.pictures:
        came.setdefault(number, at)
    both = [(came[first - 1], came[first]) for first in seen.firsts if first - 1 in came and first in came]
    return [at - before > 1 / FPS + LATE_S for before, at in both if at in span]


def _frozen(seen: Seen, span: Span) -> list[Stall]:
    return [stall for stall in freezes([at for at, _ in seen.pictures]) if stall.begin in span]


def _dry(seen: Seen, span: Span, buffer_s: float) -> list[Stall]:
    """The player's underruns; one that lasts to the end of the span is counted to there."""
    pictures = [picture for picture in seen.pictures if picture[0] < span.end]
    return [stall for stall in Player(FPS, buffer_s).stalls(pictures, span.end) if stall.begin in span]


def median(values: Iterable[float | None]) -> float | None:
    """Of those that are there; None if none is."""
    known = [each for each in values if each is not None]
    return statistics.median(known) if known else None
