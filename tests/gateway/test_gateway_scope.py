from __future__ import annotations

from typing import Any

import httpx
import pytest

from gateway.errors import Forbidden
from gateway.scope import Scope
from wire.http import AuthorizationDetail, ModelRef, ServerInfo, Session, SessionState

pytestmark = pytest.mark.fast


def _detail(models: dict[str, Any], bind: list[str] | None = None, **constraints: int) -> dict[str, Any]:
    resources: dict[str, Any] = {"models": models} | ({"sessions": {"bind": bind}} if bind else {})
    return {"type": "session", "resources": resources, "constraints": constraints}


def _scope(*details: dict[str, Any]) -> Scope:
    return Scope(tuple(AuthorizationDetail.model_validate(detail) for detail in details))


def _session(session_id: str, model: str = "echo") -> Session:
    return Session(
        session_id=session_id,
        state=SessionState.ACTIVE,
        cluster="test",
        model=ModelRef(name=model),
        server_info=ServerInfo(server_version="1"),
    )


ALL = {"all": True}
ECHO = {"match": ["echo"]}


@pytest.mark.parametrize(
    ("scope", "model", "open_sessions", "allowed"),
    [
        (Scope(), "echo", [], True),
        (_scope(_detail(ALL)), "echo", [], True),
        (_scope(_detail(ECHO)), "echo", [], True),
        (_scope(_detail(ECHO)), "owner/echo", [], True),
        (_scope(_detail({"match": ["owner/echo"]})), "echo", [], True),
        (_scope(_detail(ECHO)), "longlive-v2", [], False),
        (_scope(_detail(ECHO, max_sessions=1)), "echo", [], True),
        (_scope(_detail(ECHO, max_sessions=1)), "echo", [_session("a")], False),
        (_scope(_detail(ECHO, max_sessions=1)), "echo", [_session("a", "longlive-v2")], True),
        (_scope(_detail(ALL, max_sessions=2)), "echo", [_session("a"), _session("b", "longlive-v2")], False),
        (_scope(_detail(ALL, max_sessions=0)), "echo", [], False),
        (_scope(_detail(ALL, bind=["a"])), "echo", [_session("a")], False),
        (_scope(_detail(ALL, bind=["a"], max_sessions=2)), "echo", [_session("a")], True),
        (_scope(_detail(ECHO, max_sessions=0), _detail({"match": ["longlive-v2"]})), "longlive-v2", [], True),
    ],
)
def test_who_may_open_a_session(scope: Scope, model: str, open_sessions: list[Session], allowed: bool) -> None:
    if allowed:
        assert scope.max_duration_s(model, open_sessions) is None
    else:
        with pytest.raises(Forbidden):
            scope.max_duration_s(model, open_sessions)


@pytest.mark.parametrize(
    ("scope", "session", "allowed"),
    [
        (Scope(), _session("a"), True),
        (_scope(_detail(ALL)), _session("a"), True),
        (_scope(_detail(ECHO)), _session("a"), True),
        (_scope(_detail(ECHO)), _session("a", "longlive-v2"), False),
        (_scope(_detail(ALL, bind=["a"])), _session("a"), True),
        (_scope(_detail(ALL, bind=["a"])), _session("b"), False),
        (_scope(_detail(ECHO, bind=["a"])), _session("a", "longlive-v2"), False),
        (_scope(_detail(ALL, bind=["a"]), _detail(ALL, bind=["b"])), _session("b"), True),
    ],
)
def test_who_may_operate_a_session(scope: Scope, session: Session, allowed: bool) -> None:
    if allowed:
        scope.check_operate(session)
    else:
        with pytest.raises(Forbidden):
            scope.check_operate(session)


def test_the_first_detail_that_fits_gives_the_duration() -> None:
    scope = _scope(
        _detail({"match": ["longlive-v2"]}, max_session_duration_seconds=5),
        _detail(ECHO, max_session_duration_seconds=7),
    )
    assert scope.max_duration_s("echo", []) == 7


async def test_a_token_for_one_model(http: httpx.AsyncClient, mint: Any, auth: dict[str, str], session_id: str) -> None:
    longlive = await mint(authorization_details=[_detail({"match": ["longlive-v2"]})])
    refused = await http.post("/sessions", headers=longlive, json={"model": {"name": "echo"}})
    assert (refused.status_code, refused.json()["code"]) == (403, "insufficient_scope")
    for method, path in (("GET", ""), ("GET", "/transport/webrtc/ice_servers"), ("DELETE", "")):
        refused = await http.request(method, f"/sessions/{session_id}{path}", headers=longlive)
        assert (refused.status_code, refused.json()["code"]) == (403, "insufficient_scope")
    echo = await mint(authorization_details=[_detail(ECHO)])
    assert (await http.get(f"/sessions/{session_id}", headers=echo)).status_code == 200


async def test_an_unknown_model_in_the_scope_is_found_out_when_it_is_used(http: httpx.AsyncClient, mint: Any) -> None:
    headers = await mint(authorization_details=[_detail({"match": ["never"]})])
    answer = await http.post("/sessions", headers=headers, json={"model": {"name": "never"}})
    assert (answer.status_code, answer.json()["code"]) == (404, "unknown_model")


async def test_a_bound_token_operates_its_session_alone(
    http: httpx.AsyncClient, mint: Any, auth: dict[str, str], session_id: str
) -> None:
    other = (await http.post("/sessions", headers=auth, json={"model": {"name": "echo"}})).json()["session_id"]
    bound = await mint(authorization_details=[_detail(ALL, bind=[session_id])])
    assert (await http.get(f"/sessions/{session_id}", headers=bound)).status_code == 200
    assert (await http.get(f"/sessions/{other}", headers=bound)).status_code == 403
    assert (await http.post("/sessions", headers=bound, json={"model": {"name": "echo"}})).status_code == 403
    assert (await http.delete(f"/sessions/{other}", headers=auth)).status_code == 204


async def test_max_sessions_counts_the_accounts_open_sessions(http: httpx.AsyncClient, mint: Any) -> None:
    one = [_detail(ECHO, max_sessions=1)]
    first, refreshed = await mint(authorization_details=one), await mint(authorization_details=one)
    created = await http.post("/sessions", headers=first, json={"model": {"name": "echo"}})
    assert created.status_code == 201
    path = f"/sessions/{created.json()['session_id']}"
    assert (await http.post("/sessions", headers=first, json={"model": {"name": "echo"}})).status_code == 403
    assert (await http.get(path, headers=refreshed)).status_code == 200
    assert (await http.delete(path, headers=refreshed)).status_code == 204
    again = await http.post("/sessions", headers=first, json={"model": {"name": "echo"}})
    assert again.status_code == 201
    await http.delete(f"/sessions/{again.json()['session_id']}", headers=first)
