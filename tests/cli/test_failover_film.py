"""The film of a failover: its pause lasts as long as it did, and tells what has happened."""

from __future__ import annotations

import numpy as np
import pytest

from cli.demo import Watcher
from cli.failover import Death, cut, with_spare
from cli.film import BAND, PAPER
from cluster.settings import PoolSettings, Settings

pytestmark = pytest.mark.fast

FPS = 24
PAUSE_S = 1.5
PICTURE = np.full((192, 320, 3), 200, np.uint8)


def watched(before: int, after: int) -> Watcher:
    """Pictures at a steady rate, but for a pause."""
    watcher = Watcher()
    watcher.pictures = [(n, PICTURE) for n in range(before + after)]
    watcher.shown_at = [n / FPS + (PAUSE_S if n >= before else 0) for n in range(before + after)]
    return watcher


def is_captioned(picture: np.ndarray) -> bool:
    return bool((picture[-BAND:, -4:] == PAPER).all())


def test_the_pause_is_as_long_as_it_was():
    killed_at = 47 / FPS - 0.3  # what was on its way was still shown
    film, dark_s = cut(watched(48, 96), Death(of="a", successor="b", killed_at=killed_at))
    assert len(film) == pytest.approx(48 + 96 + PAUSE_S * FPS, abs=2)
    assert dark_s == pytest.approx(PAUSE_S + 0.3, abs=0.1)
    assert [is_captioned(picture) for picture in film[:48]] == [False] * 48
    paused = film[48 : 48 + int(PAUSE_S * FPS)]
    assert all(is_captioned(picture) for picture in paused)
    assert not np.array_equal(paused[0], paused[-1]), "it counts"
    assert not is_captioned(film[-1]), "what goes on is the story"


def test_a_story_that_does_not_go_on():
    film, dark_s = cut(watched(48, 0), Death(of="a", killed_at=47 / FPS))
    assert len(film) == 48
    assert dark_s == float("inf")


def test_there_is_a_worker_to_go_on_with():
    pools = (PoolSettings(model="longlive-v2"), PoolSettings(model="echo"))
    story, echo = with_spare(Settings(pools=pools)).pools
    assert (story.min_warm, story.max_workers) == (1, 2)
    assert echo == pools[1]
    roomy = PoolSettings(model="longlive-v2", min_warm=3, max_workers=8)
    assert with_spare(Settings(pools=(roomy,))).pools == (roomy,)
