"""What goes to the peers, and when a peer is given up."""

from __future__ import annotations

from typing import Self

from pydantic import Field, model_validator

from cluster.settings.group import Group


class MediaSettings(Group):
    """Encoding, pacing and peers. Bitrates in bit/s."""

    bitrate: int = Field(default=4_000_000, ge=100_000)
    """Encoder rate at 1280×704 and 24 fps; smaller pictures are scaled by pixels per second, with a floor."""
    min_bitrate: int = Field(default=600_000, ge=50_000)
    ping_timeout_s: float = Field(default=20.0, gt=0)
    """A connection silent for this long is dropped; clients ping every 5 or 10 s."""

    @model_validator(mode="after")
    def _least_and_most(self) -> Self:
        if self.min_bitrate > self.bitrate:
            raise ValueError(f"min_bitrate is {self.min_bitrate}, and bitrate {self.bitrate}")
        return self
