"""What a frame may carry: limits, and the checks that both codecs apply to what a client sends.

The two protocols disagree about numbers (JSON has integers, protobuf's Struct only doubles), so both are brought to
one form: an integral number is an int, whichever way it came.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from wire.frames import FrameError, Refused, UploadReference

MAX_FRAME_BYTES = 262_144
"""Largest data-channel message every client accepts (the default SCTP max-message-size)."""

MAX_DEPTH = 24
"""Deepest nesting of objects and arrays; protobuf's own limit of 100 levels allows 33."""

MAX_NAME_CHARS = 256
"""Longest command, track, parameter or request name; names are echoed in answers."""

_INT64 = 1 << 63


def plain(value: Any, depth: int = 0) -> Any:
    """A JSON value with integral numbers as int.

    Raises:
        FrameError: nested too deep, a number that is not finite or not of 64 bits, or text that is not Unicode.
    """
    if depth > MAX_DEPTH:
        raise FrameError(f"nested deeper than {MAX_DEPTH} levels")
    match value:
        case None | bool():
            return value
        case str():
            return text(value)
        case int() | float():
            return number(value)
        case list():
            return [plain(item, depth + 1) for item in value]
        case dict():
            return {text(key): plain(item, depth + 1) for key, item in value.items()}
        case _:
            raise FrameError("not a JSON value")


def number(value: float) -> int | float:
    """A finite number of at most 64 bits; an integral double becomes an int."""
    if isinstance(value, float) and not math.isfinite(value):
        raise FrameError("a number is not finite")
    if not -_INT64 <= value < _INT64:
        raise FrameError("a number is out of range")
    return int(value) if isinstance(value, float) and value.is_integer() else value


def text(value: object) -> str:
    """A string that UTF-8 can carry; JSON's escapes can write surrogates that it cannot."""
    if not isinstance(value, str):
        raise FrameError("not a string")
    try:
        value.encode()
    except UnicodeEncodeError:
        raise FrameError("text is not Unicode") from None
    return value


def name(value: object, what: str) -> str:
    """A non-empty, short string."""
    if not isinstance(value, str) or not 0 < len(value) <= MAX_NAME_CHARS:
        raise FrameError(f"{what}: expected 1 to {MAX_NAME_CHARS} characters")
    return text(value)


def duration(value: object) -> float:
    """A clip's length in seconds. The reasons are those that the published clients know."""
    if isinstance(value, bool) or not isinstance(value, int | float) or not abs(value) < _INT64:
        raise FrameError("invalid duration_seconds")
    if value <= 0:
        raise FrameError("duration_seconds must be positive")
    return float(value)


def upload(upload_id: object, file_name: object, mime_type: object, size: object) -> UploadReference:
    """A reference to an uploaded file."""
    if isinstance(size, bool) or not isinstance(size, int) or not 0 <= size < _INT64:
        raise FrameError("upload size: expected a number of bytes")
    return UploadReference(
        upload_id=name(upload_id, "upload_id"),
        name=text(file_name),
        mime_type=text(mime_type),
        size=size,
    )


def check_arguments(data: Mapping[str, Any], uploads: Mapping[str, UploadReference]) -> None:
    """Raise FrameError when an argument is given both as a value and as an upload."""
    if data.keys() & uploads.keys():
        raise FrameError("an argument is given both as a value and as an upload")


@contextmanager
def owing(refusal: Refused) -> Iterator[None]:
    """Give every FrameError raised inside the answer that is owed; its message is the error's reason."""
    try:
        yield
    except FrameError as error:
        owed = Refused(refusal.code, error.reason, refusal.method, refusal.channel, refusal.request_id)
        raise FrameError(error.reason, owed) from error


def check_size(payload: str | bytes) -> None:
    """Raise FrameError when a frame is larger than `MAX_FRAME_BYTES`."""
    # Characters are at most bytes, so a frame far too large is refused before it is encoded.
    if len(payload) > MAX_FRAME_BYTES or (isinstance(payload, str) and len(text(payload).encode()) > MAX_FRAME_BYTES):
        raise FrameError(f"frame larger than {MAX_FRAME_BYTES} bytes")
