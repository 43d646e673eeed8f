from collections.abc import Callable, Mapping
from pathlib import Path

import pytest

from tests.support.checkpoints import (
    FULL_VAE,
    Network,
    blank,
    diffusers_dit,
    diffusers_tiny,
    diffusers_vae,
    hollow,
    transformers_text,
)
from wan.configs import DiTConfig, TinyVAEConfig, UMT5Config
from wan.weights import names
from wan.weights.files import open_checkpoint
from wan.weights.load import verify

pytestmark = pytest.mark.fast

FULL = {
    "dit": (DiTConfig(), 825, 4_999_787_712, diffusers_dit(30), names.dit_from_diffusers),
    "vae": (FULL_VAE, 196, 704_688_668, diffusers_vae(), names.vae_from_diffusers),
    "text": (UMT5Config(), 242, 5_680_910_336, transformers_text(24), names.text_from_transformers),
    "tiny": (TinyVAEConfig(), 64, 9_923_532, diffusers_tiny(), names.tiny_vae_from_diffusers),
}


@pytest.fixture(scope="module", params=FULL)
def full(request: pytest.FixtureRequest) -> tuple[Network, int, int, Mapping[str, str], Callable[[str], str | None]]:
    config, *rest = FULL[request.param]
    return (blank(config), *rest)


def test_the_map_is_a_bijection_at_full_size(full):
    network, tensors, parameters, pairs, rename = full
    ours = {name: weight.numel() for name, weight in network.state_dict().items()}
    assert (len(ours), sum(ours.values())) == (tensors, parameters)
    assert {theirs: rename(theirs) for theirs in pairs} == dict(pairs)
    assert sorted(pairs.values()) == sorted(ours)


def test_a_released_size_is_verified_by_its_header(full, tmp_path: Path):
    network, tensors, parameters, pairs, _ = full
    shapes = {name: tuple(weight.shape) for name, weight in network.state_dict().items()}
    wan = open_checkpoint(hollow(tmp_path / "wan.safetensors", shapes))
    other = open_checkpoint(hollow(tmp_path / "other.safetensors", {key: shapes[ours] for key, ours in pairs.items()}))
    for checkpoint in (wan, other):
        named = verify(network, checkpoint)
        assert len(named.theirs) == tensors
        assert (checkpoint.count, checkpoint.nbytes) == (parameters, 2 * parameters)
    assert wan.files[0].stat().st_blocks < 4096


def test_names_of_training_only_are_dropped():
    assert names.vae("dynamic_feature_projection_heads.0.weight") is None
    assert names.vae_from_diffusers("dynamic_feature_projection_heads.0.weight") is None
    assert names.tiny_vae("encoder.0.weight") is None
    assert names.tiny_vae_from_diffusers("encoder.blocks.0.conv_down.weight") is None


@pytest.mark.parametrize("prefix", ["", "base_model.model.", "base_model.model.model."])
@pytest.mark.parametrize("adapter", ["", ".default"])
def test_adapted_layers(prefix: str, adapter: str):
    assert names.adapted(f"{prefix}blocks.3.ffn.0.lora_B{adapter}.weight") == ("blocks.3.ffn.0", "B")
    assert names.adapted("blocks.3.ffn.0.weight") is None
