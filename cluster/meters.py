"""What is observed once per chunk of a session: its stages, and what its outputs have done since the chunk before."""

from __future__ import annotations

import time
from collections import Counter, defaultdict
from collections.abc import Iterator
from contextlib import contextmanager

from cluster import metrics, tracing
from cluster.media.encoder import VideoCodec
from cluster.media.feed import OutputStats


class ChunkMeter:
    """The series of one session's chunks, with their labels looked up once, and their spans."""

    def __init__(self, model: str, session_id: str) -> None:
        self._session_id = session_id
        self._took: dict[str, float] = {}
        self._stages = {stage: metrics.CHUNK.labels(model, stage) for stage in metrics.STAGES}
        self._lead = metrics.LEAD.labels(model)
        self._late = metrics.CHUNKS_LATE.labels(model)
        self._pictures = metrics.FRAMES.labels(model)

    @contextmanager
    def timed(self, stage: str) -> Iterator[None]:
        """Observe how long the block takes."""
        began = time.perf_counter()
        try:
            yield
        finally:
            self.took(stage, time.perf_counter() - began)

    def took(self, stage: str, seconds: float) -> None:
        """Observe a stage that was timed elsewhere."""
        self._stages[stage].observe(seconds)
        self._took[f"{stage}_s"] = seconds

    def whole(self, run: int, chunk: int) -> None:
        """A chunk is complete: its number in the run."""
        total_s = self._took.pop("total_s", 0.0)
        tracing.span("chunk", self._session_id, total_s, run=run, chunk=chunk, **self._took)
        self._took.clear()

    def lead(self, lead_s: float) -> None:
        """The chunk's first pictures have come so many seconds before the first is due; less than 0 is late."""
        self._lead.observe(max(0.0, lead_s))
        if lead_s < 0:
            self._late.inc()

    def pictures(self, count: int) -> None:
        """The chunk has so many."""
        self._pictures.inc(count)


class OutputMeter:
    """Adds to the series what a video output has done since the last look."""

    def __init__(self, model: str) -> None:
        self._model = model
        self._encoded: Counter[VideoCodec] = Counter()
        self._bytes: Counter[VideoCodec] = Counter()
        self._seconds: defaultdict[VideoCodec, float] = defaultdict(float)
        self._dropped = self._waits = 0

    def observe(self, stats: OutputStats) -> None:
        """Take the output's counters, which only grow."""
        for codec, encoded in stats.encoded.items():
            if encoded > self._encoded[codec]:
                self._observe_codec(codec, stats)
        metrics.DROPPED.labels(self._model).inc(stats.viewer_drops - self._dropped)
        metrics.ENCODER_WAITS.labels(self._model).inc(stats.encoder_waits - self._waits)
        self._dropped, self._waits = stats.viewer_drops, stats.encoder_waits

    def _observe_codec(self, codec: VideoCodec, stats: OutputStats) -> None:
        metrics.ENCODED.labels(self._model, codec.value).inc(stats.encoded[codec] - self._encoded[codec])
        metrics.ENCODED_BYTES.labels(self._model, codec.value).inc(stats.encoded_bytes[codec] - self._bytes[codec])
        metrics.CHUNK.labels(self._model, "encode").observe(stats.encode_s[codec] - self._seconds[codec])
        self._encoded[codec] = stats.encoded[codec]
        self._bytes[codec] = stats.encoded_bytes[codec]
        self._seconds[codec] = stats.encode_s[codec]
