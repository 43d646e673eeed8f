"""Guessing API keys: slow from one address, slower from many, and never the owner's loss."""

from __future__ import annotations

import asyncio

import httpx
import pytest
from structlog.testing import capture_logs

from cluster.client import ClusterClient
from cluster.keys import KeyRing
from cluster.settings import Settings
from tests.support.auth import gateway, with_auth
from tests.support.local import LocalCluster

pytestmark = pytest.mark.fast

FAILURES, WINDOW_S = 3, 60


@pytest.fixture
def settings(settings: Settings) -> Settings:
    return with_auth(settings, key_failures=FAILURES, key_failure_window_s=WINDOW_S)


class Addresses:
    """Asks for tokens from any address."""

    def __init__(self, cluster: ClusterClient, settings: Settings) -> None:
        self._cluster, self._settings = cluster, settings

    async def ask(self, address: str, raw_key: str) -> httpx.Response:
        async with gateway(self._cluster, self._settings, address) as http:
            return await http.post("/tokens", headers={"Reactor-API-Key": raw_key})

    async def statuses(self, address: str, *raw_keys: str) -> list[int]:
        return [(await self.ask(address, raw_key)).status_code for raw_key in raw_keys]


@pytest.fixture
def addresses(cluster: ClusterClient, settings: Settings) -> Addresses:
    return Addresses(cluster, settings)


def _wrong(count: int, beginning: str = "") -> list[str]:
    return [f"{beginning or f'rk_{n:05}'}{n}" for n in range(count)]


async def test_an_address_that_guesses_is_throttled(addresses: Addresses) -> None:
    assert await addresses.statuses("192.0.2.1", *_wrong(5)) == [401, 401, 401, 429, 429]
    answer = await addresses.ask("192.0.2.1", "rk_one_more")
    assert (answer.status_code, answer.json()["code"]) == (429, "too_many_attempts")
    assert 0 < int(answer.headers["Retry-After"]) <= WINDOW_S


async def test_a_throttled_address_learns_nothing_of_the_right_key(addresses: Addresses, api_key: str) -> None:
    assert await addresses.statuses("192.0.2.1", *_wrong(3), api_key) == [401, 401, 401, 429]


async def test_the_right_key_is_never_locked_out_from_another_address(addresses: Addresses, keys: KeyRing) -> None:
    """Whoever knows a key's beginning, and has many addresses, cannot take the key from its owner."""
    _, raw = await keys.create("owner")
    alike = _wrong(8, beginning=raw[:12])
    for number, guess in enumerate(alike):
        await addresses.ask(f"192.0.2.{number}", guess)
    assert await addresses.statuses("198.51.100.1", raw, raw, raw) == [200, 200, 200]


async def test_many_addresses_that_guess_at_one_beginning(addresses: Addresses, keys: KeyRing) -> None:
    """One wrong key each, from then on: the second is not looked at, be it right or wrong."""
    _, raw = await keys.create("owner")
    alike = _wrong(8, beginning=raw[:12])
    assert [await addresses.statuses(f"192.0.2.{n}", alike[n]) for n in range(FAILURES)] == [[401]] * FAILURES
    assert await addresses.statuses("192.0.2.77", alike[5], alike[6], raw) == [401, 429, 429]
    assert await addresses.statuses("192.0.2.77", "rk_another_beginning") == [401]


async def test_right_keys_are_not_counted(addresses: Addresses, api_key: str) -> None:
    assert await addresses.statuses("192.0.2.1", *[api_key] * 8) == [200] * 8
    assert await addresses.statuses("192.0.2.1", *_wrong(2), api_key) == [401, 401, 200]


async def test_a_request_without_a_key_is_no_guess(addresses: Addresses, api_key: str) -> None:
    assert await addresses.statuses("192.0.2.1", *[""] * 6, api_key) == [*[401] * 6, 200]


@pytest.mark.parametrize(
    ("first", "second", "same"),
    [
        ("2001:db8:1:2::1", "2001:db8:1:2:ffff::9", True),
        ("2001:db8:1:2::1", "2001:db8:1:3::1", False),
        ("192.0.2.1", "::ffff:192.0.2.1", True),
        ("fe80::1%eth0", "fe80::1%eth1", True),
        ("192.0.2.1", "192.0.2.2", False),
        ("no address", "none either", True),
    ],
)
async def test_what_counts_as_one_address(
    addresses: Addresses, api_key: str, first: str, second: str, same: bool
) -> None:
    await addresses.statuses(first, *_wrong(3))
    assert await addresses.statuses(second, api_key) == [429 if same else 200]


async def test_counts_expire_and_hold_nothing_of_a_key(addresses: Addresses, local: LocalCluster) -> None:
    pattern = f"{local.settings.cluster}:wrong_key:*"
    await addresses.statuses("192.0.2.1", "rk_guessed_by_somebody", "rk_guessed_by_somebody")
    names = [name async for name in local.redis.scan_iter(pattern)]
    assert len(names) == 2
    for name in names:
        assert 0 < await local.redis.ttl(name) <= WINDOW_S
        assert int(await local.redis.get(name)) == 2
        assert b"guess" not in name
    await local.redis.delete(*names)  # what their expiry does
    assert await addresses.statuses("192.0.2.1", *_wrong(3)) == [401] * 3


async def test_a_refused_attempt_does_not_lengthen_the_wait(addresses: Addresses, local: LocalCluster) -> None:
    await addresses.statuses("192.0.2.1", *_wrong(10))
    assert await local.redis.get(f"{local.settings.cluster}:wrong_key:from:192.0.2.1") == str(FAILURES).encode()


async def test_guesses_at_once_are_all_counted(addresses: Addresses, api_key: str) -> None:
    await asyncio.gather(*(addresses.ask("192.0.2.1", guess) for guess in _wrong(20)))
    assert await addresses.statuses("192.0.2.1", api_key) == [429]


async def test_every_replica_counts_the_same(
    addresses: Addresses, cluster: ClusterClient, settings: Settings, api_key: str
) -> None:
    await addresses.statuses("192.0.2.1", *_wrong(3))
    assert await Addresses(cluster, settings).statuses("192.0.2.1", api_key) == [429]


async def test_tokens_are_not_throttled_with_keys(
    addresses: Addresses, cluster: ClusterClient, settings: Settings, api_key: str
) -> None:
    """Sessions that run go on, whatever an address does on `/tokens`."""
    token = (await addresses.ask("192.0.2.1", api_key)).json()["jwt"]
    await addresses.statuses("192.0.2.1", *_wrong(4))
    async with gateway(cluster, settings, "192.0.2.1") as http:
        answer = await http.get("/sessions/none", headers={"Authorization": f"Bearer {token}"})
    assert answer.status_code == 404


async def test_guesses_are_not_logged(addresses: Addresses) -> None:
    with capture_logs() as entries:
        answers = [await addresses.ask("192.0.2.1", f"rk_guess_number_{n}") for n in range(5)]
    said = str(entries) + "".join(answer.text for answer in answers)
    assert "rk_guess" not in said
    assert "192.0.2.1" not in said
