"""Where the golden files are."""

from __future__ import annotations

from pathlib import Path

from longlive.parity.golden import Golden

FOLDER = Path(__file__).parent.parent / "golden" / "longlive"


def golden_path(name: str) -> Path:
    return FOLDER / f"{name}.safetensors"


def read_golden(name: str) -> Golden:
    return Golden(golden_path(name))
