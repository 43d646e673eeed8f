"""WebRTC signalling of a session. The gateway relays; the worker that holds the session answers.

Clients compare the status codes literally: 201 for a connection, 202 for an accepted offer, 202/200 for the poll.
"""

from __future__ import annotations

import time
from typing import Annotated

from fastapi import APIRouter, Depends, Path, Response

from gateway.auth import WatchedSessionDep
from gateway.deps import ClusterDep, SettingsDep
from gateway.errors import TRANSPORT_PATH
from gateway.ice import ice_servers
from gateway.openapi import refusals
from gateway.versions import check_versions
from wire.http import FLAT_CONNECTION_ID, ConnectionRef, IceCandidates, IceServers, SdpAnswer, SdpOffer

router = APIRouter(
    prefix="/sessions/{session_id}" + TRANSPORT_PATH,
    tags=["signalling"],
    dependencies=[Depends(check_versions)],
    responses=refusals(401, 403, 404, 409, 422, 426),
)
ConnectionId = Annotated[int, Path(description="1002 to 9999, from `POST …/connections`.")]
_PENDING: dict[int | str, dict[str, object]] = {
    202: {"model": ConnectionRef, "description": "The answer is not there yet; ask again."}
}


@router.get("/ice_servers", response_model_exclude_none=True)
async def get_ice_servers(own: WatchedSessionDep, cluster: ClusterDep, settings: SettingsDep) -> IceServers:
    """Answered by the gateway itself, as clients ask before a worker holds the session."""
    await cluster.get_session(own.tenant, own.session_id)
    return IceServers(ice_servers=ice_servers(settings.turn, own.tenant, int(time.time())))


@router.post("/connections", status_code=201)
async def create_connection(own: WatchedSessionDep, cluster: ClusterDep) -> ConnectionRef:
    """Reserve a connection id. A body is neither needed nor read."""
    return ConnectionRef(connection_id=await cluster.create_connection(own.tenant, own.session_id, own.role))


@router.post("/connections/{connection_id}/sdp_params", status_code=202)
@router.put("/connections/{connection_id}/sdp_params", status_code=202)
async def offer(
    own: WatchedSessionDep, cluster: ClusterDep, connection_id: ConnectionId, body: SdpOffer
) -> ConnectionRef:
    """Give the connection an offer; a peer that it already has is replaced.

    The connection's role is from now on that of the token; 409 for a viewer's on the connection of a director.
    """
    await cluster.offer(own.tenant, own.session_id, connection_id, body, own.role)
    return ConnectionRef(connection_id=connection_id)


@router.get("/connections/{connection_id}/sdp_params", response_model=SdpAnswer, responses=_PENDING)
async def answer(
    own: WatchedSessionDep, cluster: ClusterDep, settings: SettingsDep, connection_id: ConnectionId
) -> SdpAnswer | Response:
    """The answer to the newest offer. The poll is held while there is none: clients ask ever less often."""
    wait_s = settings.limits.sdp_answer_wait_s
    sdp = await cluster.answer(own.tenant, own.session_id, connection_id, wait_s, own.role)
    if sdp is None:
        pending = ConnectionRef(connection_id=connection_id).model_dump_json()
        return Response(pending, status_code=202, media_type="application/json")
    return SdpAnswer(sdp_answer=sdp, connection_id=connection_id)


@router.post("/connections/{connection_id}/ice_candidates", status_code=202)
async def add_candidates(
    own: WatchedSessionDep, cluster: ClusterDep, connection_id: ConnectionId, batch: IceCandidates
) -> ConnectionRef:
    """Trickled candidates; they may come before their offer."""
    await cluster.add_candidates(own.tenant, own.session_id, connection_id, batch, own.role)
    return ConnectionRef(connection_id=connection_id)


@router.post("/sdp_params", status_code=202)
@router.put("/sdp_params", status_code=202)
async def flat_offer(own: WatchedSessionDep, cluster: ClusterDep, body: SdpOffer) -> ConnectionRef:
    """The path of clients that know one connection only."""
    return await offer(own, cluster, FLAT_CONNECTION_ID, body)


@router.get("/sdp_params", response_model=SdpAnswer, responses=_PENDING)
async def flat_answer(own: WatchedSessionDep, cluster: ClusterDep, settings: SettingsDep) -> SdpAnswer | Response:
    """The poll of clients that know one connection only."""
    return await answer(own, cluster, settings, FLAT_CONNECTION_ID)
