"""The outbound tracks of a session: an output for each, what they do among the metrics, and how far they are."""

from __future__ import annotations

import asyncio

from cluster.media.output import AudioOutput, VideoOutput
from cluster.media.recorder import Recorder
from cluster.meters import OutputMeter
from cluster.settings import MediaSettings
from models.contract import ModelSpec


class Outbound:
    """See the module. `model` is what the metrics call it. Make it inside the running loop."""

    def __init__(self, model: str, spec: ModelSpec, settings: MediaSettings) -> None:
        self.video: dict[str, VideoOutput] = {}
        self.audio: dict[str, AudioOutput] = {}
        for track in spec.tracks:
            if track.direction == "out" and track.kind == "audio":
                self.audio[track.name] = AudioOutput(track.name)
            elif track.direction == "out" and track.video is not None:
                size = track.video
                self.video[track.name] = VideoOutput(track.name, size.width, size.height, size.fps, settings)
        self._main = spec.main_video
        self._meters = {name: OutputMeter(model) for name in self.video}
        self._recorder: Recorder | None = None

    @property
    def by_name(self) -> dict[str, VideoOutput | AudioOutput]:
        """All of them, by their tracks' names."""
        return {**self.video, **self.audio}

    def media_s(self) -> float:
        """Seconds of media so far: where the recording is, or how much was shown."""
        if self._recorder is not None:
            return round(self._recorder.now_s, 3)
        assert self._main.video is not None
        return round(self.video[self._main.name].stats.released / self._main.video.fps, 3)

    def record(self, recorder: Recorder) -> None:
        """Give the main video to a recorder from now on, whether or not anybody watches."""
        self._recorder = recorder
        self.video[self._main.name].record(recorder)

    def observe(self) -> None:
        """Enter among the metrics what the video outputs have done since the last time."""
        for name, output in self.video.items():
            self._meters[name].observe(output.stats)

    async def close(self) -> None:
        """End them all."""
        await asyncio.gather(*(output.close() for output in self.by_name.values()))
