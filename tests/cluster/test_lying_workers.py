"""Workers that say what is not so: of themselves, of what they hold, or nothing that could be understood."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import pytest

from cluster.api import HeldSession, WorkerStatus
from cluster.errors import Conflict, UnknownWorker
from cluster.settings import PoolSettings
from cluster.words import NoWord, word_of
from tests.support.local import LocalWorker
from tests.support.waiting import eventually

pytestmark = pytest.mark.fast

TENANT = "key_tenant"
TWO = PoolSettings(model="echo", min_warm=1, max_workers=2)
GOOD = WorkerStatus(name="w", model="echo", state="idle", capacity=1, sessions=(), seq=1)


def forged(**changes: Any) -> WorkerStatus:
    """As a pickle brings it, unchecked."""
    return GOOD.model_construct(**(dict(GOOD) | changes))


async def said(answer: object) -> object:
    if isinstance(answer, Exception):
        raise answer
    return answer


@pytest.mark.parametrize(
    "answer",
    [
        None,
        "idle",
        {},
        forged(name="another"),
        forged(model="longlive-v2"),
        forged(state="dreaming"),
        forged(capacity=-1),
        forged(seq=-5),
        forged(seq=float("nan")),
        forged(leave_by=float("inf")),
        forged(sessions=None),
        forged(sessions=(HeldSession.model_construct(session_id="s", tenant="t", epoch=-1),)),
        forged(sessions=(HeldSession.model_construct(session_id="s"),)),
        KeyError("fault injected"),
    ],
    ids=str,
)
async def test_what_is_no_word_of_this_worker_is_refused(answer):
    with pytest.raises(NoWord):
        await word_of("w", "echo", said(answer))


async def test_a_word_of_an_older_version_has_what_it_does_not_know_at_the_defaults():
    older = {name: value for name, value in dict(GOOD).items() if name not in ("node", "leave_by", "peers")}
    assert await word_of("w", "echo", said(WorkerStatus.model_construct(**older))) == GOOD


def lies(handle: LocalWorker, lie: Callable[[WorkerStatus], object]) -> None:
    """From now on the worker's word is what `lie` makes of it; it has news at once."""
    status = handle.worker.status
    handle.worker.status = lambda: lie(status())
    handle.worker._bump()


def handles(scene: Any) -> list[LocalWorker]:
    return list(scene.local.backend.workers.values())


def handle_of(scene: Any, session_id: str) -> LocalWorker:
    return scene.local.backend.workers[scene.local.worker_of(session_id).name]


async def two_sessions(scene: Any) -> tuple[str, str]:
    return await scene.opened(), await scene.opened()


async def moved(scene: Any, session_id: str, worker: str) -> None:
    async def elsewhere() -> bool:
        record = await scene.local.store.get(TENANT, session_id)
        return record.worker not in ("", worker) and record.state == "WAITING"

    await eventually(elsewhere)


async def fits(scene: Any) -> None:
    """Nothing is held twice, counted twice or lost."""

    async def nothing() -> bool:
        return not await scene.client.check_integrity()

    await eventually(nothing)
    scene.local.allocator._pools["echo"].check_integrity()


@pytest.mark.parametrize(
    "lie",
    [
        lambda status: None,
        lambda status: status.model_copy(update={"model": "longlive-v2"}),
        lambda status: status.model_copy(update={"name": "longlive:worker:echo:another"}),
        lambda status: status.model_copy(update={"capacity": -3, "seq": -1}),
    ],
    ids=["nothing", "another pool", "another worker", "nonsense numbers"],
)
async def test_a_worker_that_talks_nonsense_is_ended_and_its_session_goes_on_elsewhere(launch, lie):
    scene = launch(TWO)
    session_id = await scene.opened()
    liar = handle_of(scene, session_id)
    lies(liar, lie)
    await moved(scene, session_id, liar.worker.name)
    assert liar.worker.name not in scene.local.backend.workers
    await fits(scene)


async def test_who_claims_sessions_of_others_is_given_fewer_and_takes_none(launch):
    scene = launch(TWO)
    first, second = await two_sessions(scene)
    liar = handle_of(scene, second)
    claims = (HeldSession(session_id=first, tenant="key_other", epoch=7), *liar.worker.status().sessions)
    lies(liar, lambda status: status.model_copy(update={"sessions": claims}))
    pool = scene.local.allocator._pools["echo"]
    await eventually(lambda: pool.workers[liar.worker.name].others == 1)
    assert pool.holder(first).name == scene.local.worker_of(first).name
    kinds = {(each.kind, each.subject) for each in await scene.client.check_integrity()}
    assert {("two_workers", first), ("foreign_hold", first)} <= kinds
    await scene.client.drain(liar.worker.name, 0.0)
    await scene.client.delete_session(TENANT, second, None)
    assert pool.holder(first) is not None, "its drain is none of the other's business"


async def test_two_workers_claim_one_session_of_a_new_allocator(launch, succeed):
    """The one whose epoch is the registry's has it, whichever is heard last; the other's claim takes room alone."""
    scene = launch(TWO)
    first, second = await two_sessions(scene)
    claim = HeldSession(session_id=first, tenant="key_other", epoch=0)
    liar = handle_of(scene, second)
    lies(liar, lambda status: status.model_copy(update={"sessions": (claim, *status.sessions)}))
    for _ in range(2):
        pool = (await succeed(scene))._pools["echo"]
        assert pool.workers[scene.local.worker_of(first).name].sessions == {first: TENANT}
        assert pool.workers[liar.worker.name].sessions == {second: TENANT}
        assert pool.workers[liar.worker.name].others == 1
        scene.local.backend.workers = dict(reversed(scene.local.backend.workers.items()))
    pool.check_integrity()


async def test_who_drops_a_session_without_ending_it_loses_it_to_another(launch):
    scene = launch(TWO)
    session_id = await scene.opened()
    liar = handle_of(scene, session_id)
    lies(liar, lambda status: status.model_copy(update={"sessions": ()}))
    await moved(scene, session_id, liar.worker.name)
    record = await scene.local.store.get(TENANT, session_id)
    assert (record.epoch, record.moves) == (2, 1)


async def test_who_says_that_it_exits_gets_nothing_more(launch):
    scene = launch(TWO)
    await scene.local.idle("echo")
    (liar,) = handles(scene)
    lies(liar, lambda status: status.model_copy(update={"state": "exiting"}))
    await eventually(lambda: scene.local.allocator._pools["echo"].workers[liar.worker.name].draining)
    session_id = (await scene.create()).session_id
    await scene.held(session_id)
    assert handle_of(scene, session_id) is not liar


async def test_a_drain_of_nobody_or_by_no_time_changes_nothing(launch):
    scene = launch(TWO)
    status = await scene.local.idle("echo")
    with pytest.raises(UnknownWorker):
        await scene.client.drain("nobody", None)
    for deadline_s in (-1.0, float("nan"), float("inf")):
        with pytest.raises(Conflict):
            await scene.client.drain(status.name, deadline_s)
    assert [worker.state for worker in await scene.client.workers()] == ["idle"]


async def test_a_drain_while_a_session_is_opened_waits_for_it(launch, monkeypatch):
    scene = launch(TWO)
    await scene.local.idle("echo")
    (handle,) = handles(scene)
    load, go = handle.worker._store.load_snapshot, asyncio.Event()

    async def slowly(*args: Any) -> Any:
        await go.wait()
        return await load(*args)

    monkeypatch.setattr(handle.worker._store, "load_snapshot", slowly)
    creating = asyncio.create_task(scene.create())
    await eventually(lambda: handle.worker._opening)
    await scene.client.drain(handle.worker.name, 0.0)
    await eventually(lambda: scene.local.allocator._departures.leave_at(handle.worker.name) is not None)
    go.set()
    session_id = (await creating).session_id
    await moved(scene, session_id, handle.worker.name)
    assert (await scene.local.store.get(TENANT, session_id)).moves == 0
