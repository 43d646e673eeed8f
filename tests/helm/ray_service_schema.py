"""What a RayService (ray.io/v1) may say, as KubeRay's API types of 1.5 to 1.7 have it; pod templates are checked apart.

The field names and types are KubeRay's (Apache-2.0), written down here because no package carries its CRD. Anything
else is refused, as a strict API server would.
"""

from __future__ import annotations

from typing import Any

Schema = dict[str, Any]


def _object(required: tuple[str, ...] = (), **properties: Schema) -> Schema:
    return {"type": "object", "additionalProperties": False, "properties": properties, "required": list(required)}


def _enum(*values: str) -> Schema:
    return {"enum": list(values)}


_TEXT: Schema = {"type": "string"}
_FLAG: Schema = {"type": "boolean"}
_COUNT: Schema = {"type": "integer", "minimum": 0}
_TEXTS: Schema = {"type": "object", "additionalProperties": _TEXT}
_ANY: Schema = {"type": "object"}
_KEY = _object(("key",), name=_TEXT, key=_TEXT, optional=_FLAG)
_CREDENTIAL = _object(value=_TEXT, valueFrom=_object(secretKeyRef=_KEY, configMapKeyRef=_KEY))
_TEMPLATE = _object(("metadata", "spec"), metadata=_object(labels=_TEXTS, annotations=_TEXTS), spec=_ANY)
_HEAD = _object(
    ("rayStartParams", "template"),
    template=_TEMPLATE,
    headService=_ANY,
    enableIngress=_FLAG,
    ingressOptions=_ANY,
    resources=_TEXTS,
    labels=_TEXTS,
    rayStartParams=_TEXTS,
    serviceType=_TEXT,
)
_GROUP = _object(
    ("groupName", "minReplicas", "maxReplicas", "rayStartParams", "template"),
    suspend=_FLAG,
    groupName=_TEXT,
    replicas=_COUNT,
    minReplicas=_COUNT,
    maxReplicas=_COUNT,
    idleTimeoutSeconds=_COUNT,
    priority=_COUNT,
    resources=_TEXTS,
    labels=_TEXTS,
    rayStartParams=_TEXTS,
    template=_TEMPLATE,
    scaleStrategy=_object(workersToDelete={"type": "array", "items": _TEXT}),
    numOfHosts=_COUNT,
)
_AUTOSCALER = _object(
    resources=_ANY,
    image=_TEXT,
    imagePullPolicy=_TEXT,
    securityContext=_ANY,
    idleTimeoutSeconds=_COUNT,
    upscalingMode=_enum("Default", "Aggressive", "Conservative"),
    version=_enum("v1", "v2"),
    env={"type": "array"},
    envFrom={"type": "array"},
    volumeMounts={"type": "array"},
    command={"type": "array", "items": _TEXT},
    args={"type": "array", "items": _TEXT},
)
_GCS = _object(
    backend=_enum("redis", "rocksdb"),
    redisUsername=_CREDENTIAL,
    redisPassword=_CREDENTIAL,
    externalStorageNamespace=_TEXT,
    redisAddress=_TEXT,
    storage=_ANY,
)
_CLUSTER = _object(
    ("headGroupSpec",),
    upgradeStrategy=_object(type=_enum("Recreate", "None")),
    authOptions=_object(enableK8sTokenAuth=_FLAG, secretName=_TEXT, mode=_enum("disabled", "token")),
    suspend=_FLAG,
    managedBy=_TEXT,
    autoscalerOptions=_AUTOSCALER,
    headServiceAnnotations=_TEXTS,
    enableInTreeAutoscaling=_FLAG,
    gcsFaultToleranceOptions=_GCS,
    historyServerOptions=_ANY,
    networkPolicy=_ANY,
    tlsOptions=_object(enabled=_FLAG),
    headGroupSpec=_HEAD,
    rayVersion=_TEXT,
    workerGroupSpecs={"type": "array", "items": _GROUP},
)
_SPEC = _object(
    ("rayClusterConfig",),
    rayClusterDeletionDelaySeconds=_COUNT,
    serveService=_ANY,
    upgradeStrategy=_object(
        type=_enum("None", "NewCluster", "NewClusterWithIncrementalUpgrade"), clusterUpgradeOptions=_ANY
    ),
    serveConfigV2=_TEXT,
    rayClusterConfig=_CLUSTER,
    excludeHeadPodFromServeSvc=_FLAG,
    suspend=_FLAG,
    managedBy=_TEXT,
)
RAY_SERVICE = _object(
    ("apiVersion", "kind", "metadata", "spec"),
    apiVersion=_enum("ray.io/v1"),
    kind=_enum("RayService"),
    metadata=_object(("name",), name={"type": "string", "maxLength": 47}, namespace=_TEXT, labels=_TEXTS),
    spec=_SPEC,
)
