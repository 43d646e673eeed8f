from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import torch

from longlive.engine import Engine, Kind, VerbOrderError
from longlive.network import Network
from tests.longlive.networks import CITY, FOX, chunk
from tests.longlive.networks import network as small_network

pytestmark = pytest.mark.slow

STORY: tuple[Kind, ...] = ("open", "continue", "shot", "continue")


@pytest.fixture(scope="module")
def network() -> Network:
    return small_network(prompts=2)


def test_a_chunk_is_29_pictures_latent_by_latent(network: Network) -> None:
    engine = Engine(network)
    engine.prepare(FOX, "open", 1, 0)
    parts = list(engine.decode(engine.generate()))
    assert [part.shape for part in parts] == [(1, 64, 64, 3), *[(4, 64, 64, 3)] * 7]
    assert all(part.dtype == np.uint8 for part in parts)


def test_the_same_seed_gives_the_same_pictures(network: Network) -> None:
    plan: list[tuple[str, Kind]] = [(FOX, "open"), (FOX, "continue"), (CITY, "shot"), (CITY, "continue")]
    first, second = Engine(network), Engine(network)
    for number, (prompt, kind) in enumerate(plan):
        assert np.array_equal(chunk(first, prompt, kind, number), chunk(second, prompt, kind, number))
    again = chunk(first, FOX, "open", 0)
    assert np.array_equal(again, chunk(Engine(network), FOX, "open", 0))
    assert not np.array_equal(again, chunk(first, FOX, "open", 0, seed=2))


def test_a_cut_forgets(network: Network) -> None:
    engine = Engine(network)
    chunk(engine, FOX, "open", 0)
    chunk(engine, FOX, "continue", 1)
    after = chunk(engine, CITY, "cut", 2)
    assert engine.window == (0,)
    assert np.array_equal(after, chunk(Engine(network), CITY, "open", 2))


def test_a_shot_remembers_and_a_continue_does_too(network: Network) -> None:
    fresh = chunk(Engine(network), CITY, "open", 1)
    for kind in ("shot", "continue"):
        engine = Engine(network)
        chunk(engine, FOX, "open", 0)
        assert not np.array_equal(chunk(engine, CITY, kind, 1), fresh)


def test_a_shot_pins_its_first_chunk(network: Network) -> None:
    engine = Engine(network)
    for number in range(8):
        chunk(engine, FOX, "open" if number == 0 else "shot" if number == 2 else "continue", number)
    assert set(engine.window) == {0, 2, 6, 7}


def test_verbs_out_of_turn_are_refused(network: Network) -> None:
    engine = Engine(network)
    for verb in (engine.generate, engine.commit):
        with pytest.raises(VerbOrderError):
            verb()
    engine.prepare(FOX, "open", 1, 0)
    with pytest.raises(VerbOrderError):
        engine.commit()
    with pytest.raises(VerbOrderError):
        engine.prepare(FOX, "continue", 1, 1)
    engine.generate()
    with pytest.raises(VerbOrderError):
        engine.generate()
    engine.commit()
    with pytest.raises(VerbOrderError):
        engine.commit()


def test_a_new_scene_drops_the_chunk_in_hand(network: Network) -> None:
    engine = Engine(network)
    engine.prepare(FOX, "open", 1, 0)
    engine.generate()
    assert np.array_equal(chunk(engine, CITY, "open", 0), chunk(Engine(network), CITY, "open", 0))


def test_decode_may_follow_commit(network: Network) -> None:
    engine = Engine(network)
    engine.prepare(FOX, "open", 1, 0)
    latents = engine.generate()
    engine.commit()
    assert np.array_equal(np.concatenate(list(engine.decode(latents))), chunk(Engine(network), FOX, "open", 0))


def test_encoded_prompts_are_kept_and_bounded(network: Network) -> None:
    prompts = network.prompts
    kept = prompts.get("  a   fox ")
    assert prompts.get("a fox") is kept
    for other in ("b", "c"):
        prompts.get(other)
    assert len(prompts) == 2
    assert prompts.get("a fox") is not kept


def test_an_image_is_the_first_picture(network: Network) -> None:
    """As far as the VAE can say it: the chunk's first latent is the image's, and the rest goes on from it."""
    image = np.full((30, 50, 3), (200, 40, 90), np.uint8)
    image[:, 25:] = (20, 160, 60)
    engine, plain = Engine(network), Engine(network)
    engine.prepare(FOX, "open", 1, 0, image)
    plain.prepare(FOX, "open", 1, 0)
    latents, without = engine.generate(), plain.generate()
    assert torch.equal(latents[:1], network.encode_image(image))
    assert not torch.allclose(latents[1:], without[1:])
    engine.commit()
    with pytest.raises(AssertionError, match="first chunk"):
        engine.prepare(FOX, "continue", 1, 1, image)


def test_decoding_beside_the_commit_changes_nothing(network: Network) -> None:
    """Two threads, as in service: the same pictures, and the same chunk after them."""
    beside, plain = Engine(network), Engine(network)
    with ThreadPoolExecutor(1) as threads:
        for number, kind in enumerate(STORY):
            beside.prepare(FOX, kind, 1, number)
            pieces = beside.decode(beside.generate())
            committed = threads.submit(beside.commit)
            frames = np.concatenate(list(pieces))
            committed.result()
            assert np.array_equal(frames, chunk(plain, FOX, kind, number))
