"""Relayed media: a real coturn, the gateway's credentials, and clients that reach a worker through it alone."""

from __future__ import annotations

import asyncio
import socket
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from aioice.ice import get_host_addresses
from aioice.stun import TransactionFailed
from aioice.turn import TurnTransport, create_turn_endpoint
from aiortc import RTCConfiguration, RTCIceServer, RTCIceTransportPolicy
from pydantic import SecretStr

from cluster.client import ClusterClient
from cluster.settings import Settings, TurnSettings
from gateway.ice import ice_servers
from tests.support.api import Api
from tests.support.auth import gateway
from tests.support.coturn import OLD_SECRET, SECRET, Coturn, coturn
from tests.support.netns import Namespace, NoNamespaces, namespaces, wire
from tests.support.rtc_client import WAIT_S, RtcClient
from tests.support.waiting import eventually, settle
from wire.http import IceCredentials, SdpOffer

pytestmark = pytest.mark.media

PICTURES = 12
CLIENT, RELAY_FOR_CLIENTS = "198.51.100.2", "198.51.100.1"
WORKER, RELAY_FOR_WORKERS = "203.0.113.2", "203.0.113.1"
UNAUTHORIZED, FORBIDDEN = 401, 403
COTURNS_CLOCK_S = 2
"""It looks at the clock once a second."""

Exchange = Callable[[SdpOffer], Awaitable[str]]


@dataclass(frozen=True)
class Caller:
    """A client with a session that a worker holds."""

    api: Api
    session_id: str

    async def servers(self) -> list[RTCIceServer]:
        return await self.api.ice_servers(self.session_id)

    async def exchange(self, offer: SdpOffer) -> str:
        """The answer to an offer on a new connection."""
        return await self.api.exchange(self.session_id, await self.api.create_connection(self.session_id), offer)


@asynccontextmanager
async def called(cluster: ClusterClient, settings: Settings, turn: TurnSettings) -> AsyncIterator[Caller]:
    (key, *_) = settings.api_keys
    async with gateway(cluster, settings.model_copy(update={"turn": turn})) as http:
        api = Api(http)
        await api.sign_in(key.get_secret_value())
        session_id = await api.create("echo")
        await api.ready(session_id)
        yield Caller(api, session_id)
        await api.delete(session_id)


async def watch(configuration: RTCConfiguration, exchange: Exchange) -> tuple[set[str], str]:
    """Connect and see pictures. The types of candidate offered, and that of the one in use."""
    client = RtcClient(configuration=configuration)
    try:
        offer = await client.offer()
        await client.accept(await exchange(offer))
        client.notify("resume_track", "main_video")
        await client.received["main_video"].wait(lambda r: len(r.pictures) >= PICTURES)
        lines = [line for line in offer.sdp_offer.splitlines() if line.startswith("a=candidate:")]
        (pair,) = client.pc.sctp.transport.transport._connection._nominated.values()
        return {line.split()[7] for line in lines}, pair.local_candidate.type
    finally:
        await client.close()


@pytest.fixture(scope="module")
def turn_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Coturn]:
    """On loopback, for workers on this machine's addresses."""
    with coturn(tmp_path_factory.mktemp("coturn"), workers=get_host_addresses(True, False)) as server:
        yield server


def turn_settings(*uris: str, **more: Any) -> TurnSettings:
    return TurnSettings(uris=uris, secret=SecretStr(SECRET), **more)


# --- through the relay


@pytest.mark.parametrize("way", ["udp", "tcp", "tls"])
async def test_a_client_forced_to_relay_sees_pictures(
    way: str, turn_server: Coturn, cluster: ClusterClient, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SSL_CERT_FILE", str(turn_server.certificate))
    async with called(cluster, settings, turn_settings(turn_server.uris[way])) as caller:
        relayed = RTCConfiguration(await caller.servers(), RTCIceTransportPolicy.RELAY)
        assert await watch(relayed, caller.exchange) == ({"relay"}, "relay")


@pytest.fixture
def networks() -> Iterator[list[Namespace]]:
    """The client's, coturn's and the worker's; coturn has a foot in either, and passes nothing on by itself."""
    try:
        with namespaces("client", "relay", "worker") as (client, relay, worker):
            wire(client, f"{CLIENT}/24", relay, f"{RELAY_FOR_CLIENTS}/24")
            wire(worker, f"{WORKER}/24", relay, f"{RELAY_FOR_WORKERS}/24")
            yield [client, relay, worker]
    except NoNamespaces as error:
        pytest.skip(f"no network namespaces here: {error}")


async def test_coturn_alone_joins_two_networks(
    networks: list[Namespace], tmp_path: Path, cluster: ClusterClient, settings: Settings
) -> None:
    """Requests to the gateway go by memory, for they have a way of their own; media has none but coturn."""
    client, relay, worker = networks
    server = coturn(
        tmp_path,
        workers=[WORKER],
        address=RELAY_FOR_CLIENTS,
        relay_address=RELAY_FOR_WORKERS,
        prefix=relay.prefix,
    )
    loop = asyncio.get_running_loop()
    with server as running, worker.entered(), ThreadPoolExecutor(1, initializer=client.enter) as there:
        with pytest.raises(OSError, match="unreachable"):
            await loop.run_in_executor(there, _reach, WORKER)
        async with called(cluster, settings, turn_settings(running.uris["udp"])) as caller:

            def exchange(offer: SdpOffer) -> Awaitable[str]:
                return asyncio.wrap_future(asyncio.run_coroutine_threadsafe(caller.exchange(offer), loop))

            watching = watch(RTCConfiguration(await caller.servers()), exchange)
            assert await loop.run_in_executor(there, asyncio.run, watching) == ({"host", "relay"}, "relay")


def _reach(address: str) -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        probe.connect((address, 9))


# --- what coturn refuses


def minted(turn: TurnSettings, at: float) -> IceCredentials:
    """What the gateway would give a client at this time, unix seconds."""
    (server,) = ice_servers(turn, "key_1", int(at))
    assert server.credentials is not None
    return server.credentials


class Errors(asyncio.DatagramProtocol):
    """The far side of a relay: what goes wrong there."""

    def __init__(self) -> None:
        self.first: asyncio.Future[Exception] = asyncio.get_running_loop().create_future()

    def error_received(self, error: Exception) -> None:
        self.first.set_result(error)


async def relay(server: Coturn, credentials: IceCredentials) -> tuple[TurnTransport, Errors]:
    """A relay on the server. Raises TransactionFailed."""
    address = (server.address, server.port)
    return await create_turn_endpoint(Errors, address, credentials.username, credentials.password)


async def closed(transport: TurnTransport) -> None:
    transport.close()
    await transport._TurnTransport__close_task
    await settle()


async def is_refused(server: Coturn, credentials: IceCredentials) -> bool:
    """Whether the credentials are the reason that no relay can be had."""
    try:
        transport, _ = await relay(server, credentials)
    except TransactionFailed as error:
        await settle()
        return error.response.error_code == UNAUTHORIZED
    await closed(transport)
    return False


async def test_only_fresh_credentials_of_the_gateway_are_accepted(turn_server: Coturn) -> None:
    turn = turn_settings(turn_server.uris["udp"])
    foreign = turn.model_copy(update={"secret": SecretStr("another" + SECRET)})
    now = time.time()
    good = minted(turn, now)
    expired = minted(turn, now - turn.ttl_s - 1)
    prolonged = expired.model_copy(update={"username": good.username})
    renamed = good.model_copy(update={"username": good.username.replace("key_1", "key_2")})
    assert not await is_refused(turn_server, good)
    for wrong in (expired, prolonged, renamed, minted(foreign, now)):
        assert await is_refused(turn_server, wrong)


async def test_coturn_takes_two_secrets_while_one_is_changed(turn_server: Coturn) -> None:
    turn = turn_settings(turn_server.uris["udp"])
    for secret in (OLD_SECRET, SECRET):
        known = turn.model_copy(update={"secret": SecretStr(secret)})
        assert not await is_refused(turn_server, minted(known, time.time()))


async def test_a_relay_in_use_outlives_its_credentials(turn_server: Coturn) -> None:
    short = turn_settings(turn_server.uris["udp"], ttl_s=1)
    credentials = minted(short, time.time())
    transport, _ = await relay(turn_server, credentials)

    over = int(credentials.username.partition(":")[0]) + COTURNS_CLOCK_S
    await eventually(lambda: time.time() > over)  # asked all the while, coturn stops to answer now and then
    assert await is_refused(turn_server, credentials)
    worker, sent = await _listener()
    transport.sendto(b"still here", worker.get_extra_info("sockname"))
    assert await asyncio.wait_for(sent, WAIT_S) == b"still here"
    worker.close()
    await closed(transport)


async def _listener() -> tuple[asyncio.DatagramTransport, asyncio.Future[bytes]]:
    """A socket on an address that workers have, and the first datagram that it gets."""
    loop = asyncio.get_running_loop()
    first: asyncio.Future[bytes] = loop.create_future()

    class Protocol(asyncio.DatagramProtocol):
        def datagram_received(self, data: bytes, _: Any) -> None:
            first.set_result(data)

    address = (get_host_addresses(True, False)[0], 0)
    transport, _ = await loop.create_datagram_endpoint(Protocol, local_addr=address)
    return transport, first


async def test_nothing_but_workers_is_reached_through_the_relay(turn_server: Coturn) -> None:
    transport, errors = await relay(turn_server, minted(turn_settings(turn_server.uris["udp"]), time.time()))
    transport.sendto(b"GET / HTTP/1.1", ("10.1.2.3", 80))
    refused = await asyncio.wait_for(errors.first, WAIT_S)
    assert isinstance(refused, TransactionFailed)
    assert refused.response.error_code == FORBIDDEN
    await closed(transport)
