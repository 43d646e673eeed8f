"""The commands that a page shows: those of its `sh` and indented blocks, and those that its lines name in full."""

from __future__ import annotations

import re
import shlex
import shutil
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import takewhile
from pathlib import Path

ROOT = Path(__file__).parents[2]
BIN = Path(sys.executable).parent
ELSEWHERE = ("docker", "helm", "kubectl")
"""Programs that a machine of ours may lack."""
NEEDS = re.compile(r"needs (a Kubernetes cluster|a GPU|root|another machine)$")
"""How the comment of a command ends that no test can run here."""

_ASSIGNMENT = re.compile(r"[A-Z][A-Z0-9_]*=")
_COMMENT = re.compile(r"\s+#\s+(.*)$", re.MULTILINE)
_INLINE = re.compile(r"`([^`\n]+)`")


@dataclass(frozen=True)
class Command:
    """As it is typed, without its comment; `needs` is what the comment says that it needs."""

    text: str
    section: str = ""
    needs: str = ""

    def __str__(self) -> str:
        return self.text

    @property
    def program(self) -> str:
        """`export`, too; empty where it is but an assignment."""
        return next((word for word in shlex.split(self.text) if not _ASSIGNMENT.match(word)), "")

    @property
    def environment(self) -> list[str]:
        """`NAME=value` before the program."""
        return list(takewhile(_ASSIGNMENT.match, shlex.split(self.text)))


def commands(page: str) -> list[Command]:
    """Those of a page below the root, each once, in order."""
    return list({command.text: command for command in _commands((ROOT / page).read_text())}.values())


def spans(page: str) -> list[str]:
    """The code within its lines."""
    return [span for kind, line, _ in _lines((ROOT / page).read_text()) if not kind for span in _INLINE.findall(line)]


def fences(page: str) -> set[str]:
    """The languages of its blocks."""
    return {kind for kind, _, _ in _lines((ROOT / page).read_text()) if kind}


def _commands(page: str) -> Iterator[Command]:
    begun: list[str] = []
    for kind, line, section in _lines(page):
        if not kind:
            yield from (Command(span, section) for span in _INLINE.findall(line) if _is_typed(span))
        elif kind == "sh" and (begun or line.strip()):
            begun.append(line)
            if _is_whole("\n".join(begun)):
                yield _command("\n".join(begun).strip(), section)
                begun.clear()


def _lines(page: str) -> Iterator[tuple[str, str, str]]:
    """What each line is (empty, `sh`, or another fence's language), the line, and the heading that it is below."""
    fence, section = "", ""
    for line in page.splitlines():
        if line.startswith("```"):
            fence = "" if fence else line.removeprefix("```") or "none"
        elif fence:
            yield fence, line, section
        elif line.startswith("    "):
            yield "sh", line, section
        else:
            section = line.lstrip("# ") if line.startswith("#") else section
            yield "", line, section


def _command(shown: str, section: str) -> Command:
    found = [NEEDS.search(comment) for comment in _COMMENT.findall(shown)]
    return Command(_COMMENT.sub("", shown), section, "".join(each[1] for each in found if each))


def _is_typed(span: str) -> bool:
    """Whether code within a line is a command: several words, the first of which is a program."""
    if len(span.split()) < 2 or not _is_whole(span):
        return False
    program = Command(span).program
    return program in ELSEWHERE or bool(program.islower() and shutil.which(program, path=f"{BIN}:/usr/bin:/bin"))


def _is_whole(shown: str) -> bool:
    try:
        shlex.split(shown, comments=True)
    except ValueError:  # a quotation goes on in the next line
        return False
    return True
