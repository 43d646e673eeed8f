"""All texts and pictures in a command or a snapshot, however deep, and how they are put together to be looked at."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence, Set
from typing import Any

from pydantic import BaseModel
from pydantic_core import to_jsonable_python

from cluster.moderation.verdict import Content, Picture, TooLongToModerate
from models.files import Upload

TEXT = "text/plain"
MAX_CHARS = 65_536
"""Of one text, and of several that are looked at together."""


def contents_of(value: Any) -> Iterator[Content]:
    """Texts and files in a value: in lists, sets, models and mappings, whose keys are a client's words too."""
    match value:
        case None | bool() | int() | float():
            return
        case str():
            yield str(value)
        case Upload():
            yield value.name
            is_text = value.mime_type == TEXT
            yield value.data.decode(errors="replace") if is_text else Picture(value.mime_type, value.data)
        case BaseModel():
            for _, part in value:
                yield from contents_of(part)
        case Mapping():
            for name, part in value.items():
                yield from contents_of(name)
                yield from contents_of(part)
        case Sequence() | Set() if not isinstance(value, bytes | bytearray):
            for part in value:
                yield from contents_of(part)
        case _:  # a date, a path, a dataclass: as it would be written
            yield from contents_of(to_jsonable_python(value))


def together(contents: Iterable[Content]) -> list[Content]:
    """Each picture, and the texts one to a line, each once, in as few texts as may be.

    Raises:
        TooLongToModerate: one text alone is longer than `MAX_CHARS`.
    """
    found = list(contents)
    texts = dict.fromkeys(each for each in found if isinstance(each, str) and each.strip())
    pages: list[str] = []
    for text in texts:
        if len(text) > MAX_CHARS:
            raise TooLongToModerate(f"a text has at most {MAX_CHARS} characters")
        if pages and len(pages[-1]) + len(text) < MAX_CHARS:
            pages[-1] += "\n" + text
        else:
            pages.append(text)
    return [*pages, *(each for each in found if isinstance(each, Picture))]
