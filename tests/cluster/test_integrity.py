"""What does not fit between registry, allocator, workers, keys and peers."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from cluster.api import HeldSession, WorkerState, WorkerStatus
from cluster.errors import Unavailable
from cluster.integrity import Entry, Facts, Inspector, Kind, Violation, violations
from cluster.settings import PoolSettings
from tests.support.waiting import eventually
from wire.http import SessionState

pytestmark = pytest.mark.fast

TENANT = "https://id.example:8443/:someone"
ECHO = PoolSettings(model="echo", min_warm=1, max_workers=2)


def worker(name: str, *sessions: str, epoch: int = 1, pid: int = 0, **more: Any) -> WorkerStatus:
    held = tuple(HeldSession(session_id=each, tenant=TENANT, epoch=epoch) for each in sessions)
    state = WorkerState.ACTIVE if sessions else WorkerState.IDLE
    return WorkerStatus(
        name=name, model="echo", state=state, capacity=2, sessions=held, seq=1, pid=pid or hash(name), **more
    )


RUNS = Entry(SessionState.ACTIVE, 1, "one")
WAITS = Entry(SessionState.PENDING, 0, "")
OVER = Entry(SessionState.CLOSED, 2, "")
GOOD = Facts(
    workers={"one": worker("one", "a"), "two": worker("two")},
    silent=frozenset(),
    strays=frozenset(),
    held={"a": "one"},
    waiting=frozenset("w"),
    records={(TENANT, "a"): RUNS, (TENANT, "w"): WAITS, (TENANT, "o"): OVER},
    entered={"all": {(TENANT, "a"), (TENANT, "w")}, "of its tenant": {(TENANT, "a"), (TENANT, "w")}},
    expires={
        f"{TENANT}:session:a": True,
        f"{TENANT}:snapshot:a": True,
        f"{TENANT}:open": False,
        f"{TENANT}:saved": False,
        "open": False,
        "key:key_1": False,
        "key_of:digest": False,
        "jwt_secret": False,
        "slot:digest": True,
        f"{TENANT}:usage:2026-11-20": True,
        "usage:2026-11-20": True,
        "usage_writer:process": True,
    },
)
TWO = {"one": worker("one", "a"), "two": worker("two", "a")}
WRONG: list[tuple[str, dict[str, Any], set[tuple[Kind, str]]]] = [
    (
        "on two workers",
        {"workers": TWO},
        {(Kind.TWO_WORKERS, "a"), (Kind.FOREIGN_HOLD, "a"), (Kind.UNCOUNTED_HOLD, "a")},
    ),
    ("under an old epoch", {"workers": {"one": worker("one", "a", epoch=0)}}, {(Kind.FOREIGN_HOLD, "a")}),
    (
        "held though it is over",
        {"workers": {"one": worker("one", "a", "o", epoch=1)}, "held": {"a": "one", "o": "one"}},
        {(Kind.FOREIGN_HOLD, "o")},
    ),
    ("not held where all say", {"workers": {"one": worker("one")}}, {(Kind.MISSING_HOLD, "a")}),
    ("its worker is gone", {"workers": {"two": worker("two")}}, {(Kind.MISSING_HOLD, "a")}),
    ("not known to the allocator", {"held": {}}, {(Kind.UNCOUNTED_HOLD, "a")}),
    ("a worker too many", {"strays": frozenset({"three"})}, {(Kind.STRAY_WORKER, "three")}),
    ("waits for nothing", {"waiting": frozenset()}, {(Kind.FORGOTTEN, "w")}),
    ("waits though it is over", {"waiting": frozenset("wo")}, {(Kind.STALE_WAITER, "o")}),
    (
        "not entered",
        {"entered": GOOD.entered | {"all": {(TENANT, "w")}}},
        {(Kind.NOT_ENTERED, "a")},
    ),
    (
        "entered though it is not there",
        {"entered": GOOD.entered | {"of its tenant": {(TENANT, "a"), (TENANT, "w"), (TENANT, "x")}}},
        {(Kind.NO_RECORD, "x")},
    ),
    (
        "never expires",
        {"expires": {f"{TENANT}:session:a": False}},
        {(Kind.ENDLESS_KEY, f"{TENANT}:session:a")},
    ),
    ("without its session", {"expires": {"t:snapshot:x": True}}, {(Kind.ORPHAN_KEY, "t:snapshot:x")}),
    (
        "a peer is left",
        {"workers": {"one": worker("one", "a"), "two": worker("two", peers=1)}},
        {(Kind.LEFT_OVER, "two")},
    ),
    (
        "a task is left",
        {"workers": {"one": worker("one", "a"), "two": worker("two", session_tasks=2)}},
        {(Kind.LEFT_OVER, "two")},
    ),
]


def test_nothing_is_wrong():
    assert violations(GOOD) == frozenset()


@pytest.mark.parametrize(("facts", "found"), [each[1:] for each in WRONG], ids=[each[0] for each in WRONG])
def test_what_is_wrong(facts, found):
    assert {each[:2] for each in violations(replace(GOOD, **facts))} == found


def test_every_kind_can_be_found():
    assert {kind for _, _, found in WRONG for kind, _ in found} == set(Kind)


def test_nothing_is_concluded_from_silence():
    """Nor from what a session that is between two workers does not have."""
    silent = replace(GOOD, workers={"two": worker("two")}, silent=frozenset({"one"}))
    assert violations(silent) == frozenset()
    moving = replace(GOOD, workers={"two": worker("two")}, held={}, waiting=frozenset("wa"))
    assert violations(moving) == frozenset()


def test_workers_in_one_process_share_what_it_has():
    busy = {"one": worker("one", "a", pid=7, peers=1), "two": worker("two", pid=7, peers=1)}
    assert violations(replace(GOOD, workers=busy)) == frozenset()


def test_what_is_there_once_was_a_change():
    inspector, found = Inspector(), Violation(Kind.FORGOTTEN, "a", "")
    other = Violation(Kind.FORGOTTEN, "b", "")
    assert inspector.lasting(frozenset({found})) == frozenset()
    assert inspector.lasting(frozenset({found, other})) == {found}
    assert inspector.lasting(frozenset()) == frozenset()


async def test_a_cluster_at_work_fits(launch):
    scene = launch(ECHO)
    sessions = [await scene.opened() for _ in range(2)]
    waiting = (await scene.create()).session_id
    allocator = scene.local.allocator
    assert await allocator.check_integrity() == frozenset()
    for session_id in (*sessions, waiting):
        await scene.client.delete_session("key_tenant", session_id, None)
    await eventually(lambda: _fits(scene))


async def test_what_does_not_fit_is_found_in_a_cluster(launch):
    """By planting it: behind the store's back, and in a worker's."""
    scene = launch(ECHO)
    session_id = await scene.opened()
    redis, name = scene.local.redis, scene.local.settings.cluster
    await redis.persist(f"{name}:key_tenant:session:{session_id}")
    await redis.set(f"{name}:key_tenant:snapshot:nobody", b"", ex=60)
    await redis.srem(f"{name}:open", f"key_tenant/{session_id}")
    await redis.sadd(f"{name}:key_tenant:open", "nobody")
    found = {each[:2] for each in await scene.local.allocator.check_integrity()}
    assert found == {
        (Kind.ENDLESS_KEY, f"key_tenant:session:{session_id}"),
        (Kind.ORPHAN_KEY, "key_tenant:snapshot:nobody"),
        (Kind.NOT_ENTERED, session_id),
        (Kind.NO_RECORD, "nobody"),
    }


async def _fits(scene: Any) -> bool:
    try:
        return not await scene.local.allocator.check_integrity()
    except Unavailable:
        return False
