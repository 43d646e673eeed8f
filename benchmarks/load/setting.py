"""What is compared: a cluster's environment and the checkout that it is started from."""

from __future__ import annotations

import subprocess
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from tests.support.server import ROOT

NAME = "longlive-cluster"


class BadSetting(Exception):
    """It cannot be started; the message says why."""


@dataclass(frozen=True, slots=True)
class Setting:
    """One of those that take turns: what the cluster's environment has more, and where its code is."""

    name: str
    more: Mapping[str, str] = field(default_factory=dict)
    checkout: Path = ROOT

    @classmethod
    def changed(cls, assignments: list[str]) -> Setting:
        """With these `NAME=VALUE` in the cluster's environment. Raises BadSetting."""
        for each in assignments:
            if not each.partition("=")[0].startswith("LLC_") or "=" not in each:
                raise BadSetting(f"{each} is no LLC_NAME=VALUE")
        return cls(" ".join(assignments), dict(each.split("=", 1) for each in assignments))

    @classmethod
    def revision(cls, checkout: Path) -> Setting:
        """Of another checkout, with the packages that are installed here. Raises BadSetting."""
        checkout = checkout.resolve()
        project = checkout / "pyproject.toml"
        if not project.exists() or tomllib.loads(project.read_text()).get("project", {}).get("name") != NAME:
            raise BadSetting(f"{checkout} is no checkout of this repository: it has no pyproject.toml of {NAME}")
        return cls(f"{checkout.name} ({commit(checkout)})", {}, checkout)


def commit(checkout: Path = ROOT) -> str:
    """Its commit in short, with a `+` if files differ from it; `unknown` where there is no git."""
    command = ["git", "-C", str(checkout), "describe", "--always", "--dirty=+", "--exclude=*"]
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=True)
    except (OSError, subprocess.CalledProcessError):
        return "unknown"
    return done.stdout.strip()
