from __future__ import annotations

import httpx
import pytest

pytestmark = pytest.mark.fast

SESSION = "/sessions/d0d5a4b2-0000-4000-8000-000000000000"
PREFLIGHTS = [
    ("/tokens", "POST", "reactor-api-key"),
    ("/tokens", "POST", "content-type,reactor-api-key"),
    ("/sessions", "POST", "authorization,content-type,reactor-api-accept-version,reactor-api-version"),
    (SESSION, "GET", "authorization,reactor-api-accept-version,reactor-api-version"),
    (SESSION, "DELETE", "authorization,reactor-api-accept-version,reactor-api-version"),
    (f"{SESSION}/transport/webrtc/ice_servers", "GET", "authorization,reactor-webrtc-version"),
    (
        f"{SESSION}/transport/webrtc/connections/1002/sdp_params",
        "PUT",
        "authorization,content-type,reactor-webrtc-version",
    ),
    ("/clips", "GET", "authorization"),
    ("/nowhere", "GET", "authorization"),
]


@pytest.mark.parametrize(("path", "method", "asked"), PREFLIGHTS)
async def test_a_browsers_preflight_is_granted(http: httpx.AsyncClient, path: str, method: str, asked: str) -> None:
    headers = {
        "Origin": "http://app.example",
        "Access-Control-Request-Method": method,
        "Access-Control-Request-Headers": asked,
    }
    answer = await http.options(path, headers=headers)
    assert answer.status_code == 204
    assert answer.content == b""
    assert answer.headers["Access-Control-Allow-Origin"] == "*"
    assert method in answer.headers["Access-Control-Allow-Methods"].split(", ")
    allowed = {name.lower() for name in answer.headers["Access-Control-Allow-Headers"].split(", ")}
    assert set(asked.split(",")) <= allowed
    assert "*" not in allowed, "a star does not cover Authorization"


async def test_options_without_an_origin_is_answered_too(http: httpx.AsyncClient) -> None:
    assert (await http.options("/sessions")).status_code == 204


@pytest.mark.parametrize("origin", [{}, {"Origin": "http://app.example"}, {"Origin": "null"}])
@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "/", 307),
        ("GET", "/studio", 200),
        ("GET", "/health", 200),
        ("GET", "/static/studio/main.js", 200),
        ("POST", "/tokens", 401),
        ("GET", SESSION, 401),
        ("GET", "/nowhere", 404),
        ("GET", "/static/nothing.js", 404),
        ("GET", "/sessions", 405),
    ],
)
async def test_every_answer_carries_the_headers(
    http: httpx.AsyncClient, method: str, path: str, status: int, origin: dict[str, str]
) -> None:
    answer = await http.request(method, path, headers=origin)
    assert answer.status_code == status
    assert answer.headers.get_list("Access-Control-Allow-Origin") == ["*"]
    assert "Retry-After" in answer.headers["Access-Control-Expose-Headers"]
