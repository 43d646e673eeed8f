"""Who is asking: an API key on `/tokens`, a bearer token everywhere else, and whether the session is theirs."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

from fastapi import Depends, Request, Security
from fastapi.security import APIKeyHeader, HTTPAuthorizationCredentials, HTTPBearer

from cluster.records import PriorityClass
from gateway.deps import ClusterDep, authority_of, cluster_of
from gateway.errors import Forbidden, ForbiddenRole, InvalidApiKey, InvalidToken, TooManyAttempts, Unauthorized
from gateway.scope import Scope
from wire.http import Role

_api_key = APIKeyHeader(name="Reactor-API-Key", auto_error=False, description="An API key (`rk_…`).")
_bearer = HTTPBearer(auto_error=False, bearerFormat="JWT", description="A token from `POST /tokens`.")


@dataclass(frozen=True, slots=True)
class Principal:
    """An account and what its token may do."""

    tenant: str
    scope: Scope
    priority: PriorityClass
    """The account's, if its API key has none of its own."""


@dataclass(frozen=True, slots=True)
class OwnSession:
    """A session id that the asker may operate, or with the viewer's role watch."""

    tenant: str
    session_id: str
    role: Role


async def _key_holder(
    request: Request, cluster: ClusterDep, raw_key: Annotated[str | None, Security(_api_key)] = None
) -> str:
    if not raw_key:
        raise InvalidApiKey("an API key is needed")
    address = request.client.host if request.client else ""
    if wait_s := await cluster.key_retry_after_s(address, raw_key):
        raise TooManyAttempts(wait_s)
    key = await cluster.resolve_key(raw_key)
    if key is None:
        await cluster.key_failed(address, raw_key)
        raise InvalidApiKey("the API key is not known")
    request.state.tenant = key.key_id
    return key.key_id


async def _principal(
    request: Request, credentials: Annotated[HTTPAuthorizationCredentials | None, Security(_bearer)] = None
) -> Principal:
    if credentials is None:
        raise Unauthorized("a bearer token is needed")
    claims = await authority_of(request).verify(credentials.credentials)
    if claims.by_key and not await cluster_of(request).key_is_live(claims.tenant):
        raise InvalidToken("the token's API key was revoked")
    request.state.tenant = claims.tenant
    return Principal(claims.tenant, Scope(claims.details), claims.priority)


KeyHolderDep = Annotated[str, Depends(_key_holder)]
PrincipalDep = Annotated[Principal, Depends(_principal)]


async def _watched_session(request: Request, session_id: str, principal: PrincipalDep) -> OwnSession:
    """A foreign session is the cluster's 404; one outside the token's scope a 403."""
    role = principal.scope.account_role
    if role is None:
        session = await cluster_of(request).get_session(principal.tenant, session_id)
        role = principal.scope.role_in(session)
    return OwnSession(principal.tenant, session_id, role)


WatchedSessionDep = Annotated[OwnSession, Depends(_watched_session)]
"""For what every role may do."""


async def _own_session(watched: WatchedSessionDep) -> OwnSession:
    if watched.role is not Role.DIRECTOR:
        raise ForbiddenRole("a viewer's token only watches")
    return watched


OwnSessionDep = Annotated[OwnSession, Depends(_own_session)]
"""For what only directors may do."""


def check_account(principal: Principal, what: str) -> None:
    """For what is the account's and no session's. Raises `Forbidden` unless the token is a director's everywhere."""
    role = principal.scope.account_role
    if role is Role.VIEWER:
        raise ForbiddenRole("a viewer's token only watches")
    if role is None:
        raise Forbidden(f"the token does not cover the account's {what}")
