"""What is asked without an account: the model's schema, health, readiness, metrics."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Query
from fastapi.responses import JSONResponse, Response

from cluster.errors import UnknownModel
from gateway.deps import ClusterDep, MetricsDep, SettingsDep
from gateway.metrics import CONTENT_TYPE
from wire.http import model_slug

router = APIRouter(tags=["system"])


@router.get("/schema")
async def get_schema(cluster: ClusterDep, model: Annotated[str | None, Query(max_length=128)] = None) -> dict[str, Any]:
    """The OpenAPI 3.1 document of a model's commands and messages; of the default model if none is named."""
    served = cluster.models()
    if model is None and not served:
        raise UnknownModel("no model is served")
    return cluster.schema(model_slug(model or served[0]))


@router.get("/health")
async def health() -> dict[str, str]:
    """The process is alive."""
    return {"status": "ok"}


@router.get("/ready")
async def ready(cluster: ClusterDep, settings: SettingsDep) -> JSONResponse:
    """Whether sessions can be opened: 200 or 503. Says nothing about free workers, as sessions may wait.

    `recording` says whether clips can be had of them.
    """
    checks = await cluster.ready()
    recording = settings.recording.keep != "off"
    answer = {"ready": all(checks.values()), "checks": checks, "models": cluster.models(), "recording": recording}
    return JSONResponse(answer, status_code=200 if answer["ready"] else 503)


@router.get("/metrics", include_in_schema=False)
async def get_metrics(metrics: MetricsDep) -> Response:
    """Metrics of this process in Prometheus' text format."""
    return Response(metrics.render(), media_type=CONTENT_TYPE)
