"""The messages of one peer: which protocol it speaks, and what has to wait until that is known or a channel is open."""

from __future__ import annotations

from collections import deque

from structlog.typing import FilteringBoundLogger as BoundLogger

from cluster.media.peer import Peer
from wire.codec import Codec, Frame
from wire.frames import Channel, ClientMessage, FrameError, ServerMessage
from wire.negotiate import codec_for_first_frame

MAX_HELD = 256
"""Messages that may wait, each way; then the oldest is dropped."""


class Conversation:
    """Encodes, decodes and holds. The codec is the offer's, if that tells it, else the first inbound frame's."""

    def __init__(self, peer: Peer, codec: Codec | None, log: BoundLogger) -> None:
        self._peer = peer
        self._log = log
        self._codec = codec
        self._unsent: deque[ServerMessage] = deque(maxlen=MAX_HELD)
        self._closed_channel: deque[Frame] = deque(maxlen=MAX_HELD)
        self.early: deque[ClientMessage] = deque(maxlen=MAX_HELD)
        """Messages that came before the connection was open."""

    def read(self, channel: Channel, payload: str | bytes) -> ClientMessage | None:
        """The message of a frame; a frame that cannot be read is answered if an answer is owed."""
        if self._codec is None:
            self._codec = codec_for_first_frame(payload)
            self.pump()
        try:
            return self._codec.decode(Frame(channel, payload))
        except FrameError as error:
            self._log.info("unreadable_frame", channel=channel, reason=error.reason)
            if error.refusal is not None:
                self.send(error.refusal)
            return None

    def send(self, message: ServerMessage) -> None:
        """Send as soon as the protocol is known and the message's channel is open, in order per channel."""
        self._unsent.append(message)
        self.pump()

    def pump(self) -> None:
        """Send what can be sent now."""
        waiting, self._closed_channel = self._closed_channel, deque(maxlen=MAX_HELD)
        for frame in waiting:
            self._transmit(frame)
        while self._unsent and self._codec is not None:
            frame_or_none = self._encode(self._codec, self._unsent.popleft())
            if frame_or_none is not None:
                self._transmit(frame_or_none)

    def _encode(self, codec: Codec, message: ServerMessage) -> Frame | None:
        try:
            return codec.encode(message)
        except ValueError as error:
            self._log.error("message_not_sent", message=type(message).__name__, error=str(error))
            return None

    def _transmit(self, frame: Frame) -> None:
        if not self._peer.is_open(frame.channel):
            self._closed_channel.append(frame)
            return
        try:
            self._peer.send(frame.channel, frame.payload)
        except ValueError as error:
            self._log.error("frame_not_sent", channel=frame.channel, error=str(error))
