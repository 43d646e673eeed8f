"""What Redis holds may be damaged, of another version or foreign: it is refused by name, and nobody else notices."""

from __future__ import annotations

import json
from typing import Any

import pytest

from cluster.endings import OTHER_VERSION, UNOPENED, UNUSABLE
from cluster.errors import Conflict, NotFound, Unavailable
from cluster.records import SessionRecord, Ticket
from cluster.settings import PoolSettings
from models.echo import EchoDirector
from tests.support.waiting import eventually
from wire.http import CreateSession, ModelRef, SaveSnapshot, SessionState

pytestmark = pytest.mark.fast

TENANT = "key_tenant"
ECHO = PoolSettings(model="echo", min_warm=1, max_workers=1)
GOOD = {"model": "echo", "director": {"effect": "sepia", "intensity": 1.0, "image": None}, "version": 1}


def encoded(**changes: Any) -> bytes:
    return json.dumps(GOOD | changes).encode()


async def asked_for(scene: Any, make_record: Any, data: bytes) -> str:
    """A session that was entered with this snapshot, and has asked for a worker: its id."""
    record = make_record("kept")
    await scene.local.store.create(record, snapshot=data)
    await scene.local.allocator.acquire("echo", [Ticket.of(record)])
    return record.session_id


async def left(scene: Any, session_id: str) -> SessionRecord:
    """Its record, once its worker has let it go."""

    async def ended() -> SessionRecord | None:
        record = await scene.local.store.get(TENANT, session_id)
        return record if record.state in (SessionState.CLOSED, SessionState.INACTIVE) else None

    return await eventually(ended)


async def branch(scene: Any, tenant: str, snapshot_id: str) -> Any:
    request = CreateSession(model=ModelRef(name="echo"), from_snapshot=snapshot_id)
    return await scene.client.create_session(tenant, request)


@pytest.mark.parametrize(
    ("data", "state", "reason"),
    [
        (encoded()[:-20], SessionState.CLOSED, UNUSABLE),
        (b"\xff\x00not json", SessionState.CLOSED, UNUSABLE),
        (b"[" * 100_000, SessionState.CLOSED, UNUSABLE),
        (encoded(director={"effect": "glitter", "intensity": 1.0}), SessionState.CLOSED, UNUSABLE),
        (encoded(model="longlive-v2"), SessionState.CLOSED, UNUSABLE),
        (encoded(version="new"), SessionState.CLOSED, UNUSABLE),
        (encoded(version=2), SessionState.INACTIVE, OTHER_VERSION),
        (encoded(version=2, director=[], future=[1]), SessionState.INACTIVE, OTHER_VERSION),
    ],
    ids=["truncated", "noise", "deep", "nonsense", "foreign", "unversioned", "newer", "newer-and-different"],
)
async def test_a_snapshot_that_is_not_taken_up(launch, make_record, data, state, reason):
    scene = launch(ECHO)
    await scene.local.idle("echo")
    session_id = await asked_for(scene, make_record, data)
    record = await left(scene, session_id)
    assert (record.state, record.reason) == (state, reason)
    kept = await scene.local.store.load_snapshot(TENANT, session_id)
    assert kept == ((data, b"") if state is SessionState.INACTIVE else None), "a worker of its version may yet come"
    assert await scene.opened(), "the worker goes on"


async def test_a_good_one_is_taken_up(launch, make_record):
    scene = launch(ECHO)
    await scene.local.idle("echo")
    session_id = await asked_for(scene, make_record, encoded())
    await scene.held(session_id)
    assert scene.local.session(session_id)._director.snapshot()["effect"] == "sepia"


async def test_what_nobody_foresaw_ends_the_session_and_not_the_allocator(launch, make_record, monkeypatch):
    def broken(self: EchoDirector, state: object) -> None:
        raise RuntimeError("fault injected")

    scene = launch(ECHO)
    await scene.local.idle("echo")
    with monkeypatch.context() as patch:
        patch.setattr(EchoDirector, "restore", broken)
        record = await left(scene, await asked_for(scene, make_record, encoded()))
    assert (record.state, record.reason, record.moves) == (SessionState.CLOSED, UNOPENED, 0)
    assert await scene.opened()


async def test_a_foreign_accounts_snapshot_cannot_be_started_from_or_reached(launch, make_record):
    scene = launch(ECHO)
    await scene.local.store.create(make_record("kept"), snapshot=encoded())
    saved = await scene.client.save_snapshot(TENANT, "kept", SaveSnapshot(name="mine"))
    with pytest.raises(NotFound):
        await branch(scene, "key_other", saved.snapshot_id)
    await scene.local.store.create(make_record("kept", tenant="key_other"))
    assert await scene.local.store.load_snapshot("key_other", "kept") is None, "the same id is another session there"


async def test_saved_ones_that_are_damaged(launch, make_record):
    scene = launch(ECHO)
    await scene.local.idle("echo")
    await scene.local.store.create(make_record("kept"), snapshot=encoded())
    saved = await scene.client.save_snapshot(TENANT, "kept", SaveSnapshot(name="mine"))
    key = f"{scene.local.settings.cluster}:saved:{saved.snapshot_id}"
    await scene.local.redis.hset(key, "data", encoded()[:9])
    assert (await left(scene, (await branch(scene, TENANT, saved.snapshot_id)).session_id)).reason == UNUSABLE
    await scene.local.redis.hset(key, "record", b"{")
    with pytest.raises(NotFound):
        await branch(scene, TENANT, saved.snapshot_id)
    await scene.local.redis.hset(scene.local.store._snapshot_key(TENANT, "kept"), "data", b"{")
    with pytest.raises(Conflict, match="cannot be read"):
        await scene.client.save_snapshot(TENANT, "kept", SaveSnapshot(name="again"))


@pytest.mark.parametrize("damage", [{"state": "DREAMING"}, {"epoch": "many"}, {"client": "{"}, {"tenant": b"\xff"}])
async def test_a_record_that_cannot_be_read_stops_nobody_else(launch, succeed, damage):
    scene = launch(ECHO)
    await scene.opened()
    waiting = [(await scene.create()).session_id for _ in range(3)]
    store = scene.local.store
    await scene.local.redis.hset(store._session(TENANT, waiting[0]), mapping=damage)
    assert (await scene.client.get_session(TENANT, waiting[0])).queue.position == 0, "while it waits, nobody reads it"
    new = await succeed(scene)
    assert [ticket.session_id for ticket in new._pools["echo"].order()] == waiting[1:]
    with pytest.raises(Unavailable, match="cannot be read"):
        await scene.client.get_session(TENANT, waiting[0])
    assert waiting[0] not in {session.session_id for session in await scene.client.list_sessions(TENANT)}
    assert waiting[0] in {each.subject for each in await scene.client.check_integrity()} or "tenant" in damage


async def test_one_that_is_damaged_while_it_waits_leaves_the_queue(launch):
    scene = launch(ECHO)
    first = await scene.opened()
    damaged, waiting = (await scene.create()).session_id, (await scene.create()).session_id
    await scene.local.redis.hset(scene.local.store._session(TENANT, damaged), "state", "DREAMING")
    await scene.client.delete_session(TENANT, first, None)
    await scene.held(waiting)
    assert damaged not in scene.local.allocator._pools["echo"].waiting
