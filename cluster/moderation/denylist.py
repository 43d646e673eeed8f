"""A moderator that knows words, patterns and pictures from a file, and nothing else.

    # a comment
    word                      a word, or several that follow one another
    !word                     the same; it ends the session instead of warning
    /pattern/                 a regular expression, searched in the folded text
    sha256:9f86d081…          a picture's file, by its digest

Text and list are folded alike: compatibility forms, case, accents, invisible characters and letters of other alphabets
that look Latin make no difference. A word is found alone, with punctuation inside it (`wo.rd`), spelled out (`w o r d`)
and with digits for letters (`w0rd`); not inside another word, but in scripts that do not separate words.
"""

from __future__ import annotations

import asyncio
import hashlib
import re
import unicodedata
from collections import defaultdict
from collections.abc import Iterator, Sequence
from itertools import groupby
from pathlib import Path

from cluster.moderation.verdict import ALLOWED, Action, Content, Context, Verdict

CATEGORY = "deny_list"

Words = tuple[str, ...]

_PICTURE = "sha256:"
_INVISIBLE = dict.fromkeys((0x034F, 0x115F, 0x1160, 0x17B4, 0x17B5, 0x2800, 0x3164, 0xFFA0))
"""Code points that show nothing and are not of the categories that `_shows` leaves out."""
_LOOKALIKES = (
    str.maketrans("АВЕКМНОРСТУХІЈЅавекмнорстухіјѕһԁԛԝ", "ABEKMHOPCTYXIJSabekmhopctyxijshdqw")
    | str.maketrans("ΑΒΕΖΗΙΚΜΝΟΡΤΥΧαβεηικνορτυχγω", "ABEZHIKMNOPTYXabenikvoptuxyw")
    | str.maketrans("ıɑɡɪʟøłđħŧØŁĐĦŦ", "iagiloldhtOLDHT")
)
"""Cyrillic, Greek and other letters, and the Latin ones that they look like."""
_DIGITS = {"a": "4@", "b": "8", "e": "3", "g": "9", "i": "1!|l", "l": "1!|i", "o": "0", "s": "5$", "t": "7+", "z": "2"}
"""What is written in the place of a letter."""
_READ = str.maketrans("4@8391!|l05$7+2", "aabegiiiiossttz")
"""Brings all that may stand for one another to one form: words are looked up by it."""
_UNSEPARATED = ("CJK", "HIRAGANA", "KATAKANA", "HANGUL", "THAI", "LAO", "KHMER", "MYANMAR", "TIBETAN")
_SIGNS = "@$!|+"
_WORD = re.compile(rf"(?:[^\W_]|[{re.escape(_SIGNS)}])+")
_INSIDE = re.compile(rf"(?:[^\w\s'’{re.escape(_SIGNS)}]|_)+")


def fold(text: str, *, latin: bool = False) -> str:
    """The text with all taken away that readers hardly see; with `latin`, lookalikes are taken for Latin letters."""
    seen = _bare(text.translate(_INVISIBLE))
    return unicodedata.normalize("NFKC", _bare((seen.translate(_LOOKALIKES) if latin else seen).casefold()))


def _bare(text: str) -> str:
    return "".join(char for char in unicodedata.normalize("NFKD", text) if _shows(char))


def _shows(char: str) -> bool:
    """Neither an accent, nor invisible, nor a control character other than white space."""
    return unicodedata.category(char) not in ("Mn", "Me", "Cf", "Cc") or char.isspace()


class DenyList:
    """See the module."""

    def __init__(self, text: str) -> None:
        """Raises ValueError, which tells the line's number and nothing of it."""
        self._listed: dict[str, list[tuple[Words, Action]]] = defaultdict(list)
        self._lengths: set[int] = set()
        self._letters: set[int] = set()
        self._inside: list[tuple[str, Action]] = []
        self._patterns: list[tuple[re.Pattern[str], Action]] = []
        self._pictures: dict[str, Action] = {}
        for number, line in enumerate(text.splitlines(), start=1):
            entry = line.strip()
            if entry and not entry.startswith("#"):
                try:
                    self._add(entry)
                except (ValueError, re.error) as error:
                    raise ValueError(f"line {number}: {error}") from None

    @classmethod
    def read(cls, path: Path) -> DenyList:
        """The list in a file. Raises ValueError."""
        try:
            return cls(path.read_text("utf-8"))
        except OSError as error:
            raise ValueError(f"cannot be read: {error.strerror}") from None

    async def check(self, content: Content, context: Context) -> Verdict:
        """The verdict; of a picture that is not listed, nothing is known: it is allowed."""
        if isinstance(content, str):
            action = await asyncio.to_thread(self.look, content)
        else:
            digest = await asyncio.to_thread(hashlib.sha256, content.data)
            action = self._pictures.get(digest.hexdigest(), Action.ALLOW)
        return ALLOWED if action is Action.ALLOW else Verdict(action=action, categories=(CATEGORY,))

    async def close(self) -> None:
        """Nothing is held."""

    def look(self, text: str) -> Action:
        """The severest action that an entry asks for."""
        found = (action for seen in {fold(text), fold(text, latin=True)} for action in self._found(seen))
        return max(found, key=lambda action: action.severity, default=Action.ALLOW)

    def _add(self, entry: str) -> None:
        action = Action.TERMINATE if entry.startswith("!") else Action.WARN
        entry = entry.removeprefix("!").strip()
        if entry.lower().startswith(_PICTURE):
            digest = entry[len(_PICTURE) :].strip().lower()
            if not re.fullmatch("[0-9a-f]{64}", digest):
                raise ValueError("not a SHA-256 digest in 64 hexadecimal digits")
            self._pictures[digest] = action
        elif len(entry) > 2 and entry[0] == entry[-1] == "/":
            self._patterns.append((re.compile(entry[1:-1]), action))
        else:
            self._add_words(tuple(_words(fold(entry))), action)

    def _add_words(self, words: Words, action: Action) -> None:
        joined = "".join(words)
        if not joined:
            raise ValueError("nothing in it can be searched for")
        if any(unicodedata.name(char, "").startswith(_UNSEPARATED) for char in joined):
            self._inside.append((joined, action))
            return
        for form in {words, (joined,)}:
            self._listed[_read(form)].append((form, action))
            self._lengths.add(len(form))
        self._letters.add(len(joined))

    def _found(self, text: str) -> Iterator[Action]:
        squeezed = "".join(_words(text)) if self._inside else ""
        yield from (action for inside, action in self._inside if inside in squeezed)
        yield from (action for pattern, action in self._patterns if pattern.search(text))
        for words in (_words(text), _words(_INSIDE.sub("", text))):
            yield from self._in_words(words)
            yield from self._in_words([word.strip(_SIGNS) or word for word in words])  # `word!`, an exclamation
        for run in _runs(_words(text)):
            yield from self._in_run(run)

    def _in_words(self, words: Sequence[str]) -> Iterator[Action]:
        read = [word.translate(_READ) for word in words]
        for length in self._lengths:
            for begin in range(len(words) - length + 1):
                if (key := " ".join(read[begin : begin + length])) in self._listed:
                    yield from self._entries(key, tuple(words[begin : begin + length]))

    def _in_run(self, run: str) -> Iterator[Action]:
        read = run.translate(_READ)
        for length in self._letters:
            for begin in range(len(run) - length + 1):
                if (key := read[begin : begin + length]) in self._listed:
                    yield from self._entries(key, (run[begin : begin + length],))

    def _entries(self, key: str, words: Words) -> Iterator[Action]:
        for listed, action in self._listed[key]:
            if all(_reads_as(word, other) for word, other in zip(words, listed, strict=True)):
                yield action


def _words(text: str) -> list[str]:
    found: list[str] = _WORD.findall(text)
    return found


def _runs(words: Sequence[str]) -> Iterator[str]:
    """Letters that stand alone, one after the other, put together."""
    for alone, run in groupby(words, lambda word: len(word) == 1):
        if alone:
            yield "".join(run)


def _read(words: Words) -> str:
    return " ".join(words).translate(_READ)


def _reads_as(word: str, listed: str) -> bool:
    """Whether a word is a listed one, letter by letter; a mere number is none."""
    if word == listed:
        return True
    alike = len(word) == len(listed) and all(
        a == b or a in _DIGITS.get(b, "") for a, b in zip(word, listed, strict=True)
    )
    return alike and any(char.isalpha() for char in word)
