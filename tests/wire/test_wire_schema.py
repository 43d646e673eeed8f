"""The OpenAPI document and the capabilities of a declared model."""

from __future__ import annotations

import json
from dataclasses import dataclass
from enum import StrEnum
from typing import Annotated, Any, Literal

import pytest
from jsonschema import Draft202012Validator, ValidationError
from pydantic import BaseModel, ConfigDict, Field, WithJsonSchema

from wire import (
    MAX_FRAME_BYTES,
    V0,
    V1,
    Channel,
    Frame,
    UploadReference,
    arguments,
    capabilities,
    model_schema,
)
from wire.frames import Command, ModelSchema
from wire.uploads import UPLOAD_SCHEMA

pytestmark = pytest.mark.fast


@dataclass(frozen=True)
class Track:
    name: str
    kind: Literal["video", "audio"]
    direction: Literal["in", "out"]


class Strict(BaseModel):
    model_config = ConfigDict(strict=True, extra="forbid", frozen=True)


class Mood(StrEnum):
    CALM = "calm"
    WILD = "wild"


class SetShot(Strict):
    """Set the shot
    that comes next.

    It is taken at the next chunk.
    """

    prompt: Annotated[str, Field(description="Shot text", min_length=1, max_length=4000)]
    title: str = ""


class SetSeed(Strict):
    seed: Annotated[int, Field(ge=0, le=2**32)] = 42
    strength: Annotated[float, Field(gt=0, lt=1)] = 0.5
    mood: Mood = Mood.CALM
    scale: Literal["off", "2x"] = "off"


File = Annotated[UploadReference, WithJsonSchema(UPLOAD_SCHEMA)]


class SetImage(Strict):
    """Set the image."""

    image: Annotated[File, Field(description="The picture")]
    mask: File | None = None


class Scheduled(Strict):
    prompt: str
    chunk: int


class State(Strict):
    """A snapshot of the session."""

    paused: bool
    current_prompt: str | None
    prompts: dict[str, Scheduled]
    mood: Mood = Mood.CALM


class ShotSet(Strict):
    """A shot was accepted."""

    prompt: str


class Start(Strict):
    """Start generating."""


TRACKS = (Track("main_video", "video", "out"), Track("mic", "audio", "in"))
COMMANDS: dict[str, type[BaseModel]] = {"set_shot": SetShot, "set_seed": SetSeed, "set_image": SetImage, "start": Start}
MESSAGES: dict[str, type[BaseModel]] = {"state": State, "shot_set": ShotSet}
REFERENCE = {"$ref": "#/components/schemas/ReactorUploadReference"}


@pytest.fixture
def document() -> dict[str, Any]:
    return model_schema(
        name="toy", description="Toy.", version="v0.0.0", tracks=TRACKS, commands=COMMANDS, messages=MESSAGES
    )


def schema_of(document: dict[str, Any], command: str) -> dict[str, Any]:
    post = document["paths"][f"/events/{command}"]["post"]
    return post["requestBody"]["content"]["application/json"]["schema"]


def every(schema: Any) -> list[dict[str, Any]]:
    """All objects inside a document, whatever they are."""
    if isinstance(schema, dict):
        return [schema, *(part for value in schema.values() for part in every(value))]
    return [part for value in schema for part in every(value)] if isinstance(schema, list) else []


def test_the_skeleton(document: dict[str, Any]) -> None:
    assert document["openapi"] == "3.1.0"
    assert document["info"] == {"title": "toy", "version": "v0.0.0", "description": "Toy."}
    assert document["x-reactor"]["tracks"] == [
        {"name": "main_video", "kind": "video", "direction": "out"},
        {"name": "mic", "kind": "audio", "direction": "in"},
    ]
    assert list(document["paths"]) == [f"/events/{command}" for command in COMMANDS]
    assert list(document["webhooks"]) == list(MESSAGES)


def test_a_command(document: dict[str, Any]) -> None:
    post = document["paths"]["/events/set_shot"]["post"]
    assert post["operationId"] == "set_shot"
    assert post["summary"] == "Set the shot that comes next."
    assert post["description"] == "It is taken at the next chunk."
    assert post["requestBody"]["required"] is True
    assert post["responses"] == {"202": {"description": "Command accepted"}}
    assert schema_of(document, "set_shot") == {
        "type": "object",
        "properties": {
            "prompt": {"type": "string", "description": "Shot text", "minLength": 1, "maxLength": 4000},
            "title": {"type": "string", "default": ""},
        },
        "required": ["prompt"],
        "additionalProperties": False,
    }
    assert document["paths"]["/events/set_seed"]["post"]["summary"] == "Set seed"


def test_limits_and_enumerations(document: dict[str, Any]) -> None:
    properties = schema_of(document, "set_seed")["properties"]
    assert "required" not in schema_of(document, "set_seed")
    assert properties["seed"] == {"type": "integer", "default": 42, "minimum": 0, "maximum": 2**32}
    assert properties["strength"] == {"type": "number", "default": 0.5, "exclusiveMinimum": 0, "exclusiveMaximum": 1}
    assert properties["scale"] == {"type": "string", "default": "off", "enum": ["off", "2x"]}
    assert properties["mood"] == {"$ref": "#/components/schemas/Mood", "default": "calm"}
    assert document["components"]["schemas"]["Mood"] == {"type": "string", "enum": ["calm", "wild"]}


def test_a_message_is_a_component(document: dict[str, Any]) -> None:
    post = document["webhooks"]["state"]["post"]
    assert post["summary"] == "A snapshot of the session."
    assert post["requestBody"]["content"]["application/json"]["schema"] == {"$ref": "#/components/schemas/State"}
    state = document["components"]["schemas"]["State"]
    assert state["required"] == ["paused", "current_prompt", "prompts"]
    assert state["properties"]["current_prompt"] == {"anyOf": [{"type": "string"}, {"type": "null"}]}
    assert state["properties"]["prompts"]["additionalProperties"] == {"$ref": "#/components/schemas/Scheduled"}
    assert {"ShotSet", "Scheduled"} <= document["components"]["schemas"].keys()


def test_files_are_references(document: dict[str, Any]) -> None:
    properties = schema_of(document, "set_image")["properties"]
    assert properties["image"] == {**REFERENCE, "description": "The picture"}
    assert properties["mask"] == {"anyOf": [REFERENCE, {"type": "null"}], "default": None}
    empty = model_schema(name="x", description="", version="v0.0.0", tracks=(), commands={}, messages={})
    assert empty["components"]["schemas"] == {"ReactorUploadReference": UPLOAD_SCHEMA}


def test_every_schema_is_valid_and_every_reference_leads_somewhere(document: dict[str, Any]) -> None:
    components = document["components"]["schemas"]
    for schema in [schema_of(document, command) for command in COMMANDS] + list(components.values()):
        Draft202012Validator.check_schema(schema)
    references = [part["$ref"] for part in every(document) if isinstance(part.get("$ref"), str)]
    assert {reference.rpartition("/")[2] for reference in references} <= components.keys()
    assert all(reference.startswith("#/components/schemas/") for reference in references)


def test_no_titles_but_the_argument_of_that_name(document: dict[str, Any]) -> None:
    titles = [part["title"] for part in every(document["paths"]) + every(document["components"]) if "title" in part]
    assert titles == [{"type": "string", "default": ""}]


def test_two_types_of_one_name() -> None:
    for messages in ({"reactor_upload_reference": ShotSet}, {"scheduled": ShotSet, "state": State}):
        with pytest.raises(ValueError, match="share the component name"):
            model_schema(name="x", description="", version="v0.0.0", tracks=(), commands={}, messages=messages)


def test_both_protocols_carry_it(document: dict[str, Any]) -> None:
    for codec in (V0, V1):
        frame = codec.encode(ModelSchema(document))
        assert frame is not None
        assert len(frame.payload) < MAX_FRAME_BYTES
    frame = V0.encode(ModelSchema(document))
    assert frame is not None
    assert json.loads(frame.payload)["data"]["data"] == document


def test_a_declared_document_is_not_shared(document: dict[str, Any]) -> None:
    document["components"]["schemas"]["ReactorUploadReference"]["properties"].clear()
    schema_of(document, "set_image")["properties"]["image"].clear()
    assert UPLOAD_SCHEMA["properties"].keys() == {"upload_id", "name", "mime_type", "size"}


def test_capabilities_are_the_clients_view() -> None:
    ours = capabilities(TRACKS, COMMANDS, emission_fps=24.0)
    assert [(track.name, track.direction) for track in ours.tracks] == [
        ("main_video", "recvonly"),
        ("mic", "sendonly"),
    ]
    assert ours.emission_fps == 24.0
    assert [command.name for command in ours.commands] == list(COMMANDS)
    assert ours.commands[0].description == "Set the shot that comes next."


def test_the_schemas_of_capabilities_stand_alone() -> None:
    schemas = {command.name: command.schema_ for command in capabilities(TRACKS, COMMANDS).commands}
    for schema in schemas.values():
        assert schema is not None
        Draft202012Validator.check_schema(schema)
    seed = Draft202012Validator(schemas["set_seed"] or {})
    seed.validate({"seed": 7, "mood": "wild"})
    with pytest.raises(ValidationError):
        seed.validate({"mood": "angry"})
    upload = {"upload_id": "u", "name": "a.png", "mime_type": "image/png", "size": 5}
    Draft202012Validator(schemas["set_image"] or {}).validate({"image": upload})


def test_a_file_reaches_its_command() -> None:
    upload = {"upload_id": "u", "name": "a.png", "mime_type": "image/png", "size": 5}
    frame = Frame(Channel.DATA, json.dumps({"type": "set_image", "data": {}, "uploads": {"image": upload}}))
    command = V0.decode(frame)
    assert isinstance(command, Command)
    assert SetImage.model_validate(arguments(command)).image == UploadReference(**upload)
