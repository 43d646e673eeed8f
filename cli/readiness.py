"""Waits for a cluster that has just been started to answer."""

from __future__ import annotations

import httpx
from pydantic import ValidationError
from tenacity import retry, retry_if_exception_type, stop_after_delay, wait_fixed

from wire.http import Readiness

START_S = 60.0
EVERY_ADDRESS = "0.0.0.0"


class NotUp(RuntimeError):
    """A part of the cluster does not answer."""


def url_of(host: str, port: int) -> str:
    """Where this machine reaches a gateway that listens on an address."""
    return f"http://{'127.0.0.1' if host == EVERY_ADDRESS else host}:{port}"


@retry(
    retry=retry_if_exception_type((httpx.HTTPError, ValidationError, NotUp)),
    stop=stop_after_delay(START_S),
    wait=wait_fixed(0.1),
    reraise=True,
)
def until_up(url: str) -> None:
    """Return once the gateway whose `/ready` this is finds Redis and the allocator.

    A model that cannot be loaded holds up nobody: it is tried for as long as the cluster runs.

    Raises:
        httpx.HTTPError, ValidationError, NotUp: it does not, after `START_S` seconds.
    """
    checks = Readiness.model_validate_json(httpx.get(url, timeout=5).content).checks
    if silent := [part for part in ("redis", "allocator") if not checks.get(part)]:
        raise NotUp(f"no answer from {' and '.join(silent)}")
