"""`POST /tokens`: an API key buys a token of at most six hours. And the public keys that verify such tokens."""

from __future__ import annotations

import time
from typing import Annotated, Any

from fastapi import APIRouter, Body, Response

from gateway.auth import KeyHolderDep
from gateway.claims import MAX_TOKEN_BYTES, Claims
from gateway.deps import AuthorityDep, ClusterDep
from gateway.errors import Forbidden, InvalidRequest
from gateway.openapi import refusals
from wire.http import TOKEN_LIFETIME_MAX_S, AuthorizationDetail, Token, TokenRequest

JWKS_MAX_AGE_S = 300
"""How long others may keep the public keys: a new one is announced for longer than this before it signs."""

router = APIRouter(tags=["tokens"], strict_content_type=False)  # a body without a type is JSON: no cookie is at stake


@router.post("/tokens", responses=refusals(400, 401, 403, 429))
async def create_token(
    tenant: KeyHolderDep,
    cluster: ClusterDep,
    authority: AuthorityDep,
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
    token = await authority.sign(Claims(tenant, now, expires_at, details))
    if len(token) > MAX_TOKEN_BYTES:
        raise InvalidRequest("authorization_details do not fit into a token")
    return Token(jwt=token, expires_at=expires_at)


@router.get("/.well-known/jwks.json")
async def get_jwks(authority: AuthorityDep, response: Response) -> dict[str, Any]:
    """The public keys of this cluster's tokens (RFC 7517), with which others can verify them; none under HS256."""
    response.headers["Cache-Control"] = f"public, max-age={JWKS_MAX_AGE_S}"
    return authority.jwks()


def _check_details(details: tuple[AuthorizationDetail, ...]) -> None:
    if not details:
        raise InvalidRequest("authorization_details is empty: leave it out for a token of the whole account")
    for detail in details:
        models = detail.resources.models
        if bool(models.match) == bool(models.all):
            raise InvalidRequest("models needs either a non-empty match or all")
        if detail.resources.sessions is not None and not detail.resources.sessions.bind:
            raise InvalidRequest("sessions.bind is empty: such a token could do nothing")


async def _check_bound_sessions(cluster: ClusterDep, tenant: str, details: tuple[AuthorizationDetail, ...]) -> None:
    bound = {
        session_id for detail in details if detail.resources.sessions for session_id in detail.resources.sessions.bind
    }
    if bound and bound - {session.session_id for session in await cluster.list_sessions(tenant)}:
        raise Forbidden("sessions.bind names a session that is not open in this account")
