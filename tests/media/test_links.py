"""Narrow and lossy ways, with real peers: pictures keep coming, and nobody pays for another's way."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack

import pytest

from cluster.media.connection import Connection
from cluster.media.encoder import VideoCodec
from tests.support.link import Link, Path, narrow
from tests.support.netns import Namespace, NoNamespaces, namespaces, wire
from tests.support.rtc_client import WAIT_S, RtcClient
from tests.support.stretch import FPS, SETTINGS, Figures, Seen, Stretch, through

pytestmark = pytest.mark.clock

STRETCH_S = 8
SHARE_SHOWN = 0.95
FROZEN_S = 2.0
"""Twice what is reached (`python -m benchmarks.links`): here it only matters that nothing is stuck."""
TOO_BUSY = 0.15


@pytest.fixture
async def stretch() -> AsyncIterator[Stretch]:
    stretch = Stretch()
    yield stretch
    await stretch.close()


def check(stretch: Stretch, played: int, seen: Seen) -> None:
    """What was to be reached; the machine's own stalls are not the sender's."""
    check_pace(stretch)
    figures = Figures.of(played, seen.at)
    assert figures.shown >= SHARE_SHOWN * played - FPS * stretch.stalled_s, (figures, stretch.stalled_s)
    assert figures.frozen_s <= FROZEN_S + stretch.stalled_s, (figures, stretch.stalled_s)


def check_pace(stretch: Stretch) -> None:
    """A machine that cannot play in real time says nothing about the sender."""
    if stretch.stalled_s > TOO_BUSY * STRETCH_S:
        pytest.skip(f"the machine was too busy to play in real time: {stretch.stalled_s:.1f} s late in {STRETCH_S} s")


@pytest.mark.parametrize(("codec", "rate"), [("H264", 2_500_000), ("VP8", 1_500_000)])
async def test_a_narrow_way_shows_nearly_every_picture(stretch: Stretch, codec: str, rate: int) -> None:
    async with Link(Path(rate)) as link:
        seen = await stretch.join(codec, through(link))
        check(stretch, await stretch.play(STRETCH_S), seen)
        assert link.bytes * 8 / STRETCH_S > 0.4 * rate, "the way is used, too"


@pytest.fixture
def networks() -> Iterator[tuple[Namespace, Namespace]]:
    try:
        with namespaces("links-server", "links-client") as (server, client):
            wire(server, "198.18.44.1/24", client, "198.18.44.2/24")
            yield server, client
    except NoNamespaces as error:
        pytest.skip(str(error))


async def test_the_kernels_own_queue_between_two_networks(
    stretch: Stretch, networks: tuple[Namespace, Namespace]
) -> None:
    server, far = networks
    narrow(server, Path(1_500_000))

    async def connect(client: RtcClient, connection: Connection) -> None:
        with far.entered():
            offer = await client.offer()
        with server.entered():
            connection.offer(offer)
            answer = await connection.answer(WAIT_S)
        assert answer is not None
        await client.accept(answer)

    seen = await stretch.join("H264", connect)
    check(stretch, await stretch.play(STRETCH_S), seen)


async def test_lost_packets_are_sent_again(stretch: Stretch) -> None:
    async with Link(Path(loss=0.01, delay_s=0.01)) as link:
        seen = await stretch.join("VP8", through(link))
        played = await stretch.play(STRETCH_S)
        check_pace(stretch)
        assert link.lost > 0
        assert Figures.of(played, seen.at).shown >= SHARE_SHOWN * played - FPS * stretch.stalled_s


async def test_one_encode_follows_the_slowest_viewer_that_keeps_up(stretch: Stretch) -> None:
    async with AsyncExitStack() as links:
        narrow_way = await links.enter_async_context(Link(Path(1_200_000)))
        slow = await stretch.join("H264", through(narrow_way))
        free = await stretch.join("H264", through(None))
        played = await stretch.play(STRETCH_S)
        check(stretch, played, slow)
        check(stretch, played, free)
        assert stretch.output.stats.encoded.total() == played
        assert SETTINGS.min_bitrate <= stretch.output.bitrate(VideoCodec.H264) <= 1_200_000


async def test_a_viewer_below_the_floor_costs_the_others_no_picture(stretch: Stretch) -> None:
    async with AsyncExitStack() as links:
        hopeless = await links.enter_async_context(Link(Path(SETTINGS.min_bitrate / 3)))
        await stretch.join("H264", through(hopeless))
        free = await stretch.join("H264", through(None))
        played = await stretch.play(STRETCH_S)
        check(stretch, played, free)
        assert stretch.output.stats.viewer_drops > played / 2, "the hopeless one gets keyframes only"
