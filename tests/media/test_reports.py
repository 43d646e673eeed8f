"""Receiver reports, counted: what is new since the last one, once."""

from __future__ import annotations

import pytest
from prometheus_client import REGISTRY

from cluster.media.reports import Report, ReportMeter

pytestmark = pytest.mark.fast


def counted() -> tuple[float, float, float]:
    """Packets, those lost, and round trips so far."""
    names = ("llc_rtp_packets_total", "llc_rtp_packets_lost_total", "llc_rtp_round_trip_seconds_count")
    packets, lost, trips = (REGISTRY.get_sample_value(name) or 0.0 for name in names)
    return packets, lost, trips


@pytest.mark.parametrize(
    ("reports", "packets", "lost"),
    [
        ([(0, 60_000)], 0, 0),
        ([(3, 60_000), (3, 60_100)], 100, 0),
        ([(0, 65_500), (5, 65_600), (15, 65_700)], 200, 15),
        ([(0, 100), (10, 200), (8, 300), (12, 400)], 300, 12),
        ([(0, 200), (0, 100), (0, 300)], 100, 0),
        ([(0, 100), (-4, 200)], 100, 0),
    ],
    ids=[
        "the first begins",
        "what was before it",
        "over 16 bits",
        "late ones count once",
        "in disorder",
        "twice",
    ],
)
def test_packets(reports: list[tuple[int, int]], packets: int, lost: int) -> None:
    before, meter = counted(), ReportMeter()
    for so_far, highest in reports:
        meter.observe(Report(0.0, None, so_far, highest))
    after = counted()
    assert (after[0] - before[0], after[1] - before[1], after[2] - before[2]) == (packets, lost, 0)


def test_round_trips_are_observed_where_they_are_known() -> None:
    before, meter = counted(), ReportMeter()
    for round_trip in (None, 0.05, None, 0.07):
        meter.observe(Report(0.0, round_trip, 0, 0))
    assert counted()[2] - before[2] == 2
