"""Files that clients send along with commands."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from copy import deepcopy
from dataclasses import dataclass, field
from typing import Any

from pydantic import GetCoreSchemaHandler, GetJsonSchemaHandler, ValidationInfo
from pydantic_core import CoreSchema, PydanticCustomError, core_schema

from wire.frames import UploadReference
from wire.uploads import UPLOAD_SCHEMA

Lookup = Callable[[str], "Upload | None"]
"""The file of an upload id, None where there is none."""


MISSING = "upload_missing"
"""Type of the validation error of a file that the `Lookup` has not got; none is looked up for a command that is wrong
in other ways."""


@dataclass(frozen=True, slots=True)
class Upload:
    """A file as the value of a command's field: `image: Upload`, also inside lists and models.

    On the wire it is a reference. Validation swaps it for the file with the `Lookup` that it is given as context; that
    happens twice, the first time with empty files to learn which are needed, so what a file holds is for the director
    to judge, not for a validator. `mime_type` is what the bytes were found to be, whatever the client says; `name` is
    the client's and means nothing.
    """

    upload_id: str
    name: str
    mime_type: str
    data: bytes = field(repr=False)

    def reference(self) -> dict[str, str | int]:
        """What stands for the file in JSON."""
        return {
            "upload_id": self.upload_id,
            "name": self.name,
            "mime_type": self.mime_type,
            "size": len(self.data),
        }

    @classmethod
    def __get_pydantic_core_schema__(cls, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        return core_schema.with_info_plain_validator_function(
            cls._validated,
            serialization=core_schema.plain_serializer_function_ser_schema(cls.reference, when_used="json"),
        )

    @classmethod
    def __get_pydantic_json_schema__(cls, schema: CoreSchema, handler: GetJsonSchemaHandler) -> dict[str, Any]:
        return deepcopy(UPLOAD_SCHEMA)

    @classmethod
    def _validated(cls, value: Any, info: ValidationInfo) -> Upload:
        if isinstance(value, cls):
            return value
        upload_id = _upload_id(value)
        if upload_id is None:
            raise PydanticCustomError("upload_expected", "Input should be an uploaded file")
        lookup: Lookup | None = info.context
        upload = lookup(upload_id) if lookup is not None else None
        if upload is None:
            raise PydanticCustomError(MISSING, "The uploaded file is not there")
        return upload


def _upload_id(value: Any) -> str | None:
    """Of a reference in either form: from the command's `uploads`, or nested as JSON among its data."""
    if isinstance(value, UploadReference):
        return value.upload_id
    upload_id = value.get("upload_id") if isinstance(value, Mapping) else None
    return upload_id if isinstance(upload_id, str) else None
