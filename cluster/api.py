"""What actors say to each other: the methods of a worker and of the allocator, and the values that cross.

Callers hold a typed handle of these protocols; behind it is a Ray actor (`cluster.remote`) or, in tests, the object.
"""

from __future__ import annotations

from collections.abc import Sequence
from enum import StrEnum
from typing import TYPE_CHECKING, NamedTuple, Protocol

from pydantic import BaseModel, ConfigDict, Field, FiniteFloat

from cluster.clips import Segment
from cluster.errors import QueueFull
from cluster.records import Grant, Place, Ticket
from wire.http import Disk, IceCandidates, Role, SdpOffer, Trouble

if TYPE_CHECKING:
    from cluster.integrity import Violation


class WorkerGone(Exception):
    """The worker's process has ended; whatever it held must move."""


class WorkerState(StrEnum):
    """loading → idle → reserved → active → idle | draining → exiting."""

    LOADING = "loading"
    IDLE = "idle"
    RESERVED = "reserved"
    ACTIVE = "active"
    DRAINING = "draining"
    EXITING = "exiting"


class HeldSession(BaseModel):
    """A session in a worker's slot."""

    model_config = ConfigDict(frozen=True, revalidate_instances="always")  # a pickle is not looked at

    session_id: str
    tenant: str
    epoch: int = Field(ge=0)
    stranded: bool = False
    """Whether it was offloaded and there is no room to bring it back: it shall be moved."""


class WorkerStatus(BaseModel):
    """A worker's own word on itself; `seq` grows with every change."""

    model_config = ConfigDict(frozen=True, revalidate_instances="always")

    name: str
    model: str
    state: WorkerState
    capacity: int = Field(ge=0)
    """Sessions that it may hold now: as many as it has slots, or less, if its device could not keep them in time."""
    sessions: tuple[HeldSession, ...]
    seq: int = Field(ge=0)
    pid: int = 0
    metrics_port: int = 0
    failure: str = ""
    """Why loading failed; the worker is of no use then."""
    generation: int = 0
    """Of the settings that it was started with."""
    node: str = ""
    """Where it runs: Ray's id of the node."""
    peers: int = 0
    """Of its process, that are not closed."""
    session_tasks: int = 0
    """Tasks of sessions that run in its process."""
    leave_by: FiniteFloat | None = None
    """Unix seconds from which on the sessions of a draining worker are moved; None: they end by themselves."""
    full_disks: tuple[Disk, ...] = ()
    """Of those that it keeps files on."""


class Health(BaseModel):
    """What the allocator knows to stand in the way of sessions."""

    model_config = ConfigDict(frozen=True)

    troubles: tuple[Trouble, ...]
    models: bool
    """Whether there is one of which sessions may start, or still run: False if all of them fail to load."""


class Standing(NamedTuple):
    """Which parts are well, by name, and what stands in the way of sessions beside that."""

    checks: dict[str, bool]
    troubles: tuple[Trouble, ...]


class WorkerApi(Protocol):
    """A worker, to the allocator and to the gateway's client. Raises `WorkerGone` when its process has ended."""

    async def ping(self) -> int:
        """`seq`; proves that the event loop runs."""
        ...

    async def watch(self, seq: int, timeout_s: float) -> WorkerStatus:
        """The status once it differs from `seq`, or after the time-out. Pending, it is the death detector."""
        ...

    async def reserve(self, grant: Grant) -> int:
        """Open the session: the `seq` that knows of it. Raises NoRoom, and Conflict when the worker takes nothing."""
        ...

    async def drain(self, leave_by: float | None) -> None:
        """Take nothing new and exit with the last session; have those that are left moved at `leave_by` (unix s)."""
        ...

    async def hand_over(self, session_id: str) -> None:
        """Stop the session where it can go on exactly, and leave it to another worker. Raises NotFound."""
        ...

    async def create_connection(self, session_id: str, role: Role) -> int:
        """A fresh connection id. Here and in what follows `role` is that of the asker's token."""
        ...

    async def offer(self, session_id: str, connection_id: int, offer: SdpOffer, role: Role) -> None:
        """Start answering an offer; replaces the connection's peer and its role. Raises ConnectionTaken."""
        ...

    async def answer(self, session_id: str, connection_id: int, wait_s: float, role: Role) -> str | None:
        """The newest offer's answer; None if it is not there after `wait_s`. Raises ConnectionTaken."""
        ...

    async def add_candidates(self, session_id: str, connection_id: int, batch: IceCandidates, role: Role) -> None:
        """Trickled candidates. Raises ConnectionTaken."""
        ...

    async def clip(self, session_id: str, epoch: int, start_s: float, end_s: float) -> tuple[Segment, ...] | None:
        """The segments of a clip, None while the last one is not there. Raises ClipGone, OutsideRecording."""
        ...

    async def recorded(self, session_id: str, epoch: int, name: str) -> bytes:
        """A file of a recording; raises ClipGone."""
        ...

    async def events(self, session_id: str) -> bytes:
        """The log of a session so far (`models.events`); raises NotFound."""
        ...

    async def close(self, session_id: str, reason: str) -> None:
        """End a session; idempotent."""
        ...


class AllocatorApi(Protocol):
    """The allocator, to the gateway's client."""

    async def acquire(self, model: str, tickets: Sequence[Ticket]) -> list[Place | QueueFull | None]:
        """Ask for a worker for each: None when granted, else the place in the queue, or the refusal. Idempotent."""
        ...

    async def places(self, model: str, session_ids: Sequence[str]) -> dict[str, Place]:
        """The places of those of these sessions that wait; asking is also their sign of life."""
        ...

    async def cancel(self, model: str, session_id: str) -> None:
        """The session is over: leave the queue, free the slot."""
        ...

    async def drain(self, target: str, deadline_s: float | None) -> list[str]:
        """Drain a worker, or all of a node: their names. Raises UnknownWorker.

        Sessions that are left after `deadline_s` are moved; with None they end by themselves.
        """
        ...

    async def workers(self) -> list[WorkerStatus]:
        """Every worker's last word."""
        ...

    async def check_integrity(self) -> frozenset[Violation]:
        """What one look finds, which may be a change under way. Raises Unavailable."""
        ...

    async def ping(self) -> Health:
        """Alive, and recovered; and what stands in the way of sessions."""
        ...
