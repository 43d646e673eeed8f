"""What an upgrade must leave alone."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from tests.helm.chart import CHART, CI, Object, objects, of_kind, ray_groups, ray_service, rendered, with_values

pytestmark = pytest.mark.slow

NAMED = {path.name.removesuffix("-values.yaml"): path for path in CI}


@pytest.fixture(scope="module")
def newer(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The chart under a later version, of the same image."""
    chart = Path(shutil.copytree(CHART, tmp_path_factory.mktemp("newer") / "longlive-cluster"))
    card = chart / "Chart.yaml"
    card.write_text(card.read_text().replace("\nversion: ", "\nversion: 9"))
    return chart


def _immutable(found: list[Object]) -> dict[str, object]:
    """What the API server refuses to change, by object."""
    fixed: dict[str, object] = {}
    for each in found:
        name, spec = f"{each['kind']}/{each['metadata']['name']}", each.get("spec", {})
        if each["kind"] == "StatefulSet":
            fixed[name] = {key: value for key, value in spec.items() if key not in ("replicas", "template")}
        elif each["kind"] == "DaemonSet":
            fixed[name] = spec["selector"]
        elif each["kind"] == "RayService":
            cluster = spec["rayClusterConfig"]
            fixed[name] = cluster.get("gcsFaultToleranceOptions", {}).get("backend"), cluster.get("managedBy")
    return fixed


def test_immutable_fields_stay(values_file: Path, newer: Path):
    before, after = objects(rendered(values_file)), objects(rendered(values_file, "4", newer))
    assert before != after
    assert _immutable(before) == _immutable(after)


def test_a_newer_chart_alone_is_no_new_ray_cluster(values_file: Path, newer: Path):
    before, after = (ray_service(objects(rendered(values_file, "4", chart))) for chart in (CHART, newer))
    assert before["spec"] == after["spec"]


def test_settings_of_the_gateway_are_no_new_ray_cluster():
    """They reach Serve, which rolls its replicas; KubeRay compares the pods' templates, and those are the same."""
    before = objects(rendered(NAMED["gpu-pool"]))
    after = objects(with_values({"settings": {"limits": {"max_sessions_per_tenant": 7}}}, NAMED["gpu-pool"]))
    assert ray_service(before)["spec"]["serveConfigV2"] != ray_service(after)["spec"]["serveConfigV2"]
    config = [ray_service(found)["spec"]["rayClusterConfig"] for found in (before, after)]
    assert config[0] == config[1]


def test_a_rollout_appends_a_group_and_changes_no_other():
    before = objects(rendered(NAMED["gpu-pool"]))
    group = {"name": "longlive-2", "pool": "longlive", "imageTag": "0.2.0", "replicas": {"min": 1, "max": 4}}
    after = objects(with_values({"extraWorkerGroups": [group]}, NAMED["gpu-pool"]))
    old, new = (ray_service(found)["spec"]["rayClusterConfig"]["workerGroupSpecs"] for found in (before, after))
    assert new[: len(old)] == old
    (added,) = new[len(old) :]
    assert added["template"]["spec"]["containers"][0]["image"].endswith(":0.2.0")
    assert (added["minReplicas"], added["maxReplicas"]) == (1, 4)
    head = [ray_service(found)["spec"]["rayClusterConfig"]["headGroupSpec"] for found in (before, after)]
    assert head[0] == head[1]


def test_pods_of_the_old_group_go_without_touching_its_template():
    """KubeRay leaves replicas out when it compares, so this is a change in place."""
    pool = {"name": "longlive", "model": "longlive-v2", "gpus": 1}
    small, none = (
        objects(with_values({"pools": [pool | {"replicas": {"min": n, "max": n}, "minWarm": 0}]})) for n in (1, 0)
    )
    assert ray_groups(none)["longlive"]["maxReplicas"] == 0
    for found in (small, none):
        for count in ("replicas", "minReplicas", "maxReplicas"):
            del ray_groups(found)["longlive"][count]
    assert ray_groups(small)["longlive"] == ray_groups(none)["longlive"]


def test_coturn_is_not_restarted_by_an_upgrade():
    (relays,) = of_kind(objects(rendered(NAMED["gpu-pool"])), "DaemonSet")
    assert relays["spec"]["updateStrategy"] == {"type": "OnDelete"}
