"""Every object is one that a strict API server takes, of the oldest and the newest Kubernetes."""

from __future__ import annotations

import copy
import json
import subprocess
import warnings
from pathlib import Path
from typing import Any

import kubernetes_validate
import pytest
import yaml
from jsonschema import Draft202012Validator, ValidationError
from ray.scripts.scripts import start

from tests.helm.chart import CI, Object, objects, ray_groups, ray_service, rendered
from tests.helm.ray_service_schema import RAY_SERVICE

with warnings.catch_warnings():
    warnings.simplefilter("ignore", DeprecationWarning)  # Ray's own use of pydantic
    from ray.serve.schema import ServeDeploySchema

pytestmark = pytest.mark.slow

KUBERNETES = ("1.28", kubernetes_validate.latest_version())
OTHERS = ("RayService", "PodMonitor", "PrometheusRule", "HTTPRoute")


@pytest.mark.parametrize("version", KUBERNETES)
def test_core_kinds(manifest: list[Object], version: str):
    for each in manifest:
        if each["kind"] not in OTHERS:
            kubernetes_validate.validate(each, version, strict=True)


@pytest.mark.parametrize("version", KUBERNETES)
def test_pod_templates_of_ray(manifest: list[Object], version: str):
    for name, group in ray_groups(manifest).items():
        pod = {"apiVersion": "v1", "kind": "PodTemplate", "metadata": {"name": name}, "template": group["template"]}
        kubernetes_validate.validate(pod, version, strict=True)


def test_ray_service(manifest: list[Object]):
    Draft202012Validator(RAY_SERVICE).validate(ray_service(manifest))


def test_the_autoscalers_container(manifest: list[Object]):
    options = ray_service(manifest)["spec"]["rayClusterConfig"].get("autoscalerOptions", {})
    fields = {key: options[key] for key in ("env", "volumeMounts", "securityContext") if key in options}
    spec = {"containers": [{"name": "autoscaler", "image": "image", **fields}]}
    pod = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "head"}, "spec": spec}
    kubernetes_validate.validate(pod, KUBERNETES[0], strict=True)
    head = ray_groups(manifest)["head"]["template"]["spec"]["volumes"]
    assert {mount["name"] for mount in options.get("volumeMounts", [])} <= {volume["name"] for volume in head}


def test_ray_start_knows_its_parameters(manifest: list[Object]):
    known = {name.removeprefix("--") for option in start.params for name in option.opts}
    for group in ray_groups(manifest).values():
        assert set(group["rayStartParams"]) <= known


def test_serve_config(manifest: list[Object]):
    config = ServeDeploySchema.model_validate(yaml.safe_load(ray_service(manifest)["spec"]["serveConfigV2"]))
    (application,) = config.applications
    assert application.import_path == "gateway.deployment:build"
    (gateway,) = application.deployments
    assert gateway.num_replicas == ray_groups(manifest)["control"]["replicas"]


def _operators(found: list[Object]) -> list[list[str]]:
    """What is wrong with each, by the operators' types."""
    room = Path(__file__).parent
    told = json.dumps(found)
    done = subprocess.run(["node", "operators.mjs"], cwd=room, input=told, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return list(json.loads(done.stdout))


def test_monitors_rules_and_routes():
    kinds = ("PodMonitor", "PrometheusRule", "HTTPRoute")
    found = [each for path in CI for each in objects(rendered(path)) if each["kind"] in kinds]
    assert {each["kind"] for each in found} == set(kinds)
    typo = copy.deepcopy(next(each for each in found if each["kind"] == "PodMonitor"))
    typo["spec"]["podMetricsEndpoints"][0]["intervall"] = "3s"
    *good, bad = _operators([*found, typo])
    assert good == [[] for _ in found]
    assert "intervall" in " ".join(bad)


@pytest.mark.parametrize(
    "path",
    [
        ("spec", "rayClusterConfig", "workerGroupSpecs", 0),
        ("spec", "rayClusterConfig", "headGroupSpec"),
        ("spec", "rayClusterConfig", "authOptions"),
        ("spec",),
    ],
)
def test_a_typo_in_the_ray_service_is_found(path: tuple[Any, ...]):
    service = copy.deepcopy(ray_service(objects(rendered(CI[0]))))
    node = service
    for step in path:
        node = node[step]
    node["rayStartParam"] = {}
    with pytest.raises(ValidationError, match="rayStartParam"):
        Draft202012Validator(RAY_SERVICE).validate(service)
