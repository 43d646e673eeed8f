"""`values.schema.json`: types from the defaults, descriptions from the comments, `settings` from the settings tree.

What a default cannot tell (enums, patterns, the entries of lists) is in the tables below. Nothing unknown is allowed
anywhere, so a typo in values fails.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from cluster.settings import Settings

TRACES = Path(__file__).parents[1] / "benchmarks" / "traces"
Schema = dict[str, Any]

_TEXTS: Schema = {"type": "object", "additionalProperties": {"type": "string"}}
_QUANTITIES: Schema = {"type": "object", "additionalProperties": {"type": ["string", "number"]}}
_CIDRS: Schema = {"type": "array", "items": {"type": "string", "pattern": r"^[0-9a-fA-F.:]+/\d{1,3}$"}}
_NAME = r"^[a-z0-9]([-a-z0-9]{0,28}[a-z0-9])?$"


def _object(required: tuple[str, ...] = (), /, **properties: Schema) -> Schema:
    entry: Schema = {"type": "object", "additionalProperties": False, "properties": properties}
    return {**entry, "required": list(required)} if required else entry


def _list(item: Schema) -> Schema:
    return {"type": "array", "items": item}


def _integer(least: int, most: int | None = None) -> Schema:
    bounds: Schema = {"type": "integer", "minimum": least}
    return bounds if most is None else {**bounds, "maximum": most}


def _maybe(schema: Schema) -> Schema:
    return {**schema, "type": [schema["type"], "null"]}


_TEXT: Schema = {"type": "string"}
_PORT = _integer(1, 65_535)
_RESOURCES = _object(requests=_QUANTITIES, limits=_QUANTITIES)
_ENV = _list(_object(("name",), name=_TEXT, value=_TEXT, valueFrom={"type": "object"}))
_TOLERATIONS = _list(
    _object(
        key=_TEXT,
        operator={"enum": ["Exists", "Equal"]},
        value=_TEXT,
        effect={"enum": ["NoSchedule", "PreferNoSchedule", "NoExecute"]},
        tolerationSeconds=_integer(0),
    )
)
_PARENTS = _list(
    _object(("name",), name=_TEXT, namespace=_TEXT, sectionName=_TEXT, port=_PORT, group=_TEXT, kind=_TEXT)
)
_SUM = {"type": "string", "pattern": "^[0-9a-f]{64}$"}
_FILES = {
    "type": "object",
    "minProperties": 1,
    "additionalProperties": False,
    "patternProperties": {r"^[A-Za-z0-9._/-]+$": _SUM},
}
_DOWNLOADS = _list(
    _object(
        ("repository", "revision", "folder", "files"),
        repository={"type": "string", "pattern": r"^[\w.-]+/[\w.-]+$"},
        revision={"type": "string", "pattern": "^[0-9a-f]{40}$"},
        folder={"type": "string", "pattern": r"^[\w.-]+$"},
        files=_FILES,
    )
)
_VOLUME = ("emptyDir", "claim", "hostPath")

BY_NAME: Mapping[str, Schema] = {
    "resources": _RESOURCES,
    "nodeSelector": _TEXTS,
    "annotations": _TEXTS,
    "podAnnotations": _TEXTS,
    "labels": _TEXTS,
    "tolerations": _TOLERATIONS,
    "affinity": {"type": "object"},
    "extraEnv": _ENV,
    "port": _PORT,
    "tlsPort": _PORT,
    "minPort": _integer(1024, 65_535),
    "maxPort": _integer(1024, 65_535),
}
"""What is the same wherever a value has this name."""

BY_PATH: Mapping[str, Schema] = {
    "fullnameOverride": {"type": "string", "maxLength": 47, "pattern": "^$|^[a-z]([-a-z0-9]*[a-z0-9])?$"},
    "image.pullPolicy": {"enum": ["Always", "IfNotPresent", "Never"]},
    "poolDefaults.options": {"type": "object", "additionalProperties": {"type": ["string", "boolean", "number"]}},
    "poolDefaults.gpus": _integer(0),
    "poolDefaults.workersPerPod": _integer(1),
    "poolDefaults.minWarm": _integer(0),
    "poolDefaults.idleSeconds": {"type": "number", "minimum": 0},
    "poolDefaults.maxWorkers": _maybe(_integer(1)),
    "poolDefaults.sessionsPerWorker": _integer(1),
    "poolDefaults.maxLoad": {"type": "number", "exclusiveMinimum": 0, "exclusiveMaximum": 1},
    "poolDefaults.maxQueue": _maybe(_integer(0)),
    "poolDefaults.replicas.min": _integer(0),
    "poolDefaults.replicas.max": _integer(0),
    "poolDefaults.onePerNode": {"type": ["boolean", "null"]},
    "ray.autoscaling.idleTimeoutSeconds": _integer(1),
    "gateway.replicas": _integer(1),
    "gateway.service.type": {"enum": ["ClusterIP", "NodePort", "LoadBalancer"]},
    "gateway.httpRoute.parentRefs": _PARENTS,
    "redis.mode": {"enum": ["bundled", "external"]},
    "redis.gcs.mode": {"enum": ["same", "bundled", "external", "none"]},
    "redis.gcs.address": {"type": "string", "pattern": r"^$|^[^/:\s]+:\d+$"},
    "media.ports": {"type": "string", "pattern": "^$|^[0-9]{1,5}-[0-9]{1,5}$"},
    "media.publicAddress": _list({"type": "string", "pattern": "^[0-9a-fA-F.:]+(/[0-9a-fA-F.:]+)?$"}),
    "turn.mode": {"enum": ["none", "coturn", "external"]},
    "turn.uris": _list({"type": "string", "pattern": "^(stuns?|turns?):"}),
    "turn.coturn.allowedPeers": _list({"type": "string", "pattern": "^[0-9a-fA-F.:]+(-[0-9a-fA-F.:]+)?$"}),
    "turn.coturn.userQuota": _integer(1),
    "turn.coturn.totalQuota": _integer(1),
    "weights.mountPath": {"type": "string", "pattern": "^/."},
    "weights.downloads": _DOWNLOADS,
    "weights.volume.kind": {"enum": ["none", *_VOLUME]},
    "kernelCache.kind": {"enum": list(_VOLUME)},
    "storage.kind": {"enum": ["none", "claim", "s3"]},
    "loadTest.sessions": _integer(1),
    "loadTest.viewers": _integer(0),
    "loadTest.seconds": _integer(10),
    "loadTest.trace": {"enum": sorted(path.stem for path in TRACES.glob("*.json"))},
    "usageExport.schedule": {"type": "string", "pattern": r"^\S+( \S+){4}$"},
    "runAsUser": _integer(1),
    "networkPolicy.mediaCidrs": _CIDRS,
    "networkPolicy.nodeCidrs": _CIDRS,
}

OWN_VALUES = {
    "pools": "pools",
    "redis_url": "redis",
    "api_keys": "auth.apiKeys",
    "jwt_secret": "auth.jwtSecret",
    "storage": "storage",
    "media.ports": "media.ports",
    "media.public_address": "media.publicAddress",
    "turn.uris": "turn.uris",
    "turn.secret": "turn.existingSecret",
    "auth.signing_key": "auth.signingKey",
    "auth.retired_secrets": "auth.retiredSecrets",
    "moderation.webhook_secret": "moderation.webhookSecret",
    "moderation.deny_list": "moderation.denyList",
    "metrics_port": "9400, which pods declare",
}
"""Settings that are no part of `settings`, and where they are instead."""

_GROUP_ONLY = (
    *("model", "preset", "options", "gpus", "minWarm", "idleSeconds"),
    *("maxWorkers", "sessionsPerWorker", "maxLoad", "maxQueue"),
)


def schema(defaults: Mapping[str, Any], descriptions: Mapping[tuple[str, ...], str]) -> Schema:
    """The whole schema, draft 7, which Helm 3 and 4 both read."""
    root = _of(defaults, (), descriptions)
    properties = root["properties"]
    pool = properties["poolDefaults"]["properties"]
    name = {"type": "string", "pattern": _NAME, "description": "Name of the group of pods"}
    model = {"type": "string", "minLength": 1, "description": "Model, as the registry knows it"}
    owner = {"type": "string", "description": "Name of the pool"}
    group = {key: each for key, each in pool.items() if key not in _GROUP_ONLY}
    properties["pools"] |= {"minItems": 1, "items": _object(("name", "model"), name=name, model=model, **pool)}
    properties["extraWorkerGroups"]["items"] = _object(("name", "pool"), name=name, pool=owner, **group)
    properties["settings"] |= _settings()
    return {"$schema": "http://json-schema.org/draft-07/schema#", **root}


def _of(value: Any, path: tuple[str, ...], descriptions: Mapping[tuple[str, ...], str]) -> Schema:
    found = BY_PATH.get(".".join(path)) or BY_NAME.get(path[-1] if path else "")
    found = dict(found) if found is not None else _guess(value, path, descriptions)
    return found | ({"description": descriptions[path]} if path in descriptions else {})


def _guess(value: Any, path: tuple[str, ...], descriptions: Mapping[tuple[str, ...], str]) -> Schema:
    if isinstance(value, dict):
        return _object((), **{key: _of(each, (*path, key), descriptions) for key, each in value.items()})
    if isinstance(value, list):
        return _list(_TEXT)
    kinds = {bool: "boolean", int: "integer", str: "string"}
    return {"type": kinds[type(value)]}


def _settings() -> Schema:
    whole = Settings.model_json_schema()
    return _setting(whole, whole["$defs"], ())


def _setting(node: Schema, parts: Mapping[str, Schema], path: tuple[str, ...]) -> Schema:
    """A part of pydantic's schema: references resolved, titles and defaults dropped, secrets left out."""
    if "$ref" in node:
        node = parts[node["$ref"].rpartition("/")[2]]
    dropped = ("title", "default", "description", "format", "$defs")
    kept = {key: each for key, each in node.items() if key not in dropped}
    if "properties" in node:
        own = {name: each for name, each in node["properties"].items() if ".".join((*path, name)) not in OWN_VALUES}
        kept["properties"] = {name: _setting(each, parts, (*path, name)) for name, each in own.items()}
        kept["additionalProperties"] = False
    if "items" in node:
        kept["items"] = _setting(node["items"], parts, (*path, "item"))
    if "anyOf" in node:
        kept["anyOf"] = [_setting(each, parts, (*path, "item")) for each in node["anyOf"]]
    return kept | ({"description": _variable(path)} if path and "item" not in path else {})


def _variable(path: tuple[str, ...]) -> str:
    return f"LLC_{'__'.join(path).upper()}: docs/operate.md"
