import numpy as np
import pytest

import longlive
from longlive.engine import Engine
from tests.longlive.networks import CITY, FOX, chunk, network

pytestmark = pytest.mark.slow


def test_a_kept_vae_state_makes_29_then_32_pictures_and_29_after_a_cut() -> None:
    engine = Engine(network(stream=True))
    lengths = [
        len(chunk(engine, FOX, kind, k)) for k, kind in enumerate(("open", "continue", "shot", "cut", "continue"))
    ]
    assert lengths == [29, 32, 32, 29, 32]
    assert longlive.model("tiny", stream=True).spec.geometry.frames(3) == 29 + 32 + 32


def test_only_a_kept_state_has_no_seam() -> None:
    """At a seam the picture jumps by more than it ever does elsewhere; without one it moves as it always does."""
    jumps = {}
    for stream in (False, True):
        engine = Engine(network(stream=stream))
        first, second = (chunk(engine, FOX, kind, k).astype(float) for k, kind in enumerate(("open", "continue")))
        motion = np.abs(np.diff(np.concatenate([first, second]), axis=0)).mean(axis=(1, 2, 3))
        jumps[stream] = motion[len(first) - 1] / np.median(motion)
    assert jumps[True] < jumps[False]


def test_streams_of_a_replica_do_not_see_each_other() -> None:
    shared = network(stream=True)
    alone = Engine(network(stream=True))
    one, two = Engine(shared), Engine(shared)
    for k, kind in enumerate(("open", "continue", "continue")):
        chunk(two, CITY, kind, k)
        assert np.array_equal(chunk(one, FOX, kind, k), chunk(alone, FOX, kind, k))
