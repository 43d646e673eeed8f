"""Prompts as the Wan text encoders were trained on them, and a tokenizer that needs no vocabulary."""

from __future__ import annotations

import html
import re
import zlib
from typing import Protocol

import ftfy

END = 1
"""Id of the end of the text."""


def clean(prompt: str) -> str:
    """Repair mojibake, unescape HTML twice, trim, and collapse white space."""
    repaired: str = ftfy.fix_text(prompt)
    return re.sub(r"\s+", " ", html.unescape(html.unescape(repaired)).strip())


class Tokenizer(Protocol):
    """Turns a clean prompt into ids."""

    def encode(self, text: str) -> list[int]:
        """Ids with the end-of-text token, at most the model's text length; never empty."""
        ...


class HashTokenizer:
    """Words and punctuation marks hashed to ids: needs no vocabulary, and every distinct word has an id of its own but
    for rare collisions. Ids 0 (padding), 1 (the end) and 2 (unknown) are special, as in UMT5.

    For models with random weights, where the published UMT5 vocabulary would be a download without a meaning.
    """

    def __init__(self, vocab: int, length: int) -> None:
        self._words = vocab - 3
        self._length = length

    def encode(self, text: str) -> list[int]:
        """The first length-1 words and the end of text."""
        words = re.findall(r"\w+|[^\w\s]", text.lower())
        return [3 + zlib.crc32(word.encode()) % self._words for word in words[: self._length - 1]] + [END]
