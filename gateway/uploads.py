"""Files for commands: a slot is asked for with a token, its bytes are sent to a URL that is itself the permission.

Published clients use the URL as it is, without credentials, from wherever they are: it is built from what the request
says of the public address.
"""

from __future__ import annotations

import binascii
import re
from base64 import b64decode
from typing import Annotated

from fastapi import APIRouter, Depends, Header, Request, Response
from starlette.requests import ClientDisconnect

from gateway.auth import OwnSessionDep
from gateway.deps import ClusterDep
from gateway.errors import InvalidRequest
from gateway.openapi import BY_SESSION, refusals
from gateway.versions import check_versions
from wire.uploads import CreateUpload, UploadSlot

UPLOAD_PATH = "/uploads/"
"""Beginning of the upload URLs' path; their bodies have a limit of their own."""

router = APIRouter(tags=["uploads"])

_RAW_BODY = {
    "requestBody": {
        "required": True,
        "content": {"application/octet-stream": {"schema": {"type": "string", "format": "binary"}}},
    }
}
_REFUSED = refusals(400, 404, 409, 415)
_ALGORITHMS = {"sha-256": "sha256", "sha-512": "sha512"}
_DIGEST = re.compile(r"\s*([a-z0-9-]+)\s*=\s*:([A-Za-z0-9+/=]*):\s*", re.ASCII)


@router.post(
    "/sessions/{session_id}/uploads",
    status_code=201,
    dependencies=[Depends(check_versions)],
    responses=refusals(*BY_SESSION, 429),
)
async def create_upload(request: Request, own: OwnSessionDep, cluster: ClusterDep, body: CreateUpload) -> UploadSlot:
    """A slot for one file: where to PUT its bytes, once, and the id by which commands refer to it.

    413 for a size beyond the limit. What type the file is, its bytes tell; the type given here is not relied on.
    """
    upload_id, token = await cluster.create_upload(own.tenant, own.session_id, body)
    path = f"sessions/{own.session_id}/uploads/{upload_id}"
    return UploadSlot(presigned_id=upload_id, presigned_url=public_url(request) + UPLOAD_PATH + token, path=path)


@router.put(UPLOAD_PATH + "{token}", response_class=Response, responses=_REFUSED, openapi_extra=_RAW_BODY)
@router.post(UPLOAD_PATH + "{token}", response_class=Response, responses=_REFUSED, openapi_extra=_RAW_BODY)
async def receive_upload(
    request: Request,
    cluster: ClusterDep,
    token: str,
    content_length: Annotated[int | None, Header(ge=0, include_in_schema=False)] = None,
    content_digest: Annotated[str | None, Header(description="RFC 9530: `sha-256=:…:`, `sha-512=:…:`")] = None,
) -> Response:
    """The bytes of a slot's file. 409 the second time, 404 for a URL that is not or no longer one.

    400 if the size is not the slot's or the digest not the bytes', 415 if they are no file of a type that is taken.
    """
    digests = parse_digests(content_digest or "")
    try:
        await cluster.receive_upload(token, request.stream(), content_length, digests)
    except ClientDisconnect:
        raise InvalidRequest("the body ended early") from None
    return Response()


def public_url(request: Request) -> str:
    """Scheme and authority under which the client sees this server.

    Forwarded headers are believed: who forges them changes nothing but the URL in their own answer.
    """
    scheme = _first(request.headers.get("x-forwarded-proto")) or request.url.scheme
    host = _first(request.headers.get("x-forwarded-host")) or request.url.netloc
    return f"{scheme if scheme in ('http', 'https') else 'http'}://{host}"


def _first(header: str | None) -> str:
    """The entry of the proxy that the client spoke to."""
    return (header or "").partition(",")[0].strip()


def parse_digests(header: str) -> dict[str, bytes]:
    """`Content-Digest` as digests by their names in hashlib; algorithms that are not known here are not looked at.

    Raises `InvalidRequest` for a header that cannot be read.
    """
    digests = {}
    for entry in filter(str.strip, header.split(",")):
        match = _DIGEST.fullmatch(entry)
        if match is None:
            raise InvalidRequest("Content-Digest cannot be read")
        if match[1] in _ALGORITHMS:
            try:
                digests[_ALGORITHMS[match[1]]] = b64decode(match[2], validate=True)
            except binascii.Error:
                raise InvalidRequest("Content-Digest cannot be read") from None
    return digests
