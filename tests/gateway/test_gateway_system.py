from __future__ import annotations

import re
from typing import Any

import httpx
import pytest
from fastapi import FastAPI
from fastapi.openapi.models import OpenAPI
from jsonschema import Draft202012Validator
from prometheus_client import generate_latest

from cluster.client import ClusterClient
from gateway.page import STATIC

pytestmark = pytest.mark.slow


async def test_the_schema_of_the_default_model(http: httpx.AsyncClient, cluster: ClusterClient) -> None:
    answer = await http.get("/schema")
    assert answer.status_code == 200
    assert answer.json() == cluster.schema(cluster.models()[0])


@pytest.mark.parametrize("name", ["echo", "owner/echo"])
async def test_the_schema_of_a_model(http: httpx.AsyncClient, cluster: ClusterClient, name: str) -> None:
    answer = await http.get("/schema", params={"model": name})
    assert answer.status_code == 200
    assert answer.json() == cluster.schema("echo")


async def test_the_schema_of_an_unknown_model(http: httpx.AsyncClient) -> None:
    answer = await http.get("/schema", params={"model": "no-such-model"})
    assert (answer.status_code, answer.json()["code"]) == (404, "unknown_model")


async def test_health_and_readiness(http: httpx.AsyncClient, cluster: ClusterClient) -> None:
    assert (await http.get("/health")).json() == {"status": "ok"}
    answer = await http.get("/ready")
    assert answer.status_code == 200
    assert answer.json() == {
        "ready": True,
        "checks": {"redis": True, "allocator": True, "models": True},
        "troubles": [],
        "models": cluster.models(),
        "recording": False,
    }


async def test_metrics_count_by_template_never_by_id(
    http: httpx.AsyncClient, app: FastAPI, auth: dict[str, str], session_id: str
) -> None:
    await http.get(f"/sessions/{session_id}", headers=auth)
    await http.request("BREW", "/coffee/17")
    text = generate_latest(app.state.metrics.registry).decode()
    assert 'route="/sessions/{session_id}",status="200"' in text
    assert 'method="other",route="other",status="404"' in text
    assert session_id not in text


async def test_requests_in_progress_are_counted(http: httpx.AsyncClient, app: FastAPI) -> None:
    in_flight = app.state.metrics.in_flight

    async def look() -> int:
        return int(in_flight._value.get())

    app.add_api_route("/look", look)
    assert (await http.get("/look")).json() == 1
    assert in_flight._value.get() == 0


async def test_metrics_are_not_shown_to_everybody(http: httpx.AsyncClient) -> None:
    assert (await http.get("/metrics")).status_code == 404


async def test_the_openapi_document_is_valid(http: httpx.AsyncClient) -> None:
    document: dict[str, Any] = (await http.get("/openapi.json")).json()
    OpenAPI.model_validate(document)
    for schema in document["components"]["schemas"].values():
        Draft202012Validator.check_schema(schema)
    names = {f"#/components/schemas/{name}" for name in document["components"]["schemas"]}
    assert set(re.findall(r"'\$ref': '([^']+)'", str(document))) <= names
    operations = [
        (path, operation)
        for path, item in document["paths"].items()
        for method, operation in item.items()
        if method in {"get", "post", "put", "delete"}
    ]
    ids = [operation["operationId"] for _, operation in operations]
    assert len(set(ids)) == len(ids)
    for path, operation in operations:
        declared = {p["name"] for p in operation.get("parameters", ()) if p["in"] == "path"}
        assert declared == set(re.findall(r"{(\w+)}", path))
        assert "HTTPValidationError" not in str(operation), "our errors have one shape"


async def test_the_openapi_document_knows_our_bodies(http: httpx.AsyncClient) -> None:
    document: dict[str, Any] = (await http.get("/openapi.json")).json()
    bodies = {
        "TokenRequest",
        "Token",
        "CreateSession",
        "Session",
        "SdpOffer",
        "SdpAnswer",
        "IceCandidates",
        "ErrorBody",
    }
    assert bodies <= document["components"]["schemas"].keys()
    assert "201" in document["paths"]["/sessions"]["post"]["responses"]
    offer = document["paths"]["/sessions/{session_id}/transport/webrtc/connections/{connection_id}/sdp_params"]
    assert {"200", "202"} <= offer["get"]["responses"].keys()
    assert "202" in offer["put"]["responses"]


async def test_the_docs_page(http: httpx.AsyncClient) -> None:
    answer = await http.get("/docs")
    assert answer.status_code == 200
    assert "openapi.json" in answer.text


async def test_the_page_and_everything_it_names_is_served(http: httpx.AsyncClient) -> None:
    page = await http.get("/studio")
    assert page.status_code == 200
    assert page.headers["Content-Type"].startswith("text/html")
    assert "default-src 'none'" in page.headers["Content-Security-Policy"]
    assert not re.search(r"https?://", page.text), "nothing is fetched from elsewhere"
    for path in re.findall(r'(?:src|href)="(static/[^"]+)"', page.text):
        assert (await http.get(path)).status_code == 200
    assert (await http.head("/studio")).status_code == 200


async def test_the_front_door_leads_to_the_page_under_any_prefix(http: httpx.AsyncClient) -> None:
    for answer in (await http.get("/"), await http.head("/")):
        assert answer.status_code == 307
        assert answer.headers["Location"] == "studio"


TYPES = {".js": "text/javascript", ".css": "text/css", ".svg": "image/svg+xml", ".html": "text/html"}


FILES = sorted(str(path.relative_to(STATIC)) for path in STATIC.rglob("*") if path.is_file())


@pytest.mark.parametrize("name", FILES)
async def test_static_files_have_their_type_and_local_imports(http: httpx.AsyncClient, name: str) -> None:
    answer = await http.get(f"/static/{name}")
    assert answer.status_code == 200
    assert answer.headers["Content-Type"].split(";")[0] == TYPES[name[name.rindex(".") :]]
    assert answer.headers["Cache-Control"] == "no-cache"
    for module in re.findall(r'from "([^"]+)"', answer.text):
        assert module.startswith(("./", "../"))
        assert (STATIC / name).parent.joinpath(module).resolve().is_relative_to(STATIC)
        assert (STATIC / name).parent.joinpath(module).is_file()
