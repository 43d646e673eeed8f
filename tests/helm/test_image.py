"""The container image, as far as it can be judged without building it: rules, what it copies, how it installs."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import sysconfig
import tomllib
from pathlib import Path

import pytest

from tests.helm.dockerfile import ROOT, copied, instructions

pytestmark = pytest.mark.slow

DOCKERFILE = (ROOT / "Dockerfile").read_text()
FOUND = instructions(DOCKERFILE)
PREFIX = "/opt/longlive"


def test_hadolint_has_nothing_to_say():
    hadolint = Path(sys.executable).with_name("hadolint")
    done = subprocess.run([hadolint, "Dockerfile"], cwd=ROOT, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (0, "")


def test_bases_have_versions():
    bases = [each.words[0] for each in FOUND if each.name == "FROM"]
    stages = {each.stage for each in FOUND}
    pinned = [base for base in bases if base not in stages]
    assert len(set(pinned)) == 1
    assert pinned[0].startswith("nvidia/cuda:13.0.")


def test_it_runs_as_nobody_in_particular():
    users = [each.rest for each in FOUND if each.name == "USER" and each.stage == ""]
    assert users == ["10001:10001"]
    last = [each.name for each in FOUND if each.stage == ""]
    assert last.index("USER") > max(number for number, name in enumerate(last) if name in ("RUN", "COPY"))


def test_what_is_copied_is_there_and_is_all_of_the_package():
    packages = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["setuptools"]["packages"]
    assert {package.partition(".")[0] for package in packages} <= set(copied())
    for path in copied():
        assert (ROOT / path).exists(), path


def test_the_context_has_what_is_copied_and_no_more():
    lines = [line for line in (ROOT / ".dockerignore").read_text().splitlines() if line and not line.startswith("#")]
    assert lines[0] == "*"
    assert {line[1:] for line in lines if line.startswith("!")} == set(copied())


def test_weights_are_not_baked():
    assert not [each for each in FOUND if each.name == "ADD"]
    assert not [each for each in FOUND if each.name == "RUN" and ("hf " in each.rest or "safetensors" in each.rest)]
    for path in copied():
        found = [*(ROOT / path).rglob("*.safetensors"), *(ROOT / path).rglob("*.pth"), *(ROOT / path).rglob("*.pt")]
        assert not found, path


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A clean environment made by the Dockerfile's own steps, in a copy of what it copies.

    Dependencies are this environment's, so that nothing is fetched: pip still holds them against the lists.
    """
    context, prefix = tmp_path_factory.mktemp("context"), tmp_path_factory.mktemp("image") / "longlive"
    for path in copied():
        source = ROOT / path
        ignored = shutil.ignore_patterns("__pycache__", "*.egg-info")
        shutil.copytree(source, context / path, ignore=ignored) if source.is_dir() else shutil.copy(source, context)
    for step in (each for each in FOUND if each.stage == "build" and each.name == "RUN" and PREFIX in each.rest):
        command = step.rest.replace(PREFIX, str(prefix)).replace("python3.12 -m venv", f"{sys.executable} -m venv")
        is_new = " -m venv " in command
        command = command.replace(" -m venv ", " -m venv --without-pip ")
        environment = {"PATH": os.environ["PATH"], "PIP_NO_INDEX": "1", "HOME": str(context)}
        subprocess.run(["sh", "-euc", command], cwd=context, env=environment, check=True, capture_output=True)
        if is_new:
            (site,) = prefix.glob("lib/python*/site-packages")
            (site / "dependencies.pth").write_text(sysconfig.get_path("purelib") + "\n")
    return prefix


def test_the_steps_install_the_command_line(installed: Path, tmp_path: Path):
    command = [installed / "bin" / "longlive-cluster", "--help"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=True)
    for name in ("serve", "drain", "keys"):
        assert name in done.stdout


def test_all_packages_and_their_files_are_installed(installed: Path):
    (site,) = installed.glob("lib/python*/site-packages")
    for package in ("wire", "models", "wan", "longlive", "cluster", "gateway", "cli"):
        own = {path.relative_to(ROOT) for path in (ROOT / package).rglob("*.py")}
        assert own == {path.relative_to(site) for path in (site / package).rglob("*.py")}, package
    assert any((site / "gateway" / "static").iterdir())
