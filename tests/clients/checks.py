"""What must be true of a client's log, whichever client it was."""

from __future__ import annotations

from itertools import groupby, pairwise
from pathlib import Path
from typing import Any

import httpx
import pytest
from scenario import (
    CUT,
    CUT_AT,
    FAR,
    FRAMES_PER_CHUNK,
    LAST_CHUNK,
    OPENING,
    SHOT,
    SHOT_AT,
    WEBCAM_SIZE,
    Event,
    messages,
)

from cluster.media.recorder import SEGMENT_S
from tests.support.films import play
from tests.support.server import Server

PROMPTS = [OPENING] * SHOT_AT + [SHOT] * (CUT_AT - SHOT_AT) + [CUT] * (LAST_CHUNK - CUT_AT)
"""The prompt of each chunk."""

STORY_COMMANDS = 4
"""Sent for the story itself; what comes after it is not about pictures."""

TINY_SIZE = [320, 192]


def check_messages(events: list[Event]) -> None:
    """Each beat where it was planned, each acknowledgement in its order, the refusal refused, the reset complete."""
    said = [(e["type"], e["data"]) for e in events if e["event"] == "message"]
    assert said[0][0] == "state"
    _check_order([kind for kind, _ in said if kind != "state"])
    _check_beats(events)
    _check_edits(events)
    for (kind, data), (following, _) in pairwise(said):
        if kind == "command_error":
            assert data["command"] == "set_shot"
            assert "prompt" in data["reason"]
            assert following != "state", "a state after the refusal clears the client's error banner"
        if following == "generation_started":
            assert (kind, data["started"]) == ("state", True)
    _check_reset(said[-1])


def _check_order(kinds: list[str]) -> None:
    asked = ["shot_set", "shot_scheduled", "scene_cut_scheduled", "generation_started"]
    chunks = ["chunk_complete"] * CUT_AT + ["scene_cut"] + ["chunk_complete"] * (LAST_CHUNK - CUT_AT)
    expected = asked + chunks
    assert kinds[: len(expected)] == expected
    edits = ["shot_scheduled", "beat_moved", "beats_listed", "unscheduled", "generation_paused", "generation_resumed"]
    assert [k for k in kinds[len(expected) :] if k != "chunk_complete"] == [*edits, "command_error", "generation_reset"]


def _check_beats(events: list[Event]) -> None:
    chunks = messages(events, "chunk_complete")[:LAST_CHUNK]
    assert [c["session_chunk"] for c in chunks] == list(range(1, LAST_CHUNK + 1))
    assert [c["chunk_index"] for c in chunks] == [*range(CUT_AT), *range(LAST_CHUNK - CUT_AT)]
    assert [c["frames_emitted"] for c in chunks] == [FRAMES_PER_CHUNK * n for n in range(1, LAST_CHUNK + 1)]
    assert [c["active_prompt"] for c in chunks] == PROMPTS
    assert messages(events, "scene_cut") == [{"prompt": CUT, "at_session_chunk": CUT_AT}]


def _check_edits(events: list[Event]) -> None:
    assert messages(events, "beat_moved") == [{"from": FAR, "to": FAR + 1}]
    assert messages(events, "beats_listed") == [
        {"beats": [{"kind": "shot", "prompt": SHOT, "at_session_chunk": FAR + 1}]}
    ]
    assert messages(events, "unscheduled") == [{"at_session_chunk": FAR + 1}]


def _check_reset(last: tuple[str, dict[str, Any]]) -> None:
    kind, state = last
    assert kind == "state"
    assert [state[flag] for flag in ("started", "running", "has_prompt", "paused")] == [False] * 4
    assert state["current_prompt"] is None
    assert state["scheduled_shots"] == state["scheduled_scene_cuts"] == []
    assert state["session_chunk"] == state["current_chunk"] == state["current_frame"] == 0


def check_pictures(events: list[Event], *, missing: float) -> None:
    """Numbered pictures of the right size and in order, of which at most a share `missing` was not seen.

    A picture may be seen twice: the server repeats the last one where the next is late, and a browser's callback that
    comes late draws the newest one, which the callback after it draws again. A busy receiver skips pictures.
    """
    story_ends = [i for i, event in enumerate(events) if event["event"] == "sent"][STORY_COMMANDS]
    frames = [event for event in events[:story_ends] if event["event"] == "frame"]
    assert all(frame["size"] == TINY_SIZE for frame in frames)
    stamps = [frame["n"] for frame in frames]
    assert None not in stamps
    numbers = [n for n, _ in groupby(stamps)]
    assert all(a < b for a, b in pairwise(numbers)), stamps
    assert numbers[0] < FRAMES_PER_CHUNK
    assert numbers[-1] >= CUT_AT * FRAMES_PER_CHUNK
    assert len(numbers) >= (1 - missing) * (numbers[-1] - numbers[0] + 1), stamps
    assert len(stamps) <= 1.25 * len(numbers), stamps


def check_clips(events: list[Event], folder: Path) -> None:
    """Both files play from a keyframe on without a picture missing, and hold what they say, to within a segment."""
    told = [event["seconds"] for event in events if event["event"] == "clip"]
    clip, recording = (play((folder / name).read_bytes()) for name in ("clip.mp4", "recording.mp4"))
    for film, seconds in zip((clip, recording), told, strict=True):
        assert film.keyframes[0]
        assert film.numbers == list(range(film.numbers[0] or 0, (film.numbers[0] or 0) + len(film.numbers)))
        assert seconds - 0.01 <= film.seconds < seconds + SEGMENT_S
    assert told[0] == pytest.approx(1.0, abs=0.01)
    assert recording.numbers[: len(clip.numbers)] == list(range(len(clip.numbers)))


def check_session_is_over(server: Server, events: list[Event]) -> None:
    """Disconnecting deletes the session: it is closed, or no longer known."""
    session_id = next(event["session_id"] for event in events if event["event"] == "connected")
    answer = httpx.get(f"{server.url}/sessions/{session_id}", headers=server.token())
    assert answer.status_code == 404 or answer.json()["state"] == "CLOSED"


def check_echo(events: list[Event]) -> None:
    """The scenario has seen the pictures; the messages it waited for said the right thing."""
    assert messages(events, "effect_changed") == [
        {"effect": "none", "intensity": 1},
        {"effect": "invert", "intensity": 1},
    ]
    assert messages(events, "image_accepted") == [{"width": WEBCAM_SIZE[0], "height": WEBCAM_SIZE[1]}]
    assert all(event["size"] == [640, 480] for event in events if event["event"] == "frame")
