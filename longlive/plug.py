"""LongLive-2.0 as the registry finds it: declared without weights, loaded on demand."""

from __future__ import annotations

from longlive.director import LongLiveDirector
from longlive.presets import Preset
from longlive.spec import spec
from models.contract import Replica


class LongLive:
    """The `Model` of `models.contract` in one preset."""

    def __init__(self, preset: Preset) -> None:
        self.preset = preset
        self.spec = spec(preset.video, preset.geometry)

    def director(self) -> LongLiveDirector:
        """A fresh director."""
        return LongLiveDirector(self.preset.geometry)

    def check(self, device: str) -> None:
        """Look at the folder of weights, if there is one, and at the memory of `device`; here torch is imported."""
        from longlive.parts import check

        check(self.preset, device)

    def load(self, device: str) -> Replica:
        """The model on `device`; here torch is imported."""
        from longlive.replica import LongLiveReplica

        return LongLiveReplica(self.preset, device)
