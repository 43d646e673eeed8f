"""The demo's storyboard: three beats, and what a run of it must show."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal


@dataclass(frozen=True, slots=True)
class Beat:
    """One beat; `at` counts completed chunks of the run."""

    kind: Literal["opening shot", "soft shot", "hard cut"]
    at: int
    prompt: str


BEATS = (
    Beat("opening shot", 0, "A red fox runs through a snowy forest at dawn, cinematic wide shot."),
    Beat("soft shot", 3, "The fox stops at a frozen lake and looks at its reflection, close up."),
    Beat("hard cut", 6, "A neon city street at night in the rain, people with umbrellas."),
)
CHUNKS = 9


def beat_of(chunk: int) -> Beat:
    """The beat that chunk number `chunk` (zero-based) belongs to."""
    return [beat for beat in BEATS if beat.at <= chunk][-1]


def verdict(messages: list[dict[str, Any]]) -> list[str]:
    """What went otherwise than planned, judged by the model's own messages; empty if nothing did."""
    done = {m["data"]["session_chunk"]: m["data"]["active_prompt"] for m in messages if m["type"] == "chunk_complete"}
    cuts = [m["data"]["at_session_chunk"] for m in messages if m["type"] == "scene_cut"]
    planned_cuts = [beat.at for beat in BEATS if beat.kind == "hard cut"]
    wrong = [
        f"chunk {chunk} did not show the {beat_of(chunk).kind} planned for chunk {beat_of(chunk).at}"
        for chunk in range(CHUNKS)
        if done.get(chunk + 1) != beat_of(chunk).prompt
    ]
    if cuts != planned_cuts:
        wrong.append(f"scene cuts at {cuts}, planned at {planned_cuts}")
    return wrong + [f"refused: {m['data']['command']}" for m in messages if m["type"] == "command_error"]
