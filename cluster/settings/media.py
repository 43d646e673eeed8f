"""What goes to the peers, and when a peer is given up."""

from __future__ import annotations

from typing import Self

from pydantic import Field, field_validator, model_validator

from cluster.settings.addresses import PublicAddress, read_ports, read_public_addresses
from cluster.settings.group import Group


class MediaSettings(Group):
    """Encoding, pacing and peers. Bitrates in bit/s."""

    bitrate: int = Field(default=4_000_000, ge=100_000)
    """Encoder rate at 1280×704 and 24 fps; smaller pictures are scaled by pixels per second, with a floor."""
    min_bitrate: int = Field(default=600_000, ge=50_000)
    ping_timeout_s: float = Field(default=20.0, gt=0)
    """A connection silent for this long is dropped; clients ping every 5 or 10 s."""
    ports: str | None = None
    """UDP ports of workers, `40000-40999`; None: those that the system gives. All workers of a machine share them."""
    public_address: str | None = None
    """Named in answers instead of the local address that a NAT maps it to; see `read_public_addresses`."""

    @property
    def port_range(self) -> range | None:
        """`ports`, read."""
        return None if self.ports is None else read_ports(self.ports)

    @property
    def public_addresses(self) -> tuple[PublicAddress, ...]:
        """`public_address`, read."""
        return () if self.public_address is None else read_public_addresses(self.public_address)

    @field_validator("ports")
    @classmethod
    def _is_a_range(cls, ports: str | None) -> str | None:
        if ports is not None:
            read_ports(ports)
        return ports

    @field_validator("public_address")
    @classmethod
    def _are_addresses(cls, text: str | None) -> str | None:
        if text is not None:
            read_public_addresses(text)
        return text

    @model_validator(mode="after")
    def _least_and_most(self) -> Self:
        if self.min_bitrate > self.bitrate:
            raise ValueError(f"min_bitrate is {self.min_bitrate}, and bitrate {self.bitrate}")
        return self
