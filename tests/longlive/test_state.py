import json
from itertools import pairwise

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.torch import load, save

from longlive.engine import Engine, Kind, VerbOrderError
from longlive.state import decode, encode
from models.snapshots import OtherVersion
from tests.longlive.networks import CITY, FOX, chunk, network, small

pytestmark = pytest.mark.slow

SHAPE = small().latent_shape
STORY: list[tuple[str, Kind]] = [
    (FOX, "open"),
    (FOX, "continue"),
    (CITY, "shot"),
    *[(CITY, "continue")] * 4,
    (FOX, "shot"),
    *[(FOX, "continue")] * 3,
]


def play(engine: Engine, start: int, end: int) -> np.ndarray:
    made = [chunk(engine, *STORY[k], k) for k in range(start, end)]
    return np.concatenate(made) if made else np.empty(0)


def through_bytes(engine: Engine, other: Engine) -> None:
    data = encode(engine.state(frames=0))
    other.restore(decode(data, SHAPE, torch.float32))


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("taken", [0, 3, 9])
def test_with_the_whole_scene_it_goes_on_bit_for_bit(taken: int, stream: bool) -> None:
    made = network(history="scene", stream=stream)
    engine, other = Engine(made), Engine(made)
    play(engine, 0, taken)
    chunk(other, CITY, "open", 3)  # what another scene left behind must not matter
    through_bytes(engine, other)
    assert other.window == engine.window
    assert np.array_equal(play(other, taken, len(STORY)), play(engine, taken, len(STORY)))


def test_with_the_window_it_goes_on_closely() -> None:
    """Up to four chunks the window is the scene; after that it lacks what its chunks saw of the evicted ones."""
    made = network()
    engine, fresh = Engine(made), Engine(made)
    play(engine, 0, 9)
    other = Engine(made)
    through_bytes(engine, other)
    assert set(other.window) == set(engine.window)
    true, close = play(engine, 9, 10).astype(float), play(other, 9, 10).astype(float)
    lost = chunk(fresh, *STORY[9], 9).astype(float)
    assert np.abs(close - true).mean() < 0.2 * np.abs(lost - true).mean()
    assert set(other.window) == set(engine.window), "the same chunks are evicted, and the pin is kept"


def test_a_window_is_small_and_a_scene_is_whole() -> None:
    for history, kept in (("window", 4), ("scene", 9)):
        engine = Engine(network(history=history))
        play(engine, 0, 9)
        state = engine.state(frames=261)
        assert len(state.latents) == kept
        assert state.exact == (history == "scene")


def test_there_is_no_state_while_a_chunk_is_in_hand() -> None:
    engine = Engine(network())
    engine.prepare(*STORY[0], 1, 0)
    for verb in (engine.generate, engine.commit):
        with pytest.raises(VerbOrderError):
            engine.state(frames=0)
        verb()
    assert engine.state(frames=29).record.chunks == 1


@pytest.fixture(scope="module")
def snapshot() -> bytes:
    engine = Engine(network())
    play(engine, 0, 6)
    return encode(engine.state(frames=174))


def spoil(data: bytes, **fields: object) -> bytes:
    tensors = load(data)
    record = {**json.loads(tensors["record"].numpy().tobytes()), **fields}
    tensors["record"] = torch.frombuffer(bytearray(json.dumps(record).encode()), dtype=torch.uint8)
    return save(tensors)


@pytest.mark.parametrize(
    "fields",
    [
        {"frames": -1},
        {"slots": [0, 1, 2, 3]},
        {"slots": [0, 3, 5, 5]},
        {"chunks": 3},
        {"pinned": 1},
        {"kept": []},
        {"unknown": 1},
    ],
)
def test_a_record_that_no_engine_makes_is_refused(snapshot: bytes, fields: dict[str, object]) -> None:
    with pytest.raises(ValueError, match="a LongLive snapshot that cannot be read") as refusal:
        decode(spoil(snapshot, **fields), SHAPE, torch.float32)
    assert not isinstance(refusal.value, OtherVersion)
    assert FOX not in str(refusal.value)


@pytest.mark.parametrize("version", [1, 3])
def test_another_version_is_told_from_damage(snapshot: bytes, version: int) -> None:
    with pytest.raises(OtherVersion, match=f"version {version}, which is another one"):
        decode(spoil(snapshot, version=version), SHAPE, torch.float32)


@settings(max_examples=30)
@given(data=st.data())
def test_damaged_bytes_are_refused(snapshot: bytes, data: st.DataObject) -> None:
    cut = data.draw(st.integers(0, len(snapshot) - 1))
    with pytest.raises(ValueError, match=r"."):
        decode(snapshot[:cut], SHAPE, torch.float32)


def test_latents_of_another_preset_are_refused(snapshot: bytes) -> None:
    with pytest.raises(ValueError, match=r"latents/\d+ of the snapshot is \(8, 48, 4, 4\)"):
        decode(snapshot, (8, 48, 12, 20), torch.float32)
    with pytest.raises(ValueError, match=r"bfloat16"):
        decode(snapshot, SHAPE, torch.bfloat16)


def test_latents_must_be_those_of_the_kept_chunks(snapshot: bytes) -> None:
    tensors = load(snapshot)
    name = next(name for name in tensors if name != "record")
    for spoiled in ({k: v for k, v in tensors.items() if k != name}, {**tensors, "latents/99": tensors[name].clone()}):
        with pytest.raises(ValueError, match="must hold the latents"):
            decode(save(spoiled), SHAPE, torch.float32)


def test_every_boundary_of_a_scene_can_be_restored() -> None:
    """The slot tables on both sides agree for as long as the scene goes on."""
    made = network()
    engine = Engine(made)
    for before, after in pairwise(range(8)):
        play(engine, before, after)
        other = Engine(made)
        through_bytes(engine, other)
        chunk(other, *STORY[after], after)
        assert other.state(0).record.shot >= engine.state(0).record.shot
        assert max(other.window) == max(engine.window) + 1
