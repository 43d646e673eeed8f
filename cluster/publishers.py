"""Who feeds a session's inbound tracks: one connection a track, the first that asks."""

from __future__ import annotations

from collections.abc import Iterable

from cluster.media.connection import Connection
from models.contract import Track
from models.media import AudioSamples, Inputs, VideoFrames
from wire.frames import Channel, Refused, TrackPublished
from wire.http import Role


class Publishers:
    """The publisher's slots of one session."""

    def __init__(self, tracks: Iterable[Track]) -> None:
        self._tracks = [track.name for track in tracks if track.direction == "in"]
        self._holders: dict[str, Connection] = {}

    def __len__(self) -> int:
        return len(self._holders)

    def publish(self, connection: Connection, name: str, request_id: str | None) -> TrackPublished | Refused:
        """Give the connection the track's slot, or say why not. Again for the holder is no error."""
        refusal = ""
        if name not in self._tracks:
            refusal = "no such inbound track"
        elif self._holders.setdefault(name, connection) is not connection:
            refusal = "another connection publishes this track"
        if refusal:
            return Refused("publish_refused", refusal, "publish_track", Channel.CONTROL, request_id)
        connection.publish(name)
        return TrackPublished(name, request_id)

    def publish_unasked(self, connection: Connection) -> None:
        """Clients of the flat path have no channel to ask on: as directors they get the slots that are free."""
        for name in self._tracks:
            if connection.role is Role.DIRECTOR and name not in self._holders:
                self.publish(connection, name, None)

    def unpublish(self, connection: Connection, name: str) -> None:
        """The holder gives its slot back; from anyone else it means nothing."""
        if self._holders.get(name) is connection:
            del self._holders[name]
            connection.unpublish(name)

    def withdraw(self, connection: Connection) -> None:
        """The connection's peer is gone, and with it what it published."""
        self._holders = {name: holder for name, holder in self._holders.items() if holder is not connection}

    def take(self) -> Inputs:
        """What has come in since the last look."""
        taken: dict[str, VideoFrames | AudioSamples] = {}
        for name, connection in self._holders.items():
            media = connection.take(name)
            if isinstance(media, tuple):
                taken[name] = AudioSamples(name, *media)
            elif media is not None:
                taken[name] = VideoFrames(name, media[None])
        return taken
