"""The queue of one model, kept in the order in which it would be served now.

The order is (priority class, the tenant's share, arrival). A tenant's share at its n-th waiter is what it holds plus
the n waiters of its own that go before: granting one after the other, each grant raising its tenant's share, gives
this very order. Classes are strict: while a higher one waits, a lower one is not served. A waiter's place is its rank,
found by bisection; a grant moves nobody else, and what a tenant gives back moves its own waiters only.
"""

from __future__ import annotations

from bisect import bisect_left, insort
from collections import Counter, defaultdict
from collections.abc import Mapping
from typing import NamedTuple

from cluster.arrivals import Share
from cluster.records import Ticket

Key = tuple[int, int, float, str]
"""Priority class, share, arrival, session id."""


class Standing(NamedTuple):
    """Where a session is in the queue: how many go before, and by what. Of its tenant's waiters, those before it."""

    position: int
    tenant: str
    priority: int
    share: Share


class Waiters:
    """Who waits, and how many sessions each tenant holds."""

    def __init__(self) -> None:
        self._tickets: dict[str, Ticket] = {}
        self._held: Counter[str] = Counter()
        self._own: defaultdict[str, list[tuple[int, float, str]]] = defaultdict(list)
        self._keys: dict[str, Key] = {}
        self._line: list[Key] = []

    @property
    def tickets(self) -> Mapping[str, Ticket]:
        """By session id."""
        return self._tickets

    def first(self) -> Ticket:
        """Who is served next; there must be somebody."""
        return self._tickets[self._line[0][-1]]

    def order(self) -> list[Ticket]:
        """All, the next one first."""
        return [self._tickets[key[-1]] for key in self._line]

    def standing(self, session_id: str) -> Standing | None:
        """None if it does not wait."""
        key = self._keys.get(session_id)
        if key is None:
            return None
        tenant = self._tickets[session_id].tenant
        held = self._held[tenant]
        return Standing(bisect_left(self._line, key), tenant, key[0], Share(held, key[1] - held))

    def share(self, tenant: str) -> Share:
        """What a tenant has."""
        return Share(self._held[tenant], len(self._own.get(tenant, ())))

    def add(self, ticket: Ticket) -> None:
        """A session waits."""
        self._tickets[ticket.session_id] = ticket
        own, key = self._own[ticket.tenant], _own_key(ticket)
        insort(own, key)
        self._rank(ticket.tenant, bisect_left(own, key))

    def discard(self, session_id: str) -> None:
        """The session waits no longer, if it did."""
        if session_id in self._tickets:
            tenant = self._tickets[session_id].tenant
            self._rank(tenant, self._take_out(session_id))

    def hold(self, session_id: str, tenant: str) -> None:
        """The session has a worker; it waits no longer, if it did."""
        self._held[tenant] += 1
        if session_id in self._tickets:
            self._take_out(session_id)
        self._rank(tenant)

    def release(self, tenant: str) -> None:
        """One of the tenant's sessions has no worker any more."""
        self._held[tenant] -= 1
        if not self._held[tenant]:
            del self._held[tenant]
        self._rank(tenant)

    def _take_out(self, session_id: str) -> int:
        """Where it was among its tenant's."""
        ticket = self._tickets.pop(session_id)
        own = self._own[ticket.tenant]
        at = bisect_left(own, _own_key(ticket))
        del own[at]
        self._leave_line(session_id)
        return at

    def _rank(self, tenant: str, first: int = 0) -> None:
        """Bring the tenant's waiters to their places, from the first one on that may have another."""
        own = self._own.get(tenant)
        if not own:
            self._own.pop(tenant, None)
            return
        for share, (priority, arrival, session_id) in enumerate(own[first:], self._held[tenant] + first):
            key = (priority, share, arrival, session_id)
            if self._keys.get(session_id) != key:
                self._leave_line(session_id)
                self._keys[session_id] = key
                insort(self._line, key)

    def _leave_line(self, session_id: str) -> None:
        if (key := self._keys.pop(session_id, None)) is not None:
            del self._line[bisect_left(self._line, key)]

    def check_integrity(self, held: Counter[str]) -> None:
        """Assert that the line is what it would be if it were made anew. `held`: sessions by tenant."""
        assert self._held == held, "shares differ from what is held"
        assert self._line == sorted(self._keys.values()), "the line is out of order"
        assert set(self._keys) == set(self._tickets), "a waiter without a place"


def _own_key(ticket: Ticket) -> tuple[int, float, str]:
    return ticket.priority, ticket.arrival, ticket.session_id
