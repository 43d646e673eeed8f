"""Uploaded files: the bodies of `…/uploads`, and files as arguments of commands."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import Field

from wire.frames import Command
from wire.http import Body
from wire.values import MAX_NAME_CHARS

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


class CreateUpload(Body):
    """Body of `POST /sessions/{id}/uploads`; `size` in bytes. The name is never a path, the type only a claim."""

    name: Annotated[str, Field(min_length=1, max_length=MAX_NAME_CHARS)]
    size: Annotated[int, Field(gt=0)]
    mime_type: Annotated[str, Field(min_length=1, max_length=MAX_NAME_CHARS)]


class UploadSlot(Body):
    """Answer of `POST /sessions/{id}/uploads`: where to PUT the bytes, and the id that commands refer to."""

    presigned_id: str
    presigned_url: str
    path: str


def arguments(command: Command) -> dict[str, Any]:
    """All arguments of a command; files as references, whether beside the data or nested in it."""
    return {**command.data, **command.uploads}
