"""The sessions of an account: open, look at, restart, close."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Body, Depends

from gateway.auth import OwnSessionDep, PrincipalDep
from gateway.deps import ClusterDep
from gateway.versions import check_versions
from wire.http import CreateSession, DeleteSession, Session

MAX_REASON_CHARS = 64

router = APIRouter(prefix="/sessions", tags=["sessions"], dependencies=[Depends(check_versions)])


@router.post("", status_code=201, response_model_exclude_none=True)
async def create_session(request: CreateSession, principal: PrincipalDep, cluster: ClusterDep) -> Session:
    """Open a session. It waits for a worker in `PENDING`; a full pool is not an error, a full queue is 503."""
    scope = principal.scope
    open_sessions = await cluster.list_sessions(principal.tenant) if scope.counts_sessions else []
    max_duration_s = scope.max_duration_s(request.model.name, open_sessions)
    return await cluster.create_session(principal.tenant, request, max_duration_s=max_duration_s)


@router.get("/{session_id}", response_model_exclude_none=True)
async def get_session(own: OwnSessionDep, cluster: ClusterDep) -> Session:
    """The session now. It can be connected to once `capabilities` and `selected_transport` are there."""
    return await cluster.get_session(own.tenant, own.session_id)


@router.get("/{session_id}/info", response_model_exclude_none=True)
async def get_session_info(own: OwnSessionDep, cluster: ClusterDep) -> Session:
    """The same object as `GET /sessions/{session_id}`."""
    return await cluster.get_session(own.tenant, own.session_id)


@router.put("/{session_id}", response_model_exclude_none=True)
async def restart_session(own: OwnSessionDep, cluster: ClusterDep) -> Session:
    """Wake an `INACTIVE` session; 409 in any other state."""
    return await cluster.restart_session(own.tenant, own.session_id)


@router.delete("/{session_id}", status_code=204)
async def delete_session(
    own: OwnSessionDep, cluster: ClusterDep, request: Annotated[DeleteSession | None, Body()] = None
) -> None:
    """Close the session and its connections. Closing it again is fine."""
    reason = request.reason if request else None
    await cluster.delete_session(own.tenant, own.session_id, reason[:MAX_REASON_CHARS] if reason else None)
