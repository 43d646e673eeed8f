"""The chart rendered by real Helm: what the tests ask it for."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import yaml

CHART = Path(__file__).parents[2] / "helm" / "longlive-cluster"
CI = sorted((CHART / "ci").glob("*-values.yaml"))
HELM = {major: Path(__file__).parent / "node_modules" / ".helm" / major for major in ("3", "4")}
RELEASE = "llc"
"""Services of such a release would give pods LLC_ variables, which no settings know."""

Object = dict[str, Any]


class Refused(Exception):
    """Helm did not render; the text is what it said."""


def helm(major: str, *arguments: str) -> str:
    """What `helm` prints. Raises Refused."""
    if not HELM[major].exists():
        raise RuntimeError(f"Helm {major} is not here: run `make helm`")
    done = subprocess.run([HELM[major], *arguments], capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise Refused(done.stdout + done.stderr)
    return done.stdout


@cache
def rendered(values: Path | None, major: str = "4", chart: Path = CHART) -> str:
    """The manifest of a values file; None is the chart's own values."""
    files = [] if values is None else ["-f", str(values)]
    return helm(major, "template", RELEASE, str(chart), "--namespace", "live", *files)


def with_values(values: Object, *files: Path) -> str:
    """The manifest of these values on top of the files. Raises Refused."""
    more = [argument for file in files for argument in ("-f", str(file))]
    arguments = ("template", RELEASE, str(CHART), *more, "-f", "-")
    done = subprocess.run(
        [HELM["4"], *arguments], input=json.dumps(values), capture_output=True, text=True, check=False
    )
    if done.returncode != 0:
        raise Refused(done.stdout + done.stderr)
    return done.stdout


def objects(manifest: str) -> list[Object]:
    """The manifest's objects."""
    loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
    return [each for each in yaml.load_all(manifest, loader) if each]


def of_kind(found: list[Object], kind: str) -> list[Object]:
    """Those of one kind."""
    return [each for each in found if each["kind"] == kind]


def ray_service(found: list[Object]) -> Object:
    """The one RayService."""
    (service,) = of_kind(found, "RayService")
    return service


def ray_groups(found: list[Object]) -> dict[str, Object]:
    """Its groups by name, the head as `head`."""
    cluster = ray_service(found)["spec"]["rayClusterConfig"]
    return {"head": cluster["headGroupSpec"]} | {group["groupName"]: group for group in cluster["workerGroupSpecs"]}


def pods(found: list[Object]) -> Iterator[tuple[str, Object]]:
    """Every pod template there is, with a name for it."""
    for name, group in ray_groups(found).items():
        yield f"ray/{name}", group["template"]
    for each in found:
        if each["kind"] in ("DaemonSet", "StatefulSet", "Deployment", "Job"):
            yield f"{each['kind']}/{each['metadata']['name']}", each["spec"]["template"]
        if each["kind"] == "CronJob":
            yield f"CronJob/{each['metadata']['name']}", each["spec"]["jobTemplate"]["spec"]["template"]


def containers(pod: Object) -> list[Object]:
    """Of a pod template, the ones that begin included."""
    return [*pod["spec"].get("initContainers", []), *pod["spec"]["containers"]]


def selects(selector: Object, labels: dict[str, str]) -> bool:
    """Whether a label selector, or a service's plain map, takes these labels."""
    wanted = selector.get("matchLabels", {} if "matchExpressions" in selector else selector)
    among = {each["key"]: each["values"] for each in selector.get("matchExpressions", [])}
    return all(labels.get(k) == v for k, v in wanted.items()) and all(labels.get(k) in v for k, v in among.items())
