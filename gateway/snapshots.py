"""Moments of sessions, saved to start other sessions from."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Body, Depends, Response

from gateway.auth import OwnSessionDep, PrincipalDep, check_account
from gateway.deps import ClusterDep
from gateway.openapi import BY_TOKEN, refusals
from gateway.versions import check_versions
from wire.http import SavedSnapshot, SaveSnapshot
from wire.playlist import EVENTS_TYPE

router = APIRouter(tags=["snapshots"], dependencies=[Depends(check_versions)], responses=refusals(*BY_TOKEN))


@router.post("/sessions/{session_id}/snapshots", status_code=201, responses=refusals(404, 409, 429))
async def save_snapshot(
    own: OwnSessionDep, cluster: ClusterDep, request: Annotated[SaveSnapshot | None, Body()] = None
) -> SavedSnapshot:
    """Save the session as it stood at its newest boundary or command; the session goes on."""
    return await cluster.save_snapshot(own.tenant, own.session_id, request or SaveSnapshot())


@router.get("/snapshots")
async def list_snapshots(principal: PrincipalDep, cluster: ClusterDep) -> list[SavedSnapshot]:
    """The account's saved snapshots, oldest first."""
    check_account(principal, "snapshots")
    return await cluster.saved_snapshots(principal.tenant)


@router.get(
    "/snapshots/{snapshot_id}/events",
    response_class=Response,
    responses={200: {"content": {EVENTS_TYPE: {"schema": {"type": "string"}}}}, **refusals(404)},
)
async def snapshot_events(snapshot_id: str, principal: PrincipalDep, cluster: ClusterDep) -> Response:
    """The log of the session that led to a saved snapshot, one JSON object a line; 404 where none is kept."""
    check_account(principal, "snapshots")
    data = await cluster.snapshot_events(principal.tenant, snapshot_id)
    return Response(data, media_type=EVENTS_TYPE, headers={"Cache-Control": "no-store"})


@router.delete("/snapshots/{snapshot_id}", status_code=204, responses=refusals(404))
async def delete_snapshot(snapshot_id: str, principal: PrincipalDep, cluster: ClusterDep) -> None:
    """Forget a saved snapshot. Sessions that were started from it go on."""
    check_account(principal, "snapshots")
    await cluster.delete_snapshot(principal.tenant, snapshot_id)
