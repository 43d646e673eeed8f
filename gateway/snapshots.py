"""Moments of sessions, saved to start other sessions from."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Body, Depends

from gateway.auth import OwnSessionDep, Principal, PrincipalDep
from gateway.deps import ClusterDep
from gateway.errors import Forbidden
from gateway.versions import check_versions
from wire.http import SavedSnapshot, SaveSnapshot

router = APIRouter(tags=["snapshots"], dependencies=[Depends(check_versions)])


@router.post("/sessions/{session_id}/snapshots", status_code=201)
async def save_snapshot(
    own: OwnSessionDep, cluster: ClusterDep, request: Annotated[SaveSnapshot | None, Body()] = None
) -> SavedSnapshot:
    """Save the session as it stood at its newest boundary or command; the session goes on."""
    return await cluster.save_snapshot(own.tenant, own.session_id, request or SaveSnapshot())


@router.get("/snapshots")
async def list_snapshots(principal: PrincipalDep, cluster: ClusterDep) -> list[SavedSnapshot]:
    """The account's saved snapshots, oldest first."""
    _check_account(principal)
    return await cluster.saved_snapshots(principal.tenant)


@router.delete("/snapshots/{snapshot_id}", status_code=204)
async def delete_snapshot(snapshot_id: str, principal: PrincipalDep, cluster: ClusterDep) -> None:
    """Forget a saved snapshot. Sessions that were started from it go on."""
    _check_account(principal)
    await cluster.delete_snapshot(principal.tenant, snapshot_id)


def _check_account(principal: Principal) -> None:
    if not principal.scope.covers_account:
        raise Forbidden("the token does not cover the account's snapshots")
