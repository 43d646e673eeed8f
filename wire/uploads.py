"""Uploaded files: the bodies of `…/uploads`, and files as arguments of commands."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import Field, WithJsonSchema

from wire.frames import Command, UploadReference
from wire.http import Body

UPLOAD_FORMAT = "reactor-upload-reference"

UPLOAD_SCHEMA: dict[str, Any] = {
    "type": "object",
    "format": UPLOAD_FORMAT,
    "properties": {
        "upload_id": {"type": "string", "format": "uuid"},
        "name": {"type": "string"},
        "mime_type": {"type": "string"},
        "size": {"type": "integer"},
    },
    "required": ["upload_id", "name", "mime_type", "size"],
}
"""The JSON schema by which the published clients know a file argument."""

ReactorUploadReference = Annotated[UploadReference, WithJsonSchema(UPLOAD_SCHEMA)]
"""The type of a command's field that takes a file: the value is a `wire.frames.UploadReference`."""


class CreateUpload(Body):
    """Body of `POST /sessions/{id}/uploads`; `size` in bytes."""

    name: Annotated[str, Field(min_length=1)]
    size: Annotated[int, Field(gt=0)]
    mime_type: Annotated[str, Field(min_length=1)]


class UploadSlot(Body):
    """Answer of `POST /sessions/{id}/uploads`: where to PUT the bytes, and the id that commands refer to."""

    presigned_id: str
    presigned_url: str
    path: str


def arguments(command: Command) -> dict[str, Any]:
    """All arguments of a command, files included, as its pydantic model validates them."""
    return {**command.data, **command.uploads}
