"""Retransmissions have a budget and are not repeated needlessly; packets are paced, reports are not."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest
from aiortc import RTCRtpSender

from cluster.media import rtp
from cluster.media.congestion import START
from cluster.media.output import VideoCodec, VideoOutput
from cluster.media.sender import REPAIR_AGE_S, REPAIR_BURST_S, REPAIR_SHARE, SAFE_PACKETS, Way
from cluster.settings import MediaSettings
from tests.support.clock import FakeClock

pytestmark = pytest.mark.fast

RTP, RTCP = bytes([0x80, 96]) + bytes(1200), bytes([0x80, 200]) + bytes(60)


class Wire:
    """Stands where a DTLS transport would, and keeps what goes out."""

    state = "connected"

    def __init__(self) -> None:
        self.sent: list[bytes] = []

    async def _send_rtp(self, data: bytes) -> None:
        self.sent.append(data)


class Sender:
    """An RTP sender on a way of its own. `again` are the packets it sent again."""

    def __init__(self, output: VideoOutput, clock: FakeClock) -> None:
        self.wire = Wire()
        self.again: list[int] = []
        self.rtp = RTCRtpSender("video", self.wire)
        self.rtp._retransmit = self._resend
        self.way = Way(clock)
        self.way.carry(self.rtp, output.viewer(VideoCodec.VP8))

    async def _resend(self, number: int) -> None:
        self.again.append(number)

    async def send(self, number: int) -> None:
        """A packet of the stream leaves."""
        packet = RTP[:2] + number.to_bytes(2, "big") + bytes(4) + self.rtp._ssrc.to_bytes(4, "big")
        await self.rtp.transport._send_rtp(packet)

    async def ask(self, *numbers: int) -> None:
        """The receiver asks for packets."""
        await asyncio.sleep(0)
        for number in numbers:
            await self.rtp._retransmit(number)
        await asyncio.sleep(0)


@pytest.fixture
async def sender(clock: FakeClock) -> AsyncIterator[Sender]:
    output = VideoOutput("main_video", 320, 176, 24, MediaSettings(), clock=clock)
    sender = Sender(output, clock)
    clock.advance(REPAIR_BURST_S)
    yield sender
    await sender.way.close()
    await output.close()


async def test_what_is_asked_for_is_sent_again_once_per_round_trip(sender: Sender, clock: FakeClock) -> None:
    await sender.send(10)
    await sender.ask(7, 8)
    clock.advance(0.05)
    await sender.ask(7, 9)
    assert sender.again == [7, 8, 9], "the first repair may still be on its way"
    clock.advance(REPAIR_AGE_S / 2)
    await sender.ask(10)
    assert sender.again == [7, 8, 9, 7, 10], "if it was lost, too, the receiver may not ask a third time"


async def test_a_second_copy_does_not_come_so_late_that_it_looks_like_another_stream(
    sender: Sender, clock: FakeClock
) -> None:
    await sender.ask(7)
    clock.advance(0.05)
    await sender.ask(7)
    await sender.send(7 + SAFE_PACKETS + 1)
    clock.advance(REPAIR_AGE_S / 2)
    await sender.ask(10)
    assert sender.again == [7, 10]
    clock.advance(REPAIR_AGE_S / 2)
    await sender.ask(7)
    assert sender.again == [7, 10, 7], "asked for after so long, it is not there"


async def test_retransmissions_have_a_budget(sender: Sender) -> None:
    await sender.ask(*range(1000))
    budget = REPAIR_SHARE * START * REPAIR_BURST_S / 8 / rtp.PACKET_SIZE
    assert 0.4 * budget < len(sender.again) < budget + 2


async def test_packets_wait_for_their_turn_and_reports_do_not(sender: Sender) -> None:
    async with asyncio.timeout(5):
        await sender.rtp.transport._send_rtp(RTP)
        waiting = asyncio.create_task(sender.rtp.transport._send_rtp(RTP))
        await asyncio.sleep(0)
        assert sender.wire.sent == [RTP, RTP]
        assert not waiting.done(), "who sends next waits"
        report = asyncio.create_task(sender.rtp.transport._send_rtp(RTCP))
        await asyncio.sleep(0)
        assert report.done()
        await waiting
