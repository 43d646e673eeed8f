"""Ledgers of workers over one Redis that a test can take away, and their time."""

from __future__ import annotations

from datetime import UTC, date, datetime
from typing import Any

from redis.exceptions import ConnectionError as RedisConnectionError

from cluster.ledger import Ledger
from cluster.records import Grant
from cluster.settings import PoolSettings
from cluster.stay import Stay
from cluster.usage import Claim, UsageStore
from tests.support.clock import FakeClock
from wire.usage import ModelUsage

TENANT = "key_tenant"
DAY = date(2026, 11, 20)
NOON = datetime(2026, 11, 20, 12, tzinfo=UTC).timestamp()
GPU = PoolSettings(model="echo", num_gpus=1)


class FaultyStore(UsageStore):
    """Redis that is away, or whose answers are lost, for as long as the test says."""

    away = False
    mute = False
    sent = 0

    async def add(self, writer: str, number: int, entries: Any) -> list[Claim]:
        self.sent += 1
        if self.away:
            raise RedisConnectionError("fault injected")
        refused = await super().add(writer, number, entries)
        if self.mute:
            raise RedisConnectionError("fault injected")
        return refused


class Bench:
    """Workers' ledgers over one Redis, and the time."""

    def __init__(self, store: FaultyStore) -> None:
        self.store = store
        self.wall, self.monotonic = FakeClock(), FakeClock()
        self.wall.now = NOON
        self.ledger = self.new_ledger()

    def new_ledger(self, **more: Any) -> Ledger:
        return Ledger(self.store, wall=self.wall, monotonic=self.monotonic, **more)

    def passes(self, seconds: float) -> None:
        self.wall.advance(seconds)
        self.monotonic.advance(seconds)

    def stay(self, grant: Grant, pool: PoolSettings = GPU, ledger: Ledger | None = None) -> Stay:
        return Stay(ledger or self.ledger, grant, pool)

    async def used(self, day: date = DAY, tenant: str = TENANT) -> ModelUsage:
        found = await self.store.days(tenant, day, day)
        return found[0].models[0] if found else ModelUsage(model="none")

    async def seconds(self, day: date = DAY) -> dict[str, float]:
        """By state, without those of none."""
        return {state: s for state, s in (await self.used(day)).seconds.model_dump().items() if s}
