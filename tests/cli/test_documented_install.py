"""The command that docs/operate.md installs with."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import sysconfig
from pathlib import Path

import pytest

from tests.helm.dockerfile import ROOT, copied
from tests.support.pages import Command, commands

pytestmark = pytest.mark.slow

INSTALLS = [each for each in commands("docs/operate.md") if each.program == "pip"]


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """What is installed from, without what tests and builds have left in it."""
    for path in copied():
        source, ignored = ROOT / path, shutil.ignore_patterns("__pycache__", "*.egg-info")
        shutil.copytree(source, tmp_path / path, ignore=ignored) if source.is_dir() else shutil.copy(source, tmp_path)
    return tmp_path


@pytest.mark.parametrize("command", INSTALLS, ids=str)
def test_it_installs_the_command_line(command: Command, checkout: Path) -> None:
    """Into an environment that has this one's packages: pip holds them against the lists, and fetches nothing."""
    environment = checkout / "environment"
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", environment], check=True)
    (site,) = environment.glob("lib/python*/site-packages")
    (site / "dependencies.pth").write_text(sysconfig.get_path("purelib") + "\n")
    pip = f'alias pip="{environment}/bin/python -m pip"\n'
    offline = {"PATH": os.environ["PATH"], "HOME": str(checkout), "PIP_NO_INDEX": "1", "PIP_NO_BUILD_ISOLATION": "0"}
    subprocess.run(["bash", "-O", "expand_aliases", "-euc", pip + command.text], cwd=checkout, env=offline, check=True)
    installed = [environment / "bin" / "longlive-cluster", "--help"]
    assert b"serve" in subprocess.run(installed, cwd=checkout, capture_output=True, check=True).stdout
