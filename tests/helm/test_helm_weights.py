"""The script that fetches weights, with a hub of the test's own behind the `hf` command."""

from __future__ import annotations

import hashlib
import os
import stat
import subprocess
from pathlib import Path

import pytest

from tests.helm.chart import CHART, CI, objects, of_kind, rendered

pytestmark = pytest.mark.slow

SCRIPT = CHART / "files" / "fetch_weights.sh"
REVISION = "0" * 40
HUB = """#!/bin/sh
# hf download REPOSITORY FILE... --revision REVISION --local-dir FOLDER
echo "$@" >>"$HUB/calls"
shift 2
files=
while [ "${1#--}" = "$1" ]; do files="$files $1"; shift; done
for file in $files; do mkdir -p "$(dirname "$4/$file")"; cp "$HUB/files/$(basename "$file")" "$4/$file" || exit 1; done
"""


class Fetching:
    """A hub, a plan and a target."""

    def __init__(self, folder: Path) -> None:
        self.hub, self.plan, self.target = (folder / name for name in ("hub", "plan", "target"))
        for each in (self.hub / "files", self.hub / "bin", self.plan, self.target):
            each.mkdir(parents=True)
        tool = self.hub / "bin" / "hf"
        tool.write_text(HUB)
        tool.chmod(tool.stat().st_mode | stat.S_IXUSR)
        (self.hub / "files" / "model.safetensors").write_bytes(b"weights")
        (self.plan / "plan").write_text(f"example/model {REVISION} model\n")
        self.expect(b"weights")

    def expect(self, content: bytes) -> None:
        """Put the checksum of `content` into the plan."""
        line = f"{hashlib.sha256(content).hexdigest()}  part/model.safetensors\n"
        (self.plan / "model.sha256").write_text(line)

    def run(self) -> subprocess.CompletedProcess[str]:
        """The script, as the init container runs it."""
        environment = {"PATH": f"{self.hub / 'bin'}:{os.environ['PATH']}", "HUB": str(self.hub)}
        command = ["sh", str(SCRIPT), str(self.plan), str(self.target)]
        return subprocess.run(command, env=environment, capture_output=True, text=True, check=False)

    @property
    def calls(self) -> list[str]:
        """What the hub was asked."""
        return (self.hub / "calls").read_text().splitlines()


@pytest.fixture
def fetching(tmp_path: Path) -> Fetching:
    return Fetching(tmp_path)


def test_weights_are_fetched_once_at_their_revision(fetching: Fetching):
    assert fetching.run().returncode == 0
    assert (fetching.target / "model" / "part" / "model.safetensors").read_bytes() == b"weights"
    assert fetching.run().returncode == 0
    folder = fetching.target / "model"
    assert fetching.calls == [
        f"download example/model part/model.safetensors --revision {REVISION} --local-dir {folder}"
    ]


def test_a_wrong_checksum_keeps_the_worker_from_starting(fetching: Fetching):
    fetching.expect(b"other weights")
    for _ in range(2):
        done = fetching.run()
        assert done.returncode == 1
        assert "part/model.safetensors: FAILED" in done.stdout
        assert "is not what weights.downloads says" in done.stderr


def test_changed_sums_are_checked_again(fetching: Fetching):
    fetching.run()
    (fetching.hub / "files" / "model.safetensors").write_bytes(b"new weights")
    fetching.expect(b"new weights")
    assert fetching.run().returncode == 0
    assert len(fetching.calls) == 2


def test_a_hub_that_does_not_have_it_fails(fetching: Fetching):
    (fetching.hub / "files" / "model.safetensors").unlink()
    assert fetching.run().returncode != 0
    assert not (fetching.target / "model" / ".checked").exists()


def test_the_rendered_plan_is_one_that_the_script_reads(tmp_path: Path):
    """Each download has its line, and its sums as `sha256sum --check` takes them."""
    path = next(path for path in CI if path.name.startswith("gpu-pool"))
    (data,) = [each["data"] for each in of_kind(objects(rendered(path)), "ConfigMap") if "plan" in each["data"]]
    assert data["fetch_weights.sh"].strip() == SCRIPT.read_text().strip()
    assert [line.split()[2] for line in data["plan"].splitlines()] == ["longlive-2"]
    for line in data["longlive-2.sha256"].splitlines():
        assert len(line.partition("  ")[0]) == 64
