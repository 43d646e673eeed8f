"""The load test's Job: guarded as all other pods are, and a command that the load test understands."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import kubernetes_validate
import pytest

from tests.helm.chart import CI, Object, Refused, objects, of_kind, rendered, selects, with_values
from tests.helm.dockerfile import ROOT, copied, instructions

pytestmark = pytest.mark.slow

POOLS = {"pools": [{"name": "longlive", "model": "longlive-v2", "gpus": 0}]}
KEY = {"existingSecret": "load", "key": "api-key"}


def _load(**more: Any) -> Object:
    return {**POOLS, "loadTest": {"enabled": True, "apiKey": KEY, **more}}


@pytest.fixture(scope="module")
def found() -> list[Object]:
    """The manifest with a load test, placed."""
    return objects(with_values(_load(sessions=3, viewers=1, nodeSelector={"pool": "load"})))


@pytest.fixture(scope="module")
def job(found: list[Object]) -> Object:
    """The Job."""
    (only,) = of_kind(found, "Job")
    return only


def test_there_is_none_unless_it_is_wanted():
    assert not of_kind(objects(with_values(POOLS)), "Job")
    for path in CI:
        assert not of_kind(objects(rendered(path)), "Job")


def test_kubernetes_takes_it(found: list[Object]):
    for version in ("1.28", kubernetes_validate.latest_version()):
        for each in found:
            if each["metadata"]["name"].endswith("-load"):
                kubernetes_validate.validate(each, version, strict=True)


def test_it_runs_by_helm_test_alone_and_never_meets_an_upgrade(job: Object):
    notes = job["metadata"]["annotations"]
    assert notes == {"helm.sh/hook": "test", "helm.sh/hook-delete-policy": "before-hook-creation"}
    assert job["spec"]["backoffLimit"] == 0
    assert job["spec"]["activeDeadlineSeconds"] > 60


def test_it_is_guarded_as_the_other_pods_are(job: Object):
    spec = job["spec"]["template"]["spec"]
    assert spec["automountServiceAccountToken"] is False
    assert spec["securityContext"]["runAsNonRoot"] is True
    assert spec["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
    assert spec["nodeSelector"] == {"pool": "load"}
    (container,) = spec["containers"]
    own = container["securityContext"]
    assert (own["allowPrivilegeEscalation"], own["readOnlyRootFilesystem"]) == (False, True)
    assert own["capabilities"] == {"drop": ["ALL"]}
    assert "memory" in container["resources"]["limits"]


def test_its_key_comes_from_a_secret(job: Object):
    (container,) = job["spec"]["template"]["spec"]["containers"]
    reference = {"name": KEY["existingSecret"], "key": KEY["key"]}
    entry = {"name": "LOAD_API_KEY", "valueFrom": {"secretKeyRef": reference}}
    assert entry in container["env"]


def test_nobody_reaches_it_and_nobody_takes_it_for_a_gateway(found: list[Object], job: Object):
    labels = job["spec"]["template"]["metadata"]["labels"]
    for each in found:
        selector = each["spec"].get("selector") if each["kind"] == "Service" else None
        assert selector is None or not selects(selector, labels), each["metadata"]["name"]
    policies = [each for each in of_kind(found, "NetworkPolicy") if selects(each["spec"]["podSelector"], labels)]
    assert [each["spec"]["ingress"] for each in policies] == [[]]


def test_the_load_test_understands_its_command(found: list[Object], job: Object, tmp_path: Path):
    """In a copy of the image's folder: without a key it says so, which is after it has read all else."""
    (container,) = job["spec"]["template"]["spec"]["containers"]
    target = container["workingDir"]
    copies = [each.words for each in instructions((ROOT / "Dockerfile").read_text()) if each.name == "COPY"]
    for source, place in (words for words in copies if words[-1].startswith(target)):
        copy = tmp_path / Path(place).relative_to(target)
        copy.parent.mkdir(parents=True, exist_ok=True)
        copy.symlink_to(ROOT / source)
        assert source in copied()
    (service,) = [each for each in of_kind(found, "Service") if each["metadata"]["name"].endswith("-gateway")]
    assert f"http://{service['metadata']['name']}:{service['spec']['ports'][0]['port']}" in container["command"]
    command = [sys.executable, *container["command"][1:]]
    done = subprocess.run(command, cwd=tmp_path, env={"PATH": ""}, capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert "needs an API key in LOAD_API_KEY" in " ".join(done.stderr.split())


@pytest.mark.parametrize(
    ("values", "sentence"),
    [
        (POOLS | {"loadTest": {"enabled": True}}, "loadTest is enabled without loadTest.apiKey.existingSecret"),
        ({"loadTest": {"enabled": True, "apiKey": KEY}}, "no pool has the model longlive-v2"),
        (_load(sessions=0), "schema"),
        (_load(trace="epic"), "schema"),
    ],
)
def test_bad_values(values: Object, sentence: str):
    with pytest.raises(Refused) as refused:
        with_values(values)
    assert sentence in str(refused.value)
