"""A model's spec in the wire's words: the session's `capabilities` and the OpenAPI document."""

from __future__ import annotations

from functools import cache
from typing import Any

import wire
from models.contract import ModelSpec
from wire.http import Capabilities


@cache
def openapi(spec: ModelSpec) -> dict[str, Any]:
    """The model's OpenAPI 3.1 document."""
    messages = {message.wire_name(): message for message in spec.messages}
    return wire.model_schema(
        name=spec.name,
        description=spec.description,
        version=spec.version,
        tracks=spec.tracks,
        commands=spec.command_types(),
        messages=messages,
    )


@cache
def capabilities(spec: ModelSpec) -> Capabilities:
    """What a session of the model offers, from the client's point of view."""
    video = spec.main_video.video
    return wire.capabilities(spec.tracks, spec.command_types(), float(video.fps) if video else None)
