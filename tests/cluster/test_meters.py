"""What is observed once per chunk: differences of an output's counters, and how much was left to show."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from prometheus_client import REGISTRY

from cluster.media.encoder import VideoCodec
from cluster.media.feed import OutputStats
from cluster.meters import ChunkMeter, OutputMeter

pytestmark = pytest.mark.fast

Read = Callable[..., float]


@pytest.fixture
def read(request: pytest.FixtureRequest) -> Read:
    """A series of this test's own model."""
    return lambda name, **labels: REGISTRY.get_sample_value(name, {"model": request.node.name, **labels}) or 0.0


def test_an_outputs_counters_are_added_once(read: Read, request: pytest.FixtureRequest) -> None:
    meter, stats = OutputMeter(request.node.name), OutputStats()
    meter.observe(stats)
    for _ in range(2):
        stats.encoded[VideoCodec.VP8] += 29
        stats.encoded_bytes[VideoCodec.VP8] += 1000
        stats.encode_s[VideoCodec.VP8] += 0.25
        stats.viewer_drops += 3
        stats.encoder_waits += 1
        meter.observe(stats)
    meter.observe(stats)
    assert read("llc_frames_encoded_total", codec="VP8") == 58
    assert read("llc_encoded_bytes_total", codec="VP8") == 2000
    assert read("llc_viewer_frames_dropped_total") == 6
    assert read("llc_encoder_waits_total") == 2
    assert read("llc_chunk_seconds_count", stage="encode") == 2, "none for a chunk of which nothing was encoded"
    assert read("llc_chunk_seconds_sum", stage="encode") == pytest.approx(0.5)


def test_codecs_are_told_apart(read: Read, request: pytest.FixtureRequest) -> None:
    meter, stats = OutputMeter(request.node.name), OutputStats()
    for codec, seconds in ((VideoCodec.VP8, 0.2), (VideoCodec.H264, 0.3)):
        stats.encoded[codec], stats.encode_s[codec] = 29, seconds
    meter.observe(stats)
    assert read("llc_frames_encoded_total", codec="VP8") == read("llc_frames_encoded_total", codec="H264") == 29
    assert read("llc_chunk_seconds_count", stage="encode") == 2


def test_pictures_that_come_after_they_were_due_missed_their_deadline(
    read: Read, request: pytest.FixtureRequest
) -> None:
    meter = ChunkMeter(request.node.name, "a session")
    for lead_s in (0.4, -0.2, 0.1):
        meter.lead(lead_s)
    assert read("llc_playout_lead_seconds_count") == 3
    assert read("llc_playout_lead_seconds_bucket", le="0.0") == 1
    assert read("llc_playout_lead_seconds_sum") == pytest.approx(0.5)
    assert read("llc_chunk_deadline_missed_total") == 1
