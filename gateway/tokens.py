"""`POST /tokens`: an API key buys a token of at most six hours."""

from __future__ import annotations

import time
from typing import Annotated

from fastapi import APIRouter, Body

from gateway.auth import KeyHolderDep
from gateway.claims import Claims, sign
from gateway.deps import ClusterDep, SettingsDep
from gateway.errors import Forbidden, InvalidRequest
from wire.http import TOKEN_LIFETIME_MAX_S, AuthorizationDetail, Token, TokenRequest

MAX_TOKEN_BYTES = 8192
"""Servers and proxies stop reading a header somewhere above this."""

router = APIRouter(tags=["tokens"])


@router.post("/tokens")
async def create_token(
    tenant: KeyHolderDep,
    cluster: ClusterDep,
    settings: SettingsDep,
    request: Annotated[TokenRequest | None, Body()] = None,
) -> Token:
    """Mint a token of the key's account. The body may be absent or `null`; a longer lifetime is cut to the maximum."""
    request = request or TokenRequest()
    details = None if request.authorization_details is None else tuple(request.authorization_details)
    if details is not None:
        _check_details(details)
        await _check_bound_sessions(cluster, tenant, details)
    now = int(time.time())
    expires_at = now + min(request.expires_after or TOKEN_LIFETIME_MAX_S, TOKEN_LIFETIME_MAX_S)
    token = sign(Claims(tenant, now, expires_at, details), settings.cluster, await cluster.jwt_secret())
    if len(token) > MAX_TOKEN_BYTES:
        raise InvalidRequest("authorization_details do not fit into a token")
    return Token(jwt=token, expires_at=expires_at)


def _check_details(details: tuple[AuthorizationDetail, ...]) -> None:
    if not details:
        raise InvalidRequest("authorization_details is empty: leave it out for a token of the whole account")
    for detail in details:
        models = detail.resources.models
        if bool(models.match) == bool(models.all):
            raise InvalidRequest("models needs either a non-empty match or all")


async def _check_bound_sessions(cluster: ClusterDep, tenant: str, details: tuple[AuthorizationDetail, ...]) -> None:
    bound = {
        session_id for detail in details if detail.resources.sessions for session_id in detail.resources.sessions.bind
    }
    if bound and bound - {session.session_id for session in await cluster.list_sessions(tenant)}:
        raise Forbidden("sessions.bind names a session that is not open in this account")
