"""The house's own rules: who may import whom, and what a light import must not load."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.fast

ROOT = Path(__file__).parents[1]


def test_dependencies_point_one_way():
    script = Path(sys.executable).with_name("lint-imports")
    done = subprocess.run([script, "--no-cache"], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout


@pytest.mark.parametrize(
    ("module", "absent"),
    [
        ("gateway.app", ("torch", "aiortc", "av", "ray")),
        ("cli.attach", ("aiortc", "ray")),
        ("longlive", ("torch",)),
        ("longlive.stamp", ("torch",)),
    ],
)
def test_a_light_import_stays_light(module: str, absent: tuple[str, ...]):
    code = f"import {module}, sys; print([name for name in {absent!r} if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
