"""What a model declares, as clients read it: the OpenAPI 3.1 document and the `capabilities` of a session.

Commands are paths `/events/<command>`, messages are webhooks. JSON schemas come from pydantic; what it adds for its
own sake (titles) is taken away, and definitions move to `components.schemas`.
"""

from __future__ import annotations

import inspect
from collections.abc import Iterator, Mapping, Sequence
from copy import deepcopy
from typing import Any, Literal, Protocol

from pydantic import BaseModel
from pydantic.alias_generators import to_pascal

from wire.http import Capabilities, CommandCapability, TrackCapability
from wire.uploads import UPLOAD_FORMAT, UPLOAD_SCHEMA

JsonSchema = dict[str, Any]
Declared = Mapping[str, type[BaseModel]]

_COMPONENTS = "#/components/schemas/"
_UPLOAD = "ReactorUploadReference"
_ONE = ("items", "additionalProperties", "propertyNames", "not")
_MANY = ("anyOf", "oneOf", "allOf", "prefixItems")
_NAMED = ("properties", "patternProperties", "$defs")


class TrackLike(Protocol):
    """A media track from the model's point of view: `out` is what the model produces."""

    @property
    def name(self) -> str:
        """Name on the wire."""
        ...

    @property
    def kind(self) -> Literal["video", "audio"]:
        """What it carries."""
        ...

    @property
    def direction(self) -> Literal["in", "out"]:
        """Which way."""
        ...


def model_schema(
    *,
    name: str,
    description: str,
    version: str,
    tracks: Sequence[TrackLike],
    commands: Declared,
    messages: Declared,
) -> dict[str, Any]:
    """The OpenAPI 3.1 document of a model. `commands` and `messages` are by wire name.

    Raises:
        ValueError: two types share a component's name.
    """
    components: dict[str, JsonSchema] = {_UPLOAD: deepcopy(UPLOAD_SCHEMA)}
    paths = {f"/events/{wire}": {"post": _command(wire, cls, components)} for wire, cls in commands.items()}
    webhooks = {wire: {"post": _message(wire, cls, components)} for wire, cls in messages.items()}
    return {
        "openapi": "3.1.0",
        "info": {"title": name, "version": version, "description": description},
        "x-reactor": {"tracks": [{"name": t.name, "kind": t.kind, "direction": t.direction} for t in tracks]},
        "paths": paths,
        "webhooks": webhooks,
        "components": {"schemas": components},
    }


def capabilities(tracks: Sequence[TrackLike], commands: Declared, emission_fps: float | None = None) -> Capabilities:
    """The `capabilities` of a session: directions from the client's point of view, schemas that stand alone."""
    return Capabilities(
        tracks=[
            TrackCapability(name=t.name, kind=t.kind, direction="sendonly" if t.direction == "in" else "recvonly")
            for t in tracks
        ],
        commands=[
            CommandCapability(name=wire, description=_prose(wire, cls)["summary"], schema=_object(cls))
            for wire, cls in commands.items()
        ],
        emission_fps=emission_fps,
    )


def _command(wire: str, model: type[BaseModel], components: dict[str, JsonSchema]) -> dict[str, Any]:
    return {
        "operationId": wire,
        **_prose(wire, model),
        "requestBody": _body(_hoisted(model, components)),
        "responses": {"202": {"description": "Command accepted"}},
    }


def _message(wire: str, model: type[BaseModel], components: dict[str, JsonSchema]) -> dict[str, Any]:
    component = to_pascal(wire)
    _add(components, component, _hoisted(model, components))
    return {
        "operationId": wire,
        **_prose(wire, model),
        "requestBody": _body({"$ref": _COMPONENTS + component}),
    }


def _body(schema: JsonSchema) -> dict[str, Any]:
    return {"required": True, "content": {"application/json": {"schema": schema}}}


def _prose(wire: str, model: type[BaseModel]) -> dict[str, str]:
    """Summary and description from a docstring's first paragraph and the rest; else the name in words."""
    summary, _, rest = inspect.cleandoc(model.__doc__ or "").partition("\n\n")
    prose = {"summary": " ".join(summary.split()) or wire.replace("_", " ").capitalize()}
    if rest.strip():
        prose["description"] = rest.strip()
    return prose


def _object(model: type[BaseModel], ref_template: str = "#/$defs/{model}") -> JsonSchema:
    """The JSON schema of a model's fields, without titles; its docstring is told elsewhere."""
    schema = model.model_json_schema(ref_template=ref_template)
    for part in _walk(schema):
        part.pop("title", None)
    schema.pop("description", None)
    return schema


def _hoisted(model: type[BaseModel], components: dict[str, JsonSchema]) -> JsonSchema:
    """The schema of a model whose definitions, and the upload reference, are components of the document."""
    schema = _object(model, _COMPONENTS + "{model}")
    for part in list(_walk(schema)):
        if part.get("format") == UPLOAD_FORMAT:
            for key in UPLOAD_SCHEMA:  # what the argument adds of its own (description, default) stays beside the $ref
                part.pop(key, None)
            part["$ref"] = _COMPONENTS + _UPLOAD
    for component, definition in schema.pop("$defs", {}).items():
        _add(components, component, definition)
    return schema


def _add(components: dict[str, JsonSchema], component: str, schema: JsonSchema) -> None:
    if components.setdefault(component, schema) != schema:
        raise ValueError(f"two types share the component name {component}")


def _walk(schema: Any) -> Iterator[JsonSchema]:
    """A schema and all schemas inside; values that only look like schemas (defaults, property names) are not."""
    if not isinstance(schema, dict):  # `additionalProperties` may be a bool
        return
    yield schema
    for key in _ONE:
        yield from _walk(schema.get(key))
    for key in _MANY:
        for part in schema.get(key, ()):
            yield from _walk(part)
    for key in _NAMED:
        for part in schema.get(key, {}).values():
            yield from _walk(part)
