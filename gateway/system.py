"""What is asked without an account: the model's schema, health, readiness."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Query
from fastapi.responses import Response

from cluster.errors import UnknownModel
from gateway.deps import ClusterDep, SettingsDep
from gateway.openapi import refusals
from wire.http import Readiness, model_slug

router = APIRouter(tags=["system"])


@router.get("/schema", responses=refusals(400, 404))
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


@router.get("/ready", responses={503: {"model": Readiness}})
async def ready(cluster: ClusterDep, settings: SettingsDep, response: Response) -> Readiness:
    """Whether sessions can be opened: 200 or 503. Says nothing about free workers, as sessions may wait.

    What another gateway or a restart would not mend is 200 and among the `troubles`.
    """
    checks, troubles = await cluster.ready()
    all_there = all(checks.values())
    response.status_code = 200 if all_there else 503
    recording = settings.recording.keep != "off"
    served = cluster.models()
    return Readiness(ready=all_there, checks=checks, troubles=troubles, models=served, recording=recording)
