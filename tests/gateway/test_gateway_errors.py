from __future__ import annotations

import json
from collections.abc import AsyncIterator

import httpx
import pytest
from fastapi import FastAPI
from starlette.responses import StreamingResponse

from cluster import errors
from cluster.settings import Settings
from gateway.errors import GatewayError
from wire.http import ErrorBody

pytestmark = pytest.mark.slow

UNKNOWN = "/sessions/d0d5a4b2-0000-4000-8000-000000000000"
OFFER = f"{UNKNOWN}/transport/webrtc/connections/1002/sdp_params"


def _raises(app: FastAPI, path: str, error: Exception) -> None:
    async def route() -> None:
        raise error

    app.add_api_route(path, route)


@pytest.mark.parametrize(
    ("error", "status", "code", "retry_after"),
    [
        (errors.NotFound("no such session"), 404, "not_found", None),
        (errors.UnknownModel("no such model"), 404, "unknown_model", None),
        (errors.UnknownConnection("no such connection"), 404, "unknown_connection", None),
        (errors.InvalidOffer("no media section"), 422, "invalid_offer", None),
        (errors.NotReady("waits for a worker"), 409, "not_ready", None),
        (errors.Conflict("not INACTIVE"), 409, "conflict", None),
        (errors.QuotaExceeded("at most 3"), 429, "quota_exceeded", "10"),
        (errors.CreationsExceeded("at most 3", retry_after_s=42), 429, "creations_exceeded", "42"),
        (errors.ScopeExhausted("at most 3"), 403, "insufficient_scope", None),
        (errors.QueueFull("256 wait already", retry_after_s=7), 503, "queue_full", "7"),
        (errors.Unavailable("no answer"), 503, "unavailable", "1"),
    ],
)
async def test_every_error_of_the_cluster_has_its_status(
    http: httpx.AsyncClient, app: FastAPI, error: errors.ClusterError, status: int, code: str, retry_after: str | None
) -> None:
    _raises(app, "/raises", error)
    answer = await http.get("/raises")
    assert answer.status_code == status
    assert answer.json() == {"detail": str(error), "code": code}
    assert answer.headers.get("Retry-After") == retry_after
    assert answer.headers["Access-Control-Allow-Origin"] == "*"


def _branches(kind: type[Exception]) -> set[type[Exception]]:
    return {branch for child in kind.__subclasses__() for branch in {child} | _branches(child)}


@pytest.mark.parametrize("kind", sorted(_branches(errors.ClusterError), key=lambda kind: kind.__name__))
async def test_no_branch_of_the_clusters_tree_is_a_500(
    http: httpx.AsyncClient, app: FastAPI, kind: type[errors.ClusterError]
) -> None:
    _raises(app, "/raises", kind("why"))
    answer = await http.get("/raises")
    assert 400 <= answer.status_code <= 503
    assert answer.status_code != 500
    assert answer.json() == {"detail": "why", "code": kind.code}


def test_every_branch_of_our_tree_has_a_code_of_its_own() -> None:
    branches = _branches(GatewayError)
    assert len({branch.code for branch in branches}) == len(branches)
    assert all(branch.status != 500 for branch in branches)


@pytest.mark.parametrize(
    "failure", [KeyError("prompt: a red dune"), RuntimeError("rk_secret"), errors.ClusterError("new")]
)
async def test_an_unknown_failure_is_a_500_that_tells_nothing(
    http: httpx.AsyncClient, app: FastAPI, failure: Exception
) -> None:
    _raises(app, "/raises", failure)
    answer = await http.get("/raises", headers={"Origin": "http://app.example"})
    assert answer.status_code == 500
    assert answer.json() == {"detail": "internal error", "code": "internal_error"}
    assert answer.headers["Access-Control-Allow-Origin"] == "*"
    counted = app.state.metrics.registry.get_sample_value
    assert counted("llc_gateway_failures_total", {"route": "/raises"}) == 1
    assert counted("llc_gateway_requests_total", {"method": "GET", "route": "/raises", "status": "500"}) == 1


async def test_an_answer_that_breaks_off_is_cut(http: httpx.AsyncClient, app: FastAPI) -> None:
    async def half() -> AsyncIterator[bytes]:
        yield b"half"
        raise RuntimeError("the rest is lost")

    app.add_api_route("/half", lambda: StreamingResponse(half()))
    with pytest.raises(RuntimeError):
        await http.get("/half")


MALFORMED = [b"{", b"[1,", b'{"model": }', b"\xff\xfe", b"not json", b'"\\ud800', b"[" * 100_000, b'{"a":' * 50_000]


@pytest.mark.parametrize("content", MALFORMED, ids=range(len(MALFORMED)))
@pytest.mark.parametrize(("path", "status"), [("/sessions", 400), (OFFER, 422)])
async def test_malformed_json_is_refused(
    http: httpx.AsyncClient, auth: dict[str, str], content: bytes, path: str, status: int
) -> None:
    answer = await http.post(path, headers=auth | {"Content-Type": "application/json"}, content=content)
    assert (answer.status_code, answer.json()["code"]) == (status, "invalid_request")


async def test_malformed_json_to_the_mint(http: httpx.AsyncClient, api_key: str) -> None:
    headers = {"Reactor-API-Key": api_key, "Content-Type": "application/json"}
    answer = await http.post("/tokens", headers=headers, content=b"{")
    assert (answer.status_code, answer.json()["code"]) == (400, "invalid_request")


async def test_a_refusal_does_not_repeat_what_was_sent(http: httpx.AsyncClient, auth: dict[str, str]) -> None:
    answer = await http.post("/sessions", headers=auth, json={"model": {"name": ["a secret prompt"]}})
    assert answer.status_code == 400
    assert "secret" not in answer.text


async def test_json_of_another_content_type_is_refused(http: httpx.AsyncClient, auth: dict[str, str]) -> None:
    content = json.dumps({"model": {"name": "echo"}}).encode()
    answer = await http.post("/sessions", headers=auth | {"Content-Type": "text/plain"}, content=content)
    assert answer.status_code == 400


@pytest.mark.parametrize("path", ["/tokens", "/sessions", OFFER, f"{UNKNOWN}/transport/webrtc/connections"])
async def test_a_declared_oversize_body_is_413(
    http: httpx.AsyncClient, auth: dict[str, str], api_key: str, settings: Settings, path: str
) -> None:
    headers = auth | {"Reactor-API-Key": api_key, "Content-Type": "application/json"}
    content = b" " * (settings.limits.max_body_bytes + 1)
    answer = await http.post(path, headers=headers, content=content)
    assert (answer.status_code, answer.json()["code"]) == (413, "body_too_large")
    assert answer.headers["Access-Control-Allow-Origin"] == "*"


async def test_a_chunked_oversize_body_is_413(
    http: httpx.AsyncClient, auth: dict[str, str], settings: Settings
) -> None:
    sent = 0

    async def endless() -> AsyncIterator[bytes]:
        nonlocal sent
        while True:
            sent += 65_536
            yield b" " * 65_536

    headers = auth | {"Content-Type": "application/json"}
    answer = await http.post("/sessions", headers=headers, content=endless())
    assert (answer.status_code, answer.json()["code"]) == (413, "body_too_large")
    assert sent <= settings.limits.max_body_bytes + 2 * 65_536, "reading stops at the bound"


async def test_the_largest_body_is_read(http: httpx.AsyncClient, auth: dict[str, str], settings: Settings) -> None:
    content = b"{" + b" " * (settings.limits.max_body_bytes - 2) + b"}"
    answer = await http.post("/sessions", headers=auth | {"Content-Type": "application/json"}, content=content)
    assert (answer.status_code, answer.json()["code"]) == (400, "invalid_request")


@pytest.mark.parametrize(
    ("method", "path", "status", "code"),
    [
        ("GET", "/nowhere", 404, "not_found"),
        ("POST", "/nowhere", 404, "not_found"),
        ("GET", "/sessions/", 404, "not_found"),
        ("GET", "/ice_servers?model=echo", 404, "not_found"),
        ("GET", "/sessions", 405, "method_not_allowed"),
        ("PATCH", UNKNOWN, 405, "method_not_allowed"),
        ("GET", "/tokens", 405, "method_not_allowed"),
        ("DELETE", "/", 405, "method_not_allowed"),
        ("GET", "/static/../app.py", 404, "not_found"),
        ("GET", "/static/%2e%2e/app.py", 404, "not_found"),
        ("POST", "/static/studio/main.js", 405, "method_not_allowed"),
    ],
)
async def test_unknown_paths_and_methods(
    http: httpx.AsyncClient, method: str, path: str, status: int, code: str
) -> None:
    answer = await http.request(method, path)
    assert answer.status_code == status
    assert ErrorBody.model_validate(answer.json()).code == code
