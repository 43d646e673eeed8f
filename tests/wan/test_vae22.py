import pytest
import torch

from longlive.parity.difference import BOUND
from longlive.parity.golden import Golden
from longlive.parity.vae import vae_config
from tests.support.golden import read_golden
from wan.causal import Past
from wan.vae22 import VAE

pytestmark = pytest.mark.fast


@pytest.fixture(scope="module")
def golden() -> Golden:
    return read_golden("vae")


@pytest.fixture(scope="module")
def vae(golden: Golden) -> VAE:
    return golden.build(lambda: VAE(vae_config(golden)))


def test_latent_by_latent_is_the_same(golden: Golden, vae: VAE) -> None:
    past = Past()
    frames = [vae.decode(latent, past) for latent in golden["in/latents"][0, :8].split(1)]
    assert [len(part) for part in frames] == [1, *[4] * 7]
    together = torch.cat(frames).transpose(0, 1)
    torch.testing.assert_close(together, golden["out/stream/0"][0], atol=BOUND, rtol=0)


def test_encode_one_picture_is_the_first_latent(golden: Golden, vae: VAE) -> None:
    latents = vae.encode(golden["in/pixels"][0, :, :1].transpose(0, 1))
    torch.testing.assert_close(latents, golden["out/encode"][0, :1], atol=BOUND, rtol=0)
