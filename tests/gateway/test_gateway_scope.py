from __future__ import annotations

from typing import Any

import httpx
import pytest

from cluster.client import Allowance
from gateway.errors import Forbidden, ForbiddenRole
from gateway.scope import Scope
from wire.http import AuthorizationDetail, ModelRef, Role, ServerInfo, Session, SessionState

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


def _viewer(models: dict[str, Any], bind: list[str] | None = None, **constraints: int) -> dict[str, Any]:
    return _detail(models, bind, **constraints) | {"role": "viewer"}


ALL = {"all": True}
ECHO = {"match": ["echo"]}


@pytest.mark.parametrize(
    ("scope", "model", "allowances"),
    [
        (Scope(), "echo", [Allowance()]),
        (_scope(_detail(ALL)), "echo", [Allowance()]),
        (_scope(_detail(ECHO)), "echo", [Allowance(models=frozenset({"echo"}))]),
        (_scope(_detail(ECHO)), "owner/echo", [Allowance(models=frozenset({"echo"}))]),
        (_scope(_detail({"match": ["owner/echo"]})), "echo", [Allowance(models=frozenset({"echo"}))]),
        (_scope(_detail(ECHO)), "longlive-v2", []),
        (_scope(_detail(ALL, max_sessions=0)), "echo", [Allowance(max_sessions=0)]),
        (_scope(_detail(ALL, bind=["a"])), "echo", []),
        (_scope(_detail(ALL, bind=["a"], max_sessions=2)), "echo", [Allowance(max_sessions=2)]),
        (
            _scope(_detail(ECHO, max_sessions=1), _detail(ALL, max_session_duration_seconds=5)),
            "echo",
            [Allowance(max_sessions=1, models=frozenset({"echo"})), Allowance(5)],
        ),
        (
            _scope(_detail(ECHO, max_sessions=0), _detail({"match": ["other"]})),
            "other",
            [Allowance(models=frozenset({"other"}))],
        ),
    ],
)
def test_who_may_open_a_session(scope: Scope, model: str, allowances: list[Allowance]) -> None:
    if allowances:
        assert list(scope.allowances(model)) == allowances
    else:
        with pytest.raises(Forbidden):
            scope.allowances(model)


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
        assert scope.role_in(session) is Role.DIRECTOR
    else:
        with pytest.raises(Forbidden):
            scope.role_in(session)


@pytest.mark.parametrize(
    ("scope", "here", "everywhere"),
    [
        (Scope(), Role.DIRECTOR, Role.DIRECTOR),
        (_scope(_detail(ALL)), Role.DIRECTOR, Role.DIRECTOR),
        (_scope(_viewer(ALL)), Role.VIEWER, Role.VIEWER),
        (_scope(_viewer(ALL, bind=["a"])), Role.VIEWER, None),
        (_scope(_viewer(ALL, bind=["b"])), None, None),
        (_scope(_viewer(ALL, bind=["b"], max_sessions=3)), None, None),
        (_scope(_viewer(ECHO)), Role.VIEWER, None),
        (_scope(_viewer(ALL), _detail(ALL)), Role.DIRECTOR, Role.DIRECTOR),
        (_scope(_viewer(ALL), _detail(ALL, bind=["a"])), Role.DIRECTOR, None),
        (_scope(_viewer(ALL), _detail(ALL, bind=["b"])), Role.VIEWER, None),
        (_scope(_detail(ALL, bind=["a"]), _viewer(ALL, bind=["a"])), Role.DIRECTOR, None),
        (_scope(), None, None),
    ],
)
def test_the_strongest_role_counts(scope: Scope, here: Role | None, everywhere: Role | None) -> None:
    assert scope.account_role is everywhere
    if here is not None:
        assert scope.role_in(_session("a")) is here
    else:
        with pytest.raises(Forbidden):
            scope.role_in(_session("a"))


@pytest.mark.parametrize("viewer", [_viewer(ALL), _viewer(ALL, max_sessions=3), _viewer(ECHO, ["a"], max_sessions=3)])
def test_a_viewer_opens_no_session(viewer: dict[str, Any]) -> None:
    with pytest.raises(ForbiddenRole):
        _scope(viewer).allowances("echo")
    (allowance,) = _scope(viewer, _detail(ALL, max_session_duration_seconds=5)).allowances("echo")
    assert allowance == Allowance(5)
    with pytest.raises(Forbidden) as refused:
        _scope(viewer, _detail(ECHO)).allowances("longlive-v2")
    assert refused.value.code == "insufficient_scope"


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
