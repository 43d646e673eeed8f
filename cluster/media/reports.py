"""What a receiver reports of a video sender (RFC 3550, section 6.4), added to the counters once per report."""

from __future__ import annotations

from typing import NamedTuple

from cluster import metrics


class Report(NamedTuple):
    """One report. `lost` and `highest` count since the beginning; `highest` is the extended sequence number."""

    fraction_lost: float
    round_trip: float | None
    """In seconds, where it can be told."""
    lost: int
    highest: int


class ReportMeter:
    """Counts of one sender. The first report is where it begins: sequence numbers begin anywhere."""

    def __init__(self) -> None:
        self._highest: int | None = None
        self._lost = 0

    def observe(self, report: Report) -> None:
        """Take the newest report. Packets that come after they were counted as lost are not taken back."""
        if report.round_trip is not None:
            metrics.ROUND_TRIP.observe(report.round_trip)
        if self._highest is None:
            self._highest, self._lost = report.highest, report.lost
            return
        metrics.PACKETS.inc(max(0, report.highest - self._highest))
        metrics.PACKETS_LOST.inc(max(0, report.lost - self._lost))
        self._highest, self._lost = max(report.highest, self._highest), max(report.lost, self._lost)
