"""A narrow way from the server to one client: a relay in this process, or the kernel's own queue between two networks.

The relay has a rate, a queue, loss and delay and needs nothing of the machine. `offer` takes the client's candidates
away, so that the server learns the relay's address from the first check; `answer` leads the client to the relay.
"""

from __future__ import annotations

import asyncio
import random
import re
import subprocess
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass

from cluster.media.rtp import host_addresses
from tests.support.netns import Namespace

PACKET_OVERHEAD = 28
"""IPv4 and UDP headers, which take their share of the rate."""
_CANDIDATE = re.compile(r"^a=candidate:\S+ 1 udp \d+ (\S+) (\d+) typ host.*\r\n", re.MULTILINE | re.IGNORECASE)
Address = tuple[str, int]


@dataclass(frozen=True, slots=True)
class Path:
    """`rate` in bit/s, None without limit; then packets wait for up to `queue_s` and are dropped beyond it. `loss` is
    the share lost at random, `delay_s` one way, both ways."""

    rate: float | None = None
    queue_s: float = 0.3
    loss: float = 0.0
    delay_s: float = 0.0


class Link:
    """The relay. Use it as an async context manager, then `offer` and `answer` in that order."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.bytes = self.dropped = self.lost = 0
        self._loop = asyncio.get_running_loop()
        self._random = random.Random(0)
        self._free_at = 0.0
        self._waiting: deque[tuple[float, bytes]] = deque()
        self._timer: asyncio.TimerHandle | None = None
        self._client: Address | None = None
        self._server: Address | None = None
        self._host = host_addresses(True, False)[0]

    async def __aenter__(self) -> Link:
        self._near = await self._endpoint(self._from_server)
        self._far = await self._endpoint(self._from_client)
        return self

    async def _endpoint(self, received: Callable[[bytes, Address], None]) -> asyncio.DatagramTransport:
        address = (self._host, 0)
        transport, _ = await self._loop.create_datagram_endpoint(lambda: _Receiver(received), local_addr=address)
        return transport

    async def __aexit__(self, *error: object) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._near.close()
        self._far.close()
        await asyncio.sleep(0)

    def offer(self, sdp: str) -> str:
        """The client's offer as the server should see it."""
        return _CANDIDATE.sub("", sdp)

    def answer(self, sdp: str) -> str:
        """The server's answer as the client should see it."""
        found = [m for m in _CANDIDATE.finditer(sdp) if m[1] == self._host]
        self._server = (found[0][1], int(found[0][2]))
        host, port = self._far.get_extra_info("sockname")
        line = f"a=candidate:1 1 udp 2130706431 {host} {port} typ host\r\n"
        first = _CANDIDATE.search(sdp)
        return _CANDIDATE.sub(lambda m: line if first is not None and m.start() == first.start() else "", sdp)

    def _from_client(self, data: bytes, address: Address) -> None:
        self._client = address
        self._loop.call_later(self.path.delay_s, self._near.sendto, data, self._server)

    def _from_server(self, data: bytes, address: Address) -> None:
        now = self._loop.time()
        self._free_at = max(self._free_at, now)
        if self._random.random() < self.path.loss:
            self.lost += 1
        elif self._free_at - now > self.path.queue_s:
            self.dropped += 1
        else:
            self._queue(data)

    def _queue(self, data: bytes) -> None:
        self.bytes += len(data)
        if self.path.rate is not None:
            self._free_at += (len(data) + PACKET_OVERHEAD) * 8 / self.path.rate
        self._waiting.append((self._free_at + self.path.delay_s, data))
        if self._timer is None:
            self._deliver()

    def _deliver(self) -> None:
        while self._waiting and self._waiting[0][0] <= self._loop.time():
            self._far.sendto(self._waiting.popleft()[1], self._client)
        self._timer = self._loop.call_at(self._waiting[0][0], self._deliver) if self._waiting else None


class _Receiver(asyncio.DatagramProtocol):
    def __init__(self, received: Callable[[bytes, Address], None]) -> None:
        self.datagram_received = received  # type: ignore[method-assign]


def narrow(network: Namespace, path: Path) -> None:
    """Give everything that leaves a network the path's rate and queue, by the kernel's token bucket filter."""
    shown = subprocess.run(
        ["ip", "-netns", network.name, "-oneline", "link", "show", "type", "veth"],
        check=True,
        capture_output=True,
        text=True,
    ).stdout
    limits = f"tbf rate {path.rate:.0f}bit burst 5kb latency {path.queue_s * 1000:.0f}ms"
    for line in shown.splitlines():
        device = line.split(": ")[1].split("@")[0]
        command = [*network.prefix, "tc", "qdisc", "add", "dev", device, "root", *limits.split()]
        subprocess.run(command, check=True, capture_output=True)
