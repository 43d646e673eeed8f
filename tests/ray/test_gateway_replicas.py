"""Several replicas of the gateway: what they count is there, whichever of them has answered."""

from __future__ import annotations

from collections.abc import Iterable

import httpx
import pytest
from prometheus_client.samples import Sample

from tests.support.server import Server
from tests.support.waiting import eventually

pytestmark = pytest.mark.ray

REPLICAS = 2
REQUESTS = 30
COUNTED, ROUTE = "llc_gateway_requests_total", "/health"


def answered(samples: Iterable[Sample]) -> float:
    return sum(each.value for each in samples if each.name == COUNTED and each.labels["route"] == ROUTE)


async def test_each_replica_exports_what_it_has_answered_itself(server: Server) -> None:
    before = sum(map(answered, server.scraped()))
    with server.replicas(REPLICAS, "/more") as url:
        async with httpx.AsyncClient() as http:
            for _ in range(REQUESTS):
                (await http.get(url + ROUTE)).raise_for_status()
        await eventually(lambda: sum(map(answered, server.scraped())) - before >= REQUESTS)  # each after its answer
        found = [each for each in server.scraped() if answered(each)]
    assert sum(map(answered, found)) - before == REQUESTS
    assert len(found) >= REPLICAS, "each had some"
    for samples in found:
        assert "process_resident_memory_bytes" in {each.name for each in samples}
