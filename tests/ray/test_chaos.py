"""The short form of `make chaos`: some deaths under one session, by a seed, and all that is promised still holds."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.ray

SECONDS = 12
SEED = 174923
"""With it the client is unplugged for a moment, then moves to another network, and its worker is killed meanwhile."""
PATIENCE_S = 170


def test_what_is_promised_holds(tmp_path: Path) -> None:
    file = tmp_path / "chaos.json"
    options = ["--minutes", str(SECONDS / 60), "--sessions", "1", "--every", "3", "--seed", str(SEED)]
    command = [sys.executable, "-m", "benchmarks.chaos", *options, "--report", str(file)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=PATIENCE_S)
    assert file.exists(), done.stderr
    found = json.loads(file.read_text())
    assert found["account"]["violations"] == []
    assert sum(found["kills"].values()) >= 2
    assert found["account"]["commands"] > 0
    assert found["account"]["strangers"] > 0
    assert found["account"]["sessions"] == found["account"]["went_on"]
    if found["no_networks"]:
        pytest.skip(f"all but a client's network was lost: {found['no_networks']}")
    assert any(way.startswith("client ") for way in found["kills"])
