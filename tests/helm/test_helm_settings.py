"""What the chart hands to the programme is what its settings know, and says what the values say."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from pydantic import BaseModel
from pydantic.fields import FieldInfo

from cluster.settings import PoolSettings, Settings
from helm.values_schema import OWN_VALUES
from tests.helm.chart import (
    CHART,
    CI,
    Object,
    containers,
    objects,
    of_kind,
    pods,
    ray_groups,
    ray_service,
    rendered,
    with_values,
)
from tests.helm.environment import SECRETS, environment

pytestmark = pytest.mark.slow

NAMED = {path.name.removesuffix("-values.yaml"): path for path in CI}


def _ray_container(group: Object) -> Object:
    (container,) = group["template"]["spec"]["containers"]
    return dict(container)


def _arguments(found: list[Object]) -> dict[str, Any]:
    (application,) = yaml.safe_load(ray_service(found)["spec"]["serveConfigV2"])["applications"]
    return dict(application["args"])


@pytest.fixture
def bare(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    """The environment without any setting of this machine's own."""
    for name in list(os.environ):
        if name.startswith("LLC_") or name == "REDIS_URL":
            monkeypatch.delenv(name)
    return monkeypatch


def _settings(bare: pytest.MonkeyPatch, values: dict[str, str], arguments: dict[str, Any]) -> Settings:
    for name, value in values.items():
        bare.setenv(name, value)
    return Settings(**arguments)


def test_every_ray_container_starts_with_the_same_settings(manifest: list[Object], bare: pytest.MonkeyPatch):
    arguments = _arguments(manifest)
    for group in ray_groups(manifest).values():
        values = environment(_ray_container(group), manifest)
        assert "LLC_REDIS_URL" in values
        gateway = _settings(bare, values, arguments)
        command_line = _settings(bare, values, {})
        assert gateway == command_line
        assert gateway.redis_url is not None
        assert gateway.redis_url.startswith(("redis://", "rediss://"))
        assert "$(" not in gateway.redis_url


def test_pools_are_the_values_pools(values_file: Path, manifest: list[Object], bare: pytest.MonkeyPatch):
    told = yaml.safe_load(values_file.read_text())["pools"]
    settings = _settings(bare, environment(_ray_container(ray_groups(manifest)["control"]), manifest), {})
    assert [(pool.model, pool.preset) for pool in settings.pools] == [
        (pool["model"], pool.get("preset", "tiny")) for pool in told
    ]
    for pool, entry in zip(settings.pools, told, strict=True):
        assert pool.num_gpus == entry.get("gpus", 1)
        assert pool.options == entry.get("options", {})
        assert (pool.idle_s, pool.max_load) == (entry.get("idleSeconds", 60), entry.get("maxLoad", 0.9))


def test_an_entry_can_say_all_that_the_settings_of_a_pool_know():
    (pool,) = _arguments(objects(rendered(NAMED["gpu-pool"])))["pools"]
    assert pool.keys() == PoolSettings.model_fields.keys()


@pytest.mark.parametrize(
    ("name", "workers"), [("gpu-pool", 8), ("multi-model", 6), ("host-network", 16), ("single-node", 1)]
)
def test_a_pool_has_as_many_workers_as_its_pods_hold(name: str, workers: int, bare: pytest.MonkeyPatch):
    found = objects(rendered(NAMED[name]))
    settings = _settings(bare, environment(_ray_container(ray_groups(found)["head"]), found), {})
    assert settings.pools[0].max_workers == workers


def test_values_that_have_a_name_of_their_own_arrive(bare: pytest.MonkeyPatch):
    found = objects(rendered(NAMED["gpu-pool"]))
    settings = _settings(bare, environment(_ray_container(ray_groups(found)["longlive"]), found), _arguments(found))
    secret = settings.turn.secret
    assert [key.get_secret_value() for key in settings.api_keys] == ["rk_first", "rk_second"]
    assert settings.auth.signing_key is not None
    assert len(settings.auth.retired_secrets) == 1
    assert secret is not None
    assert secret.get_secret_value() == SECRETS["turn-secret"]
    assert settings.turn.uris[0] == "turn:turn.example.org:3478?transport=udp"
    assert settings.storage.s3_bucket == "longlive-files"
    assert settings.recording.max_bytes == 8 * 2**30
    assert settings.limits.max_session_s == 3600


def test_coturns_name_becomes_uris(bare: pytest.MonkeyPatch):
    found = objects(rendered(NAMED["host-network"]))
    settings = _settings(bare, environment(_ray_container(ray_groups(found)["longlive"]), found), {})
    assert settings.turn.uris == (
        "turn:turn.example.org:3478?transport=udp",
        "turn:turn.example.org:3478?transport=tcp",
        "turns:turn.example.org:5349?transport=tcp",
    )


def test_media_has_the_ports_and_addresses_of_the_values(bare: pytest.MonkeyPatch):
    nodes = ["203.0.113.9/192.0.2.5", "203.0.113.10/192.0.2.6"]
    values = {"media": {"ports": "40000-40999", "publicAddress": nodes}, "settings": {"media": {"bitrate": 3_000_000}}}
    found = objects(with_values(values, NAMED["host-network"]))
    settings = _settings(bare, environment(_ray_container(ray_groups(found)["longlive"]), found), _arguments(found))
    assert settings.media.port_range == range(40_000, 41_000)
    assert [f"{each.public}/{each.local}" for each in settings.media.public_addresses] == nodes
    assert settings.media.bitrate == 3_000_000


@pytest.mark.parametrize(("ports", "opened"), [("", (1024, 65_535)), ("40000-40063", (40_000, 40_063))])
def test_no_more_ports_are_open_than_media_has(ports: str, opened: tuple[int, int], bare: pytest.MonkeyPatch):
    found = objects(with_values({"media": {"ports": ports}}))
    (policy,) = [each for each in of_kind(found, "NetworkPolicy") if each["metadata"]["name"].endswith("-media")]
    ((rule,),) = [ingress["ports"] for ingress in policy["spec"]["ingress"]]
    assert rule == {"protocol": "UDP", "port": opened[0], "endPort": opened[1]}
    assert Settings(**_arguments(found)).media.ports == (ports or None)  # 64 are enough for the programme, too


def test_the_default_session_is_the_programmes():
    values = yaml.safe_load((CI[0].parents[1] / "values.yaml").read_text())
    assert values["settings"]["limits"]["max_session_s"] == Settings().limits.max_session_s


def _settings_by_path(model: type[BaseModel], prefix: str = "") -> Iterator[tuple[str, FieldInfo]]:
    for name, field in model.model_fields.items():
        yield prefix + name, field
        if isinstance(field.annotation, type) and issubclass(field.annotation, BaseModel):
            yield from _settings_by_path(field.annotation, f"{prefix}{name}.")


def test_every_secret_among_the_settings_has_a_value_of_its_own():
    """`settings` ends up in a ConfigMap, so what is secret must not be taken there."""
    known = dict(_settings_by_path(Settings))
    secrets = {path for path, field in known.items() if "SecretStr" in str(field.annotation)}
    assert secrets <= set(OWN_VALUES) <= set(known)
    schema = json.loads((CHART / "values.schema.json").read_text())["properties"]["settings"]
    assert "writeOnly" not in json.dumps(schema)


def test_the_deny_list_is_where_the_settings_say(bare: pytest.MonkeyPatch):
    found = objects(with_values({"moderation": {"denyList": {"configMap": "words"}}}))
    for group in ray_groups(found).values():
        container = _ray_container(group)
        path = Path(environment(container, found)["LLC_MODERATION__DENY_LIST"])
        (mount,) = [each for each in container["volumeMounts"] if each["mountPath"] == str(path.parent)]
        volumes = {each["name"]: each for each in group["template"]["spec"]["volumes"]}
        assert volumes[mount["name"]]["configMap"] == {"name": "words"}


def test_secrets_are_only_referred_to(manifest: list[Object]):
    """No manifest has a Secret, a ConfigMap or arguments with what belongs into one."""
    assert not of_kind(manifest, "Secret")
    secrets = {
        "API_KEYS",
        "JWT_SECRET",
        "SIGNING_KEY",
        "RETIRED_SECRETS",
        "TURN__SECRET",
        "WEBHOOK_SECRET",
        "REDIS_URL",
    }
    for each in of_kind(manifest, "ConfigMap"):
        assert not [name for name in each["data"] if any(name.endswith(end) for end in secrets)]
        assert "static-auth-secret" not in json.dumps(each["data"])
    arguments = _arguments(manifest)
    assert not {"api_keys", "jwt_secret", "redis_url"} & set(arguments)
    assert not {"signing_key", "retired_secrets"} & set(arguments.get("auth", {}))
    assert "secret" not in arguments.get("turn", {})


def test_services_put_nothing_into_the_environment(manifest: list[Object]):
    for name, pod in pods(manifest):
        assert pod["spec"]["enableServiceLinks"] is False, name


def test_real_time_needs_niceness_0(manifest: list[Object]):
    for group in ray_groups(manifest).values():
        assert environment(_ray_container(group), manifest)["RAY_worker_niceness"] == "0"


def test_every_variable_that_refers_to_another_comes_after_it(manifest: list[Object]):
    for name, pod in pods(manifest):
        for container in containers(pod):
            left = [value for value in environment(container, manifest).values() if "$(" in value]
            assert not left, name
