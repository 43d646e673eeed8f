"""Values that contradict each other or do not exist fail at render, with a sentence that says which."""

from __future__ import annotations

from typing import Any

import pytest

from tests.helm.chart import CHART, HELM, Refused, helm, with_values

pytestmark = pytest.mark.slow

GPU = {"name": "a", "model": "longlive-v2"}
NODES = {"network": {"host": True}, "networkPolicy": {"nodeCidrs": ["192.0.2.0/24"]}}
COTURN = {"mode": "coturn", "existingSecret": "s"}


def _pool(**own: Any) -> dict[str, Any]:
    return {"pools": [GPU | own]}


@pytest.mark.parametrize(
    ("values", "sentence"),
    [
        ({"turn": {"mode": "coturn"}}, "turn.mode is coturn without turn.existingSecret"),
        ({"turn": {"mode": "external", "existingSecret": "s"}}, "turn.uris is empty"),
        ({"turn": {"uris": ["turn:a:1"]}}, "turn.uris are set and turn.mode is none"),
        ({"turn": COTURN}, "clients have no name for it"),
        ({"turn": COTURN}, "coturn would relay to nobody"),
        ({"turn": COTURN | {"coturn": {"minPort": 5000, "maxPort": 4000}}}, "minPort 5000 is beyond maxPort 4000"),
        ({"turn": COTURN | {"coturn": {"service": {"enabled": True}}}}, "turn.coturn.tlsSecret is empty"),
        ({"turn": COTURN | {"coturn": {"service": {"enabled": True}}}}, "has an address of its own"),
        (_pool(preset="5b", gpus=0), "the preset 5b needs a GPU, and gpus is 0"),
        (_pool(preset="5b"), "needs options.weights, a folder below /weights"),
        (_pool(preset="5b", options={"weights": "/weights/a"}), "weights.volume.kind is none"),
        (_pool(minWarm=3), "3 workers are to be kept warm, and there are at most 1"),
        (_pool(replicas={"min": 2}), "replicas.min is 2 and replicas.max 1"),
        (_pool(replicas={"max": 2}), "nobody scales"),
        (_pool(onePerNode=False) | {"network": {"host": True}}, "one range of ports"),
        ({"pools": [GPU, GPU]}, "the name is taken"),
        ({"pools": [GPU, GPU | {"name": "b"}]}, "the model longlive-v2 has a pool already"),
        ({"pools": [GPU | {"name": "control"}]}, "the name is taken"),
        ({"extraWorkerGroups": [{"name": "b", "pool": "c"}]}, "belongs to the pool c, which is not there"),
        ({"network": {"host": True}}, "set networkPolicy.nodeCidrs"),
        ({"media": {"ports": "41000-40000"}}, "the first port, 41000, is beyond the last one, 40000"),
        ({"media": {"ports": "1000-40000"}}, "1000-40000 is not within 1024-65535"),
        ({"media": {"ports": "40000-40062"}}, "1 sessions of settings.limits.max_connections, 64"),
        (_pool(sessionsPerWorker=2) | {"media": {"ports": "40000-40126"}}, "2 sessions of"),
        ({"media": {"publicAddress": ["203.0.113.9"]}}, "workers have addresses of their pods: set network.host"),
        (
            _pool(replicas={"min": 2, "max": 2}) | NODES | {"media": {"publicAddress": ["203.0.113.9"]}},
            "203.0.113.9 would be every node's, and there may be 2",
        ),
        ({"redis": {"mode": "external"}}, "without redis.external.existingSecret"),
        ({"redis": {"mode": "external"}}, "redis.gcs.mode is same"),
        ({"redis": {"gcs": {"mode": "external"}}}, "redis.gcs.address is empty"),
        ({"networkPolicy": {"enabled": False}}, "the bundled Redis would be open to every pod"),
        ({"kernelCache": {"kind": "hostPath"}}, "kernelCache.kind is hostPath and kernelCache.path is empty"),
        ({"storage": {"kind": "claim"}}, "storage.kind is claim and storage.claim is empty"),
        ({"storage": {"kind": "s3"}}, "storage.s3.bucket is empty"),
        ({"settings": {"recording": {"keep": "whole"}}}, "recordings would have no place"),
        ({"settings": {"moderation": {"webhook_url": "https://a"}}}, "the service must know who asks"),
        ({"gateway": {"ingress": {"enabled": True}}}, "has no hosts"),
        ({"gateway": {"httpRoute": {"enabled": True}}}, "belongs to no Gateway"),
        ({"extraEnv": [{"name": "LLC_LOG_LEVEL", "value": "INFO"}]}, "LLC_LOG_LEVEL belongs under settings"),
        (_pool(extraEnv=[{"name": "LLC_X", "value": ""}]), "LLC_X belongs under settings"),
    ],
)
def test_contradictions(values: dict[str, Any], sentence: str):
    with pytest.raises(Refused, match="contradict each other") as refused:
        with_values(values)
    assert sentence in str(refused.value)


def test_downloads_need_a_place():
    download = {"repository": "a/b", "revision": "0" * 40, "folder": "c", "files": {"d": "0" * 64}}
    with pytest.raises(Refused, match="no place to go"):
        with_values({"weights": {"downloads": [download]}})


def test_names_that_kuberay_refuses():
    with pytest.raises(Refused, match="longer than the 47 characters"):
        helm("4", "template", "r" * 50, str(CHART))


@pytest.mark.parametrize("major", HELM)
@pytest.mark.parametrize(
    "typo",
    [
        "gatway.replicas=2",
        "redis.modes=bundled",
        "redis.mode=bundle",
        "turn.coturn.prot=3478",
        "settings.limits.max_sesion_s=60",
        "settings.limits.max_session_s=0",
        "settings.recording.keep=all",
        "settings.api_keys=rk",
        "pools[0].gpu=1",
        "pools[0].idleSeconds=-1",
        "pools[0].maxLoad=1",
        "pools[0].name=Upper",
        "weights.volume.kind=nfs",
        "networkPolicy.nodeCidrs[0]=10.0.0.0",
        "media.ports=40000",
        "settings.media.ports=40000-40999",
        "ray.upgradeStrategy=NewCluster",
    ],
)
def test_typos(major: str, typo: str):
    with pytest.raises(Refused) as refused:
        helm(major, "template", "r", str(CHART), "--set", typo)
    assert "schema" in str(refused.value)
