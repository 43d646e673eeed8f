"""The seam between the data channels and the messages of `wire.frames`."""

from __future__ import annotations

from typing import NamedTuple, Protocol

from wire.frames import Channel, ClientMessage, ServerMessage


class Frame(NamedTuple):
    """One message of a data channel: text (str) or binary (bytes), and where it travels."""

    channel: Channel
    payload: str | bytes


class Codec(Protocol):
    """One data-channel protocol. Stateless; the same object may serve every connection."""

    version: str

    def decode(self, frame: Frame) -> ClientMessage:
        """Read one inbound frame.

        Raises:
            FrameError: the frame is not of this protocol; the connection stays open.
        """
        ...

    def encode(self, message: ServerMessage) -> Frame | None:
        """Write one outbound message; None where this protocol has no frame for it."""
        ...
