"""UDP sockets within a range of ports, for firewalls that leave no more than that open."""

from __future__ import annotations

import errno
import secrets
import socket
from collections.abc import Iterable
from contextlib import ExitStack
from itertools import chain

import structlog

from cluster.errors import PortsExhausted

log = structlog.get_logger(__name__)


def bound(addresses: Iterable[str], ports: range) -> list[socket.socket]:
    """A socket on each address that there is: all of them or none.

    Raises:
        PortsExhausted: an address has no free port in the range.
    """
    with ExitStack() as undo:
        sockets = [undo.enter_context(each) for address in addresses if (each := _bound(address, ports)) is not None]
        undo.pop_all()
    return sockets


def _bound(address: str, ports: range) -> socket.socket | None:
    """The next free port after one chosen at random: processes that share the range seldom try the same one, and a
    port that has just been left is not taken again while its last peer may still send."""
    found = socket.socket(socket.AF_INET6 if ":" in address else socket.AF_INET, socket.SOCK_DGRAM)
    found.setblocking(False)
    start = secrets.randbelow(len(ports))
    try:
        if found.family == socket.AF_INET6:
            found.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        free = any(_takes(found, address, port) for port in chain(ports[start:], ports[:start]))
    except OSError as error:  # the address has gone, or is not ready
        found.close()
        log.info("address_not_bound", address=address, error=error.strerror)
        return None
    if not free:
        found.close()
        raise PortsExhausted(f"all media ports of the worker's machine are taken: {ports[0]}-{ports[-1]}")
    return found


def _takes(found: socket.socket, address: str, port: int) -> bool:
    try:
        found.bind((address, port))
    except OSError as error:
        if error.errno != errno.EADDRINUSE:
            raise
        return False
    return True
