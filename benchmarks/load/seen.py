"""What crosses between the load test and its processes of players, a JSON object a line. Times are of
`time.perf_counter`, which all processes of a machine share; prompts stay where they are."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict

from benchmarks.load.trace import Trace

KEY = "LOAD_API_KEY"
"""The environment variable with the API key, which is on no command line and in no file."""


class _Told(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Part(_Told):
    """A session to play: when it comes, and when it goes by itself; None is with the process' input."""

    at: float
    leave: float | None


class Job(_Told):
    """What a process plays: each session has its director and so many more `viewers`."""

    url: str
    trace: Trace
    codec: str | None
    viewers: int
    parts: tuple[Part, ...]


class Control(_Told):
    """A live command, and the first picture made with it; None if it did not come."""

    sent: float
    shown: float | None


class Seen(_Told):
    """What one participant has seen of its session, from its request to its leave.

    `pictures` are times and numbers by the strip in the corner; a model without one has them counted (`stamped` is
    False), and then nothing is said of chunks and controls. `firsts` are the numbers of the chunks' first pictures.
    """

    role: Literal["director", "viewer"]
    asked: float
    answered: float = 0.0
    left: float = 0.0
    stamped: bool = True
    pictures: list[tuple[float, int]] = []
    firsts: list[int] = []
    controls: list[Control] = []
    failure: str = ""

    @property
    def first(self) -> float | None:
        """When its first picture came."""
        return self.pictures[0][0] if self.pictures else None


class News(_Told):
    """From a process: that it is ready (neither), that a session plays or has failed (`begun`), at the end what was
    `seen`."""

    begun: int = 0
    seen: list[Seen] = []
