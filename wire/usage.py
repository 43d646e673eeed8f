"""Answer of `GET /usage`: what an account has used, by UTC day and model. Additive: no published client asks for it."""

from __future__ import annotations

from datetime import date

from pydantic import ConfigDict, Field

from wire.http import Body


class SessionSeconds(Body):
    """Seconds of sessions by what they did; each second of a session is in one of these."""

    generating: float = 0.0
    """A client was connected, and there was something to play."""
    paused: float = 0.0
    """A client was connected, and there was nothing to play."""
    orphaned: float = 0.0
    """On a worker, and no client was connected."""
    waiting: float = 0.0
    """In the queue for a worker."""


class GpuSeconds(Body):
    """Seconds of GPUs that were kept for the sessions: their seconds on a worker, times its GPUs, over its slots."""

    generating: float = 0.0
    paused: float = 0.0
    orphaned: float = 0.0


class ModelUsage(Body):
    """Of one model on one day."""

    model: str
    sessions: int = 0
    """Sessions that got their worker on that day; one that is restarted counts again."""
    seconds: SessionSeconds = SessionSeconds()
    gpu_seconds: GpuSeconds = GpuSeconds()
    busy_seconds: float = 0.0
    """What the chunks took of a worker's device, as measured."""
    chunks: int = 0
    frames: int = 0


class DayUsage(Body):
    """Of one day in UTC; models in the order of their names."""

    day: date
    models: list[ModelUsage]


class Usage(Body):
    """The days of a range on which something was used, the first one first. Both ends belong to the range."""

    model_config = ConfigDict(populate_by_name=True)

    first: date = Field(alias="from")
    last: date = Field(alias="to")
    days: list[DayUsage]
