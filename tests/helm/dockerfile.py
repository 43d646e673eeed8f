"""The Dockerfile, instruction by instruction."""

from __future__ import annotations

import shlex
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[2]


@dataclass(frozen=True, slots=True)
class Instruction:
    """One instruction: its name, what follows it on one line, and the stage that it belongs to."""

    name: str
    rest: str
    stage: str

    @property
    def words(self) -> list[str]:
        """What follows, as a shell splits it."""
        return shlex.split(self.rest)


def instructions(text: str) -> list[Instruction]:
    """All of them, in order; the last stage has the name ``""``."""
    lines = [line for line in text.splitlines() if line.strip() and not line.startswith("#")]
    joined = "\n".join(lines).replace("\\\n", " ").splitlines()
    found: list[Instruction] = []
    stage = ""
    for line in joined:
        name, _, rest = line.strip().partition(" ")
        if name == "FROM":
            stage = rest.partition(" AS ")[2]
        found.append(Instruction(name, rest.strip(), stage))
    return found


def copied() -> list[str]:
    """The paths of the repository that go into the image."""
    found = instructions((ROOT / "Dockerfile").read_text())
    return [source for each in found if each.name == "COPY" and "--from" not in each.rest for source in each.words[:-1]]
