"""A moderator behind an HTTP URL. Requests are signed as Standard Webhooks (standardwebhooks.com) lays down.

    POST {"kind": "text", "text": "…", "session_id": …, "account": …, "model": …, "command": "set_shot"}
    POST {"kind": "image", "image": {"mime_type": "image/png", "base64": "…"}, …}

`command` is null for what a restored snapshot holds. The answer is 200 with

    {"action": "allow" | "warn" | "terminate", "reason": "…", "categories": ["…"]}

The signature is the HMAC-SHA256 of `<webhook-id>.<webhook-timestamp>.<body>` under the bytes that the secret has in
base64 after `whsec_`. A request that is repeated keeps its id. Redirects are not followed: they could lead anywhere.
"""

from __future__ import annotations

import asyncio
import base64
import hashlib
import hmac
import json
import time
import uuid
from collections.abc import Callable
from dataclasses import asdict
from typing import Any

import httpx
from pydantic import ValidationError
from tenacity import AsyncRetrying, retry_if_exception_type, stop_after_attempt, wait_random_exponential

from cluster.moderation.verdict import Content, Context, ModeratorUnavailable, Verdict, kind_of
from cluster.settings import ModerationSettings, webhook_key

MAX_ANSWER_BYTES = 65_536
BUSY = frozenset({429, 500, 502, 503, 504})


class _TryAgain(Exception):
    """The service did not answer in time, or is busy. The text is the reason."""


class Webhook:
    """See the module. `clock` tells unix seconds."""

    def __init__(self, url: str, settings: ModerationSettings, clock: Callable[[], float] = time.time) -> None:
        assert settings.webhook_secret is not None, "the settings see to it"
        self._url = url
        self._key = webhook_key(settings.webhook_secret.get_secret_value())
        self._timeout_s = settings.timeout_s
        self._clock = clock
        self._http = httpx.AsyncClient(follow_redirects=False, timeout=settings.timeout_s)
        self._retrying = AsyncRetrying(
            retry=retry_if_exception_type(_TryAgain),
            stop=stop_after_attempt(settings.attempts),
            wait=wait_random_exponential(multiplier=0.1, max=1.0),
            reraise=True,
        )

    async def check(self, content: Content, context: Context) -> Verdict:
        """See `Moderator.check`."""
        body = _body(content, context) if isinstance(content, str) else await asyncio.to_thread(_body, content, context)
        try:
            return await self._retrying.copy()(self._ask, str(uuid.uuid4()), body)
        except _TryAgain as error:
            raise ModeratorUnavailable(str(error)) from None

    async def close(self) -> None:
        """Close the connections."""
        await self._http.aclose()

    async def _ask(self, request_id: str, body: bytes) -> Verdict:
        try:
            async with asyncio.timeout(self._timeout_s):
                status, answer = await self._post(self._headers(request_id, body), body)
        except (httpx.TransportError, TimeoutError) as error:
            raise _TryAgain(type(error).__name__) from None
        if status in BUSY:
            raise _TryAgain(f"status {status}")
        if status != 200:
            raise ModeratorUnavailable(f"status {status}")
        try:
            return Verdict.model_validate_json(answer)
        except ValidationError:
            raise ModeratorUnavailable("the answer is no verdict") from None

    async def _post(self, headers: dict[str, str], body: bytes) -> tuple[int, bytes]:
        answer = bytearray()
        async with self._http.stream("POST", self._url, content=body, headers=headers) as response:
            async for part in response.aiter_bytes():
                answer += part
                if len(answer) > MAX_ANSWER_BYTES:
                    raise ModeratorUnavailable("the answer is too long for a verdict")
        return response.status_code, bytes(answer)

    def _headers(self, request_id: str, body: bytes) -> dict[str, str]:
        timestamp = str(int(self._clock()))
        signature = hmac.new(self._key, f"{request_id}.{timestamp}.".encode() + body, hashlib.sha256).digest()
        return {
            "Content-Type": "application/json",
            "webhook-id": request_id,
            "webhook-timestamp": timestamp,
            "webhook-signature": f"v1,{base64.b64encode(signature).decode()}",
        }


def _body(content: Content, context: Context) -> bytes:
    fields: dict[str, Any] = {"kind": kind_of(content), **asdict(context)}
    if isinstance(content, str):
        fields["text"] = content
    else:
        fields["image"] = {"mime_type": content.mime_type, "base64": base64.b64encode(content.data).decode()}
    return json.dumps(fields, ensure_ascii=False).encode()
