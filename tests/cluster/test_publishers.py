"""The publisher's slots: one holder a track, whoever else asks or lets go."""

from __future__ import annotations

import pytest

from cluster.publishers import Publishers
from models.contract import Track, VideoFormat
from wire.frames import Channel, Refused, TrackPublished
from wire.http import Role

pytestmark = pytest.mark.fast

TRACKS = (
    Track("main_video", "video", "out", VideoFormat(16, 16, 24)),
    Track("webcam", "video", "in"),
    Track("mic", "audio", "in"),
)


class Client:
    """A connection, as far as publishing goes: `reading` are the tracks that the session reads from it."""

    def __init__(self, role: Role = Role.DIRECTOR) -> None:
        self.role = role
        self.reading: list[str] = []

    def publish(self, track: str) -> None:
        self.reading.append(track)

    def unpublish(self, track: str) -> None:
        self.reading.remove(track)


@pytest.fixture
def publishers() -> Publishers:
    return Publishers(TRACKS)


def test_the_first_that_asks_holds_the_slot(publishers: Publishers) -> None:
    first, second = Client(), Client()
    assert publishers.publish(first, "webcam", "ctrl_1") == TrackPublished("webcam", "ctrl_1")
    refused = publishers.publish(second, "webcam", "ctrl_2")
    assert isinstance(refused, Refused)
    assert (refused.code, refused.channel, refused.request_id) == ("publish_refused", Channel.CONTROL, "ctrl_2")
    assert publishers.publish(second, "mic", None) == TrackPublished("mic")
    assert (first.reading, second.reading) == (["webcam"], ["mic"])


def test_only_the_holder_can_let_go(publishers: Publishers) -> None:
    first, second = Client(), Client()
    publishers.publish(first, "webcam", None)
    publishers.unpublish(second, "webcam")
    publishers.withdraw(second)
    assert isinstance(publishers.publish(second, "webcam", None), Refused)
    assert first.reading == ["webcam"]
    publishers.unpublish(first, "webcam")
    assert first.reading == []
    assert isinstance(publishers.publish(second, "webcam", None), TrackPublished)


def test_a_client_that_is_gone_frees_all_its_slots(publishers: Publishers) -> None:
    first, second = Client(), Client()
    publishers.publish_unasked(first)
    publishers.publish_unasked(second)
    assert (first.reading, second.reading) == (["webcam", "mic"], [])
    publishers.withdraw(first)
    assert len(publishers) == 0
    publishers.publish_unasked(second)
    assert second.reading == ["webcam", "mic"]


def test_a_viewer_publishes_nothing_unasked(publishers: Publishers) -> None:
    viewer = Client(Role.VIEWER)
    publishers.publish_unasked(viewer)
    assert viewer.reading == []
    assert len(publishers) == 0
