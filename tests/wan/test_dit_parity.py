import pytest
import torch

from longlive.cache import KVCache
from tests.support.golden import BOUND, Golden, difference, dit_config
from wan.dit import DiT
from wan.rope import Rope
from wan.unipc import recipe, sample

pytestmark = pytest.mark.fast

CHUNK = 8


def load(golden: Golden) -> tuple[DiT, Rope, KVCache]:
    config = dit_config(golden.config)
    with torch.device("meta"):
        dit = DiT(config)
    dit.load_state_dict(golden.weights("model."), strict=True, assign=True)
    rows, columns = golden.config["H"] // 2, golden.config["W"] // 2
    cache = KVCache(config, CHUNK * rows * columns, "cpu", torch.float32)
    return dit, Rope(config.head_dim, rows, columns), cache


@torch.inference_mode()
def test_generator_with_a_live_window() -> None:
    golden = Golden("dit")
    dit, rope, cache = load(golden)
    text = dit.encode_text(golden["in/ctx"][0])
    calls = len(golden.config["timesteps"])
    for chunk in range(golden.config["chunks"]):
        cache.enter(chunk)
        rotations = rope.at(CHUNK * chunk, CHUNK)
        for call in range(chunk * calls, (chunk + 1) * calls):
            x, t = golden[f"in/{call:03d}/x"][0], golden[f"in/{call:03d}/t"][0]
            flow = dit(x, t, text, rotations, cache)
            assert difference(flow, golden[f"out/{call:03d}/flow"][0]) < BOUND


@torch.inference_mode()
def test_text_padding_is_attended() -> None:
    golden = Golden("dit")
    dit, _, _ = load(golden)
    short = dit.encode_text(golden["in/ctx"][0, :3])
    assert short[0][0].shape[0] == golden.config["text_len"]


@torch.inference_mode()
def test_rollout_with_two_shots() -> None:
    golden = Golden("rollout")
    config = golden.config
    dit, rope, cache = load(golden)
    texts = {p: dit.encode_text(golden[f"in/prompt_embed/{i}"]) for i, p in enumerate(config["unique_prompts"])}
    steps, shot = recipe(config["sampling_steps"]), 0
    for chunk, prompt in enumerate(config["prompts"]):
        starts_shot = chunk > 0 and prompt.startswith("The scene transitions. ")
        shot += starts_shot
        cache.enter(chunk)
        rotations = rope.at(CHUNK * chunk + config["phi"] * shot, CHUNK)
        text, here = texts[prompt], slice(CHUNK * chunk, CHUNK * (chunk + 1))

        def flow(x: torch.Tensor, t: int, text=text, rotations=rotations) -> torch.Tensor:
            return dit(x, torch.full((CHUNK,), float(t)), text, rotations, cache)

        latents = sample(flow, golden["in/noise"][0, here], steps)
        dit.remember(latents, torch.zeros(CHUNK), text, rotations, cache)
        if starts_shot:
            cache.table.pin(chunk)
        assert difference(latents, golden["out/latents"][0, here]) < BOUND
