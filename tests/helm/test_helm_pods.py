"""What a cluster's guards ask of pods, and that everything that is named is there."""

from __future__ import annotations

import json
import re
from itertools import chain

import pytest
import yaml

from tests.helm.chart import (
    CI,
    Object,
    containers,
    objects,
    of_kind,
    pods,
    ray_groups,
    ray_service,
    rendered,
    selects,
    with_values,
)

pytestmark = pytest.mark.slow

NAMED = {path.name.removesuffix("-values.yaml"): path for path in CI}
_VERSION = re.compile(r":(?!latest$)[\w.-]*\d[\w.-]*$")


def test_pods_are_restricted(manifest: list[Object]):
    for name, pod in pods(manifest):
        security = pod["spec"]["securityContext"]
        assert security["runAsNonRoot"] is True, name
        assert security["runAsUser"] > 0, name
        assert security["seccompProfile"] == {"type": "RuntimeDefault"}, name
        for container in containers(pod):
            own = container["securityContext"]
            assert own["allowPrivilegeEscalation"] is False, name
            assert own["readOnlyRootFilesystem"] is True, name
            assert own["capabilities"]["drop"] == ["ALL"], name
            assert set(own["capabilities"].get("add", [])) <= {"NET_BIND_SERVICE"}, name


def test_the_autoscaler_is_restricted():
    cluster = ray_service(objects(rendered(NAMED["gpu-pool"])))["spec"]["rayClusterConfig"]
    security = cluster["autoscalerOptions"]["securityContext"]
    assert security["readOnlyRootFilesystem"] is True
    assert security["capabilities"] == {"drop": ["ALL"]}


def test_tokens_of_the_api_are_for_the_autoscaler_alone(manifest: list[Object]):
    scaled = ray_service(manifest)["spec"]["rayClusterConfig"]["enableInTreeAutoscaling"]
    for name, pod in pods(manifest):
        assert pod["spec"]["automountServiceAccountToken"] is (scaled and name == "ray/head"), name


def test_ray_has_a_token_and_workers_nothing_of_the_head(manifest: list[Object]):
    cluster = ray_service(manifest)["spec"]["rayClusterConfig"]
    assert cluster["authOptions"]["mode"] == "token"
    for name, group in ray_groups(manifest).items():
        cpus = group["rayStartParams"]["num-cpus"]
        assert cpus == ("1" if name == "control" else "0"), "gateways run where there is a CPU: in control alone"


def test_containers_have_limits_and_images_versions(manifest: list[Object]):
    for name, pod in pods(manifest):
        for container in containers(pod):
            assert {"cpu", "memory"} <= set(container["resources"]["requests"]), name
            assert "memory" in container["resources"]["limits"], name
            assert _VERSION.search(container["image"]), container["image"]


def test_long_lived_containers_have_probes(manifest: list[Object]):
    for name, pod in pods(manifest):
        if name.startswith(("Job/", "CronJob/")):
            continue
        for container in pod["spec"]["containers"]:
            assert "livenessProbe" in container, name
            assert "readinessProbe" in container, name


def test_only_control_pods_are_asked_for_a_serve_proxy(manifest: list[Object]):
    for name, group in ray_groups(manifest).items():
        (container,) = group["template"]["spec"]["containers"]
        path = container["readinessProbe"]["httpGet"]["path"]
        assert path == ("/-/healthz" if name == "control" else "/api/healthz")


def test_what_is_mounted_is_there_and_what_is_there_is_mounted(manifest: list[Object]):
    maps = {each["metadata"]["name"] for each in of_kind(manifest, "ConfigMap")}
    for name, pod in pods(manifest):
        volumes = {each["name"]: each for each in pod["spec"].get("volumes", [])}
        mounts = {mount["name"] for each in containers(pod) for mount in each.get("volumeMounts", [])}
        assert mounts - set(volumes) <= {"data"}, name  # data: a claim template
        assert set(volumes) <= mounts, name
        for volume in volumes.values():
            if "configMap" in volume:
                assert volume["configMap"]["name"] in maps


def test_what_is_written_has_room(manifest: list[Object]):
    for group in ray_groups(manifest).values():
        (container,) = group["template"]["spec"]["containers"]
        paths = {mount["mountPath"] for mount in container["volumeMounts"]}
        assert {"/tmp", "/home/longlive", "/dev/shm"} <= paths


def test_selectors_match_pods_and_ports(manifest: list[Object]):
    templates = [pod for _, pod in pods(manifest)]
    for each in manifest:
        if each["kind"] not in ("Service", "PodDisruptionBudget", "NetworkPolicy", "DaemonSet", "StatefulSet"):
            continue
        selector = each["spec"]["podSelector"] if each["kind"] == "NetworkPolicy" else each["spec"]["selector"]
        chosen = [pod for pod in templates if selects(selector, pod["metadata"]["labels"])]
        assert chosen, each["metadata"]["name"]
        if each["kind"] == "Service":
            named = {port["name"] for pod in chosen for port in chain(*(c["ports"] for c in containers(pod)[-1:]))}
            assert {port["targetPort"] for port in each["spec"]["ports"]} <= named


def test_the_gateways_service_chooses_control_pods_alone(manifest: list[Object]):
    (service,) = [each for each in of_kind(manifest, "Service") if each["metadata"]["name"].endswith("-gateway")]
    chosen = {name for name, pod in pods(manifest) if selects(service["spec"]["selector"], pod["metadata"]["labels"])}
    assert chosen == {"ray/control"}


def test_monitors_name_ports_that_are_there():
    for file in ("gpu-pool", "multi-model"):
        found = objects(rendered(NAMED[file]))
        named = {port["name"] for _, pod in pods(found) for each in containers(pod) for port in each.get("ports", [])}
        for monitor in of_kind(found, "PodMonitor"):
            assert {each["port"] for each in monitor["spec"]["podMetricsEndpoints"]} <= named


def test_each_process_that_counts_is_scraped_by_itself():
    """A gateway, and beside one of them the allocator; the gateway's public port shows no metrics."""
    found = objects(with_values({"monitoring": {"podMonitors": {"enabled": True}}}, NAMED["host-network"]))
    groups = ray_groups(found)
    ports = {name: declared(group["template"]) for name, group in groups.items()}
    assert ports == {"head": {}, "control": numbered(2), "longlive": numbered(8)}
    own, rays = of_kind(found, "PodMonitor")
    assert [each["port"] for each in own["spec"]["podMetricsEndpoints"]] == list(numbered(8))
    assert [each["port"] for each in rays["spec"]["podMetricsEndpoints"]] == ["metrics"]
    policy = next(each for each in of_kind(found, "NetworkPolicy") if each["metadata"]["name"].endswith("-ray"))
    assert policy["spec"]["ingress"][-1]["ports"] == [{"port": 8080}, {"port": 9400, "endPort": 9407}]


def declared(pod: Object) -> dict[str, int]:
    """The ports of a pod that are for this software's metrics."""
    (container,) = pod["spec"]["containers"]
    return {each["name"]: each["containerPort"] for each in container["ports"] if each["name"].startswith("app-")}


def numbered(count: int) -> dict[str, int]:
    names = ("app-metrics", *(f"app-metrics-{n}" for n in range(1, count)))
    return dict(zip(names, range(9400, 9400 + count), strict=True))


def test_workers_are_drained_and_given_the_time(manifest: list[Object]):
    longest = yaml.safe_load(ray_service(manifest)["spec"]["serveConfigV2"])["applications"][0]["args"]["limits"]
    for name, group in ray_groups(manifest).items():
        if name in ("head", "control"):
            continue
        spec = group["template"]["spec"]
        (container,) = spec["containers"]
        seconds = longest["max_session_s"]
        command = container["lifecycle"]["preStop"]["exec"]["command"]
        assert command == ["longlive-cluster", "drain", "--here", "--deadline", str(seconds)]
        assert spec["terminationGracePeriodSeconds"] == seconds + 60
        assert group["template"]["metadata"]["annotations"]["karpenter.sh/do-not-disrupt"] == "true"


def test_workers_are_never_evicted():
    budgets = {
        each["metadata"]["name"]: each for each in of_kind(objects(rendered(NAMED["gpu-pool"])), "PodDisruptionBudget")
    }
    workers = next(each["spec"] for name, each in budgets.items() if name.endswith("-workers"))
    assert workers["maxUnavailable"] == 0


def test_one_pod_has_the_gpus_that_ray_is_told(manifest: list[Object]):
    for name, group in ray_groups(manifest).items():
        if name in ("head", "control"):
            continue
        (container,) = group["template"]["spec"]["containers"]
        gpus = container["resources"]["limits"].get("nvidia.com/gpu", 0)
        assert group["rayStartParams"]["num-gpus"] == str(gpus)
    counts = {"gpu-pool": 1, "host-network": 8}
    for file, count in counts.items():
        assert ray_groups(objects(rendered(NAMED[file])))["longlive"]["rayStartParams"]["num-gpus"] == str(count)


def test_pods_on_the_nodes_network_do_not_meet():
    groups = ray_groups(objects(rendered(NAMED["host-network"])))
    spec = groups["longlive"]["template"]["spec"]
    assert spec["hostNetwork"] is True
    assert spec["dnsPolicy"] == "ClusterFirstWithHostNet"
    (term,) = spec["affinity"]["podAntiAffinity"]["requiredDuringSchedulingIgnoredDuringExecution"]
    assert term["topologyKey"] == "kubernetes.io/hostname"
    assert selects(term["labelSelector"], groups["longlive"]["template"]["metadata"]["labels"])
    ports = [port["containerPort"] for port in spec["containers"][0]["ports"]]
    assert ports == [8080, *range(9400, 9408)], "Ray's, and one for each of eight workers"
    for name in ("head", "control"):
        assert "hostNetwork" not in groups[name]["template"]["spec"]


def test_ray_and_redis_are_closed_to_strangers(manifest: list[Object]):
    """Without a policy that takes it, nothing comes in; none opens Ray's or Redis' ports to everybody."""
    covered = [each["spec"] for each in of_kind(manifest, "NetworkPolicy")]
    for name, pod in pods(manifest):
        if pod["spec"].get("hostNetwork"):
            continue  # policies do not reach these
        own = [spec for spec in covered if selects(spec["podSelector"], pod["metadata"]["labels"])]
        assert own, name
        for rule in chain(*(spec["ingress"] for spec in own)):
            if not rule.get("from"):
                assert [port["port"] for port in rule["ports"]] == [8000], name


def test_a_pools_workers_are_placed_on_its_own_pods(manifest: list[Object]):
    groups = ray_groups(manifest)
    (application,) = yaml.safe_load(ray_service(manifest)["spec"]["serveConfigV2"])["applications"]
    for pool in application["args"]["pools"]:
        ((resource, one),) = pool["resources"].items()
        assert one == 1
        offering = {name for name, group in groups.items() if resource in group["rayStartParams"].get("resources", "")}
        assert offering, pool
        for name in offering:
            offered = json.loads(json.loads(groups[name]["rayStartParams"]["resources"]))
            assert list(offered) == [resource]


def test_a_missing_secret_keeps_a_pod_from_starting(manifest: list[Object]):
    """The kubelet starts none whose secret is not there, unless it is called optional."""
    for name, pod in pods(manifest):
        told = json.dumps(pod)
        assert '"optional": true' not in told, name
