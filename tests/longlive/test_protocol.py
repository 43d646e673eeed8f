"""The wire surface against the published tables, and what is added to them."""

from __future__ import annotations

import subprocess
import sys
from typing import Any

import pytest
from pydantic import ValidationError

from longlive.protocol import COMMANDS, MESSAGES, ListedBeat, MoveBeat, ScheduleShot, SetSeed, SetShot, Start
from longlive.spec import CHUNKS_PER_SCENE, FPS, FRESH, STREAMED, spec
from models.contract import CommandError, Track, VideoFormat

pytestmark = pytest.mark.fast

PROMPT = {"type": "string", "default": "", "maxLength": 16384}
TARGET = {"type": "integer", "default": -1}

COMMAND_TABLE: dict[str, dict[str, Any]] = {
    "set_shot": {"prompt": PROMPT},
    "scene_cut": {"prompt": PROMPT},
    "schedule_shot": {"prompt": PROMPT, "at_session_chunk": TARGET},
    "schedule_scene_cut": {"prompt": PROMPT, "at_session_chunk": TARGET},
    "unschedule": {"at_session_chunk": TARGET},
    "move_beat": {"from": TARGET, "to": TARGET},
    "list_beats": {},
    "start": {},
    "pause": {},
    "resume": {},
    "reset": {},
    "set_seed": {"seed": {"type": "integer", "default": 42, "minimum": 0}},
}

INT, STR, BOOL = {"type": "integer"}, {"type": "string"}, {"type": "boolean"}
INTS = {"type": "array", "items": INT}

MESSAGE_TABLE: dict[str, dict[str, Any]] = {
    "state": {
        "running": BOOL,
        "started": BOOL,
        "paused": BOOL,
        "current_chunk": INT,
        "session_chunk": INT,
        "current_frame": INT,
        "current_prompt": {"anyOf": [STR, {"type": "null"}]},
        "has_prompt": BOOL,
        "seed": INT,
        "scheduled_shots": INTS,
        "scheduled_scene_cuts": INTS,
    },
    "shot_set": {"prompt": STR},
    "scene_cut": {"prompt": STR, "at_session_chunk": INT},
    "shot_scheduled": {"prompt": STR, "at_session_chunk": INT},
    "scene_cut_scheduled": {"prompt": STR, "at_session_chunk": INT},
    "unscheduled": {"at_session_chunk": INT},
    "beat_moved": {"from": INT, "to": INT},
    "beats_listed": {"beats": {"type": "array", "items": {"$ref": "#/$defs/ListedBeat"}}},
    "generation_started": {"prompt": STR, "chunk_num": INT, "frame_num": INT},
    "chunk_complete": {"chunk_index": INT, "session_chunk": INT, "frames_emitted": INT, "active_prompt": STR},
    "generation_paused": {"chunk_index": INT},
    "generation_resumed": {"chunk_index": INT},
    "generation_reset": {"reason": STR},
    "generation_complete": {"total_chunks": INT},
    "command_error": {"command": STR, "reason": STR},
}


def bare(properties: dict[str, Any]) -> dict[str, Any]:
    """Properties of a JSON schema without their words."""
    return {k: {w: v for w, v in p.items() if w not in ("title", "description")} for k, p in properties.items()}


def test_commands_are_those_of_the_table() -> None:
    assert {c.wire_name(): bare(c.model_json_schema()["properties"]) for c in COMMANDS} == COMMAND_TABLE


def test_no_argument_is_required() -> None:
    assert not any(c.model_json_schema().get("required") for c in COMMANDS)


def test_messages_are_those_of_the_table() -> None:
    assert {m.wire_name(): bare(m.model_json_schema()["properties"]) for m in MESSAGES} == MESSAGE_TABLE


def test_every_message_field_is_always_present() -> None:
    for message in MESSAGES:
        schema = message.model_json_schema()
        assert schema["required"] == list(schema["properties"])


def test_a_listed_beat() -> None:
    schema = ListedBeat.model_json_schema()
    kind = {"type": "string", "enum": ["shot", "scene_cut"]}
    assert bare(schema["properties"]) == {"kind": kind, "prompt": STR, "at_session_chunk": INT}
    assert schema["required"] == list(schema["properties"])


def test_every_type_has_a_summary_and_every_field_a_description() -> None:
    for declared in (*COMMANDS, *MESSAGES, ListedBeat):
        schema = declared.model_json_schema()
        assert schema["description"]
        if declared is not CommandError:
            assert all(p["description"] for p in schema["properties"].values())


@pytest.mark.parametrize(
    ("command", "arguments"),
    [
        (SetSeed, {"seed": -1}),
        (SetSeed, {"seed": "42"}),
        (SetSeed, {"seed": True}),
        (SetShot, {"prompt": None}),
        (SetShot, {"prompt": "a", "strength": 1}),
        (ScheduleShot, {"prompt": "a", "at_session_chunk": 1.5}),
        (MoveBeat, {"from_": 1, "to": 2}),
        (MoveBeat, {"from": "1"}),
        (Start, {"prompt": "a"}),
    ],
)
def test_arguments_outside_the_schema_are_invalid(command: type, arguments: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        command(**arguments)


def test_spec_declares_the_model() -> None:
    video = VideoFormat(width=1280, height=704, fps=FPS)
    declared = spec(video, FRESH)
    assert declared.name == "longlive-v2"
    assert declared.tracks == (Track("main_video", "video", "out", video),)
    assert declared.main_video.video == video
    assert len(declared.command_types()) == 12
    assert len({m.wire_name() for m in declared.messages}) == 15
    assert (declared.geometry.first, declared.geometry.later) == (29, 29)
    assert FRESH.frames(CHUNKS_PER_SCENE) == 1392
    assert STREAMED.frames(CHUNKS_PER_SCENE) == 1533


def test_directing_needs_no_torch() -> None:
    code = "import sys, longlive.director, longlive.spec; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
