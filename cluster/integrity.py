"""What must hold between registry, allocator, workers, keys and peers, and what of it does not: a pure comparison.

The facts are collected one after the other, so a single look also finds what was just changing. What two looks in a row
find (`Inspector`) is an error. `cluster.inspection` collects.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from enum import StrEnum
from itertools import chain
from typing import NamedTuple

from cluster.api import WorkerStatus
from cluster.records import TERMINAL
from wire.http import SessionState

Key = tuple[str, str]
"""Tenant and session id."""
ENDLESS = ("key:", "key_of:", "jwt_secret")
"""Beginnings of keys that never expire, after the cluster's name."""
INDEXES = (":open", ":saved")
"""Ends of the sets that never expire; what they name does, and is taken out when it has."""
OF_SESSIONS = frozenset({"snapshot", "uploads"})
"""Kinds of keys that are of no use without their session."""


class Kind(StrEnum):
    """What is wrong; a label of `llc_integrity_violations`."""

    TWO_WORKERS = "two_workers"
    """Two workers hold the session."""
    FOREIGN_HOLD = "foreign_hold"
    """A worker holds a session that the registry gives to another one, to none, or under another epoch."""
    MISSING_HOLD = "missing_hold"
    """The registry or the allocator gives the session a worker that does not hold it."""
    UNCOUNTED_HOLD = "uncounted_hold"
    """A worker holds a session, and the allocator does not know it."""
    STRAY_WORKER = "stray_worker"
    """A worker exists that the allocator does not know: its GPU is lost."""
    FORGOTTEN = "forgotten"
    """The session is open and has no worker, and does not wait for one."""
    STALE_WAITER = "stale_waiter"
    """What waits for a worker is no open session."""
    NOT_ENTERED = "not_entered"
    """The session is open and is not among the open ones."""
    NO_RECORD = "no_record"
    """What is among the open sessions is none."""
    ENDLESS_KEY = "endless_key"
    """A key that does not expire."""
    ORPHAN_KEY = "orphan_key"
    """A key of a session that is not there."""
    LEFT_OVER = "left_over"
    """A process has no session, but peers or tasks of sessions."""


class Violation(NamedTuple):
    """One thing that does not hold. `subject` is a session's id, a worker's name or a key."""

    kind: Kind
    subject: str
    detail: str


class Entry(NamedTuple):
    """What the registry says of a session."""

    state: SessionState
    epoch: int
    worker: str

    @property
    def is_open(self) -> bool:
        """Whether it is not over."""
        return self.state not in TERMINAL


@dataclass(frozen=True, slots=True)
class Facts:
    """What each part says. Of workers that did not answer in time (`silent`) nothing is concluded."""

    workers: Mapping[str, WorkerStatus]
    """Words of those that answered, by name."""
    silent: frozenset[str]
    strays: frozenset[str]
    """Names of workers that exist and that the allocator does not know."""
    held: Mapping[str, str]
    """By session id the worker that the allocator has it on."""
    waiting: frozenset[str]
    """Ids of the sessions in the allocator's queues."""
    records: Mapping[Key, Entry]
    entered: Mapping[str, Collection[Key]]
    """Members of the sets of open sessions: that of all, and those of the tenants together."""
    expires: Mapping[str, bool]
    """All keys, without the cluster's name."""


def violations(facts: Facts) -> frozenset[Violation]:
    """What does not hold by these facts."""
    return frozenset(chain(_holds(facts), _promised(facts), _sessions(facts), _keys(facts), _left_over(facts)))


class Inspector:
    """Two looks in a row: what was changing at the first is gone at the second."""

    def __init__(self) -> None:
        self._last: frozenset[Violation] = frozenset()

    def lasting(self, found: frozenset[Violation]) -> frozenset[Violation]:
        """Of what this look has found, what the one before had found too."""
        lasting, self._last = found & self._last, found
        return lasting


def _holds(facts: Facts) -> Iterator[Violation]:
    """By the words of the workers."""
    holders: defaultdict[str, list[str]] = defaultdict(list)
    for name, status in facts.workers.items():
        for held in status.sessions:
            holders[held.session_id].append(name)
            entry = facts.records.get((held.tenant, held.session_id))
            if entry is None or not entry.is_open or (entry.worker, entry.epoch) != (name, held.epoch):
                yield Violation(Kind.FOREIGN_HOLD, held.session_id, f"{name} under epoch {held.epoch}")
            if facts.held.get(held.session_id) != name:
                yield Violation(Kind.UNCOUNTED_HOLD, held.session_id, name)
    for session_id, names in holders.items():
        if len(names) > 1:
            yield Violation(Kind.TWO_WORKERS, session_id, ", ".join(sorted(names)))
    for name in facts.strays:
        yield Violation(Kind.STRAY_WORKER, name, "")


def _promised(facts: Facts) -> Iterator[Violation]:
    """By the words of the registry and of the allocator, which name workers."""
    by_word = {(name, held.session_id) for name, status in facts.workers.items() for held in status.sessions}
    for session_id, name in facts.held.items():
        if name not in facts.silent and (name, session_id) not in by_word:
            yield Violation(Kind.MISSING_HOLD, session_id, f"{name}, by the allocator")
    for (_, session_id), entry in facts.records.items():
        moves = session_id in facts.waiting or entry.worker in facts.silent
        if entry.is_open and entry.worker and not moves and (entry.worker, session_id) not in by_word:
            yield Violation(Kind.MISSING_HOLD, session_id, f"{entry.worker}, by the registry")


def _sessions(facts: Facts) -> Iterator[Violation]:
    """Each open session is entered, and is held or waits; nothing else is and does."""
    is_open = {key for key, entry in facts.records.items() if entry.is_open}
    ids = {session_id for _, session_id in is_open}
    for key in is_open:
        if not facts.records[key].worker and key[1] not in facts.waiting and key[1] not in facts.held:
            yield Violation(Kind.FORGOTTEN, key[1], "")
    for session_id in facts.waiting - ids:
        yield Violation(Kind.STALE_WAITER, session_id, "")
    for of, members in facts.entered.items():
        for _, session_id in is_open - set(members):
            yield Violation(Kind.NOT_ENTERED, session_id, of)
        for _, session_id in set(members) - is_open:
            yield Violation(Kind.NO_RECORD, session_id, of)


def _keys(facts: Facts) -> Iterator[Violation]:
    for key, expires in facts.expires.items():
        if not expires and not key.startswith(ENDLESS) and key != "open" and not key.endswith(INDEXES):
            yield Violation(Kind.ENDLESS_KEY, key, "")
        tenant, kind, session_id = parts(key)
        if kind in OF_SESSIONS and (tenant, session_id) not in facts.records:
            yield Violation(Kind.ORPHAN_KEY, key, "")


def _left_over(facts: Facts) -> Iterator[Violation]:
    """By process: tests have several workers in one."""
    processes: defaultdict[int, list[WorkerStatus]] = defaultdict(list)
    for status in facts.workers.values():
        processes[status.pid].append(status)
    for statuses in processes.values():
        first = min(statuses, key=lambda status: status.name)
        if not any(status.sessions for status in statuses) and (first.peers or first.session_tasks):
            yield Violation(Kind.LEFT_OVER, first.name, f"{first.peers} peers, {first.session_tasks} tasks")


def parts(key: str) -> tuple[str, str, str]:
    """Tenant, kind and the rest of a key without the cluster's name; a tenant may have colons in it."""
    tenant, _, last = key.rpartition(":")
    tenant, _, kind = tenant.rpartition(":")
    return tenant, kind, last
