"""The sessions of an account: open, look at, restart, close."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Annotated

from fastapi import APIRouter, Body, Depends
from fastapi.sse import EventSourceResponse, ServerSentEvent

from cluster.client import View
from gateway.auth import OwnSessionDep, PrincipalDep, WatchedSessionDep
from gateway.deps import ClusterDep
from gateway.openapi import BY_SESSION, refusals
from gateway.versions import check_versions
from wire.http import CreateSession, DeleteSession, Session

MAX_REASON_CHARS = 64

router = APIRouter(
    prefix="/sessions",
    tags=["sessions"],
    dependencies=[Depends(check_versions)],
    responses=refusals(*BY_SESSION),
)


@router.post("", status_code=201, response_model_exclude_none=True, responses=refusals(409, 429))
async def create_session(request: CreateSession, principal: PrincipalDep, cluster: ClusterDep) -> Session:
    """Open a session. It waits for a worker in `PENDING`; a full pool is not an error, a full queue is 503."""
    allowances = principal.scope.allowances(request.model.name)
    return await cluster.create_session(principal.tenant, request, allowances=allowances, priority=principal.priority)


@router.get("/{session_id}", response_model_exclude_none=True)
async def get_session(own: WatchedSessionDep, cluster: ClusterDep) -> Session:
    """The session now. It can be connected to once `capabilities` and `selected_transport` are there."""
    return await cluster.get_session(own.tenant, own.session_id)


@router.get("/{session_id}/info", response_model_exclude_none=True)
async def get_session_info(own: WatchedSessionDep, cluster: ClusterDep) -> Session:
    """The same object as `GET /sessions/{session_id}`."""
    return await cluster.get_session(own.tenant, own.session_id)


async def _views(own: WatchedSessionDep, cluster: ClusterDep) -> AsyncIterator[View]:
    """Asked for before the answer begins, so that an unknown session is still a 404."""
    return await cluster.follow_session(own.tenant, own.session_id)


@router.get("/{session_id}/events", response_class=EventSourceResponse)
async def follow_session(views: Annotated[AsyncIterator[View], Depends(_views)]) -> AsyncIterator[ServerSentEvent]:
    """The session as server-sent events: as it is, and at every change until it is over.

    An event's data is the session object, its name what has changed: `state`, `worker` (one was lost, another takes
    over), `queue` (position or ETA). The first is `state`.
    """
    before = None
    async for view in views:
        yield ServerSentEvent(event=_change(before, view), raw_data=view.session.model_dump_json(exclude_none=True))
        before = view


def _change(before: View | None, now: View) -> str:
    if before is not None and now.moves != before.moves:
        return "worker"
    if before is not None and now.session.state == before.session.state:
        return "queue"
    return "state"


@router.put("/{session_id}", response_model_exclude_none=True, responses=refusals(409, 429))
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
