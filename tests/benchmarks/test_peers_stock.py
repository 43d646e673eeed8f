"""The peer that is ours to write: stock aiortc plays the numbered pictures to the client that measures."""

from __future__ import annotations

import asyncio

import pytest

from benchmarks.peers.contestants import stock
from benchmarks.peers.measure import Probe
from benchmarks.peers.model import NAME
from tests.support.client import Client

pytestmark = pytest.mark.media


async def test_stock_aiortc_plays_to_the_viewers_of_a_session():
    with stock("VP8") as server:
        async with server.address.api() as api:
            session_id = await api.create(NAME)
            probes = Probe(), Probe()
            async with Client(api, session_id, owns=True, codecs=("VP8",), on_frame=probes[0].look) as first:
                await first.connect()
                async with Client(api, session_id, codecs=("VP8",), on_frame=probes[1].look) as second:
                    await second.connect()
                    async with asyncio.timeout(20):
                        await asyncio.gather(*(probe.first.wait() for probe in probes))
        assert server.cpu_s()[0] > 0
    assert all(0 <= age < 10_000 for probe in probes for _, age in probe.seen)
