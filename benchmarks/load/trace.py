"""What a director does in a session: a storyboard with times, as a JSON file.

    {"name": "storyboard", "about": "…", "opening": "a red dune at dawn", "seconds": 24,
     "beats": [{"at_s": 5, "do": "shot", "prompt": "a harbour at night"},
               {"at_s": 15, "do": "cut", "prompt": "a city of glass", "ahead": true}]}

`ahead` is planned with `schedule_…` when its round begins; all others are sent at their time, and the way from there to
the first picture made with them is measured. A session that plays for longer begins the beats again.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from math import ceil
from pathlib import Path
from typing import Annotated, Any, Literal, NamedTuple, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from longlive.protocol import MAX_PROMPT_BYTES
from longlive.spec import CHUNKS_PER_SCENE, FPS, FRESH

FOLDER = Path(__file__).parents[1] / "traces"
CHUNK_S = FRESH.first / FPS
LONGEST_SCENE_S = (CHUNKS_PER_SCENE - 2) * CHUNK_S
"""A scene's chunks, less what a cut may wait for its boundary."""
LEAST_GAP_S = 2.5
"""Between live beats: two chunks, so that none takes the place of the one before it."""

Prompt = Annotated[str, Field(min_length=1, max_length=MAX_PROMPT_BYTES // 4, pattern=r"\S")]


class BadTrace(Exception):
    """A file that is no trace; the message says where and why."""


class Order(NamedTuple):
    """A command that is due `at_s` seconds after `start`; `live` ones are measured."""

    at_s: float
    command: str
    arguments: dict[str, Any]
    live: bool


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)


class Beat(_Part):
    """One change of what is shown, at seconds after the beginning of its round."""

    at_s: float = Field(gt=0)
    do: Literal["shot", "cut"]
    prompt: Prompt
    ahead: bool = False

    def order(self, begin_s: float, take: int) -> Order:
        """The command in the round that begins so late; prompts of later takes differ, so that they are changes."""
        prompt = self.prompt if take == 0 else f"{self.prompt}, take {take + 1}"
        if not self.ahead:
            name = {"shot": "set_shot", "cut": "scene_cut"}[self.do]
            return Order(begin_s + self.at_s, name, {"prompt": prompt}, live=True)
        name = {"shot": "schedule_shot", "cut": "schedule_scene_cut"}[self.do]
        chunk = ceil((begin_s + self.at_s) / CHUNK_S)
        return Order(begin_s, name, {"prompt": prompt, "at_session_chunk": chunk}, live=False)


class Trace(_Part):
    """A storyboard. `seconds` is how long a round of its beats takes."""

    name: str = Field(pattern=r"^[a-z][a-z0-9-]*$")
    about: str
    opening: Prompt
    seconds: float = Field(ge=5, le=600)
    beats: tuple[Beat, ...]

    @classmethod
    def read(cls, name: str) -> Trace:
        """The trace of that name of `benchmarks/traces`, or in the file of that path. Raises BadTrace."""
        path = Path(name) if name.endswith(".json") else FOLDER / f"{name}.json"
        try:
            return cls.model_validate_json(path.read_bytes())
        except FileNotFoundError:
            known = ", ".join(sorted(each.stem for each in FOLDER.glob("*.json")))
            raise BadTrace(f"there is no trace {name}; there are {known}, or the path of a .json file") from None
        except ValidationError as error:
            wrong = "; ".join(f"{'.'.join(map(str, each['loc'])) or 'trace'}: {each['msg']}" for each in error.errors())
            raise BadTrace(f"{path}: {wrong}") from None

    @model_validator(mode="after")
    def _can_be_played(self) -> Self:
        if len({self.opening, *(beat.prompt for beat in self.beats)}) <= len(self.beats):
            raise ValueError("prompts must differ, or nobody can tell which picture was made with which")
        times = [beat.at_s for beat in self.beats]
        if times != sorted(times) or (times and times[-1] >= self.seconds):
            raise ValueError(f"beats must be in order and within the {self.seconds:g} s of the trace")
        for gap in _around([beat.at_s for beat in self.beats if not beat.ahead], self.seconds):
            if gap < LEAST_GAP_S:
                raise ValueError(f"live beats {gap:g} s apart: {LEAST_GAP_S:g} s at least, or one replaces the other")
        cuts = [beat.at_s for beat in self.beats if beat.do == "cut"]
        if not cuts:
            raise ValueError("beats have no cut, and a scene ends after its chunks")
        for gap in _around(cuts, self.seconds):
            if gap > LONGEST_SCENE_S:
                raise ValueError(f"no cut for {gap:g} s, and a scene has chunks for {LONGEST_SCENE_S:.0f} s")
        return self

    def orders(self) -> Iterator[Order]:
        """Every command after `start`, in the order in which they are due, round after round, without end."""
        for take in itertools.count():
            round_ = [beat.order(take * self.seconds, take) for beat in self.beats]
            yield from sorted(round_, key=lambda order: order.at_s)


def _around(times: list[float], length: float) -> list[float]:
    """Gaps between times that come again after `length`; the first is from the beginning."""
    if not times:
        return []
    return [times[0], *(b - a for a, b in itertools.pairwise(times)), times[0] + length - times[-1]]
