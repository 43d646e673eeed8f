import pytest
import torch

from tests.support.golden import BOUND, Golden, difference
from wan.causal import Past
from wan.configs import VAEConfig
from wan.vae22 import VAE

pytestmark = pytest.mark.fast


@pytest.fixture(scope="module")
def golden() -> Golden:
    return Golden("vae")


@pytest.fixture(scope="module")
def vae(golden: Golden) -> VAE:
    config = golden.config
    with torch.device("meta"):
        made = VAE(
            VAEConfig(
                mean=tuple(golden["in/mean"].tolist()),
                std=tuple(golden["in/std"].tolist()),
                encoder_dim=config["dim"],
                decoder_dim=config["dec_dim"],
                multipliers=tuple(config["dim_mult"]),
                encoder_blocks=config["num_res_blocks"],
                decoder_blocks=config["num_res_blocks"] + 1,
            )
        )
    made.load_state_dict(golden.weights(), strict=True, assign=True)
    return made.requires_grad_(False)


def test_streamed_in_chunks(golden: Golden, vae: VAE) -> None:
    past, latents = Past(), golden["in/latents"][0]
    for start, end in ((0, 8), (8, 16), (16, 20)):
        frames = vae.decode(latents[start:end], past)
        assert difference(frames.transpose(0, 1), golden[f"out/stream/{start}"][0]) < BOUND


def test_latent_by_latent_is_the_same(golden: Golden, vae: VAE) -> None:
    past = Past()
    frames = [vae.decode(latent, past) for latent in golden["in/latents"][0, :8].split(1)]
    assert [len(part) for part in frames] == [1, *[4] * 7]
    assert difference(torch.cat(frames).transpose(0, 1), golden["out/stream/0"][0]) < BOUND


def test_a_later_chunk_decoded_fresh(golden: Golden, vae: VAE) -> None:
    frames = vae.decode(golden["in/latents"][0, 8:16], Past())
    assert difference(frames, golden["out/fresh/8"][0]) < BOUND


def test_encode(golden: Golden, vae: VAE) -> None:
    latents = vae.encode(golden["in/pixels"][0].transpose(0, 1))
    assert difference(latents, golden["out/encode"][0]) < BOUND


def test_encode_one_picture_is_the_first_latent(golden: Golden, vae: VAE) -> None:
    latents = vae.encode(golden["in/pixels"][0, :, :1].transpose(0, 1))
    assert difference(latents, golden["out/encode"][0, :1]) < BOUND
