"""The tokenizer of UMT5, from the `tokenizer.json` that is published with its weights."""

from __future__ import annotations

import json
from pathlib import Path

from tokenizers import Tokenizer

from wan.prompt import END

END_TOKEN = "</s>"  # noqa: S105


class UMT5Tokenizer:
    """A `wan.prompt.Tokenizer`."""

    def __init__(self, path: Path, vocab: int, length: int) -> None:
        """Raises ValueError when the file is no tokenizer, not one of UMT5, or has ids beyond the encoder's `vocab`."""
        self._length = length
        self._tokenizer = Tokenizer.from_str(_checked(path))
        if (found := self._tokenizer.token_to_id(END_TOKEN)) != END:
            raise ValueError(f"{path}: the id of {END_TOKEN} is {found}, expected {END}: not a tokenizer of UMT5")
        if (size := self._tokenizer.get_vocab_size()) > vocab:
            raise ValueError(f"{path}: {size} tokens, more than the {vocab} of the text encoder")
        self._tokenizer.no_padding()
        self._tokenizer.no_truncation()

    def encode(self, text: str) -> list[int]:
        """The ids of the text, at most length-1, and the end of text."""
        ids: list[int] = self._tokenizer.encode(text, add_special_tokens=False).ids
        return [*ids[: self._length - 1], END]


def _checked(path: Path) -> str:
    content = path.read_text(encoding="utf-8")
    try:
        fields = json.loads(content)
    except ValueError as error:
        raise ValueError(f"{path}: not a JSON file: {error}") from error
    if not isinstance(fields, dict) or not isinstance(fields.get("model"), dict):
        raise ValueError(f"{path}: a tokenizer must have a model")
    return content
