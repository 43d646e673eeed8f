"""What can be wrong with a checkpoint. Every error names the file.

WeightsError
├── UnreadableFile          missing, truncated, or not a checkpoint
│   └── UnsafeFile          a pickle that asks for code to be run
├── UnknownLayout           readable, but none of the networks we know
│   └── UnsupportedLayout   known, and not for us
├── MissingTensors
├── UnexpectedTensors
├── ShapeMismatch
├── BadDtype
├── NonFinite
├── BadLora                 a low-rank update that does not fit
├── MissingPart             a folder of checkpoints lacks a network
└── AmbiguousPart           it has two that could be meant

The fields are the arguments, so that an error crosses a process boundary whole.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

SHOWN = 3
"""Names listed in a message before it says how many more there are."""


class WeightsError(ValueError):
    """A checkpoint cannot be used."""


class _Reasoned(WeightsError):
    def __init__(self, file: Path, reason: str) -> None:
        super().__init__(file, reason)
        self.file = file
        self.reason = reason

    def __str__(self) -> str:
        return f"{self.file}: {self.reason}"


class UnreadableFile(_Reasoned):
    """Missing, truncated, or not a checkpoint."""


class UnsafeFile(UnreadableFile):
    """A pickle that asks for more than tensors; nothing of it was executed."""


class UnknownLayout(_Reasoned):
    """Readable, but none of the networks we know."""


class UnsupportedLayout(UnknownLayout):
    """A known layout that these networks cannot run."""


class _Named(WeightsError):
    """Something about several tensors."""

    what = ""

    def __init__(self, file: Path, names: Sequence[str], total: int) -> None:
        super().__init__(file, names, total)
        self.file = file
        self.names = names
        self.total = total

    def __str__(self) -> str:
        more = len(self.names) - SHOWN
        listed = ", ".join(self.names[:SHOWN]) + (f" and {more} more" if more > 0 else "")
        return f"{self.file}: {len(self.names)} {self.what}: {listed}".replace("%d", str(self.total))


class MissingTensors(_Named):
    """The network has parameters that the file lacks. `total` counts the network's."""

    what = "of the network's %d tensors are missing"


class UnexpectedTensors(_Named):
    """The file holds tensors for which the network has no place. `total` counts the file's."""

    what = "of the file's %d tensors have no place in the network"


class ShapeMismatch(WeightsError):
    """A tensor is not of the size that the network expects."""

    def __init__(self, file: Path, key: str, found: tuple[int, ...], expected: tuple[int, ...]) -> None:
        super().__init__(file, key, found, expected)
        self.file = file
        self.key = key
        self.found = found
        self.expected = expected

    def __str__(self) -> str:
        return f"{self.file}: {self.key} is {list(self.found)}, expected {list(self.expected)}"


class BadDtype(WeightsError):
    """A tensor is not of a floating-point type that weights are computed in."""

    def __init__(self, file: Path, key: str, found: str) -> None:
        super().__init__(file, key, found)
        self.file = file
        self.key = key
        self.found = found

    def __str__(self) -> str:
        return f"{self.file}: {self.key} is {self.found}, expected float32, bfloat16, float16 or float64"


class NonFinite(WeightsError):
    """A tensor holds NaN or infinite values."""

    def __init__(self, file: Path, key: str, count: int, total: int) -> None:
        super().__init__(file, key, count, total)
        self.file = file
        self.key = key
        self.count = count
        self.total = total

    def __str__(self) -> str:
        return f"{self.file}: {self.key} has {self.count} NaN or infinite values among {self.total}"


class BadLora(_Reasoned):
    """A low-rank update that does not fit the network or is not complete."""


class MissingPart(_Reasoned):
    """A folder of checkpoints lacks a network or the tokenizer."""


class AmbiguousPart(_Reasoned):
    """A folder of checkpoints has several files that could be meant."""
