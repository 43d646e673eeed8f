import json

import numpy as np
import pytest
from numpy.typing import NDArray

import longlive
from longlive.director import LongLivePlan
from longlive.noise import chunk_noise
from longlive.progress import Kind
from longlive.replica import LongLiveReplica, LongLiveStream
from longlive.slots import SLOTS
from longlive.stamp import read
from models.registry import find

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def replica() -> LongLiveReplica:
    loaded = longlive.model("tiny").load("cpu")
    assert isinstance(loaded, LongLiveReplica)
    return loaded


def chunk(stream: LongLiveStream, number: int, kind: Kind, prompt: str = "a fox in the snow") -> NDArray[np.uint8]:
    stream.prepare(LongLivePlan(run=1, chunk=number, prompt=prompt, kind=kind, scene_chunk=number, seed=3))
    media = list(stream.decode(stream.generate({})))
    stream.commit()
    assert {part.track for part in media} == {"main_video"}
    return np.concatenate([part.rgb for part in media])


def test_the_registry_finds_it() -> None:
    model = find("longlive-v2", "tiny")
    assert model.spec.geometry.first == 29
    assert model.spec.main_video.video is not None
    with pytest.raises(ValueError, match="no preset 'huge'"):
        longlive.model("huge")
    assert longlive.model("tiny").spec == model.spec, "still a function after the model was made"


def test_pictures_are_numbered_from_the_opening_on(replica: LongLiveReplica) -> None:
    stream = replica.open()
    numbers = []
    for number, kind in enumerate(("open", "cut", "open")):
        rgb = chunk(stream, number, kind)
        assert rgb.shape == (29, 192, 320, 3)
        numbers += [read(picture) for picture in rgb]
    assert numbers == list(range(87))


def test_pictures_are_worth_looking_at(replica: LongLiveReplica) -> None:
    stream = replica.open()
    fox = chunk(stream, 0, "open")[:, 20:].astype(float)
    city = chunk(stream, 0, "cut", "a neon city street at night")[:, 20:].astype(float)
    assert fox.std(axis=(1, 2)).mean() > 10, "not flat"
    assert ((fox > 2) & (fox < 253)).mean() > 0.5, "not saturated"
    assert np.abs(np.diff(fox, axis=2)).mean() < 5, "smooth in space"
    motion = np.abs(np.diff(fox, axis=0)).mean(axis=(1, 2, 3))
    assert (motion > 0.5).all(), "it moves"
    assert np.median(motion) < 10, "without flicker"
    assert np.abs(fox.mean((0, 1, 2)) - city.mean((0, 1, 2))).max() > 20, "the prompt shows"


def test_a_restored_stream_continues_the_picture_and_counts_on(replica: LongLiveReplica) -> None:
    stream = replica.open()
    for number, kind in enumerate(("open", "continue")):
        chunk(stream, number, kind)
    other = replica.open()
    other.restore(stream.snapshot())
    rgb = chunk(other, 2, "continue")
    assert read(rgb[0]) == 58
    assert np.array_equal(rgb, chunk(stream, 2, "continue"))
    assert other.snapshot() == stream.snapshot()


def test_a_planned_move_is_exact_where_a_snapshot_is_only_close(replica: LongLiveReplica) -> None:
    stream = replica.open()
    for number in range(SLOTS + 2):
        chunk(stream, number, "continue" if number else "open")
    moved, restored = replica.open(), replica.open()
    moved.restore(stream.snapshot(exact=True))
    restored.restore(stream.snapshot())
    following = chunk(stream, SLOTS + 2, "continue")
    assert np.array_equal(chunk(moved, SLOTS + 2, "continue"), following)
    assert not np.array_equal(chunk(restored, SLOTS + 2, "continue"), following), "the snapshot keeps the window alone"


@pytest.mark.parametrize(
    "state", [b"", b"x", b"[]", b"{}", json.dumps({"version": 99, "frames": 1}).encode(), b'{"version":1,"frames":-1}']
)
def test_what_is_no_snapshot_is_refused(replica: LongLiveReplica, state: bytes) -> None:
    with pytest.raises(ValueError, match=r"."):
        replica.open().restore(state)


def test_a_closed_stream_is_closed(replica: LongLiveReplica) -> None:
    stream = replica.open()
    stream.close()
    with pytest.raises(AssertionError):
        stream.commit()


def test_noise_is_a_function_of_seed_and_chunk() -> None:
    shape = (8, 4, 3, 3)
    assert chunk_noise(5, 7, shape).equal(chunk_noise(5, 7, shape))
    assert not chunk_noise(5, 7, shape).equal(chunk_noise(7, 5, shape))
    assert not chunk_noise(5, 7, shape).equal(chunk_noise(5, 8, shape))
    assert abs(float(chunk_noise(-1, 0, (4096,)).std()) - 1) < 0.1


def test_a_snapshot_tells_the_prompts_of_all_chunks_that_it_keeps(replica: LongLiveReplica) -> None:
    stream = replica.open()
    chunk(stream, 0, "open", "a fox in the snow")
    chunk(stream, 1, "shot", "a neon city")
    told = replica.open().contents(stream.snapshot())
    assert len(told) == 2
    assert "a fox in the snow" in told[0]
    assert "a neon city" in told[1]
    with pytest.raises(ValueError, match="not a LongLive snapshot"):
        stream.contents(b"{}")
