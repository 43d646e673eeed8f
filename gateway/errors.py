"""Every refusal of the gateway, and the one place where a failure becomes a status and an `ErrorBody`.

GatewayError
├── InvalidRequest   400 invalid_request
├── Unauthorized     401 unauthorized: no credentials
│   ├── InvalidApiKey    401 invalid_api_key
│   ├── InvalidToken     401 invalid_token: not ours, forged, or its key was revoked
│   └── TokenExpired     401 token_expired
├── TooManyAttempts  429 too_many_attempts: wrong API keys from this address
├── Forbidden        403 insufficient_scope: the token does not cover the call
│   └── ForbiddenRole    403 forbidden_role: a viewer's does not
│   (and 403 invalid_capability, of `gateway.capability`)
├── ClientTooOld     426 client_version_too_old
└── ServerTooOld     501 server_version_too_old

A published client takes a 400 on the signalling endpoints for a lost session and silently opens a second one, so
there every malformed request is a 422.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from starlette.exceptions import HTTPException

from cluster.errors import (
    ClipGone,
    ClusterError,
    CommandRefused,
    Conflict,
    CreationsExceeded,
    InvalidOffer,
    Later,
    NotFound,
    NotReady,
    OutsideRecording,
    QuotaExceeded,
    ScopeExhausted,
    Unavailable,
    UnsupportedMedia,
    UploadRefused,
    UploadTooLarge,
)
from wire.http import FORBIDDEN_ROLE, ErrorBody

TRANSPORT_PATH = "/transport/webrtc"
"""Mark of the signalling endpoints in a path."""

RETRY_QUOTA_S = 10
RETRY_UNAVAILABLE_S = 1

_CLUSTER_STATUS: dict[type[ClusterError], int] = {
    NotFound: 404,
    InvalidOffer: 422,
    NotReady: 409,
    Conflict: 409,
    CommandRefused: 409,
    UploadRefused: 400,
    UploadTooLarge: 413,
    UnsupportedMedia: 415,
    OutsideRecording: 400,
    ClipGone: 410,
    QuotaExceeded: 429,
    CreationsExceeded: 429,
    ScopeExhausted: 403,
    Later: 503,
    Unavailable: 503,
}
_HTTP_CODES = {400: "invalid_request", 404: "not_found", 405: "method_not_allowed", 413: "body_too_large"}
_REPORTED_ERRORS = 5


class GatewayError(Exception):
    """Base of the tree. `str(error)` is fit for the client."""

    status = 500
    code = "internal_error"
    headers: Mapping[str, str] = {}


class InvalidRequest(GatewayError):
    """The request is well formed, but means nothing here."""

    status = 400
    code = "invalid_request"


class Unauthorized(GatewayError):
    """No credentials came with the request."""

    status = 401
    code = "unauthorized"
    headers: Mapping[str, str] = {"WWW-Authenticate": "Bearer"}


class InvalidApiKey(Unauthorized):
    """The API key is missing, unknown or revoked."""

    code = "invalid_api_key"
    headers: Mapping[str, str] = {"WWW-Authenticate": "Reactor-API-Key"}


class InvalidToken(Unauthorized):
    """The token was not made here, was changed, or belongs to a revoked key."""

    code = "invalid_token"
    headers: Mapping[str, str] = {"WWW-Authenticate": 'Bearer error="invalid_token"'}


class TokenExpired(InvalidToken):
    """The token was good once."""

    code = "token_expired"


class TooManyAttempts(GatewayError):
    """The address has sent too many wrong API keys; the one it sends now was not looked at."""

    status = 429
    code = "too_many_attempts"

    def __init__(self, retry_after_s: int) -> None:
        super().__init__("too many wrong API keys")
        self.headers = {"Retry-After": str(retry_after_s)}


class Forbidden(GatewayError):
    """The token is good, but its scope does not cover the call."""

    status = 403
    code = "insufficient_scope"


class ForbiddenRole(Forbidden):
    """The token covers the session, but its holder only watches."""

    code = FORBIDDEN_ROLE


class ClientTooOld(GatewayError):
    """The client speaks a version that is no longer served."""

    status = 426
    code = "client_version_too_old"


class ServerTooOld(GatewayError):
    """The client accepts only versions newer than what is served."""

    status = 501
    code = "server_version_too_old"


def error_response(status: int, code: str, detail: str, headers: Mapping[str, str] | None = None) -> JSONResponse:
    """An `ErrorBody` under `status`."""
    return JSONResponse(ErrorBody(detail=detail, code=code).model_dump(), status_code=status, headers=headers)


def install_error_handlers(app: FastAPI) -> None:
    """Make every failure that has a meaning answer as documented. The rest is `gateway.observe`'s 500."""
    app.add_exception_handler(GatewayError, _gateway_error)
    app.add_exception_handler(ClusterError, _cluster_error)
    app.add_exception_handler(RequestValidationError, _validation_error)
    app.add_exception_handler(HTTPException, _http_error)


async def _gateway_error(request: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, GatewayError)
    return error_response(_status_at(request, error.status), error.code, str(error), error.headers)


async def _cluster_error(request: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, ClusterError)
    status = next((_CLUSTER_STATUS[kind] for kind in type(error).__mro__ if kind in _CLUSTER_STATUS), None)
    if status is None:
        raise error  # a branch of the tree that this table does not know is a fault of ours
    return error_response(status, error.code, str(error), _retry_after(error))


async def _validation_error(request: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, RequestValidationError)
    problems: Sequence[Any] = error.errors()
    if all(problem["loc"][0] == "path" for problem in problems):
        return error_response(404, "not_found", "no such resource")
    return error_response(_status_at(request, 400), "invalid_request", _describe(problems))


async def _http_error(request: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, HTTPException)
    code = _HTTP_CODES.get(error.status_code, "http_error")
    return error_response(_status_at(request, error.status_code), code, error.detail, error.headers)


def _status_at(request: Request, status: int) -> int:
    return 422 if status == 400 and TRANSPORT_PATH in request.scope["path"] else status


def _retry_after(error: ClusterError) -> dict[str, str] | None:
    match error:
        case Later():
            return {"Retry-After": str(error.retry_after_s)}
        case QuotaExceeded():
            return {"Retry-After": str(RETRY_QUOTA_S)}
        case Unavailable():
            return {"Retry-After": str(RETRY_UNAVAILABLE_S)}
        case _:
            return None


def _describe(problems: Sequence[Any]) -> str:
    """Where and why, never what was sent: bodies carry prompts."""
    parts = [f"{'.'.join(str(step) for step in problem['loc'])}: {problem['msg']}" for problem in problems]
    return "; ".join(parts[:_REPORTED_ERRORS])
