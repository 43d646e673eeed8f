from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from tests.support.checkpoints import DIT, FULL_VAE, LIGHT_VAE, TEXT, TINY, blank, hollow, state
from wan.configs import DiTConfig, TinyVAEConfig, UMT5Config, VAEConfig
from wan.weights.errors import MissingTensors, UnsupportedLayout
from wan.weights.files import Checkpoint, open_checkpoint
from wan.weights.infer import dit_config, pruning, tiny_vae_config, umt5_config, vae_config
from wan.weights.moments import LATENT_MEAN, LATENT_STD

pytestmark = pytest.mark.fast


def header(folder: Path, config: DiTConfig | VAEConfig | UMT5Config | TinyVAEConfig) -> Checkpoint:
    shapes = {name: tuple(weight.shape) for name, weight in blank(config).state_dict().items()}
    return open_checkpoint(hollow(folder / "x.safetensors", shapes))


@pytest.mark.parametrize("config", [DiTConfig(), DiTConfig(dim=256, ffn_dim=512, heads=2, layers=3, patch=1)])
def test_the_transformer(tmp_path: Path, config: DiTConfig):
    assert dit_config(header(tmp_path, config)) == config


def test_the_width_of_heads_is_given(tmp_path: Path):
    assert dit_config(header(tmp_path, DIT), head_dim=8) == DIT


@pytest.mark.parametrize("config", [UMT5Config(), TEXT])
def test_the_text_encoder(tmp_path: Path, config: UMT5Config):
    assert umt5_config(header(tmp_path, config)) == config


@pytest.mark.parametrize(
    ("config", "pruned"),
    [
        (FULL_VAE, 0.0),
        (replace(FULL_VAE, encoder_dim=80, decoder_dim=128), 0.5),
        (replace(FULL_VAE, decoder_dim=64), 0.75),
        (replace(LIGHT_VAE, multipliers=(1, 1, 2, 2), encoder_blocks=1, decoder_blocks=2), 1 - 4 / 256),
    ],
)
def test_the_vae_and_what_was_pruned(tmp_path: Path, config: VAEConfig, pruned: float):
    found = vae_config(header(tmp_path, config))
    assert found == config
    assert pruning(found) == pruned


def test_a_vae_without_an_encoder(tmp_path: Path):
    values = state(blank(LIGHT_VAE))
    save_file({name: value for name, value in values.items() if name[:7] == "decoder"}, tmp_path / "x.safetensors")
    with pytest.raises(MissingTensors, match=r"conv2\.weight"):
        vae_config(open_checkpoint(tmp_path))
    save_file({name: value for name, value in values.items() if name[0] != "e"}, tmp_path / "x.safetensors")
    assert vae_config(open_checkpoint(tmp_path)) == replace(LIGHT_VAE, encoder_dim=160)


def test_latents_of_another_width(tmp_path: Path):
    with pytest.raises(UnsupportedLayout, match="16 channels, expected 48"):
        vae_config(header(tmp_path, replace(LIGHT_VAE, channels=16)))


def test_only_the_tiny_vae_of_wan22(tmp_path: Path):
    assert tiny_vae_config(header(tmp_path, TinyVAEConfig())) == TinyVAEConfig()
    for other in (TINY, TinyVAEConfig(channels=16)):
        with pytest.raises(UnsupportedLayout, match=r"TAEW2\.2 is of 48 to 12 over \(256, 128, 64, 64\)"):
            tiny_vae_config(header(tmp_path, other))


def test_another_part(tmp_path: Path):
    with pytest.raises(UnsupportedLayout, match="a text encoder, expected a transformer"):
        dit_config(header(tmp_path, TEXT))


def test_the_released_moments():
    assert len(LATENT_MEAN) == len(LATENT_STD) == 48
    assert LATENT_MEAN[:3] == (-0.2289, -0.0052, -0.1323)
    assert LATENT_STD[:3] == (0.4765, 1.0364, 0.4514)
    assert min(LATENT_STD) > 0
    assert torch.tensor(LATENT_MEAN).abs().max() < 1
