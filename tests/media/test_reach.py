"""How media is reached behind firewalls and NATs: ports from a range, public addresses in answers."""

from __future__ import annotations

import asyncio
import re
import socket
from collections.abc import Awaitable, Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, closing

import pytest
from prometheus_client import REGISTRY

from cluster.errors import PortsExhausted
from cluster.media import sockets
from cluster.media.announce import announced
from cluster.settings import MediaSettings
from cluster.settings.addresses import read_public_addresses
from tests.support.blocks import pictures
from tests.support.netns import Namespace, NoNamespaces, namespaces, one_to_one, wire
from tests.support.rtc_client import WAIT_S, RtcClient
from wire.http import SdpOffer

pytestmark = pytest.mark.media

HERE = "127.0.0.1"
CLIENT, PUBLIC, OUTSIDE = "198.51.100.2", "198.51.100.9", "198.51.100.1"
WORKER, INSIDE = "203.0.113.2", "203.0.113.1"
OPEN = range(40_000, 40_004)
_CANDIDATE = re.compile(r"^a=candidate:\S+ 1 udp \d+ (\S+) (\d+) typ (\S+)", re.MULTILINE)


def candidates(answer: str) -> set[tuple[str, int, str]]:
    """Address, port and type of all of them."""
    return {(address, int(port), kind) for address, port, kind in _CANDIDATE.findall(answer)}


# --- ports


@pytest.fixture
def ports() -> range:
    """Three in a row that are free on every address, below those that the system gives by itself."""
    for first in range(20_000, 30_000, 3):
        with ExitStack() as probes:
            try:
                for port in range(first, first + 3):
                    probe = probes.enter_context(socket.socket(socket.AF_INET6, socket.SOCK_DGRAM))
                    probe.bind(("::", port))
            except OSError:
                continue
            return range(first, first + 3)
    raise AssertionError("no free ports on this machine")


def test_the_next_free_port_is_taken_and_only_within_the_range(ports: range) -> None:
    with closing(socket.socket(socket.AF_INET, socket.SOCK_DGRAM)) as foreign, ExitStack() as taken:
        foreign.bind((HERE, ports[1]))
        for _ in range(len(ports) - 1):
            (each,) = sockets.bound([HERE], ports)
            taken.enter_context(each)
        with pytest.raises(PortsExhausted, match=f"{ports[0]}-{ports[-1]}"):
            sockets.bound([HERE], ports)
        foreign.close()
        (last,) = sockets.bound([HERE], ports)
        with last:
            assert last.getsockname() == (HERE, ports[1])


def test_a_refusal_keeps_no_socket_and_an_address_that_has_gone_is_left_out(ports: range) -> None:
    one = ports[:1]
    with closing(socket.socket(socket.AF_INET, socket.SOCK_DGRAM)) as foreign:
        foreign.bind((HERE, one[0]))
        with pytest.raises(PortsExhausted):
            sockets.bound(["127.0.0.2", HERE], one)
    kept = sockets.bound(["127.0.0.2", "192.0.2.77", HERE], one)
    assert [each.getsockname() for each in kept] == [("127.0.0.2", one[0]), (HERE, one[0])]
    for each in kept:
        each.close()


async def test_connections_stay_within_the_range_and_the_one_too_many_is_refused(scene, ports: range) -> None:
    scene.settings = MediaSettings(ports=f"{ports[0]}-{ports[1]}")
    refused = REGISTRY.get_sample_value("llc_media_ports_exhausted_total")
    scene.video.push(pictures(0, 5))
    for connection_id in (1002, 1003):
        client = await scene.join(connection_id)
        await client.received["main_video"].wait(lambda r: len(r.pictures) > 0)
        answer = client.pc.remoteDescription.sdp
        assert {port for _, port, _ in candidates(answer)} <= {ports[0], ports[1]}
    late, connection = scene.client(), scene.connection(1004)
    connection.offer(await late.offer())
    with pytest.raises(PortsExhausted):
        await connection.answer(WAIT_S)
    assert REGISTRY.get_sample_value("llc_media_ports_exhausted_total") == refused + 1

    await scene.connections[1002].close()
    again = scene.client()
    await again.connect(connection)  # on the port that has become free
    await scene.resume(again)
    await again.received["main_video"].wait(lambda r: len(r.pictures) > 0)


# --- public addresses

ANSWER = """v=0
o=- 1 1 IN IP4 0.0.0.0
m=video 41000 UDP/TLS/RTP/SAVPF 97
c=IN IP4 10.0.0.5
a=rtcp:9 IN IP4 0.0.0.0
a=candidate:a 1 udp 2130706431 10.0.0.5 41000 typ host
a=candidate:b 1 udp 2130706431 172.17.0.1 {port} typ host
a=candidate:c 1 udp 2130706431 fd00::5 41002 typ host
m=audio 0 UDP/TLS/RTP/SAVPF 0
c=IN IP4 0.0.0.0
""".replace("\n", "\r\n")


@pytest.mark.parametrize(
    ("setting", "port", "named"),
    [
        ("203.0.113.9", 41001, {("203.0.113.9", 41000), ("203.0.113.9", 41001), ("fd00::5", 41002)}),
        ("203.0.113.9", 41000, {("203.0.113.9", 41000), ("fd00::5", 41002)}),
        ("203.0.113.9/10.0.0.5", 41001, {("203.0.113.9", 41000), ("172.17.0.1", 41001), ("fd00::5", 41002)}),
        (
            "203.0.113.9/10.0.0.5, 203.0.113.8/10.0.0.6, 2001:db8::9",
            41001,
            {("203.0.113.9", 41000), ("172.17.0.1", 41001), ("2001:db8::9", 41002)},
        ),
    ],
)
def test_answers_name_the_public_addresses(setting: str, port: int, named: set[tuple[str, int]]) -> None:
    answer = announced(ANSWER.format(port=port), read_public_addresses(setting))
    found = candidates(answer)
    assert found == {(*place, "host") for place in named}
    assert answer.count("a=candidate:") == len(found), "none is there twice"
    assert "m=video 41000 UDP/TLS/RTP/SAVPF 97\r\nc=IN IP4 203.0.113.9\r\na=rtcp:9 IN IP4 0.0.0.0\r\n" in answer
    assert answer.endswith("m=audio 0 UDP/TLS/RTP/SAVPF 0\r\nc=IN IP4 0.0.0.0\r\n")


def test_without_a_public_address_an_answer_stays_as_it_is() -> None:
    assert announced(ANSWER, ()) == ANSWER


@pytest.fixture
def networks() -> Iterator[list[Namespace]]:
    """The client's and the worker's. Between them a NAT lets the open ports in and nothing else: there is no way around
    it, and what the worker itself begins does not pass."""
    try:
        with namespaces("client", "nat", "worker") as (client, nat, worker):
            wire(client, f"{CLIENT}/24", nat, f"{OUTSIDE}/24")
            wire(worker, f"{WORKER}/24", nat, f"{INSIDE}/24")
            one_to_one(nat, public=PUBLIC, local=WORKER, ports=OPEN, gateway=INSIDE, of=worker)
            yield [client, worker]
    except NoNamespaces as error:
        pytest.skip(f"no network namespaces here: {error}")


async def test_a_worker_behind_a_nat_is_seen_at_its_public_address(networks: list[Namespace], scene) -> None:
    client, worker = networks
    scene.settings = MediaSettings(ports=f"{OPEN[0]}-{OPEN[-1]}", public_address=PUBLIC)
    loop = asyncio.get_running_loop()
    with worker.entered(), ThreadPoolExecutor(1, initializer=client.enter) as there:
        connection = scene.connection()
        scene.video.push(pictures(0, 5))

        async def answered(offer: SdpOffer) -> str:
            connection.offer(offer)
            answer = await connection.answer(WAIT_S)
            assert answer is not None
            return answer

        def exchange(offer: SdpOffer) -> Awaitable[str]:
            return asyncio.wrap_future(asyncio.run_coroutine_threadsafe(answered(offer), loop))

        answer, used = await loop.run_in_executor(there, asyncio.run, _watch(exchange))
        ((address, port, kind),) = candidates(answer)
        assert (address, kind) == (PUBLIC, "host")
        assert port in OPEN
        assert WORKER not in answer
        assert used == (PUBLIC, port)
        await connection.close()


async def _watch(exchange: Callable[[SdpOffer], Awaitable[str]]) -> tuple[str, tuple[str, int]]:
    """Connect and see a picture: the answer, and where the worker is to the client."""
    client = RtcClient()
    try:
        answer = await exchange(await client.offer())
        await client.accept(answer)
        client.notify("resume_track", "main_video")
        await client.received["main_video"].wait(lambda r: len(r.pictures) > 0)
        (pair,) = client.pc.sctp.transport.transport._connection._nominated.values()
        return answer, pair.remote_addr
    finally:
        await client.close()
