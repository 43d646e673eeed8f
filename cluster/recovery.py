"""What an allocator makes, once it has restarted, of what the workers and the registry say. Pure but for the pools."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from cluster.api import WorkerStatus
from cluster.clock import SteadyClock
from cluster.policy import Pool
from cluster.records import SessionRecord, Ticket
from wire.http import SessionState


def settle(pools: Mapping[str, Pool], words: Iterable[WorkerStatus], records: Mapping[str, SessionRecord]) -> None:
    """Have each session held by whom the registry names. `records`: of the open sessions, by id.

    Two workers may claim a session, one of which was fenced and has yet to notice. Of what the registry knows nothing,
    as after a loss of its data, the workers' word stands.
    """
    claims = [(status, held) for status in words for held in status.sessions if held.session_id in records]
    for status, held in claims:
        record, pool = records[held.session_id], pools[status.model]
        if (record.worker, record.epoch, record.model) == (status.name, held.epoch, status.model):
            pool.hold(status.name, record.session_id, record.tenant)
        elif (holder := pool.holder(held.session_id)) is not None and holder.name == status.name:
            pool.release(held.session_id)


def tickets(records: Iterable[SessionRecord], clock: SteadyClock) -> list[Ticket]:
    """Those that the sessions had, in the order of class and arrival; whoever had a worker goes before the others."""
    again = [_ticket(record, clock) for record in records]
    return sorted(again, key=lambda ticket: (ticket.priority, ticket.arrival, ticket.session_id))


def _ticket(record: SessionRecord, clock: SteadyClock) -> Ticket:
    ticket = Ticket.of(record)
    fresh = record.state is SessionState.PENDING and not record.worker
    arrival = min(clock.now(), clock.of(ticket.arrival))
    return ticket.model_copy(update={"arrival": arrival, "priority": ticket.priority if fresh else 0})
